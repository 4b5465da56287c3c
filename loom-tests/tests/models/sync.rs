//! The simulated machine: what `shm_ring::sync` is to the algorithm files, on loom.
//!
//! ```text
//!              slot, holding, ring, place, extent, waiting, bell, reaping, tenure   the files that ship
//!                                  |
//!             +--------------------+---------------------+
//!     shm_ring::sync                                crate::sync     this file
//!  the processor and the kernel        atomic + fence | blocks | futex | bell_pipe | death
//! ```

pub use core::sync::atomic::Ordering;

pub use crate::machine::atomic::{AtomicU32, AtomicU64, fence, fence_after_rmw, fence_of_actors, fence_of_sleepers};
pub use crate::machine::bell_pipe::BellPipe;
pub use crate::machine::blocks::{Blocks, Peek};
pub use crate::machine::futex::Futex;
