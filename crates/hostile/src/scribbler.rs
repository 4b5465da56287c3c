//! One who writes to every part of a segment without a pause: at random, and where it hurts.
//!
//! ```text
//!   mend (words as of an empty pipe, so that the others get somewhere) ──> some thousand writes of one kind, among noise ──> mend ──> another kind ──> ...
//! ```
//!
//! It has come to the segment as anybody may who has an end: by its name, or by a descriptor.

use std::collections::BTreeMap;
use std::io;

use fastrand::Rng;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shm_ring::Segment;
use shm_ring::extent::LargeHeader;
use shm_ring::holding::Holding;
use shm_ring::moving::Size;
use shm_ring::slot::{Content, Slot, Span};
use shm_ring::sync::{AtomicU32, AtomicU64, Ordering};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A slot: anything.
    AnySlot,
    /// A slot: all ones.
    OnesInSlot,
    /// A slot: one bit of it.
    BitOfSlot,
    /// Two slots change places.
    SwappedSlots,
    /// A slot is what another one is, so that both have one page.
    DoubledSlot,
    /// A slot has the page of a participant.
    StolenPage,
    /// A slot is right but for its lap.
    OtherLap,
    /// A slot whose bytes begin or end where they cannot.
    OffsetsBeyond,
    /// A slot that says that it has a large packet.
    FalseLarge,
    /// Slots of the other rings.
    OtherRings,
    /// Head and tail jump.
    Jump,
    /// A record lies.
    Record,
    /// Who has an entry, and what it is about to do.
    Entry,
    /// The words that say who is watched over by the kernel.
    Owner,
    /// Where others sleep.
    WaitWord,
    /// Bells.
    Bell,
    /// Whose turn it is.
    Turn,
    /// Who comes and goes.
    Membership,
    /// The size of the pipe.
    Size,
    /// To whom extents belong.
    ExtentOwner,
    /// A large packet's header lies.
    LargeHeader,
    /// What the segment is.
    Identity,
    /// Bytes.
    Noise,
}

/// Each of them.
pub const KINDS: [Kind; 23] = [
    Kind::AnySlot,
    Kind::OnesInSlot,
    Kind::BitOfSlot,
    Kind::SwappedSlots,
    Kind::DoubledSlot,
    Kind::StolenPage,
    Kind::OtherLap,
    Kind::OffsetsBeyond,
    Kind::FalseLarge,
    Kind::OtherRings,
    Kind::Jump,
    Kind::Record,
    Kind::Entry,
    Kind::Owner,
    Kind::WaitWord,
    Kind::Bell,
    Kind::Turn,
    Kind::Membership,
    Kind::Size,
    Kind::ExtentOwner,
    Kind::LargeHeader,
    Kind::Identity,
    Kind::Noise,
];

/// Writes of one kind in a row.
const PHASE: u32 = 20_000;
/// Of so many writes one is not noise, at most.
const RAREST: u32 = 200;

/// Writes to `segment` until its standard input ends. How many writes there were of each kind.
///
/// # Errors
/// The system's.
pub fn run(segment: &Segment, seed: u64) -> io::Result<BTreeMap<Kind, u64>> {
    let mut scribbler = Scribbler { segment, random: Rng::with_seed(seed) };
    let mut counts = BTreeMap::new();
    while !is_over()? {
        let kind = KINDS[scribbler.random.usize(..KINDS.len())];
        let rarity = scribbler.random.u32(1..=RAREST);
        scribbler.mend();
        for write in 0..PHASE {
            let kind = if write.is_multiple_of(rarity) { kind } else { Kind::Noise };
            scribbler.write(kind);
            *counts.entry(kind).or_default() += 1;
        }
    }
    Ok(counts)
}

fn is_over() -> io::Result<bool> {
    let stdin = io::stdin();
    let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
    Ok(poll(&mut polled, Some(&Timespec::default()))? > 0)
}

/// One who scribbles.
#[derive(Debug)]
pub struct Scribbler<'a> {
    segment: &'a Segment,
    random: Rng,
}

// Relaxed, everywhere here: whoever keeps no rules orders nothing.
const RELAXED: Ordering = Ordering::Relaxed;

