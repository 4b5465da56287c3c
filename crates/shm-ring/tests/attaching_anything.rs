//! Whatever a file holds, attaching it ends, and what it says is true of the file: then it can be used, with whatever else is in it.
//!
//! The inputs are made from a real segment: bits turned, numbers replaced by others that are at the edge of something, the checksum forged
//! to fit or not, the file longer or shorter; or anything at all. `PPIPE_SEED` repeats one.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use shm_ring::holding::Holding;
use shm_ring::layout::{Header, VERSION};
use shm_ring::segment::Size;
use shm_ring::sync::Ordering;
use shm_ring::writer_end::Kind;
use shm_ring::{Content, Geometry, ReaderEnd, Segment, WriterEnd};

const INPUTS: u64 = 600;
const HEADER_SIZE: usize = size_of::<Header>();
/// The header's numbers that the checksum covers: where, in its order. The size of the segment comes last and has eight bytes.
const NUMBERS: [usize; 10] = [8, 12, 16, 20, 24, 28, 32, 36, 40, 44];
const SIZE_AT: usize = 48;
const CHECKSUM_AT: usize = 56;

fn image() -> Vec<u8> {
    let geometry = Geometry {
        slot_size: 64,
        ring_size: 4,
        max_ring_size: 8,
        writers: 2,
        readers: 2,
        is_signed: false,
        first_position: 0,
    };
    let segment = Segment::anonymous(geometry).expect("a segment");
    let file = File::from(segment.file().try_clone_to_owned().expect("a descriptor"));
    let mut bytes = vec![0; segment.layout().size as usize];
    file.read_exact_at(&mut bytes, 0).expect("all of it");
    bytes
}

fn forge_checksum(image: &mut [u8]) {
    let numbers = NUMBERS.iter().flat_map(|&at| image[at..at + 4].to_vec());
    let bytes: Vec<u8> = numbers.chain(image[SIZE_AT..SIZE_AT + 8].to_vec()).collect();
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    image[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&hash.to_le_bytes());
}

fn spoil(image: &mut Vec<u8>, random: &mut fastrand::Rng) {
    match random.u8(..8) {
        0 => random.fill(&mut image[..HEADER_SIZE]),
        1 => random.fill(image),
        2 => {
            let len = random.usize(..2 * image.len());
            image.resize(len, random.u8(..));
        }
        3 => {
            // Not what it is, but what it holds.
            let at = random.usize(128..image.len() - 8);
            image[at..at + 8].copy_from_slice(&random.u64(..).to_le_bytes());
        }
        4 | 5 => {
            let at = NUMBERS[random.usize(..NUMBERS.len())];
            let edges = [0, 1, 2, 3, 63, 64, 65, 1 << 16, 1 << 30, 1 << 31, u32::MAX];
            image[at..at + 4].copy_from_slice(&edges[random.usize(..edges.len())].to_le_bytes());
        }
        6 => image[SIZE_AT..SIZE_AT + 8].copy_from_slice(&random.u64(..).to_le_bytes()),
        _ => image[random.usize(..64)] ^= 1 << random.u32(..8),
    }
}

/// Uses what was attached as anybody would: whatever comes of it is an error or bytes.
fn use_it(segment: Segment) {
    let segment = Arc::new(segment);
    for entry in 0..segment.layout().participants() {
        _ = Holding::decode(segment.entry(entry).record.load(Ordering::Relaxed));
    }
    let (Ok(mut writer), Ok(mut reader)) = (WriterEnd::join(Arc::clone(&segment)), ReaderEnd::join(segment)) else {
        return;
    };
    for _ in 0..10 {
        writer.fill(0, b"some");
        _ = writer.publish(Kind::Packet, 4);
        let Ok(seen) = reader.front() else { continue };
        if reader.take(&seen).is_ok()
            && let Content::Stream(span) | Content::Packet(span) = seen.content()
        {
            reader.read(span.start as usize, &mut vec![0; span.len()]);
        }
    }
}

/// How far one input got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Refused,
    Attached,
}

fn try_one(image: &[u8], seed: u64) -> Fate {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut image = image.to_vec();
    for _ in 0..random.u8(1..4) {
        if image.len() > 2 * HEADER_SIZE {
            spoil(&mut image, &mut random);
        }
    }
    if image.len() >= HEADER_SIZE && random.bool() {
        forge_checksum(&mut image);
    }
    let memory = rustix::fs::memfd_create("attaching", rustix::fs::MemfdFlags::CLOEXEC).expect("memory");
    let mut file = File::from(memory);
    file.write_all(&image).expect("room");
    match Segment::attach(file, Size::Trusted) {
        Ok(segment) => {
            assert_eq!(segment.layout().size, image.len() as u64, "it is not as long as it says");
            use_it(segment);
            Fate::Attached
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            Fate::Refused
        }
    }
}

#[test]
fn whatever_a_file_holds_attaching_it_ends_and_what_is_attached_can_be_used() {
    let image = image();
    assert_eq!(image[8..12], VERSION.to_le_bytes(), "the header is not where it is looked for");
    let mut forged = image.clone();
    forge_checksum(&mut forged);
    assert_eq!(forged, image, "the checksum is not what it is taken for");
    let seeds = match std::env::var("PPIPE_SEED") {
        Ok(seed) => vec![seed.parse().expect("PPIPE_SEED is a number")],
        Err(_) => (0..INPUTS).collect(),
    };
    let mut attached = 0;
    for &seed in &seeds {
        match std::panic::catch_unwind(|| try_one(&image, seed)) {
            Ok(fate) => attached += usize::from(fate == Fate::Attached),
            Err(_) => panic!("PPIPE_SEED={seed}"),
        }
    }
    println!("{attached} of {} were attached", seeds.len());
    assert!(seeds.len() == 1 || (20..seeds.len() / 2).contains(&attached), "{attached} of {}", seeds.len());
}
