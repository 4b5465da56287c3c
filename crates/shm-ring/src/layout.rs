//! Where every byte of a segment is, version 1. `docs/layout.md` explains it.
//!
//! ```text
//! 0x000  identity        magic, version, the numbers of this segment, their checksum; written once, before anyone else sees it
//! 0x080  head            u64, hint
//! 0x100  tail            u64, hint
//! 0x180  readable        u32, readers sleep here; u32, the word of their bell
//! 0x200  writable        u32, writers sleep here; u32, the word of their bell
//! 0x280  extents free    u32, writers of packets above a slot sleep here
//! 0x300  writers' turn   u32, the writer that is starving
//! 0x380  readers' turn   u32, the reader that is starving
//! 0x400  membership      u32 tenure, u32 writers changed, u32 readers changed, u32 writers arrived, u32 readers arrived
//! 0x480  size            u64, how many slots may be occupied, and which ring is in use; see `moving`
//! 0x500  slots           of every ring from ring_size to max_ring_size: that many x u64
//!        participants    (writers + readers) x 128: u64 record, u32 pid, u32 stirs; at 64 u32 owner
//!        extent owners   extents x u32
//!        pages           (max_ring_size + writers + readers) x (slot_size + 64): the first ring's, participants', larger rings'
//!        extents         extents x packet_max, rounded up to 4096
//! ```
//! Every part starts at a multiple of 128; the extents at a multiple of 4096. All integers are little-endian.
//!
//! Pages are 64 bytes further apart than they are long: at a distance of 4096 the same lines of all pages would compete
//! for the same places in the caches. The first four of those bytes are the page's *signature*: the process that filled it, for people.

use core::mem::offset_of;

use crate::slot::Fields;
use crate::sync::{AtomicU32, AtomicU64, Futex};

/// "PPIPE\0\0\1" as bytes.
pub const MAGIC: u64 = u64::from_le_bytes(*b"PPIPE\0\0\x01");
/// Version of the layout; another number is another layout.
pub const VERSION: u32 = 1;

/// In a segment's flags: each page says which process filled it.
pub const SIGNED: u32 = 1;

/// Smallest page, in bytes.
pub const MIN_SLOT_SIZE: u32 = 64;
/// Largest page, in bytes.
pub const MAX_SLOT_SIZE: u32 = 1 << 20;
/// Most slots of a ring.
pub const MAX_RING_SIZE: u32 = 1 << 16;
/// Most participants of one side.
pub const MAX_PARTICIPANTS: u32 = 4096;

const LINE: u64 = 128;
const OS_PAGE: u64 = 4096;
const PAGE_SKEW: u64 = 64;
/// With fewer bits than this the lap would come round within seconds.
const MIN_LAP_BITS: u32 = 16;

/// The fixed part at the start of a segment. Everything is atomic, since other processes may write it at any time.
#[repr(C)]
pub struct Header {
    /// Written once.
    pub identity: Identity,
    /// The next position to fill; a hint.
    pub head: Line<AtomicU64>,
    /// The next position to drain; a hint.
    pub tail: Line<AtomicU64>,
    /// Where readers sleep.
    pub readable: Line<Sleepers>,
    /// Where writers sleep.
    pub writable: Line<Sleepers>,
    /// Writers that wait for an extent sleep here.
    pub extents_free: Line<Futex>,
    /// The writer that the others let go first; see `turns`.
    pub writers_turn: Line<Futex>,
    /// The reader that the others let go first.
    pub readers_turn: Line<Futex>,
    /// Who comes and goes.
    pub membership: Line<Membership>,
    /// How many slots may be occupied, and which ring is in use; see `moving`.
    pub size: Line<AtomicU64>,
}

