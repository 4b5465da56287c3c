//! Forks of a process whose children go on with what it has: no two at once, and none while a descriptor comes or goes.
//!
//! ```text
//!   who opens or closes            NoFork, shared     ──┐
//!   who changes a list of them     NoFork, shared     ──┼──>  one lock of the process
//!   who forks                      Fork, exclusive    ──┘     from before the fork until parent and child are what they are to be
//! ```
//!
//! Only for processes that have asked for it, by [`prepare`]: in all others nothing here takes a lock, since nobody would give it back in a child
//! that was forked while it was held.
//!
//! # Why nobody waits for a lock that is held for ever
//! In the child there is one thread, the one that forked, and it has the lock for itself; so nobody else had it, nor any lock that is taken only
//! under it. A thread that holds it, and is made to fork by a signal handler, does not wait for itself: it is told that it cannot prepare anything.
//! Nobody waits for anything while holding it shared.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{hidden_thread, own_descriptor, shared_word};

static LOCK: RwLock<()> = RwLock::new(());
static IS_PREPARED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// How often this thread has the lock, or is about to. Without a destructor, so that it is there as long as the thread is.
    static HELD: Cell<u32> = const { Cell::new(0) };
}

/// From now on this process prepares for its forks. To be called before it has anything.
pub fn prepare() {
    // Libraries are loaded by the first thread, mostly.
    hidden_thread::ask_first_thread();
    // Relaxed: whoever forks later has come after this in some way that orders more than this.
    IS_PREPARED.store(true, Ordering::Relaxed);
}

/// In a child whose fork could not be prepared for: its locks may be held by threads that it does not have. From now on nobody takes them.
pub fn give_up() {
    IS_PREPARED.store(false, Ordering::Relaxed);
}

/// As long as it lives nobody forks. Not to be held while one waits.
#[derive(Debug)]
pub struct NoFork {
    /// `None` if this thread has the lock already, or nobody needs it.
    guard: Option<RwLockReadGuard<'static, ()>>,
    is_counted: bool,
}

impl NoFork {
    /// Waits until a fork that is under way is over.
    #[must_use]
    pub fn hold() -> Self {
        if !is_prepared() {
            return Self { guard: None, is_counted: false };
        }
        // Counted before it is taken and until after it is given back: a signal handler may come in between, and fork.
        let held = HELD.replace(HELD.get() + 1);
        let guard = (held == 0).then(|| LOCK.read().unwrap_or_else(PoisonError::into_inner));
        Self { guard, is_counted: true }
    }
}

impl Drop for NoFork {
    fn drop(&mut self) {
        drop(self.guard.take());
        if self.is_counted {
            HELD.set(HELD.get() - 1);
        }
    }
}

pub(crate) fn is_prepared() -> bool {
    IS_PREPARED.load(Ordering::Relaxed)
}

/// A fork, from its preparation until parent and child go on.
#[derive(Debug)]
pub struct Fork {
    guard: Option<RwLockWriteGuard<'static, ()>>,
    /// What this process has opened for itself has a lower number than what it opens for the child.
    first_for_child: u64,
}

impl Fork {
    /// Begins one: what this thread opens from now on is for the child. `None` if it cannot be prepared for: a signal handler has come upon this
    /// thread as it held the lock.
    #[must_use]
    pub fn begin() -> Option<Self> {
        if !is_prepared() || HELD.get() > 0 {
            return None;
        }
        HELD.set(1);
        let guard = LOCK.write().unwrap_or_else(PoisonError::into_inner);
        shared_word::before_fork();
        Some(Self { guard: Some(guard), first_for_child: own_descriptor::next_number() })
    }

    /// In the child: closes its copies of all descriptors that are its parent's, whoever had them: a handle, or a thread that is not here.
    pub fn close_the_parents(&self) {
        own_descriptor::close_below(self.first_for_child);
    }
}

impl Drop for Fork {
    fn drop(&mut self) {
        drop(self.guard.take());
        HELD.set(0);
    }
}
