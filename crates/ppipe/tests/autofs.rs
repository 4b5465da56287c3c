//! The kernel's automounter speaks to its daemon in packets whose size the two sides do not agree on: 304 bytes are written, and 300
//! read. In packet mode they stay in step for ever, on a kernel pipe and on ours: what a read does not take is gone, and the next
//! read begins with the next record.

use std::thread;

use shm_ring::rely_on_wakes;

mod both;
mod name;
mod record;

use both::{BOTH, System, WritingEnd};
use record::{Record, account};

const WRITTEN: usize = 304;
const READ: usize = 300;
const RECORDS: u32 = 100_000;

/// Writes `each` records with each of `writers`, and returns what is wrong with what the reads gave.
fn run(system: &dyn System, is_packet: bool, writers: u8, each: u32) -> Result<(), String> {
    let (mut reader, writer) = system.pipe(16);
    writer.set_packet_mode(is_packet);
    let duplicates: Vec<_> = (0..writers).map(|id| (id, writer.duplicate())).collect();
    drop(writer);
    thread::scope(|scope| {
        for (id, mut writer) in duplicates {
            scope.spawn(move || write_all(&mut *writer, id, each));
        }
        // Gone when this returns, so that a run that has failed ends as well.
        let mut reading = || {
            let (mut records, mut buffer) = (Vec::new(), [0; READ]);
            loop {
                let len = reader.read(&mut buffer).expect("a writer");
                match len {
                    0 => return Ok(records),
                    READ => records.push(Record::that_begins(&buffer)?),
                    _ => return Err(format!("a read of {len} bytes")),
                }
            }
        };
        let records: Result<_, String> = reading();
        drop(reader);
        account(&[records?], writers, each)
    })
}

/// Each with a write of its own, as long as somebody reads.
fn write_all(writer: &mut dyn WritingEnd, id: u8, each: u32) {
    for number in 0..each {
        match writer.write(&Record { writer: id, number, len: WRITTEN }.bytes()) {
            Ok(len) => assert_eq!(len, WRITTEN),
            // The reader has seen enough.
            Err(error) => return assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe),
        }
    }
}

#[test]
fn reads_that_are_shorter_than_packets_stay_in_step_with_them() {
    rely_on_wakes();
    for system in BOTH {
        assert_eq!(run(system, true, 1, RECORDS), Ok(()), "{}", system.whose());
    }
}

#[test]
fn reads_stay_in_step_with_many_writers_too() {
    rely_on_wakes();
    for system in BOTH {
        assert_eq!(run(system, true, 5, RECORDS / 5), Ok(()), "{}", system.whose());
    }
}

#[test]
fn reads_that_are_out_of_step_are_seen() {
    rely_on_wakes();
    for system in BOTH {
        // The second read gets the four bytes that the first one left, and what has come behind them.
        assert!(run(system, false, 1, 100).is_err(), "{}: a stream knows no packets", system.whose());
    }
    let torn = [Record { writer: 1, number: 2, len: WRITTEN }, Record { writer: 2, number: 2, len: WRITTEN }];
    let [start, end] = torn.map(Record::bytes);
    assert!(Record::that_begins(&[&start[..200], &end[200..READ]].concat()).is_err());
    assert!(Record::that_begins(&start[..READ]).is_ok());
    assert!(account(&[vec![torn[0]]], 2, 3).is_err(), "five are lost");
}