/// What the segment is. Checked once when attaching, and never read again.
#[repr(C, align(128))]
pub struct Identity {
    /// [`MAGIC`].
    pub magic: AtomicU64,
    /// [`VERSION`].
    pub version: AtomicU32,
    /// Bytes of [`Header`].
    pub header_size: AtomicU32,
    /// Bytes in a page.
    pub slot_size: AtomicU32,
    /// Number of slots of the first ring.
    pub ring_size: AtomicU32,
    /// Most writers at a time.
    pub writers: AtomicU32,
    /// Most readers at a time.
    pub readers: AtomicU32,
    /// Number of extents.
    pub extents: AtomicU32,
    /// Bytes of the largest packet that there can ever be.
    pub packet_max: AtomicU32,
    /// Number of slots of the largest ring.
    pub max_ring_size: AtomicU32,
    /// [`SIGNED`] or 0.
    pub flags: AtomicU32,
    /// Bytes of the whole segment.
    pub segment_size: AtomicU64,
    /// FNV-1a of the fields above.
    pub checksum: AtomicU64,
}

/// A value alone on its pair of cache lines (adjacent lines are fetched together).
#[repr(C, align(128))]
pub struct Line<T>(pub T);

/// Where those of one side sleep.
#[repr(C)]
pub struct Sleepers {
    /// Those who sleep here do so for a bounded time; see `waiting`.
    pub word: Futex,
    /// Whether others sleep at the side's bell; see `bell`.
    pub bell: AtomicU32,
}

/// Who comes and goes.
#[repr(C)]
pub struct Membership {
    /// Named segments: counts those who joined, until the last one out closes it for ever; see `tenure`.
    pub tenure: AtomicU32,
    /// Changes whenever a writer has come or gone: time to ask the kernel who lives.
    pub writers_changed: AtomicU32,
    /// Changes whenever a reader has come or gone.
    pub readers_changed: AtomicU32,
    /// Counts the writers that ever came; whoever opens a reading end and waits for a writer sleeps here.
    pub writers_arrived: Futex,
    /// Counts the readers that ever came.
    pub readers_arrived: Futex,
}

/// One participant's entry. Its owner holds the kernel's lock on the byte of the file that has the entry's index.
#[repr(C, align(128))]
pub struct Entry {
    /// Which page the participant owns; see `holding`.
    pub record: AtomicU64,
    /// Process id at the time of joining, in the participant's namespace; for people, never for decisions.
    pub pid: AtomicU32,
    /// What the participant is about to do besides exchanging slots: leaving, resizing; see `bell`.
    pub stirs: AtomicU32,
    /// Not on the line of the record, which changes all the time.
    away: [AtomicU32; 12],
    /// The thread that owns the entry's word in its process's robust list; see `robust_list`.
    pub owner: Futex,
}

const _: () = {
    assert!(offset_of!(Header, identity) == 0x000);
    assert!(offset_of!(Header, head) == 0x080);
    assert!(offset_of!(Header, tail) == 0x100);
    assert!(offset_of!(Header, readable) == 0x180);
    assert!(offset_of!(Header, writable) == 0x200);
    assert!(offset_of!(Header, extents_free) == 0x280);
    assert!(offset_of!(Header, writers_turn) == 0x300);
    assert!(offset_of!(Header, readers_turn) == 0x380);
    assert!(offset_of!(Header, membership) == 0x400);
    assert!(offset_of!(Header, size) == 0x480);
    assert!(size_of::<Header>() == 0x500);
    assert!(offset_of!(Identity, magic) == 0);
    assert!(offset_of!(Identity, version) == 8);
    assert!(offset_of!(Identity, header_size) == 12);
    assert!(offset_of!(Identity, slot_size) == 16);
    assert!(offset_of!(Identity, ring_size) == 20);
    assert!(offset_of!(Identity, writers) == 24);
    assert!(offset_of!(Identity, readers) == 28);
    assert!(offset_of!(Identity, extents) == 32);
    assert!(offset_of!(Identity, packet_max) == 36);
    assert!(offset_of!(Identity, max_ring_size) == 40);
    assert!(offset_of!(Identity, flags) == 44);
    assert!(offset_of!(Identity, segment_size) == 48);
    assert!(offset_of!(Identity, checksum) == 56);
    assert!(offset_of!(Sleepers, word) == 0);
    assert!(offset_of!(Sleepers, bell) == 4);
    assert!(offset_of!(Membership, tenure) == 0);
    assert!(offset_of!(Membership, writers_changed) == 4);
    assert!(offset_of!(Membership, readers_changed) == 8);
    assert!(offset_of!(Membership, writers_arrived) == 12);
    assert!(offset_of!(Membership, readers_arrived) == 16);
    assert!(size_of::<Entry>() == 128);
    assert!(offset_of!(Entry, record) == 0);
    assert!(offset_of!(Entry, pid) == 8);
    assert!(offset_of!(Entry, stirs) == 12);
    assert!(offset_of!(Entry, owner) == 64);
    assert!(cfg!(target_endian = "little"));
    assert!(cfg!(target_pointer_width = "64"));
};

