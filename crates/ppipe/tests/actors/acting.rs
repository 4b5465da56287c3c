//! The actor's own side: a child process that does what it hears and says what came of it.

use std::fmt::Display;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use ppipe::{PollEnd, Readiness};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::thread::gettid;
use shm_ring::{rely_on_wakes, sleep_at_bells};

use super::call::{BEGINS, Call, DONE, FAILED, Flag, SAYS};
use super::{BEDS, Beds, NAME, SIDE, SLOTS, Side, WHOSE};
use crate::again::role;
use crate::both::{End, Opening, Reading, Writing, system};

/// In a line of its own, whatever the test harness has said before.
fn say(what: impl Display) {
    println!("\n{SAYS}{what}");
}

/// What an actor has.
enum Has {
    Reader(Reading),
    Writer(Writing),
    Nothing(Side),
}

/// What a thread that does calls is told.
enum Told {
    Call(Call),
    Duplicate,
}

/// The whole life of a child process, if this is one; before it begins it does what `prepares`.
pub(crate) fn play(prepare: impl FnOnce()) {
    if role().is_none() {
        return;
    }
    prepare();
    rely_on_wakes();
    if variable(BEDS) == format!("{:?}", Beds::Bells) {
        sleep_at_bells();
    }
    let (tell, told) = mpsc::channel();
    let (give, duplicate) = mpsc::channel();
    thread::spawn(move || act(&told, &give));
    let mut twin = None;
    for line in io::stdin().lines() {
        let line = line.expect("text");
        if line == "duplicate" {
            tell.send(Told::Duplicate).expect("it is idle");
            twin = duplicate.recv().ok();
            say(DONE);
        } else if let Some(flag) = line.strip_prefix("set ") {
            set(twin.as_ref().expect("a duplicate"), flag);
            say(DONE);
        } else {
            tell.send(Told::Call(line.parse().expect("a call"))).expect("it is idle");
        }
    }
    // Who has nobody to tell him anything is done, whatever the other thread does.
    std::process::exit(0);
}

fn set(has: &Has, flag: &str) {
    match has {
        Has::Writer(writer) if flag == format!("{:?}", Flag::Packets) => writer.set_packet_mode(true),
        Has::Writer(writer) if flag == format!("{:?}", Flag::Sigpipe) => {
            writer.as_ours().expect("ours").set_sigpipe(true);
        }
        Has::Writer(writer) => writer.set_nonblocking(true),
        Has::Reader(reader) => reader.set_nonblocking(true),
        Has::Nothing(_) => panic!("it has no end"),
    }
}

fn act(told: &Receiver<Told>, give: &Sender<Has>) {
    let mut has = match variable(SIDE).as_str() {
        "Reader" => open(Side::Reader).expect("an end"),
        "Writer" => open(Side::Writer).expect("an end"),
        "Reader to be" => Has::Nothing(Side::Reader),
        _ => Has::Nothing(Side::Writer),
    };
    say(gettid().as_raw_nonzero());
    for told in told {
        let call = match (told, &has) {
            (Told::Call(call), _) => call,
            (Told::Duplicate, Has::Reader(reader)) => {
                give.send(Has::Reader(reader.duplicate())).expect("it is awaited");
                continue;
            }
            (Told::Duplicate, Has::Writer(writer)) => {
                give.send(Has::Writer(writer.duplicate())).expect("it is awaited");
                continue;
            }
            (Told::Duplicate, Has::Nothing(_)) => panic!("it has no end"),
        };
        // Prepared before it says so, so that from then on it is the call that sleeps.
        let mut buffer = match call {
            Call::Read(len) | Call::ReadWithin(len) | Call::Receive(len) | Call::Send(len) => vec![0; len],
            Call::Write(letter, len) => vec![letter; len],
            Call::PassOn(_) => vec![0],
            Call::Poll(_) | Call::Open | Call::Close => vec![],
        };
        say(BEGINS);
        match do_call(call, &mut has, &mut buffer) {
            Ok(count) => say(format!("{DONE} {count} {}", buffer.first().unwrap_or(&0))),
            Err(error) => say(format!("{FAILED} {:?}", error.kind())),
        }
    }
}

fn do_call(call: Call, has: &mut Has, buffer: &mut [u8]) -> io::Result<usize> {
    const NEVER: Duration = Duration::from_secs(10_000);
    match (call, has) {
        (Call::Read(_), Has::Reader(reader)) => reader.read(buffer),
        (Call::Write(..), Has::Writer(writer)) => writer.write(buffer),
        (Call::Poll(times), Has::Reader(reader)) => match reader.as_ours() {
            Some(ours) => ppipe::poll(&mut vec![PollEnd::reader(ours, Readiness::READABLE); times], None),
            None => poll_of_kernel(&**reader, PollFlags::IN, times),
        },
        (Call::Poll(times), Has::Writer(writer)) => match writer.as_ours() {
            Some(ours) => ppipe::poll(&mut vec![PollEnd::writer(ours, Readiness::WRITABLE); times], None),
            None => poll_of_kernel(&**writer, PollFlags::OUT, times),
        },
        (Call::ReadWithin(_), Has::Reader(reader)) => reader.as_ours().expect("ours").read_timeout(buffer, NEVER),
        (Call::Receive(_), Has::Reader(reader)) => Ok(reader.as_ours().expect("ours").recv(buffer)?.len),
        (Call::Send(len), Has::Writer(writer)) => writer.as_ours().expect("ours").send(buffer).map(|()| len),
        (Call::Open, has) => {
            let side = match has {
                Has::Nothing(side) => *side,
                Has::Reader(_) => Side::Reader,
                Has::Writer(_) => Side::Writer,
            };
            *has = open(side)?;
            Ok(0)
        }
        (Call::Close, has) => {
            let side = if matches!(has, Has::Reader(_)) { Side::Reader } else { Side::Writer };
            *has = Has::Nothing(side);
            Ok(0)
        }
        (Call::PassOn(times), Has::Reader(reader)) => {
            let Has::Writer(mut writer) = open(Side::Writer)? else { unreachable!("as it was asked for") };
            let mut has_gone = || Ok(reader.read(buffer)? == 1 && writer.write(buffer)? == 1);
            for passed in 0..times {
                match has_gone() {
                    Ok(true) => {}
                    Ok(false) => return Ok(passed),
                    Err(error) => return Err(error),
                }
            }
            Ok(times)
        }
        _ => panic!("{call} is not for this end"),
    }
}

fn poll_of_kernel(end: &(impl End + ?Sized), interest: PollFlags, times: usize) -> io::Result<usize> {
    let mut polled: Vec<_> = (0..times).map(|_| PollFd::from_borrowed_fd(end.poll_fd(), interest)).collect();
    Ok(poll(&mut polled, None)?)
}

fn open(side: Side) -> io::Result<Has> {
    let (whose, name) = (variable(WHOSE), variable(NAME));
    let slots = variable(SLOTS).parse().expect("a number");
    Ok(match side {
        Side::Reader => Has::Reader(system(&whose).open_reader(&name, slots, Opening::Waits)?),
        Side::Writer => Has::Writer(system(&whose).open_writer(&name, slots, Opening::Waits)?),
    })
}

fn variable(name: &str) -> String {
    std::env::var(name).expect("a variable")
}
