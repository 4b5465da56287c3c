//! A writer's end: fill the page that one owns, then publish it or merge it.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::extent::LargeHeader;
use crate::life::Side;
use crate::participant::{JoinError, Participant};
use crate::ring::{Merge, Miss};
use crate::segment::Segment;
use crate::shared_bytes::SharedBytes;
use crate::sleeping::{News, Waited};
use crate::slot::{Content, Span};

/// One writer of a segment. Dropping it leaves.
#[derive(Debug)]
pub struct WriterEnd {
    participant: Participant,
    /// How many bytes of each extent have memory behind them, as far as this process has seen to it.
    memory_of_extents: Box<[Cell<u32>]>,
    /// Whether an extent belongs to the own page: claimed, and neither published nor given back.
    has_claim: bool,
    /// Where head was when a wake was passed on without having been of use.
    passed_on_at: Option<u64>,
    /// When a merge was lost last, if that is not long ago.
    reader_seen: Option<Instant>,
    /// So many bytes were to be merged in the last try, if any were.
    to_merge: Option<usize>,
}

/// For so long a lost merge is a licence not to merge, while the ring is less than half full: it proves that somebody else is
/// at work in this very moment. Without that proof every write merges as in the kernel, so that no program alone with its
/// pipe can tell the difference.
const LICENCE: Duration = Duration::from_micros(10);

/// So often one rings before one and the same exchange, which those who have been woken put off by going to sleep again.
pub const MOST_RINGS: usize = 64;

/// What a page is published as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes that later ones may be merged with.
    Stream,
    /// A packet.
    Packet,
}

/// An extent that belongs to the writer's page.
#[derive(Debug)]
pub struct ClaimedExtent {
    index: u32,
    length: u32,
}

impl ClaimedExtent {
    /// Bytes of the packet that it was claimed for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length as usize
    }

    /// Never true: there is no packet without bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Makes the packet shorter.
    ///
    /// # Panics
    /// If `len` is 0 or more than before.
    pub fn truncate(&mut self, len: usize) {
        assert!(len > 0 && len <= self.len(), "a packet can only become shorter, and has at least one byte");
        self.length = len as u32;
    }
}

