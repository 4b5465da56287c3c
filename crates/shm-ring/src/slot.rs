//! One slot of the ring: a 64-bit *descriptor*, the counterpart of the kernel's `struct pipe_buffer`.
//!
//! ```text
//!  63                                                                         0
//! +-----------------+--------+-----------+-------------+-------------+--------+
//! | lap             | state  | page      | last        | start       | frozen |
//! | all that is left| 2 bits | page_bits | offset_bits | offset_bits | 1 bit  |
//! +-----------------+--------+-----------+-------------+-------------+--------+
//!                                        |<------- consumed ------->|  in state Large
//! ```
//!
//! * `state`: 0 empty, 1 stream, 2 packet, 3 large packet (its bytes are in an extent, see `extent`).
//! * `start`: offset of the first unread byte; `last`: offset of the last byte (so that a full page needs no further bit).
//! * `page`: which page belongs to this slot. A slot always has one, also while it is empty.
//! * `frozen`: nobody exchanges anything here any more, the pipe moves to a larger ring; see `moving`.
//! * `lap`: how often the ring has gone round. Slot `i` in lap `l` stands for position `l * ring_size + i`.
//!   A slot is filled in the lap it is empty in, and emptied into the next lap.
//!
//! Lap and state are the highest bits, so that a slot's words only ever grow (modulo all laps): empty in lap 7, then full in
//! lap 7, then empty in lap 8. Where a slot is in its life is one comparison of its word.
//!
//! What always holds of a decoded descriptor: `page < pages`, `start < end <= slot_size`. A word that says otherwise was
//! written by somebody who does not keep the rules; decoding it is an error and never a panic.
//!
//! The same word comes back after `2^lap_bits` laps. A participant that was stopped between its load and its exchange for
//! exactly a multiple of that many laps, and finds the very page that it saw, would publish in the wrong place; the page
//! itself is still accounted for, because its index is part of the word that is compared. See `docs/layout.md`.

/// Which bytes of a slot's page are unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first unread byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// Number of unread bytes; never 0 in a slot.
    #[inline]
    #[must_use]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether there is nothing to read.
    #[inline]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end == self.start
    }
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing; the next writer fills it.
    Empty,
    /// Stream bytes, which later stream bytes may be merged with.
    Stream(Span),
    /// One packet that fits into the page.
    Packet(Span),
    /// One packet that is larger than a page: the page holds its header, an extent its bytes.
    Large {
        /// Bytes of the packet that have been read already.
        consumed: u32,
    },
}

/// A decoded and checked descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Round of the ring, modulo `2^lap_bits`.
    pub lap: u64,
    /// The page that belongs to the slot.
    pub page: u32,
    /// What the page holds.
    pub content: Content,
}

/// A descriptor that no participant who keeps the rules can have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbled;

/// The widths of a descriptor's fields, chosen once when the segment is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    offset_bits: u32,
    page_shift: u32,
    state_shift: u32,
    lap_shift: u32,
    offset_mask: u64,
    page_mask: u64,
    ring_bits: u32,
    slot_mask: u64,
    slot_size: u32,
    pages: u32,
}

const FROZEN: u64 = 1;
const FROZEN_BITS: u32 = 1;
const STATE_BITS: u32 = 2;
const STATE_MASK: u64 = mask(STATE_BITS);
const EMPTY: u64 = 0;
const STREAM: u64 = 1;
const PACKET: u64 = 2;
const LARGE: u64 = 3;
/// The lowest state of a slot that holds something.
const FULL: u64 = STREAM;

