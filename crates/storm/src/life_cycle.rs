//! One name, and a crowd that makes it, comes to it, uses it and leaves it, all at once, and is killed and stopped at that.
//!
//! ```text
//!   coordinator ──starts, stops, kills one or all──> racer racer racer ...    each: open, look, use, leave, again
//!        ^                                                 │
//!        └─── so often it had an end, so often none was to be had (in memory that outlives who says it); what it complains of
//! ```
//!
//! # What must hold
//! Who opens the name has a whole pipe, or an error that says why it is not to be had. As long as one has it open, the name is that pipe's, unless
//! somebody takes it away. What
//! comes through is whole. And when all are gone, whatever they died of, one who opens the name and leaves it leaves nothing.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ppipe::{Builder, Reader, Writer};
use rustix::fs::{Mode, OFlags, ftruncate, mkdir, open};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::child::die_with;
use crate::herd::Herd;
use crate::journal::{Complaints, Journal, Voice};
use crate::orders::Role;
use crate::sweep::{remains_of, sweep};

/// The variable that makes a process of this program a racer.
const VARIABLE: &str = "LIFE_CYCLE";
/// So many at a time.
pub const CROWD: usize = 16;
/// Room for all of them, and as many who have died.
const MOST: u32 = 2 * CROWD as u32;
const SLOTS: u32 = 2;
const SLOT: u32 = 64;
/// Larger than a slot.
const MESSAGE: [u8; 100] = [7; 100];
/// One time in so many all are killed at once.
const ALL: u32 = 40;
/// In a run where names are taken away, one does so once in so many times that it opens one.
const UNLINK_EVERY: u32 = 8;
/// There are numbers for so many.
const MOST_STARTED: u16 = u16::MAX - CROWD as u16;
/// A liar lies when it has had an end so often.
const LIE_AFTER: u32 = 5;

/// What the first racer does wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lie {
    /// It removes the name while it is in use, so that the next one makes another pipe.
    Replaces,
    /// It makes the name before there is a pipe.
    HalfMakes,
    /// It leaves something behind.
    LeavesBehind,
    /// It sends a message cut short.
    CutsShort,
}

/// A run.
#[derive(Clone, Debug)]
pub struct LifeCycle {
    /// The program that children are: one that calls [`run_if_told`] first of all.
    pub program: PathBuf,
    /// What everything random follows from, but for the moments.
    pub seed: u64,
    /// So often each of the crowd opens the name, on average.
    pub rounds: u32,
    /// Whether the name is also taken away from those who have it open; then it is not theirs as long as they have it.
    pub unlinks: bool,
    /// What is done wrong.
    pub lie: Option<Lie>,
    /// So long without an end that is opened is a hang.
    pub patience: Duration,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// How often somebody had an end.
    pub opened: u64,
    /// How often an end was not to be had, for a reason that is documented.
    pub refused: u64,
    /// How many were killed.
    pub kills: u32,
    /// How often all at once.
    pub all_killed: u32,
    /// How often one stood for a while.
    pub stops: u32,
}

/// Why it has failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Somebody complained.
    #[error("{0}")]
    Child(String),
    /// Nobody gets an end any more.
    #[error("nobody gets an end any more")]
    Hang,
    /// Something is left.
    #[error("left behind: {0}")]
    Remains(String),
    /// The last one does not find a pipe that is in order.
    #[error("the last one finds: {0}")]
    Afterwards(String),
    /// The system refused something.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// What a racer is told, in one environment variable.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Part {
    coordinator: i32,
    journal: (i32, i32),
    number: u16,
    seed: u64,
    name: String,
    unlinks: bool,
    lie: Option<Lie>,
}

/// What a racer has open.
enum End {
    Reader(Reader),
    Writer(Writer),
}

impl LifeCycle {
    /// Runs it.
    ///
    /// # Errors
    /// What does not hold. Nothing is left behind either way.
    pub fn run(&self) -> Result<Seen, Failure> {
        sweep()?;
        let mut race = Race::start(self)?;
        let result = race.make_trouble().and_then(|()| race.finish());
        // After a failure nothing of it may stay either.
        drop(race.herd);
        let left = remains_of(&race.name)?;
        if let Some(left) = &left {
            std::fs::remove_dir_all(format!("/dev/shm/{left}"))?;
        }
        match (result, left) {
            (Ok(()), Some(left)) => Err(Failure::Remains(left)),
            (result, _) => result.map(|()| race.seen),
        }
    }
}

/// A run under way.
struct Race<'a> {
    plan: &'a LifeCycle,
    random: fastrand::Rng,
    herd: Herd,
    journal: Journal,
    complaints: Complaints,
    name: String,
    /// Racers that were ever started.
    started: u16,
    seen: Seen,
}

impl<'a> Race<'a> {
    fn start(plan: &'a LifeCycle) -> Result<Self, Failure> {
        let mut race = Self {
            plan,
            random: fastrand::Rng::with_seed(plan.seed),
            herd: Herd::default(),
            journal: Journal::new()?,
            complaints: Complaints::new()?,
            name: format!("storm-{}-life-{:x}", std::process::id(), fastrand::u64(..)),
            started: 0,
            seen: Seen::default(),
        };
        race.fill_up()?;
        Ok(race)
    }

