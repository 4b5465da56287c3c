//! The POSIX verbs: bytes of a stream, and packets by O_DIRECT.

use std::io::{Read, Write};
use std::time::Duration;

use nix::libc::{c_int, c_void, iovec, size_t, ssize_t};

use crate::error::count;
use crate::pointers::{buffers, bytes, room, rooms};
use crate::{ppipe, table};

/// Reads up to n bytes. 0 at the end of file. As read(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_read(p: *mut ppipe, buf: *mut c_void, n: size_t) -> ssize_t {
    count(table::with(p, |handle| {
        let end = handle.reader()?;
        // SAFETY: as the caller promises.
        (&*end).read(unsafe { room(buf, n) }?)
    }))
}

/// Writes n bytes. As write(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_write(p: *mut ppipe, buf: *const c_void, n: size_t) -> ssize_t {
    count(table::with(p, |handle| {
        let end = handle.writer()?;
        // SAFETY: as the caller promises.
        (&*end).write(unsafe { bytes(buf, n) }?)
    }))
}

/// Reads into up to 1024 buffers. As readv(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_readv(p: *mut ppipe, iov: *const iovec, iovcnt: c_int) -> ssize_t {
    count(table::with(p, |handle| {
        let end = handle.reader()?;
        // SAFETY: as the caller promises.
        (&*end).read_vectored(&mut unsafe { rooms(iov, iovcnt) }?)
    }))
}

/// Writes up to 1024 buffers. As writev(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_writev(p: *mut ppipe, iov: *const iovec, iovcnt: c_int) -> ssize_t {
    count(table::with(p, |handle| {
        let end = handle.writer()?;
        // SAFETY: as the caller promises.
        (&*end).write_vectored(&unsafe { buffers(iov, iovcnt) }?)
    }))
}

/// As ppipe_read, but waits no longer than that, also if nonblocking; then ETIMEDOUT. A negative number is no limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_read_timeout(
    p: *mut ppipe,
    buf: *mut c_void,
    n: size_t,
    milliseconds: c_int,
) -> ssize_t {
    count(table::with(p, |handle| {
        let end = handle.reader()?;
        // SAFETY: as the caller promises.
        end.read_timeout(unsafe { room(buf, n) }?, duration(milliseconds))
    }))
}

/// As ppipe_write, but waits no longer than that, also if nonblocking; then ETIMEDOUT if nothing was written. A negative number is no limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_write_timeout(
    p: *mut ppipe,
    buf: *const c_void,
    n: size_t,
    milliseconds: c_int,
) -> ssize_t {
    count(table::with(p, |handle| {
        let end = handle.writer()?;
        // SAFETY: as the caller promises.
        end.write_timeout(unsafe { bytes(buf, n) }?, duration(milliseconds))
    }))
}

pub(crate) fn duration(milliseconds: c_int) -> Duration {
    u64::try_from(milliseconds).map_or(Duration::MAX, Duration::from_millis)
}
