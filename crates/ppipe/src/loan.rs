//! Loans: fill a packet where it will lie, read one where it lies. The library copies nothing.

use std::io;

use shm_ring::extent::LargeHeader;
use shm_ring::ring::Seen;
use shm_ring::slot::Span;
use shm_ring::writer_end::{ClaimedExtent, Kind};
use shm_ring::{Content, Miss, ReaderEnd, SharedBytes, WriterEnd};

use crate::blocking::{Limit, Stop, Tried, read_within, write_within};
use crate::message::{claim_extent, publish_extent, too_large};

/// A packet's room in shared memory, to be filled and committed. Dropping it abandons it: nothing is sent.
#[derive(Debug)]
pub struct WriteLoan<'w> {
    end: &'w mut WriterEnd,
    limit: Limit,
    len: usize,
    /// `None` if the packet fits into a slot, and once it is committed.
    extent: Option<ClaimedExtent>,
}

impl<'w> WriteLoan<'w> {
    pub(crate) fn reserve(end: &'w mut WriterEnd, limit: Limit, len: usize) -> Result<Self, Stop> {
        if len > end.capacity() {
            return Err(too_large());
        }
        let extent = if len > end.slot_size() { Some(claim_extent(end, limit, len)?) } else { None };
        end.prepare_to_fill();
        Ok(Self { end, limit, len, extent })
    }

    /// The room. What it holds before it is filled is not defined.
    #[must_use]
    pub fn bytes(&self) -> SharedBytes<'_> {
        match &self.extent {
            Some(extent) => self.end.extent_in_place(extent),
            None => self.end.in_place(self.len),
        }
    }

    /// Makes the packet shorter.
    ///
    /// # Panics
    /// If `len` is 0 or more than was reserved.
    pub fn truncate(&mut self, len: usize) {
        assert!(len > 0 && len <= self.len, "a packet can only become shorter, and has at least one byte");
        if let Some(extent) = &mut self.extent {
            extent.truncate(len);
        }
        self.len = len;
    }

    /// Sends what has been filled in, as one packet. Blocks as [`crate::Writer::send`] does. No bytes, no packet.
    ///
    /// # Errors
    /// As [`crate::Writer::send`]; nothing is sent then.
    pub fn commit(mut self) -> io::Result<()> {
        if self.len == 0 {
            return Ok(());
        }
        let Some(extent) = self.extent.take() else {
            return Ok(write_within(self.end, self.limit, |end| end.publish(Kind::Packet, self.len).into())?);
        };
        let published = publish_extent(self.end, self.limit, extent).map_err(|(stop, extent)| {
            // Dropping the loan gives it back.
            self.extent = Some(extent);
            stop
        });
        Ok(published?)
    }
}

impl Drop for WriteLoan<'_> {
    fn drop(&mut self) {
        if let Some(extent) = self.extent.take() {
            self.end.release_extent(extent);
        }
    }
}

/// A received buffer where it lies: a packet, or one pipe buffer of a stream. It has left the pipe; dropping it gives the
/// memory back.
#[derive(Debug)]
pub struct ReadLoan<'r> {
    end: &'r mut ReaderEnd,
    held: Held,
    is_stream: bool,
}

/// Where the bytes are.
#[derive(Clone, Copy, Debug)]
enum Held {
    Page(Span),
    Extent { header: LargeHeader, consumed: u32 },
}

impl<'r> ReadLoan<'r> {
    pub(crate) fn take(end: &'r mut ReaderEnd, limit: Limit) -> Result<Self, Stop> {
        let (held, is_stream) = read_within(end, limit, |end| {
            let seen = match end.front() {
                Ok(seen) => seen,
                Err(miss) => return Tried::Missed(miss),
            };
            let is_stream = matches!(seen.content(), Content::Stream(_));
            match take_slot(end, &seen) {
                Ok(held) => Tried::Done((held, is_stream)),
                Err(miss) => Tried::Missed(miss),
            }
        })?;
        Ok(Self { end, held, is_stream })
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> SharedBytes<'_> {
        match self.held {
            Held::Page(span) => self.end.in_place(span),
            Held::Extent { header, consumed } => self.end.extent_in_place(header, consumed as usize),
        }
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
        self.is_stream
    }
}

fn take_slot(end: &mut ReaderEnd, seen: &Seen) -> Result<Held, Miss> {
    match seen.content() {
        Content::Empty => Err(Miss::Lost),
        Content::Stream(span) | Content::Packet(span) => {
            end.take(seen)?;
            Ok(Held::Page(span))
        }
        Content::Large { consumed } => {
            end.take(seen)?;
            let header = end.large_header()?;
            if header.length <= consumed {
                return Err(Miss::Garbled);
            }
            Ok(Held::Extent { header, consumed })
        }
    }
}

impl Drop for ReadLoan<'_> {
    fn drop(&mut self) {
        if let Held::Extent { header, .. } = self.held {
            self.end.release_extent(header);
        }
    }
}
