//! The last one out is killed while peers sleep: each of them returns, with all that came before it; and how soon.
//!
//! ```text
//!   stage ──starts──> victim, the only one of its side            peers, of the other side: asleep, each in one call
//!     │                   │                                          │
//!     ├──kill, or "go"──> sends or takes some, and kills itself      │
//!     │                                                              v
//!     └──<── "came to its end, that one, at that time, after these messages" ── each of them
//! ```
//!
//! Nothing is decided by time but the watchdog: the victim dies when the kernel says that every peer sleeps in a call of the pipe. How long each
//! took to return is told, and decides nothing.
//!
//! # What must hold
//! A reader comes to the end of the file, a writer to a broken pipe: every one of them, and none before the victim dies. What the victim sent
//! arrives, each message once; no more is sent to it than it made room for. Then the pipe is as one that nobody else has.

mod parts;
mod said;
mod stage;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::orders::Role;
pub use parts::run_if_told;
use said::End;
pub use said::can_see_sleepers;
use stage::Stage;

/// So many peers sleep.
pub const CROWDS: [usize; 3] = [1, 8, 64];
/// Messages of the longest burst: more than there are slots.
const MOST_IN_BURST: u32 = 40;

/// How ends come to their processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Coming {
    /// Handed to children.
    Handed,
    /// Passed over sockets.
    Passed,
    /// Opened by name.
    Opened,
    /// Passed over sockets, to a victim in a user and PID namespace of its own.
    Elsewhere,
}

/// All of them.
pub const COMINGS: [Coming; 4] = [Coming::Handed, Coming::Passed, Coming::Opened, Coming::Elsewhere];

/// Rounds after which every combination has been there.
pub const ROUNDS_OF_ALL: u32 = (2 * CROWDS.len() * 2 * COMINGS.len()) as u32;

/// What somebody does wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lie {
    /// The victim stops, and does not die.
    Stays,
    /// The victim says that it has sent, or taken, one message more than it has.
    SaysMore,
    /// A peer says that it has come to the end, and has not.
    EndsEarly,
    /// A peer says that its call ended otherwise.
    EndsOtherwise,
    /// A peer keeps a message to itself.
    KeepsOne,
    /// A peer says a message twice.
    SaysTwice,
    /// A peer says that it sent, or received, more than it has.
    Boasts,
}

impl Lie {
    fn is_of_victim(self) -> bool {
        matches!(self, Self::Stays | Self::SaysMore)
    }
}

/// One round.
#[derive(Clone, Debug)]
pub struct Round {
    /// The program that children are: one that calls [`run_if_told`] first of all.
    pub program: PathBuf,
    /// Of which side the victim is.
    pub dies: Role,
    /// How many sleep.
    pub peers: usize,
    /// Whether they sleep at bells as soon as they sleep, and not at words for the first half second.
    pub at_bells: bool,
    /// Whether no sleep has a bound, so that a wake that is missing is a hang and not a delay.
    pub by_wakes_alone: bool,
    /// How ends come to their processes.
    pub coming: Coming,
    /// So many messages the victim sends or takes before it kills itself. 0: it is killed, asleep.
    pub burst: u32,
    /// What is done wrong.
    pub lie: Option<Lie>,
    /// So long without a word is a hang.
    pub patience: Duration,
}

/// What was seen in a round.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// From the kill to each one's return.
    pub latencies: Vec<Duration>,
    /// So many were asleep at words just before the victim died.
    pub at_words: usize,
    /// So many at bells.
    pub at_bells: usize,
    /// How often they slept again after that, together.
    pub sleeps: u64,
    /// Messages that came through in the last moment.
    pub messages: usize,
}

