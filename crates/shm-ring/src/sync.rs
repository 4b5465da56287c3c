#![allow(unsafe_code)]
//! The machine as the algorithm files see it: atomics, fences, futexes, and blocks of bytes. Unsafe because it turns
//! addresses in the mapping into copies of bytes.
//!
//! This is the only module of the crate that the algorithm files know. The models of `loom-tests` bring another module of
//! the same names, and so run those very files on a simulated machine.

use core::marker::PhantomData;
use std::time::Duration;

pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

pub use crate::bell_pipe::BellPipe;
use crate::bytes;
use crate::shared_bytes::SharedBytes;
use crate::sys;

/// A full fence between a caller's last successful read-modify-write and the loads that follow. (Plain stores of its own in
/// between are not ordered by it.)
#[inline(always)]
pub fn fence_after_rmw() {
    if cfg!(target_arch = "x86_64") {
        // A locked instruction is a full fence already, and no later load can pass it. The compiler has to keep the
        // order too. Argued by hand: the language's memory model has no name for this. [ledger: W2]
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// The full fence of one who announces something and then looks whether somebody sleeps at a bell. Nothing but the compiler is
/// held up by it if those who go to sleep can make the announcement visible ([`fence_of_sleepers`]).
#[inline(always)]
pub fn fence_of_actors(is_fenced_by_sleepers: bool) {
    if is_fenced_by_sleepers {
        // Argued by hand: the language's memory model has no name for this. [ledger: B1]
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// The full fence of one who goes to sleep at a bell, for itself and for everybody who is about to act. Whether it could
/// be had.
#[must_use]
pub fn fence_of_sleepers() -> bool {
    fence(Ordering::SeqCst);
    // Behind it every announcement is visible that came before. [ledger: B3]
    sys::fence_everybody()
}

/// A 32-bit word that processes can sleep on.
#[derive(Debug)]
#[repr(transparent)]
pub struct Futex(AtomicU32);

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slept {
    /// Woken, or the word had changed already.
    Woken,
    /// The time was over.
    TimedOut,
    /// A signal handler ran that does not let calls go on (without `SA_RESTART`).
    Interrupted,
}

impl Futex {
    /// The word's value.
    #[inline]
    pub fn load(&self, order: Ordering) -> u32 {
        self.0.load(order)
    }

    /// Changes the word's value.
    #[inline]
    pub fn store(&self, value: u32, order: Ordering) {
        self.0.store(value, order);
    }

    /// Sets bits, returns the value before.
    #[inline]
    pub fn fetch_or(&self, bits: u32, order: Ordering) -> u32 {
        self.0.fetch_or(bits, order)
    }

    /// Adds, wrapping; returns the value before.
    #[inline]
    pub fn fetch_add(&self, amount: u32, order: Ordering) -> u32 {
        self.0.fetch_add(amount, order)
    }

    /// Replaces `current` by `new`.
    ///
    /// # Errors
    /// The value, if it was not `current`.
    #[inline]
    pub fn compare_exchange(&self, current: u32, new: u32, ok: Ordering, err: Ordering) -> Result<u32, u32> {
        self.0.compare_exchange(current, new, ok, err)
    }

    /// Sleeps while the word is `expected`, for at most `timeout`. Mirrors `futex_waitv`, not private, which unlike
    /// `futex(FUTEX_WAIT)` goes on after a signal handler with `SA_RESTART`.
    pub fn wait(&self, expected: u32, timeout: Duration) -> Slept {
        sys::futex_wait(&self.0, expected, timeout)
    }

    /// Sleeps while both words have the value beside them, for at most `timeout`. Mirrors `futex_waitv`, not private; on a kernel before 5.16 it looks at the
    /// first one alone.
    pub fn wait_both(first: (&Self, u32), second: (&Self, u32), timeout: Duration) -> Slept {
        sys::futex_wait_both((&first.0.0, first.1), (&second.0.0, second.1), timeout)
    }

    /// Sleeps while every one of the words has the value beside it, for at most `timeout`; of very many only the first ones are looked at.
    /// Mirrors `futex_waitv`, not private.
    pub fn wait_any(words: &[(&Self, u32)], timeout: Duration) -> Slept {
        sys::futex_wait_any(words.iter().map(|&(word, expected)| (&word.0, expected)), timeout)
    }

    /// Wakes up to `count` sleepers, and returns how many there were. Mirrors `futex(FUTEX_WAKE)`, not private.
    pub fn wake(&self, count: u32) -> usize {
        sys::futex_wake(&self.0, count)
    }
}

/// Blocks of bytes of one size at equal distances in the mapping: all pages, or all extents.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    base: *mut u8,
    count: u32,
    size: usize,
    stride: usize,
    mapping: PhantomData<&'a [AtomicU32]>,
}

// SAFETY: an address and numbers. What is done with them is copying that takes other threads and processes into account.
unsafe impl Send for Blocks<'_> {}
// SAFETY: as above.
unsafe impl Sync for Blocks<'_> {}

/// Bytes that were read from a block which another participant may own by now: worth nothing until committed
/// or confirmed.
#[derive(Debug)]
#[must_use]
pub struct Peek(());

impl Peek {
    /// The exchange that proves the read has succeeded. (In a model, this checks that the proof holds.)
    #[inline]
    pub fn commit(self) {}

    /// A load that comes after the read has proven that it has succeeded. Unlike an exchange, it keeps no later owner from
    /// writing at the same time.
    #[inline]
    pub fn confirm(self) {}
}

impl<'a> Blocks<'a> {
    /// `count` blocks of `size` bytes, `stride` bytes apart, the first at `base`.
    ///
    /// # Safety
    /// All of them lie in one mapping that can be read and written and lives as long as the result.
    #[must_use]
    pub(crate) unsafe fn new(base: *mut u8, count: u32, size: usize, stride: usize) -> Self {
        Self { base, count, size, stride, mapping: PhantomData }
    }

    /// Bytes in a block.
    #[inline]
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Number of blocks.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Says that offset `at` of `block`, if there is such a one, is going to be read soon.
    #[inline(always)]
    pub fn prefetch(&self, block: u32, at: usize) {
        bytes::prefetch(self.base.wrapping_add(block as usize * self.stride + at));
    }

    /// Writes `bytes` at offset `at` of `block`, which the caller owns.
    #[inline(always)]
    pub fn write(&self, block: u32, at: usize, bytes: &[u8]) {
        let to = self.address(block, at, bytes.len());
        // SAFETY: `address` checked that the block has that many bytes there.
        unsafe { bytes::copy_owned(bytes.as_ptr(), to, bytes.len()) };
    }

    /// Reads from offset `at` of `block`, which the caller owns.
    #[inline(always)]
    pub fn read(&self, block: u32, at: usize, out: &mut [u8]) {
        let from = self.address(block, at, out.len());
        // SAFETY: `address` checked that the block has that many bytes there.
        unsafe { bytes::copy_owned(from, out.as_mut_ptr(), out.len()) };
    }

    /// Reads from offset `at` of `block`, which may be somebody else's by now.
    #[inline]
    pub fn peek(&self, block: u32, at: usize, out: &mut [u8]) -> Peek {
        let from = self.address(block, at, out.len());
        // SAFETY: `address` checked that the block has that many bytes there.
        unsafe { bytes::copy(from, out.as_mut_ptr(), out.len()) };
        Peek(())
    }

    /// Copies `len` bytes at offset `at` from one block, which may be somebody else's by now, to another one, which the
    /// caller owns.
    #[inline]
    pub fn copy(&self, from: u32, to: u32, at: usize, len: usize) -> Peek {
        let source = self.address(from, at, len);
        let target = self.address(to, at, len);
        if from != to {
            // SAFETY: `address` checked both ranges, and different blocks do not overlap.
            unsafe { bytes::copy(source, target, len) };
        }
        Peek(())
    }

    /// The bytes at offset `at` of `block`, in place, as long as the mapping lives.
    ///
    /// # Panics
    /// If there are not `len` of them.
    #[must_use]
    pub fn in_place(&self, block: u32, at: usize, len: usize) -> SharedBytes<'a> {
        // SAFETY: `address` checked that the block has that many bytes there, and the mapping lives as long as 'a.
        unsafe { SharedBytes::new(self.address(block, at, len), len) }
    }

    /// The address of `len` bytes at offset `at` of `block`.
    ///
    /// # Panics
    /// If they do not lie in the block: callers have checked what they read from shared memory.
    #[inline(always)]
    pub(crate) fn address(&self, block: u32, at: usize, len: usize) -> *mut u8 {
        assert!(block < self.count && at <= self.size && len <= self.size - at, "outside the block");
        self.base.wrapping_add(block as usize * self.stride + at)
    }
}
