//! The protocol keeps its laws in every state, and each mistake is noticed.

use std::time::Duration;

use states::explore::explore;
use states::mistake::Mistake;
use states::scenario::{SHORT, that_shows};

/// Only so that one which has become endless is seen as that.
const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn no_state_of_any_scenario_breaks_a_law() {
    let mut states = 0;
    for scenario in SHORT {
        let outcome = explore(scenario, Mistake::None, LIMIT);
        println!("{}: {outcome}", scenario.name);
        assert!(outcome.broken.is_none(), "{}: {:#?}", scenario.name, outcome.broken);
        assert!(outcome.is_complete, "{}: {outcome}", scenario.name);
        states += outcome.states;
    }
    println!("{states} states in all");
    assert!(states >= 600_000, "only {states} states");
}

#[test]
fn each_mistake_breaks_a_law() {
    for mistake in Mistake::ALL {
        let scenario = that_shows(mistake).expect("a scenario for each mistake");
        let outcome = explore(scenario, mistake, LIMIT);
        println!("{mistake:?}: {outcome}");
        assert!(outcome.broken.is_some(), "{mistake:?} is not seen in {}: {outcome}", scenario.name);
    }
}
