#![forbid(unsafe_code)]
//! A pipe in user space: what a Linux pipe promises, at the speed of shared memory.
//!
//! ```text
//!   Writer ── write ──┐                                          ┌── read ── Reader
//!   Writer ── send ───┤──> [ ring of pipe buffers in shared ] ──>├── recv ── Reader
//!   Writer ── loan ───┘    [ memory, no locks             ]      └── loan ── Reader
//! ```
//!
//! * Any number of writers and readers in any processes, as a byte stream and as packets, in one pipe.
//! * End of file when the last writer is gone, for whatever reason; broken pipe when the last reader is.
//! * A process that is killed or stopped at any instruction holds up nobody else.
//!
//! Two programs that know a name:
//!
//! ```no_run
//! // one
//! use std::io::Write;
//! let mut writer = ppipe::Writer::open("hello")?;
//! writer.write_all(b"hello\n")?;
//! # std::io::Result::Ok(())
//! ```
//! ```no_run
//! // the other
//! let mut reader = ppipe::Reader::open("hello")?;
//! std::io::copy(&mut reader, &mut std::io::stdout())?;
//! # std::io::Result::Ok(())
//! ```
//!
//! Whoever starts first waits for the other one, as with a FIFO. Without a name: [`pipe`], and
//! [`Writer::hand_to`] a child process, or [`Writer::pass_to`] any process over a Unix socket.
//!
//! Two families of verbs share one pipe. The POSIX verbs, [`std::io::Read`] and [`std::io::Write`], return what Linux
//! returns, with and without the packet flag ([`Writer::set_packet_mode`], `O_DIRECT` of `pipe2`). The message verbs,
//! [`Writer::send`] and [`Reader::recv`], move whole packets up to the pipe's capacity, never merged, never split.
//!
//! No call raises SIGPIPE, unless [`Writer::set_sigpipe`] asks for it: a broken pipe is an error and nothing else. Of the errors that have no
//! [`std::io::ErrorKind`] of their own, `EMSGSIZE` (a packet above the capacity, [`Excess::Refuse`]) and `ENXIO` (a nonblocking open to write
//! without a reader) are told by [`std::io::Error::raw_os_error`].
//!
//! A handle that is copied by `fork` without `exec` must not be used in the child; dropping it there is harmless.
//!
//! Needs Linux with `/proc`, on a 64-bit little-endian machine; names are directories in `/dev/shm`. Each end has three
//! descriptors, besides one for the memory of all ends that were made or opened together; with a name one more each. The first
//! end of a process that has several threads takes some 20 ms longer to make than others (`membarrier` is registered for), and starts a thread, which
//! does nothing: the kernel tells the others of the death of a process by what that thread owns. A
//! pipe of the default size takes 116 KiB of shared memory when it is new, and 266 MiB of address space in each process; each packet above a slot that is in it takes its
//! size besides, up to slots times capacity (1 MiB) in all.
//!
//! Who waits sleeps with a bound for half a second, and after that for as long as it takes, without using the CPU; but with a
//! bound as long as a peer stands stopped in the midst of an operation, and where it waits for memory for a packet above a slot.
//!
//! A call that sleeps is ended by a signal handler that was installed without `SA_RESTART`, with `Interrupted` or with what has been
//! done so far, as with a pipe of the kernel (before Linux 5.16 it is not). A signal that comes while it spins, or between two of its
//! sleeps, ends nothing. Every verb can fail with `InvalidData` when a peer has written nonsense into the shared
//! memory, or has taken it away (it has shortened a named pipe's file, say), and none of them panics for it. For the latter the first end of a process puts a
//! handler of SIGBUS before the one that is there: what is not about a pipe's memory goes on to that one. [`leave_sigbus_alone`] refuses it; in a
//! thread that blocks SIGBUS, or where a handler that is installed later does not go on to this one, such a peer can still end the process. A program that is ended by a signal drops nothing: its pipe's name stays until it is opened again. Measure with
//! `--release`: unoptimized, most of the gain is lost.
//!
//! # Where the rules come from
//! The running kernel is the specification of everything that mirrors a call of Linux, and it is right where a manual page says something else. These
//! are its functions (6.18; before 6.15 `anon_pipe_read` and `anon_pipe_write` were `pipe_read` and `pipe_write`). What is different here, by
//! intention, stands in `docs/semantics.md`, clause by clause, with the test of each.
//!
//! | here | in the kernel |
//! |---|---|
//! | `Write for Writer`, [`Writer::write_timeout`] | `anon_pipe_write`, `fs/pipe.c`: merging, packets, partial writes, EPIPE |
//! | `Read for Reader`, [`Reader::read_timeout`] | `anon_pipe_read`, `fs/pipe.c`: borders of packets, the end of file |
//! | [`Writer::resize`], [`Writer::capacity`] | `round_pipe_size`, `pipe_set_size` and `pipe_fcntl`, `fs/pipe.c` |
//! | [`Writer::unread`] | `pipe_ioctl`, `fs/pipe.c` |
//! | [`Writer::readiness`], [`Writer::poll_fd`], [`poll`] | `pipe_poll`, `fs/pipe.c`; `do_poll`, `fs/select.c` |
//! | [`Writer::open`], [`Reader::open`] | `fifo_open`, `fs/pipe.c`: who waits for whom, ENXIO |
//! | [`splice`], [`tee`] | `splice_pipe_to_pipe` and `link_pipe`, `fs/splice.c` |
//! | [`Writer::splice_from`], [`Reader::splice_to`] | `splice_file_to_pipe` and `iter_file_splice_write`, `fs/splice.c` |
//! | [`Writer::send`], [`Reader::recv`], batches | no pipe's: as sockets of datagrams have them, `net/socket.c` |

mod batch;
mod blocking;
mod builder;
mod busy;
mod descriptor;
mod display;
mod end;
mod flags;
mod forked;
mod gather;
mod handover;
mod joining;
mod lender;
mod loan;
mod message;
mod name;
mod names;
mod passing;
mod poll;
mod reader;
mod readiness;
mod size;
mod splice;
mod stream;
mod ticket;
mod transfer;
mod watch;
mod watcher;
mod writer;

pub use builder::{Builder, pipe};
pub use end::End;
#[doc(hidden)]
pub use forked::{Fork, Forked, NoFork, Pattern, Process, ShownAt, give_up_forks, poll_fd_of, prepare_for_forks};
#[doc(hidden)]
pub use handover::Exported;
#[doc(hidden)]
pub use lender::{ReadLender, WriteLender};
pub use loan::{ReadLoan, WriteLoan};
pub use message::{Excess, Message};
pub use name::{audit, unlink};
pub use names::{Found, names};
pub use passing::PassError;
pub use poll::{PollEnd, poll};
pub use reader::Reader;
pub use readiness::Readiness;
pub use shm_ring::audit::Audit;
pub use shm_ring::audit::{EntryAccount, ExtentAccount, Finding, Holder};
pub use shm_ring::holding::Holding;
pub use shm_ring::sigbus::leave_alone as leave_sigbus_alone;
pub use shm_ring::slot::{Content, Slot, Span};
pub use shm_ring::{SharedBytes, Side, Waiting};
pub use transfer::{splice, tee, try_splice, try_tee};
pub use writer::Writer;

/// The examples in the README are compiled as they stand there.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
