//! Kill storms: whoever dies at whatever instant costs at most its own unfinished operation.
//!
//! The ordinary run kills 10,000 where every message is accounted for, and 3,334 more where victims are in the pipe's own code for nearly
//! all of their time and say little, in two to three minutes; on a machine so busy that a scenario would take more than a minute,
//! it says how many fewer, and half of them are enough. `PPIPE_KILLS` says how many instead, has more time, and fewer are a
//! failure; `PPIPE_SEED` repeats one that failed, as far as chance allows.

mod one_at_a_time;

use std::time::{Duration, Instant};

use one_at_a_time::{plan, say, turn};
use storm::herd::{children_of, is_running};
use storm::plan::SCENARIOS;

const KILLS: u32 = 10_000;
const TIME: Duration = Duration::from_secs(60);
/// So much more for each kill that somebody asked for: ten times what it takes.
const TIME_PER_KILL: Duration = Duration::from_millis(100);
/// Among so many that die, some die in the midst of an exchange.
const SOME_HUNDRED: u32 = 300;

fn survive(scenario: usize) {
    let _turn = turn();
    let (what, scenario) = SCENARIOS[scenario];
    let plan = plan(KILLS);
    let kills = plan.kills_per_scenario();
    let (least, time) = if plan.is_wanted { (kills, TIME + TIME_PER_KILL * kills) } else { (kills.div_ceil(2), TIME) };
    let start = Instant::now();
    let total = plan.run(scenario, kills, start + time);
    let total = total.unwrap_or_else(|failure| panic!("{what}: {failure}"));
    let rate = f64::from(total.kills()) / start.elapsed().as_secs_f64();
    let of_all = format!("{} of {kills} kills, at least {least} required; seed {}", total.kills(), plan.seed);
    say(&format!("{what}: {total}; {rate:.0} kills a second; {of_all}"));
    assert!(total.kills() >= least, "{what}: only {of_all}");
    if total.kills() >= SOME_HUNDRED {
        assert!(total.tally.aimed > 0, "{what}: nobody was killed standing in the midst of an exchange; {of_all}");
        assert!(total.tally.pending > 0, "{what}: nobody's exchange was found pending; {of_all}");
    }
}

#[test]
fn messages_survive_the_death_of_anybody_who_inherited_an_end() {
    survive(0);
}

#[test]
fn messages_survive_the_death_of_anybody_who_opened_a_name() {
    survive(1);
}

#[test]
fn no_message_at_all_is_missing_when_only_writers_die() {
    survive(2);
}

#[test]
fn readers_that_die_take_along_one_message_at_most() {
    survive(3);
}

#[test]
fn the_records_of_a_stream_survive_the_death_of_anybody() {
    survive(4);
}

#[test]
fn no_record_of_a_stream_is_missing_when_only_writers_die() {
    survive(5);
}

#[test]
fn whoever_dies_in_the_midst_of_sending_or_receiving_takes_no_page_along() {
    survive(6);
}

#[test]
fn whoever_dies_in_the_midst_of_writing_or_reading_takes_no_page_along() {
    survive(7);
}

#[test]
fn no_child_outlives_its_coordinator() {
    let _turn = turn();
    let mut coordinator = std::process::Command::new(env!("CARGO_BIN_EXE_storm"))
        .env("PPIPE_KILLS", "1000000")
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("a coordinator");
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut children = Vec::new();
    while children.len() < 3 && Instant::now() < deadline {
        children = children_of(coordinator.id()).unwrap_or_default();
        std::thread::yield_now();
    }
    coordinator.kill().expect("it runs");
    coordinator.wait().expect("it is ours");
    assert!(children.len() >= 3, "it never had three children");
    while children.iter().any(|&child| is_running(child)) {
        assert!(Instant::now() < deadline, "one of {children:?} is still there");
        std::thread::yield_now();
    }
}

#[test]
fn what_the_environment_asks_for_is_a_number_or_a_failure() {
    for variable in ["PPIPE_KILLS", "PPIPE_SEED"] {
        let mut coordinator = std::process::Command::new(env!("CARGO_BIN_EXE_storm"));
        let output = coordinator.env("PPIPE_KILLS", "0").env(variable, "10k").output().expect("a coordinator");
        assert!(!output.status.success(), "{variable}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(variable) && text.contains("10k"), "{text}");
    }
}
