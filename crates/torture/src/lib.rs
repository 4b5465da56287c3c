#![forbid(unsafe_code)]
//! Real processes that are led through every operation instruction by instruction, and killed or stopped after each of them.
//!
//! ```text
//!   survey   leads one victim through the operation: how many instructions there are between its system calls
//!   place    so many calls and so many instructions on
//!   kill     a new pipe, a new victim; led to the place, killed; what do the others find?
//!   stop     the same, stopped; do the others go on? it goes on; do all find what they should?
//! ```
//!
//! [`act`]: the operations, and what each may leave behind. [`world`]: the pipe, the others, and the laws. [`content`]: what is in a pipe.
//! [`stepping`]: a process that is led. [`walk`]: to every place. [`victim`]: what the led process does.
//!
//! The survivors are ends of the process that leads. It must not start another process while it judges, or only by this thread: a child has copies of all
//! descriptors until it runs its program, and keeps alive for that moment who is dead.

pub mod act;
pub mod content;
pub mod stepping;
pub mod victim;
pub mod walk;
pub mod world;
