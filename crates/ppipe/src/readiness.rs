//! What an end is ready for: the bits that `poll` shows of a pipe.
//!
//! The rules are those of `pipe_poll` in the Linux kernel's `fs/pipe.c` (6.18):
//! * A reading end is readable where a slot is occupied. It is hung up where there is no writer, and has been one since it was opened.
//! * A writing end is writable where one more slot may be occupied; that a write could be merged does not count. It shows an error
//!   where there is no reader.

use shm_ring::{ReaderEnd, WriterEnd};

bitflags::bitflags! {
    /// What an end is ready for. The bits are those of `poll`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Readiness: u16 {
        /// There is something to read: a read or `recv` would not wait. `POLLIN`.
        const READABLE = 0x001;
        /// A slot is free: a write of up to a slot, or a `send` of up to a slot, would not wait. `POLLOUT`.
        const WRITABLE = 0x004;
        /// Of a writing end: there is no reader. `POLLERR`.
        const BROKEN = 0x008;
        /// Of a reading end: every writer is gone. There may still be something to read. `POLLHUP`.
        const HUNG_UP = 0x010;
    }
}

pub(crate) fn of_reader(end: &mut ReaderEnd) -> Readiness {
    // In this order: what the last writer published before it left is seen after it has been found gone.
    let is_hung_up = !end.participant().ask_for_peers() && end.participant().has_met();
    let mut ready = Readiness::empty();
    ready.set(Readiness::HUNG_UP, is_hung_up);
    ready.set(Readiness::READABLE, !end.is_empty());
    ready
}

pub(crate) fn of_writer(end: &mut WriterEnd) -> Readiness {
    let mut ready = Readiness::empty();
    ready.set(Readiness::BROKEN, !end.participant().ask_for_peers());
    ready.set(Readiness::WRITABLE, !end.is_full());
    ready
}
