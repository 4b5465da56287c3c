//! Random programs give what the kernel gives, and the judge sees mistakes.

#[path = "../../ppipe/tests/name/mod.rs"]
mod name;

use differ::judge::judge;
use differ::ours::{MISTAKES, Mistake};

/// Steps of one program.
const LENGTH: usize = 250;

#[test]
fn a_hundred_thousand_steps_of_random_programs_give_what_the_kernel_gives() {
    name::sweep();
    let seeds = match std::env::var("PPIPE_SEED") {
        Ok(seed) => vec![seed.parse().expect("PPIPE_SEED is a number")],
        Err(_) => (0..400).collect(),
    };
    for seed in seeds {
        if let Err(difference) = judge(seed, LENGTH, None) {
            panic!("{difference}");
        }
    }
}

#[test]
fn every_seeded_mistake_is_seen() {
    for mistake in MISTAKES {
        let seen = (0..400).find_map(|seed| judge(seed, LENGTH, Some(mistake)).err());
        let Some(difference) = seen else { panic!("{mistake:?} has not been seen") };
        println!("{mistake:?}: {difference}\n");
        // Opening both ends, and some steps.
        assert!(difference.program.len() <= 12, "{mistake:?} could be shown by less than {difference}");
    }
}

#[test]
fn a_difference_is_shown_by_a_short_program() {
    let difference =
        (0..400).find_map(|seed| judge(seed, LENGTH, Some(Mistake::NeverMerges)).err()).expect("it is seen");
    let text = difference.to_string();
    assert!(
        text.contains("seed") && text.contains("Write") && text.contains("kernel") && text.contains("ours"),
        "{text}"
    );
}
