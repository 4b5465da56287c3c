#![forbid(unsafe_code)]
//! Real processes that are led through every operation instruction by instruction, and killed or stopped after each of them.
//!
//! ```text
//!   survey   leads one victim through the operation: how many instructions there are between its system calls
//!   place    so many calls and so many instructions on
//!   kill     a new pipe, a new victim; led to the place, killed; what do the others find?
//!   stop     the same, stopped; do the others go on? it goes on; do all find what they should?
//!   pair     two victims of one pipe, each led to a place; both die, or the second one is led only when the first one is dead
//! ```
//!
//! [`act`]: the operations. [`effect`]: what each may leave behind. [`content`]: what is in a pipe. [`pipe`]: a pipe and its survivors. [`world`]: all pipes
//! around a victim, and the laws; `stopped`: those of one that goes on. [`victim`]: what the led process does. [`stepping`]: a process that is led. [`walk`]: to every place. [`pairs`]: two at once.
//! [`control`]: other people's rings.
//!
//! The survivors are ends of the process that leads. It must not start another process while it judges, or only by this thread: a child has copies of all
//! descriptors until it runs its program, and keeps alive for that moment who is dead.

pub mod act;
pub mod content;
pub mod control;
pub mod effect;
#[path = "../../ppipe/tests/name/mod.rs"]
mod name;
pub mod pairs;
pub mod pipe;
mod sleeper;
pub mod stepping;
mod stopped;
pub mod victim;
pub mod walk;
pub mod world;
