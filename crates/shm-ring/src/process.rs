#![allow(unsafe_code)]
//! Which process this is. Unsafe because a place in a mapping becomes a reference.
//!
//! A forked child has copies of all that its parent has, and must know that they are copies. Numbers do not tell: process 1 of a container that
//! makes another PID namespace and forks has a child that is number 1 too. So each process has a page of which a forked child gets an empty
//! one (`MADV_WIPEONFORK`), and in it a number that none of its ancestors had. A child by `vfork` or `clone(CLONE_VM)`, which goes on in its
//! parent's own memory, is told by its number.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::bell_pipe::page_size;

/// In place of a generation: none yet.
const UNKNOWN: u64 = 0;

static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
/// A forked child goes on counting where its parent was.
static NEXT: AtomicU64 = AtomicU64::new(UNKNOWN + 1);
/// Where there can be no such page. Then it is the number that tells, as far as it goes.
static NO_PAGE: AtomicU64 = AtomicU64::new(UNKNOWN);

/// A process; a copy of the value in a forked child is its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    number: u32,
    generation: u64,
}

impl Process {
    /// No process.
    pub const NONE: Self = Self { number: 0, generation: UNKNOWN };

    /// The calling one.
    #[must_use]
    pub fn this() -> Self {
        Self { number: std::process::id(), generation: generation() }
    }

    /// What it can be made of again, by [`Process::from_parts`].
    #[must_use]
    pub fn into_parts(self) -> (u32, u64) {
        (self.number, self.generation)
    }

    /// See [`Process::into_parts`].
    #[must_use]
    pub fn from_parts((number, generation): (u32, u64)) -> Self {
        Self { number, generation }
    }

    /// Its number, in its own PID namespace.
    #[must_use]
    pub fn number(self) -> u32 {
        self.number
    }

    /// Whether the calling one is not a forked child of this one. Without a system call, mostly: a child by `vfork` is not told apart.
    #[must_use]
    pub fn is_not_forked(self) -> bool {
        self.generation == generation()
    }

    /// Whether it is the calling one.
    #[must_use]
    pub fn is_this(self) -> bool {
        self.is_not_forked() && self.number == std::process::id()
    }
}

/// Differs from that of every ancestor.
pub(crate) fn generation() -> u64 {
    let word = word();
    if ptr::eq(word, &NO_PAGE) {
        return std::process::id().into();
    }
    // Relaxed, all of them: whoever gets the same has the same memory.
    match word.load(Ordering::Relaxed) {
        UNKNOWN => {
            let new = NEXT.fetch_add(1, Ordering::Relaxed);
            match word.compare_exchange(UNKNOWN, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => new,
                Err(known) => known,
            }
        }
        known => known,
    }
}

fn word() -> &'static AtomicU64 {
    // Acquire: pairs with the exchange below.
    let known = PAGE.load(Ordering::Acquire);
    // SAFETY: it is null or was put there by the exchange below: a page that is never unmapped.
    unsafe { known.as_ref() }.unwrap_or_else(make_word)
}

#[cold]
fn make_word() -> &'static AtomicU64 {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, wherever there is room.
    let Ok(page) = (unsafe { mmap_anonymous(ptr::null_mut(), page_size(), access, MapFlags::PRIVATE) }) else {
        return &NO_PAGE;
    };
    // SAFETY: the page that has just been made: it is empty now, and what else this does is done to children.
    let is_wiped = unsafe { madvise(page, page_size(), Advice::LinuxWipeOnFork) }.is_ok();
    let page: *mut AtomicU64 = page.cast();
    // AcqRel: whoever gets it sees the page as it is.
    let others = PAGE.compare_exchange(ptr::null_mut(), page, Ordering::AcqRel, Ordering::Acquire);
    let known = match others {
        Ok(_) if is_wiped => page,
        Ok(_) => {
            PAGE.store(ptr::from_ref(&NO_PAGE).cast_mut(), Ordering::Release);
            return &NO_PAGE;
        }
        Err(others) => {
            // SAFETY: the page that has just been made, of which nobody knows.
            let _ = unsafe { munmap(page.cast(), page_size()) };
            others
        }
    };
    // SAFETY: a page that is never unmapped, zeroed, aligned.
    unsafe { &*known }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_in_all_its_threads() {
        let this = Process::this();
        let in_thread = std::thread::spawn(Process::this).join().expect("no panic");
        assert_eq!((this, this.number()), (in_thread, std::process::id()));
        assert!(this.is_this() && !Process::NONE.is_this());
    }
}
