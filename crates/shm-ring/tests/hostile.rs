//! Whatever a peer writes into the segment, nobody else panics, hangs or leaves the mapping.
//!
//! The scribbler is this very thread, between two calls: what a word says can change at any time anyway, and so every failure
//! can be repeated from its seed (`PPIPE_SEED`).

use std::sync::Arc;

use shm_ring::audit::{Finding, audit};
use shm_ring::holding::Holding;
use shm_ring::slot::{Slot, Span};
use shm_ring::sync::Ordering;
use shm_ring::writer_end::Kind;
use shm_ring::{Bells, Content, Geometry, Miss, ReaderEnd, Segment, WriterEnd};

const SLOT: u32 = 64;

fn ends(ring_size: u32) -> (Arc<Segment>, WriterEnd, ReaderEnd) {
    let geometry = Geometry {
        slot_size: SLOT,
        ring_size,
        max_ring_size: 4 * ring_size,
        writers: 2,
        readers: 2,
        is_signed: false,
        first_position: 0,
    };
    let segment = Arc::new(Segment::anonymous(geometry).expect("a segment"));
    let mut writer = WriterEnd::join(Arc::clone(&segment)).expect("a writer");
    let mut reader = ReaderEnd::join(Arc::clone(&segment)).expect("a reader");
    let (bells_of_reader, bells_of_writer) = Bells::of_two().expect("descriptors");
    reader.participant().hold_bells(bells_of_reader).expect("a lock");
    writer.participant().hold_bells(bells_of_writer).expect("a lock");
    (segment, writer, reader)
}

fn append(writer: &mut WriterEnd, bytes: &[u8]) -> bool {
    let Some(merge) = writer.begin_merge(bytes.len()) else { return false };
    writer.fill_merge(&merge, 0, bytes);
    writer.merge(merge, bytes.len()).is_ok()
}

#[test]
fn a_last_slot_that_has_shrunk_is_merged_with_as_it_is() {
    let (segment, mut writer, mut reader) = ends(4);
    writer.fill(0, b"abcd");
    writer.publish(Kind::Stream, 4).expect("room");
    assert!(append(&mut writer, b"efgh"));
    // The writer now knows that its page begins with what the slot holds. The slot says otherwise.
    let (word, fields) = (&segment.ring(0).slots[0], segment.layout().fields);
    let slot = fields.decode(word.load(Ordering::Relaxed)).expect("as it was written");
    let shrunk = Slot { content: Content::Stream(Span { start: 1, end: 2 }), ..slot };
    word.store(fields.encode(shrunk), Ordering::Relaxed);
    assert!(append(&mut writer, b"xyz"));
    let seen = reader.front().expect("bytes");
    assert_eq!(seen.content(), Content::Stream(Span { start: 1, end: 5 }));
    reader.take(&seen).expect("nobody else");
    let mut out = [0; 4];
    reader.read(1, &mut out);
    assert_eq!(&out, b"bxyz");
}

/// A word that is nearly right, or anything at all.
fn scribble(segment: &Segment, random: &mut fastrand::Rng) {
    let ring = segment.ring(random.usize(..segment.rings().rings.len()));
    let (layout, header) = (segment.layout(), segment.header());
    let slot = &ring.slots[random.usize(..ring.slots.len())];
    let old = slot.load(Ordering::Relaxed);
    let bad = match random.u8(..4) {
        0 => random.u64(..),
        1 => old ^ 1 << random.u32(..64),
        2 => old.wrapping_add(random.u64(..1 << 20)),
        _ => ring.slots[random.usize(..ring.slots.len())].load(Ordering::Relaxed),
    };
    match random.u8(..10) {
        0..=3 => slot.store(bad, Ordering::Relaxed),
        4 => ring.head.store(random.u64(..), Ordering::Relaxed),
        5 => ring.tail.store(random.u64(..), Ordering::Relaxed),
        6 => segment.entry(random.u32(..layout.participants())).record.store(bad, Ordering::Relaxed),
        7 => {
            let side = if random.bool() { &header.readable.0 } else { &header.writable.0 };
            side.bell.store(if random.bool() { bad as u32 } else { random.u32(..4) }, Ordering::Relaxed);
        }
        8 => {
            let size = &header.size.0;
            let old = size.load(Ordering::Relaxed);
            let bad = if random.bool() { bad } else { old ^ 1 << random.u32(..48) };
            size.store(bad, Ordering::Relaxed);
        }
        _ => {
            header.membership.0.writers_changed.store(bad as u32, Ordering::Relaxed);
            let page = random.u32(..layout.pages);
            ring.pages.write(page, 0, &random.u64(..).to_le_bytes());
            let owners = segment.extents().owners;
            owners[random.usize(..owners.len())].store(bad as u32, Ordering::Relaxed);
        }
    }
}

