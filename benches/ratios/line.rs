#![allow(unsafe_code)]
//! The limit: two processes pass a number to and fro over one cache line each way, and do nothing else. Unsafe because a
//! shared mapping is used as two atomics.
//!
//! ```text
//!   this process ── ping line ──> the other one
//!                <── pong line ──
//! ```
//!
//! No pipe can answer faster than this machine at this instant. Which instant matters: a host may move the two CPUs of a
//! virtual machine between two threads of one core and two cores, which differ three- to fourfold.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::MemfdFlags;

use crate::figures::median;
use crate::peer::{Assignment, Role, pin};

const SIZE: usize = 4096;
const PONG_AT: usize = 1024;
/// The descriptor under which the other process finds the mapping's file.
const FILE_FD: i32 = 3;
/// Ends a measurement.
const STOP: u64 = u64::MAX;
const TRIPS_PER_LOOK_AT_THE_CLOCK: u64 = 64;

/// The two lines.
struct Lines(MmapRaw);

impl Lines {
    fn of(file: &File) -> io::Result<Self> {
        Ok(Self(MmapOptions::new().len(SIZE).map_raw(file)?))
    }

    fn ping(&self) -> &AtomicU64 {
        self.at(0)
    }

    fn pong(&self) -> &AtomicU64 {
        self.at(PONG_AT)
    }

    fn at(&self, offset: usize) -> &AtomicU64 {
        assert!(offset < SIZE && offset.is_multiple_of(64), "not a line of the mapping");
        // SAFETY: aligned and within the mapping, which lives as long as `self`, and which all use as atomics only.
        unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().wrapping_add(offset).cast()) }
    }
}

/// The probe: another process, which sleeps while nobody measures.
pub(crate) struct Probe {
    lines: Lines,
    other: Child,
    /// `None` only while it is being dropped.
    go: Option<ChildStdin>,
}

impl Probe {
    /// Starts the other process.
    pub(crate) fn start(cpu: Option<usize>) -> io::Result<Self> {
        let file = File::from(rustix::fs::memfd_create("line", MemfdFlags::CLOEXEC)?);
        file.set_len(SIZE as u64)?;
        let lines = Lines::of(&file)?;
        let mut command = Assignment { cpu, ..Assignment::new(Role::Probe) }.command()?;
        command.fd_mappings(vec![FdMapping { parent_fd: file.into(), child_fd: FILE_FD }]).map_err(io::Error::other)?;
        let mut other = command.stdin(Stdio::piped()).spawn()?;
        let go = other.stdin.take();
        Ok(Self { lines, other, go })
    }

    /// Nanoseconds of a round trip, the median of what fits into `sample`.
    pub(crate) fn measure(&mut self, sample: Duration) -> io::Result<f64> {
        let (ping, pong) = (self.lines.ping(), self.lines.pong());
        ping.store(0, Ordering::Relaxed);
        pong.store(0, Ordering::Relaxed);
        self.go.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(b"g")?;
        let mut trips = Vec::new();
        let mut number = 0;
        let start = Instant::now();
        let mut last = start;
        while last - start < sample || trips.len() < 10 {
            for _ in 0..TRIPS_PER_LOOK_AT_THE_CLOCK {
                number += 1;
                // Release and Acquire: what a pipe needs at least.
                ping.store(number, Ordering::Release);
                while pong.load(Ordering::Acquire) != number {}
            }
            let now = Instant::now();
            trips.push((now - last).as_nanos() as f64 / TRIPS_PER_LOOK_AT_THE_CLOCK as f64);
            last = now;
        }
        ping.store(STOP, Ordering::Release);
        while pong.load(Ordering::Acquire) != STOP {}
        // The first ones saw the other process wake up.
        Ok(median(&trips[1..]))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.go = None;
        let _ = self.other.wait();
    }
}

/// The other process.
pub(crate) fn answer(cpu: Option<usize>) -> io::Result<()> {
    pin(cpu)?;
    let file = File::options().read(true).write(true).open(format!("/proc/self/fd/{FILE_FD}"))?;
    let lines = Lines::of(&file)?;
    while io::stdin().read(&mut [0])? > 0 {
        let mut last = 0;
        while last != STOP {
            let number = lines.ping().load(Ordering::Acquire);
            if number != last {
                lines.pong().store(number, Ordering::Release);
                last = number;
            }
        }
    }
    Ok(())
}
