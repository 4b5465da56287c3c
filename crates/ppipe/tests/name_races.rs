//! Names under fire: processes that open, use and leave one name all at once, and are killed at it, while others sweep up behind the dead.

mod again;
mod name;

use std::fs;
use std::io::{self, ErrorKind};
use std::thread;
use std::time::{Duration, Instant};

use again::{Complaints, Ward, command, role};
use name::Name;
use ppipe::{Builder, Found, Reader, Writer};
use rustix::process::Signal;

const NAME: &str = "PPIPE_TEST_NAME";
const ROUNDS: u32 = 100;
const LOOKS: u32 = 12;
const CROWD: usize = 6;
/// So few that now and then none is there.
const FEW: usize = 3;
/// What a racer can hear of one who has just gone, or not come yet.
const USUAL: [ErrorKind; 3] = [ErrorKind::TimedOut, ErrorKind::UnexpectedEof, ErrorKind::BrokenPipe];
const KILLS: u32 = 150;
const SWEEPS: u32 = 25;
/// Nothing here takes so long; what takes longer has failed.
const WATCHDOG: Duration = Duration::from_secs(60);

fn small() -> Builder {
    Builder::new().slots(2).slot_size(64).max_readers(16).max_writers(16)
}

/// What a racer has open.
enum End {
    Reader(Reader),
    Writer(Writer),
}

