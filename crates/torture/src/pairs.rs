//! Two victims of one pipe at once, each led to some place of its operation, and then both dead.
//!
//! The second one is led while the first one stands where it is, and may need for its operation what that has in its hands; or it is led when the first
//! one is dead already, and if it is one that joins there is no other place in the table than that of the dead, so that it cleans up behind it.
//!
//! Which pairs there are is random; number and seed of a pair say which one it is.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use fastrand::Rng;

use crate::act::{Act, Entries, Filling, Scenario};
use crate::pipe::Broken;
use crate::stepping::Place;
use crate::walk::{Led, Survey, lead_or_leave_asleep};
use crate::world::World;

/// Operations of which a survey notes where an exchange is pending have at most so many places.
const FEW_PLACES: usize = 4000;

/// Two victims, and what becomes of them.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// What they do.
    pub scenarios: [Scenario; 2],
    /// Where they are led.
    pub places: [Place; 2],
    /// Whether the first one is dead before the second one is led.
    pub dies_first: bool,
}

/// A law that was broken when these two died.
#[derive(Debug, thiserror::Error)]
#[error("{pair}: {broken}")]
pub struct Failure {
    /// Which two.
    pub pair: Pair,
    /// What was found.
    pub broken: Broken,
}

/// What has become of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How many stood in their operations.
    pub there: u32,
    /// How many of the dead had an exchange pending.
    pub in_the_midst: u32,
}

/// Where the places of the operations are, as far as somebody has asked.
#[derive(Debug, Default)]
pub struct Surveys(HashMap<Scenario, (Survey, Vec<Place>)>);

impl Pair {
    /// The pair of that number; `some_place` chooses where a victim is led.
    ///
    /// # Errors
    /// What `some_place` says.
    pub fn new<E>(
        number: u64,
        seed: u64,
        mut some_place: impl FnMut(Scenario, &mut Rng) -> Result<Place, E>,
    ) -> Result<Self, E> {
        let mut rng = Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let all: Vec<Scenario> = Scenario::all().filter(|scenario| kind(*scenario).is_some()).collect();
        let scenarios = loop {
            let first = all[rng.usize(..all.len())];
            let second = all[rng.usize(..all.len())];
            if can_meet(first, second) {
                break [first, second];
            }
        };
        let mut places = [Place { calls: 0, steps: 0, is_asleep: false }; 2];
        for (place, scenario) in places.iter_mut().zip(scenarios) {
            *place = some_place(scenario, &mut rng)?;
        }
        Ok(Self { scenarios, places, dies_first: rng.bool() })
    }

    /// Places for a survivor and both, and no more than they need.
    fn entries(&self) -> Entries {
        let [first, second] = self.scenarios.map(Scenario::entries);
        // Who joins does so in the place of the first one.
        let takes_over = |act, first| u32::from(self.dies_first && first > 0 && self.scenarios[1].act == act);
        Entries {
            writers: 1 + first.writers + second.writers - takes_over(Act::JoinWriter, first.writers),
            readers: 1 + first.readers + second.readers - takes_over(Act::JoinReader, first.readers),
        }
    }

    /// Leads both, kills both, and lets the survivors find what they find.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn kill(self, is_reaped_by_joining: bool, program: &Path) -> Result<Outcome, Failure> {
        self.lead_and_kill(is_reaped_by_joining, program).map_err(|broken| Failure { pair: self, broken })
    }

    fn lead_and_kill(self, is_reaped_by_joining: bool, program: &Path) -> Result<Outcome, Broken> {
        let mut world = World::for_two(self.scenarios, self.entries(), program)?;
        let [mut first, mut second] = world.start_two()?;
        let led = lead_or_leave_asleep(&mut first, self.places[0])?;
        if self.dies_first {
            first.kill();
        }
        let led = [led, lead_or_leave_asleep(&mut second, self.places[1])?];
        second.kill();
        first.kill();
        let in_the_midst = world.judge(&led.map(|led| led == Led::Done), is_reaped_by_joining)?;
        let there = led.iter().map(|led| u32::from(*led == Led::There)).sum();
        Ok(Outcome { there, in_the_midst })
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [(first, at), (second, where_to)] = [0, 1].map(|index| (self.scenarios[index], self.places[index]));
        let first_is = if self.dies_first { "dead" } else { "there" };
        write!(f, "{first} {first_is} at {}+{}, {second} at {}+{}", at.calls, at.steps, where_to.calls, where_to.steps)
    }
}

