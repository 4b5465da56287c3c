//! What children say, each word a line of one pipe of the kernel; and what the kernel says of one who sleeps.

use std::fs;
use std::io::{self, Write};

use nix::libc;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What somebody says; 0 is the victim.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) who: usize,
    pub(super) word: Word,
}

/// What it says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// The victim's process has this number for the one who started it.
    Started(i32),
    /// It has its end.
    Here,
    /// The victim kills itself, after so many messages.
    Dies { messages: u32, at: u64 },
    /// A peer has come to its end.
    Ended(End),
}

/// How a peer's call ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct End {
    /// The kind of the error.
    pub(super) how: String,
    /// When it returned.
    pub(super) at: u64,
    /// How often it has slept.
    pub(super) sleeps: u64,
    /// What it had received, or sent, since it had its end.
    pub(super) messages: Vec<u32>,
}

/// Where somebody sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    AtWords,
    AtBell,
}

/// Says it, in one piece.
pub(super) fn say(who: usize, word: Word) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Said { who, word })?;
    line.push(b'\n');
    let mut output = io::stdout().lock();
    output.write_all(&line)?;
    output.flush()
}

/// The time, the same for all processes.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Where the first thread of process `pid` sleeps, if it does, in a call of a pipe.
pub(super) fn place_of_sleep(pid: u32) -> Option<Place> {
    let call: libc::c_long =
        fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?.split(' ').next()?.parse().ok()?;
    match call {
        libc::SYS_futex_waitv => Some(Place::AtWords),
        libc::SYS_tee => Some(Place::AtBell),
        _ => None,
    }
}

/// How often the first thread of process `pid` has slept.
pub(super) fn sleeps_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/task/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
}

/// Whether the kernel tells in which call somebody sleeps.
#[must_use]
pub fn can_see_sleepers() -> bool {
    fs::read_to_string("/proc/thread-self/syscall")
        .is_ok_and(|call| call.split(' ').next() == Some(&libc::SYS_read.to_string()))
}