/// The numbers that a segment is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes in a page: a power of two from [`MIN_SLOT_SIZE`] to [`MAX_SLOT_SIZE`].
    pub slot_size: u32,
    /// Number of slots at first: a power of two from 1 to [`MAX_RING_SIZE`].
    pub ring_size: u32,
    /// Most slots that there can ever be: a power of two from `ring_size` to [`MAX_RING_SIZE`].
    pub max_ring_size: u32,
    /// Most writers at a time, from 1 to [`MAX_PARTICIPANTS`].
    pub writers: u32,
    /// Most readers at a time, from 1 to [`MAX_PARTICIPANTS`].
    pub readers: u32,
    /// Whether each page says which process filled it.
    pub is_signed: bool,
    /// Where head and tail are at first: 0, but for tests of what happens when they come round. Of no matter to who attaches.
    pub first_position: u64,
}

impl Default for Geometry {
    /// 16 slots of 4096 bytes, and up to 1 MiB, as a Linux pipe, for up to 128 writers and 128 readers.
    fn default() -> Self {
        Self {
            slot_size: 4096,
            ring_size: 16,
            max_ring_size: 256,
            writers: 128,
            readers: 128,
            is_signed: false,
            first_position: 0,
        }
    }
}

/// Numbers that no segment can be made with: what was found, and what is possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {found}, possible is {possible}")]
pub struct GeometryError {
    /// Which number.
    pub what: &'static str,
    /// What it is.
    pub found: u64,
    /// What it could be.
    pub possible: &'static str,
}

/// Where everything is in a segment of one geometry. Kept in private memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What it was computed from.
    pub geometry: Geometry,
    /// How to read a slot's word in the first ring.
    pub fields: Fields,
    /// Number of pages.
    pub pages: u32,
    /// Number of extents.
    pub extents: u32,
    /// Bytes of the largest packet that there can ever be.
    pub packet_max: u32,
    /// Offset of the slots of the first ring; those of the other ones follow.
    pub slots_at: usize,
    /// Offset of the participants' entries.
    pub entries_at: usize,
    /// Offset of the extents' owners.
    pub owners_at: usize,
    /// Offset of the pages.
    pub pages_at: usize,
    /// Bytes from a page to the next.
    pub page_stride: usize,
    /// Offset of the extents.
    pub extents_at: usize,
    /// Bytes from an extent to the next.
    pub extent_stride: usize,
    /// Bytes of the whole segment.
    pub size: u64,
}