fn use_ends(writer: &mut WriterEnd, reader: &mut ReaderEnd, random: &mut fastrand::Rng) {
    let len = random.usize(1..=SLOT as usize);
    let mut buffer = [0; SLOT as usize];
    match random.u8(..7) {
        6 => {
            _ = writer.participant().resize(random.u32(..20));
            _ = reader.participant().unread();
        }
        0 => {
            writer.fill(0, &buffer[..len]);
            let _ = writer.publish(if random.bool() { Kind::Stream } else { Kind::Packet }, len);
        }
        1 => {
            append(writer, &buffer[..len.min(20)]);
        }
        2 => {
            let large = random.usize(1..=writer.packet_max());
            if let Ok(Some(extent)) = writer.claim_extent(large)
                && let Err((_, extent)) = writer.publish_extent(extent)
            {
                writer.release_extent(extent);
            }
        }
        3 => _ = (writer.is_full(), reader.is_empty()),
        4 => {
            let Ok(seen) = reader.front() else { return };
            if let Content::Stream(span) = seen.content()
                && span.len() > 1
            {
                let first = Span { start: span.start, end: span.start + 1 };
                let peek = reader.peek(&seen, first, &mut buffer);
                let _ = reader.consume(&seen, Content::Stream(Span { start: first.end, end: span.end }), peek);
            }
        }
        _ => {
            let Ok(seen) = reader.front() else { return };
            if reader.take(&seen).is_err() {
                return;
            }
            match seen.content() {
                Content::Stream(span) | Content::Packet(span) => {
                    reader.read(span.start as usize, &mut buffer[..span.len()]);
                }
                Content::Large { consumed } => {
                    if let Ok(header) = reader.large_header() {
                        let unread = header.length.saturating_sub(consumed) as usize;
                        let mut packet = vec![0; unread];
                        reader.read_extent(header, header.length as usize - unread, &mut packet);
                        reader.release_extent(header);
                    }
                }
                Content::Empty => assert_eq!(reader.front().err(), Some(Miss::Empty)),
            }
        }
    }
}

#[test]
fn no_scribbling_makes_an_end_panic_or_run_for_ever() {
    let seeds = match std::env::var("PPIPE_SEED") {
        Ok(seed) => vec![seed.parse().expect("PPIPE_SEED is a number")],
        Err(_) => (0..4000).collect(),
    };
    for seed in seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let (segment, mut writer, mut reader) = ends(1 << random.u32(..5));
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..300 {
                if random.u8(..4) == 0 {
                    scribble(&segment, &mut random);
                }
                use_ends(&mut writer, &mut reader, &mut random);
            }
        }));
        assert!(end.is_ok(), "PPIPE_SEED={seed}");
    }
}

#[test]
fn records_that_wait_for_each_other_in_a_row_do_not_keep_an_audit_busy() {
    let participants = 1024;
    let geometry = Geometry {
        slot_size: 64,
        ring_size: 1024,
        max_ring_size: 1024,
        writers: participants / 2,
        readers: participants / 2,
        is_signed: false,
        first_position: 0,
    };
    let segment = Segment::anonymous(geometry).expect("a segment");
    // Each entry can be settled only when the next one has been, and they are asked from the front.
    let page = |entry| geometry.ring_size + entry;
    for entry in 0..participants - 1 {
        let record = Holding::Pending { offered: page(entry), expected: page(entry + 1) };
        segment.entry(entry).record.store(record.encode(), Ordering::Relaxed);
    }
    let audit = audit(&segment).expect("an audit");
    let unresolved = audit.findings.iter().filter(|finding| matches!(finding, Finding::Unresolved(_))).count();
    assert!((1..participants as usize).contains(&unresolved), "{unresolved} of {participants}");
}

#[test]
fn where_merging_was_left_out_a_full_ring_is_looked_at_again() {
    let (segment, mut writer, mut reader) = ends(16);
    let mut other = WriterEnd::join(segment).expect("room");
    let mut has_been_licensed = false;
    for _ in 0..1000 {
        while let Ok(seen) = reader.front() {
            reader.take(&seen).expect("nobody else");
        }
        // A merge is lost to a reader: for a moment the writer does not merge.
        writer.fill(0, b"x");
        writer.publish(Kind::Stream, 1).expect("room");
        let merge = writer.begin_merge(1).expect("room behind it");
        writer.fill_merge(&merge, 0, b"y");
        let seen = reader.front().expect("a byte");
        reader.take(&seen).expect("nobody else");
        assert_eq!(writer.merge(merge, 1), Err(Miss::Lost));
        // Another one fills the ring meanwhile, but not its last slot.
        for _ in 0..16 {
            other.fill(0, b"z");
            other.publish(Kind::Stream, 1).expect("room");
        }
        if !append(&mut writer, b"y") {
            has_been_licensed = true;
            writer.fill(0, b"y");
            assert_eq!(writer.publish(Kind::Stream, 1), Err(Miss::Lost), "there is room to merge");
            assert!(append(&mut writer, b"y"), "the second time");
        }
    }
    assert!(has_been_licensed, "merging was never left out");
}
