//! The parts of a message's way, one by one, in one process and one thread: what the instructions cost when every line is
//! in the nearest cache. What the way between two CPUs costs is measured by `ratios`.

use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shm_ring::slot::{Fields, Slot, Span};
use shm_ring::writer_end::Kind;
use shm_ring::{Content, Geometry, ReaderEnd, Segment, WriterEnd};

fn ends() -> (ReaderEnd, WriterEnd) {
    let segment = Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
    let reader = ReaderEnd::join(Arc::clone(&segment)).expect("a reader");
    (reader, WriterEnd::join(segment).expect("a writer"))
}

/// One word and back.
fn descriptor(c: &mut Criterion) {
    let fields = Fields::new(4096, 16, 272).expect("the fields of a default pipe");
    let slot = Slot { lap: 12345, page: 17, content: Content::Packet(Span { start: 0, end: 64 }) };
    let word = fields.encode(slot);
    c.bench_function("descriptor/encode", |b| b.iter(|| black_box(fields).encode(black_box(slot))));
    c.bench_function("descriptor/decode", |b| b.iter(|| black_box(fields).decode(black_box(word))));
}

/// The steps of the ring, without the rules of a pipe above them.
fn ring(c: &mut Criterion) {
    let (mut reader, mut writer) = ends();
    let bytes = [0x5a; 64];
    let mut out = [0; 64];
    c.bench_function("ring/publish and take 64", |b| {
        b.iter(|| {
            writer.fill(0, black_box(&bytes));
            writer.publish(Kind::Packet, bytes.len()).expect("an empty slot");
            let seen = reader.front().expect("a full slot");
            reader.take(&seen).expect("nobody else takes it");
            reader.read(0, black_box(&mut out));
        });
    });

    c.bench_function("ring/merge 64", |b| {
        b.iter(|| {
            let Some(merge) = writer.begin_merge(bytes.len()) else {
                // The page is full, or there is none: once in 64 times.
                if let Ok(seen) = reader.front() {
                    reader.take(&seen).expect("nobody else takes it");
                }
                writer.fill(0, &bytes);
                return writer.publish(Kind::Stream, bytes.len()).expect("an empty slot");
            };
            writer.fill_merge(&merge, 0, black_box(&bytes));
            writer.merge(merge, bytes.len()).expect("nobody else merges");
        });
    });
}

/// The one function that copies, through the loan of a packet that is given up again.
fn copy(c: &mut Criterion) {
    let (_reader, mut writer) = ppipe::pipe().expect("a pipe");
    let mut group = c.benchmark_group("copy");
    for size in [8_usize, 16, 32, 64, 128, 256, 512, 1024, 4096] {
        let bytes = vec![0x5a; size];
        let loan = writer.reserve(size).expect("a page");
        let room = loan.bytes();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &bytes, |b, bytes| {
            b.iter(|| room.copy_from(0, black_box(bytes)));
        });
    }
}

/// The message verbs.
fn messages(c: &mut Criterion) {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let mut group = c.benchmark_group("send and recv");
    for size in [64_usize, 4096, 65536] {
        let bytes = vec![0x5a; size];
        let mut out = vec![0; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &bytes, |b, bytes| {
            b.iter(|| {
                writer.send(black_box(bytes)).expect("an empty pipe");
                reader.recv(black_box(&mut out)).expect("a packet")
            });
        });
    }
}

/// The POSIX verbs.
fn stream(c: &mut Criterion) {
    let (mut reader, mut writer) = ppipe::pipe().expect("a pipe");
    let mut group = c.benchmark_group("write and read");
    for size in [64_usize, 4096, 65536] {
        let bytes = vec![0x5a; size];
        let mut out = vec![0; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &bytes, |b, bytes| {
            b.iter(|| {
                writer.write_all(black_box(bytes)).expect("an empty pipe");
                reader.read(black_box(&mut out)).expect("bytes")
            });
        });
    }
}

/// What a pipe costs before and after.
fn life(c: &mut Criterion) {
    c.bench_function("life/create and drop", |b| b.iter(|| ppipe::pipe().expect("a pipe")));
}

criterion_group! {
    name = parts;
    config = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1)).sample_size(30);
    targets = descriptor, ring, copy, messages, stream, life
}
criterion_main!(parts);
