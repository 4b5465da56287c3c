#![allow(unsafe_code)]
//! Descriptors that say that this process is there: of locks, of bells, and of what is shown to `poll`. Unsafe because a forked child closes them by number.
//!
//! A forked child has copies of all of them, and as long as it has one of them its parent counts as alive, or as one who could ring. So the child
//! closes what is its parent's. It cannot go by who has them: that may be a thread, in the midst of a call, which the child does not have. So there
//! is a list of all that are open, and each is on it from before it can be copied until it is closed.
//!
//! # Why nothing else is ever closed
//! A number is on the list as long as the descriptor is open, and both change together, while nobody forks. What the child has closed is not on its
//! list any more; the values that it has copies of, and that may yet be dropped, see that and leave the number alone, whoever has it by then.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::forking::{self, NoFork};

/// What is open, in the order of the numbers: when it was opened. Taken only while nobody forks.
static OPEN: Mutex<Vec<(RawFd, u64)>> = Mutex::new(Vec::new());
/// There is room for so many from the start: a call that opens one for a while, to sleep say, is not to ask for memory.
const FIRST_ROOM: usize = 256;
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A descriptor that a forked child closes its copy of.
#[derive(Debug)]
pub struct OwnFd {
    descriptor: ManuallyDrop<OwnedFd>,
    /// `None`: it is not on the list, since nobody prepares for forks here.
    opened: Option<u64>,
}

impl OwnFd {
    /// What `open` opens. It is not to wait.
    ///
    /// # Errors
    /// What `open` says.
    pub fn open<E>(open: impl FnOnce() -> Result<OwnedFd, E>) -> Result<Self, E> {
        let _no_fork = NoFork::hold();
        open().map(Self::from)
    }

    /// Another descriptor of the same description.
    ///
    /// # Errors
    /// If descriptors are short.
    pub fn try_clone(&self) -> io::Result<Self> {
        Self::open(|| self.descriptor.try_clone())
    }

    /// Takes it off the list. Whether it is to be closed.
    fn is_open_still(&self) -> bool {
        let Some(opened) = self.opened.filter(|_| forking::is_prepared()) else { return true };
        let mut open = open();
        let number = self.descriptor.as_raw_fd();
        match open.binary_search(&(number, opened)) {
            Ok(at) => {
                open.remove(at);
                true
            }
            Err(_) => false,
        }
    }
}

/// Whoever opened it sees to it that nobody has forked since.
impl From<OwnedFd> for OwnFd {
    fn from(descriptor: OwnedFd) -> Self {
        let opened = forking::is_prepared().then(|| {
            let _no_fork = NoFork::hold();
            // Relaxed: taken and compared under the lock.
            let opened = NEXT.fetch_add(1, Ordering::Relaxed);
            let (mut open, number) = (open(), descriptor.as_raw_fd());
            if open.capacity() == 0 {
                open.reserve(FIRST_ROOM);
            }
            let at = open.partition_point(|&(other, _)| other < number);
            match open.get_mut(at) {
                // Somebody has closed it who knew nothing of it.
                Some(other) if other.0 == number => other.1 = opened,
                _ => open.insert(at, (number, opened)),
            }
            opened
        });
        Self { descriptor: ManuallyDrop::new(descriptor), opened }
    }
}

/// From here on it is closed by nobody but its owner.
impl From<OwnFd> for OwnedFd {
    fn from(own: OwnFd) -> Self {
        let mut own = ManuallyDrop::new(own);
        let _no_fork = NoFork::hold();
        own.is_open_still();
        // SAFETY: the value is not dropped, and nobody else has it.
        unsafe { ManuallyDrop::take(&mut own.descriptor) }
    }
}

impl AsFd for OwnFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for OwnFd {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

impl Drop for OwnFd {
    fn drop(&mut self) {
        let _no_fork = NoFork::hold();
        if self.is_open_still() {
            // Not by a function of the C library: it could unwind a thread that is cancelled, in the midst of a call.
            // SAFETY: this value's own, which is used no more.
            unsafe { rustix::io::close(self.descriptor.as_raw_fd()) };
        }
    }
}

fn open() -> MutexGuard<'static, Vec<(RawFd, u64)>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn next_number() -> u64 {
    NEXT.load(Ordering::Relaxed)
}

/// In a forked child: closes all that were opened before that number was the next one.
pub(crate) fn close_below(first_kept: u64) {
    open().retain(|&(number, opened)| {
        let is_kept = opened >= first_kept;
        if !is_kept {
            // SAFETY: it is open, being on the list; whose it was is a value that finds it off the list now.
            unsafe { rustix::io::close(number) };
        }
        is_kept
    });
}
