#![forbid(unsafe_code)]
//! The last writer, or reader, killed again and again while its peers sleep; and the program that all of them are.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use storm::exit_code;
use storm::last_out::{Coming, Round, can_be_elsewhere, can_see_sleepers, run_if_told};
use storm::latencies::Latencies;

/// Kills the last one of a side while 1, 8 and 64 of the other one sleep, at words and at bells: each of them has to return.
#[derive(Parser)]
struct Args {
    /// How many rounds.
    #[arg(long, default_value_t = 1000)]
    rounds: u32,
    /// Begins with this round: where an earlier run ended.
    #[arg(long, default_value_t = 0, value_name = "ROUND")]
    from: u32,
    /// What everything random follows from; by default another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// Begins no round after so many minutes, and says where to go on.
    #[arg(long, default_value_t = 20, value_name = "MINUTES")]
    minutes: u64,
    /// Plays them with pipes of the kernel, to compare with.
    #[arg(long)]
    kernel: bool,
}

fn main() -> ExitCode {
    exit_code("last-out", "child", run_if_told(), || run(&Args::parse()))
}

/// What was seen of one sort of rounds.
#[derive(Default)]
struct Sort {
    rounds: u32,
    latencies: Latencies,
    at_words: usize,
    at_bells: usize,
    sleeps: u64,
    messages: usize,
}

fn run(args: &Args) -> Result<(), String> {
    if !can_see_sleepers() {
        return Err("the kernel does not tell where a process sleeps (/proc/PID/syscall)".to_owned());
    }
    let program = std::env::current_exe().map_err(|error| format!("where is my program? {error}"))?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}, from round {}", args.from);
    let can_be_elsewhere = can_be_elsewhere().map_err(|error| {
        println!("skipped: victims in namespaces of their own, which this system does not let them have: {error}");
    });
    let start = Instant::now();
    let mut sorts: BTreeMap<(bool, usize), Sort> = BTreeMap::new();
    let (mut done, mut elsewhere) = (0, 0);
    for number in args.from..args.from.saturating_add(args.rounds) {
        if start.elapsed() > Duration::from_secs(60 * args.minutes) {
            break;
        }
        let mut round = Round::of(seed, number, &program);
        if args.kernel {
            (round.coming, round.at_bells) = (Coming::Kernel, false);
        }
        if round.coming == Coming::Elsewhere && can_be_elsewhere.is_err() {
            round.coming = Coming::Passed;
        }
        let seen = round.play().map_err(|failure| format!("--seed {seed} --from {number}: {round:?}: {failure}"))?;
        let sort = sorts.entry((round.at_bells, round.peers)).or_default();
        sort.rounds += 1;
        sort.latencies.add(&seen.latencies);
        sort.at_words += seen.at_words;
        sort.at_bells += seen.at_bells;
        sort.sleeps += seen.sleeps;
        sort.messages += seen.messages;
        elsewhere += u32::from(round.coming == Coming::Elsewhere);
        done += 1;
    }
    for ((wants_bells, peers), sort) in &sorts {
        println!(
            "{peers:2} asleep {}: {} rounds, {} found at words and {} at bells, {} more sleeps for nothing, {} messages in the last moment; {}",
            if args.kernel {
                "in the kernel"
            } else if *wants_bells {
                "at bells"
            } else {
                "at words"
            },
            sort.rounds,
            sort.at_words,
            sort.at_bells,
            sort.sleeps,
            sort.messages,
            sort.latencies,
        );
    }
    let next = args.from + done;
    println!(
        "{done} of {} rounds, {elsewhere} of them across PID namespaces, in {:.0} s; go on with --seed {seed} --from {next}",
        args.rounds,
        start.elapsed().as_secs_f64(),
    );
    Ok(())
}
