//! The audit finds every account in order, cleans up behind the dead, and sees each kind of damage that is done on purpose.

use std::os::fd::AsRawFd;
use std::sync::Arc;

use shm_ring::audit::{Audit, Finding, Holder, audit};
use shm_ring::bell::Announcement;
use shm_ring::holding::{Holding, Record};
use shm_ring::slot::Slot;
use shm_ring::sync::Ordering;
use shm_ring::writer_end::Kind;
use shm_ring::{Content, Geometry, ReaderEnd, Segment, WriterEnd};

const SMALL: Geometry = Geometry {
    slot_size: 64,
    ring_size: 4,
    max_ring_size: 8,
    writers: 3,
    readers: 2,
    is_signed: false,
    first_position: 0,
};

fn segment() -> Arc<Segment> {
    Arc::new(Segment::anonymous(SMALL).expect("a segment"))
}

fn taken(segment: &Segment) -> Audit {
    let audit = audit(segment).expect("an audit");
    assert!(audit.is_steady, "{audit}");
    audit
}

fn put(segment: &Segment, entry: u32, holding: Holding) {
    segment.entry(entry).record.store(holding.encode(), Ordering::Relaxed);
}

fn send_large(writer: &mut WriterEnd) {
    let extent = writer.claim_extent(100).expect("memory").expect("a free extent");
    writer.fill_extent(&extent, 0, &[7; 100]);
    writer.publish_extent(extent).expect("room");
}

#[test]
fn a_segment_in_use_is_sound_and_shows_who_holds_what() {
    let segment = segment();
    let mut writer = WriterEnd::join(Arc::clone(&segment)).expect("an entry");
    let mut reader = ReaderEnd::join(Arc::clone(&segment)).expect("an entry");
    writer.publish(Kind::Packet, 8).expect("room");
    writer.publish(Kind::Stream, 9).expect("room");
    send_large(&mut writer);
    let seen = reader.front().expect("a packet");
    reader.take(&seen).expect("nobody else takes it");
    let unsent = writer.claim_extent(65).expect("memory").expect("a free extent");

    let audit = taken(&segment);
    assert!(audit.is_sound(), "{audit}");
    assert_eq!((audit.full_slots(), audit.unread), (2, Some(9 + 100)));
    let held: Vec<_> = audit.held().map(|entry| (entry.index, entry.pid, entry.is_pending)).collect();
    assert_eq!(held, [(0, std::process::id(), false), (3, std::process::id(), false)]);
    let holders: Vec<_> = audit.extents.iter().map(|extent| extent.holder).collect();
    assert_eq!(holders, [Some(Holder::Slot(2)), Some(Holder::Entry(0))]);
    let table = audit.to_string();
    for line in ["2 of 4 slots full, 1 of 3 writers, 1 of 2 readers, 2 extents in use", "stream of 9", "large packet"] {
        assert!(table.contains(line), "no {line:?} in\n{table}");
    }
    assert!(table.contains(&std::process::id().to_string()), "{table}");
    writer.release_extent(unsent);
}

#[test]
fn an_entry_shows_what_its_owner_is_in_the_midst_of() {
    let segment = segment();
    let mut writer = WriterEnd::join(Arc::clone(&segment)).expect("an entry");
    let entry = writer.participant().entry();
    let seen = || taken(&segment).entries[entry as usize];
    let holding = seen().holding;
    assert!(matches!(holding, Holding::Settled(page) if Some(page) == seen().page), "{holding:?}");
    assert!(!seen().is_resizing && !seen().is_leaving && seen().is_marked_at_death);
    let announcement =
        Announcement { record: Record(&segment.entry(entry).record), stirs: &segment.entry(entry).stirs };
    announcement.resize();
    assert!(seen().is_resizing && !seen().is_leaving);
    announcement.end_resizing();
    announcement.leave();
    assert!(!seen().is_resizing && seen().is_leaving);
}

#[test]
fn what_the_dead_left_pending_is_settled_and_their_extents_are_freed() {
    let segment = segment();
    // As a writer leaves it that dies before its exchange, with an extent, and one that dies after its exchange.
    let first_page = segment.layout().first_page_of(0);
    assert_eq!(segment.extents().claim(first_page), Some(0));
    put(&segment, 0, Holding::Pending { offered: first_page, expected: 0 });
    {
        let mut writer = WriterEnd::join(Arc::clone(&segment)).expect("an entry");
        assert_eq!(writer.participant().entry(), 0);
        writer.publish(Kind::Packet, 8).expect("room");
    }
    put(&segment, 0, Holding::Pending { offered: first_page, expected: 0 });
    assert_eq!(segment.extents().claim(0), Some(0));

    let audit = taken(&segment);
    assert!(audit.is_sound(), "{audit}");
    assert_eq!(audit.entries[0].page, Some(0));
    assert_eq!((audit.settled, audit.freed), (1, 1));
    assert!(audit.extents.is_empty(), "{audit}");
}

#[test]
fn a_chain_of_the_dead_is_settled_from_its_end() {
    let segment = segment();
    // Entry 0 put its page 4 in for page 0, then entry 1 its page 5 for page 4; both died before they settled.
    let mut first = WriterEnd::join(Arc::clone(&segment)).expect("an entry");
    let mut second = ReaderEnd::join(Arc::clone(&segment)).expect("an entry");
    let (page_of_first, page_of_second) = (segment.layout().first_page_of(0), segment.layout().first_page_of(3));
    first.publish(Kind::Packet, 8).expect("room");
    let seen = second.front().expect("a packet");
    second.take(&seen).expect("nobody else takes it");
    drop((first, second));
    put(&segment, 0, Holding::Pending { offered: page_of_first, expected: 0 });
    put(&segment, 3, Holding::Pending { offered: page_of_second, expected: page_of_first });

    let audit = taken(&segment);
    assert!(audit.is_sound(), "{audit}");
    assert_eq!((audit.entries[0].page, audit.entries[3].page), (Some(0), Some(page_of_first)));
}

