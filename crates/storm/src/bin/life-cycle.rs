#![forbid(unsafe_code)]
//! One name, opened and left by sixteen processes that are killed at it; and the program that all of them are.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use storm::exit_code;
use storm::life_cycle::{CROWD, LifeCycle, Seen, run_if_told};

/// Rounds of one name.
const ROUNDS_PER_NAME: u32 = 100;
const PATIENCE: Duration = Duration::from_secs(60);

/// Sixteen processes make, open, use and leave one name again and again, and are killed and stopped at that.
#[derive(Parser)]
struct Args {
    /// How often each of them opens a name.
    #[arg(long, default_value_t = 10_000)]
    rounds: u32,
    /// So many rounds have been done by an earlier run.
    #[arg(long, default_value_t = 0, value_name = "ROUNDS")]
    from: u32,
    /// What everything random follows from, but for the moments; by default another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// Begins no name after so many minutes, and says how to go on.
    #[arg(long, default_value_t = 20, value_name = "MINUTES")]
    minutes: u64,
}

fn main() -> ExitCode {
    exit_code("life-cycle", "racer", run_if_told(), || run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("where is my program? {error}"))?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}, from round {}", args.from);
    let start = Instant::now();
    let (mut done, mut names, mut sum) = (args.from, 0, Seen::default());
    while done < args.rounds && start.elapsed() < Duration::from_secs(60 * args.minutes) {
        let rounds = ROUNDS_PER_NAME.min(args.rounds - done);
        let of_name = seed.wrapping_add((done / ROUNDS_PER_NAME).into());
        // Every other name is taken away now and then.
        let unlinks = !of_name.is_multiple_of(2);
        let life =
            LifeCycle { program: program.clone(), seed: of_name, rounds, unlinks, lie: None, patience: PATIENCE };
        let seen = life.run().map_err(|failure| format!("--seed {seed} --from {done}: {failure}"))?;
        sum.opened += seen.opened;
        sum.refused += seen.refused;
        sum.kills += seen.kills;
        sum.all_killed += seen.all_killed;
        sum.stops += seen.stops;
        names += 1;
        done += rounds;
    }
    println!(
        "{names} names, {CROWD} processes at a time: opened {} times, refused {} times for a documented reason; {} killed ({} times all \
         at once), {} stopped, in {:.0} s; nothing left",
        sum.opened,
        sum.refused,
        sum.kills,
        sum.all_killed,
        sum.stops,
        start.elapsed().as_secs_f64(),
    );
    println!("{done} of {} rounds; go on with --seed {seed} --from {done}", args.rounds);
    Ok(())
}