impl Scribbler<'_> {
    /// Slots, head, tail and size as of an empty pipe that is in its first ring.
    fn mend(&mut self) {
        let (first, header) = (self.segment.ring(0), self.segment.header());
        let start = self.random.u64(..1 << 20) * first.fields.ring_size();
        for (index, slot) in (0..).zip(first.slots) {
            let lap = first.fields.lap_at(start + u64::from(index));
            slot.store(first.fields.encode(Slot { lap, page: index, content: Content::Empty }), RELAXED);
        }
        for ring in self.segment.rings().rings.iter().skip(1) {
            ring.slots.iter().for_each(|slot| slot.store(first.fields.unborn(), RELAXED));
        }
        header.size.0.store(Size::whole(first.fields.ring_bits()).encode(), RELAXED);
        header.head.0.store(start, RELAXED);
        header.tail.0.store(start, RELAXED);
        self.segment.extents().owners.iter().for_each(|owner| owner.store(0, RELAXED));
    }

    fn slot(&mut self) -> &AtomicU64 {
        let slots = self.segment.ring(0).slots;
        &slots[self.random.usize(..slots.len())]
    }

    fn page(&mut self) -> u32 {
        self.random.u32(..self.segment.layout().pages)
    }

    fn entry(&mut self) -> u32 {
        self.random.u32(..self.segment.layout().participants())
    }

    /// A number that may be anything, but is mostly one that means something.
    fn number(&mut self) -> u32 {
        match self.random.u8(..5) {
            0 => 0,
            1 => u32::MAX,
            2 => self.random.u32(..8),
            3 => 1 << self.random.u32(..32),
            _ => self.random.u32(..),
        }
    }

    /// A slot at head or tail that is right in all that is not `change`d.
    fn nearly(&mut self, change: impl FnOnce(&mut Rng, Slot, u32) -> Slot) {
        let (ring, size) = (self.segment.ring(0), self.segment.layout().geometry.slot_size);
        let hint = if self.random.bool() { ring.head_hint() } else { ring.tail_hint() };
        let position = hint.0;
        let (lap, page) = (ring.fields.lap_at(position), self.page());
        let span = Span { start: 0, end: self.random.u32(1..=size) };
        let content = if self.random.bool() { Content::Packet(span) } else { Content::Stream(span) };
        let slot = change(&mut self.random, Slot { lap, page, content }, size);
        ring.slots[ring.fields.slot_at(position)].store(ring.fields.encode(slot), RELAXED);
    }

    /// Writes something of `kind`.
    pub fn write(&mut self, kind: Kind) {
        match kind {
            Kind::AnySlot => {
                let word = self.random.u64(..);
                self.slot().store(word, RELAXED);
            }
            Kind::OnesInSlot => self.slot().store(u64::MAX, RELAXED),
            Kind::BitOfSlot => {
                let bit = 1 << self.random.u32(..64);
                self.slot().fetch_xor(bit, RELAXED);
            }
            Kind::SwappedSlots => {
                let word = self.slot().load(RELAXED);
                let other = self.slot().swap(word, RELAXED);
                self.slot().store(other, RELAXED);
            }
            Kind::DoubledSlot => {
                let word = self.slot().load(RELAXED);
                self.slot().store(word, RELAXED);
            }
            Kind::StolenPage => {
                let of = self.entry();
                let record = Holding::decode(self.segment.entry(of).record.load(RELAXED));
                let page = match record {
                    Holding::Settled(page) | Holding::Pending { offered: page, .. } => page,
                };
                self.nearly(|_, slot, _| Slot { page, ..slot });
            }
            Kind::OtherLap => self.nearly(|random, slot, _| Slot { lap: slot.lap ^ 1 << random.u32(..20), ..slot }),
            Kind::OffsetsBeyond => self.nearly(|random, slot, size| {
                let span = Span { start: random.u32(..2 * size), end: random.u32(1..2 * size) };
                Slot { content: Content::Packet(span), ..slot }
            }),
            Kind::FalseLarge => self.nearly(|random, slot, _| {
                let consumed = if random.bool() { 0 } else { random.u32(..1 << 12) };
                Slot { content: Content::Large { consumed }, ..slot }
            }),
            Kind::OtherRings => {
                let rings = self.segment.rings().rings;
                let slots = rings[self.random.usize(..rings.len())].slots;
                let word = if self.random.bool() { self.random.u64(..) } else { self.slot().load(RELAXED) };
                slots[self.random.usize(..slots.len())].store(word, RELAXED);
            }
            Kind::Jump => self.jump(),
            Kind::Record => self.lie_in_record(),
            Kind::Entry => {
                let (entry, number) = (self.entry(), self.number());
                let entry = self.segment.entry(entry);
                if self.random.bool() { &entry.pid } else { &entry.stirs }.store(number, RELAXED);
            }
            Kind::Owner => self.spoil_owner(),
            Kind::WaitWord | Kind::Bell | Kind::Turn | Kind::Membership => self.spoil_news(kind),
            Kind::Size => self.spoil_size(),
            Kind::ExtentOwner => {
                let owners = self.segment.extents().owners;
                let owner = if self.random.bool() { self.number() } else { self.page() + 1 };
                owners[self.random.usize(..owners.len())].store(owner, RELAXED);
            }
            Kind::LargeHeader => {
                let (extents, max) = (self.segment.layout().extents, self.segment.layout().packet_max);
                let extent = if self.random.bool() { self.random.u32(..2 * extents) } else { self.number() };
                let length = if self.random.bool() { self.random.u32(..2 * max) } else { self.number() };
                let page = self.page();
                self.segment.pages().write(page, 0, &LargeHeader { extent, length }.to_bytes());
            }
            Kind::Identity => {
                let (number, identity) = (self.number(), &self.segment.header().identity);
                let words = [&identity.version, &identity.slot_size, &identity.ring_size, &identity.extents];
                words[self.random.usize(..words.len())].store(number, RELAXED);
            }
            Kind::Noise => {
                let (page, byte) = (self.page(), self.random.u8(..));
                let at = self.random.usize(..self.segment.pages().size());
                self.segment.pages().write(page, at, &[byte]);
            }
        }
    }

    fn jump(&mut self) {
        let ring = self.segment.ring(0);
        let hint = if self.random.bool() { ring.head } else { ring.tail };
        let old = hint.load(RELAXED);
        let new = match self.random.u8(..5) {
            0 => self.random.u64(..),
            1 => old.wrapping_add(ring.fields.ring_size()),
            2 => old.wrapping_sub(self.random.u64(..100)),
            3 => u64::MAX,
            _ => old.wrapping_add(1 << self.random.u32(..63)),
        };
        hint.store(new, RELAXED);
    }

    fn lie_in_record(&mut self) {
        let (entry, offered, expected) = (self.entry(), self.page(), self.page());
        let word = match self.random.u8(..4) {
            0 => self.random.u64(..),
            1 => Holding::Settled(self.number()).encode(),
            2 => Holding::Settled(offered).encode(),
            _ => Holding::Pending { offered, expected }.encode(),
        };
        self.segment.entry(entry).record.store(word, RELAXED);
    }

    /// Owner words are the kernel's and their owners'; a futex has no store.
    fn spoil_owner(&mut self) {
        let (entry, number) = (self.entry(), self.number());
        let owner = &self.segment.entry(entry).owner;
        let _ = owner.compare_exchange(owner.load(RELAXED), number, RELAXED, RELAXED);
    }

    fn spoil_news(&mut self, kind: Kind) {
        let (number, header) = (self.number(), self.segment.header());
        let membership = &header.membership.0;
        let words: &[&AtomicU32] = match kind {
            Kind::Bell => &[&header.readable.0.bell, &header.writable.0.bell],
            Kind::Membership => &[&membership.tenure, &membership.writers_changed, &membership.readers_changed],
            _ => &[],
        };
        let futexes = match kind {
            Kind::WaitWord => [&header.readable.0.word, &header.writable.0.word, &header.extents_free.0],
            Kind::Turn => [&header.writers_turn.0, &header.readers_turn.0, &header.readers_turn.0],
            _ => [&membership.writers_arrived, &membership.readers_arrived, &membership.readers_arrived],
        };
        match words.get(self.random.usize(..words.len() + 1)) {
            Some(word) => word.store(number, RELAXED),
            None => {
                let futex = futexes[self.random.usize(..futexes.len())];
                let _ = futex.compare_exchange(futex.load(RELAXED), number, RELAXED, RELAXED);
            }
        }
    }

    fn spoil_size(&mut self) {
        let size = &self.segment.header().size.0;
        let old = size.load(RELAXED);
        let new = match self.random.u8(..3) {
            0 => self.random.u64(..),
            1 => old ^ 1 << self.random.u32(..48),
            _ => Size::whole(self.random.u32(..20)).encode(),
        };
        size.store(new, RELAXED);
    }
}
