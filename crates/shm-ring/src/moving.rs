//! The size of the pipe, and how the pipe moves to a larger ring when it outgrows the one it has.
//!
//! ```text
//!  63      48 47      40 39      32 31                 0
//! +----------+----------+----------+--------------------+
//! | 0        | next     | ring     | usage              |    one word for the pipe
//! +----------+----------+----------+--------------------+
//! ```
//!
//! * `usage`: how many slots may be occupied, the kernel's `max_usage`.
//! * `ring`: which ring is in use, by the binary logarithm of its number of slots. A segment has one of each size, from the
//!   size that the pipe was made with to the largest that it may ever have.
//! * `next`: the ring that the pipe moves to; the same as `ring` where it does not.
//!
//! Less than the ring holds is a matter of `usage` alone. For more than it holds the pipe moves:
//!
//! ```text
//!   announce (usage, next) ──> freeze every slot ──> fill the next ring's words ──> say that it is in use
//!   ring 4   | full 7 | full 7 | empty 7 | ... ── frozen, for ever
//!   ring 5   | full 3 | full 3 | empty 3 | ... | empty 3 | empty 3 |
//! ```
//!
//! A pipe never moves back, and so to every ring at most once. That is why nothing here has to tell one life of a ring from another.
//!
//! # Why nothing is lost or doubled
//! Every change of the ring is an exchange of one slot's word, and a frozen word is another one: so no exchange succeeds any more on
//! a slot that is frozen, and when all of them are, the ring is what it was at one moment and stays so. What the
//! next ring's words are to be follows from that alone (a position keeps its page and what it holds, positions behind the old ring are
//! empty and have pages that have been nobody's), so everybody who helps computes the same. Each word is set by an exchange
//! for [`Fields::unborn`](crate::slot::Fields::unborn), which no slot ever has that is or has been in use: who comes late changes nothing.
//!
//! # Why a dead or stopped participant stops nobody
//! Whoever finds a frozen word, or a full ring that the pipe is about to leave, does all of it that is left. None of the steps has to be
//! done by a particular one, and doing one of them again changes nothing.

use crate::ring::Ring;
use crate::slot::{Content, Garbled, Slot};
use crate::sync::{AtomicU64, Ordering};

/// What the word says. Not checked; see [`Rings::size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// How many slots may be occupied.
    pub usage: u32,
    /// Binary logarithm of the size of the ring that is in use.
    pub ring: u32,
    /// Binary logarithm of the size of the ring that the pipe moves to.
    pub next: u32,
}

const RING_SHIFT: u32 = 32;
const NEXT_SHIFT: u32 = 40;
const RING_MASK: u64 = 0xff;

impl Size {
    /// All slots of a ring of `2^ring` slots, and no other ring in sight.
    #[must_use]
    pub fn whole(ring: u32) -> Self {
        Self { usage: 1 << ring, ring, next: ring }
    }

    /// The word.
    #[must_use]
    pub fn encode(self) -> u64 {
        u64::from(self.usage) | u64::from(self.ring) << RING_SHIFT | u64::from(self.next) << NEXT_SHIFT
    }

    /// What `word` says.
    #[inline(always)]
    #[must_use]
    pub fn decode(word: u64) -> Self {
        Self {
            usage: word as u32,
            ring: (word >> RING_SHIFT & RING_MASK) as u32,
            next: (word >> NEXT_SHIFT & RING_MASK) as u32,
        }
    }

    /// Whether the pipe is on its way to another ring.
    #[must_use]
    pub fn is_moving(self) -> bool {
        self.ring != self.next
    }
}

/// Why the pipe cannot have the size that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// More slots are occupied than there would be.
    Busy,
    /// The word, or a slot, says what nobody who keeps the rules has written.
    Garbled,
    /// Others change the size all the time.
    Lost,
}

impl From<Garbled> for Refusal {
    fn from(_: Garbled) -> Self {
        Self::Garbled
    }
}

/// So often one looks, or changes the size word, in vain before it gives up.
const MOST_LOST_RACES: usize = 10_000;
/// So often one looks again where others are at work, before about so many slots are as good as so many.
const MOST_UNSTEADY_LOOKS: usize = 100;

/// All rings of a segment.
#[derive(Clone, Copy, Debug)]
pub struct Rings<'a> {
    /// The word.
    pub size: &'a AtomicU64,
    /// The rings, each twice as large as the one before.
    pub rings: &'a [Ring<'a>],
    /// Number of participants: a ring's slot `n` that the first ring does not have begins with page `participants + n`.
    pub participants: u32,
}

impl<'a> Rings<'a> {
    /// What the word says, if that can be.
    ///
    /// # Errors
    /// [`Garbled`].
    pub fn size(&self) -> Result<Size, Garbled> {
        // Acquire: pairs with the Release of who has said that the ring is in use, for its words. [ledger: M2]
        self.check(self.size.load(Ordering::Acquire))
    }

    /// What `word` says of these rings, if that can be.
    ///
    /// # Errors
    /// [`Garbled`].
    pub fn check(&self, word: u64) -> Result<Size, Garbled> {
        let size = Size::decode(word);
        let next = self.ring_of(size.next).ok_or(Garbled)?;
        let is_possible = self.ring_of(size.ring).is_some()
            && size.ring <= size.next
            && (1..=next.fields.ring_size()).contains(&size.usage.into())
            && size.encode() == word;
        if is_possible { Ok(size) } else { Err(Garbled) }
    }

