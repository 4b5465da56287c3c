#![allow(unsafe_code)]
//! Descriptors that a parent has passed by number. Unsafe because a number becomes an owner.
//!
//! A number may be all that has come to us: the descriptor stayed behind, and something else has the number now. So it is looked
//! at first, by a copy, and possessed only when the caller knows what it is. What this process has opened itself is never taken for
//! inherited: it is closed by exec, and what was handed over is not.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::{Mutex, PoisonError};

use crate::forking::NoFork;
use crate::sys;

/// Taken only while nobody forks, where forks are prepared for.
static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// What a descriptor is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A regular file.
    Segment,
    /// A pipe of the kernel.
    Bell,
}

/// A descriptor that this process inherited; not possessed yet.
#[derive(Debug)]
pub struct Inherited {
    number: RawFd,
    copy: File,
}

impl Inherited {
    /// Looks at descriptor `number`.
    ///
    /// # Errors
    /// `NotFound` if there is no such descriptor, it is not what is expected, this process has opened it itself, or it has been
    /// possessed already.
    pub fn look_at(number: RawFd, expected: Expected) -> io::Result<Self> {
        let _no_fork = NoFork::hold();
        if number <= last_standard_stream() || taken().contains(&number) {
            return Err(gone(number));
        }
        // SAFETY: used for two questions, whose answers are errors if there is no such descriptor.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        let is_inherited = !sys::is_closed_on_exec(borrowed).map_err(|_| gone(number))?;
        let copy = File::from(borrowed.try_clone_to_owned().map_err(|_| gone(number))?);
        let kind = copy.metadata()?.file_type();
        let is_expected = match expected {
            Expected::Segment => kind.is_file(),
            Expected::Bell => kind.is_fifo(),
        };
        if is_inherited && is_expected { Ok(Self { number, copy }) } else { Err(gone(number)) }
    }

    /// A copy of it, close-on-exec.
    ///
    /// # Errors
    /// If descriptors are short.
    pub fn try_clone(&self) -> io::Result<OwnedFd> {
        Ok(self.copy.try_clone()?.into())
    }

    /// Possesses the descriptor, which the caller knows to be meant for it, and closes it.
    pub fn close(self) {
        let _no_fork = NoFork::hold();
        let same = |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        let is_still_there = Self::look_at(self.number, self.expected())
            .is_ok_and(|again| matches!((again.copy.metadata(), self.copy.metadata()), (Ok(a), Ok(b)) if same(&a, &b)));
        if is_still_there && taken().insert(self.number) {
            // SAFETY: it is open, this process inherited it to be taken here, and it is taken once.
            drop(unsafe { OwnedFd::from_raw_fd(self.number) });
        }
    }

    fn expected(&self) -> Expected {
        let is_file = self.copy.metadata().is_ok_and(|metadata| metadata.is_file());
        if is_file { Expected::Segment } else { Expected::Bell }
    }
}

impl AsFd for Inherited {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.copy.as_fd()
    }
}

fn taken() -> std::sync::MutexGuard<'static, BTreeSet<RawFd>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gone(number: RawFd) -> io::Error {
    let what = format!("descriptor {number} has been taken up already, or was never handed over");
    io::Error::new(io::ErrorKind::NotFound, what)
}

fn last_standard_stream() -> RawFd {
    io::stderr().as_raw_fd()
}
