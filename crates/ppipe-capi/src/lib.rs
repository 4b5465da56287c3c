#![allow(unsafe_code)]
#![allow(
    clippy::missing_safety_doc,
    reason = "what a C caller promises is in the header and the manual page, in C's words"
)]
//! ppipe for C: what `ppipe(3)` documents. Unsafe because pointers come from C.
//!
//! ```text
//!   ppipe_read(p, ..)  ──>  table: which handle is p? ──> pool: an end that this thread alone has ──> ppipe (Rust)
//!                            (EBADF if none)
//! ```
//!
//! * `table`: handles are numbers in the guise of pointers; nothing is ever read through one.
//! * `users`: a place of the table, and who uses it.
//! * `pool`: the ends of a handle. One thread at a time uses the first; others get further ones, made when they are needed.
//! * `lent`: loans, which have ends of their own from the pool.
//! * `fork`: what makes a forked child have all handles of its parent; `hooks`: who tells of forks, and of the process's beginning and end.
//! * `cancel`: no call ends in its midst.
//! * The other files have the functions, by what they are about.

mod batches;
mod bytes;
mod cancel;
mod descriptor;
mod ends;
mod error;
mod fork;
mod hooks;
mod lent;
mod loans;
mod messages;
mod passing;
mod pointers;
mod poll;
mod pool;
mod sigbus;
mod size;
mod table;
mod transfer;
mod users;

pub use batches::*;
pub use bytes::*;
pub use descriptor::*;
pub use ends::*;
pub use loans::*;
pub use messages::*;
pub use passing::*;
pub use poll::*;
pub use sigbus::*;
pub use size::*;
pub use transfer::*;

/// One end of a pipe, or both: a handle.
#[allow(non_camel_case_types, reason = "C's name for it")]
#[derive(Debug)]
pub struct ppipe;
