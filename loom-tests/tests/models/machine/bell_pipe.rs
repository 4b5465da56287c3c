//! A bell as the kernel keeps its promise: looking whether it rings and going to sleep is one step.
//!
//! As for futexes there are no time-outs. What the kernel orders by the lock of its pipe is left unordered: nothing may rely
//! on it.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use loom::thread::{self, Thread};

use super::atomic::AtomicU32;
use crate::sync::Ordering;

/// A bell that threads can sleep at.
#[derive(Debug)]
pub struct BellPipe {
    /// Whatever is done here is one step with the access to this word that comes before it: loom switches threads only before an
    /// access.
    step: AtomicU32,
    rung: Cell<usize>,
    /// How often it has rung since it was made.
    rings: Cell<usize>,
    is_hung_up: Cell<bool>,
    sleepers: RefCell<Vec<Sleeper>>,
}

#[derive(Debug)]
struct Sleeper {
    thread: Thread,
    is_awake: Rc<Cell<bool>>,
}

impl BellPipe {
    /// A bell that does not become full.
    pub const MOST_TAKEN: usize = 1000;

    /// A bell that has rung so often.
    pub(crate) fn new(rung: usize) -> Self {
        Self {
            step: AtomicU32::new(0),
            rung: Cell::new(rung),
            rings: Cell::new(0),
            is_hung_up: Cell::new(false),
            sleepers: RefCell::default(),
        }
    }

    /// Rings it.
    pub fn ring(&self) {
        self.begin_step();
        self.rung.set(self.rung.get() + 1);
        self.rings.set(self.rings.get() + 1);
        self.stir();
    }

    /// How often it has rung.
    pub fn rung(&self) -> Option<usize> {
        self.begin_step();
        Some(self.rung.get())
    }

    /// Takes that many rings out, or as many as there are.
    pub fn hush(&self, rung: usize) -> bool {
        if rung == 0 {
            return true;
        }
        self.begin_step();
        let taken = self.rung.get().min(rung);
        self.rung.set(self.rung.get() - taken);
        taken == rung
    }

    /// Says that the other side is gone.
    pub(crate) fn hang_up(&self) {
        self.begin_step();
        self.is_hung_up.set(true);
        self.stir();
    }

    /// How often it has rung for those who watch it.
    pub(crate) fn rings(&self) -> usize {
        self.begin_step();
        self.rings.get()
    }

    /// Sleeps until it has rung more often than `seen` and somebody has left that in, as `epoll` with `EPOLLET` does: an event that is not true any more
    /// is dropped. Or until the other side is gone. Returns how often it has rung.
    pub(crate) fn watch(&self, seen: usize) -> usize {
        self.sleep_until(|| self.rings.get() != seen && self.rung.get() > 0);
        self.rings.get()
    }

    /// Sleeps until it rings or the other side is gone. Who is woken and finds it silent again sleeps on, as in `poll`.
    pub(crate) fn sleep(&self) {
        self.sleep_until(|| self.rung.get() > 0);
    }

    fn sleep_until(&self, is_told: impl Fn() -> bool) {
        loop {
            self.begin_step();
            if is_told() || self.is_hung_up.get() {
                return;
            }
            let is_awake = Rc::new(Cell::new(false));
            self.sleepers.borrow_mut().push(Sleeper { thread: thread::current(), is_awake: Rc::clone(&is_awake) });
            while !is_awake.get() {
                thread::park();
            }
        }
    }

    fn begin_step(&self) {
        self.step.fetch_add(0, Ordering::Relaxed);
    }

    fn stir(&self) {
        for sleeper in self.sleepers.borrow_mut().drain(..) {
            sleeper.is_awake.set(true);
            sleeper.thread.unpark();
        }
    }
}
