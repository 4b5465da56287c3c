//! A file's header, with anything in it: attaching it ends, and what is attached is as long as it says.
//!
//! The input stands in the place of the first bytes of a real segment. `crates/shm-ring/tests/attaching_anything.rs` does the same without
//! a fuzzer, and forges checksums, which no fuzzer guesses.
#![no_main]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};
use shm_ring::segment::Size;
use shm_ring::{Geometry, ReaderEnd, Segment, WriterEnd};

static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
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
    let mut image = vec![0; segment.layout().size as usize];
    file.read_exact_at(&mut image, 0).expect("all of it");
    image
});

fuzz_target!(|input: &[u8]| {
    let mut image = IMAGE.clone();
    // Behind the identity: what it holds. So both are reached: the first byte says which.
    let Some((&which, bytes)) = input.split_first() else { return };
    let at = if which % 2 == 0 { 0 } else { 128 };
    let len = bytes.len().min(image.len() - at);
    image[at..at + len].copy_from_slice(&bytes[..len]);
    let mut file = File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("memory"));
    file.write_all(&image).expect("room");
    if let Ok(segment) = Segment::attach(file, Size::Trusted) {
        assert_eq!(segment.layout().size, image.len() as u64);
        let segment = std::sync::Arc::new(segment);
        if let (Ok(_), Ok(mut reader)) = (WriterEnd::join(std::sync::Arc::clone(&segment)), ReaderEnd::join(segment)) {
            _ = reader.front();
        }
    }
});
