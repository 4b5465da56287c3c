//! What comes from C as a pointer and a length, as text, or as the number of a descriptor.

use std::ffi::CStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

use nix::libc::{EBADF, EFAULT, EINVAL, c_char, c_int, c_void, iovec};

use crate::error::of;

/// More buffers than this a call does not take.
const MOST_BUFFERS: c_int = 1024;

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

/// The buffers of a `writev`.
///
/// # Safety
/// There are so many, each as [`bytes`] wants it; or one of the pointers is null.
pub(crate) unsafe fn buffers<'a>(first: *const iovec, count: c_int) -> io::Result<Vec<IoSlice<'a>>> {
    // SAFETY: as promised by the caller.
    let vectors = unsafe { vectors(first, count) }?;
    // SAFETY: as promised by the caller.
    vectors.iter().map(|vector| Ok(IoSlice::new(unsafe { bytes(vector.iov_base, vector.iov_len) }?))).collect()
}

/// The buffers of a `readv`.
///
/// # Safety
/// There are so many, each as [`room`] wants it; or one of the pointers is null.
pub(crate) unsafe fn rooms<'a>(first: *const iovec, count: c_int) -> io::Result<Vec<IoSliceMut<'a>>> {
    // SAFETY: as promised by the caller.
    let vectors = unsafe { vectors(first, count) }?;
    // SAFETY: as promised by the caller.
    vectors.iter().map(|vector| Ok(IoSliceMut::new(unsafe { room(vector.iov_base, vector.iov_len) }?))).collect()
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
    // As the kernel: together no more than can be told.
    let total = vectors.iter().try_fold(0_usize, |sum, vector| sum.checked_add(vector.iov_len));
    let is_possible = total.is_some_and(|total| isize::try_from(total).is_ok());
    if is_possible { Ok(vectors) } else { Err(of(EINVAL)) }
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
    let is_possible = !start.is_null() && isize::try_from(len).is_ok() && (start as usize).checked_add(len).is_some();
    if is_possible { Ok(()) } else { Err(of(EFAULT)) }
}
