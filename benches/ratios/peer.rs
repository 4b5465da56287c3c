//! The other process of a measurement: this program once more, with an assignment on its command line.

use std::env;
use std::io;
use std::process::{Child, Command};

use clap::{Args, ValueEnum};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Where the peer finds the end that it reads from.
pub(crate) const IN: &str = "PPIPE_RATIOS_IN";
/// Where the peer finds the end that it writes to.
pub(crate) const OUT: &str = "PPIPE_RATIOS_OUT";

/// What a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Passes a number over two cache lines.
    Probe,
    /// Writes until nobody reads.
    Writer,
    /// Sends back what it receives.
    Echo,
    /// Counts what it receives, by windows of time.
    Counter,
    /// Waits on an idle pipe.
    Idler,
    /// Takes up an end, and tells how long that took.
    Attacher,
}

/// Whose pipe it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// `ppipe`.
    Ours,
    /// The kernel's.
    Kernel,
}

/// In what form data goes through the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Packets: `send` and `recv`; `O_DIRECT`.
    Packets,
    /// Packets, [`crate::one_way::BATCH`] a call: `send_batch` and `recv_batch`; on the kernel's pipe, which has none, one at a time.
    Batches,
    /// A stream: `write` and `read`.
    Stream,
    /// Packets above a slot: `send` and `recv`; on the kernel's pipe a stream, read as a whole.
    Large,
    /// The same, filled and read in place.
    Loans,
}

/// How both ends of our pipe wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Manner {
    /// By default.
    Adaptive,
    /// Never asleep.
    Spinning,
    /// Never awake.
    Sleeping,
}

impl From<Manner> for ppipe::Waiting {
    fn from(manner: Manner) -> Self {
        match manner {
            Manner::Adaptive => Self::Adaptive,
            Manner::Spinning => Self::Spinning,
            Manner::Sleeping => Self::Sleeping,
        }
    }
}

/// What a peer is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct Assignment {
    /// What it does.
    #[arg(long, value_enum)]
    pub(crate) role: Role,
    /// Whose pipe.
    #[arg(long, value_enum)]
    pub(crate) contender: Contender,
    /// In what form.
    #[arg(long, value_enum)]
    pub(crate) form: Form,
    /// How it waits.
    #[arg(long, value_enum)]
    pub(crate) manner: Manner,
    /// Bytes of a message or of a write.
    #[arg(long)]
    pub(crate) size: usize,
    /// Which CPU it keeps to.
    #[arg(long)]
    pub(crate) cpu: Option<usize>,
    /// Which one of several writers it is.
    #[arg(long)]
    pub(crate) id: u64,
    /// When the first window begins, in nanoseconds since the epoch.
    #[arg(long)]
    pub(crate) start: u64,
    /// The pipe's name, if it has one.
    #[arg(long)]
    pub(crate) name: Option<String>,
}

impl Assignment {
    /// For a peer in this role.
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            contender: Contender::Ours,
            form: Form::Packets,
            manner: Manner::Adaptive,
            size: 64,
            cpu: None,
            id: 0,
            start: 0,
            name: None,
        }
    }

    /// The command that starts the peer.
    pub(crate) fn command(&self) -> io::Result<Command> {
        fn word(value: impl ValueEnum) -> String {
            value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
        }
        let mut command = Command::new(env::current_exe()?);
        command.arg("peer");
        command.args(["--role", &word(self.role), "--contender", &word(self.contender), "--form", &word(self.form)]);
        command.args(["--manner", &word(self.manner), "--size", &self.size.to_string(), "--id", &self.id.to_string()]);
        command.args(["--start", &self.start.to_string()]);
        if let Some(cpu) = self.cpu {
            command.args(["--cpu", &cpu.to_string()]);
        }
        if let Some(name) = &self.name {
            command.args(["--name", name]);
        }
        Ok(command)
    }
}

/// Keeps this process to `cpu`.
pub(crate) fn pin(cpu: Option<usize>) -> io::Result<()> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Lets this process, and those that it starts, run on all of `cpus`.
pub(crate) fn spread(cpus: &CpuSet) -> io::Result<()> {
    Ok(sched_setaffinity(Pid::from_raw(0), cpus)?)
}

/// Waits until the peer has ended, and says so if it did not end well.
pub(crate) fn finished(mut peer: Child) -> io::Result<()> {
    let status = peer.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("the other process ended with {status}"))) }
}
