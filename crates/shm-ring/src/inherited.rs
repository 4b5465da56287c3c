#![allow(unsafe_code)]
//! Descriptors that a parent has passed by number. Unsafe because a number becomes an owner.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::sync::{Mutex, PoisonError};

use crate::sys;

static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// What a descriptor is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A regular file.
    Segment,
    /// A pipe of the kernel.
    Bell,
}

/// Takes possession of descriptor `number`, which this process inherited for the purpose, and marks it close-on-exec.
/// Each number can be taken once.
///
/// # Errors
/// `NotFound` if there is no such descriptor, it is not what is expected, or it has been taken already.
pub fn take(number: RawFd, expected: Expected) -> io::Result<OwnedFd> {
    let gone = || {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("descriptor {number} has been taken up already, or was never handed over"),
        )
    };
    if number <= last_standard_stream() {
        return Err(gone());
    }
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: used for one question, whose answer is an error if there is no such descriptor.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let copy = File::from(borrowed.try_clone_to_owned().map_err(|_| gone())?);
    let kind = copy.metadata()?.file_type();
    let is_expected = match expected {
        Expected::Segment => kind.is_file(),
        Expected::Bell => kind.is_fifo(),
    };
    if !is_expected || !taken.insert(number) {
        return Err(gone());
    }
    sys::close_on_exec(borrowed)?;
    // SAFETY: it is open, this process inherited it to be taken here, and it is taken once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn last_standard_stream() -> RawFd {
    io::stderr().as_raw_fd()
}
