//! Calls that wait, on a kernel pipe and on ours: what they return when other processes have let them go on. Whoever waits is a process of its own.
//!
//! Nothing sleeps here: who waits for a call to block looks at the pipe and at what the kernel says of its thread.

use std::io::{ErrorKind, PipeReader, Read, Write};

use ppipe::Readiness;
use rustix::io::fcntl_dupfd_cloexec;
use shm_ring::rely_on_wakes;

mod actors;
mod again;
mod both;
mod name;

use actors::{Actor, Beds, Call, Flag, Side, Stage};
use both::{BOTH, SLOT, System};

/// How many wait at once.
const CROWDS: [usize; 6] = [1, 2, 5, 10, 27, 100];

#[test]
fn child_process() {
    actors::play(|| ());
}

/// A stage of so many slots on each system.
fn stages(what: &'static str, slots: usize) -> impl Iterator<Item = Stage> {
    rely_on_wakes();
    BOTH.into_iter().map(move |system: &dyn System| Stage::new(system, what, slots))
}

/// The same, and ours once more where those who wait do so as if they had for long.
fn stages_and_bells(what: &'static str, slots: usize) -> impl Iterator<Item = Stage> {
    stages(what, slots).chain([BOTH[1]].map(move |ours| Stage::with_beds(ours, what, slots, Beds::Bells)))
}

/// One who sleeps in a write of so many bytes, for which there is room in part.
fn asleep_in_a_write(stage: &Stage, len: usize, flags: &[Flag]) -> Actor {
    let mut writer = stage.actor(Side::Writer);
    writer.keep_a_duplicate();
    flags.iter().for_each(|&flag| writer.set(flag));
    writer.fall_asleep_in(Call::Write(b'w', len));
    writer
}

#[test]
fn a_blocked_write_of_three_packets_goes_on_though_each_is_read_only_in_part() {
    for mut stage in stages_and_bells("packets", 1) {
        let mut writer = asleep_in_a_write(&stage, 9000, &[Flag::Packets]);
        for _ in 0..3 {
            assert_eq!(stage.reader().read(&mut [0; 5]).expect("a packet"), 5, "{}", stage.whose());
        }
        assert_eq!(writer.count(), Ok(9000), "{}", stage.whose());
    }
}

#[test]
fn a_blocked_write_returns_all_of_it_when_there_is_room_for_its_rest() {
    for mut stage in stages_and_bells("room", 2) {
        let whose = stage.whose();
        assert_eq!(stage.writer().write(&[1; SLOT]).expect("room"), SLOT, "{whose}");
        assert_eq!(stage.writer().readiness(), Readiness::WRITABLE, "{whose}: though not for two slots");
        let mut writer = asleep_in_a_write(&stage, 2 * SLOT, &[]);
        assert!(stage.is_full(), "{whose}");
        assert_eq!(stage.writer().readiness(), Readiness::empty(), "{whose}");
        let mut bytes = [0; 2 * SLOT];
        assert_eq!(stage.reader().read(&mut bytes).expect("two slots"), 2 * SLOT, "{whose}");
        assert_eq!((bytes[SLOT - 1], bytes[SLOT]), (1, b'w'), "{whose}");
        assert_eq!(writer.count(), Ok(2 * SLOT), "{whose}");
        assert_eq!(stage.reader().read(&mut bytes).expect("the rest"), SLOT, "{whose}");
    }
}

#[test]
fn one_write_wakes_as_many_readers_as_it_has_bytes_for() {
    for mut stage in stages_and_bells("chain", 1) {
        let mut readers = stage.actors(Side::Reader, 5);
        readers.iter_mut().for_each(|reader| reader.fall_asleep_in(Call::Read(1)));
        assert_eq!(stage.writer().write(b"abcde").expect("room"), 5, "{}", stage.whose());
        let mut all: Vec<_> = readers.iter_mut().map(Actor::outcome).collect();
        all.sort_unstable();
        assert_eq!(all, b"abcde".map(|letter| Ok((1, letter))), "{}", stage.whose());
    }
}

