//! The simulated machine: what `shm_ring::sync` is to the algorithm files, on shuttle. Every access is at once everybody's, so a fence
//! is nothing.

pub use core::sync::atomic::Ordering;

pub use crate::machine::atomic::{AtomicU32, AtomicU64};
pub use crate::machine::bell_pipe::BellPipe;
pub use crate::machine::blocks::{Blocks, Peek};
pub use crate::machine::futex::Futex;

/// As the standard library's.
pub fn fence(_order: Ordering) {}

/// The fence that every processor has, and x86-64 has for nothing.
pub fn fence_after_rmw() {}

/// The fence of those who act.
pub fn fence_of_actors(_is_fenced_by_sleepers: bool) {}

/// The fence of those who sleep.
pub fn fence_of_sleepers() -> bool {
    true
}
