//! Whatever one who shares a pipe writes into its memory, all the while, nobody else is hurt; `just hostile` does it for longer.

use std::path::Path;
use std::time::Duration;

use hostile::attack::{Plan, Report, Way, run};
use hostile::scribbler::KINDS;
use hostile::seeds::seed;
use hostile::verbs::{OF_BOTH, OF_READER, OF_WRITER};
use hostile::victim::Mistake;

const ROUNDS: u64 = 2;
const CALLS: u64 = 2500;

fn plan(way: Way) -> Plan<'static> {
    Plan {
        program: Path::new(env!("CARGO_BIN_EXE_hostile")),
        seed: seed(),
        way,
        victims: 2,
        calls: CALLS,
        patience: Duration::from_secs(60),
        mistake: Mistake::None,
    }
}

fn attacked(way: Way) {
    let mut all = Report::default();
    for round in 0..ROUNDS {
        let plan = Plan { seed: plan(way).seed.wrapping_add(round), ..plan(way) };
        all.add(run(&plan).expect("nobody is hurt"));
    }
    println!("{way:?}: {all}");
    assert_eq!(all.all_calls(), ROUNDS * 2 * CALLS, "each call came back");
    assert!(all.all_writes() > 100_000, "it was under attack: {all}");
    assert!(all.calls_that("ok") > 0 && all.calls_that("InvalidData") > 0, "the attack was felt: {all}");
}

#[test]
fn one_who_opens_the_name_and_scribbles_hurts_nobody() {
    attacked(Way::Name);
}

#[test]
fn one_who_was_given_an_end_and_scribbles_hurts_nobody() {
    attacked(Way::Inheritance);
}

#[test]
fn every_verb_is_done_and_every_kind_is_written() {
    let mut all = Report::default();
    let mut round = 0;
    // As long as it takes: which kinds a scribbler comes to in its time is chance.
    while all.writes.len() < KINDS.len() && round < 100 {
        all.add(run(&Plan { seed: round, calls: 1000, ..plan(Way::Name) }).expect("nobody is hurt"));
        round += 1;
    }
    assert_eq!(all.writes.len(), KINDS.len(), "{all}");
    for (verb, _) in [OF_WRITER, OF_READER, OF_BOTH].concat() {
        assert!(all.outcomes.keys().any(|(done, _)| done == verb), "{verb}");
    }
}

#[test]
fn whoever_is_hurt_is_found() {
    let hurt = [
        (Mistake::Overrun, "exit status: 4"),
        (Mistake::Hang, "exit status: 3"),
        (Mistake::Panic, "exit status: 101"),
        (Mistake::Abort, "signal: 6"),
    ];
    for (mistake, how) in hurt {
        let plan = Plan { mistake, calls: 500, patience: Duration::from_secs(2), ..plan(Way::Name) };
        let failure = run(&plan).expect_err("it is hurt");
        assert!(failure.contains("a victim was hurt") && failure.contains(how), "{mistake}: {failure}");
    }
}
