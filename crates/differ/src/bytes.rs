//! Bytes that tell where they belong, bytes that nobody has written, and files of both.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use rustix::fs::{MemfdFlags, memfd_create};

/// They begin anew after so many, a prime: not where slots do.
const PERIOD: usize = 65_521;
/// No buffer is longer.
pub(crate) const LONGEST: usize = 2 << 20;
/// What is where nothing has been put.
pub(crate) const UNTOUCHED: u8 = 0xa5;
/// What is in a file before something is spliced to it.
const OLD_BYTES: usize = 9000;
/// What there is to be spliced from a file.
pub(crate) const SOURCE_BYTES: usize = 50_001;

static NUMBERED: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..PERIOD + LONGEST).map(|n| n % PERIOD).map(|n| (n ^ n >> 8) as u8).collect());

/// The `len` bytes from number `first` on.
pub(crate) fn numbered(first: usize, len: usize) -> &'static [u8] {
    &NUMBERED[first % PERIOD..][..len]
}

pub(crate) fn empty_file() -> File {
    memfd_create("differ", MemfdFlags::CLOEXEC).expect("memory").into()
}

/// A file to be spliced from.
pub(crate) fn numbered_file() -> File {
    let file = empty_file();
    file.write_all_at(numbered(7, SOURCE_BYTES), 0).expect("memory");
    file
}

/// Puts the same into the file whatever was there, and begins at `place`, be it behind the end.
pub(crate) fn begin_anew(mut file: &File, place: u64) {
    let begun = file.set_len(0).and_then(|()| file.write_all_at(&[UNTOUCHED; OLD_BYTES], 0));
    begun.and_then(|()| file.seek(SeekFrom::Start(place))).expect("memory");
}

/// Where the next byte would come from, or go to.
pub(crate) fn position(mut file: &File) -> usize {
    file.stream_position().expect("a file has a position") as usize
}

/// All of it.
pub(crate) fn whole(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().expect("a file").len() as usize];
    file.read_exact_at(&mut bytes, 0).expect("what is there");
    bytes
}
