#![allow(unsafe_code)]
//! Signals end a call that waits as they do with a pipe of the kernel: the same script on both, and whoever waits is a process of its own. Unsafe
//! because handlers are installed, and signals sent to one thread.
//!
//! One signal has to be enough: it is sent when the kernel says that the call sleeps, and no sleep here ends for any other reason. (Where
//! sleeps have a bound a signal can come between two of them, and ends nothing then: a named difference.)

use std::io::{ErrorKind, Read, Write};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use ppipe::Readiness;
use rustix::io::Errno;

mod actors;
mod again;
mod both;
mod name;

use actors::call::HANDLED;
use actors::{Actor, Beds, Call, Flag, Outcome, Side, Stage};
use both::{BOTH, Opening, SLOT};

/// How the two handlers that an actor has want calls to go on.
const ENDS: Signal = Signal::SIGUSR1;
const GOES_ON: Signal = Signal::SIGUSR2;

extern "C" fn say_so(_: libc::c_int) {
    const SAID: &[u8] = b"\nactor: handled\n";
    // SAFETY: the bytes are there for ever, and `write` may be called by a handler.
    unsafe { libc::write(1, SAID.as_ptr().cast(), SAID.len()) };
}

#[test]
fn child_process() {
    actors::play(|| {
        let handled = [(ENDS, SaFlags::empty()), (GOES_ON, SaFlags::SA_RESTART), (Signal::SIGPIPE, SaFlags::empty())];
        for (signal, flags) in handled {
            let action = SigAction::new(SigHandler::Handler(say_so), flags, SigSet::empty());
            // SAFETY: the handler does nothing but write.
            unsafe { sigaction(signal, &action) }.expect("a handler");
        }
    });
}

/// To the thread that does its calls.
fn send(actor: &Actor, signal: Signal) {
    let (process, thread) = (actor.ward.id(), actor.thread());
    // SAFETY: takes three numbers, and the child has not been waited for.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal as libc::c_int) };
    assert_eq!(sent, 0, "it lives");
}

/// Sends one signal, and returns when its handler has run.
fn signal(actor: &mut Actor, signal: Signal) {
    send(actor, signal);
    assert_eq!(actor.hear(), HANDLED);
}

/// What comes of the call of one who sleeps, by one signal.
fn ended(actor: &mut Actor) -> Result<usize, ErrorKind> {
    signal(actor, ENDS);
    actor.count()
}

/// It sleeps on after each of several signals.
fn sleeps_on(actor: &mut Actor) {
    for _ in 0..5 {
        signal(actor, GOES_ON);
        actor.wait_until_asleep();
    }
}

/// A pipe of one slot of each, where those who wait for long do it too.
fn stages(what: &'static str) -> impl Iterator<Item = Stage> {
    let all = BOTH.into_iter().flat_map(|system| [Beds::Words, Beds::Bells].map(|beds| (system, beds)));
    all.map(move |(system, beds)| Stage::with_beds(system, what, 1, beds))
}

fn ours(what: &'static str) -> impl Iterator<Item = Stage> {
    stages(what).filter(|stage| stage.whose() == "ours")
}

#[test]
fn a_call_that_waits_is_ended_by_a_handler_as_in_the_kernel() {
    for mut stage in stages("ended") {
        let what = stage.name.0.clone();
        let (mut reader, mut writer) = (stage.actor(Side::Reader), stage.actor(Side::Writer));
        for call in [Call::Read(10), Call::Poll(1)] {
            reader.fall_asleep_in(call);
            assert_eq!(ended(&mut reader), Err(ErrorKind::Interrupted), "{what}: {call}");
        }
        writer.fall_asleep_in(Call::Write(b'w', 2 * SLOT));
        assert_eq!(ended(&mut writer), Ok(SLOT), "{what}: a part is done, and it tells how much");
        for call in [Call::Write(b'w', 10), Call::Poll(1)] {
            writer.fall_asleep_in(call);
            assert_eq!(ended(&mut writer), Err(ErrorKind::Interrupted), "{what}: {call}");
        }
        assert_eq!(stage.reader().unread(), SLOT, "{what}: nothing else has gone in");
    }
}

#[test]
fn a_call_that_waits_goes_on_after_a_handler_with_sa_restart_as_in_the_kernel() {
    for mut stage in stages("goes-on") {
        let what = stage.name.0.clone();
        let (mut reader, mut writer) = (stage.actor(Side::Reader), stage.actor(Side::Writer));
        reader.fall_asleep_in(Call::Read(10));
        sleeps_on(&mut reader);
        stage.writer().write_all(b"news").expect("room");
        assert_eq!(reader.outcome(), Ok((4, b'n')), "{what}");
        stage.fill();
        writer.fall_asleep_in(Call::Write(b'w', 10));
        sleeps_on(&mut writer);
        stage.reader().read_exact(&mut [0; SLOT]).expect("bytes");
        assert_eq!(writer.count(), Ok(10), "{what}");
    }
}

