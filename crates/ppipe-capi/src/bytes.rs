//! The POSIX verbs: bytes of a stream, and packets by O_DIRECT.

use std::io::{IoSlice, IoSliceMut};
use std::time::Duration;

use nix::libc::{c_int, c_void, iovec, size_t, ssize_t};

use crate::error::count;
use crate::pointers::{Buffers, Rooms, bytes_there, gather, room_there, scatter};
use crate::{ppipe, table};

/// Reads up to n bytes. 0 at the end of file. As read(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_read(p: *mut ppipe, buf: *mut c_void, n: size_t) -> ssize_t {
    // SAFETY: as the caller promises.
    unsafe { read(p, buf, n, None) }
}

/// Writes n bytes. As write(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_write(p: *mut ppipe, buf: *const c_void, n: size_t) -> ssize_t {
    // SAFETY: as the caller promises.
    unsafe { write(p, buf, n, None) }
}

/// Reads into up to 1024 buffers. As readv(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_readv(p: *mut ppipe, iov: *const iovec, iovcnt: c_int) -> ssize_t {
    count(table::with(p, |handle| {
        let end = handle.reader()?;
        let mut rooms = Rooms::new();
        // SAFETY: as the caller promises.
        let missing = unsafe { scatter(iov, iovcnt, &mut rooms) }?;
        end.read_missing(&mut rooms, missing, None)
    }))
}

/// Writes up to 1024 buffers. As writev(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_writev(p: *mut ppipe, iov: *const iovec, iovcnt: c_int) -> ssize_t {
    count(table::with_writer(p, |end| {
        let mut buffers = Buffers::new();
        // SAFETY: as the caller promises.
        let missing = unsafe { gather(iov, iovcnt, &mut buffers) }?;
        end.write_missing(&buffers, missing, None)
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
    // SAFETY: as the caller promises.
    unsafe { read(p, buf, n, Some(duration(milliseconds))) }
}

/// As ppipe_write, but waits no longer than that, also if nonblocking; then ETIMEDOUT if nothing was written. A negative number is no limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_write_timeout(
    p: *mut ppipe,
    buf: *const c_void,
    n: size_t,
    milliseconds: c_int,
) -> ssize_t {
    // SAFETY: as the caller promises.
    unsafe { write(p, buf, n, Some(duration(milliseconds))) }
}

/// # Safety
/// There is so much room, or none where the pointer is null.
#[inline]
unsafe fn read(p: *mut ppipe, buf: *mut c_void, n: size_t, timeout: Option<Duration>) -> ssize_t {
    count(table::with(p, |handle| {
        let end = handle.reader()?;
        // SAFETY: as the caller promises.
        let (room, missing) = unsafe { room_there(buf, n) }?;
        end.read_missing(&mut [IoSliceMut::new(room)], missing, timeout)
    }))
}

/// # Safety
/// There are so many bytes, or none where the pointer is null.
#[inline]
unsafe fn write(p: *mut ppipe, buf: *const c_void, n: size_t, timeout: Option<Duration>) -> ssize_t {
    count(table::with_writer(p, |end| {
        // SAFETY: as the caller promises.
        let (bytes, missing) = unsafe { bytes_there(buf, n) }?;
        end.write_missing(&[IoSlice::new(bytes)], missing, timeout)
    }))
}

pub(crate) fn duration(milliseconds: c_int) -> Duration {
    u64::try_from(milliseconds).map_or(Duration::MAX, Duration::from_millis)
}
