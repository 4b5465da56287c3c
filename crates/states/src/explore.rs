//! Goes through every state of a scenario, breadth first, so that what is found wrong is found by the shortest way.

use std::fmt;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::mistake::Mistake;
use crate::scenario::Scenario;
use crate::state::State;

/// How many threads explore.
const THREADS: usize = 2;

/// A scenario in which everybody makes one mistake, or none.
#[derive(Clone, Copy, Debug)]
struct Protocol {
    scenario: Scenario,
    mistake: Mistake,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// A process makes its next access.
    Access(usize),
    /// A process gets the lock of an entry from the kernel.
    Lock { process: usize, entry: u8 },
    /// A process dies.
    Death(usize),
}

impl Model for Protocol {
    type State = State;
    type Action = Event;

    fn init_states(&self) -> Vec<State> {
        vec![self.scenario.beginning()]
    }

    fn actions(&self, state: &State, events: &mut Vec<Event>) {
        if state.breach.is_some() || !state.holds_each_page_once() {
            return;
        }
        for process in 0..state.processes().len() {
            let can_go_on = state.after_step(process, self.mistake).is_some();
            events.extend(can_go_on.then_some(Event::Access(process)));
            // Who is between two operations dies as it does before the first access of the next one.
            events.extend((can_go_on && state.deaths_left > 0).then_some(Event::Death(process)));
            let free = (0..state.entry_count).filter(|&entry| state.may_join(process, entry, self.mistake));
            events.extend(free.map(|entry| Event::Lock { process, entry }));
        }
    }

    fn next_state(&self, state: &State, event: Event) -> Option<State> {
        let next = match event {
            Event::Access(process) => state.after_step(process, self.mistake)?,
            Event::Lock { process, entry } => state.after_lock(process, entry),
            Event::Death(process) => state.after_death(process),
        };
        Some(next.with_names_in_order())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut laws = vec![
            Property::always("no single access breaks a law", |_, state: &State| state.breach.is_none()),
            Property::always("each page is held exactly once", |_, state: &State| state.holds_each_page_once()),
            Property::always("the ring holds what was published, whole and in order", |_, state: &State| {
                state.holds_what_was_published()
            }),
            Property::always("everything is settled when all is quiet", |protocol: &Self, state: &State| {
                state.is_settled_if_quiet(protocol.mistake)
            }),
        ];
        if self.scenario.stops_everybody {
            laws.push(Property::always("nobody waits for one who is stopped", |protocol: &Self, state: &State| {
                state.lets_everybody_go_on(protocol.mistake)
            }));
        }
        laws
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// States that differ in more than the names of pages.
    pub states: usize,
    /// Whether that were all of them.
    pub is_complete: bool,
    /// The law that was broken, and how.
    pub broken: Option<(&'static str, Vec<String>)>,
    /// How long it took.
    pub time: Duration,
}

impl fmt::Display for Outcome {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extent = if self.is_complete { "" } else { ", not all" };
        write!(to, "{} states{extent} in {:.1} s", self.states, self.time.as_secs_f64())?;
        if let Some((law, way)) = &self.broken {
            write!(to, ", after {} events not so: {law}", way.len())?;
        }
        Ok(())
    }
}

/// Goes through all states of `scenario`, up to the first that breaks a law, for `limit` at most.
#[must_use]
pub fn explore(scenario: &Scenario, mistake: Mistake, limit: Duration) -> Outcome {
    let start = Instant::now();
    let protocol = Protocol { scenario: *scenario, mistake };
    let checker =
        protocol.checker().threads(THREADS).finish_when(HasDiscoveries::Any).timeout(limit).spawn_bfs().join();
    let broken = checker.discoveries().into_iter().next().map(|(law, path)| {
        let breach = path.last_state().breach;
        let events = path.into_actions().into_iter().map(|event| format!("{event:?}"));
        (law, events.chain(breach.map(|breach| format!("{breach:?}"))).collect())
    });
    let time = start.elapsed();
    Outcome { states: checker.unique_state_count(), is_complete: broken.is_none() && time < limit, broken, time }
}