impl Layout {
    /// Where everything is in a segment of `geometry`.
    ///
    /// # Errors
    /// [`GeometryError`] if a number is out of its range or no segment of that size can be mapped.
    pub fn new(geometry: Geometry) -> Result<Self, GeometryError> {
        let Geometry { slot_size, ring_size, max_ring_size, writers, readers, is_signed: _, first_position: _ } =
            geometry;
        power_of_two(
            "the size of a slot",
            slot_size,
            MIN_SLOT_SIZE..=MAX_SLOT_SIZE,
            "a power of two from 64 to 1048576",
        )?;
        power_of_two("the number of slots", ring_size, 1..=MAX_RING_SIZE, "a power of two from 1 to 65536")?;
        let larger = ring_size..=MAX_RING_SIZE;
        power_of_two(
            "the largest number of slots",
            max_ring_size,
            larger,
            "a power of two from the number of slots to 65536",
        )?;
        participants("the number of writers", writers)?;
        participants("the number of readers", readers)?;

        let participants = writers + readers;
        let pages = max_ring_size + participants;
        let capacity = u64::from(slot_size) * u64::from(max_ring_size);
        let fields = Fields::new(slot_size, max_ring_size, pages)
            .filter(|fields| fields.lap_bits() >= MIN_LAP_BITS)
            .ok_or_else(|| too_large("the largest capacity", capacity))?
            .in_ring_of(ring_size);
        let packet_max = u32::try_from(capacity).map_err(|_| too_large("the largest capacity", capacity))?;
        // One for each participant, so that a stopped one keeps nobody from sending; and some to be in the ring.
        let extents = participants + (ring_size / 2).clamp(1, 16);

        let slots_at = size_of::<Header>() as u64;
        let slots = 2 * u64::from(max_ring_size) - u64::from(ring_size);
        let entries_at = (slots_at + 8 * slots).next_multiple_of(LINE);
        let owners_at = entries_at + size_of::<Entry>() as u64 * u64::from(participants);
        let pages_at = (owners_at + 4 * u64::from(extents)).next_multiple_of(OS_PAGE);
        let page_stride = u64::from(slot_size) + PAGE_SKEW;
        let extents_at = (pages_at + page_stride * u64::from(pages)).next_multiple_of(OS_PAGE);
        let extent_stride = u64::from(packet_max).next_multiple_of(OS_PAGE);
        let size = extents_at + extent_stride * u64::from(extents);
        if size > isize::MAX as u64 {
            return Err(too_large("the segment's size", size));
        }
        Ok(Self {
            geometry,
            fields,
            pages,
            extents,
            packet_max,
            slots_at: slots_at as usize,
            entries_at: entries_at as usize,
            owners_at: owners_at as usize,
            pages_at: pages_at as usize,
            page_stride: page_stride as usize,
            extents_at: extents_at as usize,
            extent_stride: extent_stride as usize,
            size,
        })
    }

    /// Number of participants that fit, of both sides.
    #[must_use]
    pub fn participants(&self) -> u32 {
        self.geometry.writers + self.geometry.readers
    }

    /// The sizes of the rings, in slots, each with the offset of its slots.
    pub fn rings(&self) -> impl Iterator<Item = (u32, usize)> + use<> {
        let Geometry { ring_size, max_ring_size, .. } = self.geometry;
        let slots_at = self.slots_at;
        (ring_size.trailing_zeros()..=max_ring_size.trailing_zeros())
            .map(move |bits| (1 << bits, slots_at + size_of::<u64>() * ((1 << bits) - ring_size as usize)))
    }

    /// Offset of the owner word of participant `entry`.
    #[must_use]
    pub fn owner_at(&self, entry: u32) -> u64 {
        (self.entries_at + entry as usize * size_of::<Entry>() + offset_of!(Entry, owner)) as u64
    }

    /// The page that participant `entry` starts with.
    #[must_use]
    pub fn first_page_of(&self, entry: u32) -> u32 {
        self.geometry.ring_size + entry
    }

    /// Offset and length of page `page` in the file, with its signature.
    #[must_use]
    pub fn page_range(&self, page: u32) -> (u64, u64) {
        ((self.pages_at + page as usize * self.page_stride) as u64, self.page_stride as u64)
    }

    /// Offset of the signature of page `page`.
    #[must_use]
    pub fn signature_at(&self, page: u32) -> usize {
        self.pages_at + page as usize * self.page_stride + self.geometry.slot_size as usize
    }

    /// Offset and length of the bytes of the pages of all slots from `first` to `end` that the first ring does not have.
    #[must_use]
    pub fn later_pages_range(&self, first: u32, end: u32) -> (u64, u64) {
        let (start, _) = self.page_range(self.participants() + first);
        let (end, _) = self.page_range(self.participants() + end);
        (start, end - start)
    }

    /// Offset and length of the first `len` bytes of extent `extent` in the file.
    #[must_use]
    pub fn extent_range(&self, extent: u32, len: u32) -> (u64, u64) {
        ((self.extents_at + extent as usize * self.extent_stride) as u64, len.into())
    }
}

fn power_of_two(
    what: &'static str,
    found: u32,
    range: core::ops::RangeInclusive<u32>,
    possible: &'static str,
) -> Result<(), GeometryError> {
    if found.is_power_of_two() && range.contains(&found) {
        return Ok(());
    }
    Err(GeometryError { what, found: found.into(), possible })
}

