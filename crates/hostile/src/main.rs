#![forbid(unsafe_code)]
//! Attacks on the command line; and the program that every child is.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use hostile::attack::{self, Plan, READY, Report, Way};
use hostile::children::be_a_child;
use hostile::seeds::seed;
use hostile::user::{self, Side};
use hostile::verbs::Ends;
use hostile::victim::{self, Mistake, Task};
use hostile::{attack::ends, scribbler};
use ppipe::Reader;

/// Attacks processes that use a pipe, by one who scribbles over its memory, and sees whether they are hurt.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// Begins no attack after so many seconds.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    seconds: u64,
    /// So many calls of each victim in each attack.
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    calls: u64,
    /// The seed of the first attack; the next one has the next one. Without it `PPIPE_SEED`, or another one each time.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Subcommand)]
enum Role {
    #[command(hide = true)]
    Victim {
        #[command(flatten)]
        child: Child,
        #[arg(long)]
        calls: u64,
        #[arg(long)]
        mistake: Mistake,
        #[arg(long)]
        patience: u64,
    },
    #[command(hide = true)]
    Scribbler {
        #[command(flatten)]
        child: Child,
    },
    #[command(hide = true)]
    User {
        #[arg(long)]
        parent: u32,
        #[arg(long)]
        name: String,
        #[arg(long)]
        side: Side,
        /// Without a handler of the signal.
        #[arg(long)]
        unguarded: bool,
    },
    #[command(hide = true)]
    Sleeper {
        #[arg(long)]
        parent: u32,
        #[arg(long)]
        name: String,
    },
    #[command(hide = true)]
    ShortOfMemory {
        #[arg(long)]
        parent: u32,
    },
}

#[derive(clap::Args)]
struct Child {
    #[arg(long)]
    parent: u32,
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    name: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.role {
        Some(role) => play(role).map_err(|error| error.to_string()),
        None => attacks(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("hostile: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn attacks(args: &Args) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("where is my program? {error}"))?;
    let first = args.seed.unwrap_or_else(seed);
    let (start, mut report, mut attacks) = (Instant::now(), Report::default(), 0);
    while start.elapsed() < Duration::from_secs(args.seconds) {
        let plan = Plan {
            program: &program,
            seed: first.wrapping_add(attacks),
            way: if attacks % 2 == 0 { Way::Name } else { Way::Inheritance },
            victims: 2,
            calls: args.calls,
            patience: Duration::from_secs(60),
            mistake: Mistake::None,
        };
        report.add(attack::run(&plan)?);
        attacks += 1;
    }
    print!("{attacks} attacks from --seed {first}; {report}");
    println!("nobody was hurt; go on with --seed {}", first.wrapping_add(attacks));
    Ok(())
}

fn play(role: Role) -> io::Result<()> {
    match role {
        Role::Victim { child, calls, mistake, patience } => {
            be_a_child(child.parent)?;
            shm_ring::fence_segments();
            let (reader, writer) = ends(child.name.as_deref())?;
            let ends = Ends::new(child.name, reader, writer)?;
            println!("{READY}");
            io::stdin().lock().read_line(&mut String::new())?;
            let task = Task { seed: child.seed, calls, patience: Duration::from_secs(patience), mistake };
            let mut out = io::stdout().lock();
            victim::run(ends, task)
                .iter()
                .try_for_each(|((verb, outcome), count)| writeln!(out, "{count} {verb}: {outcome}"))
        }
        Role::Scribbler { child } => {
            be_a_child(child.parent)?;
            let name = child.name.as_deref();
            let _end = match name {
                Some(name) => ppipe::Builder::new().nonblocking(true).must_exist().open_reader(name)?,
                None => Reader::inherited(attack::READER)?,
            };
            let segment = attack::segment(name)?;
            println!("{READY}");
            let counts = scribbler::run(&segment, child.seed)?;
            let mut out = io::stdout().lock();
            counts.iter().try_for_each(|(kind, count)| writeln!(out, "{count} {kind:?}"))
        }
        Role::User { parent, name, side, unguarded } => {
            be_a_child(parent)?;
            user::run(&name, side, unguarded)
        }
        Role::Sleeper { parent, name } => {
            be_a_child(parent)?;
            user::sleep(&name)
        }
        Role::ShortOfMemory { parent } => {
            be_a_child(parent)?;
            user::in_little_memory()
        }
    }
}
