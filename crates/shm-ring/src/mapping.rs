#![allow(unsafe_code)]
//! A file's bytes in memory, guarded against their going away. Unsafe because it maps and unmaps.
//!
//! ```text
//!   in tests:   | a page that nobody may touch | the file | a page that nobody may touch |
//!   otherwise:                                 | the file |
//! ```
//!
//! The two pages see to it that an access outside the mapping ends a test instead of hitting whatever is mapped there. What ships has none: every
//! index is checked before it is used, which is what the tests show, and three mappings for each pipe instead of one would halve how many pipes
//! a process can have (the kernel's limit is 65,530 mappings).

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};
use std::fs::File;
use std::io;

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use crate::bell_pipe::page_size;
use crate::sigbus::Guard;

static IS_FENCED: AtomicBool = AtomicBool::new(false);

/// For tests: from now on nothing is mapped by this process directly before and behind a segment.
#[doc(hidden)]
pub fn fence_segments() {
    // Relaxed: asked by whoever maps something later.
    IS_FENCED.store(true, Ordering::Relaxed);
}

/// The first bytes of a file, to be read and written by this process and others.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// Before the pages: it is dropped before they are unmapped.
    guard: Guard,
    pages: Pages,
}

/// Mapped pages, and the fences around them. Dropping it unmaps them.
#[derive(Debug)]
struct Pages {
    whole: *mut c_void,
    whole_len: usize,
    start: *mut c_void,
}

// SAFETY: it owns its mapping; what is done with what is in there takes other threads and processes into account.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Mapping {
    /// Maps the first `len` bytes of `file`, which may have fewer.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn new(file: &File, len: u64) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // Relaxed: set by the test before there is a pipe.
        let pages = if IS_FENCED.load(Ordering::Relaxed) { Pages::fenced(file, len)? } else { Pages::new(file, len)? };
        Ok(Self { guard: Guard::over(pages.start, len), pages })
    }

    /// The first byte.
    #[inline(always)]
    pub(crate) fn start(&self) -> *mut u8 {
        self.pages.start.cast()
    }

    /// What tells whether it is still the file's memory.
    #[inline(always)]
    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }
}

const ACCESS: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

impl Pages {
    fn new(file: &File, len: usize) -> io::Result<Self> {
        // SAFETY: a new mapping, wherever there is room.
        let start = unsafe { mmap(ptr::null_mut(), len, ACCESS, MapFlags::SHARED, file, 0) }?;
        Ok(Self { whole: start, whole_len: len, start })
    }

    fn fenced(file: &File, len: usize) -> io::Result<Self> {
        let page = page_size();
        let whole_len = len.next_multiple_of(page) + 2 * page;
        // SAFETY: a new mapping, wherever there is room.
        let whole = unsafe { mmap_anonymous(ptr::null_mut(), whole_len, ProtFlags::empty(), MapFlags::PRIVATE) }?;
        // From here on it is unmapped, whatever comes.
        let pages = Self { whole, whole_len, start: whole.wrapping_byte_add(page) };
        // SAFETY: within the mapping that has just been made, to which nobody has a reference.
        unsafe { mmap(pages.start, len, ACCESS, MapFlags::SHARED | MapFlags::FIXED, file, 0) }?;
        Ok(pages)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the whole of a mapping of its own; whoever has addresses in it has borrowed what owns this.
        let _ = unsafe { munmap(self.whole, self.whole_len) };
    }
}
