//! The ends of a handle on one side.
//!
//! A handle of C can be used by any number of threads, an end of ours by one at a time. So who comes while the first end is in use, be it by one who
//! sleeps in a read, gets another one of the same pipe; it is made then, and kept for the next time.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use ppipe_rs::{Pattern, Reader, Writer};

use crate::cancel::Uncancelled;

/// A reader or a writer.
pub(crate) trait End: Sized {
    /// What further ones are made from.
    fn pattern(&self) -> Pattern;
    /// A further one.
    fn of(pattern: &Pattern) -> io::Result<Self>;
}

impl End for Reader {
    fn pattern(&self) -> Pattern {
        self.pattern()
    }

    fn of(pattern: &Pattern) -> io::Result<Self> {
        pattern.reader()
    }
}

impl End for Writer {
    fn pattern(&self) -> Pattern {
        self.pattern()
    }

    fn of(pattern: &Pattern) -> io::Result<Self> {
        pattern.writer()
    }
}

/// All ends that a handle has of one side.
#[derive(Debug)]
pub(crate) struct Pool<E> {
    first: Mutex<E>,
    others: Mutex<Others<E>>,
    pattern: Pattern,
}

#[derive(Debug)]
struct Others<E> {
    /// Those that nobody uses. There is always room for all.
    #[allow(clippy::vec_box, reason = "they are passed from hand to hand")]
    idle: Vec<Box<E>>,
    made: usize,
}

impl<E: End> Pool<E> {
    pub(crate) fn new(first: E) -> Self {
        let pattern = first.pattern();
        Self { first: Mutex::new(first), others: Mutex::new(Others { idle: Vec::new(), made: 0 }), pattern }
    }

    /// An end for this thread alone.
    pub(crate) fn borrow(&self) -> io::Result<Borrowed<'_, E>> {
        match self.first.try_lock() {
            Ok(first) => return Ok(Borrowed::First(first)),
            Err(TryLockError::Poisoned(first)) => return Ok(Borrowed::First(first.into_inner())),
            Err(TryLockError::WouldBlock) => {}
        }
        Ok(Borrowed::Other { pool: self, end: Some(self.take()?) })
    }

    /// An end to be kept for longer than a call, in whose midst others want the first one.
    pub(crate) fn take(&self) -> io::Result<Box<E>> {
        let other = self.others().idle.pop();
        other.map_or_else(|| self.make(), Ok)
    }

    /// Takes back an end that was taken.
    pub(crate) fn give_back(&self, end: Box<E>) {
        self.others().idle.push(end);
    }

    #[cold]
    fn make(&self) -> io::Result<Box<E>> {
        let _uncancelled = Uncancelled::begin();
        let made = Box::new(E::of(&self.pattern)?);
        let mut others = self.others();
        others.made += 1;
        let missing = others.made - others.idle.len();
        others.idle.reserve(missing);
        Ok(made)
    }

    pub(crate) fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    fn others(&self) -> MutexGuard<'_, Others<E>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An end that one thread has for a while.
pub(crate) enum Borrowed<'a, E: End> {
    First(MutexGuard<'a, E>),
    Other {
        pool: &'a Pool<E>,
        /// `None` only while it is given back.
        end: Option<Box<E>>,
    },
}

impl<E: End> Deref for Borrowed<'_, E> {
    type Target = E;

    fn deref(&self) -> &E {
        match self {
            Self::First(first) => first,
            Self::Other { end, .. } => end.as_ref().expect("it has not been given back"),
        }
    }
}

impl<E: End> DerefMut for Borrowed<'_, E> {
    fn deref_mut(&mut self) -> &mut E {
        match self {
            Self::First(first) => first,
            Self::Other { end, .. } => end.as_mut().expect("it has not been given back"),
        }
    }
}

impl<E: End> Drop for Borrowed<'_, E> {
    fn drop(&mut self) {
        if let Self::Other { pool, end } = self
            && let Some(end) = end.take()
        {
            pool.give_back(end);
        }
    }
}
