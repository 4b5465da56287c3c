//! Runs a program on both, and finds the first difference.

use std::fmt::{self, Display};
use std::thread;

use rustix::io::Errno;

use crate::kernel::Kernel;
use crate::mistaken::Mistaken;
use crate::mistakes::Mistake;
use crate::ours::Ours;
use crate::pipes::{Outcome, Pipes, View};
use crate::privilege;
use crate::program;
use crate::shrink::shrink;
use crate::step::Step;
use crate::system::System;

/// What has been compared, where there was no difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Steps that called something.
    pub steps: u64,
    /// Pipes of ours whose counters have come round.
    pub come_round: usize,
}

/// The last step of a program gave, or left, different things.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The seed that the program was made from.
    pub seed: u64,
    /// Of how many steps it was.
    pub length: usize,
    /// Whether it shows where one looks after each step, or where one does not.
    pub looking: Looking,
    /// What is left of it.
    pub program: Vec<Step>,
    /// What the kernel gave, and what we gave.
    pub seen: Box<(Seen, Seen)>,
}

/// When all handles are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looking {
    /// After each step.
    AfterEachStep,
    /// After the last one only: a look may put right what is wrong.
    AtTheEnd,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// What a step gave.
    Outcome(Outcome),
    /// What the handles show then.
    Views(Result<(usize, Vec<View>), Errno>),
    /// What was left at the end of the program.
    Rest(Outcome),
    /// What is wrong with the accounts of a pipe.
    Accounts(Result<(), String>),
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, length, looking, program, seen } = self;
        writeln!(f, "seed {seed}, length {length}, looking {looking:?}:")?;
        for step in program {
            writeln!(f, "  {step:?}")?;
        }
        writeln!(f, "kernel: {}\nours:   {}", seen.0, seen.1)?;
        write!(f, "{}", Again { seed: *seed, length: *length })
    }
}

impl Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outcome(outcome) => write!(f, "{}", brief(outcome)),
            Self::Views(views) => write!(f, "then {views:?}"),
            Self::Rest(outcome) => write!(f, "left at the end: {}", brief(outcome)),
            Self::Accounts(accounts) => write!(f, "the accounts: {accounts:?}"),
        }
    }
}

fn brief(Outcome { answers, bytes }: &Outcome) -> String {
    let sum = bytes.iter().fold(0_u32, |sum, &byte| sum.rotate_left(5) ^ u32::from(byte));
    format!("{answers:?}, {} bytes, sum {sum:08x}", bytes.len())
}

/// Runs the program that `seed` makes, of `length` steps, on both. `Err`: the first difference, shrunk.
///
/// # Errors
/// [`Difference`].
pub fn judge(seed: u64, length: usize, mistake: Option<Mistake>) -> Result<Tally, Box<Difference>> {
    // Of this thread.
    privilege::is_ordinary();
    let _told_on_panic = Again { seed, length };
    let program = program::random(seed, length);
    let run = |program: &[Step], looking| {
        let ours = Ours::new(first_position(seed));
        match mistake {
            None => compare(program, Pipes::new(ours), looking),
            Some(mistake) => compare(program, Pipes::new(Mistaken::new(ours, mistake)), looking),
        }
    };
    let mut tally = Tally::default();
    for looking in [Looking::AfterEachStep, Looking::AtTheEnd] {
        match run(&program, looking) {
            Ok(found) => tally = found,
            Err(Found { at, seen }) => {
                let shortened = shrink(program[..=at].to_vec(), |program| Some(run(program, looking).err()?.at));
                // It was one a moment ago.
                let (program, seen) = match run(&shortened, looking) {
                    Err(Found { seen, .. }) => (shortened, seen),
                    Ok(_) => (program, seen),
                };
                return Err(Box::new(Difference { seed, length, looking, program, seen }));
            }
        }
    }
    Ok(tally)
}

/// How to run a program again; says so where something panics.
struct Again {
    seed: u64,
    length: usize,
}

impl Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, length } = self;
        writeln!(f, "again: PPIPE_SEED={seed} PPIPE_LENGTH={length} cargo test -p differ a_program")?;
        write!(f, "or:    just differ --seed {seed} --length {length} --steps 1")
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{self}");
        }
    }
}

/// Where our counters begin: at 0, or so that they come round while the program runs, all of them or the laps: there are 2^28 of them, in the ring
/// that a pipe begins with, or in one that it grows to, and all smaller ones too.
fn first_position(seed: u64) -> u64 {
    let before = 1 + seed % 20;
    match seed % 3 {
        0 => 0,
        1 => u64::MAX - before,
        _ => (16 << (28 + seed / 3 % 5)) - before,
    }
}

/// A difference, and the step after which it was seen.
struct Found {
    at: usize,
    seen: Box<(Seen, Seen)>,
}

fn compare<S: System>(program: &[Step], mut ours: Pipes<S>, looking: Looking) -> Result<Tally, Found> {
    let mut kernel = Pipes::new(Kernel::new());
    let mut tally = Tally::default();
    for (at, step) in program.iter().enumerate() {
        // Before it: what would wait in the one must not do so in the other one either.
        let is_to_wait_never = kernel.might_wait(step);
        let expected = kernel.run(step, is_to_wait_never);
        let is_of_a_call = expected.is_of_a_call();
        same(at, Seen::Outcome(expected), Seen::Outcome(ours.run(step, is_to_wait_never)))?;
        tally.steps += u64::from(is_of_a_call);
        if is_of_a_call && looking == Looking::AfterEachStep {
            same(at, Seen::Views(kernel.look()), Seen::Views(ours.look()))?;
        }
    }
    let last = program.len().saturating_sub(1);
    same(last, Seen::Views(kernel.look()), Seen::Views(ours.look()))?;
    same(last, Seen::Rest(kernel.drain()), Seen::Rest(ours.drain()))?;
    same(last, Seen::Views(kernel.look()), Seen::Views(ours.look()))?;
    match ours.come_round() {
        Ok(come_round) => Ok(Tally { come_round, ..tally }),
        Err(wrong) => same(last, Seen::Accounts(Ok(())), Seen::Accounts(Err(wrong))).map(|()| tally),
    }
}

fn same(at: usize, kernel: Seen, ours: Seen) -> Result<(), Found> {
    if kernel == ours { Ok(()) } else { Err(Found { at, seen: Box::new((kernel, ours)) }) }
}
