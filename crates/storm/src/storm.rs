//! A storm: who takes part, what is done to them, how it went, or why it has failed.

use std::fmt::{self, Display};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::coordinator::Coordinator;
use crate::judge::Broken;
use crate::orders::{Lie, Role, Traffic, Way};

/// A storm to be.
#[derive(Clone, Debug)]
pub struct Storm {
    /// The program that children are: one that calls [`crate::child::run_if_told`] first of all.
    pub program: PathBuf,
    /// What everything random follows from, but for the moments.
    pub seed: u64,
    /// Which verbs.
    pub traffic: Traffic,
    /// How children come to the pipe.
    pub way: Way,
    /// How many writers and readers there are at a time.
    pub crowd: (usize, usize),
    /// What is done to them.
    pub trouble: Trouble,
    /// To whom.
    pub victims: Victims,
    /// Whether children say only a sample of what happens. Then what is missing cannot be told, but they are nearly always
    /// in the pipe's own code when they are killed.
    pub is_silent: bool,
    /// Who lies.
    pub lie: Option<(Role, Lie)>,
    /// No more trouble after that.
    pub until: Instant,
    /// So long without a message is a hang.
    pub patience: Duration,
}

/// What is done, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Kill, and start another one.
    Kill(u32),
    /// Stop, let the others pass messages, then continue or, one time in four, kill.
    Stop(u32),
    /// Stop, and continue after a microsecond to two seconds, several at a time.
    Pause(u32),
    /// Let so many messages pass.
    None(u64),
}

/// Who is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victims {
    /// Anybody.
    All,
    /// Writers, so that nothing at all may be missing.
    Writers,
    /// Readers, so that everything that is sent is said.
    Readers,
}

/// How a storm went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Writers that were killed.
    pub killed_writers: u32,
    /// Readers that were killed.
    pub killed_readers: u32,
    /// How often somebody was stopped and went on, or was killed as it stood.
    pub stops: u32,
    /// Of those, how often the others had to pass messages before it went on.
    pub passed: u32,
    /// Readers that came to the end of the file, when the last writer had gone.
    pub ends: u32,
    /// Messages that arrived.
    pub arrived: u64,
    /// Messages that killed readers took along.
    pub taken_along: u64,
    /// Messages of killed writers that arrived though they never said so.
    pub unsaid: u64,
    /// Looks after a kill, before anybody else cleaned up.
    pub looks: u32,
    /// Of those, ends that had died between saying which exchange comes next and saying how it ended.
    pub pending: u32,
    /// Extents that the dead had held.
    pub extents: u32,
    /// How often somebody was found standing in the midst of an exchange, and stopped or killed there.
    pub aimed: u32,
    /// The longest time without a message.
    pub silence: Duration,
    /// How long the trouble lasted.
    pub time: Duration,
}

/// Why a storm has failed.
#[derive(Debug)]
pub enum Failure {
    /// A law is broken.
    Law(Broken),
    /// No message for too long, though processes live; who holds what.
    Hang(String),
    /// No message for too long, while somebody stands stopped; who, and who holds what.
    HeldUp(String),
    /// The pages and extents are not in order when all is over; who holds what.
    Accounts(String),
    /// A child has ended when or how it should not.
    Child(String),
    /// Something is left behind, or there when it should not be.
    Remains(String),
    /// The system refused something.
    System(io::Error),
}

impl Storm {
    /// Runs it.
    ///
    /// # Errors
    /// Why it has failed. Nothing is left behind either way.
    pub fn run(&self) -> Result<Tally, Failure> {
        let mut coordinator = Coordinator::start(self)?;
        coordinator.make_trouble()?;
        coordinator.drain()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Law(broken) => write!(f, "{broken}"),
            Self::Hang(audit) => write!(f, "nothing has arrived for too long; {audit}"),
            Self::HeldUp(audit) => write!(f, "nothing arrives while somebody stands stopped: {audit}"),
            Self::Accounts(audit) => write!(f, "the accounts are not in order:\n{audit}"),
            Self::Child(what) => write!(f, "{what}"),
            Self::Remains(what) => write!(f, "left behind: {what}"),
            Self::System(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Failure {}
