#![forbid(unsafe_code)]
//! A storm on the command line, and the program that the children of every storm are.
//!
//! `PPIPE_KILLS` says how many are killed, 10000 by default; `PPIPE_SEED` is what everything random follows from. That
//! half an hour is not enough for so many is a failure.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use storm::plan::{Plan, SCENARIOS};

fn main() -> ExitCode {
    storm::exit_code("storm", "child", storm::child::run_if_told(), run)
}

fn run() -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("where is my program? {error}"))?;
    let plan = Plan::from_environment(program, 10_000)?;
    let kills = plan.kills_per_scenario();
    let until = Instant::now() + Duration::from_secs(1800);
    for (what, scenario) in SCENARIOS {
        let total = plan.run(scenario, kills, until).map_err(|failure| format!("{what}: {failure}"))?;
        println!("{what}: {total}; {} of {kills} kills", total.kills());
        if total.kills() < kills {
            return Err(format!("{what}: no time for more than {} of {kills} kills", total.kills()));
        }
    }
    Ok(())
}
