//! The size of a pipe, and how much is in it.

use nix::libc::{self, c_int, c_uint};

use crate::error::{done, number, of};
use crate::{ppipe, table};

/// Bytes that the pipe holds. As fcntl(F_GETPIPE_SZ).
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_getsize(p: *mut ppipe) -> c_int {
    number(table::with(p, |handle| match handle.reader() {
        Ok(reader) => Ok(reader.capacity()),
        Err(_) => Ok(handle.writer()?.capacity()),
    }))
}

/// Makes it hold so many, rounded up; returns how many that are. As fcntl(F_SETPIPE_SZ).
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_setsize(p: *mut ppipe, bytes: c_uint) -> c_int {
    number(table::with(p, |handle| match handle.reader() {
        Ok(reader) => reader.resize(bytes as usize),
        Err(_) => handle.writer()?.resize(bytes as usize),
    }))
}

/// How many bytes are in it. As ioctl(FIONREAD).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_nread(p: *mut ppipe, bytes: *mut c_int) -> c_int {
    done(table::with(p, |handle| {
        let unread = match handle.reader() {
            Ok(reader) => reader.unread()?,
            Err(_) => handle.writer()?.unread()?,
        };
        if bytes.is_null() {
            return Err(of(libc::EFAULT));
        }
        // SAFETY: not null; there is room for one, as the caller promises.
        unsafe { bytes.write(c_int::try_from(unread).unwrap_or(c_int::MAX)) };
        Ok(())
    }))
}
