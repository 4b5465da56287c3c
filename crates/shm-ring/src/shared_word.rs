#![allow(unsafe_code)]
//! Words that a process shares with the children that it forks. Unsafe because a place in a mapping becomes a reference.
//!
//! A descriptor's flags belong to its description, which a forked child shares. A word of this process's own memory would be copied instead; so
//! these lie in memory that is mapped as shared. Each mapping lives as long as the process.
//!
//! # Why no two ends have one word
//! A word that is given back can be given away again. But a child may go on using it, so one that was in use when the process forked is
//! never given away again by either of the two.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use memmap2::{MmapOptions, MmapRaw};

use crate::sys;

/// Bytes that are mapped at a time.
const MAPPED: usize = 4096;

static POOL: Mutex<Pool> = Mutex::new(Pool { free: Vec::new(), forks: 0 });

struct Pool {
    free: Vec<&'static AtomicU32>,
    /// How often this process, and those that it was forked from, have forked.
    forks: u64,
}

fn pool() -> std::sync::MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A word that forked children share.
pub struct SharedWord {
    word: &'static AtomicU32,
    forks: u64,
}

impl fmt::Debug for SharedWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.word.fmt(f)
    }
}

impl SharedWord {
    /// A word that is `value`.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn new(value: u32) -> std::io::Result<Self> {
        let mut pool = pool();
        if pool.free.is_empty() {
            pool.free.extend(map()?);
        }
        let forks = pool.forks;
        let word = pool.free.pop().ok_or(std::io::ErrorKind::OutOfMemory)?;
        drop(pool);
        // Relaxed, here and by whoever uses it: it orders nothing.
        word.store(value, Ordering::Relaxed);
        Ok(Self { word, forks })
    }

    /// The word.
    #[inline(always)]
    #[must_use]
    pub fn get(&self) -> &AtomicU32 {
        self.word
    }
}

impl Drop for SharedWord {
    fn drop(&mut self) {
        let mut pool = pool();
        if pool.forks == self.forks {
            pool.free.push(self.word);
        }
    }
}

/// To be called before this process forks, if the child is going to use what it has.
pub fn before_fork() {
    let mut pool = pool();
    pool.forks += 1;
    // The child has a copy of the list.
    pool.free.clear();
}

fn map() -> std::io::Result<impl Iterator<Item = &'static AtomicU32>> {
    let map: MmapRaw = MmapOptions::new().len(MAPPED).map_raw(&sys::sealed_memory("ppipe flags", MAPPED as u64)?)?;
    let start: *const AtomicU32 = map.as_mut_ptr().cast_const().cast();
    // It is never unmapped.
    core::mem::forget(map);
    // SAFETY: the mapping is page-aligned, so long, zeroed, and lives as long as the process.
    let words: &'static [AtomicU32] = unsafe { core::slice::from_raw_parts(start, MAPPED / size_of::<AtomicU32>()) };
    Ok(words.iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_a_fork_has_shared_is_not_given_away_again() {
        let first = SharedWord::new(1).expect("memory");
        let address = core::ptr::from_ref(first.get());
        drop(first);
        let again = SharedWord::new(2).expect("memory");
        assert_eq!(core::ptr::from_ref(again.get()), address);
        before_fork();
        drop(again);
        let words: Vec<_> = (0..2000).map(|_| SharedWord::new(3).expect("memory")).collect();
        assert!(words.iter().all(|word| core::ptr::from_ref(word.get()) != address));
    }
}
