//! Records that tell who wrote them and how many he had written before, and whose every byte tells its place.
//!
//! ```text
//!   writer (1)  number (3)  length of all of it (2)  bytes that depend on all of these and on their place
//! ```
#![allow(dead_code, reason = "not every test file needs all of it")]

use std::collections::{BTreeMap, BTreeSet};

/// No record is shorter.
pub(crate) const HEADER: usize = 6;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) writer: u8,
    pub(crate) number: u32,
    pub(crate) len: usize,
}

/// Bytes that tell their place, also after one that is a slot further on. Made once, and copied and compared as a whole, so that an
/// unoptimized test spends its time with the pipe.
static PLACES: [u8; 1 << 17] = {
    let mut bytes = [0; 1 << 17];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = (at + (at >> 8) + (at >> 12)) as u8;
        at += 1;
    }
    bytes
};

impl Record {
    /// The bytes of it.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let from = (usize::from(self.writer) * 31 + self.number as usize * 7) % 256;
        let mut bytes = PLACES[from..from + self.len].to_vec();
        bytes[0] = self.writer;
        bytes[1..4].copy_from_slice(&self.number.to_le_bytes()[..3]);
        bytes[4..HEADER].copy_from_slice(&(self.len as u16).to_le_bytes());
        bytes
    }

    /// The record that begins with `header`, whatever comes after that.
    fn of_header(header: &[u8; HEADER]) -> Self {
        let [writer, number @ .., low, high] = *header;
        let [first, second, third] = number;
        let number = u32::from_le_bytes([first, second, third, 0]);
        Self { writer, number, len: u16::from_le_bytes([low, high]).into() }
    }

    /// The record that begins at the start of `bytes`, which hold `bytes.len()` bytes of it and of nothing else.
    pub(crate) fn that_begins(bytes: &[u8]) -> Result<Self, String> {
        let header = bytes.first_chunk().ok_or_else(|| format!("{} bytes are less than a header", bytes.len()))?;
        let record = Self::of_header(header);
        if bytes.len() > record.len {
            return Err(format!("{} bytes are more than there are of {record:?}", bytes.len()));
        }
        let expected = record.bytes();
        if bytes == &expected[..bytes.len()] {
            return Ok(record);
        }
        let at = bytes.iter().zip(&expected).position(|(found, expected)| found != expected);
        Err(format!("{record:?} is torn at byte {}", at.unwrap_or_default()))
    }

    /// The record that `bytes` are, whole and with nothing behind it.
    pub(crate) fn that_is(bytes: &[u8]) -> Result<Self, String> {
        let record = Self::that_begins(bytes)?;
        let is_whole = bytes.len() == record.len;
        if is_whole { Ok(record) } else { Err(format!("only {} bytes of {record:?}", bytes.len())) }
    }
}

/// All records of a stream, one after the other.
pub(crate) fn all_of(mut stream: &[u8]) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    while !stream.is_empty() {
        let header = stream.first_chunk().ok_or("the stream ends in the midst of a header")?;
        let len = Record::of_header(header).len;
        // A length that was not written as one is torn too.
        let (bytes, rest) =
            stream.split_at_checked(len.max(HEADER)).ok_or("the stream ends in the midst of a record")?;
        records.push(Record::that_is(bytes)?);
        stream = rest;
    }
    Ok(records)
}

/// What several readers got of `writers` who wrote `each`: everything, once, and what each of them got of one writer in the order in
/// which that one wrote it.
pub(crate) fn account(readers: &[Vec<Record>], writers: u8, each: u32) -> Result<(), String> {
    let mut missing: BTreeSet<_> =
        (0..writers).flat_map(|writer| (0..each).map(move |number| (writer, number))).collect();
    for records in readers {
        let mut last = BTreeMap::new();
        for record in records {
            if !missing.remove(&(record.writer, record.number)) {
                return Err(format!("{record:?} came twice, or was never written"));
            }
            if last.insert(record.writer, record.number).is_some_and(|before| before > record.number) {
                return Err(format!("{record:?} came after a later one"));
            }
        }
    }
    match missing.first() {
        Some(lost) => Err(format!("{} are lost, of which the first is {lost:?}", missing.len())),
        None => Ok(()),
    }
}
