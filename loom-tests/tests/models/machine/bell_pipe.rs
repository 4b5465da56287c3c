//! A bell as the kernel keeps its promise: looking whether it rings and going to sleep is one step.
//!
//! As for futexes there are no time-outs. What the kernel orders by the lock of its pipe is left unordered: nothing may rely
//! on it.

use super::atomic::AtomicU32;
use super::simulator::thread::{self, Thread};
use super::simulator::{Flag, Locked, Shared};
use crate::sync::Ordering;

/// A bell that threads can sleep at.
#[derive(Debug)]
pub struct BellPipe {
    /// Whatever is done here is one step with the access to this word that comes before it: loom switches threads only before an
    /// access.
    step: AtomicU32,
    inside: Locked<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    rung: usize,
    /// How often it has rung since it was made.
    rings: usize,
    is_hung_up: bool,
    sleepers: Vec<Sleeper>,
}

#[derive(Debug)]
struct Sleeper {
    thread: Thread,
    is_awake: Shared<Flag>,
}

impl BellPipe {
    /// A bell that does not become full.
    pub const MOST_TAKEN: usize = 1000;

    /// A bell that has rung so often.
    pub(crate) fn new(rung: usize) -> Self {
        Self { step: AtomicU32::new(0), inside: Locked::new(Inside { rung, ..Inside::default() }) }
    }

    /// Rings it.
    pub fn ring(&self) {
        self.begin_step();
        self.inside.with(|inside| {
            inside.rung += 1;
            inside.rings += 1;
            inside.stir();
        });
    }

    /// How often it has rung.
    pub fn rung(&self) -> Option<usize> {
        self.begin_step();
        Some(self.inside.with(|inside| inside.rung))
    }

    /// Takes that many rings out, or as many as there are.
    pub fn hush(&self, rung: usize) -> bool {
        if rung == 0 {
            return true;
        }
        self.begin_step();
        self.inside.with(|inside| {
            let taken = inside.rung.min(rung);
            inside.rung -= taken;
            taken == rung
        })
    }

    /// Says that the other side is gone.
    pub(crate) fn hang_up(&self) {
        self.begin_step();
        self.inside.with(|inside| {
            inside.is_hung_up = true;
            inside.stir();
        });
    }

    /// How often it has rung for those who watch it.
    pub(crate) fn rings(&self) -> usize {
        self.begin_step();
        self.inside.with(|inside| inside.rings)
    }

    /// Sleeps until it has rung more often than `seen` and somebody has left that in, as `epoll` with `EPOLLET` does: an event that is not true any more
    /// is dropped. Or until the other side is gone. Returns how often it has rung.
    pub(crate) fn watch(&self, seen: usize) -> usize {
        self.sleep_until(|inside| inside.rings != seen && inside.rung > 0);
        self.inside.with(|inside| inside.rings)
    }

    /// Sleeps until it rings or the other side is gone. Who is woken and finds it silent again sleeps on, as in `poll`.
    pub(crate) fn sleep(&self) {
        self.sleep_until(|inside| inside.rung > 0);
    }

    fn sleep_until(&self, is_told: impl Fn(&Inside) -> bool) {
        loop {
            self.begin_step();
            let is_awake = Shared::new(Flag::default());
            let sleeper = Sleeper { thread: thread::current(), is_awake: Shared::clone(&is_awake) };
            let is_over = self.inside.with(|inside| {
                let is_over = is_told(inside) || inside.is_hung_up;
                inside.sleepers.extend((!is_over).then_some(sleeper));
                is_over
            });
            if is_over {
                return;
            }
            while !is_awake.is_raised() {
                thread::park();
            }
        }
    }

    fn begin_step(&self) {
        self.step.fetch_add(0, Ordering::Relaxed);
    }
}

impl Inside {
    fn stir(&mut self) {
        for sleeper in self.sleepers.drain(..) {
            sleeper.is_awake.raise();
            sleeper.thread.unpark();
        }
    }
}
