//! The ring: a row of slots, each with a page of its own, between any number of writers and readers.
//!
//! ```text
//!            tail: next slot to drain                 head: next slot to fill
//!              v                                        v
//!   +--------+--------+--------+--------+--------+--------+--------+--------+
//!   | empty  | stream | packet | large  | stream | empty  | empty  | empty  |   slots: one word each
//!   | lap 8  | lap 7  | lap 7  | lap 7  | lap 7  | lap 7  | lap 7  | lap 7  |
//!   | page 3 | page 0 | page 9 | page 4 | page 1 | page 7 | page 2 | page 6 |
//!   +--------+--------+--------+--------+--------+--------+--------+--------+
//!                         writer's own: page 5      reader's own: page 8
//! ```
//!
//! `head` is where writers fill and `tail` where readers drain, as in the Linux kernel; many ring crates say it the other
//! way round.
//!
//! * **Publish**: fill the page that one owns, in private, then exchange it with the page of the empty slot at head.
//! * **Take**: exchange the page that one owns with the page of the full slot at tail. What comes out is the reader's.
//! * **Consume**: read a part, then move the slot's start with an exchange that keeps the page.
//! * **Merge**: copy the last slot's unread bytes into the page that one owns, add the new ones, exchange.
//!
//! What always holds:
//! * Every step that others can see is one compare-exchange on one slot. There is no state "being filled".
//! * Slot `i` is filled in lap `l` only from empty in lap `l`, and emptied into lap `l + 1`. So positions
//!   (`lap * ring_size + i`) are filled in order and emptied in order, each once.
//! * Empty and full are decided at the slot. The shared `head` and `tail` are hints for those who have lost their place:
//!   they lag, however far, and that costs a search and nothing else.
//!
//! # Why a reader never sees half a packet
//! A page is written only by its owner. It is published by the exchange (Release) that takes it out of the owner's hands,
//! and a reader reads it after an exchange (Acquire) that puts it into its own. Between the two nobody may write it. Reads
//! of a page that is still in its slot (consume, merge) are guesses until the exchange on that slot's word succeeds: the
//! word holds lap, page and span, so that its being unchanged says that the page has been in the slot all the time.
//!
//! # Why a dead or stopped participant stops nobody
//! Before its exchange nothing of what it does can be seen, and after its exchange nothing is left to do. A page that it
//! takes with it is found again by its record, see `holding`.
//!
//! How a participant finds head and tail: see `place`. How a ring that is too small is left for a larger one: see `moving`.

use crate::bell::Notice;
use crate::place::Cursor;
use crate::slot::{Content, Fields, Garbled, Slot, Span};
use crate::sync::{AtomicU64, Blocks, Ordering, Peek};

/// Why there is nothing to do at a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// As many slots are occupied as may be.
    Full,
    /// No slot is occupied.
    Empty,
    /// Others were faster; look again.
    Lost,
    /// Somebody sleeps at the bell: ring, then try again.
    Unheard,
    /// The pipe moves to a larger ring, or has: follow it, then try again.
    Moved,
    /// The slot holds what nobody who keeps the rules has written.
    Garbled,
}

impl From<Garbled> for Miss {
    fn from(_: Garbled) -> Self {
        Self::Garbled
    }
}

/// The page that a participant owns, in its private memory.
#[derive(Clone, Copy, Debug)]
pub struct Spare {
    page: u32,
    copied: Option<Copied>,
}

/// The spare page's bytes in `span` are those of the slot's page, because it was that slot's page before the last merge.
#[derive(Clone, Copy, Debug)]
struct Copied {
    position: u64,
    published: u32,
    span: Span,
}

impl Copied {
    /// Whether the slot's bytes are those that were copied and more. They always are where all keep the rules: only the
    /// start moves on, and the end grows.
    #[inline]
    fn is_prefix_of(&self, slot: Span) -> bool {
        self.span.start <= slot.start && self.span.end <= slot.end
    }
}

impl Spare {
    /// The page `page`, of whose content nothing is known.
    #[must_use]
    pub fn new(page: u32) -> Self {
        Self { page, copied: None }
    }

