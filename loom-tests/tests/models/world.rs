//! The shared memory of a pipe for models: the ring, the records, the extents and the wait words.

use crate::bell::{Announcement, BellWord, Heard, Notice};
use crate::extent::Extents;
use crate::holding::{Holding, Record};
use crate::machine::blocks::Memory;
use crate::machine::simulator::Shared;
use crate::moving::{Rings, Size};
use crate::participant::Participant;
use crate::place::Cursor;
use crate::reaping::reap;
use crate::ring::Ring;
use crate::slot::{Content, Fields, Slot};
use crate::sync::{AtomicU32, AtomicU64, BellPipe, Futex, Ordering};
use crate::waiting::WaitWord;

/// Bytes in a page.
pub(crate) const SLOT_SIZE: u32 = 8;
/// Bytes in an extent.
const EXTENT_SIZE: usize = 12;

/// The shared memory of one pipe.
pub(crate) struct World {
    head: AtomicU64,
    tail: AtomicU64,
    size: AtomicU64,
    /// Of every ring, from the first one to the largest, with how to read their words.
    rings: Vec<(Vec<AtomicU64>, Fields)>,
    records: Vec<AtomicU64>,
    stirs: Vec<AtomicU32>,
    owners: Vec<AtomicU32>,
    pages: Memory,
    extents: Memory,
    readable: Futex,
    writable: Futex,
    /// Of readers and of writers; only where somebody sleeps at one.
    bells: Option<[Bell; 2]>,
}

/// A bell and its word.
pub(crate) struct Bell {
    word: AtomicU32,
    pub(crate) pipe: BellPipe,
}

impl Bell {
    fn new(rung: usize) -> Self {
        Self { word: AtomicU32::new(0), pipe: BellPipe::new(rung) }
    }

    pub(crate) fn word(&self) -> BellWord<'_> {
        BellWord(&self.word)
    }
}

/// What a world is made of.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) ring_size: u32,
    /// If it is larger, the size can be changed.
    pub(crate) max_ring_size: u32,
    pub(crate) participants: u32,
    pub(crate) extents: u32,
    /// `None`: as wide as fits.
    pub(crate) lap_bits: Option<u32>,
    /// Where head and tail are.
    pub(crate) position: u64,
    /// How often each bell has rung, if there are bells.
    pub(crate) rung: Option<usize>,
}

impl Shape {
    pub(crate) fn new(ring_size: u32, participants: u32) -> Self {
        Self { ring_size, max_ring_size: ring_size, participants, extents: 0, lap_bits: None, position: 0, rung: None }
    }

    /// The pipe, empty. Participant `entry` owns page `ring_size + entry`.
    pub(crate) fn build(self) -> Shared<World> {
        let pages = self.max_ring_size + self.participants;
        let wide = Fields::new(SLOT_SIZE, self.max_ring_size, pages).expect("room for a lap");
        let all_fields = self.lap_bits.map_or(wide, |bits| wide.narrowed(bits));
        let fields = all_fields.in_ring_of(self.ring_size);
        let slot = |index: u32| {
            // The first lap in which this slot's position is not below the start.
            let lap = self.position.saturating_sub(index.into()).div_ceil(self.ring_size.into());
            AtomicU64::new(fields.encode(Slot { lap, page: index, content: Content::Empty }))
        };
        let larger = |bits: u32| {
            let fields = all_fields.in_ring_of(1 << bits);
            ((0..1 << bits).map(|_| AtomicU64::new(fields.unborn())).collect(), fields)
        };
        let (first, last) = (self.ring_size.trailing_zeros(), self.max_ring_size.trailing_zeros());
        let size = Size::whole(first).encode();
        let record = |entry: u32| AtomicU64::new(Holding::Settled(self.ring_size + entry).encode());
        Shared::new(World {
            head: AtomicU64::new(self.position),
            tail: AtomicU64::new(self.position),
            size: if first == last { AtomicU64::constant(size) } else { AtomicU64::new(size) },
            rings: [((0..self.ring_size).map(slot).collect(), fields)]
                .into_iter()
                .chain((first + 1..=last).map(larger))
                .collect(),
            records: (0..self.participants).map(record).collect(),
            stirs: (0..self.participants).map(|_| AtomicU32::new(0)).collect(),
            owners: (0..self.extents).map(|_| AtomicU32::new(0)).collect(),
            pages: Memory::new(pages, SLOT_SIZE as usize),
            extents: Memory::new(self.extents, EXTENT_SIZE),
            readable: Futex::new(0),
            writable: Futex::new(0),
            bells: self.rung.map(|rung| [Bell::new(rung), Bell::new(rung)]),
        })
    }
}

