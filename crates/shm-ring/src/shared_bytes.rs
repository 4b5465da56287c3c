#![allow(unsafe_code)]
//! Bytes in shared memory, in place. Unsafe because it refers to memory that other processes have mapped.

use core::sync::atomic::AtomicU8;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

use crate::bytes;

/// A range of shared memory. While it is borrowed, no process that keeps the rules writes to it; one that does not can,
/// so that what is read may change between two looks. Copy first, then check.
#[derive(Clone, Copy, Debug)]
pub struct SharedBytes<'a>(&'a [AtomicU8]);

impl<'a> SharedBytes<'a> {
    /// The `len` bytes at `start`.
    ///
    /// # Safety
    /// They lie in a mapping that can be read and written and lives as long as 'a.
    pub(crate) unsafe fn new(start: *mut u8, len: usize) -> Self {
        // SAFETY: valid for 'a by the caller's promise; an AtomicU8 has the size and alignment of a byte.
        Self(unsafe { core::slice::from_raw_parts(start.cast(), len) })
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The `len` bytes from `at` on.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn range(self, at: usize, len: usize) -> Self {
        Self(&self.0[at..at + len])
    }

    /// Each byte as a cell of its own.
    #[must_use]
    pub fn cells(self) -> &'a [AtomicU8] {
        self.0
    }

    /// Copies the bytes from `at` on to `out`.
    ///
    /// # Panics
    /// If there are fewer than `out` takes.
    pub fn copy_to(self, at: usize, out: &mut [u8]) {
        let from = &self.0[at..at + out.len()];
        // SAFETY: `from` and `out` have that many bytes, and nobody else has `out`.
        unsafe { bytes::copy(from.as_ptr().cast(), out.as_mut_ptr(), out.len()) };
    }

    /// Copies `source` to the bytes from `at` on.
    ///
    /// # Panics
    /// If there are fewer than `source` has.
    pub fn copy_from(self, at: usize, source: &[u8]) {
        let to = &self.0[at..at + source.len()];
        // SAFETY: `source` and `to` have that many bytes; what is behind an AtomicU8 may be written.
        unsafe { bytes::copy(source.as_ptr(), to.as_ptr().cast_mut().cast(), source.len()) };
    }

    /// Writes the bytes to `fd`, or as many as it takes. Mirrors `write`.
    ///
    /// # Errors
    /// The system's.
    pub fn write_to(self, fd: impl AsFd) -> io::Result<usize> {
        let (start, fd) = (self.0.as_ptr().cast(), fd.as_fd().as_raw_fd());
        // SAFETY: the bytes lie in a mapping; the kernel reads them and nothing else.
        let written = unsafe { libc::write(fd, start, self.0.len()) };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }

    /// Reads from `fd` into the bytes, as many as it gives. Mirrors `read`.
    ///
    /// # Errors
    /// The system's.
    pub fn read_from(self, fd: impl AsFd) -> io::Result<usize> {
        let (start, fd) = (self.0.as_ptr().cast_mut().cast(), fd.as_fd().as_raw_fd());
        // SAFETY: the bytes lie in a mapping and may be written; the kernel writes them and nothing else.
        let read = unsafe { libc::read(fd, start, self.0.len()) };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    }

    /// The bytes as an ordinary slice.
    ///
    /// # Safety
    /// As long as the slice is used, no process writes to them: every process that has the pipe open keeps the rules.
    #[must_use]
    pub unsafe fn as_slice(self) -> &'a [u8] {
        // SAFETY: valid for 'a, and nobody writes, by the caller's promise.
        unsafe { core::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len()) }
    }

    /// The bytes as an ordinary slice to write to.
    ///
    /// # Safety
    /// As long as the slice is used, no process writes to them or reads from them, and there is no other slice or cell of
    /// them in use: every process that has the pipe open keeps the rules, and this is the only copy of the value.
    #[must_use]
    pub unsafe fn as_mut_slice(self) -> &'a mut [u8] {
        // SAFETY: valid for 'a, and nobody else has them, by the caller's promise.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_ptr().cast_mut().cast(), self.0.len()) }
    }
}

#[cfg(test)]
mod tests {
    use crate::layout::Geometry;
    use crate::segment::Segment;

    #[test]
    fn slices_cells_and_copies_are_of_the_same_bytes() {
        let segment = Segment::anonymous(Geometry::default()).expect("a segment");
        let bytes = segment.pages().in_place(3, 8, 5);
        bytes.copy_from(0, b"abcde");
        // SAFETY: nobody else knows of this segment, and nothing else of it is in use.
        let slice = unsafe { bytes.as_mut_slice() };
        slice[1] = b'x';
        bytes.cells()[2].store(b'y', core::sync::atomic::Ordering::Relaxed);
        // SAFETY: as above.
        assert_eq!(unsafe { bytes.as_slice() }, b"axyde");
        let mut copy = [0; 3];
        bytes.copy_to(2, &mut copy);
        assert_eq!(&copy, b"yde");
    }
}