    /// The page's index, to read from it.
    #[inline]
    #[must_use]
    pub fn page(&self) -> u32 {
        self.page
    }

    /// The page's index, to write to it.
    #[inline]
    pub fn page_to_fill(&mut self) -> u32 {
        self.copied = None;
        self.page
    }
}

/// A full slot as it was seen at its position.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub(crate) position: u64,
    pub(crate) word: u64,
    pub(crate) slot: Slot,
}

impl Seen {
    /// Where it stands in the order of all that is ever published.
    #[inline]
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What the slot held.
    #[inline]
    #[must_use]
    pub fn content(&self) -> Content {
        self.slot.content
    }

    /// The slot's page.
    #[inline]
    #[must_use]
    pub fn page(&self) -> u32 {
        self.slot.page
    }
}

/// The right to merge: the spare page holds the last slot's unread bytes and is to be continued at `end`.
#[derive(Debug)]
#[must_use]
pub struct Merge {
    seen: Seen,
    span: Span,
    peek: Peek,
}

impl Merge {
    /// Offset at which the new bytes go into the spare page.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.span.end
    }
}

/// A view of the ring in a segment.
#[derive(Clone, Copy, Debug)]
pub struct Ring<'a> {
    /// Hint: the next position to fill.
    pub head: &'a AtomicU64,
    /// Hint: the next position to drain.
    pub tail: &'a AtomicU64,
    /// The slots; their number is a power of two.
    pub slots: &'a [AtomicU64],
    /// The bytes of all pages.
    pub pages: Blocks<'a>,
    /// How to read a slot's word.
    pub fields: Fields,
    /// How many of the slots may be occupied, and whether this ring is still the one in use; see `moving`.
    pub size: &'a AtomicU64,
}

