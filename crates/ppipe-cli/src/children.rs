//! The demonstration's two child processes: started, spoken to, and never left behind.
//!
//! # Why no child outlives the demonstration
//! A child ends when it gets no more orders, and when the other end of its pipe is gone; dropping [`Children`] kills
//! whichever has not; and if the parent is killed the kernel kills both.
//!
//! # Why a dead child is not waited for
//! One thread a child hears its reports. They end when the child's end of them is gone, by whatever cause.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use ppipe::{Builder, Reader, Writer};
use rustix::process::Signal;

use crate::control::{Failed, Order, ParentsEnd, Report, ends, hear, say};
use crate::failure::{At, Failure};

/// The hidden command of the writing process.
pub(crate) const WRITER_COMMAND: &str = "demo-writer";
/// The hidden command of the reading process.
pub(crate) const READER_COMMAND: &str = "demo-reader";

/// When all is done a child has so long to end by itself.
const GRACE: Duration = Duration::from_secs(10);
/// And so long after a failure. It may be busy reading the input, and need not finish that.
const GRACE_AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Which child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    Reader,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Writer => "the writing process",
            Self::Reader => "the reading process",
        }
    }
}

/// What is heard of a child.
enum News {
    Said(Report),
    /// It is gone, or will be at once.
    Gone,
}

struct Running {
    role: Role,
    child: Child,
    /// `None` once it is to end.
    orders: Option<Writer>,
    failed: Option<Failed>,
    is_gone: bool,
}

/// Both children.
pub(crate) struct Children {
    running: [Running; 2],
    news: Receiver<(Role, News)>,
}

impl Children {
    /// Starts both, with pipes of `capacity` bytes between them, ours and the kernel's.
    pub(crate) fn start(writer_arguments: Vec<OsString>, capacity: usize) -> Result<Self, Failure> {
        let ours = || Builder::new().slots(u32::try_from(capacity / 4096).unwrap_or(u32::MAX)).pipe().at("a pipe");
        let (forward_reader, forward_writer) = ours()?;
        let (back_reader, back_writer) = ours()?;
        let (kernel_forward_reader, kernel_forward_writer) = kernels(capacity).at("a pipe of the kernel")?;
        let (kernel_back_reader, kernel_back_writer) = kernels(capacity).at("a pipe of the kernel")?;

        let mut writer = command(WRITER_COMMAND);
        writer.args(writer_arguments).stdout(kernel_forward_writer).stdin(kernel_back_reader);
        forward_writer.hand_to(&mut writer, ends::FORWARD);
        back_reader.hand_to(&mut writer, ends::BACK);
        let mut reader = command(READER_COMMAND);
        reader.stdin(kernel_forward_reader).stdout(kernel_back_writer);
        forward_reader.hand_to(&mut reader, ends::FORWARD);
        back_writer.hand_to(&mut reader, ends::BACK);

        let (sender, news) = mpsc::channel();
        let writer = spawn(Role::Writer, writer, &sender)?;
        match spawn(Role::Reader, reader, &sender) {
            Ok(reader) => Ok(Self { running: [writer, reader], news }),
            Err(failure) => {
                end_at_once(writer.child);
                Err(failure)
            }
        }
    }

    /// Gives both an order, and returns what the writer and the reader report.
    pub(crate) fn order(&mut self, order: &Order) -> Result<(Report, Report), Failure> {
        for index in [1, 0] {
            let orders = self.running[index].orders.as_ref();
            if orders.is_none_or(|orders| say(orders, order).is_err()) {
                return Err(self.failure());
            }
        }
        self.reports()
    }

    /// The next report of the writer and of the reader.
    pub(crate) fn reports(&mut self) -> Result<(Report, Report), Failure> {
        let (mut writers, mut readers) = (None, None);
        loop {
            match self.news.recv() {
                Ok((Role::Writer, News::Said(report))) => writers = Some(report),
                Ok((Role::Reader, News::Said(report))) => readers = Some(report),
                Ok((role, News::Gone)) => {
                    self.of(role).is_gone = true;
                    return Err(self.failure());
                }
                Err(_) => return Err(self.failure()),
            }
            for (role, report) in [(Role::Writer, &mut writers), (Role::Reader, &mut readers)] {
                if let Some(Report::Failed(failed)) = report.take_if(|report| matches!(report, Report::Failed(_))) {
                    self.of(role).failed = Some(failed);
                    return Err(self.failure());
                }
            }
            match (writers, readers) {
                (Some(writers), Some(readers)) => return Ok((writers, readers)),
                so_far => (writers, readers) = so_far,
            }
        }
    }

