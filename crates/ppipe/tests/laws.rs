//! What Linux does with its pipes and FIFOs where somebody waits, comes or goes, on a kernel pipe and on ours. Everybody is a thread
//! of this process, and no child is started: one would have copies of our descriptors until it runs a program of its own, and what has
//! been closed would not be closed yet.
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
mod party;
mod record;

use both::{BOTH, Opening, Reading, SLOT, Writing};
use party::Party;
use record::{Record, account};

/// Nothing here takes a minute; what takes so long hangs.
const WATCHDOG: Duration = Duration::from_secs(600);
const CROWDS: [usize; 3] = [1, 5, 27];

/// What all of `members` get by `act`, each in a thread of its own; what lets them go on is `happens`, when all of them sleep.
fn asleep_until<T: Send + 'static, R: Send + 'static>(
    members: Vec<T>,
    act: impl Fn(T) -> R + Copy + Send + 'static,
    happens: impl FnOnce(),
) -> Vec<R> {
    let parties: Vec<Arc<Party>> = members.iter().map(|_| Arc::default()).collect();
    let results = in_threads(members.into_iter().zip(parties.clone()).collect(), move |(member, party)| {
        party.act(|| act(member))
    });
    parties.iter().for_each(|party| party.wait_until_blocked(|| true));
    happens();
    results()
}

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

fn write_a_byte(mut writer: Writing) -> Result<usize, ErrorKind> {
    kind(writer.write(&[1]))
}

#[test]
fn all_writers_that_sleep_hear_that_the_last_reader_has_gone() {
    rely_on_wakes();
    for (system, count) in BOTH.into_iter().flat_map(|system| CROWDS.map(|count| (system, count))) {
        let (reader, mut writer) = system.pipe(1);
        assert_eq!(writer.write(&[0; SLOT]).expect("room"), SLOT);
        let written = asleep_until(writers(&writer, count), write_a_byte, || drop(reader));
        assert_eq!(written, vec![Err(ErrorKind::BrokenPipe); count], "{}", system.whose());
    }
}

#[test]
fn all_readers_that_sleep_hear_that_the_last_writer_has_gone() {
    rely_on_wakes();
    for (system, count) in BOTH.into_iter().flat_map(|system| CROWDS.map(|count| (system, count))) {
        let (reader, writer) = system.pipe(1);
        let read = asleep_until(readers(&reader, count), read_a_byte, || drop(writer));
        assert_eq!(read, vec![Ok(0); count], "{}", system.whose());
    }
}

#[test]
fn a_read_that_sleeps_sleeps_on_though_it_has_been_made_nonblocking() {
    rely_on_wakes();
    for system in BOTH {
        let (reader, mut writer) = system.pipe(1);
        let twin = reader.duplicate();
        let read = asleep_until(
            vec![reader],
            |mut reader| kind(reader.read(&mut [0; 5])),
            || {
                twin.set_nonblocking(true);
                // Time for it to wake up, were it woken.
                thread::sleep(Duration::from_millis(100));
                assert_eq!(writer.write(b"abc").expect("room"), 3);
            },
        );
        assert_eq!(read, [Ok(3)], "{}", system.whose());
        assert_eq!(read_a_byte(twin), Err(ErrorKind::WouldBlock), "{}: the next one does not sleep", system.whose());
    }
}

#[test]
fn all_writers_for_whom_there_is_room_go_on_when_a_full_pipe_grows() {
    rely_on_wakes();
    for system in BOTH {
        for (count, slots) in [(1, 2), (3, 16)] {
            for is_by_reader in [false, true] {
                let (reader, mut writer) = system.pipe(1);
                assert_eq!(writer.write(&[0; SLOT]).expect("room"), SLOT);
                let written = asleep_until(writers(&writer, count), write_a_byte, || {
                    let resized = if is_by_reader { reader.resize(slots * SLOT) } else { writer.resize(slots * SLOT) };
                    assert_eq!(resized.expect("a larger size"), slots * SLOT);
                });
                assert_eq!(written, vec![Ok(1); count], "{}", system.whose());
                assert_eq!(reader.unread(), SLOT + count, "{}", system.whose());
            }
        }
    }
}

