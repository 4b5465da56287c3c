//! A futex as the kernel keeps its promise: looking at the word and going to sleep is one step.
//!
//! There are no time-outs and no signals here, although every real sleep has a bound: a sleeper that nobody wakes ends the
//! model as a deadlock.

use std::collections::VecDeque;

use super::atomic::AtomicU32;
use super::simulator::thread::{self, Thread};
use super::simulator::{Flag, Locked, Shared};
use crate::sync::Ordering;

/// A 32-bit word that threads can sleep on.
#[derive(Debug)]
pub struct Futex {
    word: AtomicU32,
    sleepers: Locked<VecDeque<Sleeper>>,
}

#[derive(Debug)]
struct Sleeper {
    thread: Thread,
    is_awake: Shared<Flag>,
}

impl Futex {
    /// A word that is `value`, nobody asleep.
    pub(crate) fn new(value: u32) -> Self {
        Self { word: AtomicU32::new(value), sleepers: Locked::default() }
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
        let is_awake = Shared::new(Flag::default());
        let sleeper = Sleeper { thread: thread::current(), is_awake: Shared::clone(&is_awake) };
        self.sleepers.with(|sleepers| sleepers.push_back(sleeper));
        while !is_awake.is_raised() {
            thread::park();
        }
    }

    /// Wakes up to `count` sleepers, and returns how many there were.
    pub fn wake(&self, count: u32) -> usize {
        // An access, so that loom tries it before and after every wait.
        self.word.fetch_add(0, Ordering::Relaxed);
        let woken: Vec<_> = self.sleepers.with(|sleepers| {
            let woken = sleepers.len().min(count as usize);
            sleepers.drain(..woken).collect()
        });
        for sleeper in &woken {
            sleeper.is_awake.raise();
            sleeper.thread.unpark();
        }
        woken.len()
    }
}