    fn fill_up(&mut self) -> Result<(), Failure> {
        while self.herd.members().len() < CROWD {
            let number = self.started;
            let part = Part {
                coordinator: std::process::id() as i32,
                journal: self.journal.numbers(),
                number,
                seed: self.random.u64(..),
                name: self.name.clone(),
                unlinks: self.plan.unlinks,
                lie: self.plan.lie.filter(|_| number == 0),
            };
            let mut command = Command::new(&self.plan.program);
            command.env(VARIABLE, serde_json::to_string(&part).map_err(io::Error::from)?);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(self.complaints.place()?);
            self.herd.start(Role::Reader, number, &mut command)?;
            self.started += 1;
        }
        Ok(())
    }

    /// Kills and stops until the name has been opened often enough.
    fn make_trouble(&mut self) -> Result<(), Failure> {
        let wanted = u64::from(self.plan.rounds) * CROWD as u64;
        let mut last = (0, Instant::now());
        loop {
            self.count()?;
            self.hear()?;
            if self.seen.opened >= wanted {
                return Ok(());
            }
            if self.seen.opened > last.0 {
                last = (self.seen.opened, Instant::now());
            } else if last.1.elapsed() > self.plan.patience || self.started > MOST_STARTED {
                return Err(Failure::Hang);
            }
            if self.plan.lie.is_some() {
                // A liar is to live long enough to lie.
                thread::yield_now();
                continue;
            }
            self.stop_one()?;
            let all = self.random.u32(0..ALL) == 0;
            for _ in 0..if all { CROWD } else { self.random.usize(1..=2) } {
                let victim = self.random.usize(..self.herd.members().len());
                if let (_, number, Some(status)) = self.herd.kill(victim)? {
                    self.hear()?;
                    return Err(Failure::Child(format!("racer {number} ended by itself: {status}")));
                }
                self.seen.kills += 1;
            }
            self.seen.all_killed += u32::from(all);
            self.fill_up()?;
        }
    }

    /// One stands for up to ten milliseconds, so that what it has seen is no longer so when it goes on.
    fn stop_one(&mut self) -> Result<(), Failure> {
        let sleeper = Pid::from_raw(self.random.choice(self.herd.members()).map_or(0, |one| one.pid() as i32));
        kill(sleeper, Signal::SIGSTOP).map_err(io::Error::from)?;
        let moment = Instant::now() + Duration::from_micros(self.random.u64(0..10_000));
        while Instant::now() < moment {
            thread::yield_now();
        }
        kill(sleeper, Signal::SIGCONT).map_err(io::Error::from)?;
        self.seen.stops += 1;
        Ok(())
    }

    /// All finish by themselves; then one more opens the name, and leaves it.
    fn finish(&mut self) -> Result<(), Failure> {
        self.journal.say_that_it_is_over()?;
        let start = Instant::now();
        let mut wrong = None;
        while !self.herd.members().is_empty() {
            self.herd.bury(|_, number, status| {
                if !status.success() {
                    wrong = Some(format!("racer {number} ended: {status}"));
                }
            })?;
            if start.elapsed() > self.plan.patience {
                return Err(Failure::Hang);
            }
            thread::yield_now();
        }
        self.hear()?;
        if let Some(wrong) = wrong {
            return Err(Failure::Child(wrong));
        }
        self.count()?;
        let last = small().nonblocking(true).open_reader(&self.name)?;
        let audit = last.audit()?;
        if !audit.is_sound() || !audit.is_steady || audit.held().count() != 1 || !audit.extents.is_empty() {
            return Err(Failure::Afterwards(audit.to_string()));
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), Failure> {
        let (mut opened, mut refused) = (0, 0);
        for number in 0..self.started {
            let both = u64::from(self.journal.sent_by(number)?);
            opened += both & 0xffff;
            refused += both >> 16;
        }
        (self.seen.opened, self.seen.refused) = (opened, refused);
        Ok(())
    }

    fn hear(&self) -> Result<(), Failure> {
        let text = self.complaints.text()?;
        if text.is_empty() { Ok(()) } else { Err(Failure::Child(text)) }
    }
}

fn small() -> Builder {
    Builder::new().slots(SLOTS).slot_size(SLOT).max_readers(MOST).max_writers(MOST)
}

/// Runs as a racer if this process was started as one; returns whether it was.
///
/// # Errors
/// What does not hold.
pub fn run_if_told() -> io::Result<bool> {
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(false) };
    let part: Part = serde_json::from_str(&text)?;
    if die_with(part.coordinator)? {
        let voice = Voice::at(part.coordinator, part.journal, part.number)?;
        part.race(&voice)?;
    }
    Ok(true)
}

