//! The ring's protocol as states and steps, written anew from `docs/architecture.md` and the proof at the top of
//! `shm-ring/src/holding.rs`, and explored to the last state that can be reached.
//!
//! ```text
//!   scenario ──> state ── one access to shared memory by one process ──> state ── ... ──> nothing left to do
//!                      └─ a death, of anybody, the one who cleans up among them ┘
//! ```
//!
//! It shares no line with what ships. So it sees what is wrong with the *idea*, and the models of `loom-tests`, which run the
//! very files that ship, see where those are not the idea. What is different here: every access is at once everybody's (no weak
//! memory), a page is three bytes, the hints, the bells and the moving to a larger ring are left out; and every
//! process can die at every step, twice in a run.
//!
//! * `state`: what is in shared memory, what each process has to itself, and whose each page truly is.
//! * `step`: what each process does next, one access a step. `joining`: the same for those who clean up behind the dead.
//! * `account`: what was published and not yet read, kept beside the ring, and the laws that a single step can break.
//! * `laws`: what must be true of every state.
//! * [`scenario`]: who does what. [`mistake`]: what is done wrong on purpose.
//! * [`explore`](mod@explore): goes through them all.

pub mod explore;
pub mod mistake;
pub mod scenario;

mod account;
mod joining;
mod laws;
mod state;
mod step;
