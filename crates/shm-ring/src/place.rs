//! Finding head and tail.
//!
//! ```text
//!   slots    | full   | full   | empty  | empty  |         | full   | full   | full   | full   |
//!            | lap 7  | lap 7  | lap 7  | lap 7  |         | lap 7  | lap 7  | lap 6  | lap 6  |
//!                               ^                                              ^
//!                  head: here not filled, before filled             head of a full ring, and tail
//! ```
//!
//! A participant keeps its place, its [`Cursor`], to itself. As long as nobody else is about, that is where it left off. When
//! others were faster it moves on, by what the slots say: `position` is head where its slot has not been filled and the one
//! before has, and tail where its slot has not been drained and the one before has. The shared hints `head` and `tail` are
//! for newcomers; they lag, however far, and that costs a search and nothing else.
//!
//! # Why the loops end
//! Each has a budget. Alone, a participant needs at most one round of the ring to find its place; a loop that runs
//! longer has lost its races to others who made progress, or runs on words that somebody scribbles over.

use crate::moving::Size;
use crate::ring::{Miss, Ring, Seen};
use crate::slot::{Content, Slot, Span};
use crate::sync::{AtomicU64, Ordering};

/// Where a participant stands in the ring, in its private memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub u64);

/// A restart looks at every slot and ends where all keep the rules: so one search needs one at most.
struct Restarts(bool);

impl Restarts {
    fn new() -> Self {
        Self(false)
    }

    fn count(&mut self) -> Result<(), Miss> {
        if core::mem::replace(&mut self.0, true) { Err(Miss::Garbled) } else { Ok(()) }
    }
}

