#![allow(unsafe_code)]
//! Words that a process shares with the children that it forks. Unsafe because a place in a mapping becomes a reference.
//!
//! A descriptor's flags belong to its description, which a forked child shares. A word of this process's own memory would be copied instead; so
//! these lie in memory that is mapped as shared. Each mapping lives as long as the process.
//!
//! # Why no two ends have one word
//! A word that is given back can be given away again, but only by the process that took it, and not if that has announced a fork meanwhile: the
//! child may go on using it. A forked child begins with mappings of its own, whatever list of free words it has a copy of.
//!
//! # Why a fork at a bad moment stops nobody
//! Where forks are prepared for (`forking`) nobody holds the list while one is under way, so that it is always there to be told of it. Elsewhere
//! another thread may hold it just when this one forks, and in the child nobody gives it back. So nobody waits for it for long: one who does not
//! get it makes a mapping for itself.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, TryLockError};

use crate::forking::NoFork;
use crate::mapping::Mapping;
use crate::process::Process;
use crate::sys;

/// Bytes that are mapped at a time.
const MAPPED: usize = 4096;
/// So often one tries to get the list: it is held for less than a microsecond.
const MOST_TRIES: u32 = 1000;

static POOL: Mutex<Pool> = Mutex::new(Pool { free: Vec::new(), now: Generation { process: Process::NONE, forks: 0 } });

struct Pool {
    free: Vec<&'static AtomicU32>,
    now: Generation,
}

/// Between two forks of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Generation {
    process: Process,
    forks: u64,
}

/// The list; `None` if nobody gives it back.
fn pool() -> Option<MutexGuard<'static, Pool>> {
    for _ in 0..MOST_TRIES {
        let mut pool = match POOL.try_lock() {
            Ok(pool) => pool,
            Err(TryLockError::Poisoned(pool)) => pool.into_inner(),
            Err(TryLockError::WouldBlock) => {
                std::thread::yield_now();
                continue;
            }
        };
        if !pool.now.process.is_this() {
            pool.now = Generation { process: Process::this(), forks: 0 };
            pool.free.clear();
        }
        return Some(pool);
    }
    None
}

/// A word that forked children share.
pub struct SharedWord {
    word: &'static AtomicU32,
    /// When it was taken; `None`: it is not given back.
    taken: Option<Generation>,
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
    pub fn new(value: u32) -> io::Result<Self> {
        let _no_fork = NoFork::hold();
        let (word, taken) = match take() {
            Some((word, taken)) => (word, Some(taken)),
            None => {
                // The system is not asked while the list is held.
                let mut words = map()?;
                let word = words.next().ok_or(io::ErrorKind::OutOfMemory)?;
                let pool = pool();
                let taken = pool.as_ref().map(|pool| pool.now);
                if let Some(mut pool) = pool {
                    pool.free.extend(words);
                }
                (word, taken)
            }
        };
        // Relaxed, here and by whoever uses it: it orders nothing.
        word.store(value, Ordering::Relaxed);
        Ok(Self { word, taken })
    }

    /// The word.
    #[inline(always)]
    #[must_use]
    pub fn get(&self) -> &AtomicU32 {
        self.word
    }
}

fn take() -> Option<(&'static AtomicU32, Generation)> {
    let mut pool = pool()?;
    Some((pool.free.pop()?, pool.now))
}

impl Drop for SharedWord {
    fn drop(&mut self) {
        let _no_fork = NoFork::hold();
        if let Some(taken) = self.taken
            && let Some(mut pool) = pool()
            && pool.now == taken
        {
            pool.free.push(self.word);
        }
    }
}

/// This process is about to fork, and the child is going to use what it has: called by the one who holds all others off.
pub(crate) fn before_fork() {
    if let Some(mut pool) = pool() {
        pool.now.forks += 1;
    }
}

fn memory() -> io::Result<File> {
    let file = sys::sealed_memory("ppipe flags", MAPPED as u64)?;
    // Where there is none the first use of it would be a signal.
    sys::take_memory(&file, 0, MAPPED as u64)?;
    Ok(file)
}

fn map() -> io::Result<impl Iterator<Item = &'static AtomicU32>> {
    let map = Mapping::new(&memory()?, MAPPED as u64)?;
    let start: *const AtomicU32 = map.start().cast_const().cast();
    // It is never unmapped.
    core::mem::forget(map);
    // SAFETY: the mapping is page-aligned, so long, zeroed, and lives as long as the process.
    let words: &'static [AtomicU32] = unsafe { core::slice::from_raw_parts(start, MAPPED / size_of::<AtomicU32>()) };
    Ok(words.iter())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// The tests of this file change what is one for the process.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    #[test]
    fn a_forked_child_begins_with_words_of_its_own_and_gives_back_none_of_its_parents() {
        let _one = ONE_AT_A_TIME.lock();
        let mut parents = SharedWord::new(1).expect("memory");
        let shared: Vec<_> =
            pool().expect("nobody holds it").free.iter().map(|word| core::ptr::from_ref(*word)).collect();
        assert!(shared.len() > 10);
        // As if we had been forked from process 1 with this list and this word.
        pool().expect("nobody holds it").now.process = Process::NONE;
        parents.taken = Some(Generation { process: Process::NONE, forks: 0 });
        let own = SharedWord::new(2).expect("memory");
        assert!(!shared.contains(&core::ptr::from_ref(own.get())));
        let address = core::ptr::from_ref(parents.get());
        drop(parents);
        let words: Vec<_> = (0..2000).map(|_| SharedWord::new(3).expect("memory")).collect();
        assert!(words.iter().all(|word| core::ptr::from_ref(word.get()) != address));
    }

    #[test]
    fn what_words_need_is_there_before_they_are_used() {
        let blocks = memory().expect("memory").metadata().expect("its size").blocks();
        assert!(blocks * 512 >= MAPPED as u64, "{blocks} blocks of 512 bytes for {MAPPED}");
    }

    #[test]
    fn who_cannot_have_the_list_does_without() {
        let _one = ONE_AT_A_TIME.lock();
        let held = POOL.lock();
        let word = SharedWord::new(5).expect("memory");
        assert_eq!(word.get().load(Ordering::Relaxed), 5);
        drop(word);
        drop(held);
    }

    #[test]
    fn a_word_that_a_fork_has_shared_is_not_given_away_again() {
        let _one = ONE_AT_A_TIME.lock();
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