impl End {
    /// Opens as the racer's number has it; `None` if nobody came to meet it.
    fn open(racer: u32, name: &str) -> io::Result<Option<Self>> {
        let soon = small().open_timeout(Duration::from_millis(10));
        let opened = match racer % 3 {
            0 => small().nonblocking(true).open_reader(name).map(Self::Reader),
            1 => soon.open_reader(name).map(Self::Reader),
            _ => soon.open_writer(name).map(Self::Writer),
        };
        match opened {
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Sends or receives a message; that nobody is there for it is as good.
    fn make_use(&self) -> io::Result<()> {
        let wait = Duration::from_micros(100);
        let used = match self {
            Self::Reader(reader) => reader.recv_timeout(&mut [0; 8], wait).map(drop),
            Self::Writer(writer) => writer.send_timeout(&[7; 100], wait),
        };
        match used {
            Err(error) if !USUAL.contains(&error.kind()) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Sweeps up behind the dead, and never what lives.
const SWEEPER: &str = "sweeper";
/// Removes what it has seen to be abandoned a moment ago, without closing it: what a sweeper must not do.
const CARELESS: &str = "careless sweeper";

#[test]
fn child_process() {
    let Some(role) = role() else { return };
    let name = std::env::var(NAME).expect("a name");
    match role.as_str() {
        SWEEPER => sweep_for_ever(&name, |found| {
            found.sweep().unwrap_or_else(|error| panic!("{}: {error}", found.path.display()));
        }),
        CARELESS => sweep_for_ever(&name, sweep_carelessly),
        racer => race(racer.parse().expect("a number"), &name),
    }
}

fn race(racer: u32, name: &str) {
    for round in 0..ROUNDS {
        let end = End::open(racer, name).unwrap_or_else(|error| panic!("racer {racer}, round {round}: {error}"));
        let Some(end) = end else { continue };
        // As long as we have it open, the name is our segment's. Some look at once and leave, some stay.
        for _ in 0..fastrand::u32(1..=LOOKS) {
            let audit = ppipe::audit(name);
            let audit = audit.unwrap_or_else(|error| panic!("racer {racer}, round {round}: the name is gone: {error}"));
            let is_ours = audit.held().any(|entry| entry.pid == std::process::id());
            assert!(is_ours, "racer {racer}, round {round}: the name has become another segment's\n{audit}");
            end.make_use().unwrap_or_else(|error| panic!("racer {racer}, round {round}, in use: {error}"));
        }
    }
}

/// Until it is killed.
fn sweep_for_ever(name: &str, sweep: impl Fn(&Found)) {
    loop {
        let all = ppipe::names().expect("shared memory");
        all.iter().filter(|found| found.name == name).for_each(&sweep);
    }
}

fn sweep_carelessly(found: &Found) {
    if found.looks_abandoned().is_ok_and(|is_abandoned| is_abandoned == Some(true)) {
        // As if it were stopped between its look and its deed.
        thread::sleep(Duration::from_millis(fastrand::u64(0..10)));
        let _ = fs::remove_dir_all(&found.path);
    }
}

/// A crowd of racers, of which now and then one is stopped for a while and one is killed and replaced.
struct Race {
    name: Name,
    seed: u64,
    random: fastrand::Rng,
    complaints: Complaints,
    racers: Vec<Ward>,
    started: u32,
    begin: Instant,
}

impl Race {
    fn begin(what: &str, crowd: usize) -> Self {
        let seed = std::env::var("PPIPE_SEED")
            .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("PPIPE_SEED is a number"));
        let (name, random, complaints) = (Name::new(what), fastrand::Rng::with_seed(seed), Complaints::new());
        let mut race = Self { name, seed, random, complaints, racers: Vec::new(), started: 0, begin: Instant::now() };
        for _ in 0..crowd {
            let racer = race.start_next();
            race.racers.push(racer);
        }
        race
    }

    fn start(&self, role: &str) -> Ward {
        let mut racer = command(role);
        racer.env(NAME, &self.name.0).stderr(self.complaints.place());
        Ward::start(racer)
    }

    fn start_next(&mut self) -> Ward {
        self.started += 1;
        self.start(&self.started.to_string())
    }

    fn kill_one(&mut self) {
        assert!(self.begin.elapsed() < WATCHDOG, "PPIPE_SEED={}: still at {}", self.seed, self.started);
        // Some stand still for a while, so that what they have seen is no longer so when they go on.
        let sleeper = self.random.usize(0..self.racers.len());
        self.racers[sleeper].signal(Signal::STOP);
        let moment = Instant::now() + Duration::from_micros(self.random.u64(0..10_000));
        while Instant::now() < moment {
            thread::yield_now();
        }
        self.racers[sleeper].signal(Signal::CONT);
        let victim = self.random.usize(0..self.racers.len());
        self.racers[victim].kill();
        self.racers[victim] = self.start_next();
    }

    /// Leaves a name that nobody has, and others who want it.
    fn kill_all(&mut self) {
        self.racers.iter_mut().for_each(Ward::kill);
        self.racers = (0..self.racers.len()).map(|_| self.start_next()).collect();
    }

    fn assert_nobody_complains(&self) {
        assert_eq!(self.complaints.text(), "", "PPIPE_SEED={}", self.seed);
    }

    /// Waits for those who are left.
    fn end(&mut self) {
        for racer in &mut self.racers {
            assert!(racer.has_succeeded(), "PPIPE_SEED={}: {}", self.seed, self.complaints.text());
        }
        self.assert_nobody_complains();
    }
}

#[test]
fn there_is_never_more_than_one_live_segment_of_a_name_whoever_is_killed() {
    let mut race = Race::begin("races", CROWD);
    for _ in 0..KILLS {
        race.kill_one();
        race.assert_nobody_complains();
    }
    race.end();
    // Whoever opens next sweeps up behind those who were killed at making, and leaves nothing itself.
    drop(small().nonblocking(true).open_reader(&race.name.0).expect("the name can be used again"));
    assert_eq!(race.name.remains(), [""; 0], "PPIPE_SEED={}", race.seed);
}

#[test]
fn a_sweeper_removes_all_that_the_dead_left_and_nothing_that_lives() {
    let mut race = Race::begin("swept", FEW);
    let mut sweepers = [race.start(SWEEPER), race.start(SWEEPER)];
    for _ in 0..SWEEPS {
        race.kill_one();
        race.kill_all();
        // It too may die at any moment.
        sweepers[0].kill();
        sweepers[0] = race.start(SWEEPER);
        race.assert_nobody_complains();
    }
    sweepers.iter_mut().for_each(Ward::kill);
    race.end();
    for found in ppipe::names().expect("shared memory").iter().filter(|found| found.name == race.name.0) {
        assert!(found.sweep().expect("it can be swept"), "PPIPE_SEED={}: {found:?} is nobody's", race.seed);
    }
    assert_eq!(race.name.remains(), [""; 0], "PPIPE_SEED={}", race.seed);
}

#[test]
fn a_sweeper_that_does_not_close_what_it_removes_is_noticed() {
    let mut race = Race::begin("careless", FEW);
    let _sweepers = [race.start(CARELESS), race.start(CARELESS)];
    while race.complaints.text().is_empty() {
        race.kill_one();
        race.kill_all();
    }
}
