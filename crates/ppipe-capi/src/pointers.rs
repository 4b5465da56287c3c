//! What comes from C as a pointer and a length, as text, or as the number of a descriptor.

use std::ffi::CStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

use nix::libc::{EBADF, EFAULT, EINVAL, c_char, c_int, c_void, iovec};
use smallvec::SmallVec;

use crate::error::of;

/// More buffers than this a call does not take.
const MOST_BUFFERS: c_int = 1024;
/// No program has memory from there on, so the kernel does not look whether there is some.
const MOST_ADDRESS: usize = 1 << 56;

/// The buffers of a `writev`, on the stack.
pub(crate) type Buffers<'a> = SmallVec<[IoSlice<'a>; MOST_BUFFERS as usize]>;
/// The buffers of a `readv`, on the stack.
pub(crate) type Rooms<'a> = SmallVec<[IoSliceMut<'a>; MOST_BUFFERS as usize]>;

/// The bytes at `start`.
///
/// # Safety
/// There are so many, and nobody changes them while 'a lasts; or `start` is null.
pub(crate) unsafe fn bytes<'a>(start: *const c_void, len: usize) -> io::Result<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    check(start, len)?;
    // SAFETY: not null, and the caller has promised the rest.
    Ok(unsafe { core::slice::from_raw_parts(start.cast(), len) })
}

/// Room for bytes at `start`.
///
/// # Safety
/// There is so much, and nobody else uses it while 'a lasts; or `start` is null.
pub(crate) unsafe fn room<'a>(start: *mut c_void, len: usize) -> io::Result<&'a mut [u8]> {
    if len == 0 {
        return Ok(&mut []);
    }
    check(start, len)?;
    // SAFETY: not null, and the caller has promised the rest.
    Ok(unsafe { core::slice::from_raw_parts_mut(start.cast(), len) })
}

/// The bytes of a `write`, as far as they are there, and how many are not: behind a null pointer.
///
/// # Safety
/// As [`bytes`].
#[inline]
pub(crate) unsafe fn bytes_there<'a>(start: *const c_void, len: usize) -> io::Result<(&'a [u8], usize)> {
    if start.is_null() {
        return check_range(start, len).map(|()| (&[][..], len));
    }
    // SAFETY: as promised by the caller.
    Ok((unsafe { bytes(start, len) }?, 0))
}

/// Room for a `read`, as far as there is memory, and for how many bytes there is none.
///
/// # Safety
/// As [`room`].
#[inline]
pub(crate) unsafe fn room_there<'a>(start: *mut c_void, len: usize) -> io::Result<(&'a mut [u8], usize)> {
    if start.is_null() {
        return check_range(start, len).map(|()| (&mut [][..], len));
    }
    // SAFETY: as promised by the caller.
    Ok((unsafe { room(start, len) }?, 0))
}

/// Puts the buffers of a `writev` into `buffers`, up to the first one that is not there. How many bytes are missing from there on.
///
/// # Safety
/// There are so many, each as [`bytes`] wants it; or one of the pointers is null.
pub(crate) unsafe fn gather(first: *const iovec, count: c_int, buffers: &mut Buffers<'_>) -> io::Result<usize> {
    // SAFETY: as promised by the caller.
    let (there, missing) = unsafe { vectors_there(first, count) }?;
    for vector in there {
        // SAFETY: as promised by the caller.
        buffers.push(IoSlice::new(unsafe { bytes(vector.iov_base, vector.iov_len) }?));
    }
    Ok(missing)
}

/// Puts the buffers of a `readv` into `rooms`, up to the first one for which there is no memory. How many bytes are missing from there on.
///
/// # Safety
/// There are so many, each as [`room`] wants it; or one of the pointers is null.
pub(crate) unsafe fn scatter(first: *const iovec, count: c_int, rooms: &mut Rooms<'_>) -> io::Result<usize> {
    // SAFETY: as promised by the caller.
    let (there, missing) = unsafe { vectors_there(first, count) }?;
    for vector in there {
        // SAFETY: as promised by the caller.
        rooms.push(IoSliceMut::new(unsafe { room(vector.iov_base, vector.iov_len) }?));
    }
    Ok(missing)
}