impl Fields {
    /// Fields for rings of up to `ring_size` slots and `pages` pages of `slot_size` bytes, the lap as wide as the rest allows; at
    /// first those of the largest ring. Sizes are powers of two. `None` if nothing is left for the lap.
    #[must_use]
    pub fn new(slot_size: u32, ring_size: u32, pages: u32) -> Option<Self> {
        let slot_bits = slot_size.trailing_zeros();
        // Two offsets' bits together count the consumed bytes of a packet as large as the ring.
        let offset_bits = slot_bits.max((slot_bits + ring_size.trailing_zeros()).div_ceil(2));
        let page_bits = u32::BITS - (pages - 1).leading_zeros();
        let page_shift = FROZEN_BITS + 2 * offset_bits;
        let state_shift = page_shift + page_bits;
        let lap_shift = state_shift + STATE_BITS;
        (lap_shift < u64::BITS).then(|| Self {
            offset_bits,
            page_shift,
            state_shift,
            lap_shift,
            offset_mask: mask(offset_bits),
            page_mask: mask(page_bits),
            ring_bits: ring_size.trailing_zeros(),
            slot_mask: u64::from(ring_size) - 1,
            slot_size,
            pages,
        })
    }

    /// The same fields in a ring of `ring_size` slots, a power of two and no more than [`Fields::new`] was told.
    #[must_use]
    pub fn in_ring_of(self, ring_size: u32) -> Self {
        Self { ring_bits: ring_size.trailing_zeros(), slot_mask: u64::from(ring_size) - 1, ..self }
    }

    /// The same fields with a lap of only `lap_bits`, to see what happens when it comes round.
    #[must_use]
    pub fn narrowed(self, lap_bits: u32) -> Self {
        Self { lap_shift: u64::BITS - lap_bits, ..self }
    }

    /// Whether there is such a page.
    #[inline(always)]
    #[must_use]
    pub fn has_page(self, page: u32) -> bool {
        page < self.pages
    }

    /// How many slots the ring has.
    #[inline(always)]
    #[must_use]
    pub fn ring_size(self) -> u64 {
        self.slot_mask + 1
    }

    /// The binary logarithm of [`Fields::ring_size`].
    #[inline(always)]
    #[must_use]
    pub fn ring_bits(self) -> u32 {
        self.ring_bits
    }

    /// Which slot stands for `position`.
    #[inline(always)]
    #[must_use]
    pub fn slot_at(self, position: u64) -> usize {
        (position & self.slot_mask) as usize
    }

    /// The lap of `position`, modulo what the field holds.
    #[inline(always)]
    #[must_use]
    pub fn lap_at(self, position: u64) -> u64 {
        self.lap_of(self.word_of_lap(position))
    }

    /// How many bits the lap has.
    #[must_use]
    pub fn lap_bits(self) -> u32 {
        u64::BITS - self.lap_shift
    }

    /// How far lap `a` is ahead of lap `b`, negative if behind, as long as they are less than half the lap's range apart.
    #[inline(always)]
    #[must_use]
    pub fn laps_ahead(self, a: u64, b: u64) -> i64 {
        (a.wrapping_sub(b) << self.lap_shift) as i64 >> self.lap_shift
    }

    /// Whether `word` is that of a slot in whose life `position` has been filled, and perhaps drained since.
    #[inline(always)]
    #[must_use]
    pub fn is_filled(self, word: u64, position: u64) -> bool {
        self.since_filled(word, position) as i64 >= 0
    }

    /// Whether `word` is that of a slot in whose life `position` has been drained.
    #[inline(always)]
    #[must_use]
    pub fn is_drained(self, word: u64, position: u64) -> bool {
        word.wrapping_sub(self.word_of_lap(position)) as i64 >= self.one_lap() as i64
    }

    /// Whether `position` is the next one to be filled in a slot with `word`: it is empty in that lap, or still full of what was filled
    /// a lap ago.
    #[inline(always)]
    #[must_use]
    pub fn is_next_to_fill(self, word: u64, position: u64) -> bool {
        self.since_filled(word, position).wrapping_add(self.one_lap()) < self.one_lap()
    }

    /// Whether `position` is the next one to be drained in a slot with `word`: it is empty in that lap, or full.
    #[inline(always)]
    #[must_use]
    pub fn is_next_to_drain(self, word: u64, position: u64) -> bool {
        word.wrapping_sub(self.word_of_lap(position)) < self.one_lap()
    }

    /// Whether `word` says that its slot is empty; the rest of it is not looked at.
    #[inline(always)]
    #[must_use]
    pub fn is_empty(self, word: u64) -> bool {
        self.state_of(word) == EMPTY
    }

