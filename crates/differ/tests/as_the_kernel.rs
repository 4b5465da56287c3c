//! Random programs give what the kernel gives, and the judge sees mistakes.

#[path = "../../ppipe/tests/name/mod.rs"]
mod name;

use std::env;

use differ::judge::{Looking, Tally, judge};
use differ::mistakes::{MISTAKES, Mistake};
use differ::step::{Lens, Step};

/// Steps of one program.
const LENGTH: usize = 250;

/// Runs one program in `every`, the first of them that of seed `first`, until so many steps have called something.
fn run(first: u64, every: usize, steps: u64) -> (usize, Tally) {
    name::sweep();
    let (mut programs, mut sum) = (0, Tally::default());
    for seed in (first..).step_by(every) {
        match judge(seed, LENGTH, None) {
            Ok(tally) => sum = Tally { steps: sum.steps + tally.steps, come_round: sum.come_round + tally.come_round },
            Err(difference) => panic!("{difference}"),
        }
        programs += 1;
        if sum.steps >= steps {
            break;
        }
    }
    println!("{programs} programs, {sum:?}");
    (programs, sum)
}

#[test]
fn a_program_gives_what_the_kernel_gives() {
    let number = |name: &str, otherwise: u64| match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => otherwise,
    };
    let (seed, length) = (number("PPIPE_SEED", 0), number("PPIPE_LENGTH", LENGTH as u64));
    if let Err(difference) = judge(seed, length as usize, None) {
        panic!("{difference}");
    }
}

/// Few, so that it ends soon where mutants are tried.
#[test]
fn the_first_programs_give_what_the_kernel_gives() {
    run(0, 1, 10_000);
}

// A hundred thousand steps, by where our counters begin.

#[test]
fn programs_give_what_the_kernel_gives() {
    let (_, Tally { steps, come_round }) = run(0, 3, 33_400);
    assert!(steps >= 33_400 && come_round == 0, "{steps} steps, {come_round} came round");
}

#[test]
fn programs_in_which_positions_come_round_give_what_the_kernel_gives() {
    let (programs, Tally { steps, come_round }) = run(1, 3, 33_400);
    assert!(steps >= 33_400 && come_round > programs / 3, "{steps} steps, {come_round} came round in {programs}");
}

#[test]
fn programs_in_which_laps_come_round_give_what_the_kernel_gives() {
    let (programs, Tally { steps, come_round }) = run(2, 3, 33_400);
    assert!(steps >= 33_400 && come_round > programs / 3, "{steps} steps, {come_round} came round in {programs}");
}

#[test]
fn every_seeded_mistake_is_seen() {
    for mistake in MISTAKES {
        let seen = (0..400).find_map(|seed| judge(seed, LENGTH, Some(mistake)).err());
        let Some(difference) = seen else { panic!("{mistake:?} has not been seen") };
        println!("{mistake:?}: {difference}\n");
        let has = |is_such: fn(&Step) -> bool| difference.program.iter().any(is_such);
        match mistake {
            // These are seen by what is looked at and read beside the steps.
            Mistake::SmallerShowsLate => assert!(!has(|step| matches!(step, Step::Poll(..))), "{difference}"),
            Mistake::LastBytesAreLost => assert!(!has(|step| matches!(step, Step::Read(..))), "{difference}"),
            Mistake::LooksPutItRight => assert_eq!(difference.looking, Looking::AtTheEnd, "{difference}"),
            _ => {}
        }
        // Opening both ends, and some steps.
        assert!(difference.program.len() <= 12, "{mistake:?} could be shown by less than {difference}");
    }
}

#[test]
fn a_difference_is_shown_by_a_short_program_of_small_steps() {
    let difference =
        (0..400).find_map(|seed| judge(seed, LENGTH, Some(Mistake::NeverMerges)).err()).expect("it is seen");
    let text = difference.to_string();
    assert!(["seed", "length", "Write", "kernel", "ours"].iter().all(|word| text.contains(word)), "{text}");
    // No write is larger than what shows it.
    let sum = |step: &Step| if let Step::Write(_, Lens(lens)) = step { lens.iter().sum() } else { 0 };
    assert!(difference.program.iter().map(sum).sum::<usize>() <= 2, "{text}");
}
