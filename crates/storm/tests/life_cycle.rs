//! One name under fire: whoever opens it has a whole pipe, there is one of a name, and nothing stays. And whoever breaks that is caught.
//!
//! `just life-cycle` goes through 10,000 rounds.

mod one_at_a_time;

use std::time::Duration;

use one_at_a_time::{say, turn};
use storm::life_cycle::{CROWD, Failure, Lie, LifeCycle, Seen};

const ROUNDS: u32 = 60;
/// Enough for a lie to be told.
const ROUNDS_OF_LIAR: u32 = 25;
/// Runs with other seeds, for a lie that not every schedule shows.
const TRIES: u64 = 20;

fn life(seed: u64, rounds: u32, unlinks: bool, lie: Option<Lie>) -> Result<Seen, Failure> {
    let program = env!("CARGO_BIN_EXE_life-cycle").into();
    LifeCycle { program, seed, rounds, unlinks, lie, patience: Duration::from_secs(60) }.run()
}

#[test]
fn whoever_opens_a_name_has_a_whole_pipe_and_nothing_is_left_whoever_is_killed() {
    let _turn = turn();
    let seed = std::env::var("PPIPE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    for unlinks in [false, true] {
        let seen = life(seed, ROUNDS, unlinks, None);
        let seen = seen.unwrap_or_else(|failure| panic!("PPIPE_SEED={seed}, unlinks: {unlinks}: {failure}"));
        say(&format!("life cycle, unlinks: {unlinks}: {seen:?}; seed {seed}"));
        assert!(seen.opened >= u64::from(ROUNDS) * CROWD as u64);
        assert!(seen.refused > 0 && seen.kills > 0 && seen.stops > 0, "{seen:?}");
    }
}

/// A run with a liar fails, and for the right reason.
fn caught(lie: Lie, is_it: impl Fn(&Failure) -> bool) {
    let _turn = turn();
    for seed in 0..TRIES {
        match life(seed, ROUNDS_OF_LIAR, false, Some(lie)) {
            Ok(_) => {}
            Err(failure) if is_it(&failure) => {
                return say(&format!("caught {lie:?}: {}", failure.to_string().lines().next().unwrap_or("")));
            }
            Err(failure) => panic!("{lie:?} with seed {seed} was taken for: {failure}"),
        }
    }
    panic!("{lie:?} was not caught in {TRIES} runs");
}

fn caught_in_use(lie: Lie, words: &[&str]) {
    caught(lie, |failure| words.iter().any(|word| failure.to_string().contains(word)));
}

#[test]
fn a_name_that_is_given_to_another_pipe_is_caught() {
    caught_in_use(Lie::Replaces, &["another pipe's", "the name is gone"]);
}

#[test]
fn a_name_that_is_there_before_its_pipe_is_caught() {
    caught_in_use(Lie::HalfMakes, &["not a ppipe segment"]);
}

#[test]
fn a_message_that_is_cut_short_is_caught() {
    caught_in_use(Lie::CutsShort, &["a torn message"]);
}

#[test]
fn what_is_left_behind_is_caught() {
    caught(Lie::LeavesBehind, |failure| matches!(failure, Failure::Remains(_)));
}