impl WriterEnd {
    /// Joins `segment` as a writer.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn join(segment: Arc<Segment>) -> Result<Self, JoinError> {
        Ok(Self::new(Participant::join(segment, Side::Writer)?))
    }

    /// Takes up a writer's entry that was handed over.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn take_up(segment: Arc<Segment>, entry: u32, lock: OwnedFd) -> Result<Self, JoinError> {
        Ok(Self::new(Participant::take_up(segment, Side::Writer, entry, lock)?))
    }

    /// The end that `participant`, a writer, has.
    ///
    /// # Panics
    /// If it is a reader.
    #[must_use]
    pub fn new(participant: Participant) -> Self {
        assert_eq!(participant.side(), Side::Writer, "a writer's end");
        let extents = participant.segment().layout().extents;
        Self {
            participant,
            memory_of_extents: (0..extents).map(|_| Cell::new(0)).collect(),
            has_claim: false,
            passed_on_at: None,
            reader_seen: None,
            to_merge: None,
        }
    }

    /// What it has in common with readers.
    pub fn participant(&mut self) -> &mut Participant {
        &mut self.participant
    }

    /// Gives up the wrapper.
    #[must_use]
    pub fn into_participant(self) -> Participant {
        self.participant
    }

    /// Bytes in a page.
    #[inline(always)]
    #[must_use]
    pub fn slot_size(&self) -> usize {
        self.participant.segment().layout().geometry.slot_size as usize
    }

    /// Bytes of the largest packet that can be sent now: as many as the slots hold that may be occupied.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.participant.capacity()
    }

    /// Bytes of the largest packet that there can ever be.
    #[must_use]
    pub fn packet_max(&self) -> usize {
        self.participant.segment().layout().packet_max as usize
    }

    /// Writes `bytes` at offset `at` of the own page.
    ///
    /// # Panics
    /// If they do not fit.
    #[inline(always)]
    pub fn fill(&mut self, at: usize, bytes: &[u8]) {
        let page = self.participant.spare.page_to_fill();
        self.participant.segment().pages().write(page, at, bytes);
    }

    /// Publishes the first `len` bytes of the own page, and wakes a reader if one sleeps.
    ///
    /// # Errors
    /// [`Miss::Full`], [`Miss::Lost`], [`Miss::Garbled`]; the page stays filled.
    ///
    /// # Panics
    /// If `len` is 0 or more than a page.
    #[inline(always)]
    pub fn publish(&mut self, kind: Kind, len: usize) -> Result<(), Miss> {
        self.publish_span(kind, Span { start: 0, end: len as u32 })
    }

    /// As [`WriterEnd::publish`], but of the bytes in `span` of the own page.
    ///
    /// # Errors
    /// As [`WriterEnd::publish`].
    ///
    /// # Panics
    /// If there are none, or they are not within the page.
    #[inline(always)]
    pub fn publish_span(&mut self, kind: Kind, span: Span) -> Result<(), Miss> {
        assert!(!span.is_empty() && span.start < span.end, "a page holds from 1 byte to its size");
        assert!(span.end as usize <= self.slot_size(), "a page holds from 1 byte to its size");
        self.release_forgotten();
        self.publish_content(match kind {
            Kind::Stream => Content::Stream(span),
            Kind::Packet => Content::Packet(span),
        })
    }

    /// Publishes the first `len` bytes of the own page as a packet and tells nobody: the caller owes [`WriterEnd::tell_readers`] before it waits
    /// for anything, and before it returns.
    ///
    /// # Errors
    /// Whatever prevents it; the page stays filled. [`WriterEnd::publish`] is what to do about it.
    ///
    /// # Panics
    /// If `len` is 0 or more than a page.
    #[inline]
    pub fn publish_untold(&mut self, len: usize) -> Result<(), Miss> {
        assert!(len > 0 && len <= self.slot_size(), "a page holds from 1 byte to its size");
        self.release_forgotten();
        self.participant.sign_page();
        let (ring, own) = self.participant.ring_and_own();
        ring.publish(own.cursor, own.spare, own.notice, Content::Packet(Span { start: 0, end: len as u32 }))
    }

    /// Wakes a reader if one sleeps, for all that was published untold; it wakes the next one.
    pub fn tell_readers(&mut self) {
        self.participant.wake_one_late(News::Data);
    }

    #[inline(always)]
    fn publish_content(&mut self, content: Content) -> Result<(), Miss> {
        self.participant.sign_page();
        let (ring, own) = self.participant.ring_and_own();
        match ring.publish(own.cursor, own.spare, own.notice, content) {
            Ok(()) => self.participant.wake_one(News::Data),
            // Others have filled the ring meanwhile: then it may be a merge that there is room for.
            Err(Miss::Full) if self.reader_seen.take().is_some() => return Err(Miss::Lost),
            Err(Miss::Unheard) => return self.ring_and_publish(content),
            Err(miss) => return Err(self.participant.follow(miss)),
        }
        Ok(())
    }

    #[cold]
    fn ring_and_publish(&mut self, content: Content) -> Result<(), Miss> {
        for _ in 0..MOST_RINGS {
            self.participant.answer_bell();
            let (ring, own) = self.participant.ring_and_own();
            match ring.publish(own.cursor, own.spare, own.notice, content) {
                Err(Miss::Unheard) => {}
                Ok(()) => {
                    self.participant.wake_one(News::Data);
                    return Ok(());
                }
                Err(miss) => return Err(self.participant.follow(miss)),
            }
        }
        Err(Miss::Lost)
    }

    /// Begins to merge `added` bytes into the last slot; see [`crate::ring::Ring::begin_merge`].
    ///
    /// # Panics
    /// If `added` is 0.
    #[inline]
    pub fn begin_merge(&mut self, added: usize) -> Option<Merge> {
        assert!(added > 0, "a merge adds at least one byte");
        self.release_forgotten();
        self.to_merge = Some(added);
        if self.reader_seen.is_some() && self.has_licence() {
            return None;
        }
        let (ring, own) = self.participant.ring_and_own();
        ring.begin_merge(own.cursor, own.spare, added)
    }

    /// Writes `bytes` for the merge, `at` bytes behind the old ones.
    #[inline]
    pub fn fill_merge(&mut self, merge: &Merge, at: usize, bytes: &[u8]) {
        let page = self.participant.spare.page();
        self.participant.segment().pages().write(page, merge.end() as usize + at, bytes);
    }

    /// Ends the merge, and wakes a reader if one sleeps.
    ///
    /// # Errors
    /// [`Miss::Lost`]: begin again. [`Miss::Unheard`]: likewise; it has rung for somebody first.
    #[inline]
    pub fn merge(&mut self, merge: Merge, added: usize) -> Result<(), Miss> {
        self.participant.sign_page();
        let (ring, own) = self.participant.ring_and_own();
        match ring.merge(merge, added, own.spare, own.notice) {
            Ok(()) => {
                self.participant.wake_one(News::Data);
                Ok(())
            }
            Err(Miss::Unheard) => {
                self.participant.answer_bell();
                Err(Miss::Unheard)
            }
            Err(miss) => {
                self.reader_seen = Some(Instant::now());
                Err(miss)
            }
        }
    }

    /// Whether merging is left out: a reader is about that is as quick as this writer, so that most of it would be in vain.
    #[cold]
    fn has_licence(&mut self) -> bool {
        let is_fresh = self.reader_seen.is_some_and(|seen| seen.elapsed() < LICENCE);
        if !is_fresh {
            self.reader_seen = None;
        }
        is_fresh && self.participant.is_less_than_half_full()
    }

    /// Claims an extent for a packet of `len` bytes. `None` if all are in use: as good as full.
    ///
    /// # Errors
    /// If there is no memory for it.
    ///
    /// # Panics
    /// If `len` is more than [`WriterEnd::packet_max`].
    pub fn claim_extent(&mut self, len: usize) -> io::Result<Option<ClaimedExtent>> {
        assert!(len <= self.packet_max(), "larger than the largest packet");
        self.release_forgotten();
        let segment = self.participant.segment();
        let page = self.participant.spare.page();
        let Some(index) = segment.extents().claim(page) else { return Ok(None) };
        let memory = &self.memory_of_extents[index as usize];
        let length = len as u32;
        if memory.get() < length {
            if let Err(error) = segment.take_memory_of_extent(index, length) {
                segment.extents().release(index, page);
                return Err(error);
            }
            memory.set(length);
        }
        self.has_claim = true;
        Ok(Some(ClaimedExtent { index, length }))
    }

    /// Writes `bytes` at offset `at` of the claimed extent.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn fill_extent(&mut self, extent: &ClaimedExtent, at: usize, bytes: &[u8]) {
        self.participant.segment().extents().bytes.write(extent.index, at, bytes);
    }

    /// Says that the own page is going to be filled in place.
    pub fn prepare_to_fill(&mut self) {
        self.participant.spare.page_to_fill();
    }

    /// The first `len` bytes of the own page in place.
    ///
    /// # Panics
    /// If the page is shorter.
    #[must_use]
    pub fn in_place(&self, len: usize) -> SharedBytes<'_> {
        self.participant.segment().pages().in_place(self.participant.spare.page(), 0, len)
    }

    /// The claimed extent's bytes in place.
    #[must_use]
    pub fn extent_in_place(&self, extent: &ClaimedExtent) -> SharedBytes<'_> {
        self.participant.segment().extents().bytes.in_place(extent.index, 0, extent.len())
    }

    /// Publishes the packet in `extent`, and wakes a reader if one sleeps.
    ///
    /// # Errors
    /// [`Miss::Full`], [`Miss::Lost`], [`Miss::Garbled`], and the extent, still claimed and filled.
    pub fn publish_extent(&mut self, extent: ClaimedExtent) -> Result<(), (Miss, ClaimedExtent)> {
        let header = LargeHeader { extent: extent.index, length: extent.length };
        self.fill(0, &header.to_bytes());
        match self.publish_content(Content::Large { consumed: 0 }) {
            Ok(()) => {
                self.has_claim = false;
                Ok(())
            }
            Err(miss) => Err((miss, extent)),
        }
    }

    /// Gives the extent back, and wakes a writer that may wait for one.
    pub fn release_extent(&mut self, extent: ClaimedExtent) {
        let page = self.participant.spare.page();
        self.participant.segment().extents().release(extent.index, page);
        self.has_claim = false;
        self.participant.pass_on(News::Extent);
    }

    /// Gives back an extent whose claim was forgotten, before the page that it belongs to changes hands.
    #[inline(always)]
    fn release_forgotten(&mut self) {
        if core::mem::take(&mut self.has_claim) {
            self.participant.release_own_extents();
        }
    }

    /// Whether one more slot may be occupied.
    ///
    /// # Errors
    /// [`Miss::Full`], [`Miss::Lost`], [`Miss::Garbled`].
    pub fn has_room(&mut self) -> Result<(), Miss> {
        self.participant.has_room()
    }

    /// Whether as many slots are occupied as may be.
    #[must_use]
    pub fn is_full(&mut self) -> bool {
        self.participant.is_full()
    }

    /// Whether an extent is free.
    #[must_use]
    pub fn has_free_extent(&self) -> bool {
        self.participant.segment().extents().has_free()
    }

    /// Waits until there may be a free extent, a reader has come or gone, or the deadline.
    pub fn wait_for_extent(&mut self, deadline: Option<Instant>) -> Waited {
        self.participant.wait(News::Extent, deadline, |participant| {
            participant.segment().extents().has_free() || participant.segment().is_lost()
        })
    }

    /// Before a wait: looks for some hundred nanoseconds whether a slot becomes empty.
    #[inline]
    pub fn look_briefly(&mut self) -> bool {
        self.participant.look_briefly(|participant| !participant.is_still_full())
    }

    /// Waits until a slot may have become empty, a reader has come or gone, or the deadline.
    ///
    /// Who wanted to merge does not sleep either where that has become possible: between its try to merge and its finding the
    /// ring full, somebody may have emptied the last slot and somebody else begun it anew, and no wake comes for that.
    pub fn wait_for_room(&mut self, deadline: Option<Instant>) -> Waited {
        let to_merge = self.to_merge.take();
        self.participant.wait(News::Room, deadline, |participant| {
            !participant.is_still_full() || to_merge.is_some_and(|added| participant.could_merge(added))
        })
    }

    /// Passes a wake on that was of no use: somebody else was faster. At most once for each position of head, so that those who
    /// all find no room do not wake each other for ever.
    pub fn leave_room_to_the_next(&mut self) {
        let head = self.participant.cursor.0;
        if self.passed_on_at.replace(head) != Some(head) {
            self.participant.pass_on(News::Room);
        }
    }

    /// Passes a wake on: the caller was woken, has used its chance or could not, and there may be another one for another
    /// writer.
    pub fn wake_next_writer(&mut self) {
        // Also if the pipe is full: it may be a writer that can merge.
        self.participant.pass_on(News::Room);
        if self.participant.segment().extents().has_free() {
            self.participant.pass_on(News::Extent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReaderEnd;
    use crate::layout::Geometry;

    #[test]
    fn a_writer_does_not_sleep_beside_a_last_slot_that_has_room_for_its_bytes() {
        let geometry = Geometry { ring_size: 1, ..Geometry::default() };
        let segment = Arc::new(Segment::anonymous(geometry).expect("a segment"));
        let join = || WriterEnd::join(Arc::clone(&segment)).expect("an entry");
        let (mut slow, mut quick) = (join(), join());
        let mut reader = ReaderEnd::join(Arc::clone(&segment)).expect("an entry");
        let publish = |writer: &mut WriterEnd, len: usize| {
            writer.fill(0, &[1; 4096][..len]);
            writer.publish(Kind::Stream, len)
        };
        publish(&mut quick, 4096).expect("room");
        // Between the two halves of the slow one's try the slot is emptied and begun anew.
        assert!(slow.begin_merge(10).is_none());
        let full = reader.front().expect("bytes");
        reader.take(&full).expect("nobody else does");
        publish(&mut quick, 10).expect("room");
        assert_eq!(publish(&mut slow, 10), Err(Miss::Full));
        let in_a_minute = Instant::now().checked_add(Duration::from_secs(60));
        assert_eq!(slow.wait_for_room(in_a_minute), Waited::LookAgain);
        assert!(slow.begin_merge(10).is_some());
        // And where there is no room for them, or it is not about bytes of a stream, it does.
        for to_merge in [Some(4087), None] {
            slow.to_merge = to_merge;
            let soon = Instant::now().checked_add(Duration::from_millis(1));
            assert_ne!(slow.wait_for_room(soon), Waited::LookAgain);
        }
    }
}