    /// Whether nobody exchanges anything at the slot of `word` any more.
    #[inline(always)]
    #[must_use]
    pub fn is_frozen(self, word: u64) -> bool {
        word & FROZEN != 0
    }

    /// What is added to a word to freeze its slot.
    #[must_use]
    pub fn frozen(self) -> u64 {
        FROZEN
    }

    /// The word of a slot of a ring that is not in use yet. No slot that is or has been in use has it: it is frozen, and empty with
    /// an offset.
    #[must_use]
    pub fn unborn(self) -> u64 {
        FROZEN | 1 << FROZEN_BITS
    }

    /// Whether `a` and `b` are one position, as far as the laps count.
    #[must_use]
    pub fn is_same_position(self, a: u64, b: u64) -> bool {
        a.wrapping_sub(b) << (self.lap_shift - self.ring_bits) == 0
    }

    /// Whether position `a` comes before position `b`, as long as they are less than half of what the laps count apart.
    #[must_use]
    pub fn is_before(self, a: u64, b: u64) -> bool {
        // The lap's bits and the slot's are the lowest of a position; what is above them does not count.
        ((a.wrapping_sub(b) << (self.lap_shift - self.ring_bits)) as i64) < 0
    }

    /// The descriptor's word, not frozen.
    #[inline(always)]
    #[must_use]
    pub fn encode(self, slot: Slot) -> u64 {
        let (state, offsets) = match slot.content {
            Content::Empty => (EMPTY, 0),
            Content::Stream(span) => (STREAM, self.encode_span(span)),
            Content::Packet(span) => (PACKET, self.encode_span(span)),
            Content::Large { consumed } => (LARGE, u64::from(consumed) << FROZEN_BITS),
        };
        offsets | u64::from(slot.page) << self.page_shift | state << self.state_shift | slot.lap << self.lap_shift
    }

    /// The checked descriptor in `word`, frozen or not.
    ///
    /// # Errors
    /// [`Garbled`] if the word names a page that does not exist or a span that ends before it starts.
    #[inline(always)]
    pub fn decode(self, word: u64) -> Result<Slot, Garbled> {
        let page = (word >> self.page_shift & self.page_mask) as u32;
        if !self.has_page(page) {
            return Err(Garbled);
        }
        let content = match self.state_of(word) {
            EMPTY => Content::Empty,
            STREAM => Content::Stream(self.decode_span(word)?),
            PACKET => Content::Packet(self.decode_span(word)?),
            _ => Content::Large { consumed: (word >> FROZEN_BITS & mask(2 * self.offset_bits)) as u32 },
        };
        Ok(Slot { lap: self.lap_of(word), page, content })
    }

    /// The page of a slot with `word`, if `position` is the next one to be filled there and the slot is empty. Says the same as
    /// [`Fields::is_next_to_fill`] and [`Fields::decode`] at less cost; `None` also where the word is garbled or frozen.
    #[inline(always)]
    #[must_use]
    pub fn empty_at(self, word: u64, position: u64) -> Option<u32> {
        // What is left is the page, and nothing below it (it would be turned to the top) or above it.
        let left = (word ^ self.word_of_lap(position)).rotate_right(self.page_shift);
        (left < u64::from(self.pages)).then_some(left as u32)
    }

    /// The page and the length of the packet in a slot with `word`, if `position` is the next one to be drained there and the
    /// slot holds a packet of which nothing has been read. Says the same as [`Fields::is_next_to_drain`] and
    /// [`Fields::decode`] at less cost; `None` also where the word is garbled or frozen.
    #[inline(always)]
    #[must_use]
    pub fn whole_packet_at(self, word: u64, position: u64) -> Option<(u32, usize)> {
        let expected = self.word_of_lap(position) | PACKET << self.state_shift;
        // What is left is page and last, and nothing below them (it would be turned to the top) or above them.
        let left = (word ^ expected).rotate_right(FROZEN_BITS + self.offset_bits);
        let (page, last) = (left >> self.offset_bits, left & self.offset_mask);
        (page < u64::from(self.pages) && last < u64::from(self.slot_size)).then_some((page as u32, last as usize + 1))
    }

