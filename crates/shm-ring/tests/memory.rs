//! The memory behind a segment: its size cannot be changed, and what will be needed is there before it is.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;
use shm_ring::segment::{AttachError, Size};
use shm_ring::{Geometry, ReaderEnd, Segment, WriterEnd};

const PAGE: u64 = 4096;

fn file_of(segment: &Segment) -> File {
    File::from(segment.file().try_clone_to_owned().expect("a descriptor"))
}

/// Bytes that have memory behind them.
fn memory(segment: &Segment) -> u64 {
    file_of(segment).metadata().expect("its size").blocks() * 512
}

/// A copy of the segment's file in a memfd with these seals and no others.
fn copy_with(segment: &Segment, seals: SealFlags) -> File {
    let mut copy = File::from(memfd_create("copy", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("a file"));
    let (mut original, mut bytes) = (file_of(segment), Vec::new());
    original.rewind().expect("the start");
    original.read_to_end(&mut bytes).expect("its bytes");
    copy.write_all(&bytes).expect("room");
    fcntl_add_seals(&copy, seals).expect("seals");
    copy
}

#[test]
fn nobody_can_change_the_size_of_an_anonymous_segment() {
    let segment = Segment::anonymous(Geometry::default()).expect("a segment");
    let size = file_of(&segment).metadata().expect("its size").len();
    for wrong in [0, size - PAGE, size + PAGE] {
        assert_eq!(ftruncate(segment.file().as_fd(), wrong), Err(Errno::PERM), "to {wrong} bytes");
    }
}

#[test]
fn where_the_size_has_to_be_sealed_each_seal_is_needed() {
    let segment = Segment::anonymous(Geometry {
        slot_size: 64,
        ring_size: 4,
        max_ring_size: 4,
        writers: 2,
        readers: 2,
        is_signed: false,
        first_position: 0,
    })
    .expect("a segment");
    let all = [SealFlags::SHRINK, SealFlags::GROW, SealFlags::SEAL];
    let complete = all.into_iter().fold(SealFlags::empty(), |set, seal| set | seal);
    Segment::attach(copy_with(&segment, complete), Size::Sealed).expect("all of them are there");
    for missing in all {
        let file = copy_with(&segment, complete - missing);
        let again = file.try_clone().expect("a descriptor");
        let error = Segment::attach(file, Size::Sealed).expect_err("one is missing");
        let says = error.to_string();
        assert!(matches!(error, AttachError::Kind { .. }) && says.contains("without seals"), "{missing:?}: {says}");
        Segment::attach(again, Size::Trusted).expect("nobody asked for seals");
    }
}

#[test]
fn what_a_new_segment_and_a_participant_need_is_there_before_it_is_used() {
    let geometry = Geometry::default();
    let segment = Arc::new(Segment::anonymous(geometry).expect("a segment"));
    let ring = u64::from(geometry.ring_size) * u64::from(geometry.slot_size);
    let when_new = memory(&segment);
    assert!(when_new >= ring, "{when_new} bytes for {ring} in the ring's pages");

    let reader = ReaderEnd::join(Arc::clone(&segment)).expect("an entry");
    let with_reader = memory(&segment);
    assert!(with_reader > when_new, "no memory for the reader's page: {with_reader}");

    let mut writer = WriterEnd::join(Arc::clone(&segment)).expect("an entry");
    let with_writer = memory(&segment);
    assert!(with_writer > with_reader, "no memory for the writer's page: {with_writer}");

    let len = writer.packet_max();
    let extent = writer.claim_extent(len).expect("memory").expect("a free extent");
    let with_extent = memory(&segment);
    assert!(with_extent >= with_writer + len as u64, "no memory for {len} bytes of a packet: {with_extent}");
    writer.release_extent(extent);
    drop(reader);
}

#[test]
fn memory_that_is_taken_makes_no_shortened_file_longer() {
    let file = File::from(memfd_create("segment", MemfdFlags::CLOEXEC).expect("a file"));
    let segment = Arc::new(Segment::in_file(file, Geometry::default()).expect("a segment"));
    let mut writer = WriterEnd::join(Arc::clone(&segment)).expect("an entry");
    ftruncate(segment.file(), PAGE).expect("nobody has sealed it");
    // Each of them takes memory, and none finds any where the file ends.
    let _ = writer.participant().resize(64);
    let _ = writer.claim_extent(writer.packet_max());
    let _ = WriterEnd::join(Arc::clone(&segment));
    assert_eq!(file_of(&segment).metadata().expect("its size").len(), PAGE);
    segment.check_memory().expect_err("it has been shortened");
}
