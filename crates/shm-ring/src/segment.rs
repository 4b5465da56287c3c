#![allow(unsafe_code)]
//! A segment: the file, its mapping, and views of what is in it. Unsafe because it turns offsets into references.
//!
//! What always holds: the mapping is as long as the layout says, for as long as the segment lives; the layout was checked
//! once and is kept in private memory; every reference into the mapping is to atomics; bytes are reached only through
//! [`Blocks`].

use core::fmt;
use std::fs::{File, FileType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;

use crate::extent::Extents;
use crate::holding::{Holding, Record};
use crate::layout::{Entry, Geometry, GeometryError, Header, Layout, MAGIC, SIGNED, VERSION};
use crate::life::Side;
use crate::lost::Lost;
use crate::mapping::Mapping;
use crate::moving::{Rings, Size as PipeSize};
use crate::own_descriptor::OwnFd;
use crate::ring::Ring;
use crate::sigbus::Guard;
use crate::slot::{Content, Slot};
use crate::sync::{AtomicU32, Blocks, Futex, Ordering};
use crate::sys;

/// Why a segment could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// No segment can have these numbers.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The system refused: no memory, no descriptor, no right.
    #[error("cannot make the segment: {0}")]
    System(#[from] io::Error),
}

/// Why a file could not be attached as a segment: what was found, and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It does not start as a segment does.
    #[error("not a ppipe segment: starts with {found:#018x}, expected {MAGIC:#018x}")]
    Magic {
        /// The first eight bytes.
        found: u64,
    },
    /// It was made by a version that lays things out differently.
    #[error("segment of layout version {found}, expected {VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// Its numbers contradict each other.
    #[error("damaged segment: {what} is {found}, expected {expected}")]
    Damaged {
        /// Which number.
        what: &'static str,
        /// What it is.
        found: u64,
        /// What it should be.
        expected: u64,
    },
    /// Its numbers are impossible.
    #[error("damaged segment: {0}")]
    Geometry(#[from] GeometryError),
    /// It is not a regular file of memory that this process can trust not to shrink.
    #[error("not a memory file: {found}, expected {expected}")]
    Kind {
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// It has been shortened, or has no memory, while it was looked at.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The system refused.
    #[error("cannot attach the segment: {0}")]
    System(#[from] io::Error),
}

/// Why a file that is attached will not be shortened, which would turn an access into a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// It has to be a memfd whose size is sealed.
    Sealed,
    /// It lies where only the user's own well-meaning programs can shorten it.
    Trusted,
}

/// A mapped segment.
pub struct Segment {
    file: File,
    layout: Layout,
    views: Views,
    /// What the views point into; nothing else keeps it mapped.
    map: Mapping,
}

/// References into a mapping, made once, because every message needs them.
///
/// They say that they live for ever, and live as long as the mapping. So they do not leave this module but through
/// [`Segment`], which owns the mapping and lends them for as long as it is borrowed.
struct Views {
    header: &'static Header,
    entries: &'static [Entry],
    /// From the first one to the largest.
    rings: Box<[Ring<'static>]>,
    extents: Extents<'static>,
}

impl Views {
    /// Views of what lies in `map`.
    ///
    /// # Safety
    /// The mapping is as long as `layout` says, and outlives what is made of the result.
    unsafe fn new(map: &Mapping, layout: &Layout) -> Self {
        let Layout { geometry, pages, page_stride, extents, extent_stride, packet_max, .. } = *layout;
        let address = |offset: usize| map.start().wrapping_add(offset);
        // SAFETY: the mapping starts page-aligned with a header, and nothing in it is other than atomics.
        let header = unsafe { &*address(0).cast::<Header>() };
        let entries = address(layout.entries_at).cast();
        // SAFETY: the layout places that many entries there, aligned (they start at a multiple of their size).
        let entries = unsafe { core::slice::from_raw_parts(entries, layout.participants() as usize) };
        // SAFETY: the layout places that many owner words there, aligned.
        let owners = unsafe { core::slice::from_raw_parts(address(layout.owners_at).cast(), extents as usize) };
        // SAFETY: the layout places that many pages there.
        let pages = unsafe { Blocks::new(address(layout.pages_at), pages, geometry.slot_size as usize, page_stride) };
        // SAFETY: the layout places that many extents there.
        let bytes = unsafe { Blocks::new(address(layout.extents_at), extents, packet_max as usize, extent_stride) };
        let ring = |(ring_size, slots_at): (u32, usize)| {
            // SAFETY: the layout places that many slots there, aligned.
            let slots = unsafe { core::slice::from_raw_parts(address(slots_at).cast(), ring_size as usize) };
            let (head, tail, size) = (&header.head.0, &header.tail.0, &header.size.0);
            Ring { head, tail, slots, pages, fields: layout.fields.in_ring_of(ring_size), size }
        };
        let rings = layout.rings().map(ring).collect();
        Self { header, entries, rings, extents: Extents { owners, bytes } }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("file", &self.file).field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Segment {
    /// Makes an anonymous segment: a memfd, close-on-exec, its size sealed. Mirrors `memfd_create`.
    ///
    /// # Errors
    /// [`CreateError`], with nothing left behind. A lack of memory is found here and not on first use.
    pub fn anonymous(geometry: Geometry) -> Result<Self, CreateError> {
        let layout = Layout::new(geometry)?;
        Self::initialise(sys::sealed_memory("ppipe", layout.size)?, layout)
    }

    /// Makes a segment in `file`: new, empty, open for reading and writing, and seen by nobody else yet.
    ///
    /// # Errors
    /// [`CreateError`]. What becomes of the file is the caller's business.
    pub fn in_file(file: File, geometry: Geometry) -> Result<Self, CreateError> {
        let layout = Layout::new(geometry)?;
        sys::set_size(&file, layout.size)?;
        Self::initialise(file, layout)
    }

    /// Attaches the segment in `file`, which is open for reading and writing.
    ///
    /// # Errors
    /// [`AttachError`] says what was found and what was expected.
    pub fn attach(file: File, size: Size) -> Result<Self, AttachError> {
        // The seals before the size: whoever seals it has to have shortened it before.
        let is_sealed = sys::has_required_seals(&file);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            let found = name_of(metadata.file_type()).to_owned();
            return Err(AttachError::Kind { found, expected: "a regular file" });
        }
        if size == Size::Sealed && !is_sealed {
            let found = "a file without seals".to_owned();
            return Err(AttachError::Kind {
                found,
                expected: "a memfd with F_SEAL_SHRINK, F_SEAL_GROW and F_SEAL_SEAL",
            });
        }
        check_equal("size of the file", metadata.len().min(HEADER_SIZE), HEADER_SIZE)?;
        let header_map = Mapping::new(&file, HEADER_SIZE)?;
        // SAFETY: the mapping is at least a header long, page-aligned, and alive until the end of this function.
        let header = unsafe { &*header_map.start().cast::<Header>() };
        let layout = check_identity(header, metadata.len());
        if let Some(at) = header_map.guard().lost_at() {
            return Err(Lost::at(at, &file, HEADER_SIZE).into());
        }
        Ok(Self::mapped(file, layout?)?)
    }

    fn initialise(file: File, layout: Layout) -> Result<Self, CreateError> {
        // Everything but what participants bring with them when they join.
        let (ring_pages_end, _) = layout.page_range(layout.geometry.ring_size);
        sys::take_memory(&file, 0, ring_pages_end)?;
        let segment = Self::mapped(file, layout)?;
        let (first, later) = segment.views.rings.split_first().expect("there is always a first ring");
        for (index, slot) in first.slots.iter().enumerate() {
            // The first position of this slot that is not before the first one of all.
            let start = layout.geometry.first_position;
            let behind = (index as u64).wrapping_sub(start) & (first.fields.ring_size() - 1);
            let lap = first.fields.lap_at(start.wrapping_add(behind));
            let empty = Slot { lap, page: index as u32, content: Content::Empty };
            slot.store(layout.fields.encode(empty), Ordering::Relaxed);
        }
        for slot in later.iter().flat_map(|ring| ring.slots) {
            slot.store(layout.fields.unborn(), Ordering::Relaxed);
        }
        segment.header().size.0.store(PipeSize::whole(first.fields.ring_bits()).encode(), Ordering::Relaxed);
        segment.header().head.0.store(layout.geometry.first_position, Ordering::Relaxed);
        segment.header().tail.0.store(layout.geometry.first_position, Ordering::Relaxed);
        for entry in 0..layout.participants() {
            let first = Holding::Settled(layout.first_page_of(entry));
            segment.entry(entry).record.store(first.encode(), Ordering::Relaxed);
        }
        write_identity(&segment.header().identity, &layout);
        Ok(segment)
    }

    fn mapped(file: File, layout: Layout) -> io::Result<Self> {
        let map = Mapping::new(&file, layout.size)?;
        // SAFETY: the mapping is that long, and is moved into the segment, which keeps it to its own end.
        let views = unsafe { Views::new(&map, &layout) };
        Ok(Self { file, layout, views, map })
    }

    /// Where everything is.
    #[inline(always)]
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// What tells whether the mapping still shows the file's memory.
    #[inline(always)]
    pub(crate) fn guard(&self) -> &Guard {
        self.map.guard()
    }

    /// Whether `other` is a mapping of the same file.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (rustix::fs::fstat(&self.file), rustix::fs::fstat(&other.file)) {
            (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
            _ => false,
        }
    }

    /// A descriptor of the same file with locks of its own, which the kernel releases when its last copy is closed.
    ///
    /// # Errors
    /// If there is no `/proc`, no descriptor is free, or the file may not be opened.
    pub(crate) fn reopen(&self) -> io::Result<OwnFd> {
        sys::reopen(&self.file)
    }

    /// Takes the memory of page `page` now.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn take_memory_of_page(&self, page: u32) -> io::Result<()> {
        let (at, len) = self.layout.page_range(page);
        sys::take_memory(&self.file, at, len)
    }

    /// Takes the memory of the pages of all slots from `first` to `end` that the first ring does not have now.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn take_memory_of_slots(&self, first: u32, end: u32) -> io::Result<()> {
        let (at, len) = self.layout.later_pages_range(first, end);
        sys::take_memory(&self.file, at, len)
    }

    /// Takes the memory of the first `len` bytes of extent `extent` now.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn take_memory_of_extent(&self, extent: u32, len: u32) -> io::Result<()> {
        let (at, len) = self.layout.extent_range(extent, len);
        sys::take_memory(&self.file, at, len)
    }

    /// The fixed part.
    #[inline(always)]
    #[must_use]
    pub fn header(&self) -> &Header {
        self.views.header
    }

    /// The ring that this is the index of, from the first one to the largest.
    ///
    /// # Panics
    /// If there is none.
    #[inline(always)]
    #[must_use]
    pub fn ring(&self, index: usize) -> &Ring<'_> {
        &self.views.rings[index]
    }

    /// All rings, and which of them is in use.
    #[must_use]
    pub fn rings(&self) -> Rings<'_> {
        Rings { size: &self.header().size.0, rings: &self.views.rings, participants: self.layout.participants() }
    }

    /// The bytes of all pages, which every ring shares.
    #[inline(always)]
    #[must_use]
    pub fn pages(&self) -> Blocks<'_> {
        self.views.rings[0].pages
    }

    /// Who filled page `page` last: a process id in the namespace of that process. For people, never for decisions.
    ///
    /// # Panics
    /// If there is no such page.
    #[inline(always)]
    #[must_use]
    pub fn signature(&self, page: u32) -> &AtomicU32 {
        assert!(page < self.layout.pages, "there is no such page");
        let start: *const AtomicU32 = self.map.start().wrapping_add(self.layout.signature_at(page)).cast();
        // SAFETY: behind each page there is a word that is nothing else, aligned, and mapped as long as the segment lives.
        unsafe { &*start }
    }

    /// The extents.
    #[inline(always)]
    #[must_use]
    pub fn extents(&self) -> &Extents<'_> {
        &self.views.extents
    }

    /// The word that those of `side` sleep on who wait for something to read, or for room.
    #[must_use]
    pub fn wait_word_of(&self, side: Side) -> &Futex {
        match side {
            Side::Reader => &self.header().readable.0.word,
            Side::Writer => &self.header().writable.0.word,
        }
    }

    /// The entry of a participant.
    ///
    /// # Panics
    /// If there is no such entry.
    #[inline(always)]
    #[must_use]
    pub fn entry(&self, index: u32) -> &Entry {
        &self.views.entries[index as usize]
    }

    /// All records, by entry.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.views.entries.iter().map(|entry| Record(&entry.record))
    }
}

