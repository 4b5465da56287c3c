//! What the children do: the victim, its peers, and the one who starts a victim in namespaces of its own.

use std::io::{self, Read, stdin};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use ppipe::{End as PipeEnd, Reader, Writer};
use rustix::process::{Signal, getpid, kill_process, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use super::said::{End, Word, now, say, sleeps_of};
use super::{Coming, Lie};
use crate::child::die_with;
use crate::orders::Role;

/// The variable that makes a process of this program one of these.
pub(super) const VARIABLE: &str = "LAST_OUT";
/// The variable in which an end is handed over.
pub(super) const END: &str = "LAST_OUT_END";

/// What one child is to do, in one environment variable.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    /// The process that starts it.
    pub(super) parent: i32,
    pub(super) play: Play,
    /// 0 is the victim.
    pub(super) who: usize,
    /// The side of the victim.
    pub(super) dies: Role,
    pub(super) coming: Coming,
    pub(super) name: String,
    pub(super) burst: u32,
    pub(super) at_bells: bool,
    pub(super) by_wakes_alone: bool,
    pub(super) lie: Option<Lie>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Play {
    /// Goes into namespaces of its own, and starts the victim there.
    Host,
    Victim,
    Peer,
}

/// Runs as a child if this process was started as one; returns whether it was.
///
/// # Errors
/// What a pipe says when it should not.
pub fn run_if_told() -> io::Result<bool> {
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(false) };
    let part: Part = serde_json::from_str(&text)?;
    if part.play == Play::Victim && part.coming == Coming::Elsewhere {
        // Its parent is not in its namespace, and has no number there. What it reads ends, too, when nobody is left.
        set_parent_process_death_signal(Some(Signal::KILL))?;
    } else if !die_with(part.parent)? {
        return Ok(true);
    }
    if part.play == Play::Host {
        return part.be_host().map(|()| true);
    }
    if part.at_bells {
        shm_ring::sleep_at_bells();
    }
    if part.by_wakes_alone {
        shm_ring::rely_on_wakes();
    }
    let end = part.take_end()?;
    say(part.who, Word::Here)?;
    if part.play == Play::Victim {
        part.be_victim(&end)?
    } else {
        part.be_peer(&end)?
    }
    Ok(true)
}

impl Part {
    fn role(&self) -> Role {
        if self.play == Play::Peer { self.dies.peer() } else { self.dies }
    }

    fn take_end(&self) -> io::Result<PipeEnd> {
        match (self.coming, self.role()) {
            (Coming::Handed, _) => PipeEnd::inherited(END),
            (Coming::Passed | Coming::Elsewhere, _) => PipeEnd::receive_from(stdin()),
            (Coming::Opened, Role::Reader) => Reader::open(&self.name).map(PipeEnd::Reader),
            (Coming::Opened, Role::Writer) => Writer::open(&self.name).map(PipeEnd::Writer),
        }
    }

    /// A process whose ends have a thread cannot go into another user namespace, so this one has none.
    fn be_host(&self) -> io::Result<()> {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID)?;
        let victim = Self { play: Play::Victim, ..self.clone() };
        let mut child =
            Command::new(std::env::current_exe()?).env(VARIABLE, serde_json::to_string(&victim)?).spawn()?;
        say(self.who, Word::Started(child.id() as i32))?;
        child.wait()?;
        Ok(())
    }

    /// Sleeps until it is killed, or is told to begin, and kills itself.
    fn be_victim(&self, end: &PipeEnd) -> io::Result<()> {
        if stdin().read(&mut [0])? == 0 {
            return Ok(());
        }
        for number in 0..self.burst {
            exchange(end, number)?;
        }
        let messages = self.burst + u32::from(self.lie == Some(Lie::SaysMore));
        say(self.who, Word::Dies { messages, at: now() })?;
        kill_process(getpid(), if self.lie == Some(Lie::Stays) { Signal::STOP } else { Signal::KILL })?;
        Ok(())
    }

    fn be_peer(&self, end: &PipeEnd) -> io::Result<()> {
        let mut messages = Vec::new();
        let mut number = 0;
        let is_liar = self.who == 1;
        let how = loop {
            if is_liar && self.lie == Some(Lie::EndsEarly) {
                break self.expected();
            }
            match exchange(end, number) {
                Ok(_) if is_liar && self.lie == Some(Lie::KeepsOne) && number == 0 => {}
                Ok(message) if is_liar && self.lie == Some(Lie::SaysTwice) => messages.extend([message; 2]),
                Ok(message) => messages.push(message),
                Err(error) => break error.kind(),
            }
            number += 1;
        };
        let at = now();
        if is_liar && self.lie == Some(Lie::Boasts) {
            messages.extend(self.burst..=2 * self.burst);
        }
        let how = if is_liar && self.lie == Some(Lie::EndsOtherwise) { io::ErrorKind::TimedOut } else { how };
        let sleeps = sleeps_of(std::process::id()).unwrap_or_default();
        say(self.who, Word::Ended(End { how: format!("{how:?}"), at, sleeps, messages }))?;
        // To end is more work than to return, and others have not returned yet.
        stdin().read(&mut [0]).map(drop)
    }

    fn expected(&self) -> io::ErrorKind {
        match self.dies {
            Role::Writer => io::ErrorKind::UnexpectedEof,
            Role::Reader => io::ErrorKind::BrokenPipe,
        }
    }
}

/// Sends message `number`, or receives one; which one it was.
fn exchange(end: &PipeEnd, number: u32) -> io::Result<u32> {
    match end {
        PipeEnd::Writer(writer) => writer.send(&number.to_le_bytes()).map(|()| number),
        PipeEnd::Reader(reader) => {
            let mut bytes = [0; 4];
            let len = reader.recv(&mut bytes)?.len;
            if len == bytes.len() { Ok(u32::from_le_bytes(bytes)) } else { Err(io::Error::other("a torn message")) }
        }
    }
}