    /// Lets both end, and waits for them.
    pub(crate) fn end(mut self) -> Result<(), Failure> {
        self.let_them_end(GRACE);
        for running in &mut self.running {
            if !running.is_gone || !running.child.wait().at(running.role.name())?.success() {
                return Err(self.failure());
            }
        }
        Ok(())
    }

    /// Drops the orders, and hears what there is to hear until both are gone or have had their time.
    fn let_them_end(&mut self, grace: Duration) {
        for running in &mut self.running {
            running.orders = None;
        }
        let deadline = Instant::now() + grace;
        while self.running.iter().any(|running| !running.is_gone) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.news.recv_timeout(left) {
                Ok((role, News::Gone)) => self.of(role).is_gone = true,
                Ok((role, News::Said(Report::Failed(failed)))) => self.of(role).failed = Some(failed),
                Ok((_, News::Said(_))) => {}
                Err(_) => return,
            }
        }
    }

    /// Ends both, and finds out which of their failures was the first.
    fn failure(&mut self) -> Failure {
        self.let_them_end(GRACE_AFTER_FAILURE);
        let mut consequence = None;
        for running in &mut self.running {
            if !running.is_gone {
                // It will not end by itself, and has had its time.
                let _ = running.child.kill();
            }
            let is_own_death = running.is_gone;
            let status = running.child.wait();
            match (running.failed.take(), status) {
                (Some(failed), _) if !failed.is_consequence => return failed.into(),
                (None, Ok(status)) if is_own_death && !status.success() => {
                    return Failure::new(running.role.name(), how_it_ended(status));
                }
                (Some(failed), _) => consequence = Some(failed.into()),
                (None, Err(error)) => consequence = Some(Failure::new(running.role.name(), error)),
                (None, Ok(_)) => {}
            }
        }
        consequence.unwrap_or_else(|| Failure::new("demo", "a process did not end, or ended before its work was done"))
    }

    fn of(&mut self, role: Role) -> &mut Running {
        let [writer, reader] = &mut self.running;
        match role {
            Role::Writer => writer,
            Role::Reader => reader,
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for running in &mut self.running {
            // Neither does anything to a child that has been waited for.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

/// Names the process id of whoever starts us and wants us to end with it: for tests, which may be killed.
const STARTER_VARIABLE: &str = "PPIPE_STARTER";

/// If the starter wants it, asks the kernel to terminate this process when the starter is gone.
pub(crate) fn end_with_starter() -> Result<(), Failure> {
    let Ok(starter) = env::var(STARTER_VARIABLE) else {
        return Ok(());
    };
    // TERM, so that a name is not left behind.
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM)).at(STARTER_VARIABLE)?;
    // It may have gone before the kernel was asked.
    match rustix::process::getppid() {
        Some(parent) if parent.to_string() == starter => Ok(()),
        _ => Err(Failure::new(STARTER_VARIABLE, format!("process {starter}, which is to be our parent, is not"))),
    }
}

/// Asks the kernel to kill this process when its parent is gone.
pub(crate) fn die_with_parent() -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).at("the parent's death signal")
}

fn kernels(capacity: usize) -> io::Result<(io::PipeReader, io::PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    rustix::pipe::fcntl_setpipe_size(&writer, capacity)?;
    Ok((reader, writer))
}

/// This very program, whatever has become of its file, to be run with a hidden command.
fn command(name: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("ppipe").arg(name).stderr(Stdio::inherit());
    command
}

fn spawn(role: Role, mut command: Command, news: &Sender<(Role, News)>) -> Result<Running, Failure> {
    let conversation = ParentsEnd::with_child_of(&mut command).at("a pipe")?;
    let child = command.spawn().at(role.name())?;
    // With the command go our copies of the child's ends.
    drop(command);
    let ParentsEnd { orders, reports } = conversation;
    let news = news.clone();
    thread::spawn(move || listen(role, &reports, &news));
    Ok(Running { role, child, orders: Some(orders), failed: None, is_gone: false })
}

fn listen(role: Role, reports: &Reader, news: &Sender<(Role, News)>) {
    // Nobody listens to us any more: as good as the end.
    while let Ok(Some(report)) = hear(reports) {
        if news.send((role, News::Said(report))).is_err() {
            return;
        }
    }
    let _ = news.send((role, News::Gone));
}

fn end_at_once(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn how_it_ended(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => match signal_hook::low_level::signal_name(signal) {
            Some(name) => format!("killed by signal {signal} ({name})"),
            None => format!("killed by signal {signal}"),
        },
        // It was not a signal, so there is a code.
        None => format!("ended with exit code {}", status.code().unwrap_or_default()),
    }
}