#[test]
fn a_poll_is_ended_by_a_handler_with_sa_restart_in_the_kernel_and_ours_when_it_waits_at_descriptors() {
    // So many ends, and ours waits at descriptors at once; else after half a second.
    const MANY: usize = 129;
    for mut stage in stages("polls") {
        let what = stage.name.0.clone();
        let mut reader = stage.actor(Side::Reader);
        reader.fall_asleep_in(Call::Poll(1));
        if stage.whose() == "ours" {
            // The named difference.
            sleeps_on(&mut reader);
            stage.writer().write_all(b"n").expect("room");
            assert_eq!(reader.count(), Ok(1), "{what}");
            stage.reader().read_exact(&mut [0]).expect("a byte");
        } else {
            signal(&mut reader, GOES_ON);
            assert_eq!(reader.count(), Err(ErrorKind::Interrupted), "{what}");
        }
        reader.fall_asleep_in(Call::Poll(MANY));
        signal(&mut reader, GOES_ON);
        assert_eq!(reader.count(), Err(ErrorKind::Interrupted), "{what}: {MANY} ends");
    }
}

#[test]
fn messages_and_calls_with_a_time_limit_are_ended_too() {
    for mut stage in ours("messages") {
        let what = stage.name.0.clone();
        let (mut reader, mut writer) = (stage.actor(Side::Reader), stage.actor(Side::Writer));
        for call in [Call::Receive(8), Call::ReadWithin(8)] {
            reader.fall_asleep_in(call);
            assert_eq!(ended(&mut reader), Err(ErrorKind::Interrupted), "{what}: {call}");
        }
        stage.fill();
        writer.fall_asleep_in(Call::Send(8));
        assert_eq!(ended(&mut writer), Err(ErrorKind::Interrupted), "{what}");
        assert_eq!(stage.reader().unread(), SLOT, "{what}: it has not been sent");
    }
}

#[test]
fn with_a_time_limit_sa_restart_counts_for_those_who_have_not_waited_for_long() {
    for mut stage in ours("within") {
        let mut reader = stage.actor(Side::Reader);
        reader.fall_asleep_in(Call::ReadWithin(8));
        if stage.is_at_bells() {
            // The named difference: the system call that has a limit is one that every handler ends.
            signal(&mut reader, GOES_ON);
            assert_eq!(reader.count(), Err(ErrorKind::Interrupted));
        } else {
            sleeps_on(&mut reader);
            stage.writer().write_all(b"news").expect("room");
            assert_eq!(reader.count(), Ok(4));
        }
    }
}

#[test]
fn an_open_that_waits_is_ended_by_a_handler_and_nobody_has_come_as_on_a_fifo() {
    for system in BOTH {
        let whose = system.whose();
        let stage = Stage::without_ends(system, "open", 1, Beds::Words);
        let name = &stage.name.0;
        let mut reader = stage.newcomer(Side::Reader);
        reader.fall_asleep_in(Call::Open);
        assert_eq!(ended(&mut reader), Err(ErrorKind::Interrupted), "{whose}");
        let late = system.open_writer(name, 1, Opening::Nonblocking).err().and_then(|error| error.raw_os_error());
        assert_eq!(late, Some(Errno::NXIO.raw_os_error()), "{whose}: nobody reads");

        let mut writer = stage.newcomer(Side::Writer);
        writer.fall_asleep_in(Call::Open);
        assert_eq!(ended(&mut writer), Err(ErrorKind::Interrupted), "{whose}");
        let mut late = system.open_reader(name, 1, Opening::Nonblocking).expect("it needs nobody");
        let seen = (late.readiness(), late.read(&mut [0]).map_err(|error| error.kind()));
        assert_eq!(seen, (Readiness::empty(), Ok(0)), "{whose}: nobody has been there to write");
        again::close(late);
        if whose == "ours" {
            assert!(stage.name.remains().is_empty(), "the name goes with the last one");
        }
    }
}

#[test]
fn an_open_goes_on_after_a_handler_with_sa_restart_as_in_the_kernel() {
    for system in BOTH {
        let stage = Stage::without_ends(system, "open-goes-on", 1, Beds::Words);
        let mut writer = stage.newcomer(Side::Writer);
        writer.fall_asleep_in(Call::Open);
        sleeps_on(&mut writer);
        let _reader = system.open_reader(&stage.name.0, 1, Opening::Nonblocking).expect("it needs nobody");
        assert_eq!(writer.count(), Ok(0), "{}", system.whose());
        assert_eq!(writer.does(Call::Write(b'w', 1)), Ok(1), "{}", system.whose());
    }
}

