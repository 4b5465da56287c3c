//! The simulated machine: what `shm_ring::sync` is to the algorithm files, on loom.
//!
//! ```text
//!                 slot, holding, ring, place, extent, waiting, reaping, tenure   the files that ship
//!                                  |
//!             +--------------------+---------------------+
//!     shm_ring::sync                                crate::sync     this file
//!  the processor and the kernel        atomic + fence | blocks | futex | death
//! ```

pub use core::sync::atomic::Ordering;

pub use crate::machine::atomic::{AtomicU32, AtomicU64, fence, fence_after_rmw};
pub use crate::machine::blocks::{Blocks, Peek};
pub use crate::machine::futex::Futex;
