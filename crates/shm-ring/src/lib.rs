//! A ring of pipe buffers in shared memory, lock-free, for any number of writers and readers in any processes.
//!
//! This crate is the machinery below `ppipe`, which most programs want instead: it knows slots, pages and participants,
//! and nothing of streams, packets' verbs, blocking or names.
//!
//! The files, from the bottom up. *Machine* (offsets, system calls, unsafe code): [`layout`], [`sync`], `bytes`,
//! [`shared_bytes`], [`shared_word`], [`own_descriptor`], [`process`], [`hidden_thread`], `owner`, `robust_list`, [`forking`], `sys`, [`sigbus`], `mapping`, [`segment`], [`bell_pipe`], [`inherited`]. *Algorithm* (plain references to atomics; the very files
//! that the models run): [`slot`], [`holding`], [`ring`], [`place`], [`moving`], [`counting`], [`extent`], [`waiting`], [`bell`], [`reaping`], [`tenure`].
//! *Ends* (both together): [`participant`], [`handed_over`], [`lost`], `life`, `sleeping`, `listening`, `long_sleep`, [`observer`], `recovery`, `resizing`, [`closing`], [`patience`], `turns`,
//! [`writer_end`], [`reader_end`]. *Accounts*, for tests and for people: [`audit`](mod@audit).

pub mod audit;
pub mod bell;
pub mod bell_pipe;
pub mod closing;
pub mod counting;
pub mod extent;
pub mod forking;
pub mod handed_over;
pub mod hidden_thread;
pub mod holding;
pub mod layout;
pub mod lost;
pub mod moving;
pub mod observer;
pub mod own_descriptor;
pub mod participant;
pub mod patience;
pub mod place;
pub mod process;
pub mod reader_end;
pub mod reaping;
pub mod ring;
pub mod segment;
pub mod shared_bytes;
pub mod shared_word;
pub mod sigbus;
pub mod slot;
pub mod sync;
pub mod tenure;
pub mod waiting;
pub mod writer_end;

pub mod inherited;

mod bytes;
mod life;
mod listening;
mod long_sleep;
mod mapping;
mod owner;
mod recovery;
mod resizing;
mod robust_list;
mod sleeping;
mod sys;
mod turns;

pub use bell_pipe::Bells;
pub use layout::Geometry;
pub use life::{Before, Side};
#[doc(hidden)]
pub use long_sleep::sleep_at_bells;
#[doc(hidden)]
pub use mapping::fence_segments;
pub use patience::Waiting;
pub use reader_end::ReaderEnd;
pub use resizing::ResizeError;
pub use ring::Miss;
#[doc(hidden)]
pub use robust_list::leave_deaths_unmarked;
pub use segment::Segment;
pub use shared_bytes::SharedBytes;
#[doc(hidden)]
pub use sleeping::rely_on_wakes;
pub use sleeping::{Waited, sleep_at_any};
pub use slot::Content;
pub use writer_end::WriterEnd;
