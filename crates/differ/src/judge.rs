//! Runs a program on both, finds the first difference, and makes the program that shows it as short as it gets.

use std::fmt::{self, Display};

use crate::kernel::Kernel;
use crate::ours::{Mistake, Ours};
use crate::pipes::{Outcome, Pipes};
use crate::program::{self, Lens, Step};

/// The last step of a program gave different things.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The seed that the program was made from.
    pub seed: u64,
    /// What is left of it.
    pub program: Vec<Step>,
    /// What the kernel gave.
    pub kernel: Outcome,
    /// What we gave.
    pub ours: Outcome,
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}:", self.seed)?;
        for step in &self.program {
            writeln!(f, "  {step:?}")?;
        }
        writeln!(f, "kernel: {}", brief(&self.kernel))?;
        write!(f, "ours:   {}", brief(&self.ours))
    }
}

fn brief(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Bytes(bytes) => {
            let sum = bytes.iter().fold(0_u32, |sum, &byte| sum.rotate_left(5) ^ u32::from(byte));
            format!("{} bytes, sum {sum:08x}", bytes.len())
        }
        other => format!("{other:?}"),
    }
}

/// Runs the program that `seed` makes, of `len` steps, on both. `Err`: the first difference, shrunk.
///
/// # Errors
/// [`Difference`].
pub fn judge(seed: u64, len: usize, mistake: Option<Mistake>) -> Result<(), Box<Difference>> {
    let program = program::random(seed, len);
    let run = |program: &[Step]| first_difference(program, mistake, first_position(seed));
    match run(&program) {
        None => Ok(()),
        Some((at, ..)) => {
            let program = shrink(program[..=at].to_vec(), run);
            // It was one a moment ago.
            let (_, kernel, ours) = run(&program).unwrap_or((0, Outcome::Done, Outcome::Done));
            Err(Box::new(Difference { seed, program, kernel, ours }))
        }
    }
}

/// Where our counters begin: at 0, or so that they come round while the program runs, all of them or the laps, of which a pipe of the default
/// size has 2^28.
fn first_position(seed: u64) -> u64 {
    match seed % 3 {
        0 => 0,
        1 => u64::MAX - seed % 40,
        _ => (16 << 28) - 1 - seed % 40,
    }
}

/// The first step of `program` that gives different things, and what.
fn first_difference(
    program: &[Step],
    mistake: Option<Mistake>,
    first_position: u64,
) -> Option<(usize, Outcome, Outcome)> {
    let (mut kernel, mut ours) = (Pipes::new(Kernel::new()), Pipes::new(Ours::new(mistake, first_position)));
    let mut written = [0; 2];
    for (at, step) in program.iter().enumerate() {
        let first = if let Step::Write { pipe, .. } = step { written[*pipe] } else { 0 };
        let expected = kernel.run(step, first);
        let found = ours.run(step, first);
        if found != expected {
            return Some((at, expected, found));
        }
        if let (Step::Write { pipe, .. }, Outcome::Number(count)) = (step, &expected) {
            written[*pipe] += count;
        }
    }
    None
}

/// Leaves out what can be left out, in ever smaller pieces, and makes what is left smaller.
fn shrink(mut program: Vec<Step>, run: impl Fn(&[Step]) -> Option<(usize, Outcome, Outcome)>) -> Vec<Step> {
    let shows_it = |program: &[Step]| run(program).map(|(at, ..)| at);
    let mut piece = program.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < program.len() {
            let mut shorter = program.clone();
            shorter.drain(at..(at + piece).min(program.len()));
            match shows_it(&shorter) {
                Some(last) => {
                    shorter.truncate(last + 1);
                    program = shorter;
                }
                None => at += piece,
            }
        }
        piece /= 2;
    }
    for at in 0..program.len() {
        while let Some(simpler) = simpler(&program[at]) {
            let mut changed = program.clone();
            changed[at] = simpler;
            if shows_it(&changed) != Some(program.len() - 1) {
                break;
            }
            program = changed;
        }
    }
    program
}

fn simpler(step: &Step) -> Option<Step> {
    let mut simpler = step.clone();
    match &mut simpler {
        Step::Write { lens: Lens(lens), .. } | Step::Read { lens: Lens(lens), .. } if lens.len() > 1 => {
            let sum = lens.iter().sum();
            *lens = vec![sum];
        }
        Step::Write { handle, .. }
        | Step::Read { handle, .. }
        | Step::PacketMode { handle, .. }
        | Step::Resize { handle, .. }
        | Step::Unread { handle, .. }
        | Step::Poll { handle, .. }
        | Step::Duplicate { handle, .. }
        | Step::Close { handle, .. }
            if *handle > 0 =>
        {
            *handle = 0;
        }
        _ => return None,
    }
    Some(simpler)
}