#[test]
fn two_tokens_go_round_among_eight_through_two_slots_and_nobody_is_stranded() {
    rely_on_wakes();
    const EACH: usize = 100_000;
    for system in BOTH {
        let (mut reader, mut writer) = system.pipe(2);
        assert_eq!(writer.write(b"AB").expect("room"), 2);
        let ends = readers(&reader, 8).into_iter().zip(writers(&writer, 8)).collect();
        let rounds = in_threads(ends, |(mut reader, mut writer): (Reading, Writing)| {
            let mut token = [0];
            let mut has_gone_round = |_| kind(reader.read(&mut token)) == Ok(1) && kind(writer.write(&token)) == Ok(1);
            let rounds = (0..EACH).filter(|&round| has_gone_round(round)).count();
            // With its ends, which are not closed before all are here: who leaves wakes the others.
            (rounds, reader, writer)
        });
        assert!(rounds().iter().all(|&(rounds, ..)| rounds == EACH), "{}", system.whose());
        assert_eq!(reader.unread(), 2, "{}", system.whose());
        let mut left = [0; 3];
        assert_eq!(reader.read(&mut left).expect("tokens"), 2);
        left.sort_unstable();
        assert_eq!(&left, b"\0AB", "{}", system.whose());
    }
}

/// Bytes that one writer of [`WRITERS`] writes by one call.
const LONG: usize = 40_000;
const WRITERS: [u8; 3] = *b"abc";

/// What is wrong with the bytes of writers who each wrote [`LONG`] of one letter by one call: others come in between only where a
/// slot begins.
fn judge_of_letters(bytes: &[u8]) -> Result<(), String> {
    let mut left = WRITERS.map(|letter| (letter, LONG));
    let mut at = 0;
    for run in bytes.chunk_by(|one, next| one == next) {
        let (_, left) = left.iter_mut().find(|(letter, _)| *letter == run[0]).ok_or("a letter that nobody wrote")?;
        *left = left.checked_sub(run.len()).ok_or_else(|| format!("more than {LONG} of one letter at {at}"))?;
        if *left > 0 && !run.len().is_multiple_of(SLOT) {
            return Err(format!("{} of {:?} at {at}, and {left} come later", run.len(), char::from(run[0])));
        }
        at += run.len();
    }
    let is_all = left.iter().all(|&(_, left)| left == 0);
    is_all.then_some(()).ok_or_else(|| format!("missing: {left:?}"))
}

#[test]
fn writes_above_a_slot_are_mixed_only_where_slots_begin() {
    rely_on_wakes();
    for system in BOTH {
        let (mut reader, writer) = system.pipe(2);
        let members = WRITERS.iter().map(|&letter| (letter, writer.duplicate())).collect();
        drop(writer);
        let mut bytes = Vec::new();
        let act = |(letter, mut writer): (u8, Writing)| kind(writer.write(&[letter; LONG]));
        let written = asleep_until(members, act, || {
            reader.read_to_end(&mut bytes).expect("writers");
        });
        assert_eq!(written, [Ok(LONG); 3], "{}", system.whose());
        assert_eq!(judge_of_letters(&bytes), Ok(()), "{}", system.whose());
    }
}

#[test]
fn letters_that_are_mixed_elsewhere_or_missing_are_seen() {
    let whole = WRITERS.map(|letter| vec![letter; LONG]);
    assert_eq!(judge_of_letters(&whole.concat()), Ok(()));
    let [first, second, third] = &whole;
    let cut = |at: usize| [&first[..at], second, &first[at..], third].concat();
    assert_eq!(judge_of_letters(&cut(SLOT)), Ok(()));
    assert!(judge_of_letters(&cut(SLOT + 1)).is_err(), "in the midst of a slot");
    assert!(judge_of_letters(&whole.concat()[1..]).is_err(), "one is lost");
    assert!(judge_of_letters(&[&whole.concat()[..], b"c"].concat()).is_err(), "one came twice");
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
fn who_waits_to_write_goes_on_when_a_reader_comes_and_also_if_it_has_gone_already() {
    rely_on_wakes();
    for system in BOTH {
        for does_reader_stay in [true, false] {
            let name = system.new_name("meets");
            let open = move |name: String| system.open_writer(&name, 16, Opening::Waits);
            let mut staying = None;
            let opened = asleep_until(vec![name.0.clone()], open, || {
                let reader = system.open_reader(&name.0, 16, Opening::Nonblocking).expect("it needs nobody");
                staying = Some(reader).filter(|_| does_reader_stay);
            });
            let written = opened.into_iter().map(|writer| write_a_byte(writer.expect("it has met a reader")));
            let expected = if does_reader_stay { Ok(1) } else { Err(ErrorKind::BrokenPipe) };
            assert_eq!(written.collect::<Vec<_>>(), [expected], "{}", system.whose());
        }
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