impl Part {
    fn race(&self, voice: &Voice) -> io::Result<()> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        // Both counts are said at once; so long lives nobody.
        let (mut opened, mut refused) = (0_u16, 0_u16);
        while !voice.is_over()? && opened.max(refused) < u16::MAX {
            if self.unlinks && random.u32(..UNLINK_EVERY) == 0 {
                self.unlink()?;
            }
            match End::open(random.u32(..6), &self.name)? {
                Some(end) => {
                    self.live_with(&end, &mut random)?;
                    opened += 1;
                    if u32::from(opened) == LIE_AFTER {
                        self.lie(end)?;
                    }
                }
                None => refused += 1,
            }
            voice.say_sent(u32::from(refused) << 16 | u32::from(opened))?;
        }
        Ok(())
    }

    /// Takes the name away, whosever it is; somebody may have been faster.
    fn unlink(&self) -> io::Result<()> {
        match ppipe::unlink(&self.name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(with("unlinked", &error)),
            _ => Ok(()),
        }
    }

    /// Looks and uses; some look at once and leave, some stay.
    fn live_with(&self, end: &End, random: &mut fastrand::Rng) -> io::Result<()> {
        let capacity = end.capacity();
        if capacity != (SLOTS * SLOT) as usize {
            return Err(io::Error::other(format!("a pipe with room for {capacity} bytes")));
        }
        for _ in 0..random.u32(1..=8) {
            end.make_use().map_err(|error| with("in use", &error))?;
            if self.unlinks {
                continue;
            }
            let audit = ppipe::audit(&self.name).map_err(|error| with("the name is gone", &error))?;
            if !audit.held().any(|entry| entry.pid == std::process::id()) {
                return Err(io::Error::other(format!("the name has become another pipe's\n{audit}")));
            }
        }
        Ok(())
    }

    fn lie(&self, end: End) -> io::Result<()> {
        let Some(lie) = self.lie else { return Ok(()) };
        let root = |prefix: &str| format!("/dev/shm/{prefix}ppipe-{}", self.name);
        match lie {
            Lie::Replaces => {
                std::fs::rename(root(""), root("."))?;
                std::fs::remove_dir_all(root("."))?;
                // It has the other one as long as others look.
                self.live_with(&end, &mut fastrand::Rng::with_seed(0))
            }
            Lie::HalfMakes => {
                drop(end);
                while mkdir(root(""), Mode::RWXU).is_err() {
                    thread::yield_now();
                }
                let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
                ftruncate(open(format!("{}/segment", root("")), flags, Mode::RUSR | Mode::WUSR)?, 1 << 16)?;
                Ok(())
            }
            Lie::LeavesBehind => Ok(mkdir(format!("{}.0", root(".")), Mode::RWXU)
                .and_then(|()| mkdir(format!("{}.0/x", root(".")), Mode::RWXU))?),
            Lie::CutsShort => {
                let writer = small().open_timeout(Duration::from_secs(1)).open_writer(&self.name)?;
                writer.send(&MESSAGE[1..])
            }
        }
    }
}

impl End {
    /// Opens in one of the ways; `None` if there is a reason why it is not to be had.
    fn open(way: u32, name: &str) -> io::Result<Option<Self>> {
        let (soon, now) = (small().open_timeout(Duration::from_millis(10)), small().nonblocking(true));
        let opened = match way {
            0 => now.open_reader(name).map(Self::Reader),
            1 => soon.open_reader(name).map(Self::Reader),
            2 => soon.open_writer(name).map(Self::Writer),
            3 => now.create_new().open_reader(name).map(Self::Reader),
            4 => now.must_exist().open_reader(name).map(Self::Reader),
            _ => now.open_writer(name).map(Self::Writer),
        };
        match opened {
            Ok(end) => Ok(Some(end)),
            Err(error) if is_documented(way, &error) => Ok(None),
            Err(error) => Err(with(&format!("opened by way {way}"), &error)),
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Reader(reader) => reader.capacity(),
            Self::Writer(writer) => writer.capacity(),
        }
    }

    /// Sends or receives a message; that nobody is there for it is as good.
    fn make_use(&self) -> io::Result<()> {
        let wait = Duration::from_micros(100);
        let mut buffer = [0; 2 * MESSAGE.len()];
        let used = match self {
            Self::Reader(reader) => reader.recv_timeout(&mut buffer, wait).map(|message| Some(message.len)),
            Self::Writer(writer) => writer.send_timeout(&MESSAGE, wait).map(|()| None),
        };
        match used {
            Ok(Some(len)) if buffer.get(..len) != Some(&MESSAGE) => Err(io::Error::other("a torn message")),
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                io::ErrorKind::TimedOut
                | io::ErrorKind::WouldBlock
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe => Ok(()),
                _ => Err(error),
            },
        }
    }
}

/// What [`Builder`] says of each way: nobody came in time, there is one already, there is none, nobody reads.
fn is_documented(way: u32, error: &io::Error) -> bool {
    match way {
        1 | 2 => error.kind() == io::ErrorKind::TimedOut,
        3 => error.kind() == io::ErrorKind::AlreadyExists,
        4 => error.kind() == io::ErrorKind::NotFound,
        5 => error.raw_os_error() == Some(Errno::NXIO.raw_os_error()),
        _ => false,
    }
}

fn with(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
