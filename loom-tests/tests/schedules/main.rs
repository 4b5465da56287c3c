//! The ring under thousands of chosen schedules: more participants and longer lives than every interleaving would allow, on
//! exactly the algorithm files that ship.
//!
//! ```text
//!   models/      two or three participants, two or three things each     every interleaving, old values too     loom
//!   schedules/   three writers and three readers, and their sleeps       chosen at random, newest values        shuttle
//! ```
//!
//! The list of paths below is the list of what is run. World and participants are those of the models; `machine` is another one.
//!
//! `PPIPE_SCHEDULES=100000` makes it go on for so many schedules of each test and scheduler, `PPIPE_SEED=7` begins elsewhere.

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
#[path = "../../../crates/shm-ring/src/waiting.rs"]
pub mod waiting;

pub mod machine;
pub mod sync;

#[allow(dead_code, reason = "the models do more with one")]
#[path = "../models/participant.rs"]
mod participant;
#[allow(dead_code, reason = "the models do more with one")]
#[path = "../models/world.rs"]
mod world;

mod run;
mod traffic;