#[test]
fn a_record_that_somebody_tampered_with_is_found() {
    let sound = segment();
    assert_eq!(taken(&sound).findings, []);
    let (own, others) = (sound.layout().first_page_of(1), sound.layout().first_page_of(2));

    put(&sound, 1, Holding::Settled(others));
    let both = vec![Holder::Entry(1), Holder::Entry(2)];
    assert_eq!(taken(&sound).findings, [Finding::PageLost(own), Finding::PageShared(others, both)]);
    put(&sound, 1, Holding::Settled(0));
    let both = vec![Holder::Slot(0), Holder::Entry(1)];
    assert_eq!(taken(&sound).findings, [Finding::PageShared(0, both), Finding::PageLost(own)]);
    put(&sound, 1, Holding::Settled(1000));
    assert_eq!(taken(&sound).findings, [Finding::ImpossiblePage(1), Finding::PageLost(own)]);
    put(&sound, 1, Holding::Pending { offered: own, expected: own });
    let audit = taken(&sound);
    assert_eq!(audit.findings, [Finding::Unresolved(1), Finding::PageLost(own)]);
    assert!(audit.to_string().contains("must not be: entry 1 is dead"), "{audit}");
    put(&sound, 1, Holding::Settled(own));
    assert_eq!(taken(&sound).findings, []);
}

#[test]
fn a_leaked_extent_is_found() {
    let segment = segment();
    assert_eq!(segment.extents().claim(2), Some(0), "for the page of an empty slot");
    let findings = taken(&segment).findings;
    assert!(matches!(findings[..], [Finding::ExtentLeaked(extent)] if extent.page == 2), "{findings:?}");
    segment.extents().release_all_of(2);

    let mut writer = WriterEnd::join(Arc::clone(&segment)).expect("an entry");
    let own = segment.layout().first_page_of(0);
    send_large(&mut writer);
    assert_eq!(taken(&segment).findings, []);
    segment.extents().release_all_of(own);
    assert_eq!(taken(&segment).findings, [Finding::LargeWithoutExtent(0)]);
    assert_eq!((segment.extents().claim(own), segment.extents().claim(own)), (Some(0), Some(1)));
    assert_eq!(taken(&segment).findings, [Finding::ExtentsOfOnePage(own, vec![0, 1])]);
}

#[test]
fn a_garbled_slot_is_found() {
    let segment = segment();
    segment.ring(0).slots[3].store(u64::MAX, Ordering::Relaxed);
    assert_eq!(taken(&segment).findings, [Finding::GarbledSlot(3), Finding::PageLost(3)]);
}

#[test]
fn an_auditor_that_is_stopped_at_an_entry_is_not_taken_for_a_participant() {
    // What it holds while it looks after a dead writer's entry, held for as long as it takes.
    let segment =
        Arc::new(Segment::anonymous(Geometry { writers: 2, readers: 1, ..Geometry::default() }).expect("a segment"));
    let mut reader = ReaderEnd::join(Arc::clone(&segment)).expect("a reader");
    let writer = WriterEnd::join(Arc::clone(&segment)).expect("a writer");
    drop(writer);
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(format!("/proc/self/fd/{}", segment.file().as_raw_fd()))
        .expect("the same file");
    let shared = nix::libc::flock {
        l_type: nix::libc::F_RDLCK as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    };
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_OFD_SETLK(&shared)).expect("nobody has the entry");
    assert!(!reader.participant().ask_for_peers(), "an auditor is no writer");
    let audit = audit(&segment).expect("an answer");
    assert!(audit.is_sound(), "{audit}");
    let second = WriterEnd::join(segment).expect("the other entry");
    assert!(reader.participant().ask_for_peers());
    drop(second);
    assert!(!reader.participant().ask_for_peers());
}

#[test]
fn one_who_joins_cleans_up_behind_the_other_side_if_its_own_waits_for_that() {
    // A writer died behind its exchange, a reader took the page and died there too: the writer's page can be told only when
    // the reader's is known.
    let geometry = Geometry {
        slot_size: 64,
        ring_size: 1,
        max_ring_size: 1,
        writers: 1,
        readers: 2,
        is_signed: false,
        first_position: 0,
    };
    let segment = Arc::new(Segment::anonymous(geometry).expect("a segment"));
    let (writers_page, readers_page, slots_page) = (1, 2, 0);
    let slot = Slot { lap: 1, page: readers_page, content: Content::Empty };
    segment.ring(0).slots[0].store(segment.layout().fields.encode(slot), Ordering::Relaxed);
    let pending = |entry: u32, offered, expected| {
        segment.entry(entry).record.store(Holding::Pending { offered, expected }.encode(), Ordering::Relaxed);
    };
    pending(0, writers_page, slots_page);
    pending(1, readers_page, writers_page);
    let mut writer = WriterEnd::join(Arc::clone(&segment)).expect("the only entry, cleaned up");
    let mut reader = ReaderEnd::join(Arc::clone(&segment)).expect("a reader");
    writer.fill(0, b"x");
    writer.publish(Kind::Packet, 1).expect("room");
    let seen = reader.front().expect("a packet");
    reader.take(&seen).expect("nobody else");
    let audit = audit(&segment).expect("an audit");
    assert!(audit.is_sound(), "{audit}");
}
