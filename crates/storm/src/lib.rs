#![forbid(unsafe_code)]
//! Real processes on one pipe, killed and stopped at random instants, and a judge who counts what arrives.
//!
//! ```text
//!                     ┌───────────── coordinator ──────────────┐
//!        kill, stop,  │  herd      journal        judge        │
//!        start again  │                ^  ^                    │
//!           │         └────────────────│──│────────────────────┘
//!           v                "sent k"  │  │  "k of writer w has arrived, whole"
//!        writer ───┐ ──────────────────┘  │            (both outlive who says it)
//!        writer ───┼──> [ the pipe under test ] ──> reader ──┘
//!        writer ───┘                            └─> reader
//! ```
//!
//! [`message`]: what is sent, so that every byte can be checked. [`journal`]: what children say. [`child`]: what they do, also
//! the ones that lie, so that the judge is seen to catch them. [`herd`]: the processes. [`judge`]: the laws. [`storm`]: what
//! can be asked for, and `coordinator`, which does it. [`plan`]: many storms in a row.
//!
//! Apart from that: [`last_out`], the last one of a side, killed while others sleep, and [`latencies`], how soon they return; [`life_cycle`], one
//! name that is made, used and left by many.
//!
//! # What can be demanded of somebody who is killed
//! A writer says "sent k" after each send, so that of a killed one at most the last message is unknown: it may arrive, or
//! not. A reader says what it has received after each receive, so that a killed one takes with it at most what one call
//! gave. Nothing else may be missing, and nothing may be double, torn, or out of order, whoever dies.

pub mod child;
pub mod herd;
pub mod journal;
pub mod judge;
pub mod last_out;
pub mod latencies;
pub mod life_cycle;
pub mod message;
pub mod orders;
pub mod plan;
pub mod storm;

mod coordinator;
mod sweep;

pub use orders::{Lie, Role, Traffic, Way};
pub use storm::{Failure, Storm, Tally, Trouble, Victims};

/// What a program ends with that is its own children too: `child` says whether it was one, called so, and how that went; `run` is what it does if not.
pub fn exit_code(
    program: &str,
    called: &str,
    child: std::io::Result<bool>,
    run: impl FnOnce() -> Result<(), String>,
) -> std::process::ExitCode {
    let done = match child {
        Ok(true) => Ok(()),
        Ok(false) => run(),
        Err(error) => Err(format!("{called}: {error}")),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{program}: {failure}");
            std::process::ExitCode::FAILURE
        }
    }
}
