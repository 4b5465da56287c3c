#![forbid(unsafe_code)]
//! Kills and stops at every instruction, on the command line; and the program that every victim is.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use fastrand::Rng;
use torture::act::Scenario;
use torture::control::{Deed, Fate, Rival, count};
use torture::pairs::{Pair, Surveys};
use torture::walk::{Failure, Led, Survey, count_calls, kill_at, some_place, stop_at};

/// Leads processes through every operation of a pipe, kills or stops them after each instruction, and sees what the others find.
#[derive(Parser)]
struct Args {
    /// Stops them instead, and lets them go on after the others have passed 1000 messages.
    #[arg(long)]
    stop: bool,
    /// Rings as others build them instead, to see that something is found there.
    #[arg(long)]
    rivals: bool,
    /// So many pairs of victims instead, chosen at random.
    #[arg(long, value_name = "COUNT")]
    pairs: Option<u64>,
    /// Which places, or pairs, are chosen.
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    seed: u64,
    /// Begins with this pair: where an earlier run ended.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    from_pair: u64,
    /// Those who sleep beside the victim do so at bells, as if they had waited for long.
    #[arg(long)]
    bells: bool,
    /// Only every so-manieth place of each scenario.
    #[arg(long, default_value_t = 1, value_name = "N")]
    every: usize,
    /// So many places of each scenario instead, chosen at random without looking for all of them.
    #[arg(long, value_name = "COUNT", conflicts_with = "every")]
    sample: Option<usize>,
    /// Only scenarios whose name contains this.
    #[arg(long, default_value = "", value_name = "WORD")]
    only: String,
    /// Begins with this scenario: where an earlier run ended.
    #[arg(long, value_name = "SCENARIO")]
    from: Option<Scenario>,
    /// Begins no scenario after so many minutes, and says where to go on.
    #[arg(long, default_value_t = 60, value_name = "MINUTES")]
    minutes: u64,
}

fn main() -> ExitCode {
    let is_victim = torture::victim::run_if_told().and_then(|is_one| Ok(is_one || torture::control::run_if_told()?));
    let done = match is_victim {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => run(&Args::parse()),
        Err(error) => Err(format!("victim: {error}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("torture: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("where is my program? {error}"))?;
    if args.bells {
        shm_ring::sleep_at_bells();
    }
    if args.rivals {
        return run_rivals(args, &program);
    }
    if let Some(count) = args.pairs {
        return run_pairs(count, args, &program);
    }
    let start = Instant::now();
    let (mut all, mut scenarios) = (0, 0);
    let wanted = Scenario::all()
        .skip_while(|scenario| args.from.is_some_and(|from| *scenario != from))
        .filter(|scenario| scenario.to_string().contains(&args.only) && (!args.stop || scenario.outlasts_others()));
    for scenario in wanted {
        if start.elapsed() > Duration::from_secs(60 * args.minutes) {
            println!("{all} places of {scenarios} scenarios; go on with --from {scenario}");
            return Ok(());
        }
        all += walk(scenario, args, &program).map_err(|failure| failure.to_string())?;
        scenarios += 1;
    }
    println!("{all} places of {scenarios} scenarios, in {:.0} s; nobody was hurt", start.elapsed().as_secs_f64());
    Ok(())
}

fn run_rivals(args: &Args, program: &Path) -> Result<(), String> {
    for rival in Rival::ALL {
        for (deed, fate) in
            [Deed::Send, Deed::Recv].into_iter().flat_map(|deed| [(deed, Fate::Killed), (deed, Fate::Stopped)])
        {
            let count = count(rival, deed, fate, args.every, program)
                .map_err(|error| format!("{rival:?}, {deed:?}: {error}"))?;
            println!("{rival:?}, {deed:?}, {fate:?}: {count}");
        }
    }
    Ok(())
}

fn run_pairs(count: u64, args: &Args, program: &Path) -> Result<(), String> {
    let start = Instant::now();
    let mut surveys = Surveys::default();
    let (mut met, mut both, mut pending) = (0, 0, [0; 3]);
    for number in args.from_pair..count {
        if start.elapsed() > Duration::from_secs(60 * args.minutes) {
            println!("up to pair {number}; go on with --from-pair {number}");
            break;
        }
        let failed = |failure: &dyn std::error::Error| format!("pair {number} of seed {}: {failure}", args.seed);
        let some_place = |scenario, rng: &mut _| surveys.some_place(scenario, rng, program);
        let pair = Pair::new(number, args.seed, some_place).map_err(|failure| failed(&failure))?;
        let outcome = pair.kill(number % 2 == 1, program).map_err(|failure| failed(&failure))?;
        met += 1;
        both += u64::from(outcome.there == 2);
        // A dead one that the reaper was to clean up behind is one more.
        pending[(outcome.in_the_midst as usize).min(2)] += 1;
    }
    let [_, one, more] = pending;
    println!(
        "{met} pairs, {both} of them both in their operations; found pending: one {one} times, two or more {more} times; in {:.0} s; nobody was hurt",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Goes through the places of `scenario`; at how many the victim stood in the midst of it.
fn walk(scenario: Scenario, args: &Args, program: &Path) -> Result<usize, Failure> {
    let start = Instant::now();
    let places: Vec<_> = match args.sample {
        None => Survey::new(scenario, program)?.places().collect(),
        Some(count) => {
            let (calls, mut rng) = (count_calls(scenario, program)?, Rng::with_seed(args.seed));
            (0..count).map(|_| some_place(&mut rng, calls)).collect()
        }
    };
    let (mut there, mut pending) = (0, 0);
    for &place in places.iter().step_by(args.every.max(1)) {
        let led = if args.stop {
            stop_at(scenario, place, program)?
        } else {
            let killed = kill_at(scenario, place, program)?;
            pending += usize::from(killed.was_in_the_midst);
            killed.led
        };
        there += usize::from(led == Led::There);
    }
    let seconds = start.elapsed().as_secs_f64();
    let pending = if args.stop { String::new() } else { format!(", {pending} found in the midst of an exchange") };
    println!("{scenario}: {there} of {} places{pending}, in {seconds:.1} s", places.len());
    Ok(there)
}
