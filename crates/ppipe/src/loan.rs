//! Loans: fill a packet where it will lie, read one where it lies. The library copies nothing.
//!
//! What is lent, a [`Room`] or what is [`Held`], is told apart from the end that it belongs to: a loan borrows the end, and where
//! that cannot be, as in C, a [`crate::lender`] has it.

use std::io;

use shm_ring::extent::LargeHeader;
use shm_ring::ring::Seen;
use shm_ring::slot::Span;
use shm_ring::writer_end::{ClaimedExtent, Kind};
use shm_ring::{Content, Miss, ReaderEnd, SharedBytes, Side, WriterEnd};

use crate::blocking::{Limit, Stop, Tried, read_within, write_within};
use crate::message::{claim_extent, publish_extent, too_large};
use crate::watch::{Came, WatchCell};

/// A packet's room in shared memory, to be filled and committed. Dropping it abandons it: nothing is sent.
#[derive(Debug)]
pub struct WriteLoan<'w> {
    end: &'w mut WriterEnd,
    watch: &'w WatchCell,
    limit: Limit,
    room: Room,
}

impl<'w> WriteLoan<'w> {
    pub(crate) fn of(end: &'w mut WriterEnd, watch: &'w WatchCell, limit: Limit, room: Room) -> Self {
        Self { end, watch, limit, room }
    }

    /// The room. What it holds before it is filled is not defined.
    #[must_use]
    pub fn bytes(&self) -> SharedBytes<'_> {
        self.room.bytes(self.end)
    }

    /// Makes the packet shorter.
    ///
    /// # Panics
    /// If `len` is 0 or more than was reserved.
    pub fn truncate(&mut self, len: usize) {
        self.room.truncate(len);
    }

    /// Sends what has been filled in, as one packet. Waits as [`crate::Writer::send`] does. No bytes, no packet. Mirrors
    /// `send`, without the copy.
    ///
    /// # Errors
    /// As [`crate::Writer::send`]; nothing is sent then.
    pub fn commit(mut self) -> io::Result<()> {
        let committed = self.room.commit(self.end, self.limit).map_err(io::Error::from);
        let committed = self.end.participant().unless_lost(committed);
        if let Some(watch) = self.watch.get() {
            watch.after_use(Side::Writer, Came::of(&committed, |()| true), || !self.end.is_full());
        }
        committed
    }
}

impl Drop for WriteLoan<'_> {
    fn drop(&mut self) {
        self.room.abandon(self.end);
    }
}

/// The room of one packet, apart from the end whose it is.
#[derive(Debug)]
pub(crate) struct Room {
    len: usize,
    /// `None` if the packet fits into a slot, and once it is committed.
    extent: Option<ClaimedExtent>,
}

impl Room {
    pub(crate) fn reserve(end: &mut WriterEnd, limit: Limit, len: usize) -> Result<Self, Stop> {
        if len > end.capacity() {
            return Err(too_large());
        }
        let extent = if len > end.slot_size() { Some(claim_extent(end, limit, len)?) } else { None };
        end.prepare_to_fill();
        Ok(Self { len, extent })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes<'e>(&self, end: &'e WriterEnd) -> SharedBytes<'e> {
        match &self.extent {
            Some(extent) => end.extent_in_place(extent),
            None => end.in_place(self.len),
        }
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        assert!(len > 0 && len <= self.len, "a packet can only become shorter, and has at least one byte");
        if let Some(extent) = &mut self.extent {
            extent.truncate(len);
        }
        self.len = len;
    }

    /// Sends the packet, or leaves the room as it was.
    pub(crate) fn commit(&mut self, end: &mut WriterEnd, limit: Limit) -> Result<(), Stop> {
        let len = self.len;
        if len == 0 {
            return Ok(());
        }
        let Some(extent) = self.extent.take() else {
            return write_within(end, limit, |end| end.publish(Kind::Packet, len).into());
        };
        publish_extent(end, limit, extent).map_err(|(stop, extent)| {
            self.extent = Some(extent);
            stop
        })
    }

    /// Gives back what has not been committed. A forked child has a copy of the loan, and the memory is its parent's.
    pub(crate) fn abandon(&mut self, end: &mut WriterEnd) {
        if let Some(extent) = self.extent.take()
            && end.participant().is_of_this_process()
        {
            end.release_extent(extent);
        }
    }
}

/// A received buffer where it lies: a packet, or one pipe buffer of a stream. It has left the pipe; dropping it gives the
/// memory back.
#[derive(Debug)]
pub struct ReadLoan<'r> {
    end: &'r mut ReaderEnd,
    held: Held,
}

impl<'r> ReadLoan<'r> {
    pub(crate) fn of(end: &'r mut ReaderEnd, held: Held) -> Self {
        Self { end, held }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> SharedBytes<'_> {
        self.held.bytes(self.end)
    }

    /// A copy of the bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let bytes = self.bytes();
        let mut copy = vec![0; bytes.len()];
        bytes.copy_to(0, &mut copy);
        copy
    }

    /// Whether these are bytes of a stream and not a packet.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.held.is_stream
    }
}

impl Drop for ReadLoan<'_> {
    fn drop(&mut self) {
        self.held.give_back(self.end);
    }
}

/// What was received and is not given back, apart from the end that has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    place: Place,
    pub(crate) is_stream: bool,
}

/// Where the bytes are.
#[derive(Clone, Copy, Debug)]
enum Place {
    Page(Span),
    Extent { header: LargeHeader, consumed: u32 },
}

impl Held {
    pub(crate) fn take(end: &mut ReaderEnd, limit: Limit) -> Result<Self, Stop> {
        read_within(end, limit, |end| {
            let seen = match end.front() {
                Ok(seen) => seen,
                Err(miss) => return Tried::Missed(miss),
            };
            let is_stream = matches!(seen.content(), Content::Stream(_));
            match take_slot(end, &seen) {
                Ok(place) => Tried::Done(Self { place, is_stream }),
                Err(miss) => Tried::Missed(miss),
            }
        })
    }

    pub(crate) fn bytes(self, end: &ReaderEnd) -> SharedBytes<'_> {
        match self.place {
            Place::Page(span) => end.in_place(span),
            Place::Extent { header, consumed } => end.extent_in_place(header, consumed as usize),
        }
    }

    /// Gives the memory back. A forked child has a copy of the loan, and the memory is its parent's.
    pub(crate) fn give_back(self, end: &mut ReaderEnd) {
        if let Place::Extent { header, .. } = self.place
            && end.participant().is_of_this_process()
        {
            end.release_extent(header);
        }
    }
}

fn take_slot(end: &mut ReaderEnd, seen: &Seen) -> Result<Place, Miss> {
    match seen.content() {
        Content::Empty => Err(Miss::Lost),
        Content::Stream(span) | Content::Packet(span) => {
            end.take(seen)?;
            Ok(Place::Page(span))
        }
        Content::Large { consumed } => {
            end.take(seen)?;
            let header = end.large_header()?;
            if header.length <= consumed {
                return Err(Miss::Garbled);
            }
            Ok(Place::Extent { header, consumed })
        }
    }
}
