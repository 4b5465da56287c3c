//! Who holds what: the accounts of a segment, for a test that has killed somebody and for a person who asks.
//!
//! ```text
//!   slots    each holds one page ──┐
//!                                  ├── together every page, exactly once
//!   entries  each holds one page ──┘        │
//!   extents  each is free, or belongs to a page: of a large packet in a slot, or of somebody who is alive
//! ```
//!
//! The audit first does what the next participant to join would do: it takes over every entry that nobody has locked, one
//! after the other, settles what its dead owner left pending and frees its extents. Then it looks at all words twice. If
//! they are the same, the accounts are those of one moment; if not even the last of some tries gave two equal looks,
//! [`Audit::is_steady`] says so, and findings are worth little.
//!
//! While it looks after an entry it keeps others from taking that entry, for some microseconds, with a lock that nobody who
//! asks for the living sees: an auditor that is stopped just then costs one entry of the table, and no end of file. Two
//! auditors may look after one entry at the same time: both find the same and write the same.

use std::fmt::{self, Display};
use std::io;

use crate::bell::ARMED;
use crate::extent::{HEADER_BYTES, LargeHeader};
use crate::holding::{Holding, Record, page_of_the_dead};
use crate::layout::Sleepers;
use crate::life::Side;
use crate::listening::announcement_of;
use crate::owner::Owner;
use crate::recovery::settle_the_dead;
use crate::segment::Segment;
use crate::slot::{Content, Slot};
use crate::sync::Ordering;
use crate::waiting::WAITING;

/// So many times two looks are taken until they are the same.
const MOST_LOOKS: usize = 100;

/// What a segment's accounts say.
#[derive(Clone, Debug)]
pub struct Audit {
    /// Every entry of the table, writers first.
    pub entries: Vec<EntryAccount>,
    /// How many slots may be occupied; `None` if the word that says so is garbled.
    pub usage: Option<u32>,
    /// Bytes that can be read, more or less if others are active; `None` if a word is garbled.
    pub unread: Option<u64>,
    /// Every slot of the ring in use; `None` if its word is garbled.
    pub slots: Vec<Option<Slot>>,
    /// The extents that are in use.
    pub extents: Vec<ExtentAccount>,
    /// Whether a reader sleeps, or did since the last message: somebody has said so and not taken it back.
    pub readers_wait: bool,
    /// Whether a writer sleeps because no slot is empty, or did so since the last one was.
    pub writers_wait: bool,
    /// What must not be.
    pub findings: Vec<Finding>,
    /// Whether nothing changed while the accounts were taken.
    pub is_steady: bool,
    /// Dead participants that had left an exchange pending, which this audit has settled.
    pub settled: u32,
    /// Extents of dead participants that this audit has freed.
    pub freed: u32,
}

/// One entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryAccount {
    /// Which entry.
    pub index: u32,
    /// Of which side.
    pub side: Side,
    /// Who joined last, in the namespace of that process; 0 while an end is being handed over.
    pub pid: u32,
    /// Whether somebody has it now.
    pub is_held: bool,
    /// Whether its owner is, or died, between saying which exchange comes next and saying how that ended.
    pub is_pending: bool,
    /// The page that it holds, if that can be told.
    pub page: Option<u32>,
    /// What it says of that itself: the page, or the two of the exchange that it is in the midst of.
    pub holding: Holding,
    /// Whether its owner has said that it leaves.
    pub is_leaving: bool,
    /// Whether its owner is changing the size of the pipe.
    pub is_resizing: bool,
    /// Whether the kernel tells the others when its owner's process dies.
    pub is_marked_at_death: bool,
}

/// An extent in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtentAccount {
    /// Which extent.
    pub index: u32,
    /// The page that it belongs to.
    pub page: u32,
    /// Who holds that page; `None` if nobody does.
    pub holder: Option<Holder>,
}

/// Who holds a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The slot of this index.
    Slot(u32),
    /// The participant of this entry.
    Entry(u32),
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nobody holds this page.
    PageLost(u32),
    /// Several hold this page.
    PageShared(u32, Vec<Holder>),
    /// This entry of a dead participant cannot be settled: neither of its two pages is anywhere else.
    Unresolved(u32),
    /// This entry holds a page that there is not.
    ImpossiblePage(u32),
    /// This slot's word decodes to nothing.
    GarbledSlot(u32),
    /// The word of the pipe's size says what cannot be; the slots are those of the first ring.
    GarbledSize(u64),
    /// The large packet in this slot names an extent that does not belong to its page.
    LargeWithoutExtent(u32),
    /// This extent belongs to a page that is neither that of a large packet in a slot nor of a living participant.
    ExtentLeaked(ExtentAccount),
    /// This page has several extents.
    ExtentsOfOnePage(u32, Vec<u32>),
}

