#![forbid(unsafe_code)]
//! The long form of the storms: kills, then pauses, among four writers and four readers; and the program that all of them are.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use storm::Trouble;
use storm::exit_code;
use storm::plan::{KILLS_PER_PIPE, Plan, SCENARIOS, Total};

/// So many pauses on one pipe.
const PAUSES_PER_PIPE: u32 = 100;
/// No single storm takes so long.
const LONGEST: Duration = Duration::from_secs(3600);

/// Kills and pauses four writers and four readers of a pipe at random instants, on one pipe after the other, and accounts for every message.
#[derive(Parser)]
struct Args {
    /// How many are killed in all.
    #[arg(long, default_value_t = 100_000)]
    kills: u32,
    /// How many are then stopped, and continued after a microsecond to two seconds.
    #[arg(long, default_value_t = 10_000)]
    stops: u32,
    /// What everything random follows from, but for the moments; by default another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// So many kills have been done by an earlier run.
    #[arg(long, default_value_t = 0, value_name = "KILLS")]
    killed: u32,
    /// So many have been stopped by an earlier run.
    #[arg(long, default_value_t = 0, value_name = "STOPS")]
    stopped: u32,
    /// Begins no pipe after so many minutes, and says how to go on.
    #[arg(long, default_value_t = 60, value_name = "MINUTES")]
    minutes: u64,
}

fn main() -> ExitCode {
    exit_code("long-storm", "child", storm::child::run_if_told(), || run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("where is my program? {error}"))?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let plan = Plan { program, seed, kills: args.kills, is_wanted: true };
    let end = Instant::now() + Duration::from_secs(60 * args.minutes);
    println!("seed {seed}, from kill {} and stop {}", args.killed, args.stopped);
    let killed = storms(&plan, args.killed, args.kills, KILLS_PER_PIPE, Trouble::Kill, end)?;
    let stopped = storms(&plan, args.stopped, args.stops, PAUSES_PER_PIPE, Trouble::Pause, end)?;
    println!(
        "{killed} of {} kills, {stopped} of {} stops; go on with --seed {seed} --killed {killed} --stopped {stopped}",
        args.kills, args.stops
    );
    Ok(())
}

/// One pipe after the other until `most` are done or it is late: how many are.
fn storms(
    plan: &Plan,
    before: u32,
    most: u32,
    per_pipe: u32,
    trouble: fn(u32) -> Trouble,
    end: Instant,
) -> Result<u32, String> {
    let mut totals: Vec<(&str, Total)> = SCENARIOS.iter().map(|(what, _)| (*what, Total::default())).collect();
    let mut done = before;
    while done < most && Instant::now() < end {
        let count = per_pipe.min(most - done);
        let (what, storm) = plan.long_storm(done / per_pipe, trouble(count), end + LONGEST);
        let tally = storm.run().map_err(|failure| {
            format!("{what}, seed {} of seed {}, after {done} of {most}: {failure}", storm.seed, plan.seed)
        })?;
        totals.iter_mut().filter(|(name, _)| *name == what).for_each(|(_, total)| total.add(tally));
        done += count;
    }
    for (what, total) in totals.iter().filter(|(_, total)| total.pipes > 0) {
        println!("{what}: {total}");
    }
    Ok(done)
}
