#![forbid(unsafe_code)]
//! Hostile processes, and what becomes of those who share a pipe with them.
//!
//! ```text
//!   scribbler   attaches as anybody may, maps the whole segment, writes to it without a pause ──┐
//!                                                                                               ├── one pipe
//!   victims     do every verb, in buffers that lie between canaries, in mappings that lie  ─────┘
//!               between pages which nobody may touch; each call has to come back
//!   users       do every verb, until the memory is taken away: then every call has to say so
//! ```
//!
//! [`scribbler`]: what it writes, and where. [`victim`]: one process that does [`verbs`]. [`canary`]: buffers that show what was written beside
//! them. [`attack`]: starts them, and judges. [`user`]: one process whose memory goes. [`children`]: processes that end with their parent. [`seeds`]:
//! from which everything can be repeated but for the races.

pub mod attack;
pub mod canary;
pub mod children;
pub mod names;
pub mod scribbler;
pub mod seeds;
pub mod user;
pub mod verbs;
pub mod victim;
