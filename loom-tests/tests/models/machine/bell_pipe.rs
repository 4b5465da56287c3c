//! A bell as the kernel keeps its promise: looking whether it rings and going to sleep is one step.
//!
//! As for futexes there are no time-outs. What the kernel orders by the lock of its pipe is left unordered: nothing may rely
//! on it.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use loom::thread::{self, Thread};

use super::atomic::AtomicU32;
use crate::sync::Ordering;

/// What a bell rings for; see `shm_ring::bell_pipe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A byte is in it.
    Readable,
    /// No byte is in it.
    Writable,
}

/// A bell that threads can sleep at.
#[derive(Debug)]
pub struct BellPipe {
    kind: Kind,
    /// Whatever is done here is one step with the access to this word that comes before it: loom switches threads only before an
    /// access.
    step: AtomicU32,
    bytes: Cell<usize>,
    is_hung_up: Cell<bool>,
    sleepers: RefCell<Vec<Sleeper>>,
}

#[derive(Debug)]
struct Sleeper {
    thread: Thread,
    is_awake: Rc<Cell<bool>>,
}

impl BellPipe {
    /// A bell with `bytes` in it.
    pub(crate) fn new(kind: Kind, bytes: usize) -> Self {
        Self {
            kind,
            step: AtomicU32::new(0),
            bytes: Cell::new(bytes),
            is_hung_up: Cell::new(false),
            sleepers: RefCell::default(),
        }
    }

    /// Rings it.
    pub fn ring(&self) {
        self.begin_step();
        self.bytes.set(match self.kind {
            Kind::Readable => self.bytes.get() + 1,
            Kind::Writable => 0,
        });
        self.stir();
    }

    /// Before arming: how far it has rung already.
    pub fn prepare(&self) -> usize {
        self.begin_step();
        match self.kind {
            Kind::Readable => self.bytes.get(),
            Kind::Writable => {
                self.bytes.set(1);
                0
            }
        }
    }

    /// After arming: makes it silent again.
    pub fn hush(&self, rung: usize, is_alone: bool) -> bool {
        if rung == 0 || !is_alone {
            return rung == 0;
        }
        self.begin_step();
        let taken = self.bytes.get().min(rung);
        self.bytes.set(self.bytes.get() - taken);
        taken == rung
    }

    /// Says that the other side is gone.
    pub(crate) fn hang_up(&self) {
        self.begin_step();
        self.is_hung_up.set(true);
        self.stir();
    }

    /// Sleeps until it rings or the other side is gone. Who is woken and finds it silent again sleeps on, as in `poll`.
    pub(crate) fn sleep(&self) {
        loop {
            self.begin_step();
            let rings = (self.bytes.get() > 0) == (self.kind == Kind::Readable);
            if rings || self.is_hung_up.get() {
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