impl Surveys {
    /// One of the places at which an exchange is pending, or any place.
    ///
    /// # Errors
    /// What a survey says.
    pub fn some_place(
        &mut self,
        scenario: Scenario,
        rng: &mut Rng,
        program: &Path,
    ) -> Result<Place, crate::walk::Failure> {
        let (survey, pending) = match self.0.entry(scenario) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(unknown) => {
                let survey = Survey::new(scenario, program)?;
                let is_short = survey.places().count() <= FEW_PLACES;
                let pending = if is_short { survey.pending(scenario, program)? } else { Vec::new() };
                unknown.insert((survey, pending))
            }
        };
        if !pending.is_empty() && rng.bool() {
            return Ok(pending[rng.usize(..pending.len())]);
        }
        let calls = rng.usize(..survey.calls.len());
        Ok(Place { calls: calls as u32, steps: rng.u32(..=survey.calls[calls].0), is_asleep: false })
    }
}

/// What matters for who can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    PutsPackets { are_small: bool },
    PutsBytes,
    Takes,
    Neither,
}

/// `None` if a scenario is about more than one pipe that has both victims.
fn kind(scenario: Scenario) -> Option<Kind> {
    use Act as A;
    match scenario.act {
        A::Send | A::TrySend | A::Commit | A::Abandon => Some(Kind::PutsPackets { are_small: true }),
        A::SendLarge | A::WritePackets | A::CommitLarge | A::AbandonLarge => {
            Some(Kind::PutsPackets { are_small: false })
        }
        A::Write | A::AppendOwn | A::AppendOther | A::WriteMany => Some(Kind::PutsBytes),
        A::Recv | A::TryRecv | A::RecvKeep | A::RecvBatch | A::Loan | A::Peek => Some(Kind::Takes),
        A::Grow | A::Shrink | A::JoinWriter | A::JoinReader | A::LeaveWriter | A::LeaveReader | A::Reap => {
            Some(Kind::Neither)
        }
        A::TakeUp | A::PollFd | A::PollFdWriter | A::Pass => Some(Kind::Neither),
        // A batch is short if another one has taken the room.
        A::SendBatch => None,
        A::RecvLarge | A::LoanLarge | A::ReadPart | A::ReadAll | A::ReadAcross => None,
        A::Splice | A::Tee | A::SpliceTo | A::SpliceFrom | A::WakeReader | A::WakeWriter => None,
        A::LastWriter | A::LastReader | A::Create | A::OpenWriter | A::OpenReader | A::CloseName => None,
    }
}

/// Whether both are for the same ring, and what comes of them can be told.
fn can_meet(first: Scenario, second: Scenario) -> bool {
    let (Some(kinds), true) = (both(kind(first), kind(second)), first.filling == second.filling) else { return false };
    let has = |act| first.act == act || second.act == act;
    let few = matches!(first.filling, Filling::Empty | Filling::One);
    match kinds {
        // A read of messages may come to the bytes.
        (Kind::PutsBytes, Kind::Takes) | (Kind::Takes, Kind::PutsBytes) => !few,
        // They must fit its buffers.
        (Kind::PutsPackets { are_small: false }, Kind::Takes)
        | (Kind::Takes, Kind::PutsPackets { are_small: false }) => !has(Act::RecvBatch),
        // The odd bytes of packets are merged with a stream, as in the kernel.
        (Kind::PutsBytes, Kind::PutsPackets { .. }) | (Kind::PutsPackets { .. }, Kind::PutsBytes) => {
            !has(Act::WritePackets)
        }
        // There is one socket.
        _ => !(first.act == Act::Pass && second.act == Act::Pass),
    }
}

fn both<T>(first: Option<T>, second: Option<T>) -> Option<(T, T)> {
    Some((first?, second?))
}
