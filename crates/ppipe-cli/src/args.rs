//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::children::{READER_COMMAND, WRITER_COMMAND};
use crate::units::parse_size;

/// A pipe in user space: streams and packets between processes at shared-memory speed.
#[derive(Debug, Parser)]
#[command(name = "ppipe", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Move real files between two processes, through this pipe and the kernel's; check and time both
    #[command(long_about = DEMO_ABOUT)]
    Demo(DemoArgs),
    /// Copy standard input to the pipe NAME
    ///
    /// Makes the pipe if there is none, and waits for a reader. The name is gone when the last end is.
    ///
    /// Success means that the pipe has taken everything, not that it was read: that a reader was killed is noticed when
    /// the pipe is full.
    Write(WriteArgs),
    /// Copy the pipe NAME to standard output
    ///
    /// Makes the pipe if there is none, and waits for a writer. Ends when the last writer is gone and everything is read.
    Read(ReadArgs),
    /// List the pipes that have a name: memory, slots, who is there
    ///
    /// Also those that were left behind by users who were killed, and those that are half made. What other users have is named, and no more.
    #[command(name = "ls")]
    List(ListArgs),
    /// Who holds what of the pipe NAME: for when something is stuck
    ///
    /// Looks twice, --seconds apart: what stands still meanwhile has done so for at least that long. Each line is a writer or a reader, with the
    /// process that has it, whether that runs, sleeps or is stopped, and what it holds; below is what that means, and what to do. Joins nothing and
    /// holds up nobody; cleans up behind the dead, as the next one to open the pipe would.
    #[command(name = "stat")]
    Status(StatusArgs),
    /// Take the name away from the pipe NAME
    ///
    /// Who has it open goes on using it; who opens the name from now on comes to another pipe. Also for one that is damaged or of another version.
    #[command(name = "rm")]
    Remove(RemoveArgs),
    /// Remove the names and half-made directories that the dead left in /dev/shm
    ///
    /// Of all pipes, or of those that are named. What anybody has open stays, and so does what somebody is opening or making at this moment. Prints what is removed. The exit code is 1 if
    /// something could not be looked at or removed, but for what is another user's.
    #[command(name = "gc")]
    Sweep(SweepArgs),
    /// Look whether this machine has what a pipe needs, and say what to do where it has not
    ///
    /// Makes two small pipes for a moment, one of them with a name, to see that it works; and looks at /dev/shm, /proc, the limits of this process
    /// and of its control group, what the kernel can do, what happens at a logout, and what the dead left. To be run as the user, and in the container, whose
    /// programs have the trouble. The exit code is 1 if something is to be done.
    Doctor(DoctorArgs),
    #[command(hide = true, name = WRITER_COMMAND)]
    DemoWriter(DemoWriterArgs),
    #[command(hide = true, name = READER_COMMAND)]
    DemoReader,
}

const DEMO_ABOUT: &str = "\
Move real files between two processes, through this pipe and the kernel's; check and time both.

The writing process reads the input into its memory before anything is timed. Then, in each round and through both \
pipes by turns, it sends the input, again and again until --amount bytes are moved:
  - as a stream, written in pieces of 4 KiB and of 64 KiB;
  - as packets of 64 bytes (a quarter of the amount), of 4 KiB and of 64 KiB. The kernel's pipe carries packets of up \
to a page in its packet mode, O_DIRECT; larger ones as a stream, with four bytes of length before each.

Without FILE the input is this program, then the libraries in /usr/lib, then the files in /usr/bin, up to 64 MiB or \
--limit: at most so much of what is moved is distinct, and the rest repeats it.

The reading process computes a checksum of all it receives, which is part of the time on both sides, and checks every \
packet's length. The rates are medians over the rounds; the ratio is the median of the rounds' ratios.

The latencies are halves of round trips of 64-byte packets. `kernel pipe` sleeps in the kernel when it is empty, as \
usual; `polled` is nonblocking and tried again and again. `one cache line` is a word that two threads pass to and fro: \
nothing between two CPUs is faster. With one CPU, or others at work on them, the figures say little.";

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Files to move, and directories with all files below; by default this program, the libraries in /usr/lib and all
    /// files in /usr/bin, of which 64 MiB are enough
    #[arg(value_name = "FILE")]
    pub(crate) paths: Vec<PathBuf>,

    /// Print the figures as JSON
    #[arg(long = "json")]
    pub(crate) is_json: bool,

    /// How often everything is measured, if there is time
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// Seconds after which no new round is begun
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) seconds: u32,

    /// Bytes to move through each pipe in each round
    #[arg(long, default_value = "256M", value_name = "SIZE", value_parser = parse_size)]
    pub(crate) amount: u64,

    /// Most bytes to read from the files; without FILE never more than 64M
    #[arg(long, default_value = "256M", value_name = "SIZE", value_parser = parse_size)]
    pub(crate) limit: u64,

    /// Capacity of both pipes, from 64K to 1M: a power of two
    #[arg(long, default_value = "64K", value_name = "SIZE", value_parser = parse_capacity)]
    pub(crate) capacity: usize,

    /// Round trips to time in each round
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(crate) pings: u32,

    /// Falsify a byte in the reader, to see that it is noticed
    #[arg(long = "falsify", hide = true)]
    pub(crate) is_falsified: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WriteArgs {
    /// The pipe's name: up to 200 bytes without a slash
    pub(crate) name: String,

    /// Send each line as one packet, without its end; empty lines are left out
    #[arg(long = "packets", conflicts_with = "packet_size")]
    pub(crate) is_packets: bool,

    /// Send packets of this size; the last may be shorter
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) packet_size: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// The pipe's name: up to 200 bytes without a slash
    pub(crate) name: String,

    /// End the line after each packet
    #[arg(long = "packets")]
    pub(crate) is_packets: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print the list as JSON
    #[arg(long = "json")]
    pub(crate) is_json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The pipe's name
    pub(crate) name: String,

    /// Print it as JSON
    #[arg(long = "json")]
    pub(crate) is_json: bool,

    /// How long to look whether anything moves
    #[arg(long, default_value_t = 0.2, value_name = "N", value_parser = parse_seconds)]
    pub(crate) seconds: f64,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The pipes' names
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// Sweep only what has one of these names
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,

    /// Say what would be removed, and remove nothing
    #[arg(long = "dry-run")]
    pub(crate) is_dry: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print the findings as JSON
    #[arg(long = "json")]
    pub(crate) is_json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoWriterArgs {
    pub(crate) paths: Vec<PathBuf>,
    #[arg(long)]
    pub(crate) limit: u64,
}

fn parse_capacity(text: &str) -> Result<usize, String> {
    let size = parse_size(text)?;
    if size.is_power_of_two() && (65536..=1 << 20).contains(&size) {
        Ok(size as usize)
    } else {
        Err("a capacity is a power of two, from 64K to 1M".to_owned())
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "a number of seconds, from 0 to 3600".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_time_to_look_is_a_number_of_seconds() {
        assert_eq!(parse_seconds("0.5"), Ok(0.5));
        for wrong in ["-1", "x", "NaN", "inf", "3601"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_capacity_is_one_that_both_pipes_can_have() {
        assert_eq!(parse_capacity("64K"), Ok(65536));
        assert_eq!(parse_capacity("1M"), Ok(1 << 20));
        for wrong in ["4K", "65537", "96K", "2M", "x"] {
            assert!(parse_capacity(wrong).is_err(), "{wrong}");
        }
    }
}
