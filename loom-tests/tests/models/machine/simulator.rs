//! What loom simulates, and what it does not, by the names that the other parts of the machine use.

pub(crate) use std::rc::Rc as Shared;

use core::cell::{Cell, RefCell};

use loom::cell::UnsafeCell;
pub(crate) use loom::sync::atomic::AtomicBool;
pub(crate) use loom::{thread, thread_local};

/// Something of the machine's own, which no thread of the model can stand in the midst of.
#[derive(Debug, Default)]
pub(crate) struct Locked<T>(RefCell<T>);

impl<T> Locked<T> {
    pub(crate) fn new(inside: T) -> Self {
        Self(RefCell::new(inside))
    }

    pub(crate) fn with<R>(&self, action: impl FnOnce(&mut T) -> R) -> R {
        action(&mut self.0.borrow_mut())
    }
}

/// Is raised once.
#[derive(Debug, Default)]
pub(crate) struct Flag(Cell<bool>);

impl Flag {
    pub(crate) fn raise(&self) {
        self.0.set(true);
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.get()
    }
}

/// A moment of one thread. loom knows which others have it in their past.
#[derive(Debug)]
pub(crate) struct Mark(UnsafeCell<()>);

impl Mark {
    /// Now: later than whatever the thread has released so far, for its last step was an access to a word or a cell.
    pub(crate) fn new() -> Self {
        Self(UnsafeCell::new(()))
    }

    /// Checks that the mark was made in the calling thread's past.
    pub(crate) fn is_past(&self) {
        self.0.with(|_| ());
    }
}
