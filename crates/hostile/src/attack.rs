//! An attack: a pipe, its victims, one who scribbles, and what came of it.
//!
//! ```text
//!   pipe made ──> victims have their ends ──> the scribbler has its end and the mapping, and writes ──> go ──> victims are done ──> it ends
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fastrand::Rng;
use ppipe::{Builder, Reader, Writer};
use shm_ring::Segment;
use shm_ring::segment::Size;

use crate::children::Ward;
use crate::names::Name;
use crate::victim::{Mistake, Outcomes};

/// The variables that tell of ends that were handed over.
pub const READER: &str = "HOSTILE_READER";
/// The other one.
pub const WRITER: &str = "HOSTILE_WRITER";
/// What a child says when it has what it needs.
pub const READY: &str = "ready";

/// How the scribbler comes to the pipe, and the victims do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By its name.
    Name,
    /// By ends that were handed over.
    Inheritance,
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The program that children are.
    pub program: &'a Path,
    /// From which all is chosen.
    pub seed: u64,
    /// How they come to the pipe.
    pub way: Way,
    /// So many processes do verbs.
    pub victims: u32,
    /// So many calls each.
    pub calls: u64,
    /// So long one call may take.
    pub patience: Duration,
    /// What the last victim does wrong.
    pub mistake: Mistake,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Writes of each kind.
    pub writes: BTreeMap<String, u64>,
    /// Calls of the victims, by verb and outcome.
    pub outcomes: Outcomes,
    /// While the scribbler wrote.
    pub seconds: f64,
}

impl Report {
    /// All writes.
    #[must_use]
    pub fn all_writes(&self) -> u64 {
        self.writes.values().sum()
    }