    /// How far, as words count, `word` is beyond the lowest one of its slot's being full with `position`.
    #[inline(always)]
    fn since_filled(self, word: u64, position: u64) -> u64 {
        word.wrapping_sub(self.word_of_lap(position) | FULL << self.state_shift)
    }

    /// The lap of `position` in its place in a word, and nothing else.
    #[inline(always)]
    fn word_of_lap(self, position: u64) -> u64 {
        position >> self.ring_bits << self.lap_shift
    }

    #[inline(always)]
    fn one_lap(self) -> u64 {
        1 << self.lap_shift
    }

    #[inline(always)]
    fn lap_of(self, word: u64) -> u64 {
        word >> self.lap_shift
    }

    #[inline(always)]
    fn state_of(self, word: u64) -> u64 {
        word >> self.state_shift & STATE_MASK
    }

    #[inline(always)]
    fn encode_span(self, span: Span) -> u64 {
        (u64::from(span.start) | u64::from(span.end - 1) << self.offset_bits) << FROZEN_BITS
    }

    #[inline(always)]
    fn decode_span(self, word: u64) -> Result<Span, Garbled> {
        let start = (word >> FROZEN_BITS & self.offset_mask) as u32;
        let last = (word >> (FROZEN_BITS + self.offset_bits) & self.offset_mask) as u32;
        let is_possible = start <= last && last < self.slot_size;
        if is_possible { Ok(Span { start, end: last + 1 }) } else { Err(Garbled) }
    }
}

