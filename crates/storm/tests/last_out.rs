//! The last one out, killed while others sleep: each of them returns, and by wakes alone. And whoever lies about it is caught.
//!
//! `just last-out` plays more rounds, with the sleeps that users have, and tells how soon they return.

mod one_at_a_time;

use std::path::PathBuf;
use std::time::Duration;

use one_at_a_time::{say, turn};
use storm::Role;
use storm::last_out::{Coming, Failure, Lie, ROUNDS_OF_ALL, Round, can_see_sleepers};

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_last-out").into()
}

/// Whether a round can be played here.
fn can_play() -> bool {
    let can = can_see_sleepers();
    if !can {
        say("skipped: the kernel does not tell where a process sleeps (/proc/PID/syscall)");
    }
    can
}

/// Whether a process can go into namespaces of its own.
fn can_be_elsewhere() -> bool {
    let probe = std::process::Command::new("unshare").args(["--user", "--pid", "--fork", "true"]).output();
    let can = probe.as_ref().is_ok_and(|output| output.status.success());
    if !can {
        say(&format!("without a victim in namespaces of its own, which this system does not let it have: {probe:?}"));
    }
    can
}

#[test]
fn all_who_sleep_return_when_the_last_one_of_the_other_side_is_killed_and_nothing_is_lost() {
    let _turn = turn();
    if !can_play() {
        return;
    }
    let can_be_elsewhere = can_be_elsewhere();
    let seed = std::env::var("PPIPE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    let (mut at_words, mut at_bells, mut rounds) = (0, 0, 0);
    for number in 0..ROUNDS_OF_ALL {
        let round = Round { by_wakes_alone: true, ..Round::of(seed, number, &program()) };
        // Many processes that start take longest; two of each sort with all of them will do.
        if round.coming == Coming::Elsewhere && !can_be_elsewhere || round.peers == 64 && number % 24 >= 12 {
            continue;
        }
        let seen =
            round.play().unwrap_or_else(|failure| panic!("PPIPE_SEED={seed}, round {number}, {round:?}: {failure}"));
        assert_eq!(seen.latencies.len(), round.peers);
        at_words += seen.at_words;
        at_bells += seen.at_bells;
        rounds += 1;
    }
    say(&format!("last one out: {rounds} rounds, {at_words} slept at words and {at_bells} at bells; seed {seed}"));
    assert!(at_words > 0 && at_bells > 0, "{at_words} slept at words, {at_bells} at bells");
}

/// A round with a liar fails, and for the right reason.
fn caught(dies: Role, lie: Lie, is_it: impl Fn(&Failure) -> bool) {
    let _turn = turn();
    if !can_play() {
        return;
    }
    let patience = if lie == Lie::Stays { Duration::from_secs(1) } else { Duration::from_secs(60) };
    let coming = Coming::Handed;
    let round = Round { dies, coming, peers: 1, burst: 8, lie: Some(lie), patience, ..Round::of(0, 0, &program()) };
    let failure = round.play().expect_err("a liar");
    assert!(is_it(&failure), "{lie:?} was taken for: {failure}");
    say(&format!("caught {lie:?}: {}", failure.to_string().lines().next().unwrap_or("")));
}

#[test]
fn one_that_stops_and_does_not_die_is_caught() {
    for dies in [Role::Writer, Role::Reader] {
        caught(dies, Lie::Stays, |failure| matches!(failure, Failure::Hang { silent: 1, .. }));
    }
}

#[test]
fn an_end_before_the_death_is_caught() {
    for dies in [Role::Writer, Role::Reader] {
        caught(dies, Lie::EndsEarly, |failure| matches!(failure, Failure::Early { who: 1, .. }));
    }
}

#[test]
fn another_end_is_caught() {
    for dies in [Role::Writer, Role::Reader] {
        caught(dies, Lie::EndsOtherwise, |failure| matches!(failure, Failure::OtherEnd { who: 1, .. }));
    }
}

#[test]
fn a_message_of_the_last_moment_that_is_lost_repeated_or_too_many_is_caught() {
    let missing = |failure: &Failure| matches!(failure, Failure::Messages { missing: 1, twice: 0, invented: 0, .. });
    caught(Role::Writer, Lie::SaysMore, missing);
    caught(Role::Writer, Lie::KeepsOne, missing);
    caught(Role::Writer, Lie::SaysTwice, |failure| matches!(failure, Failure::Messages { twice: 1.., missing: 0, .. }));
    caught(Role::Writer, Lie::Boasts, |failure| matches!(failure, Failure::Messages { invented: 9, missing: 0, .. }));
    caught(Role::Reader, Lie::Boasts, |failure| matches!(failure, Failure::NoRoom { sent: 9.., taken: 8 }));
}