/// Why a round has failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Somebody came to the end while the last one of the other side lived.
    #[error("peer {who} came to its end before the last one was killed: {how}")]
    Early {
        /// Which peer.
        who: usize,
        /// What its call said.
        how: String,
    },
    /// Somebody came to another end.
    #[error("peer {who} should have come to {expected}, and came to {how}")]
    OtherEnd {
        /// Which peer.
        who: usize,
        /// What its call should have said.
        expected: &'static str,
        /// What it said.
        how: String,
    },
    /// What arrived is not what was sent.
    #[error("of {sent} messages {missing} are missing, {twice} came twice, and {invented} came that nobody sent")]
    Messages {
        /// How many the victim sent.
        sent: u32,
        /// How many did not arrive.
        missing: usize,
        /// How many arrived twice.
        twice: usize,
        /// How many arrived that it did not send.
        invented: usize,
    },
    /// More was sent than there was room for.
    #[error("{sent} messages were sent where {taken} had been taken")]
    NoRoom {
        /// By all peers.
        sent: usize,
        /// By the victim.
        taken: u32,
    },
    /// Nobody said anything for too long.
    #[error("nobody says anything, and {silent} have not come to their end; {audit}")]
    Hang {
        /// So many.
        silent: usize,
        /// Who holds what.
        audit: String,
    },
    /// The pipe is not as one that nobody else has.
    #[error("afterwards: {0}")]
    Afterwards(String),
    /// A child complained.
    #[error("{0}")]
    Child(String),
    /// The system refused something.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl Round {
    /// Round `number` of all that follow from `seed`: one combination after the other.
    #[must_use]
    pub fn of(seed: u64, number: u32, program: &Path) -> Self {
        let mut random = fastrand::Rng::with_seed(seed.wrapping_add(number.into()));
        let index = (number % ROUNDS_OF_ALL) as usize;
        Self {
            program: program.to_owned(),
            dies: if index.is_multiple_of(2) { Role::Writer } else { Role::Reader },
            peers: CROWDS[index / 2 % CROWDS.len()],
            at_bells: !(index / 6).is_multiple_of(2),
            by_wakes_alone: false,
            coming: COMINGS[index / 12],
            burst: if random.bool() { 0 } else { random.u32(1..=MOST_IN_BURST) },
            lie: None,
            patience: Duration::from_secs(60),
        }
    }

    /// Plays it.
    ///
    /// # Errors
    /// What does not hold. Nothing is left behind either way.
    pub fn play(&self) -> Result<Seen, Failure> {
        let mut stage = Stage::set(self)?;
        stage.start_peers()?;
        let before = stage.wait_until_all_sleep()?;
        let death = stage.end_victim()?;
        let ends = stage.hear_all_ends(death.ends_before)?;
        let latencies = self.judge_ends(&ends, death.at)?;
        let messages = self.judge_messages(&ends, death.burst)?;
        stage.judge_what_is_left()?;
        let sleeps = ends.iter().map(|end| end.sleeps).sum::<u64>().saturating_sub(before.sleeps);
        Ok(Seen { latencies, at_words: before.at_words, at_bells: before.at_bells, sleeps, messages })
    }

    /// What each peer has to come to.
    fn expected(&self) -> &'static str {
        match self.dies {
            Role::Writer => "UnexpectedEof",
            Role::Reader => "BrokenPipe",
        }
    }

    fn judge_ends(&self, ends: &[End], death: u64) -> Result<Vec<Duration>, Failure> {
        let expected = self.expected();
        (1..)
            .zip(ends)
            .map(|(who, End { how, at, .. })| match at.checked_sub(death) {
                _ if how != expected => Err(Failure::OtherEnd { who, expected, how: how.clone() }),
                None => Err(Failure::Early { who, how: how.clone() }),
                Some(latency) => Ok(Duration::from_nanos(latency)),
            })
            .collect()
    }

    fn judge_messages(&self, ends: &[End], burst: u32) -> Result<usize, Failure> {
        let messages = || ends.iter().flat_map(|end| &end.messages);
        let count = messages().count();
        if self.dies == Role::Reader {
            let is_room = count <= burst as usize;
            return if is_room { Ok(count) } else { Err(Failure::NoRoom { sent: count, taken: burst }) };
        }
        let once: HashSet<u32> = messages().copied().collect();
        let missing = (0..burst).filter(|number| !once.contains(number)).count();
        let invented = once.iter().filter(|&&number| number >= burst).count();
        let twice = count - once.len();
        if missing + invented + twice > 0 {
            return Err(Failure::Messages { sent: burst, missing, twice, invented });
        }
        Ok(count)
    }
}
