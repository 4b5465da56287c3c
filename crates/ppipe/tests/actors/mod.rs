//! Child processes that have an end of a pipe each and do what they are told, one call after the other: so a test of many processes
//! reads like a script, and holds for a kernel pipe and for ours.
//!
//! ```text
//!   test ── "write 97 8192" ──> actor ── "begins" ── the call ── "done 8192 0" or "failed Interrupted" ──> test
//! ```
//!
//! An actor is asleep in its call when the kernel says that its thread sleeps and it has not said what came of it. Its sleeps are ended by wakes
//! alone: so nothing but what the test does lets it go on, and a wake that is lost is a test that hangs, and is seen to.
#![allow(dead_code, reason = "not every test file needs all of it")]

use std::fmt::Display;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::process::Command;
use std::str::FromStr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use ppipe::{PollEnd, Readiness};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::gettid;
use shm_ring::{rely_on_wakes, sleep_at_bells};

use crate::again::{Ward, close, command, role};
use crate::both::{End, Opening, Reading, SLOT, System, Writing, system};
use crate::name::Name;

/// Nothing that an actor does takes so long; what takes longer hangs.
const WATCHDOG: Duration = Duration::from_secs(300);

const WHOSE: &str = "PPIPE_TEST_WHOSE";
const NAME: &str = "PPIPE_TEST_NAME";
const SLOTS: &str = "PPIPE_TEST_SLOTS";
const SIDE: &str = "PPIPE_TEST_SIDE";
const BEDS: &str = "PPIPE_TEST_BEDS";

/// What an actor says begins so; the test harness says other things.
pub(crate) const SAYS: &str = "actor: ";
/// What one says whose signal handler has run.
pub(crate) const HANDLED: &str = "handled";
const BEGINS: &str = "begins";
const DONE: &str = "done";
const FAILED: &str = "failed";

/// Where an actor sleeps, if the pipe is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beds {
    /// At a word in shared memory, as one who has not waited for long.
    Words,
    /// At a bell, as one who has.
    Bells,
}

/// Which end an actor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Reader,
    Writer,
}

/// What an actor is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// `read`, with so much room.
    Read(usize),
    /// `write`, so many bytes of this kind.
    Write(u8, usize),
    /// `poll` of its end, named so often, without a limit.
    Poll(usize),
    /// `read_timeout` with a limit that is never reached. Ours only.
    ReadWithin(usize),
    /// `recv`, with so much room. Ours only.
    Receive(usize),
    /// `send`, so many bytes. Ours only.
    Send(usize),
    /// Opens the end anew by the pipe's name, and waits for the other side.
    Open,
    /// Closes the end.
    Close,
    /// `read` of one byte and `write` of it to the same pipe by its name, so often.
    PassOn(usize),
}

/// What an actor is told while it may be asleep in a call: of a flag of its end, which it has twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    Packets,
    Nonblocking,
    /// Ours only.
    Sigpipe,
}

const KINDS: [ErrorKind; 6] = [
    ErrorKind::BrokenPipe,
    ErrorKind::WouldBlock,
    ErrorKind::Interrupted,
    ErrorKind::UnexpectedEof,
    ErrorKind::TimedOut,
    ErrorKind::NotFound,
];

impl Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Read(room) => write!(f, "read 0 {room}"),
            Self::Write(letter, len) => write!(f, "write {letter} {len}"),
            Self::Poll(times) => write!(f, "poll 0 {times}"),
            Self::ReadWithin(room) => write!(f, "read-within 0 {room}"),
            Self::Receive(room) => write!(f, "receive 0 {room}"),
            Self::Send(len) => write!(f, "send 0 {len}"),
            Self::Open => write!(f, "open 0 0"),
            Self::Close => write!(f, "close 0 0"),
            Self::PassOn(times) => write!(f, "pass-on 0 {times}"),
        }
    }
}

impl FromStr for Call {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [verb, letter, number] = words[..] else { return Err(line.to_owned()) };
        let (letter, number) = (letter.parse().expect("a letter"), number.parse().expect("a number"));
        Ok(match verb {
            "read" => Self::Read(number),
            "write" => Self::Write(letter, number),
            "poll" => Self::Poll(number),
            "read-within" => Self::ReadWithin(number),
            "receive" => Self::Receive(number),
            "send" => Self::Send(number),
            "open" => Self::Open,
            "close" => Self::Close,
            "pass-on" => Self::PassOn(number),
            _ => return Err(line.to_owned()),
        })
    }
}

