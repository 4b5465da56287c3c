//! A futex as the kernel keeps its promise: looking at the word and going to sleep is one step.
//!
//! There are no time-outs and no signals here, although every real sleep has a bound: a sleeper that nobody wakes ends the
//! model as a deadlock.

use core::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use loom::thread::{self, Thread};

use super::atomic::AtomicU32;
use crate::sync::Ordering;

/// A 32-bit word that threads can sleep on.
#[derive(Debug)]
pub struct Futex {
    word: AtomicU32,
    sleepers: RefCell<VecDeque<Sleeper>>,
}

#[derive(Debug)]
struct Sleeper {
    thread: Thread,
    is_awake: Rc<Cell<bool>>,
}

impl Futex {
    /// A word that is `value`, nobody asleep.
    pub(crate) fn new(value: u32) -> Self {
        Self { word: AtomicU32::new(value), sleepers: RefCell::default() }
    }

    /// The word's value.
    pub fn load(&self, order: Ordering) -> u32 {
        self.word.load(order)
    }

    /// Sets bits, returns the value before.
    pub fn fetch_or(&self, bits: u32, order: Ordering) -> u32 {
        self.word.fetch_or(bits, order)
    }

    /// Adds, wrapping; returns the value before.
    pub fn fetch_add(&self, amount: u32, order: Ordering) -> u32 {
        self.word.fetch_add(amount, order)
    }

    /// Replaces `current` by `new`.
    ///
    /// # Errors
    /// The value, if it was not `current`.
    pub fn compare_exchange(&self, current: u32, new: u32, ok: Ordering, err: Ordering) -> Result<u32, u32> {
        self.word.compare_exchange(current, new, ok, err)
    }

    /// Sleeps while the word is `expected`, until woken.
    pub(crate) fn wait(&self, expected: u32) {
        // A read-modify-write sees the newest value, as the kernel does under its lock. Nothing can come between it and the
        // queue, because loom switches threads only before an access.
        if self.word.fetch_add(0, Ordering::Relaxed) != expected {
            return;
        }
        let is_awake = Rc::new(Cell::new(false));
        let sleeper = Sleeper { thread: thread::current(), is_awake: Rc::clone(&is_awake) };
        self.sleepers.borrow_mut().push_back(sleeper);
        while !is_awake.get() {
            thread::park();
        }
    }

    /// Wakes up to `count` sleepers, and returns how many there were.
    pub fn wake(&self, count: u32) -> usize {
        // An access, so that loom tries it before and after every wait.
        self.word.fetch_add(0, Ordering::Relaxed);
        let mut sleepers = self.sleepers.borrow_mut();
        let woken = sleepers.len().min(count as usize);
        for sleeper in sleepers.drain(..woken) {
            sleeper.is_awake.set(true);
            sleeper.thread.unpark();
        }
        woken
    }
}
