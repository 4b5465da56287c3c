//! Names under fire: processes that open, use and leave one name all at once, and are killed at it.

mod again;
mod name;

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use again::{Complaints, Ward, command, role};
use name::Name;
use ppipe::{Builder, Reader, Writer};
use rustix::process::Signal;

const NAME: &str = "PPIPE_TEST_NAME";
const ROUNDS: u32 = 100;
const LOOKS: u32 = 12;
const CROWD: usize = 6;
/// What a racer can hear of one who has just gone, or not come yet.
const USUAL: [ErrorKind; 3] = [ErrorKind::TimedOut, ErrorKind::UnexpectedEof, ErrorKind::BrokenPipe];
const KILLS: u32 = 150;
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

#[test]
fn child_process() {
    let Some(role) = role() else { return };
    let name = std::env::var(NAME).expect("a name");
    let racer = role.parse().expect("a number");
    for round in 0..ROUNDS {
        let end = End::open(racer, &name).unwrap_or_else(|error| panic!("racer {role}, round {round}: {error}"));
        let Some(end) = end else { continue };
        // As long as we have it open, the name is our segment's. Some look at once and leave, some stay.
        for _ in 0..fastrand::u32(1..=LOOKS) {
            let audit = ppipe::audit(&name);
            let audit = audit.unwrap_or_else(|error| panic!("racer {role}, round {round}: the name is gone: {error}"));
            let is_ours = audit.held().any(|entry| entry.pid == std::process::id());
            assert!(is_ours, "racer {role}, round {round}: the name has become another segment's\n{audit}");
            end.make_use().unwrap_or_else(|error| panic!("racer {role}, round {round}, in use: {error}"));
        }
    }
}

#[test]
fn there_is_never_more_than_one_live_segment_of_a_name_whoever_is_killed() {
    let name = Name::new("races");
    let seed = std::env::var("PPIPE_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("PPIPE_SEED is a number"));
    let mut random = fastrand::Rng::with_seed(seed);
    let complaints = Complaints::new();
    let start = |number: u32| {
        let mut racer = command(&number.to_string());
        racer.env(NAME, &name.0).stderr(complaints.place());
        Ward::start(racer)
    };
    let mut racers: Vec<Ward> = (0..CROWD as u32).map(start).collect();
    let begin = Instant::now();
    for kill in 0..KILLS {
        assert!(begin.elapsed() < WATCHDOG, "PPIPE_SEED={seed}: still at kill {kill}");
        // Some stand still for a while, so that what they have seen is no longer so when they go on.
        let sleeper = &racers[random.usize(0..CROWD)];
        sleeper.signal(Signal::STOP);
        let moment = Instant::now() + Duration::from_micros(random.u64(0..10_000));
        while Instant::now() < moment {
            std::thread::yield_now();
        }
        sleeper.signal(Signal::CONT);
        let racer = &mut racers[random.usize(0..CROWD)];
        assert_eq!(complaints.text(), "", "PPIPE_SEED={seed}");
        racer.kill();
        *racer = start(CROWD as u32 + kill);
    }
    for racer in &mut racers {
        assert!(racer.has_succeeded(), "PPIPE_SEED={seed}: {}", complaints.text());
    }
    assert_eq!(complaints.text(), "", "PPIPE_SEED={seed}");
    // Whoever opens next sweeps up behind those who were killed at making, and leaves nothing itself.
    drop(small().nonblocking(true).open_reader(&name.0).expect("the name can be used again"));
    assert_eq!(name.remains(), [""; 0], "PPIPE_SEED={seed}");
}