/// A pipe with a name, to which actors come. Its ends in this process are open both ways, until they are taken.
pub(crate) struct Stage {
    pub(crate) system: &'static dyn System,
    pub(crate) name: Name,
    pub(crate) slots: usize,
    pub(crate) reader: Option<Reading>,
    pub(crate) writer: Option<Writing>,
    beds: Beds,
}

impl Stage {
    pub(crate) fn new(system: &'static dyn System, what: &str, slots: usize) -> Self {
        Self::with_beds(system, what, slots, Beds::Words)
    }

    pub(crate) fn with_beds(system: &'static dyn System, what: &str, slots: usize, beds: Beds) -> Self {
        let mut stage = Self::without_ends(system, what, slots, beds);
        let reader = system.open_reader(&stage.name.0, slots, Opening::Nonblocking).expect("it needs nobody");
        stage.writer = Some(system.open_writer(&stage.name.0, slots, Opening::Waits).expect("somebody reads"));
        reader.set_nonblocking(false);
        stage.reader = Some(reader);
        stage
    }

    /// A name that nobody has open yet.
    pub(crate) fn without_ends(system: &'static dyn System, what: &str, slots: usize, beds: Beds) -> Self {
        let name = system.new_name(&format!("{what}-{beds:?}"));
        Self { system, name, slots, reader: None, writer: None, beds }
    }

    pub(crate) fn whose(&self) -> &'static str {
        self.system.whose()
    }

    pub(crate) fn reader(&mut self) -> &mut Reading {
        self.reader.as_mut().expect("it has not been taken")
    }

    pub(crate) fn writer(&mut self) -> &mut Writing {
        self.writer.as_mut().expect("it has not been taken")
    }

    /// Closes this process's reading end.
    pub(crate) fn close_reader(&mut self) {
        close(self.reader.take());
    }

    /// Closes this process's writing end.
    pub(crate) fn close_writer(&mut self) {
        close(self.writer.take());
    }

    /// Fills the pipe to its end.
    pub(crate) fn fill(&mut self) {
        let bytes = vec![b'.'; self.slots * SLOT];
        assert_eq!(self.writer().write(&bytes).expect("room"), bytes.len());
    }

    pub(crate) fn is_at_bells(&self) -> bool {
        self.beds == Beds::Bells
    }

    /// Whether no slot is empty.
    pub(crate) fn is_full(&self) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.unread() == self.slots * SLOT)
    }

    /// So many processes that have an end of this side each, all of which are there.
    pub(crate) fn actors(&self, side: Side, count: usize) -> Vec<Actor> {
        let mut actors: Vec<_> = (0..count).map(|_| self.start(&format!("{side:?}"))).collect();
        actors.iter_mut().for_each(Actor::is_here);
        actors
    }

    pub(crate) fn actor(&self, side: Side) -> Actor {
        self.actors(side, 1).pop().expect("one")
    }

    /// One that has no end yet.
    pub(crate) fn newcomer(&self, side: Side) -> Actor {
        let mut actor = self.start(&format!("{side:?} to be"));
        actor.is_here();
        actor
    }

    fn start(&self, side: &str) -> Actor {
        let mut command = command("acts");
        command.env(WHOSE, self.whose()).env(NAME, &self.name.0).env(SLOTS, self.slots.to_string());
        command.env(SIDE, side).env(BEDS, format!("{:?}", self.beds));
        Actor::start(command)
    }
}

/// What came of a call: a number, and the first byte of what was read.
pub(crate) type Outcome = Result<(usize, u8), ErrorKind>;

/// A child process with an end.
pub(crate) struct Actor {
    pub(crate) ward: Ward,
    told: PipeWriter,
    says: BufReader<PipeReader>,
    thread: i32,
}

impl Actor {
    fn start(mut command: Command) -> Self {
        let (hears, told) = io::pipe().expect("a pipe of the kernel");
        let (says, output) = io::pipe().expect("a pipe of the kernel");
        command.stdin(hears).stdout(output);
        Self { ward: Ward::start(command), told, says: BufReader::new(says), thread: 0 }
    }