#[test]
fn each_write_wakes_the_reader_that_has_slept_longest() {
    for mut stage in stages("in-order", 16) {
        let mut readers = stage.actors(Side::Reader, 4);
        readers.iter_mut().for_each(|reader| reader.fall_asleep_in(Call::Read(1)));
        for number in 0..readers.len() {
            assert_eq!(stage.writer().write(&[number as u8]).expect("room"), 1);
            assert_eq!(readers[number].outcome(), Ok((1, number as u8)), "{}", stage.whose());
            readers[number + 1..].iter_mut().for_each(Actor::wait_until_asleep);
        }
    }
}

#[test]
fn one_write_ends_the_polls_of_all() {
    for mut stage in stages_and_bells("polls", 16) {
        let mut readers = stage.actors(Side::Reader, 3);
        readers.iter_mut().for_each(|reader| reader.fall_asleep_in(Call::Poll(1)));
        assert_eq!(stage.writer().write(b"w").expect("room"), 1);
        readers.iter_mut().for_each(|reader| assert_eq!(reader.count(), Ok(1), "{}", stage.whose()));
    }
}

#[test]
fn one_write_wakes_one_who_reads_and_one_who_polls() {
    for mut stage in stages_and_bells("polls-and-reads", 16) {
        let mut both = stage.actors(Side::Reader, 2);
        // Who polls has slept longer, and would be woken first.
        both[0].fall_asleep_in(Call::Poll(1));
        both[1].fall_asleep_in(Call::Read(1));
        assert_eq!(stage.writer().write(b"a").expect("room"), 1);
        assert_eq!(both[1].outcome(), Ok((1, b'a')), "{}", stage.whose());
        // The other one may have seen it or not.
        assert_eq!(stage.writer().write(b"b").expect("room"), 1);
        assert_eq!(both[0].count(), Ok(1), "{}", stage.whose());
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
    for mut stage in stages_and_bells("letters", 2) {
        let mut writers = stage.actors(Side::Writer, WRITERS.len());
        let letters = writers.iter_mut().zip(WRITERS);
        letters.for_each(|(writer, letter)| writer.fall_asleep_in(Call::Write(letter, LONG)));
        let mut bytes = vec![0; WRITERS.len() * LONG];
        stage.reader().read_exact(&mut bytes).expect("writers");
        writers.iter_mut().for_each(|writer| assert_eq!(writer.count(), Ok(LONG), "{}", stage.whose()));
        assert_eq!(judge_of_letters(&bytes), Ok(()), "{}", stage.whose());
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

#[test]
fn a_write_that_is_broken_while_it_sleeps_returns_what_went_in() {
    for mut stage in stages_and_bells("broken", 2) {
        let mut writer = asleep_in_a_write(&stage, 20_000, &[]);
        assert!(stage.is_full(), "{}", stage.whose());
        stage.close_reader();
        assert_eq!(writer.count(), Ok(2 * SLOT), "{}", stage.whose());
        assert_eq!(writer.does(Call::Write(b'w', 1)), Err(ErrorKind::BrokenPipe), "{}", stage.whose());
    }
}

#[test]
fn a_packet_flag_that_is_set_while_a_write_sleeps_holds_for_the_rest_of_it() {
    for mut stage in stages_and_bells("flag", 2) {
        let whose = stage.whose();
        let mut writer = asleep_in_a_write(&stage, 4 * SLOT, &[]);
        writer.set(Flag::Packets);
        let mut bytes = [0; 4 * SLOT];
        assert_eq!(stage.reader().read(&mut bytes[..2 * SLOT]).expect("stream"), 2 * SLOT, "{whose}");
        assert_eq!(writer.count(), Ok(4 * SLOT), "{whose}");
        for _ in 0..2 {
            assert_eq!(stage.reader().read(&mut bytes).expect("a packet"), SLOT, "{whose}");
        }
    }
}

#[test]
fn a_write_that_sleeps_does_not_sleep_again_after_it_has_been_made_nonblocking() {
    for mut stage in stages("nonblocking", 2) {
        let mut writer = asleep_in_a_write(&stage, 5 * SLOT, &[]);
        writer.set(Flag::Nonblocking);
        assert_eq!(stage.reader().read(&mut [0; SLOT]).expect("a slot"), SLOT);
        assert_eq!(writer.count(), Ok(3 * SLOT), "{}: two, and the one that was free", stage.whose());
        assert_eq!(writer.does(Call::Write(b'w', 1)), Err(ErrorKind::WouldBlock), "{}", stage.whose());
    }
}

#[test]
fn in_the_midst_of_a_read_of_several_slots_the_kernel_lets_no_writer_look_and_ours_does() {
    for mut stage in stages("midst", 2) {
        let mut writer = asleep_in_a_write(&stage, 5 * SLOT, &[]);
        writer.set(Flag::Nonblocking);
        assert_eq!(stage.reader().read(&mut [0; 2 * SLOT]).expect("two slots"), 2 * SLOT);
        let written = writer.count().expect("a reader");
        // The named difference: the first slot is free before the second one is.
        let is_right = written == 4 * SLOT || (stage.whose() == "ours" && written == 3 * SLOT);
        assert!(is_right, "{}: {written}", stage.whose());
    }
}

#[test]
fn a_read_that_sleeps_sleeps_on_though_it_has_been_made_nonblocking() {
    for mut stage in stages_and_bells("sleeps-on", 1) {
        let mut reader = stage.actor(Side::Reader);
        reader.keep_a_duplicate();
        reader.fall_asleep_in(Call::Read(5));
        reader.set(Flag::Nonblocking);
        reader.wait_until_asleep();
        assert_eq!(stage.writer().write(b"abc").expect("room"), 3);
        assert_eq!(reader.outcome(), Ok((3, b'a')), "{}", stage.whose());
        assert_eq!(reader.does(Call::Read(5)), Err(ErrorKind::WouldBlock), "{}: the next one", stage.whose());
    }
}

#[test]
fn all_writers_that_sleep_hear_that_the_last_reader_has_gone() {
    for count in CROWDS {
        for mut stage in stages_and_bells("no-reader", 1) {
            stage.fill();
            let mut writers = stage.actors(Side::Writer, count);
            writers.iter_mut().for_each(|writer| writer.fall_asleep_in(Call::Write(b'w', 1)));
            stage.close_reader();
            let heard = writers.iter_mut().all(|writer| writer.count() == Err(ErrorKind::BrokenPipe));
            assert!(heard, "{}, {count}", stage.whose());
        }
    }
}

#[test]
fn all_readers_that_sleep_hear_that_the_last_writer_has_gone() {
    for count in CROWDS {
        for mut stage in stages_and_bells("no-writer", 1) {
            let mut readers = stage.actors(Side::Reader, count);
            readers.iter_mut().for_each(|reader| reader.fall_asleep_in(Call::Read(1)));
            stage.close_writer();
            let heard = readers.iter_mut().all(|reader| reader.count() == Ok(0));
            assert!(heard, "{}, {count}", stage.whose());
        }
    }
}

#[test]
fn all_writers_for_whom_there_is_room_go_on_when_a_full_pipe_grows() {
    for (count, slots) in [(1, 2), (3, 16)] {
        for is_by_reader in [false, true] {
            for mut stage in stages_and_bells("grows", 1) {
                stage.fill();
                let mut writers = stage.actors(Side::Writer, count);
                writers.iter_mut().for_each(|writer| writer.fall_asleep_in(Call::Write(b'w', 1)));
                let size = slots * SLOT;
                let resized = if is_by_reader { stage.reader().resize(size) } else { stage.writer().resize(size) };
                assert_eq!(resized.expect("a larger size"), size);
                writers.iter_mut().for_each(|writer| assert_eq!(writer.count(), Ok(1), "{}", stage.whose()));
                assert_eq!(stage.reader().unread(), SLOT + count, "{}", stage.whose());
            }
        }
    }
}

#[test]
fn two_tokens_go_round_among_eight_through_two_slots_and_nobody_is_stranded() {
    const EACH: usize = 100_000;
    for mut stage in stages("tokens", 2) {
        assert_eq!(stage.writer().write(b"AB").expect("room"), 2);
        let mut all = stage.actors(Side::Reader, 8);
        all.iter_mut().for_each(|actor| actor.begin(Call::PassOn(EACH)));
        all.iter_mut().for_each(|actor| assert_eq!(actor.count(), Ok(EACH), "{}", stage.whose()));
        assert_eq!(stage.reader().unread(), 2, "{}", stage.whose());
        let mut left = [0; 3];
        assert_eq!(stage.reader().read(&mut left).expect("tokens"), 2);
        left.sort_unstable();
        assert_eq!(&left, b"\0AB", "{}", stage.whose());
    }
}

#[test]
fn who_waits_to_write_goes_on_when_a_reader_comes_and_also_if_it_has_gone_already() {
    for system in BOTH {
        for does_reader_stay in [true, false] {
            let stage = Stage::without_ends(system, "meets", 16, Beds::Words);
            let mut writer = stage.newcomer(Side::Writer);
            writer.fall_asleep_in(Call::Open);
            let reader = system.open_reader(&stage.name.0, 16, both::Opening::Nonblocking).expect("it needs nobody");
            let (staying, leaving) = if does_reader_stay { (Some(reader), None) } else { (None, Some(reader)) };
            again::close(leaving);
            assert_eq!(writer.count(), Ok(0), "{}: it has met a reader", system.whose());
            let expected = if staying.is_some() { Ok(1) } else { Err(ErrorKind::BrokenPipe) };
            assert_eq!(writer.does(Call::Write(b'w', 1)), expected, "{}", system.whose());
        }
    }
}

/// What the tests below rely on: a pipe of the kernel has no reader left when that is closed here, though a child was started just before. The
/// child closes many descriptors before that one, and needs time for them.
#[test]
fn a_child_that_has_been_started_keeps_nothing_open() {
    for _ in 0..20 {
        let (first, mut writer) = std::io::pipe().expect("a pipe of the kernel");
        let reader = PipeReader::from(fcntl_dupfd_cloexec(&first, 900).expect("a descriptor"));
        drop(first);
        let _others: Vec<_> = (0..300).map(|_| writer.try_clone().expect("a descriptor")).collect();
        let _child = again::Ward::start(std::process::Command::new("true"));
        again::close(reader);
        assert_eq!(writer.write(b"w").expect_err("nobody reads").kind(), ErrorKind::BrokenPipe);
    }
}

/// What the first write of a writer that does not wait says after its reader was killed, in `call` or doing nothing.
fn first_write_to_the_dead(mut stage: Stage, call: Option<Call>) -> ErrorKind {
    let mut reader = stage.actor(Side::Reader);
    stage.close_reader();
    // Whoever has left, the writer knows of it.
    assert_eq!(stage.writer().write(b"w").expect("room"), 1);
    assert_eq!(reader.does(Call::Read(1)), Ok(1));
    if let Some(call) = call {
        reader.fall_asleep_in(call);
    }
    reader.ward.kill();
    stage.writer().set_nonblocking(true);
    let whose = stage.whose();
    let written = stage.writer().write(&[7; SLOT]);
    let error = written.expect_err(&format!("{whose}, in {call:?}: nobody reads"));
    assert_eq!(stage.writer().readiness() & Readiness::BROKEN, Readiness::BROKEN);
    error.kind()
}

#[test]
fn the_first_write_after_the_last_reader_was_killed_finds_a_broken_pipe() {
    for call in [None, Some(Call::Read(1))] {
        for stage in stages_and_bells("killed", 16) {
            let whose = stage.whose();
            assert_eq!(first_write_to_the_dead(stage, call), ErrorKind::BrokenPipe, "{whose}, in {call:?}");
        }
    }
}

#[test]
fn the_last_writer_that_is_killed_is_the_end_of_file() {
    for mut stage in stages_and_bells("killed-writer", 16) {
        let mut writer = stage.actor(Side::Writer);
        stage.close_writer();
        assert_eq!(writer.does(Call::Write(b'w', 3)), Ok(3));
        writer.ward.kill();
        let mut bytes = [0; 9];
        let reads = [(); 3].map(|()| stage.reader().read(&mut bytes).map_err(|error| error.kind()));
        assert_eq!(reads, [Ok(3), Ok(0), Ok(0)], "{}", stage.whose());
        assert_eq!(stage.reader().readiness(), Readiness::HUNG_UP, "{}", stage.whose());
    }
}