/// What a file is, in words.
#[must_use]
pub fn name_of(kind: FileType) -> &'static str {
    match kind {
        _ if kind.is_file() => "a regular file",
        _ if kind.is_dir() => "a directory",
        _ if kind.is_symlink() => "a symbolic link",
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

const HEADER_SIZE: u64 = size_of::<Header>() as u64;

fn write_identity(identity: &crate::layout::Identity, layout: &Layout) {
    let Geometry { slot_size, ring_size, max_ring_size, writers, readers, is_signed, first_position: _ } =
        layout.geometry;
    // Relaxed, all of them: nobody else sees the segment yet, and the system calls that hand it over order what they show.
    identity.version.store(VERSION, Ordering::Relaxed);
    identity.header_size.store(HEADER_SIZE as u32, Ordering::Relaxed);
    identity.slot_size.store(slot_size, Ordering::Relaxed);
    identity.ring_size.store(ring_size, Ordering::Relaxed);
    identity.writers.store(writers, Ordering::Relaxed);
    identity.readers.store(readers, Ordering::Relaxed);
    identity.extents.store(layout.extents, Ordering::Relaxed);
    identity.packet_max.store(layout.packet_max, Ordering::Relaxed);
    identity.max_ring_size.store(max_ring_size, Ordering::Relaxed);
    identity.flags.store(if is_signed { SIGNED } else { 0 }, Ordering::Relaxed);
    identity.segment_size.store(layout.size, Ordering::Relaxed);
    identity.checksum.store(checksum(layout), Ordering::Relaxed);
    identity.magic.store(MAGIC, Ordering::Relaxed);
}

/// Reads every number once, checks it, and computes the layout from the copy.
fn check_identity(header: &Header, file_size: u64) -> Result<Layout, AttachError> {
    let identity = &header.identity;
    let found = identity.magic.load(Ordering::Relaxed);
    if found != MAGIC {
        return Err(AttachError::Magic { found });
    }
    let found = identity.version.load(Ordering::Relaxed);
    if found != VERSION {
        return Err(AttachError::Version { found });
    }
    check_equal("size of the header", identity.header_size.load(Ordering::Relaxed).into(), HEADER_SIZE)?;
    let flags = identity.flags.load(Ordering::Relaxed);
    check_equal("what the flags say that is unknown", (flags & !SIGNED).into(), 0)?;
    let layout = Layout::new(Geometry {
        slot_size: identity.slot_size.load(Ordering::Relaxed),
        ring_size: identity.ring_size.load(Ordering::Relaxed),
        max_ring_size: identity.max_ring_size.load(Ordering::Relaxed),
        writers: identity.writers.load(Ordering::Relaxed),
        readers: identity.readers.load(Ordering::Relaxed),
        is_signed: flags & SIGNED != 0,
        first_position: 0,
    })?;
    check_equal("number of extents", identity.extents.load(Ordering::Relaxed).into(), layout.extents.into())?;
    check_equal("largest packet", identity.packet_max.load(Ordering::Relaxed).into(), layout.packet_max.into())?;
    check_equal("size of the segment", identity.segment_size.load(Ordering::Relaxed), layout.size)?;
    check_equal("checksum", identity.checksum.load(Ordering::Relaxed), checksum(&layout))?;
    check_equal("size of the file", file_size, layout.size)?;
    Ok(layout)
}

fn check_equal(what: &'static str, found: u64, expected: u64) -> Result<(), AttachError> {
    if found == expected { Ok(()) } else { Err(AttachError::Damaged { what, found, expected }) }
}

/// FNV-1a of the identity's numbers, as little-endian bytes in the order of the header.
fn checksum(layout: &Layout) -> u64 {
    let Geometry { slot_size, ring_size, max_ring_size, writers, readers, is_signed, first_position: _ } =
        layout.geometry;
    let flags = if is_signed { SIGNED } else { 0 };
    let numbers = [
        VERSION,
        HEADER_SIZE as u32,
        slot_size,
        ring_size,
        writers,
        readers,
        layout.extents,
        layout.packet_max,
        max_ring_size,
        flags,
    ];
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).chain(layout.size.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