#[test]
fn who_is_interrupted_leaves_what_comes_next_to_one_who_sleeps() {
    for mut stage in stages("leaves") {
        let what = stage.name.0.clone();
        let mut readers = stage.actors(Side::Reader, 2);
        readers.iter_mut().for_each(|reader| reader.fall_asleep_in(Call::Read(1)));
        assert_eq!(ended(&mut readers[0]), Err(ErrorKind::Interrupted), "{what}");
        stage.writer().write_all(b"r").expect("room");
        assert_eq!(readers[1].outcome(), Ok((1, b'r')), "{what}");

        stage.fill();
        let mut writers = stage.actors(Side::Writer, 2);
        writers.iter_mut().for_each(|writer| writer.fall_asleep_in(Call::Write(b'w', 1)));
        assert_eq!(ended(&mut writers[0]), Err(ErrorKind::Interrupted), "{what}");
        stage.reader().read_exact(&mut [0; SLOT]).expect("bytes");
        assert_eq!(writers[1].count(), Ok(1), "{what}");
    }
}

#[test]
fn a_byte_that_is_there_when_a_call_is_interrupted_is_left_to_the_others() {
    for mut stage in stages("left") {
        let what = stage.name.0.clone();
        let mut readers = stage.actors(Side::Reader, 2);
        readers.iter_mut().for_each(|reader| reader.fall_asleep_in(Call::Read(1)));
        // Nobody runs, and so nobody is quicker, until all has happened.
        readers.iter().for_each(|reader| reader.ward.stop());
        send(&readers[0], ENDS);
        stage.writer().write_all(b"r").expect("room");
        readers[0].ward.signal(rustix::process::Signal::CONT);
        assert_eq!(outcome_and_signal(&mut readers[0]), Err(ErrorKind::Interrupted), "{what}");
        readers[1].ward.signal(rustix::process::Signal::CONT);
        assert_eq!(readers[1].outcome(), Ok((1, b'r')), "{what}");
    }
}

/// What came of the call of one to whom a signal was sent, and whose handler may run before or after it.
fn outcome_and_signal(actor: &mut Actor) -> Outcome {
    let mut is_handled = false;
    loop {
        let said = actor.hear();
        if said == HANDLED {
            assert!(!std::mem::replace(&mut is_handled, true), "one signal");
            continue;
        }
        let outcome = actors::outcome_that_is(&said);
        if !is_handled {
            assert_eq!(actor.hear(), HANDLED);
        }
        return outcome;
    }
}

#[test]
fn a_byte_that_comes_together_with_a_signal_reaches_one_of_those_who_sleep() {
    const ROUNDS: u8 = 100;
    // At a bell both would wake up, and a signal that is there when one of them has looked in vain ends nothing.
    for mut stage in stages("together").filter(|stage| !stage.is_at_bells()) {
        let what = stage.name.0.clone();
        // The first one has slept longest, and would be woken.
        let mut readers = stage.actors(Side::Reader, 2);
        readers.iter_mut().for_each(|reader| reader.fall_asleep_in(Call::Read(1)));
        for round in 0..ROUNDS {
            if round.is_multiple_of(2) {
                send(&readers[0], ENDS);
            }
            stage.writer().write_all(&[round]).expect("room");
            if !round.is_multiple_of(2) {
                send(&readers[0], ENDS);
            }
            // Nothing else is sent, and nobody looks again by himself: who is interrupted has left it to the other one.
            match outcome_and_signal(&mut readers[0]) {
                Err(ErrorKind::Interrupted) => {
                    assert_eq!(readers[1].outcome(), Ok((1, round)), "{what}");
                    readers.iter_mut().for_each(|reader| reader.fall_asleep_in(Call::Read(1)));
                }
                outcome => {
                    assert_eq!(outcome, Ok((1, round)), "{what}");
                    readers[1].wait_until_asleep();
                    readers.swap(0, 1);
                    readers[1].fall_asleep_in(Call::Read(1));
                }
            }
        }
    }
}

#[test]
fn a_broken_pipe_is_a_signal_in_the_kernel_and_in_ours_if_asked_for() {
    for mut stage in stages("sigpipe").filter(|stage| !stage.is_at_bells()) {
        let whose = stage.whose();
        let mut writer = stage.actor(Side::Writer);
        writer.keep_a_duplicate();
        stage.close_reader();
        if whose == "ours" {
            // The named difference.
            assert_eq!(writer.does(Call::Write(b'w', 1)), Err(ErrorKind::BrokenPipe));
            writer.set(Flag::Sigpipe);
        }
        let calls: &[Call] =
            if whose == "ours" { &[Call::Write(b'w', 1), Call::Send(1)] } else { &[Call::Write(b'w', 1)] };
        for &call in calls {
            writer.begin(call);
            assert_eq!(writer.hear(), HANDLED, "{whose}: {call}");
            assert_eq!(writer.count(), Err(ErrorKind::BrokenPipe), "{whose}: {call}");
        }
        assert_eq!(writer.does(Call::Write(b'w', 0)), Ok(0), "{whose}: nothing to write is nothing broken");
    }
}