    /// Which of the rings has `2^ring` slots.
    #[must_use]
    pub fn index_of(&self, ring: u32) -> Option<usize> {
        let smallest = self.rings.first()?.fields.ring_bits();
        let index = ring.checked_sub(smallest)? as usize;
        (index < self.rings.len()).then_some(index)
    }

    fn ring_of(&self, ring: u32) -> Option<&'a Ring<'a>> {
        self.rings.get(self.index_of(ring)?)
    }

    /// The ring that is in use; brings the pipe there if it is on its way.
    ///
    /// # Errors
    /// [`Garbled`].
    pub fn in_use(&self) -> Result<&'a Ring<'a>, Garbled> {
        self.ring_of(self.settle()?.ring).ok_or(Garbled)
    }

    /// The size when the pipe is in one ring, which it is brought to if it is on its way.
    ///
    /// # Errors
    /// [`Garbled`].
    pub fn settle(&self) -> Result<Size, Garbled> {
        let size = self.size()?;
        if !size.is_moving() {
            return Ok(size);
        }
        let (old, new) = (self.ring_of(size.ring).ok_or(Garbled)?, self.ring_of(size.next).ok_or(Garbled)?);
        freeze(old);
        self.carry(old, new)?;
        let settled = Size { ring: size.next, ..size };
        // Release: pairs with the Acquire of size, for the words of the ring. [ledger: M2] If it fails, somebody else has said so.
        let _ = self.size.compare_exchange(size.encode(), settled.encode(), Ordering::Release, Ordering::Relaxed);
        Ok(settled)
    }

    /// Lets `usage` slots be occupied, and moves to a larger ring if that takes one. Whoever waits for room is to be woken
    /// then. The pages of the larger ring have memory.
    ///
    /// `usage` is a power of two, and there is a ring of that size or a larger one.
    ///
    /// # Errors
    /// [`Refusal`]; the size is as before.
    pub fn resize(&self, usage: u32) -> Result<(), Refusal> {
        for tries in 0..MOST_LOST_RACES {
            let size = self.settle()?;
            let ring = self.ring_of(size.ring).ok_or(Garbled)?;
            if usage < size.usage {
                let occupied = occupied(ring)?;
                if !occupied.is_steady && tries < MOST_UNSTEADY_LOOKS {
                    continue;
                }
                if occupied.slots > usage as usize {
                    return Err(Refusal::Busy);
                }
            }
            let next = size.ring.max(usage.trailing_zeros());
            let wanted = Size { usage, next, ..size };
            // Relaxed: what follows from it is done by whoever sees it, from what the ring says then. [ledger: M1]
            let has_changed = self
                .size
                .compare_exchange(size.encode(), wanted.encode(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
            if has_changed {
                self.settle()?;
                return Ok(());
            }
        }
        Err(Refusal::Lost)
    }

    /// Sets the words of `new`, of which none is in use, to what `old`, which is frozen, holds.
    fn carry(&self, old: &Ring<'_>, new: &Ring<'_>) -> Result<(), Garbled> {
        let unborn = new.fields.unborn();
        let tail = tail_of_frozen(old)?;
        let mut must_be_empty = false;
        for index in 0..new.fields.ring_size() {
            let position = tail.wrapping_add(index);
            let (page, content) = if index < old.fields.ring_size() {
                let slot = old.fields.decode(old.load(position))?;
                if slot.lap != old.fields.lap_at(position) || (must_be_empty && slot.content != Content::Empty) {
                    return Err(Garbled);
                }
                must_be_empty = slot.content == Content::Empty;
                (slot.page, slot.content)
            } else {
                (self.participants + index as u32, Content::Empty)
            };
            let word = new.fields.encode(Slot { lap: new.fields.lap_at(position), page, content });
            // Relaxed: nobody looks here who has not set all of these words itself, or read in the size that they are set. [ledger: M3]
            // If it fails, somebody else has set the same.
            let _ = new.slot(position).compare_exchange(unborn, word, Ordering::Relaxed, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Makes every exchange on `ring` fail from now on.
fn freeze(ring: &Ring<'_>) {
    for slot in ring.slots {
        // Release: pairs with the Acquire of who looks at the slot, so that it sees that the pipe moves. [ledger: M4]
        slot.fetch_or(ring.fields.frozen(), Ordering::Release);
    }
}

/// The position that is the next one to be drained in a ring that does not change any more.
fn tail_of_frozen(ring: &Ring<'_>) -> Result<u64, Garbled> {
    let fields = ring.fields;
    // Each slot stands for one position, empty or full, and the positions are in a row.
    let position_in = |index: u64| {
        let slot = fields.decode(ring.load(index))?;
        Ok(slot.lap.wrapping_mul(fields.ring_size()).wrapping_add(index))
    };
    let mut tail = position_in(0)?;
    for index in 1..fields.ring_size() {
        let position: u64 = position_in(index)?;
        if fields.is_before(position, tail) {
            tail = position;
        }
    }
    Ok(tail)
}

/// What is occupied.
struct Occupied {
    slots: usize,
    /// Whether that was so at one moment, and not about then.
    is_steady: bool,
}

/// How many slots are occupied.
fn occupied(ring: &Ring<'_>) -> Result<Occupied, Garbled> {
    let look = || {
        let mut occupied = 0;
        let mut words = 0_u64;
        for index in 0..ring.fields.ring_size() {
            let word = ring.load(index);
            words = (words ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
            occupied += usize::from(ring.fields.decode(word)?.content != Content::Empty);
        }
        Ok((occupied, words))
    };
    let first = look()?;
    // As for what is unread: where all words are the same twice, they were so between the two looks.
    Ok(Occupied { slots: first.0, is_steady: look()? == first })
}