/// Takes the accounts of `segment`, and cleans up behind the dead. For a time when nobody is active, or at least nobody
/// joins and leaves all the time.
///
/// # Errors
/// What the system says: no descriptor, no `/proc`.
pub fn audit(segment: &Segment) -> io::Result<Audit> {
    let before = Look::at(segment);
    let is_held = settle_the_dead(segment, &segment.reopen()?)?;
    let mut first = Look::at(segment);
    let mut is_steady = false;
    for _ in 0..MOST_LOOKS {
        let second = Look::at(segment);
        is_steady = second == first;
        first = second;
        if is_steady {
            break;
        }
    }
    segment.check_memory()?;
    let (settled, freed) = first.changed_since(&before, &is_held);
    Ok(Audit { settled, freed, ..first.judge(segment, &is_held, is_steady) })
}

impl Audit {
    /// Whether nothing was found that must not be.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Number of slots that are not empty.
    #[must_use]
    pub fn full_slots(&self) -> usize {
        self.slots.iter().flatten().filter(|slot| slot.content != Content::Empty).count()
    }

    /// The entries that somebody has now.
    pub fn held(&self) -> impl Iterator<Item = &EntryAccount> {
        self.entries.iter().filter(|entry| entry.is_held)
    }
}

/// All words of one look.
#[derive(PartialEq, Eq)]
struct Look {
    size: u64,
    /// Which ring the slots are of.
    in_use: usize,
    slots: Vec<u64>,
    records: Vec<u64>,
    owners: Vec<u32>,
    pids: Vec<u32>,
}

impl Look {
    fn at(segment: &Segment) -> Self {
        // Acquire, all of them: what one word shows is not newer than what the next ones do. Two equal looks are what
        // counts.
        let entries = || (0..segment.layout().participants()).map(|index| segment.entry(index));
        let rings = segment.rings();
        let in_use = rings.settle().ok().and_then(|size| rings.index_of(size.ring)).unwrap_or(0);
        Self {
            size: rings.size.load(Ordering::Acquire),
            in_use,
            slots: segment.ring(in_use).slots.iter().map(|slot| slot.load(Ordering::Acquire)).collect(),
            records: entries().map(|entry| entry.record.load(Ordering::Acquire)).collect(),
            owners: segment.extents().owners.iter().map(|owner| owner.load(Ordering::Acquire)).collect(),
            pids: entries().map(|entry| entry.pid.load(Ordering::Acquire)).collect(),
        }
    }

    fn judge(&self, segment: &Segment, is_held: &[bool], is_steady: bool) -> Audit {
        let layout = segment.layout();
        let ring = segment.ring(self.in_use);
        let slots: Vec<_> = self.slots.iter().map(|&word| ring.fields.decode(word).ok()).collect();
        let entries: Vec<_> = (0..layout.participants()).map(|index| self.entry(segment, index, is_held)).collect();
        let mut findings = Vec::new();
        let usage = segment.rings().check(self.size).ok().map(|size| size.usage);
        if usage.is_none() {
            findings.push(Finding::GarbledSize(self.size));
        }

        let mut holders: Vec<Vec<Holder>> = vec![Vec::new(); layout.pages as usize];
        for (index, slot) in (0..).zip(&slots) {
            match slot {
                Some(slot) => holders[slot.page as usize].push(Holder::Slot(index)),
                None => findings.push(Finding::GarbledSlot(index)),
            }
        }
        for entry in &entries {
            match entry.page {
                Some(page) if page < layout.pages => holders[page as usize].push(Holder::Entry(entry.index)),
                Some(_) => findings.push(Finding::ImpossiblePage(entry.index)),
                None if entry.is_held => {}
                None => findings.push(Finding::Unresolved(entry.index)),
            }
        }
        // What somebody alive is about to exchange may be on its way.
        let is_in_transit = |page| entries.iter().any(|e| e.is_held && e.page.is_none() && self.names(e.index, page));
        // The pages of slots that no ring has had yet.
        let is_unborn = |page: u32| page >= layout.participants() + self.slots.len() as u32;
        for (page, holders) in (0..).zip(&holders) {
            match holders.len() {
                0 if is_unborn(page) => {}
                0 if !is_in_transit(page) => findings.push(Finding::PageLost(page)),
                0 | 1 => {}
                _ => findings.push(Finding::PageShared(page, holders.clone())),
            }
        }

        let extents = self.extents(&holders);
        judge_extents(&extents, &slots, &entries, &mut findings);
        for (index, slot) in (0..).zip(&slots) {
            if let Some(Slot { page, content: Content::Large { .. }, .. }) = slot {
                let mut header = [0; HEADER_BYTES];
                segment.pages().read(*page, 0, &mut header);
                let extent = LargeHeader::from_bytes(header).extent;
                if !extents.iter().any(|account| account.index == extent && account.page == *page) {
                    findings.push(Finding::LargeWithoutExtent(index));
                }
            }
        }
        // Relaxed: for people to read; nothing depends on it.
        let is_waiting = |side: &Sleepers| {
            side.word.load(Ordering::Relaxed) & WAITING != 0 || side.bell.load(Ordering::Relaxed) & ARMED != 0
        };
        let (readers_wait, writers_wait) =
            (is_waiting(&segment.header().readable.0), is_waiting(&segment.header().writable.0));
        let unread = ring.look_over(segment.extents()).ok().map(|tally| tally.bytes);
        Audit {
            entries,
            usage,
            unread,
            slots,
            extents,
            readers_wait,
            writers_wait,
            findings,
            is_steady,
            settled: 0,
            freed: 0,
        }
    }