    /// Returns when it has its end.
    fn is_here(&mut self) {
        self.thread = self.hear().parse().expect("the number of its thread");
    }

    /// The thread that does its calls.
    pub(crate) fn thread(&self) -> i32 {
        self.thread
    }

    /// The next thing that it says.
    pub(crate) fn hear(&mut self) -> String {
        let start = Instant::now();
        loop {
            if let Some(said) = self.overhear() {
                return said;
            }
            let left = WATCHDOG.checked_sub(start.elapsed()).expect("the actor hangs");
            wait_for(&self.says, left);
        }
    }

    /// The next thing that it has said already.
    fn overhear(&mut self) -> Option<String> {
        loop {
            if self.says.buffer().is_empty() && !wait_for(&self.says, Duration::ZERO) {
                return None;
            }
            let mut line = String::new();
            let len = self.says.read_line(&mut line).expect("text");
            assert!(len > 0, "the actor has ended");
            if let Some(said) = line.trim_end().strip_prefix(SAYS) {
                return Some(said.to_owned());
            }
        }
    }

    fn tell(&mut self, what: impl Display) {
        writeln!(self.told, "{what}").expect("it listens");
    }

    /// Lets it begin a call.
    pub(crate) fn begin(&mut self, call: Call) {
        self.tell(call);
        assert_eq!(self.hear(), BEGINS);
    }

    /// Lets it begin a call, and returns when it sleeps in it.
    pub(crate) fn fall_asleep_in(&mut self, call: Call) {
        self.begin(call);
        self.wait_until_asleep();
    }

    /// Returns when it sleeps in its call, which must not have ended.
    pub(crate) fn wait_until_asleep(&mut self) {
        let start = Instant::now();
        while !self.is_asleep() {
            assert!(start.elapsed() < WATCHDOG, "it never sleeps");
            thread::yield_now();
        }
    }

    /// Whether it sleeps in its call at this moment, which must not have ended.
    pub(crate) fn is_asleep(&mut self) -> bool {
        let path = format!("/proc/{}/task/{}/stat", self.ward.id(), self.thread);
        let stat = fs::read_to_string(path).expect("it lives");
        // "tid (name) state ...", and the name can contain anything.
        let is_asleep = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'));
        // One who sleeps because there is nothing to do has said before what came of it.
        let said = self.overhear();
        assert_eq!(said, None, "the call has ended");
        is_asleep
    }

    /// What comes of the call that it has begun.
    pub(crate) fn outcome(&mut self) -> Outcome {
        outcome_that_is(&self.hear())
    }

    /// How many bytes came of the call that it has begun.
    pub(crate) fn count(&mut self) -> Result<usize, ErrorKind> {
        self.outcome().map(|(count, _)| count)
    }

    /// Lets it do a call, and returns what comes of it.
    pub(crate) fn does(&mut self, call: Call) -> Result<usize, ErrorKind> {
        self.begin(call);
        self.count()
    }

    /// Lets it keep a duplicate of its end, by which its flags can be set whatever it does.
    pub(crate) fn keep_a_duplicate(&mut self) {
        self.tell("duplicate");
        assert_eq!(self.hear(), DONE);
    }

    /// Sets a flag of the duplicate.
    pub(crate) fn set(&mut self, flag: Flag) {
        self.tell(format!("set {flag:?}"));
        assert_eq!(self.hear(), DONE);
    }
}

/// What came of a call, as an actor says it.
pub(crate) fn outcome_that_is(said: &str) -> Outcome {
    let words: Vec<&str> = said.split_whitespace().collect();
    match words[..] {
        [DONE, number, letter] => {
            Ok((number.parse().expect("a number"), letter.parse().expect("the number of a letter")))
        }
        [FAILED, kind] => Err(kind_of(kind)),
        _ => panic!("{said}"),
    }
}

fn kind_of(word: &str) -> ErrorKind {
    KINDS.into_iter().find(|kind| format!("{kind:?}") == word).unwrap_or_else(|| panic!("{word}"))
}

/// Whether there is something to hear before the time is over.
fn wait_for(says: &BufReader<PipeReader>, limit: Duration) -> bool {
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    poll(&mut [PollFd::new(says.get_ref(), PollFlags::IN)], Some(&limit)).expect("an answer") > 0
}

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
