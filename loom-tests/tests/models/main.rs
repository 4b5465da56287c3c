//! Models of the ring: every interleaving of a few participants, on exactly the algorithm files that ship.
//!
//! The list of paths below is the list of what is verified. `sync` is the simulated machine under them.

#[path = "../../../crates/shm-ring/src/bell.rs"]
pub mod bell;
#[path = "../../../crates/shm-ring/src/counting.rs"]
pub mod counting;
#[path = "../../../crates/shm-ring/src/extent.rs"]
pub mod extent;
#[path = "../../../crates/shm-ring/src/holding.rs"]
pub mod holding;
#[path = "../../../crates/shm-ring/src/moving.rs"]
pub mod moving;
#[path = "../../../crates/shm-ring/src/place.rs"]
pub mod place;
#[path = "../../../crates/shm-ring/src/reaping.rs"]
pub mod reaping;
#[path = "../../../crates/shm-ring/src/ring.rs"]
pub mod ring;
#[path = "../../../crates/shm-ring/src/slot.rs"]
pub mod slot;
#[path = "../../../crates/shm-ring/src/tenure.rs"]
pub mod tenure;
#[path = "../../../crates/shm-ring/src/waiting.rs"]
pub mod waiting;

pub mod machine;
pub mod sync;

mod check;
mod participant;
mod world;

mod closing;
mod decisions;
mod dying;
mod laps;
mod large;
mod litmus;
mod merging;
mod order;
mod outgrowing;
mod pairs;
mod peeking;
mod ringing;
mod waking;