fn participants(what: &'static str, found: u32) -> Result<(), GeometryError> {
    if (1..=MAX_PARTICIPANTS).contains(&found) {
        return Ok(());
    }
    Err(GeometryError { what, found: found.into(), possible: "from 1 to 4096" })
}

fn too_large(what: &'static str, found: u64) -> GeometryError {
    GeometryError { what, found, possible: "less than 4 GiB, and less with many participants" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_segment_lies_as_documented() {
        let layout = Layout::new(Geometry::default()).expect("the default geometry");
        assert_eq!(layout.slots_at, 0x500);
        let rings: Vec<_> = layout.rings().collect();
        assert_eq!(rings, [(16, 0x500), (32, 0x580), (64, 0x680), (128, 0x880), (256, 0xc80)]);
        assert_eq!(layout.entries_at, 0x1480);
        assert_eq!(layout.owners_at, 0x1480 + 256 * 128);
        assert_eq!(layout.pages_at % 4096, 0);
        assert_eq!(layout.page_stride, 4160);
        assert_eq!((layout.pages, layout.extents, layout.packet_max), (512, 264, 1 << 20));
        assert_eq!(layout.fields.lap_bits(), 28);
        assert_eq!(layout.size, layout.extents_at as u64 + (264 << 20));
    }

    #[test]
    fn parts_do_not_overlap() {
        let mut possible = 0;
        for slot_size in [64, 4096, 1 << 20] {
            for ring_size in [1, 2, 16, 1024] {
                for (writers, readers, growth) in [(1, 1, 1), (128, 128, 4), (128, 128, 256), (4096, 1, 2)] {
                    let max_ring_size = ring_size * growth;
                    let geometry = Geometry {
                        slot_size,
                        ring_size,
                        max_ring_size,
                        writers,
                        readers,
                        is_signed: false,
                        first_position: 0,
                    };
                    let Ok(layout) = Layout::new(geometry) else { continue };
                    possible += 1;
                    let mut at = layout.slots_at;
                    for (size, slots_at) in layout.rings() {
                        assert_eq!(slots_at, at);
                        at += 8 * size as usize;
                    }
                    assert!(at <= layout.entries_at);
                    let (first, len) = layout.later_pages_range(ring_size, max_ring_size);
                    assert_eq!(first, layout.page_range(ring_size + writers + readers).0);
                    assert!(first + len <= layout.extents_at as u64);
                    assert!(layout.owners_at + 4 * layout.extents as usize <= layout.pages_at);
                    assert!(layout.pages_at + layout.pages as usize * layout.page_stride <= layout.extents_at);
                    assert!(layout.packet_max as usize <= layout.extent_stride);
                    assert!(layout.extents > writers + readers);
                }
            }
        }
        assert!(possible > 25, "only {possible} of the geometries are possible");
    }

    #[test]
    fn impossible_numbers_are_named() {
        let wrong = |change: fn(&mut Geometry)| {
            let mut geometry = Geometry::default();
            change(&mut geometry);
            Layout::new(geometry).expect_err("impossible").what
        };
        assert_eq!(wrong(|g| g.slot_size = 0), "the size of a slot");
        assert_eq!(wrong(|g| g.slot_size = 32), "the size of a slot");
        assert_eq!(wrong(|g| g.slot_size = 4095), "the size of a slot");
        assert_eq!(wrong(|g| g.slot_size = 2 << 20), "the size of a slot");
        assert_eq!(wrong(|g| g.ring_size = 0), "the number of slots");
        assert_eq!(wrong(|g| g.ring_size = 12), "the number of slots");
        assert_eq!(wrong(|g| g.max_ring_size = 8), "the largest number of slots");
        assert_eq!(wrong(|g| g.max_ring_size = 48), "the largest number of slots");
        assert_eq!(wrong(|g| g.writers = 0), "the number of writers");
        assert_eq!(wrong(|g| g.readers = 4097), "the number of readers");
        assert_eq!(wrong(|g| (g.slot_size, g.max_ring_size) = (1 << 20, 1 << 16)), "the largest capacity",);
    }
}
