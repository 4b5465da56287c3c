//! Runs random programs for as long as is wanted.
//!
//! ```text
//! cargo run --release -p differ -- --steps 10000000
//! ```
//!
//! It says now and then with which seed it could be begun again, and ends with the first difference.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use differ::judge::judge;

/// Runs random programs of pipe calls on pipes of the kernel and on ours, and compares every step.
#[derive(Parser)]
struct Args {
    /// How many steps in all; only those count that call something
    #[arg(long, default_value_t = 10_000_000)]
    steps: u64,
    /// Steps of one program
    #[arg(long, default_value_t = 500)]
    length: usize,
    /// Seed of the first program; each one's is the next number
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Stop after so many seconds, and say how far it got
    #[arg(long)]
    seconds: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let start = Instant::now();
    let limit = args.seconds.map(Duration::from_secs);
    let mut said = start;
    let (mut seed, mut steps, mut come_round) = (args.seed, 0, 0);
    while steps < args.steps && limit.is_none_or(|limit| start.elapsed() < limit) {
        match judge(seed, args.length, None) {
            Ok(tally) => {
                steps += tally.steps;
                come_round += tally.come_round;
            }
            Err(difference) => {
                eprintln!("{difference}");
                return ExitCode::FAILURE;
            }
        }
        seed += 1;
        if said.elapsed() > Duration::from_secs(10) {
            said = Instant::now();
            eprintln!(
                "{steps} steps, {:.0} a second; go on with --seed {seed}",
                steps as f64 / start.elapsed().as_secs_f64()
            );
        }
    }
    println!(
        "{steps} steps, seeds {} to {} of length {}, no difference, {come_round} pipes came round, {:.0} s",
        args.seed,
        seed - 1,
        args.length,
        start.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}