    /// How many records of entries that nobody holds were pending `before`, and how many extents belonged to those.
    fn changed_since(&self, before: &Self, is_held: &[bool]) -> (u32, u32) {
        let (mut settled, mut freed) = (0, 0);
        for ((&now, &then), _) in
            self.records.iter().zip(&before.records).zip(is_held).filter(|(_, is_held)| !**is_held)
        {
            let Holding::Settled(page) = Holding::decode(now) else { continue };
            settled += u32::from(now != then);
            freed += before.owners.iter().filter(|&&owner| owner == page.wrapping_add(1)).count() as u32;
        }
        (settled, freed)
    }

    fn entry(&self, segment: &Segment, index: u32, is_held: &[bool]) -> EntryAccount {
        let at = index as usize;
        let holding = Holding::decode(self.records[at]);
        let page = match holding {
            Holding::Settled(page) => Some(page),
            // Of one who lives and stands still, the same sighting tells as of a dead one.
            Holding::Pending { .. } => {
                let record = Record(&segment.entry(index).record);
                let ring = segment.ring(self.in_use);
                page_of_the_dead(record, ring.slots, ring.fields, segment.records())
            }
        };
        let announcement = announcement_of(segment, index);
        EntryAccount {
            index,
            side: if index < segment.layout().geometry.writers { Side::Writer } else { Side::Reader },
            pid: self.pids[at],
            is_held: is_held[at],
            is_pending: matches!(holding, Holding::Pending { .. }),
            page,
            holding,
            is_leaving: announcement.is_leaving(),
            is_resizing: announcement.is_resizing(),
            // Relaxed: for people to read.
            is_marked_at_death: Owner(segment.entry(index).owner.load(Ordering::Relaxed)).is_marked_at_death(),
        }
    }

    /// Whether the entry's pending record names `page`.
    fn names(&self, entry: u32, page: u32) -> bool {
        match Holding::decode(self.records[entry as usize]) {
            Holding::Settled(_) => false,
            Holding::Pending { offered, expected } => page == offered || page == expected,
        }
    }

    fn extents(&self, holders: &[Vec<Holder>]) -> Vec<ExtentAccount> {
        let in_use = (0..).zip(&self.owners).filter(|&(_, &owner)| owner != 0);
        let account = |(index, owner): (u32, &u32)| {
            let page = owner - 1;
            let holder = holders.get(page as usize).and_then(|holders| holders.first().copied());
            ExtentAccount { index, page, holder }
        };
        in_use.map(account).collect()
    }
}

fn judge_extents(
    extents: &[ExtentAccount],
    slots: &[Option<Slot>],
    entries: &[EntryAccount],
    findings: &mut Vec<Finding>,
) {
    for account in extents {
        let is_in_use = match account.holder {
            Some(Holder::Slot(index)) => {
                slots[index as usize].is_some_and(|slot| matches!(slot.content, Content::Large { .. }))
            }
            Some(Holder::Entry(index)) => entries[index as usize].is_held,
            // A page on its way has been found lost already, unless somebody alive has it.
            None => entries.iter().any(|entry| entry.is_held && entry.page.is_none()),
        };
        if !is_in_use {
            findings.push(Finding::ExtentLeaked(*account));
        }
        let of_the_page: Vec<_> = extents.iter().filter(|e| e.page == account.page).map(|e| e.index).collect();
        if of_the_page.len() > 1 && of_the_page[0] == account.index {
            findings.push(Finding::ExtentsOfOnePage(account.page, of_the_page));
        }
    }
}

