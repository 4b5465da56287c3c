//! Threads of one process on one segment. What arrives is checked in any run; under ThreadSanitizer (`just tsan`) also that whoever writes to
//! a page, or reads what it owns, is ordered behind all the others. That sees no other process, no fence, and no guess that is thrown away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use shm_ring::writer_end::Kind;
use shm_ring::{Content, Geometry, Miss, ReaderEnd, Segment, WriterEnd};

const WRITERS: u32 = 2;
const READERS: u32 = 2;
const EACH: u32 = 2000;

fn segment() -> Arc<Segment> {
    let geometry = Geometry {
        slot_size: 256,
        ring_size: 4,
        max_ring_size: 4,
        writers: WRITERS,
        readers: READERS,
        is_signed: false,
        first_position: 0,
    };
    Arc::new(Segment::anonymous(geometry).expect("a segment"))
}

/// Message `number` of `writer`, the same in each of its words.
fn message(writer: u32, number: u32) -> Vec<u8> {
    (writer << 24 | number).to_le_bytes().repeat(1 + (number % 60) as usize)
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

fn write_all(segment: Arc<Segment>, name: u32, kind: Kind) {
    let mut writer = WriterEnd::join(segment).expect("a place");
    for number in 0..EACH {
        let bytes =
            if kind == Kind::Packet { message(name, number) } else { (name << 24 | number).to_le_bytes().into() };
        while !written(&mut writer, kind, &bytes) {
            thread::yield_now();
        }
    }
}

fn written(writer: &mut WriterEnd, kind: Kind, bytes: &[u8]) -> bool {
    if kind == Kind::Stream
        && let Some(merge) = writer.begin_merge(bytes.len())
    {
        writer.fill_merge(&merge, 0, bytes);
        return writer.merge(merge, bytes.len()).is_ok();
    }
    writer.fill(0, bytes);
    match writer.publish(kind, bytes.len()) {
        Ok(()) => true,
        Err(Miss::Full | Miss::Lost) => false,
        Err(miss) => panic!("{miss:?}"),
    }
}

/// Everything, with where it stood.
fn read_all(segment: Arc<Segment>, is_over: &AtomicBool) -> Vec<(u64, Vec<u8>)> {
    let mut reader = ReaderEnd::join(segment).expect("a place");
    let mut received = Vec::new();
    loop {
        let was_over = is_over.load(Ordering::Acquire);
        let seen = match reader.front() {
            Ok(seen) => seen,
            Err(Miss::Empty) if was_over => return received,
            Err(Miss::Empty | Miss::Lost) => {
                thread::yield_now();
                continue;
            }
            Err(miss) => panic!("{miss:?}"),
        };
        if reader.take(&seen).is_ok() {
            let (Content::Stream(span) | Content::Packet(span)) = seen.content() else { panic!("{seen:?}") };
            let mut bytes = vec![0; span.len()];
            reader.read(span.start as usize, &mut bytes);
            received.push((seen.position(), bytes));
        }
    }
}

fn everything_arrives_once_and_in_order(kind: Kind) {
    let (segment, is_over) = (segment(), AtomicBool::new(false));
    let mut received = thread::scope(|scope| {
        let join = || Arc::clone(&segment);
        let writers: Vec<_> = (0..WRITERS)
            .map(|name| (name, join()))
            .map(|(name, at)| scope.spawn(move || write_all(at, name, kind)))
            .collect();
        let readers: Vec<_> = (0..READERS).map(|_| join()).map(|at| scope.spawn(|| read_all(at, &is_over))).collect();
        writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
        is_over.store(true, Ordering::Release);
        readers.into_iter().flat_map(|reader| reader.join().expect("a reader")).collect::<Vec<_>>()
    });
    received.sort();
    for name in 0..WRITERS {
        let of_writer = |bytes: &[u8]| word(&bytes[..4]) >> 24 == name;
        let numbers: Vec<u32> = match kind {
            Kind::Packet => {
                let its = received.iter().filter(|(_, bytes)| of_writer(bytes));
                its.map(|(_, bytes)| {
                    let number = word(&bytes[..4]) & 0xff_ffff;
                    assert_eq!(*bytes, message(name, number), "torn");
                    number
                })
                .collect()
            }
            _ => {
                let words = received.iter().flat_map(|(_, bytes)| bytes.chunks(4));
                words.filter(|bytes| of_writer(bytes)).map(|bytes| word(bytes) & 0xff_ffff).collect()
            }
        };
        assert_eq!(numbers, (0..EACH).collect::<Vec<_>>(), "what writer {name} has written");
    }
}

#[test]
fn packets_of_two_threads_arrive_at_two_threads_once_and_in_order() {
    everything_arrives_once_and_in_order(Kind::Packet);
}

#[test]
fn stream_bytes_of_two_threads_arrive_at_two_threads_once_and_in_order() {
    everything_arrives_once_and_in_order(Kind::Stream);
}

/// A page is written to by one who does not own it. Run by `just tsan` alone, which expects it to be reported.
#[test]
#[ignore = "a race on purpose: only for a run under ThreadSanitizer, which must report it"]
fn a_page_that_another_one_writes_to_is_reported() {
    let segment = segment();
    let mut writer = WriterEnd::join(Arc::clone(&segment)).expect("a place");
    let mut reader = ReaderEnd::join(Arc::clone(&segment)).expect("a place");
    let (page, has_read) = (AtomicU32::new(u32::MAX), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !has_read.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            segment.pages().write(page.load(Ordering::Relaxed), 0, &[7; 100]);
        });
        writer.fill(0, &[1; 100]);
        writer.publish(Kind::Packet, 100).expect("room");
        let seen = reader.front().expect("a packet");
        page.store(seen.page(), Ordering::Relaxed);
        reader.take(&seen).expect("nobody else");
        reader.read(0, &mut [0; 100]);
        has_read.store(true, Ordering::Relaxed);
    });
}
