#![allow(unsafe_code)]
//! Words in memory that processes share, and a mutex in it. Unsafe because it maps, and because the C library's mutex is used by its address.

use core::ptr::NonNull;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Bytes that are mapped.
const SIZE: usize = 4096;
/// Words behind the mutex.
const FIRST_WORD: usize = 16;

/// A page that is shared with whoever has its file.
#[derive(Debug)]
pub struct Shared {
    file: File,
    map: MmapRaw,
}

impl Shared {
    /// A new one, all zero.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Self> {
        let file = File::from(memfd_create("rival", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(SIZE as u64)?;
        Self::of(file)
    }

    /// That of somebody else.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(file: File) -> io::Result<Self> {
        let map = MmapOptions::new().len(SIZE).map_raw(&file)?;
        Ok(Self { file, map })
    }

    /// What makes it another process's too.
    ///
    /// # Errors
    /// If descriptors are short.
    pub fn file(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }

    /// The words, behind the place of the mutex.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        let words = self.map.as_ptr().cast::<AtomicU64>();
        // SAFETY: page-aligned, so long, and mapped as long as this lives; atomics, which others may change.
        let words = unsafe { core::slice::from_raw_parts(words, SIZE / size_of::<AtomicU64>()) };
        &words[FIRST_WORD..]
    }

    /// Makes the mutex, once.
    pub(crate) fn make_mutex(&self) {
        let mut attributes = core::mem::MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: room for attributes.
        unsafe { libc::pthread_mutexattr_init(attributes) };
        // SAFETY: attributes that have just been made.
        unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) };
        // SAFETY: as above.
        unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) };
        // SAFETY: room for a mutex that nobody uses yet.
        unsafe { libc::pthread_mutex_init(self.mutex().as_ptr(), attributes) };
        // SAFETY: attributes that nobody uses any more.
        unsafe { libc::pthread_mutexattr_destroy(attributes) };
    }

    /// Locks the mutex if nobody has it; what its last owner was at when it died stays as it was.
    pub(crate) fn try_lock(&self) -> bool {
        // SAFETY: a mutex that has been made, by this process or by the one that has the page from it.
        match unsafe { libc::pthread_mutex_trylock(self.mutex().as_ptr()) } {
            0 => true,
            libc::EOWNERDEAD => {
                // SAFETY: as above, and this thread has it.
                unsafe { libc::pthread_mutex_consistent(self.mutex().as_ptr()) };
                true
            }
            _ => false,
        }
    }

    /// Gives it back.
    pub(crate) fn unlock(&self) {
        // SAFETY: as above.
        unsafe { libc::pthread_mutex_unlock(self.mutex().as_ptr()) };
    }

    fn mutex(&self) -> NonNull<libc::pthread_mutex_t> {
        const { assert!(size_of::<libc::pthread_mutex_t>() <= FIRST_WORD * size_of::<AtomicU64>()) };
        NonNull::new(self.map.as_mut_ptr().cast()).expect("a mapping is somewhere")
    }
}

// SAFETY: a mutex and atomics.
unsafe impl Sync for Shared {}
