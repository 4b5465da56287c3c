//! A descriptor for event loops.

use std::os::fd::AsRawFd;

use nix::libc::c_int;

use crate::cancel::Uncancelled;
use crate::error::number;
use crate::{ppipe, table};

/// A descriptor for poll, select and epoll: it shows what the handle is ready for, as that of a pipe does. Good for nothing else: do not read, write or
/// close it. Duplicates of the handle have the same one; it is closed with the last of them. A forked child has its own, by the same number.
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_fd(p: *mut ppipe) -> c_int {
    let _uncancelled = Uncancelled::begin();
    number(table::with(p, |handle| {
        let reader = if handle.is_reader() { Some(handle.reader()?) } else { None };
        let writer = if handle.is_writer() { Some(handle.writer()?) } else { None };
        let descriptor = ppipe_rs::poll_fd_of(reader.as_deref(), writer.as_deref())?;
        usize::try_from(descriptor.as_raw_fd()).map_err(|_| crate::error::of(nix::libc::EBADF))
    }))
}
