//! From Rust's errors to `errno`.

use std::io::{self, ErrorKind};

use errno::{Errno, set_errno};
use nix::libc;

/// What C is told: the number, or -1 and `errno`.
pub(crate) fn count(result: io::Result<usize>) -> isize {
    match result {
        Ok(count) => isize::try_from(count).unwrap_or(isize::MAX),
        Err(error) => {
            tell(&error);
            -1
        }
    }
}

/// The same as an `int`.
pub(crate) fn number(result: io::Result<usize>) -> libc::c_int {
    match result {
        Ok(number) => libc::c_int::try_from(number).unwrap_or(libc::c_int::MAX),
        Err(error) => {
            tell(&error);
            -1
        }
    }
}

/// 0, or -1 and `errno`.
pub(crate) fn done(result: io::Result<()>) -> libc::c_int {
    number(result.map(|()| 0))
}

/// Sets `errno`.
pub(crate) fn tell(error: &io::Error) {
    set_errno(Errno(code_of(error)));
}

pub(crate) fn of(code: libc::c_int) -> io::Error {
    io::Error::from_raw_os_error(code)
}

fn code_of(error: &io::Error) -> libc::c_int {
    error.raw_os_error().unwrap_or(match error.kind() {
        ErrorKind::WouldBlock => libc::EAGAIN,
        ErrorKind::BrokenPipe => libc::EPIPE,
        ErrorKind::TimedOut => libc::ETIMEDOUT,
        ErrorKind::Interrupted => libc::EINTR,
        ErrorKind::NotFound => libc::ENOENT,
        ErrorKind::AlreadyExists => libc::EEXIST,
        ErrorKind::InvalidInput => libc::EINVAL,
        ErrorKind::PermissionDenied => libc::EACCES,
        ErrorKind::OutOfMemory => libc::ENOMEM,
        ErrorKind::StorageFull => libc::ENOSPC,
        ErrorKind::FileTooLarge => libc::EFBIG,
        ErrorKind::QuotaExceeded => libc::ENFILE,
        // The end of a socket, where an end of a pipe was to come.
        ErrorKind::UnexpectedEof => libc::ENODATA,
        // Shared memory that says nonsense.
        ErrorKind::InvalidData => libc::EBADMSG,
        _ => libc::EIO,
    })
}
