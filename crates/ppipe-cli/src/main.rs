#![forbid(unsafe_code)]
//! The command `ppipe`: try the pipe out.
//!
//! ```text
//!   args ──> demo ──> children ──> writer_process ══ ppipe and kernel_pipe ══> reader_process
//!    │        │          └─ control: orders and reports           workload: what is moved, and how it is cut
//!    │        └─> figures ──> table                               input: the files
//!    ├─────> named ── interrupt                                   cache_line: the physical limit
//!    ├─────> listing, status, cleaning ── pipes: what is there of them   processes: what /proc says
//!    └─────> doctor: what a pipe needs of the machine
//! ```
//!
//! Results go to standard output, progress and failures to standard error, as `ppipe: what: why`. The exit code is 1
//! after a failure and 2 after a command line that cannot be understood.

mod args;
mod cache_line;
mod children;
mod cleaning;
mod control;
mod demo;
mod doctor;
mod failure;
mod figures;
mod input;
mod interrupt;
mod kernel_pipe;
mod listing;
mod named;
mod owners;
mod pipes;
mod processes;
mod reader_process;
mod status;
mod table;
mod units;
mod workload;
mod writer_process;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::failure::{Failure, from_output};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.is_told() {
                complain(&failure.to_string());
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => {
            children::end_with_starter()?;
            print(&demo::run(&args)?)
        }
        Command::Write(args) => {
            children::end_with_starter()?;
            named::write(&args)
        }
        Command::Read(args) => {
            children::end_with_starter()?;
            named::read(&args)
        }
        Command::List(args) => print(&listing::run(&args)?),
        Command::Status(args) => print(&status::run(&args)?),
        Command::Remove(args) => cleaning::remove(&args),
        Command::Sweep(args) => cleaning::sweep(&args),
        Command::Doctor(args) => {
            let diagnosis = doctor::run(&args)?;
            print(&diagnosis.text)?;
            if diagnosis.is_well { Ok(()) } else { Err(Failure::Reported) }
        }
        Command::DemoWriter(args) => {
            children::die_with_parent()?;
            writer_process::run(&args.paths, args.limit)
        }
        Command::DemoReader => {
            children::die_with_parent()?;
            reader_process::run()
        }
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(|error| from_output(&error))
}

/// Help and version go to standard output; anything else is a mistake.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return print(&error.to_string()).map_or_else(|failure| failure.exit_code().into(), |()| ExitCode::SUCCESS);
    }
    let text = error.to_string();
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // The help, and not a complaint.
        let _ = write!(io::stderr(), "{text}");
        return ExitCode::from(2);
    }
    complain(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
    ExitCode::from(2)
}

fn complain(what: &str) {
    // If nobody hears it there is nobody to tell.
    let _ = writeln!(io::stderr(), "ppipe: {what}");
}
