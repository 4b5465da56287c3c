//! Loans that have their end with them, for the C library: there a loan belongs to nobody's scope.
//!
//! ```text
//!   a writer ──> WriteLender ── reserve ──> filled in place ── commit or abandon ──> the writer again
//!   a reader ──> ReadLender ─── recv ─────> looked at in place ── give back ───────> the reader again
//! ```
//!
//! One that is dropped with its loan leaves the pipe, and so gives back what was lent. In a forked child it must not be dropped: what was lent is
//! the parent's.

use std::io;

use shm_ring::{ReaderEnd, SharedBytes};

use crate::blocking::Limit;
use crate::loan::{Held, Room};
use crate::message::Message;
use crate::reader::Reader;
use crate::writer::{Writer, closed};

/// A writer, and the room of the packet that is being filled in. In a box, since lenders are passed from hand to hand.
#[derive(Debug)]
pub struct WriteLender {
    writer: Box<Writer>,
    room: Option<Room>,
}

impl WriteLender {
    /// One that has lent nothing.
    #[must_use]
    pub fn new(writer: Box<Writer>) -> Self {
        Self { writer, room: None }
    }

    /// Room for a packet; see [`Writer::reserve`].
    ///
    /// # Errors
    /// As [`Writer::reserve`].
    pub fn reserve(&mut self, len: usize, is_try: bool) -> io::Result<()> {
        let limit = if is_try { Limit::Try } else { self.writer.limit() };
        self.abandon();
        let room = self.writer.with_end(|end| Ok(Room::reserve(end, limit, len)?), |_| true);
        self.room = Some(self.writer.told(room)?);
        Ok(())
    }

    /// The room, `None` if there is none.
    pub fn bytes(&mut self) -> Option<SharedBytes<'_>> {
        Some(self.room.as_ref()?.bytes(self.writer.end_mut()?))
    }

    /// Sends the first `len` bytes as one packet. No bytes, no packet.
    ///
    /// # Errors
    /// As [`Writer::send`]; `InvalidInput` above what was reserved. The room is as it was then, but no longer than `len`.
    pub fn commit(&mut self, len: usize, is_try: bool) -> io::Result<()> {
        let limit = if is_try { Limit::Try } else { self.writer.limit() };
        let room = self.room.as_mut().ok_or_else(closed)?;
        if len > room.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if len > 0 {
            room.truncate(len);
            let committed = self.writer.with_end(|end| Ok(room.commit(end, limit)?), |()| true);
            self.writer.told(committed)?;
        }
        self.abandon();
        Ok(())
    }

    /// Whether a commit has found the pipe broken, and the user of the C library wants a signal.
    #[must_use]
    pub fn take_due_signal(&self) -> bool {
        self.writer.take_due_signal()
    }

    /// Gives the room back.
    pub fn abandon(&mut self) {
        if let Some(mut room) = self.room.take() {
            room.abandon(&mut self.writer.borrow_end());
        }
    }

    /// The writer, after the room has been given back.
    #[must_use]
    pub fn into_writer(mut self) -> Box<Writer> {
        self.abandon();
        self.writer
    }
}

/// A reader, and what it has received and not given back.
#[derive(Debug)]
pub struct ReadLender {
    reader: Box<Reader>,
    held: Option<Held>,
}

impl ReadLender {
    /// One that has lent nothing.
    #[must_use]
    pub fn new(reader: Box<Reader>) -> Self {
        Self { reader, held: None }
    }

    /// Receives the next packet where it lies; see [`Reader::recv_loan`].
    ///
    /// # Errors
    /// As [`Reader::recv_loan`].
    pub fn recv(&mut self, is_try: bool) -> io::Result<Message> {
        let limit = if is_try { Limit::Try } else { self.reader.limit() };
        self.give_back();
        let received = |end: &mut ReaderEnd| {
            let held = Held::take(end, limit)?;
            Ok((held, held.bytes(end).len()))
        };
        let (held, len) = self.reader.with_end(received, |_| true)?;
        self.held = Some(held);
        Ok(Message { len, packet_len: len, is_stream: held.is_stream })
    }

    /// The bytes, `None` if there are none.
    pub fn bytes(&mut self) -> Option<SharedBytes<'_>> {
        Some(self.held?.bytes(self.reader.end_mut()?))
    }

    /// The process that has sent them; see [`Reader::last_sender`].
    #[must_use]
    pub fn last_sender(&self) -> Option<u32> {
        self.reader.last_sender()
    }

    /// Gives the memory back.
    pub fn give_back(&mut self) {
        if let Some(held) = self.held.take() {
            held.give_back(&mut self.reader.borrow_end());
        }
    }

    /// The reader, after the memory has been given back.
    #[must_use]
    pub fn into_reader(mut self) -> Box<Reader> {
        self.give_back();
        self.reader
    }
}
