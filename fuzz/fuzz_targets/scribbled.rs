//! Operations of a writer and a reader while somebody scribbles: whatever the words say, none of them panics or leaves the mapping.
//!
//! Nine bytes a step: what is done, and a number. `crates/shm-ring/tests/hostile.rs` does more of that without a fuzzer.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use shm_ring::sync::Ordering;
use shm_ring::writer_end::Kind;
use shm_ring::{Content, Geometry, ReaderEnd, Segment, WriterEnd};

fuzz_target!(|input: &[u8]| {
    let geometry = Geometry {
        slot_size: 64,
        ring_size: 4,
        max_ring_size: 8,
        writers: 1,
        readers: 1,
        is_signed: false,
        first_position: 0,
    };
    let segment = Arc::new(Segment::anonymous(geometry).expect("a segment"));
    let mut writer = WriterEnd::join(Arc::clone(&segment)).expect("a place");
    let mut reader = ReaderEnd::join(Arc::clone(&segment)).expect("a place");
    for step in input.chunks_exact(9).take(200) {
        let number = u64::from_le_bytes(step[1..].try_into().expect("eight bytes"));
        let len = 1 + (number % 64) as usize;
        let ring = segment.ring((number % 2) as usize);
        match step[0] % 8 {
            0 => ring.slots[(number >> 1) as usize % ring.slots.len()].store(number.rotate_left(7), Ordering::Relaxed),
            1 => segment.entry((number % 2) as u32).record.store(number, Ordering::Relaxed),
            2 => segment.header().size.0.store(number, Ordering::Relaxed),
            3 => ring.slots[0].store(ring.slots[0].load(Ordering::Relaxed) ^ 1 << (number % 64), Ordering::Relaxed),
            4 => {
                writer.fill(0, &[1; 64][..len]);
                _ = writer.publish(if number & 64 == 0 { Kind::Stream } else { Kind::Packet }, len);
            }
            5 => {
                if let Some(merge) = writer.begin_merge(len) {
                    writer.fill_merge(&merge, 0, &[2; 64][..len]);
                    _ = writer.merge(merge, len);
                }
            }
            6 => _ = writer.participant().resize((number % 20) as u32),
            _ => take(&mut reader),
        }
    }
});

fn take(reader: &mut ReaderEnd) {
    let Ok(seen) = reader.front() else { return };
    if reader.take(&seen).is_err() {
        return;
    }
    match seen.content() {
        Content::Stream(span) | Content::Packet(span) => reader.read(span.start as usize, &mut vec![0; span.len()]),
        Content::Large { .. } => {
            if let Ok(header) = reader.large_header() {
                reader.release_extent(header);
            }
        }
        Content::Empty => {}
    }
}
