#![forbid(unsafe_code)]
//! Kills and stops at every instruction, on the command line; and the program that every victim is.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use torture::act::Scenario;
use torture::walk::{Failure, Led, Survey, kill_at, stop_at};

/// Leads processes through every operation of a pipe, kills or stops them after each instruction, and sees what the others find.
#[derive(Parser)]
struct Args {
    /// Stops them instead, and lets them go on after the others have passed 1000 messages.
    #[arg(long)]
    stop: bool,
    /// Only every so-manieth place of each scenario.
    #[arg(long, default_value_t = 1, value_name = "N")]
    every: usize,
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
    let done = match torture::victim::run_if_told() {
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

/// Goes through the places of `scenario`; at how many the victim stood in the midst of it.
fn walk(scenario: Scenario, args: &Args, program: &Path) -> Result<usize, Failure> {
    let start = Instant::now();
    let places: Vec<_> = Survey::new(scenario, program)?.places().collect();
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