impl Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |side| self.entries.iter().filter(move |entry| entry.side == side);
        let held = |side| of(side).filter(|entry| entry.is_held).count();
        writeln!(
            f,
            "{} of {} slots full{}, {} of {} writers{}, {} of {} readers{}, {} extents in use{}",
            self.full_slots(),
            self.usage.map_or("?".to_owned(), |usage| usage.to_string()),
            match self.usage {
                Some(usage) if usage as usize == self.slots.len() => String::new(),
                _ => format!(" (in a ring of {})", self.slots.len()),
            },
            held(Side::Writer),
            of(Side::Writer).count(),
            if self.writers_wait { " (waiting)" } else { "" },
            held(Side::Reader),
            of(Side::Reader).count(),
            if self.readers_wait { " (waiting)" } else { "" },
            self.extents.len(),
            if self.is_steady { "" } else { "; others were active, so this is not one moment" },
        )?;
        writeln!(f, "{:>6} {:>8}  {:<24} {:>6}", "slot", "lap", "holds", "page")?;
        for (index, slot) in self.slots.iter().enumerate() {
            match slot {
                Some(slot) if slot.content == Content::Empty => {}
                Some(slot) => {
                    writeln!(f, "{index:>6} {:>8}  {:<24} {:>6}", slot.lap, name_of(slot.content), slot.page)?
                }
                None => writeln!(f, "{index:>6} {:>8}  {:<24} {:>6}", "?", "garbled", "?")?,
            }
        }
        writeln!(f, "{:>6} {:>8}  {:<24} {:>6}", "entry", "pid", "is", "page")?;
        for entry in self.entries.iter().filter(|entry| entry.is_held || entry.is_pending) {
            let page = entry.page.map_or("?".to_owned(), |page| page.to_string());
            writeln!(f, "{:>6} {:>8}  {:<24} {page:>6}", entry.index, entry.pid, state_of(entry))?;
        }
        writeln!(f, "{:>6} {:>8}  {:<24} {:>6}", "extent", "", "held by", "page")?;
        for extent in &self.extents {
            let holder = extent.holder.map_or("nobody".to_owned(), |holder| holder.to_string());
            writeln!(f, "{:>6} {:>8}  {holder:<24} {:>6}", extent.index, "", extent.page)?;
        }
        for finding in &self.findings {
            writeln!(f, "must not be: {finding}")?;
        }
        Ok(())
    }
}

fn name_of(content: Content) -> String {
    match content {
        Content::Empty => "nothing".to_owned(),
        Content::Stream(span) => format!("stream of {}", span.len()),
        Content::Packet(span) => format!("packet of {}", span.len()),
        Content::Large { consumed: 0 } => "large packet".to_owned(),
        Content::Large { consumed } => format!("large packet from {consumed}"),
    }
}

fn state_of(entry: &EntryAccount) -> String {
    let side = match entry.side {
        Side::Writer => "writer",
        Side::Reader => "reader",
    };
    let state = match entry {
        EntryAccount { is_held: false, .. } => ", dead, not settled",
        EntryAccount { pid: 0, .. } => ", being handed over",
        EntryAccount { is_pending: true, .. } => ", exchanging",
        _ => "",
    };
    format!("{side}{state}")
}

impl Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(index) => write!(f, "slot {index}"),
            Self::Entry(index) => write!(f, "entry {index}"),
        }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PageLost(page) => write!(f, "nobody holds page {page}"),
            Self::PageShared(page, holders) => {
                let holders: Vec<_> = holders.iter().map(Holder::to_string).collect();
                write!(f, "page {page} is held by {}", holders.join(" and "))
            }
            Self::Unresolved(entry) => write!(f, "entry {entry} is dead, and which page it holds cannot be told"),
            Self::ImpossiblePage(entry) => write!(f, "entry {entry} holds a page that there is not"),
            Self::GarbledSlot(slot) => write!(f, "slot {slot} is garbled"),
            Self::GarbledSize(word) => write!(f, "the size is garbled: {word:#x}"),
            Self::LargeWithoutExtent(slot) => {
                write!(f, "slot {slot} has a large packet whose extent is another page's")
            }
            Self::ExtentLeaked(extent) => write!(f, "extent {} belongs to page {} in vain", extent.index, extent.page),
            Self::ExtentsOfOnePage(page, extents) => write!(f, "page {page} has the extents {extents:?}"),
        }
    }
}