    /// All calls.
    #[must_use]
    pub fn all_calls(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// Calls that came to this.
    #[must_use]
    pub fn calls_that(&self, outcome: &str) -> u64 {
        self.outcomes.iter().filter(|((_, other), _)| other == outcome).map(|(_, count)| count).sum()
    }

    /// Adds another one's counts.
    pub fn add(&mut self, other: Self) {
        other.writes.into_iter().for_each(|(kind, count)| *self.writes.entry(kind).or_default() += count);
        other.outcomes.into_iter().for_each(|(outcome, count)| *self.outcomes.entry(outcome).or_default() += count);
        self.seconds += other.seconds;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.all_writes() as f64 / self.seconds / 1e6;
        writeln!(f, "{} writes in {:.1} s ({rate:.1} million/s), by kind:", self.all_writes(), self.seconds)?;
        for (kind, count) in &self.writes {
            writeln!(f, "  {kind:16}{count:>12}")?;
        }
        let mut by_outcome = BTreeMap::<&str, u64>::new();
        self.outcomes.iter().for_each(|((_, outcome), count)| *by_outcome.entry(outcome).or_default() += count);
        writeln!(f, "{} calls, all of which came back, by outcome:", self.all_calls())?;
        by_outcome.iter().try_for_each(|(outcome, count)| writeln!(f, "  {outcome:16}{count:>12}"))
    }
}

/// Attacks, and judges.
///
/// # Errors
/// Which law was broken, or what the system says.
pub fn run(plan: &Plan<'_>) -> Result<Report, String> {
    let name = Name::new(&format!("hostile-{:x}", plan.seed));
    attack(plan, &name).map_err(|error| format!("PPIPE_SEED={}: {error}", plan.seed))
}

fn attack(plan: &Plan<'_>, name: &Name) -> io::Result<Report> {
    let mut random = Rng::with_seed(plan.seed);
    let builder = builder(&mut random).nonblocking(true);
    let (reader, writer) = match plan.way {
        Way::Name => {
            let reader = builder.open_reader(name.as_str())?;
            (reader, builder.open_writer(name.as_str())?)
        }
        Way::Inheritance => builder.pipe()?,
    };
    let mut victims = Vec::new();
    for index in 0..plan.victims {
        let mistake = if index + 1 == plan.victims { plan.mistake } else { Mistake::None };
        let mut command = child(plan, "victim", random.u64(..), name);
        command.arg("--calls").arg(plan.calls.to_string()).arg("--mistake").arg(mistake.to_string().to_lowercase());
        command.arg("--patience").arg(plan.patience.as_secs().to_string());
        if plan.way == Way::Inheritance {
            reader.try_clone()?.hand_to(&mut command, READER);
            writer.try_clone()?.hand_to(&mut command, WRITER);
        }
        victims.push(ready(command)?);
    }
    let mut command = child(plan, "scribbler", random.u64(..), name);
    if plan.way == Way::Inheritance {
        reader.try_clone()?.hand_to(&mut command, READER);
    }
    let scribbler = ready(command)?;
    let start = Instant::now();
    for victim in &mut victims {
        victim.orders().ok_or(io::ErrorKind::BrokenPipe)?.write_all(b"go\n")?;
    }
    let mut report = Report::default();
    // As long as the last one is at work it is attacked.
    let ended: Vec<_> = victims.into_iter().map(Ward::end).collect::<io::Result<_>>()?;
    let seconds = start.elapsed().as_secs_f64();
    let (status, text) = scribbler.end()?;
    if !status.success() {
        return Err(io::Error::other(format!("the scribbler: {status}")));
    }
    for (kind, count) in counts(&text) {
        *report.writes.entry(kind.to_owned()).or_default() += count;
    }
    for (status, text) in ended {
        if !status.success() {
            return Err(io::Error::other(format!("a victim was hurt: {status}")));
        }
        for (outcome, count) in counts(&text) {
            let (verb, outcome) = outcome.split_once(": ").ok_or(io::ErrorKind::InvalidData)?;
            *report.outcomes.entry((verb.to_owned(), outcome.to_owned())).or_default() += count;
        }
    }
    Ok(Report { seconds, ..report })
}

fn builder(random: &mut Rng) -> Builder {
    let slot_size = 64 << random.u32(0..=6);
    let slots = 1 << random.u32(0..=4);
    let capacity = (slots * slot_size) as usize;
    let builder = Builder::new().slots(slots).slot_size(slot_size).max_capacity(capacity << random.u32(0..=3));
    builder.max_writers(8).max_readers(8).senders(random.bool())
}

fn child(plan: &Plan<'_>, role: &str, seed: u64, name: &Name) -> Command {
    let mut command = Command::new(plan.program);
    command.arg(role).arg("--parent").arg(std::process::id().to_string()).arg("--seed").arg(seed.to_string());
    if plan.way == Way::Name {
        command.arg("--name").arg(name.as_str());
    }
    command
}

/// Starts it and waits until it says that it is ready. What was handed to the command is the child's alone then.
fn ready(mut command: Command) -> io::Result<Ward> {
    let mut ward = Ward::start(&mut command)?;
    drop(command);
    match ward.line()?.as_str() {
        READY => Ok(ward),
        other => Err(io::Error::other(format!("a child is not ready: {other:?}"))),
    }
}

/// Lines of a count and what was counted.
fn counts(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (count, what) = line.split_once(' ')?;
        Some((what, count.parse().ok()?))
    })
}

/// The ends of a child, by its name or as they were handed over.
///
/// # Errors
/// The pipe's.
pub fn ends(name: Option<&str>) -> io::Result<(Reader, Writer)> {
    match name {
        Some(name) => {
            let builder = Builder::new().nonblocking(true).must_exist();
            Ok((builder.open_reader(name)?, builder.open_writer(name)?))
        }
        None => Ok((Reader::inherited(READER)?, Writer::inherited(WRITER)?)),
    }
}

/// The segment of the pipe that this process has an end of, as anybody comes to it who means ill: through its own descriptors, or its name.
///
/// # Errors
/// The system's; `NotFound` if there is none.
pub fn segment(name: Option<&str>) -> io::Result<Segment> {
    let open = |path: PathBuf| File::options().read(true).write(true).open(path);
    let (file, size) = match name {
        Some(name) => (open(Path::new("/dev/shm").join(format!("ppipe-{name}/segment")))?, Size::Trusted),
        None => (open(own_memory()?)?, Size::Sealed),
    };
    Segment::attach(file, size).map_err(io::Error::other)
}

fn own_memory() -> io::Result<PathBuf> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let path = entry?.path();
        if fs::read_link(&path).is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:ppipe (")) {
            return Ok(path);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}