impl Ring<'_> {
    /// Publishes the spare page in the slot at head; the page that was there is the new spare.
    ///
    /// # Errors
    /// [`Miss::Full`], [`Miss::Lost`], [`Miss::Garbled`], [`Miss::Unheard`], [`Miss::Moved`]. The spare page and its bytes are as before.
    #[inline(always)]
    pub fn publish(
        &self,
        head: &mut Cursor,
        spare: &mut Spare,
        notice: Notice<'_>,
        content: Content,
    ) -> Result<(), Miss> {
        if let Some(empty) = self.empty_at(head)
            && self.swap(&empty, spare, notice, Slot { content, ..empty.slot }).is_ok()
        {
            self.advance(head, self.head);
            return Ok(());
        }
        self.publish_after_search(head, spare, notice, content)
    }

    #[cold]
    fn publish_after_search(
        &self,
        head: &mut Cursor,
        spare: &mut Spare,
        notice: Notice<'_>,
        content: Content,
    ) -> Result<(), Miss> {
        for _ in 0..self.budget() {
            let empty = self.find_head(head)?;
            match self.swap(&empty, spare, notice, Slot { content, ..empty.slot }) {
                Ok(()) => {
                    self.advance(head, self.head);
                    return Ok(());
                }
                Err(Miss::Lost) => {}
                Err(miss) => return Err(miss),
            }
        }
        Err(Miss::Lost)
    }

    /// Takes the packet at tail, as [`Ring::take`] does, if it lies there whole and has at most `room` bytes: what nearly all
    /// are. Returns its length. Otherwise nothing has happened, and [`Ring::front`] tells what is there.
    #[inline(always)]
    pub fn take_packet(&self, tail: &mut Cursor, spare: &mut Spare, notice: Notice<'_>, room: usize) -> Option<usize> {
        let (seen, len) = self.whole_packet_at(tail)?;
        if len > room {
            return None;
        }
        // The exchange is a barrier: without this, the bytes would be fetched only behind it.
        self.pages.prefetch(seen.slot.page, 0);
        self.take(tail, &seen, spare, notice).ok()?;
        Some(len)
    }

    /// The full slot at tail.
    ///
    /// # Errors
    /// [`Miss::Empty`], [`Miss::Lost`], [`Miss::Garbled`], [`Miss::Moved`].
    #[inline(always)]
    pub fn front(&self, tail: &mut Cursor) -> Result<Seen, Miss> {
        let mut seen = self.look(tail.0)?;
        if let Content::Stream(span) | Content::Packet(span) = seen.slot.content {
            // The exchange that takes the page is a barrier: without this, the bytes would be fetched only behind it.
            self.pages.prefetch(seen.slot.page, span.start as usize);
        }
        if !self.is_tail(tail.0, seen.word) {
            seen = self.search_tail(tail)?;
        }
        if seen.slot.content == Content::Empty { Err(Miss::Empty) } else { Ok(seen) }
    }

    /// The full slot behind `seen`, which need not be the one at tail. `None` if nothing has been published there yet.
    #[inline]
    #[must_use]
    pub fn behind(&self, seen: &Seen) -> Option<Seen> {
        let position = seen.position.wrapping_add(1);
        let next = self.look(position).ok()?;
        let is_there = next.slot.content != Content::Empty && next.slot.lap == self.fields.lap_at(position);
        is_there.then_some(next)
    }

    /// Takes the slot's page out and leaves the spare page, empty, in its place; the slot's page is the new spare.
    ///
    /// # Errors
    /// [`Miss::Lost`]: the slot has changed since it was seen. [`Miss::Unheard`].
    #[inline(always)]
    pub fn take(&self, tail: &mut Cursor, seen: &Seen, spare: &mut Spare, notice: Notice<'_>) -> Result<(), Miss> {
        let emptied = Slot { lap: seen.slot.lap.wrapping_add(1), content: Content::Empty, ..seen.slot };
        self.swap(seen, spare, notice, emptied)?;
        *tail = Cursor(seen.position);
        self.advance(tail, self.tail);
        Ok(())
    }

    /// Replaces what is said of the slot's unread bytes and leaves the page where it is. Commits the reads in `peek`.
    ///
    /// # Errors
    /// [`Miss::Lost`]: the slot has changed since it was seen, and what was read from its page is worth nothing.
    pub fn consume(&self, seen: &Seen, rest: Content, peek: Peek) -> Result<(), Miss> {
        let word = self.fields.encode(Slot { content: rest, ..seen.slot });
        // AcqRel: the bytes were read before this exchange, so that a later owner, who acquires the word through it,
        // writes them after. [ledger: R4]
        self.slot(seen.position)
            .compare_exchange(seen.word, word, Ordering::AcqRel, Ordering::Relaxed)
            .map_err(|_| Miss::Lost)?;
        peek.commit();
        Ok(())
    }

    /// Whether the slot is still as it was seen. Confirms the reads in `peek`, which took nothing out.
    ///
    /// # Errors
    /// [`Miss::Lost`]: the slot has changed, and what was read from its page is worth nothing.
    pub fn confirm(&self, seen: &Seen, peek: Peek) -> Result<(), Miss> {
        // Acquire fence: pairs with the Release fence in swap. If one of the reads before it saw a later owner's byte, then
        // the load below sees that owner's exchange, which came before the byte. [ledger: R5]
        crate::sync::fence(Ordering::Acquire);
        if self.slot(seen.position).load(Ordering::Relaxed) != seen.word {
            return Err(Miss::Lost);
        }
        peek.confirm();
        Ok(())
    }

    /// Whether the slot is still as it was seen.
    #[must_use]
    pub fn is_there(&self, seen: &Seen) -> bool {
        self.load(seen.position) == seen.word
    }

    /// Begins a merge of `added` bytes into the last slot, if that slot holds stream bytes and has room for all of them.
    ///
    /// The caller writes the new bytes into the spare page at [`Merge::end`] and calls [`Ring::merge`].
    #[inline]
    pub fn begin_merge(&self, head: &mut Cursor, spare: &mut Spare, added: usize) -> Option<Merge> {
        let seen = self.back(head)?;
        let span = self.span_with_room(&seen, added)?;
        let missing = match spare.copied.take() {
            Some(old) if old.position == seen.position && old.published == seen.slot.page && old.is_prefix_of(span) => {
                Span { start: old.span.end.max(span.start), end: span.end }
            }
            _ => span,
        };
        let peek = self.pages.copy(seen.slot.page, spare.page, missing.start as usize, missing.len());
        Some(Merge { seen, span, peek })
    }

    /// Puts the spare page, with `added` bytes behind the old ones, in the place of the slot's page.
    ///
    /// # Errors
    /// [`Miss::Lost`]: the slot has changed (bytes were read, or somebody else merged); begin again. [`Miss::Unheard`]:
    /// likewise, after the ring.
    #[inline]
    pub fn merge(&self, merge: Merge, added: usize, spare: &mut Spare, notice: Notice<'_>) -> Result<(), Miss> {
        let Merge { seen, span, peek } = merge;
        let published = spare.page;
        let longer = Content::Stream(Span { start: span.start, end: span.end + added as u32 });
        self.swap(&seen, spare, notice, Slot { content: longer, ..seen.slot })?;
        peek.commit();
        // The page that came out holds what the one that went in begins with.
        spare.copied = Some(Copied { position: seen.position, published, span });
        Ok(())
    }

    /// Whether a merge of `added` bytes could begin. A look, for a writer that waits for room.
    #[must_use]
    pub fn could_merge(&self, mut head: Cursor, added: usize) -> bool {
        self.back(&mut head).is_some_and(|seen| self.span_with_room(&seen, added).is_some())
    }

    /// The slot's stream bytes, if there are some and room for `added` more.
    #[inline]
    fn span_with_room(&self, seen: &Seen, added: usize) -> Option<Span> {
        match seen.slot.content {
            Content::Stream(span) if span.end as usize + added <= self.pages.size() => Some(span),
            _ => None,
        }
    }

    /// The last slot that was filled, if it still is and nobody has filled the next one.
    #[inline]
    fn back(&self, head: &mut Cursor) -> Option<Seen> {
        if !matches!(self.find_head(head), Ok(_) | Err(Miss::Full)) {
            return None;
        }
        let last = head.0.wrapping_sub(1);
        let seen = self.look(last).ok()?;
        let is_filled = seen.slot.content != Content::Empty && seen.slot.lap == self.fields.lap_at(last);
        is_filled.then_some(seen)
    }

    /// The one step that others see: the spare page goes into the slot, the slot's page comes out.
    #[inline(always)]
    fn swap(&self, seen: &Seen, spare: &mut Spare, notice: Notice<'_>, becomes: Slot) -> Result<(), Miss> {
        if !notice.announce(spare.page, seen.slot.page) {
            return Err(Miss::Unheard);
        }
        let word = self.fields.encode(Slot { page: spare.page, ..becomes });
        // Release: pairs with the Acquire of whoever takes or looks at the page, so that it sees the bytes (and the
        // record). Acquire: pairs with the Release of whoever put the other page there, so that its reads and writes of
        // that page come before ours. [ledger: R2]
        let swapped =
            self.slot(seen.position).compare_exchange(seen.word, word, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if swapped {
            // Release fence: pairs with the Acquire fence in confirm. Whoever sees a byte that we write to our new page
            // sees that the slot has changed; the exchange itself does not promise that. [ledger: R6]
            crate::sync::fence(Ordering::Release);
            spare.page = seen.slot.page;
            spare.copied = None;
        }
        notice.record.settle(spare.page);
        if swapped { Ok(()) } else { Err(Miss::Lost) }
    }

    #[inline(always)]
    pub(crate) fn look(&self, position: u64) -> Result<Seen, Miss> {
        let word = self.load(position);
        if self.fields.is_frozen(word) {
            return Err(Miss::Moved);
        }
        Ok(Seen { position, word, slot: self.fields.decode(word)? })
    }

    #[inline(always)]
    pub(crate) fn load(&self, position: u64) -> u64 {
        // Acquire: pairs with the Release of swap, for those who read the page before their own exchange. [ledger: R3]
        self.slot(position).load(Ordering::Acquire)
    }

    #[inline(always)]
    pub(crate) fn slot(&self, position: u64) -> &AtomicU64 {
        &self.slots[self.fields.slot_at(position)]
    }

    #[inline(always)]
    pub(crate) fn ring_size(&self) -> u64 {
        self.fields.ring_size()
    }

    #[inline(always)]
    pub(crate) fn budget(&self) -> usize {
        2 * self.slots.len() + 16
    }
}
