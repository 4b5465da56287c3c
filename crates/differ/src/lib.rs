#![forbid(unsafe_code)]
//! The judge of the POSIX verbs: random programs of calls, run step by step on pipes of the running kernel and on ours. Every result,
//! every byte, every error and every poll bit has to be the same.
//!
//! ```text
//!   seed ──> program ──> judge: for each step ──┬──> Pipes<Kernel> ──> Outcome, Views ──┐
//!                                               └──> Pipes<Ours>   ──> Outcome, Views ──┴── the same? ── no ──> shrink ──> Difference
//! ```
//!
//! What waits is tested elsewhere: a program is one thread, and a call that might wait is made nonblocking, so that its outcome is determined.
//!
//! A program is two pipes with names, and for each of them any number of handles that read, write or do both, some duplicates of others.
//! The kernel's pipes are FIFOs: they are removed as soon as they are made, and opened through a descriptor from then on.
//!
//! After each step all handles are looked at: what `poll`, `FIONREAD`, `F_GETPIPE_SZ` and `F_GETFL` say. Since a look may put right what is
//! wrong, each program is run again without. In the end all that is left is read, and our accounts are checked.

mod bytes;
pub mod judge;
pub mod kernel;
mod mistaken;
pub mod mistakes;
mod other;
pub mod ours;
pub mod pipes;
pub mod privilege;
pub mod program;
mod shrink;
pub mod step;
pub mod system;