#[inline(always)]
const fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(slot_size: u32, ring_size: u32, pages: u32) -> Fields {
        Fields::new(slot_size, ring_size, pages).expect("room for a lap")
    }

    fn round_trip(fields: Fields, slot: Slot) {
        assert_eq!(fields.decode(fields.encode(slot)), Ok(slot));
    }

    #[test]
    fn what_is_encoded_is_what_is_decoded() {
        for (slot_size, ring_size, pages) in
            [(64, 1, 2), (64, 1024, 1280), (4096, 16, 272), (4096, 1024, 1280), (65536, 16, 64)]
        {
            let fields = fields(slot_size, ring_size, pages);
            for lap in [0, 1, mask(fields.lap_bits())] {
                for page in [0, pages - 1] {
                    round_trip(fields, Slot { lap, page, content: Content::Empty });
                    for (start, end) in [(0, 1), (0, slot_size), (slot_size - 1, slot_size), (3, 60)] {
                        round_trip(fields, Slot { lap, page, content: Content::Stream(Span { start, end }) });
                        round_trip(fields, Slot { lap, page, content: Content::Packet(Span { start, end }) });
                    }
                    let consumed = slot_size * ring_size - 1;
                    round_trip(fields, Slot { lap, page, content: Content::Large { consumed } });
                }
            }
        }
    }

    #[test]
    fn no_word_decodes_to_something_outside_the_segment() {
        let fields = fields(4096, 16, 272);
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut refused = 0;
        for _ in 0..100_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            match fields.decode(random) {
                Err(Garbled) => refused += 1,
                Ok(Slot { page, content, .. }) => {
                    assert!(page < 272);
                    if let Content::Stream(span) | Content::Packet(span) = content {
                        assert!(span.start < span.end && span.end <= 4096);
                    }
                }
            }
        }
        assert!(refused > 10_000, "only {refused} words were refused");
    }

    #[test]
    fn a_span_ends_within_its_page() {
        // So many slots that an offset has more bits than a page needs.
        let fields = fields(64, 1 << 16, 1 << 17);
        let word = fields.encode(Slot { lap: 0, page: 0, content: Content::Stream(Span { start: 0, end: 65 }) });
        assert_eq!(fields.decode(word), Err(Garbled));
    }

    /// Words as they occur, and some with one bit wrong.
    fn words(fields: Fields, laps: &[u64], pages: u32) -> Vec<u64> {
        let span = |start, end| Span { start, end };
        let contents = [
            Content::Empty,
            Content::Stream(span(0, 1)),
            Content::Stream(span(5, 64)),
            Content::Packet(span(0, 1)),
            Content::Packet(span(0, 64)),
            Content::Packet(span(1, 64)),
            Content::Large { consumed: 0 },
            Content::Large { consumed: 64 },
        ];
        let mut words = Vec::new();
        for (&lap, content) in laps.iter().flat_map(|lap| contents.map(|content| (lap, content))) {
            let word = fields.encode(Slot { lap, page: pages - 1, content });
            words.push(word);
            words.extend((0..u64::BITS).map(|bit| word ^ 1 << bit));
        }
        words
    }

    #[test]
    fn the_short_looks_say_what_the_long_ones_say() {
        for (fields, pages) in [(fields(64, 4, 5), 5), (fields(64, 4, 8), 8), (fields(64, 4, 5).narrowed(3), 5)] {
            let (mut empties, mut packets) = (0, 0);
            for word in words(fields, &[0, 1, 6, 7], pages) {
                for position in (0..4).chain(20..36) {
                    let slot = fields.decode(word).ok();
                    let empty = slot.filter(|slot| slot.content == Content::Empty && fields.encode(*slot) == word);
                    let is_next = fields.is_next_to_fill(word, position);
                    let expected = empty.filter(|_| is_next).map(|slot| slot.page);
                    assert_eq!(fields.empty_at(word, position), expected, "{word:#x} at {position}");
                    empties += u32::from(expected.is_some());

                    let whole = slot.and_then(|slot| match slot.content {
                        Content::Packet(span) if span.start == 0 => Some((slot.page, span.len())),
                        _ => None,
                    });
                    let is_next = fields.is_next_to_drain(word, position);
                    // A narrowed lap leaves bits between it and the state that nobody sets.
                    let expected = whole.filter(|_| is_next && slot.map(|slot| fields.encode(slot)) == Some(word));
                    assert_eq!(fields.whole_packet_at(word, position), expected, "{word:#x} at {position}");
                    packets += u32::from(expected.is_some());
                }
            }
            assert!(empties > 20 && packets > 20, "{empties} empty slots, {packets} packets");
        }
    }

    #[test]
    fn a_slot_lives_from_empty_to_full_to_empty_in_the_next_lap() {
        let fields = fields(64, 4, 8).narrowed(3);
        let span = Span { start: 3, end: 60 };
        let full = [Content::Stream(span), Content::Packet(span), Content::Large { consumed: 9 }];
        for position in 0..64_u64 {
            let (lap, word) = (position / 4, |lap, content| fields.encode(Slot { lap, page: 7, content }));
            let mut life = vec![(word(lap.wrapping_sub(1), full[2]), (false, false, true, false))];
            life.push((word(lap, Content::Empty), (false, false, true, true)));
            life.extend(full.map(|content| (word(lap, content), (true, false, false, true))));
            life.push((word(lap + 1, Content::Empty), (true, true, false, false)));
            life.extend(full.map(|content| (word(lap + 1, content), (true, true, false, false))));
            life.push((word(lap.wrapping_sub(1), Content::Empty), (false, false, false, false)));
            for (word, (is_filled, is_drained, is_next_to_fill, is_next_to_drain)) in life {
                let message = format!("{:?} at {position}", fields.decode(word));
                assert_eq!(fields.is_filled(word, position), is_filled, "filled: {message}");
                assert_eq!(fields.is_drained(word, position), is_drained, "drained: {message}");
                assert_eq!(fields.is_next_to_fill(word, position), is_next_to_fill, "next to fill: {message}");
                assert_eq!(fields.is_next_to_drain(word, position), is_next_to_drain, "next to drain: {message}");
            }
        }
    }

    #[test]
    fn laps_compare_across_their_wrap() {
        let fields = fields(4096, 16, 18).narrowed(3);
        assert_eq!(fields.laps_ahead(0, 7), 1);
        assert_eq!(fields.laps_ahead(7, 0), -1);
        assert_eq!(fields.laps_ahead(5, 5), 0);
        assert_eq!(fields.lap_at(9 * 16), 1);
    }
}
