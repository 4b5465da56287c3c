//! A process that uses a pipe whose memory is taken away: each of its calls has to say so then, and nothing else of it is disturbed.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use fastrand::Rng;
use ppipe::{Builder, Readiness};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use shm_ring::lost::Lost;

use crate::attack::{READY, ends};
use crate::children::{WATCHDOG, Ward};
use crate::names::Name;
use crate::verbs::{Act, Ends, OF_READER, OF_WRITER};

/// Whose verbs it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A reader's.
    Reader,
    /// A writer's.
    Writer,
}

impl FromStr for Side {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "reader" => Ok(Self::Reader),
            "writer" => Ok(Self::Writer),
            _ => Err(format!("no such side: {text}")),
        }
    }
}

impl Side {
    fn verbs(self) -> &'static [(&'static str, Act)] {
        match self {
            Self::Reader => OF_READER,
            Self::Writer => OF_WRITER,
        }
    }
}

/// After so many calls that did what they were to do it says that it is ready.
const BUSY: u64 = 300;
/// Does its verbs until the memory has gone, and then each of them once more.
///
/// # Errors
/// Which call did not say so, or what the bystander has lost; the system's.
pub fn run(name: &str, side: Side, is_unguarded: bool) -> io::Result<()> {
    if is_unguarded && !ppipe::leave_sigbus_alone() {
        return Err(io::Error::other("there is a handler already"));
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let bystander = scope.spawn(|| stand_by(&is_over));
        let lost = lose(name, side);
        is_over.store(true, Ordering::Relaxed);
        let passed = bystander.join().map_err(|_| io::Error::other("the bystander panicked"))??;
        let (calls, message) = lost?;
        println!("{calls} calls, then: {message}; a bystander has passed {passed} packets");
        Ok(())
    })
}

/// After how many calls, and with which words.
fn lose(name: &str, side: Side) -> io::Result<(u64, Lost)> {
    let (reader, writer) = ends(Some(name))?;
    let mut ends = Ends::new(Some(name.to_owned()), reader, writer)?;
    let mut random = Rng::with_seed(1);
    let (mut calls, mut done) = (0, 0);
    let lost = loop {
        let verbs = side.verbs();
        let (_, act) = verbs[random.usize(..verbs.len())];
        let result = act(&mut ends, &mut random);
        if let Some(lost) = result.as_ref().err().and_then(lost) {
            break lost;
        }
        calls += 1;
        done += u64::from(result.is_ok());
        if done == BUSY && result.is_ok() {
            println!("{READY}");
        }
    };
    for (verb, act) in side.verbs() {
        match act(&mut ends, &mut random) {
            Err(error) if self::lost(&error).is_some() => {}
            // What has no errors shows that there is something to be told.
            Ok(1) if verb.starts_with("poll_fd") => {}
            other => return Err(io::Error::other(format!("{verb} does not say that the memory is gone: {other:?}"))),
        }
    }
    let (ready, expected) = match side {
        Side::Reader => (ends.reader.readiness(), Readiness::READABLE),
        Side::Writer => (ends.writer.readiness(), Readiness::WRITABLE),
    };
    if !ready.contains(expected) {
        return Err(io::Error::other(format!("{ready:?} does not show that there is something to be told")));
    }
    Ok((calls, lost))
}

fn lost(error: &io::Error) -> Option<Lost> {
    error.get_ref()?.downcast_ref().copied()
}

/// Passes numbers through another pipe all the while. How many.
fn stand_by(is_over: &AtomicBool) -> io::Result<u64> {
    let (reader, writer) = Builder::new().slots(4).pipe()?;
    let mut number = 0_u64;
    while !is_over.load(Ordering::Relaxed) {
        writer.send(&number.to_le_bytes())?;
        let mut bytes = [0; 8];
        reader.recv(&mut bytes)?;
        if u64::from_le_bytes(bytes) != number {
            return Err(io::Error::other("a bystander has lost a packet"));
        }
        number += 1;
    }
    Ok(number)
}

/// Sleeps at its bell for as long as it takes, and says what it is woken by.
///
/// # Errors
/// The system's, or that it was something else than the loss.
pub fn sleep(name: &str) -> io::Result<()> {
    shm_ring::sleep_at_bells();
    let (reader, writer) = ends(Some(name))?;
    drop(writer);
    reader.set_nonblocking(false);
    println!("{READY}");
    match reader.recv(&mut [0; 8]) {
        Err(error) if lost(&error).is_some() => Ok(()),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}

/// Where `/dev/shm` is small and nobody else's: holes are punched into a pipe's memory, and there is none for them.
///
/// # Errors
/// If somebody was hurt, or the system's.
pub fn in_little_memory() -> io::Result<()> {
    let name = Name::new("short");
    let builder = Builder::new().slots(4).max_capacity(1 << 15).max_writers(8).max_readers(8).nonblocking(true);
    let reader = builder.open_reader(name.as_str())?;
    let writer = builder.open_writer(name.as_str())?;
    let mut users = ["reader", "writer"].map(|side| user(&std::env::current_exe()?, &name, side, false));
    for user in users.iter_mut().flatten() {
        user.line()?;
    }
    let segment = File::options().read(true).write(true).open(name.file())?;
    let (whole, start) = (segment.metadata()?.len(), Instant::now());
    let mut hog = Hog { file: File::create("/dev/shm/hog")?, len: 0 };
    while !users.iter_mut().flatten().all(|user| user.has_ended()) {
        fallocate(&segment, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, whole)?;
        hog.eat()?;
        if start.elapsed() > WATCHDOG {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    for user in users {
        let (status, text) = user?.end()?;
        if !status.success() {
            return Err(io::Error::other(format!("a user was hurt: {status}")));
        }
        print!("{text}");
    }
    drop((reader, writer));
    Ok(())
}

/// Has all memory that there is.
struct Hog {
    file: File,
    len: u64,
}

impl Hog {
    fn eat(&mut self) -> io::Result<()> {
        const BITE: u64 = 4096;
        loop {
            match fallocate(&self.file, FallocateFlags::empty(), self.len, BITE) {
                Ok(()) => self.len += BITE,
                Err(Errno::NOSPC) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Starts a user of the pipe `name`.
///
/// # Errors
/// The system's.
pub fn user(program: &Path, name: &Name, side: &str, is_unguarded: bool) -> io::Result<Ward> {
    let mut command = Command::new(program);
    command.args(["user", "--side", side, "--name", name.as_str(), "--parent", &std::process::id().to_string()]);
    if is_unguarded {
        command.arg("--unguarded");
    }
    Ward::start(&mut command)
}
