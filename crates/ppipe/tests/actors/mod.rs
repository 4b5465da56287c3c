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
use std::io::{self, BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Write};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

mod acting;
pub(crate) mod call;

use call::{BEGINS, DONE, SAYS};

use crate::again::{Ward, close, command};
use crate::both::{Opening, Reading, SLOT, System, Writing};
use crate::name::Name;

pub(crate) use acting::play;
pub(crate) use call::{Call, Flag, Outcome, outcome_that_is};

/// Nothing that an actor does takes so long; what takes longer hangs.
const WATCHDOG: Duration = Duration::from_secs(300);

const WHOSE: &str = "PPIPE_TEST_WHOSE";
const NAME: &str = "PPIPE_TEST_NAME";
const SLOTS: &str = "PPIPE_TEST_SLOTS";
const SIDE: &str = "PPIPE_TEST_SIDE";
const BEDS: &str = "PPIPE_TEST_BEDS";

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

/// Whether there is something to hear before the time is over.
fn wait_for(says: &BufReader<PipeReader>, limit: Duration) -> bool {
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    poll(&mut [PollFd::new(says.get_ref(), PollFlags::IN)], Some(&limit)).expect("an answer") > 0
}
