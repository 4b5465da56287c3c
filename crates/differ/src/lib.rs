#![forbid(unsafe_code)]
//! The judge of the POSIX verbs: random programs of calls, run step by step on pipes of the running kernel and on ours. Every result,
//! every byte, every error and every poll bit has to be the same.
//!
//! ```text
//!   seed ──> Program ──> judge: for each step ──┬──> Pipes<Kernel> ──> Outcome ──┐
//!            (program)                          └──> Pipes<Ours>   ──> Outcome ──┴── the same? ── no ──> shrink ──> Difference
//! ```
//!
//! All handles are nonblocking, so that a program is one thread and its outcome is determined. What waits is tested elsewhere.
//!
//! A program is two pipes with names, and for each of them any number of reading and writing handles, some duplicates of others.
//! The kernel's pipes are FIFOs: they are removed as soon as they are made, and opened through a descriptor from then on.

pub mod judge;
pub mod kernel;
pub mod ours;
pub mod pipes;
pub mod program;
