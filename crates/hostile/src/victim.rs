//! A process that does verb after verb on a pipe that is under attack, and says what came of them.
//!
//! A call that does not come back ends it with [`HANGS`], bytes beside a buffer with [`OVERRUN`]; a panic and a signal are seen by how it ends.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::process;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use crate::verbs::{Ends, any};

/// How a victim ends whose call does not come back.
pub const HANGS: i32 = 3;
/// How a victim ends that finds bytes beside its buffers.
pub const OVERRUN: i32 = 4;

/// What a victim does wrong in its midst, to show that it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Nothing.
    None,
    /// It writes a byte beside its buffer.
    Overrun,
    /// It panics.
    Panic,
    /// It is ended by a signal.
    Abort,
    /// Its call does not come back.
    Hang,
}

impl FromStr for Mistake {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "none" => Self::None,
            "overrun" => Self::Overrun,
            "panic" => Self::Panic,
            "abort" => Self::Abort,
            "hang" => Self::Hang,
            _ => return Err(format!("no such mistake: {text}")),
        })
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What came of a verb, and how often.
pub type Outcomes = BTreeMap<(String, String), u64>;

/// What a victim is to do.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// From which its verbs are chosen.
    pub seed: u64,
    /// So many calls.
    pub calls: u64,
    /// So long a call may take before it counts as one that does not come back.
    pub patience: Duration,
    /// What it does wrong.
    pub mistake: Mistake,
}

/// Calls that have come back.
static DONE: AtomicU64 = AtomicU64::new(0);

/// Does its task.
///
/// # Panics
/// If that is its mistake, or a verb gives what it cannot.
#[must_use]
pub fn run(mut ends: Ends, task: Task) -> Outcomes {
    watch(task.patience);
    let mut random = Rng::with_seed(task.seed);
    let mut outcomes = Outcomes::new();
    for call in 0..task.calls {
        if call == task.calls / 2 {
            err(&mut ends, task.mistake);
        }
        let (name, act) = any(&mut random);
        let outcome = match act(&mut ends, &mut random) {
            Ok(_) => "ok".to_owned(),
            Err(error) => described(&error),
        };
        *outcomes.entry((name.to_owned(), outcome)).or_default() += 1;
        if !ends.are_buffers_intact() {
            eprintln!("after call {call}, {name}: bytes beside a buffer");
            process::exit(OVERRUN);
        }
        // Relaxed: only counted.
        DONE.fetch_add(1, Ordering::Relaxed);
    }
    outcomes
}

fn err(ends: &mut Ends, mistake: Mistake) {
    match mistake {
        Mistake::None => {}
        Mistake::Overrun => ends.into.overrun(),
        Mistake::Panic => panic!("as it was told"),
        Mistake::Abort => process::abort(),
        Mistake::Hang => loop {
            thread::park();
        },
    }
}

fn described(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| format!("{:?}", error.kind()), |code| format!("errno {code}"))
}

/// Ends this process if no call comes back for so long.
fn watch(patience: Duration) {
    thread::spawn(move || {
        let mut before = None;
        loop {
            thread::sleep(patience);
            let now = DONE.load(Ordering::Relaxed);
            if before.replace(now) == Some(now) {
                eprintln!("call {now} does not come back");
                process::exit(HANGS);
            }
        }
    });
}
