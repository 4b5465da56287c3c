//! How fast the pipe is as a multiple of the kernel's pipe, and of what the machine can do at all.
//!
//! ```text
//!   for each round
//!     for each work
//!       limit | ours | kernel | limit      this process on CPU 0, the other one on CPU 1
//! ```
//!
//! A figure means something only beside others of the same second, so rounds are short and go over all works again and
//! again; what is reported is the median of the rounds' ratios, apart for each placement of the CPUs.

mod crowd;
mod ends;
mod figures;
mod line;
mod one_way;
mod peer;
mod report;
mod rounds;
mod still;
mod trip;
mod work;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use nix::sched::sched_getaffinity;
use nix::unistd::Pid;

use crate::line::Probe;
use crate::peer::{Assignment, Role};
use crate::report::Measured;
use crate::rounds::{MOST_MOVED, NEAR_BELOW_NS, Placement, Round};
use crate::work::{Conditions, Work};

/// Measures ppipe beside the kernel's pipe, in two processes.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    /// Only works whose name contains this; can be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Rounds of each work
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Milliseconds of one measurement
    #[arg(long, default_value_t = 60, value_name = "MS")]
    sample: u64,
    /// Lets the system choose the CPUs
    #[arg(long)]
    unpinned: bool,
    /// Writes every figure of every round to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Lists the works
    #[arg(long)]
    list: bool,
    #[command(subcommand)]
    peer: Option<Peer>,
}

#[derive(Debug, Subcommand)]
enum Peer {
    /// What the other process of a measurement is told
    #[command(hide = true)]
    Peer(Assignment),
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    if let Some(Peer::Peer(assignment)) = &options.peer {
        return play(assignment);
    }
    let is_wanted = |work: &Work| options.only.is_empty() || options.only.iter().any(|part| work.name.contains(part));
    let works: Vec<Work> = Work::all().into_iter().filter(is_wanted).collect();
    if options.list {
        works.iter().for_each(|work| println!("{}", work.name));
        return Ok(());
    }
    measure(works, &options)
}

fn play(assignment: &Assignment) -> io::Result<()> {
    match assignment.role {
        Role::Probe => line::answer(assignment.cpu),
        Role::Writer => one_way::write(assignment),
        Role::Echo => trip::echo(assignment),
        Role::Counter => crowd::count(assignment),
        Role::Idler => still::wait_idle(assignment),
        Role::Attacher => still::take_up(assignment),
    }
}

fn measure(works: Vec<Work>, options: &Options) -> io::Result<()> {
    let start = Instant::now();
    let load_before = load()?;
    let (own_cpu, peer_cpu) = if options.unpinned { (None, None) } else { (Some(0), Some(1)) };
    let all_cpus = sched_getaffinity(Pid::from_raw(0))?;
    let conditions = Conditions { sample: Duration::from_millis(options.sample), own_cpu, peer_cpu, all_cpus };
    let mut probe = Probe::start(peer_cpu)?;
    let mut all: Vec<Measured> = works.into_iter().map(|work| Measured { work, rounds: Vec::new() }).collect();
    for round in 0..options.rounds {
        for Measured { work, rounds } in &mut all {
            if round < work.rounds(options.rounds) {
                rounds.push(Round::measure(work, &mut probe, conditions)?);
            }
        }
        eprint!("\rround {} of {}, {} s", round + 1, options.rounds, start.elapsed().as_secs());
    }
    eprintln!();
    for placement in [Placement::Near, Placement::Far] {
        println!("{}", report::table(&all, placement));
    }
    let unsteady = report::unsteady(&all);
    if !unsteady.is_empty() {
        println!("no steady round, try again: {unsteady}\n");
    }
    println!(
        "ratio: how many times better ours is, median of the rounds' ratios; limit: one cache line to and fro, ns;"
    );
    println!(
        "NEAR below {NEAR_BELOW_NS} ns; dropped: rounds whose limit moved by more than {:.0} %.",
        100.0 * MOST_MOVED
    );
    println!("load average before: {load_before}, after: {}", load()?);
    match &options.json {
        Some(file) => std::fs::write(file, report::json(&all)),
        None => Ok(()),
    }
}

fn load() -> io::Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
}
