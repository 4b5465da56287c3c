//! One slot of the ring: a 64-bit *descriptor*, the counterpart of the kernel's `struct pipe_buffer`.
//!
//! ```text
//!  63                                                                0
//! +-----------------+-----------+-------------+-------------+--------+
//! | lap             | page      | last        | start       | state  |
//! | all that is left| page_bits | offset_bits | offset_bits | 2 bits |
//! +-----------------+-----------+-------------+-------------+--------+
//!                               |<------ consumed --------->|  in state Large
//! ```
//!
//! * `state`: 0 empty, 1 stream, 2 packet, 3 large packet (its bytes are in an extent, see `extent`).
//! * `start`: offset of the first unread byte; `last`: offset of the last byte (so that a full page needs no further bit).
//! * `page`: which page belongs to this slot. A slot always has one, also while it is empty.
//! * `lap`: how often the ring has gone round. Slot `i` in lap `l` stands for position `l * ring_size + i`.
//!   A slot is filled in the lap it is empty in, and emptied into the next lap.
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
    lap_shift: u32,
    lap_bits: u32,
    offset_mask: u64,
    page_mask: u64,
    lap_mask: u64,
    slot_size: u32,
    ring_bits: u32,
    slot_mask: u64,
    pages: u32,
}

const STATE_BITS: u32 = 2;
const EMPTY: u64 = 0;
const STREAM: u64 = 1;
const PACKET: u64 = 2;
const LARGE: u64 = 3;

impl Fields {
    /// Fields for a ring of `ring_size` slots and `pages` pages of `slot_size` bytes, the lap as wide as the rest allows.
    /// Sizes are powers of two. `None` if nothing is left for the lap.
    #[must_use]
    pub fn new(slot_size: u32, ring_size: u32, pages: u32) -> Option<Self> {
        let slot_bits = slot_size.trailing_zeros();
        // Two offsets' bits together count the consumed bytes of a packet as large as the ring.
        let offset_bits = slot_bits.max((slot_bits + ring_size.trailing_zeros()).div_ceil(2));
        let page_bits = u32::BITS - (pages - 1).leading_zeros();
        let page_shift = STATE_BITS + 2 * offset_bits;
        let lap_shift = page_shift + page_bits;
        let lap_bits = u64::BITS.checked_sub(lap_shift).filter(|&bits| bits > 0)?;
        Some(Self {
            offset_bits,
            page_shift,
            lap_shift,
            lap_bits,
            offset_mask: mask(offset_bits),
            page_mask: mask(page_bits),
            lap_mask: mask(lap_bits),
            slot_size,
            ring_bits: ring_size.trailing_zeros(),
            slot_mask: u64::from(ring_size) - 1,
            pages,
        })
    }

    /// The same fields with a lap of only `lap_bits`, to see what happens when it comes round.
    #[must_use]
    pub fn narrowed(self, lap_bits: u32) -> Self {
        Self { lap_bits, lap_mask: mask(lap_bits), ..self }
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

    /// Which slot stands for `position`.
    #[inline(always)]
    #[must_use]
    pub fn slot_at(self, position: u64) -> usize {
        (position & self.slot_mask) as usize
    }

    /// The lap of `position`.
    #[inline(always)]
    #[must_use]
    pub fn lap_at(self, position: u64) -> u64 {
        self.wrap_lap(position >> self.ring_bits)
    }

    /// How many bits the lap has.
    #[must_use]
    pub fn lap_bits(self) -> u32 {
        self.lap_bits
    }

    /// `lap` modulo what the field holds.
    #[inline(always)]
    #[must_use]
    pub fn wrap_lap(self, lap: u64) -> u64 {
        lap & self.lap_mask
    }

    /// How far lap `a` is ahead of lap `b`, negative if behind, as long as they are less than half the lap's range apart.
    #[inline(always)]
    #[must_use]
    pub fn laps_ahead(self, a: u64, b: u64) -> i64 {
        let unused = u64::BITS - self.lap_bits;
        (a.wrapping_sub(b) << unused) as i64 >> unused
    }

    /// The descriptor's word.
    #[inline(always)]
    #[must_use]
    pub fn encode(self, slot: Slot) -> u64 {
        let (state, offsets) = match slot.content {
            Content::Empty => (EMPTY, 0),
            Content::Stream(span) => (STREAM, self.encode_span(span)),
            Content::Packet(span) => (PACKET, self.encode_span(span)),
            Content::Large { consumed } => (LARGE, u64::from(consumed)),
        };
        state
            | offsets << STATE_BITS
            | u64::from(slot.page) << self.page_shift
            | self.wrap_lap(slot.lap) << self.lap_shift
    }

    /// The checked descriptor in `word`.
    ///
    /// # Errors
    /// [`Garbled`] if the word names a page that does not exist or a span that ends before it starts.
    #[inline(always)]
    pub fn decode(self, word: u64) -> Result<Slot, Garbled> {
        let page = (word >> self.page_shift & self.page_mask) as u32;
        if !self.has_page(page) {
            return Err(Garbled);
        }
        let content = match word & mask(STATE_BITS) {
            EMPTY => Content::Empty,
            STREAM => Content::Stream(self.decode_span(word)?),
            PACKET => Content::Packet(self.decode_span(word)?),
            _ => Content::Large { consumed: (word >> STATE_BITS & mask(2 * self.offset_bits)) as u32 },
        };
        Ok(Slot { lap: self.wrap_lap(word >> self.lap_shift), page, content })
    }

    /// Whether `word` says that its slot is empty; the rest of it is not looked at.
    #[inline(always)]
    #[must_use]
    pub fn is_empty(self, word: u64) -> bool {
        word & mask(STATE_BITS) == EMPTY
    }

    /// The lap in `word`; the rest of it is not looked at.
    #[inline(always)]
    #[must_use]
    pub fn lap_of(self, word: u64) -> u64 {
        self.wrap_lap(word >> self.lap_shift)
    }

    #[inline(always)]
    fn encode_span(self, span: Span) -> u64 {
        u64::from(span.start) | u64::from(span.end - 1) << self.offset_bits
    }

    #[inline(always)]
    fn decode_span(self, word: u64) -> Result<Span, Garbled> {
        let start = (word >> STATE_BITS & self.offset_mask) as u32;
        let last = (word >> (STATE_BITS + self.offset_bits) & self.offset_mask) as u32;
        let is_possible = start <= last && last < self.slot_size;
        if is_possible { Ok(Span { start, end: last + 1 }) } else { Err(Garbled) }
    }
}

#[inline(always)]
fn mask(bits: u32) -> u64 {
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

    #[test]
    fn laps_compare_across_their_wrap() {
        let fields = fields(4096, 16, 18).narrowed(3);
        assert_eq!(fields.laps_ahead(0, 7), 1);
        assert_eq!(fields.laps_ahead(7, 0), -1);
        assert_eq!(fields.laps_ahead(5, 5), 0);
        assert_eq!(fields.wrap_lap(9), 1);
    }
}
