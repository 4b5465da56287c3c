//! What shuttle simulates, and what it does not, by the names that the other parts of the machine use.

pub(crate) use std::sync::Arc as Shared;
use std::sync::Mutex;
use std::sync::atomic::{self, Ordering};

pub(crate) use shuttle::sync::atomic::AtomicBool;
pub(crate) use shuttle::{thread, thread_local};

/// Something of the machine's own, which no task can stand in the midst of: shuttle switches only at what it simulates.
#[derive(Debug, Default)]
pub(crate) struct Locked<T>(Mutex<T>);

impl<T> Locked<T> {
    pub(crate) fn new(inside: T) -> Self {
        Self(Mutex::new(inside))
    }

    pub(crate) fn with<R>(&self, action: impl FnOnce(&mut T) -> R) -> R {
        action(&mut self.0.lock().expect("nobody panics in there but to fail the test"))
    }
}

/// Is raised once.
#[derive(Debug, Default)]
pub(crate) struct Flag(atomic::AtomicBool);

impl Flag {
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A moment of one thread, which here is always in everybody's past.
#[derive(Debug)]
pub(crate) struct Mark;

impl Mark {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn is_past(&self) {}
}