impl Ring<'_> {
    /// A writer's first guess at its place.
    #[must_use]
    pub fn head_hint(&self) -> Cursor {
        // Relaxed: a hint; the slots decide. [ledger: R1]
        Cursor(self.head.load(Ordering::Relaxed))
    }

    /// A reader's first guess at its place.
    #[must_use]
    pub fn tail_hint(&self) -> Cursor {
        // Relaxed: a hint; the slots decide. [ledger: R1]
        Cursor(self.tail.load(Ordering::Relaxed))
    }

    /// Whether there is a slot to be filled.
    ///
    /// # Errors
    /// [`Miss::Full`], [`Miss::Lost`], [`Miss::Garbled`], [`Miss::Moved`].
    pub fn has_room(&self, head: &mut Cursor) -> Result<(), Miss> {
        self.find_head(head).map(|_| ())
    }

    /// Whether fewer than half of the slots that may be are occupied, judged by the one so far before `head`.
    #[inline]
    #[must_use]
    pub fn is_less_than_half_full(&self, head: Cursor) -> bool {
        self.is_drained(head.0.wrapping_sub(self.half_of_usage()))
    }

    /// Whether at least half of the slots that may be are occupied, judged by the one so far behind `tail`.
    #[inline]
    #[must_use]
    pub fn is_half_full(&self, tail: Cursor) -> bool {
        self.is_published(tail.0.wrapping_add(self.half_of_usage()).wrapping_sub(1))
    }

    #[inline]
    fn half_of_usage(&self) -> u64 {
        (self.usage().min(self.ring_size()) / 2).max(1)
    }

    /// How many slots may be occupied; more than there are while the pipe moves, and whatever others have written.
    #[inline(always)]
    fn usage(&self) -> u64 {
        // Relaxed: a limit, and whoever raises it wakes those who wait for room. [ledger: M1]
        Size::decode(self.size.load(Ordering::Relaxed)).usage.into()
    }

    /// Whether one more slot may be occupied at `head`. Where all may be, the slot itself tells.
    #[inline(always)]
    fn may_fill(&self, head: u64) -> bool {
        let usage = self.usage();
        usage >= self.ring_size() || self.is_drained(head.wrapping_sub(usage))
    }

    /// Whether the pipe leaves this ring, or has left it.
    #[cold]
    fn is_left(&self) -> bool {
        // Relaxed: who is told so looks again. [ledger: M1]
        Size::decode(self.size.load(Ordering::Relaxed)).next != self.fields.ring_bits()
    }

    /// Whether the slot at `tail` still says that the ring is empty. A quick look, for those who have just been told so and
    /// wait: it judges by this one slot, and only [`Ring::front`] knows.
    #[inline]
    #[must_use]
    pub fn is_still_empty(&self, tail: Cursor) -> bool {
        let word = self.glance(tail.0);
        let is_empty =
            self.fields.is_next_to_drain(word, tail.0) && self.fields.is_empty(word) && !self.fields.is_frozen(word);
        if !is_empty && let Some((page, _)) = self.fields.whole_packet_at(word, tail.0) {
            // The proper look and the exchange come next; the bytes can be on their way meanwhile.
            self.pages.prefetch(page, 0);
        }
        is_empty
    }

    /// Whether the slot at `head` still says that the ring is full. A quick look, as [`Ring::is_still_empty`].
    #[inline]
    #[must_use]
    pub fn is_still_full(&self, head: Cursor) -> bool {
        let word = self.glance(head.0);
        let may_fill = self.fields.is_empty(word) && self.may_fill(head.0);
        self.fields.is_next_to_fill(word, head.0) && !may_fill && !self.fields.is_frozen(word) && !self.is_left()
    }

    /// The empty slot where `head` stands, if that is the next one to fill. The short way through [`Ring::find_head`].
    #[inline(always)]
    pub(crate) fn empty_at(&self, head: &Cursor) -> Option<Seen> {
        let word = self.load(head.0);
        let page = self.fields.empty_at(word, head.0)?;
        let slot = Slot { lap: self.fields.lap_at(head.0), page, content: Content::Empty };
        let is_head = self.is_published(head.0.wrapping_sub(1)) && self.may_fill(head.0);
        is_head.then_some(Seen { position: head.0, word, slot })
    }

    /// The packet where `tail` stands, if that is the next one to drain and nothing has been read of it. The short way
    /// through [`Ring::front`].
    #[inline(always)]
    pub(crate) fn whole_packet_at(&self, tail: &Cursor) -> Option<(Seen, usize)> {
        let word = self.load(tail.0);
        let (page, len) = self.fields.whole_packet_at(word, tail.0)?;
        let content = Content::Packet(Span { start: 0, end: len as u32 });
        let slot = Slot { lap: self.fields.lap_at(tail.0), page, content };
        self.is_drained(tail.0.wrapping_sub(1)).then_some((Seen { position: tail.0, word, slot }, len))
    }

    /// Moves `head` to the next position to fill, and returns the empty slot there if it may be filled.
    pub(crate) fn find_head(&self, head: &mut Cursor) -> Result<Seen, Miss> {
        let mut seen = self.look(head.0)?;
        if !self.is_head(head.0, seen.word) {
            seen = self.search_head(head)?;
        }
        if seen.slot.content == Content::Empty && self.may_fill(head.0) {
            return Ok(seen);
        }
        // Somebody may have died before it froze anything.
        Err(if self.is_left() { Miss::Moved } else { Miss::Full })
    }

    /// Whether `position`, whose slot has `word`, is head: the one before has been filled, and this one has not.
    #[inline(always)]
    fn is_head(&self, position: u64, word: u64) -> bool {
        self.fields.is_next_to_fill(word, position) && self.is_published(position.wrapping_sub(1))
    }

    /// Whether `position`, whose slot has `word`, is tail: the one before has been drained, and this one has not.
    #[inline(always)]
    pub(crate) fn is_tail(&self, position: u64, word: u64) -> bool {
        self.fields.is_next_to_drain(word, position) && self.is_drained(position.wrapping_sub(1))
    }

    /// Whether `position` has been filled, judged by its slot.
    ///
    /// Who has not looked for so long that the laps came round may stand some slots ahead of head and see nothing wrong with
    /// its own one. It sees it here: head is where the slot before has been filled and this one has not.
    #[inline(always)]
    fn is_published(&self, position: u64) -> bool {
        self.fields.is_filled(self.glance(position), position)
    }

    /// Whether `position` has been drained, judged by its slot. As for [`Ring::is_published`], tail is where the slot before
    /// has been drained and this one has not.
    #[inline(always)]
    fn is_drained(&self, position: u64) -> bool {
        self.fields.is_drained(self.glance(position), position)
    }

    /// The word of the slot of `position`, for a look that orders nothing.
    #[inline(always)]
    fn glance(&self, position: u64) -> u64 {
        // Relaxed: who stands behind `position` has seen this slot there or later, and sees nothing older now. One who knows
        // it from a hint alone may: it searches then. [ledger: R7]
        self.slot(position).load(Ordering::Relaxed)
    }

    /// Somebody else has published where `head` stands, or `head` is nowhere near. Moves it to where it belongs, and returns
    /// the slot there.
    #[cold]
    fn search_head(&self, head: &mut Cursor) -> Result<Seen, Miss> {
        let mut restarts = Restarts::new();
        for _ in 0..self.budget() {
            let seen = self.look(head.0)?;
            if self.is_head(head.0, seen.word) {
                return Ok(seen);
            }
            let ahead = self.fields.laps_ahead(seen.slot.lap, self.fields.lap_at(head.0));
            // Filled in lap l: position l was published. Empty in lap l: position l - 1 was published (and drained).
            let published = if seen.slot.content == Content::Empty { ahead - 1 } else { ahead };
            if published >= 0 {
                self.jump(head, published);
            } else {
                // Not a lap behind, but from another age. Any slot tells in which lap the ring is.
                restarts.count()?;
                self.restart(
                    head,
                    |slot| {
                        if slot.content == Content::Empty { slot.lap.wrapping_sub(1) } else { slot.lap }
                    },
                );
            }
        }
        Err(Miss::Lost)
    }

    /// Somebody else has drained where `tail` stands, or `tail` is nowhere near. Moves it to where it belongs, and returns
    /// the slot there.
    #[cold]
    pub(crate) fn search_tail(&self, tail: &mut Cursor) -> Result<Seen, Miss> {
        let mut restarts = Restarts::new();
        for _ in 0..self.budget() {
            let seen = self.look(tail.0)?;
            if self.is_tail(tail.0, seen.word) {
                return Ok(seen);
            }
            // In lap l, empty or full: position l - 1 was drained.
            let ahead = self.fields.laps_ahead(seen.slot.lap, self.fields.lap_at(tail.0));
            if ahead >= 1 {
                self.jump(tail, ahead - 1);
            } else {
                restarts.count()?;
                self.restart(tail, |slot| slot.lap.wrapping_sub(1));
            }
        }
        Err(Miss::Lost)
    }

    /// Moves `cursor` behind the position that is `laps` ahead of it in the same slot.
    fn jump(&self, cursor: &mut Cursor, laps: i64) {
        cursor.0 = cursor.0.wrapping_add((laps as u64).wrapping_mul(self.ring_size())).wrapping_add(1);
    }

    /// Moves `cursor` behind the latest position of which `done_in_lap` says that it has been passed.
    fn restart(&self, cursor: &mut Cursor, done_in_lap: impl Fn(Slot) -> u64) {
        let Ok(first) = self.look(0) else { return };
        let reference = done_in_lap(first.slot);
        let latest = (0..self.ring_size())
            .filter_map(|index| {
                let slot = self.look(index).ok()?.slot;
                Some((self.fields.laps_ahead(done_in_lap(slot), reference), index))
            })
            .max();
        if let Some((ahead, index)) = latest {
            let lap = reference.wrapping_add(ahead as u64);
            cursor.0 = lap.wrapping_mul(self.ring_size()).wrapping_add(index).wrapping_add(1);
        }
    }

    #[inline(always)]
    pub(crate) fn advance(&self, cursor: &mut Cursor, hint: &AtomicU64) {
        cursor.0 = cursor.0.wrapping_add(1);
        if self.fields.slot_at(cursor.0) == 0 {
            // Relaxed: a hint, once a lap; the slots decide. [ledger: R1]
            hint.store(cursor.0, Ordering::Relaxed);
        }
    }
}