impl World {
    /// The first ring.
    pub(crate) fn ring(&self) -> Ring<'_> {
        self.ring_at(0)
    }

    pub(crate) fn ring_at(&self, index: usize) -> Ring<'_> {
        let (slots, fields) = &self.rings[index];
        Ring { head: &self.head, tail: &self.tail, slots, pages: self.pages.view(), fields: *fields, size: &self.size }
    }

    /// Does something with all rings.
    pub(crate) fn with_rings<R>(&self, action: impl FnOnce(Rings<'_>) -> R) -> R {
        let rings: Vec<_> = (0..self.rings.len()).map(|index| self.ring_at(index)).collect();
        action(Rings { size: &self.size, rings: &rings, participants: self.records.len() as u32 })
    }

    /// How many slots may be occupied.
    pub(crate) fn usage(&self) -> u32 {
        self.with_rings(|rings| rings.size().expect("nobody garbles in these models").usage)
    }

    /// Index of the ring that is in use; brings the pipe there if it is on its way.
    pub(crate) fn in_use(&self) -> usize {
        self.with_rings(|rings| {
            let size = rings.settle().expect("nobody garbles in these models");
            rings.index_of(size.ring).expect("there is such a ring")
        })
    }

    pub(crate) fn extents(&self) -> Extents<'_> {
        Extents { owners: &self.owners, bytes: self.extents.view() }
    }

    pub(crate) fn readable(&self) -> WaitWord<'_> {
        WaitWord(&self.readable)
    }

    pub(crate) fn writable(&self) -> WaitWord<'_> {
        WaitWord(&self.writable)
    }

    /// The bell at which readers sleep.
    pub(crate) fn readers_bell(&self) -> Option<&Bell> {
        self.bells.as_ref().map(|[of_readers, _]| of_readers)
    }

    /// The bell at which writers sleep.
    pub(crate) fn writers_bell(&self) -> Option<&Bell> {
        self.bells.as_ref().map(|[_, of_writers]| of_writers)
    }

    /// What writer `entry` says before an exchange.
    pub(crate) fn notice_to_readers(&self, entry: u32, heard: Heard) -> Notice<'_> {
        Notice { record: self.record(entry), bell: self.readers_bell().map(|bell| (bell.word(), heard)) }
    }

    /// What reader `entry` says before an exchange.
    pub(crate) fn notice_to_writers(&self, entry: u32, heard: Heard) -> Notice<'_> {
        Notice { record: self.record(entry), bell: self.writers_bell().map(|bell| (bell.word(), heard)) }
    }

    pub(crate) fn announcement(&self, entry: u32) -> Announcement<'_> {
        Announcement { record: self.record(entry), stirs: &self.stirs[entry as usize] }
    }

    pub(crate) fn record(&self, entry: u32) -> Record<'_> {
        Record(&self.records[entry as usize])
    }

    /// A writer that starts where the hint says.
    pub(crate) fn writer(self: &Shared<Self>, entry: u32) -> Participant {
        self.participant(entry, self.ring().head_hint())
    }

    /// A reader that starts where the hint says.
    pub(crate) fn reader(self: &Shared<Self>, entry: u32) -> Participant {
        self.participant(entry, self.ring().tail_hint())
    }

    /// A participant that believes to be at `cursor`.
    pub(crate) fn participant(self: &Shared<Self>, entry: u32, cursor: Cursor) -> Participant {
        let Holding::Settled(page) = self.record(entry).holding() else { panic!("entry {entry} has not settled") };
        Participant::new(Shared::clone(self), entry, page, cursor)
    }

    /// Cleans up behind the dead owner of `entry`, as whoever takes the entry over does. The page that belongs to the entry
    /// now, if it could be found out.
    pub(crate) fn reap(&self, entry: u32) -> Option<u32> {
        let records = (0..self.records.len() as u32).map(|entry| self.record(entry));
        reap(self.record(entry), &self.ring_at(self.in_use()), &self.extents(), records)
            .expect("nobody garbles in these models")
    }

    /// Checks, when all is quiet, that every page is held exactly once and every record says which one.
    pub(crate) fn audit(&self) {
        let (slots, fields) = &self.rings[self.in_use()];
        let in_slots = slots.iter().map(|slot| {
            let word = slot.load(Ordering::Acquire);
            assert!(!fields.is_frozen(word), "the ring in use is frozen");
            fields.decode(word).expect("nobody garbles in these models").page
        });
        let in_hands = (0..self.records.len() as u32).map(|entry| match self.record(entry).holding() {
            Holding::Settled(page) => page,
            pending @ Holding::Pending { .. } => panic!("entry {entry} is {pending:?}"),
        });
        let mut held: Vec<u32> = in_slots.chain(in_hands).collect();
        held.sort_unstable();
        let all: Vec<u32> = (0..held.len() as u32).collect();
        assert_eq!(held, all, "every page is held exactly once");
    }
}