/// For a message: all of it has to be there.
pub(crate) fn all_there(missing: usize) -> io::Result<()> {
    if missing == 0 { Ok(()) } else { Err(of(EFAULT)) }
}

/// # Safety
/// There are so many, or `first` is null.
unsafe fn vectors_there<'a>(first: *const iovec, count: c_int) -> io::Result<(&'a [iovec], usize)> {
    // SAFETY: as promised by the caller.
    let vectors = unsafe { vectors(first, count) }?;
    let is_missing = |vector: &iovec| vector.iov_base.is_null() && vector.iov_len > 0;
    let there = vectors.iter().position(is_missing).unwrap_or(vectors.len());
    let (there, missing) = vectors.split_at(there);
    Ok((there, missing.iter().map(|vector| vector.iov_len).fold(0, usize::saturating_add)))
}

/// A packet of a batch, where C says that it is.
#[repr(transparent)]
pub(crate) struct Packet(iovec);

impl AsRef<[u8]> for Packet {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: whoever made it has promised that the bytes are there.
        unsafe { bytes(self.0.iov_base, self.0.iov_len) }.unwrap_or(&[])
    }
}

/// The packets of a batch.
///
/// # Safety
/// There are so many, each as [`bytes`] wants it; or one of the pointers is null.
pub(crate) unsafe fn packets<'a>(first: *const iovec, count: c_int) -> io::Result<&'a [Packet]> {
    // SAFETY: as promised by the caller.
    let vectors = unsafe { vectors(first, count) }?;
    are_possible(vectors)?;
    // SAFETY: the same memory, seen as what has the same layout.
    Ok(unsafe { core::slice::from_raw_parts(vectors.as_ptr().cast(), vectors.len()) })
}

/// The places for the packets of a batch, each of which [`room`] makes a buffer of.
///
/// # Safety
/// There are so many, or one of the pointers is null.
pub(crate) unsafe fn places<'a>(first: *const iovec, count: c_int) -> io::Result<&'a [iovec]> {
    // SAFETY: as promised by the caller.
    let vectors = unsafe { vectors(first, count) }?;
    are_possible(vectors)?;
    Ok(vectors)
}

fn are_possible(vectors: &[iovec]) -> io::Result<()> {
    vectors.iter().filter(|vector| vector.iov_len > 0).try_for_each(|vector| check(vector.iov_base, vector.iov_len))
}

/// # Safety
/// There are so many, or `first` is null.
unsafe fn vectors<'a>(first: *const iovec, count: c_int) -> io::Result<&'a [iovec]> {
    if !(0..=MOST_BUFFERS).contains(&count) {
        return Err(of(EINVAL));
    }
    if count == 0 {
        return Ok(&[]);
    }
    check(first.cast(), count as usize)?;
    // SAFETY: not null, and the caller has promised the rest.
    let vectors: &[iovec] = unsafe { core::slice::from_raw_parts(first, count as usize) };
    // As the kernel: first all lengths, then all places.
    if vectors.iter().any(|vector| isize::try_from(vector.iov_len).is_err()) {
        return Err(of(EINVAL));
    }
    vectors.iter().try_for_each(|vector| check_range(vector.iov_base, vector.iov_len))?;
    Ok(vectors)
}

/// A name.
///
/// # Safety
/// It is null or ends with a null byte.
pub(crate) unsafe fn text<'a>(name: *const c_char) -> io::Result<&'a str> {
    if name.is_null() {
        return Err(of(EFAULT));
    }
    // SAFETY: not null, and the caller has promised the rest.
    unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| of(EINVAL))
}

/// A descriptor of the caller's, who does not close it meanwhile.
pub(crate) fn descriptor<'a>(fd: c_int) -> io::Result<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(of(EBADF));
    }
    // SAFETY: not -1; if it is not open the system says so.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

fn check(start: *const c_void, len: usize) -> io::Result<()> {
    if start.is_null() { Err(of(EFAULT)) } else { check_range(start, len) }
}

/// Whether anything can be there, though it need not be.
#[inline]
fn check_range(start: *const c_void, len: usize) -> io::Result<()> {
    let is_possible = start.addr().checked_add(len).is_some_and(|end| end <= MOST_ADDRESS);
    if is_possible { Ok(()) } else { Err(of(EFAULT)) }
}
