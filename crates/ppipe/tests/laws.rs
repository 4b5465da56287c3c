//! What Linux does with its pipes and FIFOs where ends come and go and sizes change, on a kernel pipe and on ours. Everybody is a thread of this
//! process, and no child is started: one would have copies of our descriptors until it runs a program of its own, and what has been closed would
//! not be closed yet. For those who wait see `blocking.rs`.
//!
//! No sleep of ours has a bound, so that a wake that is lost is seen.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use ppipe::Readiness;
use rustix::io::Errno;
use shm_ring::rely_on_wakes;

mod both;
mod name;
mod record;

use both::{BOTH, Opening, Reading, SLOT, Writing};
use record::{Record, account};

/// Nothing here takes a minute; what takes so long hangs.
const WATCHDOG: Duration = Duration::from_secs(600);

/// Lets all of `members` do `act`, each in a thread of its own. What is returned waits for what they get.
fn in_threads<T: Send + 'static, R: Send + 'static>(
    members: Vec<T>,
    act: impl Fn(T) -> R + Clone + Send + 'static,
) -> impl FnOnce() -> Vec<R> {
    let count = members.len();
    let (giving, results) = mpsc::channel();
    for member in members {
        let (giving, act) = (giving.clone(), act.clone());
        thread::spawn(move || giving.send(act(member)));
    }
    move || {
        drop(giving);
        let mut all = Vec::new();
        loop {
            match results.recv_timeout(WATCHDOG) {
                Ok(result) => all.push(result),
                Err(RecvTimeoutError::Timeout) => panic!("{} of {count} hang", count - all.len()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        assert_eq!(all.len(), count, "somebody has panicked");
        all
    }
}

fn writers(of: &Writing, count: usize) -> Vec<Writing> {
    (0..count).map(|_| of.duplicate()).collect()
}

fn readers(of: &Reading, count: usize) -> Vec<Reading> {
    (0..count).map(|_| of.duplicate()).collect()
}

fn kind(result: io::Result<usize>) -> Result<usize, ErrorKind> {
    result.map_err(|error| error.kind())
}

fn read_a_byte(mut reader: Reading) -> Result<usize, ErrorKind> {
    kind(reader.read(&mut [0]))
}

/// Resizes a pipe without a pause until `is_done`.
fn resize_until(is_done: &AtomicBool, end: &Reading, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    // Relaxed: nothing else is to be seen by it.
    while !is_done.load(Ordering::Relaxed) {
        if let Err(error) = end.resize(SLOT << random.u32(..9)) {
            assert_eq!(error.kind(), ErrorKind::ResourceBusy);
        }
        thread::yield_now();
    }
}

#[test]
fn packets_survive_whatever_size_the_pipe_is_given_meanwhile() {
    rely_on_wakes();
    const EACH: u32 = 10_000;
    for system in BOTH {
        let (reader, writer) = system.pipe(16);
        writer.set_packet_mode(true);
        let is_done = Arc::new(AtomicBool::new(false));
        let sizer = {
            let (end, is_done) = (reader.duplicate(), Arc::clone(&is_done));
            thread::spawn(move || resize_until(&is_done, &end, 1))
        };
        let writing = in_threads((0..2).zip(writers(&writer, 2)).collect(), |(id, mut writer): (u8, Writing)| {
            for number in 0..EACH {
                let len = record::HEADER + (number as usize * 7) % 3000;
                assert_eq!(writer.write(&Record { writer: id, number, len }.bytes()).expect("a reader"), len);
            }
        });
        drop(writer);
        let reading = in_threads(readers(&reader, 2), |mut reader: Reading| {
            let (mut records, mut buffer) = (Vec::new(), [0; SLOT]);
            loop {
                match reader.read(&mut buffer).expect("a packet") {
                    0 => return records,
                    len => records.push(Record::that_is(&buffer[..len]).expect("a whole packet")),
                }
            }
        });
        writing();
        assert_eq!(account(&reading(), 2, EACH), Ok(()), "{}", system.whose());
        is_done.store(true, Ordering::Relaxed);
        sizer.join().expect("no panic");
    }
}

#[test]
fn a_stream_survives_whatever_size_the_pipe_is_given_meanwhile() {
    rely_on_wakes();
    const EACH: usize = 5_000_000;
    /// Number and sum of bytes.
    type Sum = (usize, u64);
    fn add((count, sum): Sum, bytes: &[u8]) -> Sum {
        (count + bytes.len(), sum + bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>())
    }
    fn total(sums: Vec<Sum>) -> Sum {
        sums.into_iter().fold((0, 0), |(count, sum), (other_count, other_sum)| (count + other_count, sum + other_sum))
    }
    for system in BOTH {
        let (reader, writer) = system.pipe(16);
        let is_done = Arc::new(AtomicBool::new(false));
        let sizer = {
            let (end, is_done) = (reader.duplicate(), Arc::clone(&is_done));
            thread::spawn(move || resize_until(&is_done, &end, 2))
        };
        let writing = in_threads((0..2).zip(writers(&writer, 2)).collect(), |(seed, mut writer): (u64, Writing)| {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut sum, mut bytes) = ((0, 0), [0; 20_000]);
            random.fill(&mut bytes);
            while sum.0 < EACH {
                let most = if random.bool() { 100 } else { bytes.len() };
                let start = random.usize(..most);
                let piece = &bytes[start..most];
                writer.write_all(piece).expect("a reader");
                sum = add(sum, piece);
            }
            sum
        });
        drop(writer);
        let reading = in_threads(readers(&reader, 2), |mut reader: Reading| {
            let (mut sum, mut bytes) = ((0, 0), [0; 10_000]);
            loop {
                match reader.read(&mut bytes).expect("bytes") {
                    0 => return sum,
                    len => sum = add(sum, &bytes[..len]),
                }
            }
        });
        assert_eq!(total(writing()), total(reading()), "{}", system.whose());
        is_done.store(true, Ordering::Relaxed);
        sizer.join().expect("no panic");
    }
}

#[test]
fn who_opens_to_write_and_does_not_wait_needs_a_reader() {
    for system in BOTH {
        let name = system.new_name("no-reader");
        let open = || system.open_writer(&name.0, 16, Opening::Nonblocking);
        let number = |result: io::Result<Writing>| result.err().and_then(|error| error.raw_os_error());
        assert_eq!(number(open()), Some(Errno::NXIO.raw_os_error()), "{}", system.whose());
        let reader = system.open_reader(&name.0, 16, Opening::Nonblocking).expect("it needs nobody");
        open().expect("somebody reads");
        drop(reader);
        assert_eq!(number(open()), Some(Errno::NXIO.raw_os_error()), "{}", system.whose());
    }
}

#[test]
fn who_opens_to_read_and_does_not_wait_is_at_the_end_until_a_writer_comes_and_after_it_has_gone() {
    for system in BOTH {
        let name = system.new_name("comes-and-goes");
        let mut reader = system.open_reader(&name.0, 16, Opening::Nonblocking).expect("it needs nobody");
        let mut look = || (reader.readiness(), kind(reader.read(&mut [0])));
        assert_eq!(look(), (Readiness::empty(), Ok(0)), "{}: nobody has been there", system.whose());
        let writer = system.open_writer(&name.0, 16, Opening::Nonblocking).expect("somebody reads");
        assert_eq!(look(), (Readiness::empty(), Err(ErrorKind::WouldBlock)), "{}", system.whose());
        drop(writer);
        assert_eq!(look(), (Readiness::HUNG_UP, Ok(0)), "{}", system.whose());
    }
}

#[test]
fn what_is_unread_goes_with_the_last_one_and_not_with_the_last_writer() {
    for system in BOTH {
        let name = system.new_name("unread");
        let open_reader = || system.open_reader(&name.0, 16, Opening::Nonblocking).expect("it needs nobody");
        let reader = open_reader();
        let mut writer = system.open_writer(&name.0, 16, Opening::Nonblocking).expect("somebody reads");
        assert_eq!(writer.write(b"abcde").expect("room"), 5);
        drop(writer);
        assert_eq!(reader.unread(), 5, "{}", system.whose());
        drop(reader);
        assert_eq!(open_reader().unread(), 0, "{}", system.whose());
    }
}

#[test]
fn the_end_of_file_comes_when_the_last_duplicate_is_closed() {
    for system in BOTH {
        let (reader, writer) = system.pipe(1);
        reader.set_nonblocking(true);
        let duplicate = writer.duplicate();
        drop(writer);
        assert_eq!(read_a_byte(reader.duplicate()), Err(ErrorKind::WouldBlock), "{}", system.whose());
        drop(duplicate);
        assert_eq!(read_a_byte(reader), Ok(0), "{}", system.whose());
    }
}

#[test]
fn duplicates_share_their_flags_and_ends_that_were_opened_apart_do_not() {
    for system in BOTH {
        let name = system.new_name("flags");
        let reader = system.open_reader(&name.0, 16, Opening::Nonblocking).expect("it needs nobody");
        let writer = system.open_writer(&name.0, 16, Opening::Waits).expect("somebody reads");
        let other = system.open_reader(&name.0, 16, Opening::Waits).expect("somebody writes");
        let duplicate = reader.duplicate();
        let flags = || [&reader, &duplicate, &other].map(|end| end.is_nonblocking());
        let whose = system.whose();
        assert_eq!((flags(), writer.is_nonblocking()), ([true, true, false], false), "{whose}");
        duplicate.set_nonblocking(false);
        assert_eq!((flags(), writer.is_nonblocking()), ([false, false, false], false), "{whose}");
        reader.set_nonblocking(true);
        other.set_nonblocking(false);
        assert_eq!((flags(), writer.is_nonblocking()), ([true, true, false], false), "{whose}");
        let both = writer.duplicate();
        both.set_nonblocking(true);
        duplicate.set_nonblocking(false);
        assert_eq!((flags(), writer.is_nonblocking()), ([false, false, false], true), "{whose}");
    }
}
