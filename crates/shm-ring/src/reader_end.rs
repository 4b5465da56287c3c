//! A reader's end: look at the slot at tail, then take its page, or read a part and leave the rest.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use crate::extent::{HEADER_BYTES, LargeHeader};
use crate::life::Side;
use crate::participant::{JoinError, Participant};
use crate::ring::{Miss, Seen};
use crate::segment::Segment;
use crate::shared_bytes::SharedBytes;
use crate::sleeping::{News, Waited};
use crate::slot::{Content, Span};
use crate::sync::{Ordering, Peek};
use crate::writer_end::MOST_RINGS;

/// One reader of a segment. Dropping it leaves.
#[derive(Debug)]
pub struct ReaderEnd {
    participant: Participant,
    /// Whether an extent belongs to the own page: taken, and not given back.
    has_extent: bool,
}

impl ReaderEnd {
    /// Joins `segment` as a reader.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn join(segment: Arc<Segment>) -> Result<Self, JoinError> {
        Ok(Self::new(Participant::join(segment, Side::Reader)?))
    }

    /// Takes up a reader's entry that was handed over.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn take_up(segment: Arc<Segment>, entry: u32, lock: OwnedFd) -> Result<Self, JoinError> {
        Ok(Self::new(Participant::take_up(segment, Side::Reader, entry, lock)?))
    }

    /// The end that `participant`, a reader, has.
    ///
    /// # Panics
    /// If it is a writer.
    #[must_use]
    pub fn new(participant: Participant) -> Self {
        assert_eq!(participant.side(), Side::Reader, "a reader's end");
        Self { participant, has_extent: false }
    }

    /// What it has in common with writers.
    pub fn participant(&mut self) -> &mut Participant {
        &mut self.participant
    }

    /// Gives up the wrapper.
    #[must_use]
    pub fn into_participant(self) -> Participant {
        self.participant
    }

    /// Bytes of the largest packet that can be sent now: as many as the slots hold that may be occupied.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.participant.capacity()
    }

    /// The full slot at tail.
    ///
    /// # Errors
    /// [`Miss::Empty`], [`Miss::Lost`], [`Miss::Garbled`].
    #[inline(always)]
    pub fn front(&mut self) -> Result<Seen, Miss> {
        let (ring, own) = self.participant.ring_and_own();
        ring.front(own.cursor).map_err(|miss| self.participant.follow(miss))
    }

    /// The full slot behind `seen`; see [`crate::ring::Ring::behind`].
    #[inline]
    #[must_use]
    pub fn behind(&self, seen: &Seen) -> Option<Seen> {
        self.participant.ring().behind(seen)
    }

    /// Receives the packet at tail into `buffer`, if it lies there whole in its page and fits; returns its length. Otherwise
    /// nothing has happened.
    #[inline(always)]
    pub fn recv_packet(&mut self, buffer: &mut [u8]) -> Option<usize> {
        self.release_forgotten();
        let (ring, own) = self.participant.ring_and_own();
        let len = ring.take_packet(own.cursor, own.spare, own.notice, buffer.len())?;
        self.participant.wake_one(News::Room);
        self.read(0, &mut buffer[..len]);
        Some(len)
    }

    /// As [`ReaderEnd::recv_packet`], for one that has just found nothing and may wait a little: looks for some hundred
    /// nanoseconds, and receives what comes meanwhile with nothing between the look and the exchange.
    #[inline]
    pub fn recv_packet_soon(&mut self, buffer: &mut [u8]) -> Option<usize> {
        if !self.participant.is_still_empty() || !self.look_briefly() {
            return None;
        }
        let len = self.recv_packet(buffer)?;
        self.participant.had_luck();
        Some(len)
    }

    /// Takes the slot's page, which is the own page then, and wakes a writer if one sleeps.
    ///
    /// # Errors
    /// [`Miss::Lost`].
    #[inline(always)]
    pub fn take(&mut self, seen: &Seen) -> Result<(), Miss> {
        self.release_forgotten();
        let (ring, own) = self.participant.ring_and_own();
        match ring.take(own.cursor, seen, own.spare, own.notice) {
            Err(Miss::Unheard) => self.ring_and_take(seen)?,
            taken => taken?,
        }
        self.has_extent = matches!(seen.content(), Content::Large { .. });
        self.participant.wake_one(News::Room);
        Ok(())
    }

    #[cold]
    fn ring_and_take(&mut self, seen: &Seen) -> Result<(), Miss> {
        for _ in 0..MOST_RINGS {
            self.participant.answer_bell();
            let (ring, own) = self.participant.ring_and_own();
            match ring.take(own.cursor, seen, own.spare, own.notice) {
                Err(Miss::Unheard) => {}
                taken => return taken,
            }
        }
        Err(Miss::Lost)
    }

    /// Gives back an extent whose loan was forgotten: it must not go into an empty slot with its page.
    #[inline(always)]
    fn release_forgotten(&mut self) {
        if core::mem::take(&mut self.has_extent) {
            self.participant.release_own_extents();
        }
    }

    /// Reads from offset `at` of the own page.
    ///
    /// # Panics
    /// If that is not within the page.
    #[inline(always)]
    pub fn read(&self, at: usize, out: &mut [u8]) {
        let participant = &self.participant;
        participant.segment().pages().read(participant.spare.page(), at, out);
    }

    /// The header of the large packet in the own page.
    ///
    /// # Errors
    /// [`Miss::Garbled`] if it does not lie within the extents.
    pub fn large_header(&self) -> Result<LargeHeader, Miss> {
        let mut bytes = [0; HEADER_BYTES];
        self.read(0, &mut bytes);
        self.participant.segment().extents().check(bytes).ok_or(Miss::Garbled)
    }

    /// The process that filled the page which this end has taken last, or wrote to it last; as that process is called in its own
    /// namespace. `None` in a segment whose pages do not say so.
    #[must_use]
    pub fn sender(&self) -> Option<u32> {
        let segment = self.participant.segment();
        let signature = || segment.signature(self.participant.spare.page());
        // Relaxed: for people to read. It came with the page.
        segment.layout().geometry.is_signed.then(|| signature().load(Ordering::Relaxed))
    }

    /// Reads from offset `at` of a large packet that has been taken.
    ///
    /// # Panics
    /// If that is not within an extent.
    pub fn read_extent(&self, header: LargeHeader, at: usize, out: &mut [u8]) {
        self.participant.segment().extents().bytes.read(header.extent, at, out);
    }

    /// The own page's bytes in place.
    ///
    /// # Panics
    /// If `span` is not within the page.
    #[must_use]
    pub fn in_place(&self, span: Span) -> SharedBytes<'_> {
        let participant = &self.participant;
        participant.segment().pages().in_place(participant.spare.page(), span.start as usize, span.len())
    }

    /// The bytes in place of a large packet that has been taken, but for the first `consumed` ones.
    ///
    /// # Panics
    /// If that is not within an extent.
    #[must_use]
    pub fn extent_in_place(&self, header: LargeHeader, consumed: usize) -> SharedBytes<'_> {
        let len = header.length as usize - consumed;
        self.participant.segment().extents().bytes.in_place(header.extent, consumed, len)
    }

    /// Gives back the extent of a large packet that has been taken, and wakes a writer that may wait for one.
    pub fn release_extent(&mut self, header: LargeHeader) {
        self.participant.segment().extents().release(header.extent, self.participant.spare.page());
        self.has_extent = false;
        self.participant.pass_on(News::Extent);
    }

    /// Reads from the page of a slot without taking it; to be committed by [`ReaderEnd::consume`] or
    /// [`ReaderEnd::confirm`].
    ///
    /// # Panics
    /// If `span` is not within the page.
    pub fn peek(&self, seen: &Seen, span: Span, out: &mut [u8]) -> Peek {
        let out = &mut out[..span.len()];
        self.participant.segment().pages().peek(seen.page(), span.start as usize, out)
    }

    /// The bytes in `span` of a slot's page, in place, without taking it; to be committed by [`ReaderEnd::consume`] or by a take.
    ///
    /// # Panics
    /// If `span` is not within the page.
    pub fn peek_in_place(&self, seen: &Seen, span: Span) -> (SharedBytes<'_>, Peek) {
        let pages = self.participant.segment().pages();
        let bytes = pages.in_place(seen.page(), span.start as usize, span.len());
        (bytes, pages.peek(seen.page(), span.start as usize, &mut []))
    }

    /// The bytes in place of a large packet in a slot, from `at` on, `len` of them.
    ///
    /// # Panics
    /// If that is not within an extent.
    pub fn peek_extent_in_place(&self, header: LargeHeader, at: usize, len: usize) -> (SharedBytes<'_>, Peek) {
        let bytes = self.participant.segment().extents().bytes;
        (bytes.in_place(header.extent, at, len), bytes.peek(header.extent, at, &mut []))
    }

    /// Whether nobody else reads from this pipe at this moment. Asks the kernel.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.participant.is_alone_on_its_side()
    }

    /// The header of the large packet in a slot, without taking it.
    ///
    /// # Errors
    /// [`Miss::Lost`] if the slot has changed, [`Miss::Garbled`] if the header does not lie within the extents.
    pub fn peek_large_header(&self, seen: &Seen) -> Result<LargeHeader, Miss> {
        let mut bytes = [0; HEADER_BYTES];
        let peek = self.peek(seen, Span { start: 0, end: HEADER_BYTES as u32 }, &mut bytes);
        self.confirm(seen, peek)?;
        self.participant.segment().extents().check(bytes).ok_or(Miss::Garbled)
    }

    /// Reads from offset `at` of a large packet in a slot, without taking it.
    ///
    /// # Panics
    /// If that is not within an extent.
    pub fn peek_extent(&self, header: LargeHeader, at: usize, out: &mut [u8]) -> Peek {
        self.participant.segment().extents().bytes.peek(header.extent, at, out)
    }

    /// Leaves only `rest` in the slot.
    ///
    /// # Errors
    /// [`Miss::Lost`]: what was read is worth nothing.
    pub fn consume(&self, seen: &Seen, rest: Content, peek: Peek) -> Result<(), Miss> {
        self.participant.ring().consume(seen, rest, peek)
    }

    /// Makes sure that the slot is as it was when it was read from.
    ///
    /// # Errors
    /// [`Miss::Lost`]: what was read is worth nothing.
    pub fn confirm(&self, seen: &Seen, peek: Peek) -> Result<(), Miss> {
        self.participant.ring().confirm(seen, peek)
    }

    /// Whether both are of the same place in the order of all that is ever published, and begin at the same byte of it, whatever has been added
    /// and whichever ring the pipe is in.
    #[must_use]
    pub fn is_same_place(&self, a: &Seen, b: &Seen) -> bool {
        let start = |seen: &Seen| match seen.content() {
            Content::Empty => None,
            Content::Stream(span) | Content::Packet(span) => Some(span.start),
            Content::Large { consumed } => Some(consumed),
        };
        let fields = self.participant.segment().layout().fields;
        fields.is_same_position(a.position(), b.position()) && start(a) == start(b)
    }

    /// Whether the slot is as it was seen.
    #[must_use]
    pub fn is_there(&self, seen: &Seen) -> bool {
        self.participant.ring().is_there(seen)
    }

    /// Whether there is nothing to read.
    #[must_use]
    pub fn is_empty(&mut self) -> bool {
        self.participant.is_empty()
    }

    /// Before a wait: looks for some hundred nanoseconds whether something is published.
    #[inline]
    pub fn look_briefly(&mut self) -> bool {
        self.participant.look_briefly(|participant| !participant.is_still_empty())
    }

    /// Waits until something may have been published, a writer has come or gone, or the deadline.
    pub fn wait_for_data(&mut self, deadline: Option<Instant>) -> Waited {
        self.participant.wait(News::Data, deadline, |participant| !participant.is_still_empty())
    }

    /// Passes a wake on: the caller was woken and has used its chance. Wakes another reader if there is more to read.
    pub fn wake_next_reader(&mut self) {
        if !self.is_empty() {
            self.participant.pass_on(News::Data);
        }
    }
}
