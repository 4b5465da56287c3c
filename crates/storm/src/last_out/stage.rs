//! Where a round is played: the pipe, the processes, and what is heard of them.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ppipe::{Builder, End as PipeEnd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::parts::{END, Part, Play, VARIABLE};
use super::said::{End, Place, Said, Word, now, place_of_sleep, sleeps_of};
use super::{Coming, Failure, Round};
use crate::herd::Herd;
use crate::journal::Complaints;
use crate::orders::Role;
use crate::sweep::{remains_of, sweep};

const SLOTS: u32 = 16;
/// What stands in the pipe before a reader dies is numbered from here.
const STANDING: u32 = 1000;

/// A round under way. Children are gone before the end that they sleep for.
pub(super) struct Stage<'a> {
    round: &'a Round,
    herd: Herd,
    /// That children read, the victim first.
    sockets: Vec<UnixStream>,
    victim: i32,
    words: PipeReader,
    to_words: PipeWriter,
    heard: Vec<u8>,
    complaints: Complaints,
    name: String,
    /// Of the peers' side.
    mine: PipeEnd,
}

/// The peers, just before the victim dies.
pub(super) struct Asleep {
    pub(super) at_words: usize,
    pub(super) at_bells: usize,
    /// How often they have slept so far, together.
    pub(super) sleeps: u64,
}

/// How the victim died.
pub(super) struct Death {
    pub(super) at: u64,
    /// After so many messages.
    pub(super) burst: u32,
    /// What peers said before it said so.
    pub(super) ends_before: Vec<(usize, End)>,
}

impl<'a> Stage<'a> {
    /// Makes the pipe, and starts the victim.
    pub(super) fn set(round: &'a Round) -> Result<Self, Failure> {
        let most = round.peers as u32 + 4;
        let builder = Builder::new().slots(SLOTS).nonblocking(true).max_readers(most).max_writers(most);
        let mut name = String::new();
        let (reader, writer) = if round.coming == Coming::Opened {
            sweep()?;
            name = format!("storm-{}-last-{:x}", std::process::id(), fastrand::u64(..));
            (builder.open_reader(&name)?, builder.open_writer(&name)?)
        } else {
            builder.pipe()?
        };
        let mut number = STANDING;
        while round.dies == Role::Reader && writer.try_send(&number.to_le_bytes()).is_ok() {
            number += 1;
        }
        // Those of children are not to be so.
        reader.set_nonblocking(false);
        writer.set_nonblocking(false);
        let (mine, other) = match round.dies {
            Role::Writer => (PipeEnd::Reader(reader), PipeEnd::Writer(writer)),
            Role::Reader => (PipeEnd::Writer(writer), PipeEnd::Reader(reader)),
        };
        let (words, to_words) = io::pipe()?;
        let (herd, complaints) = (Herd::default(), Complaints::new()?);
        let (sockets, heard) = (Vec::new(), Vec::new());
        let mut stage = Self { round, herd, sockets, victim: 0, words, to_words, heard, complaints, name, mine };
        let (mut command, socket) = stage.command(0, &other)?;
        stage.sockets.push(socket);
        stage.herd.start(round.dies, 0, &mut command)?;
        drop(command);
        stage.victim = stage.herd.members()[0].pid() as i32;
        // It, and perhaps its host before or after it.
        for _ in 0..if round.coming == Coming::Elsewhere { 2 } else { 1 } {
            match stage.hear()?.word {
                Word::Started(pid) => stage.victim = pid,
                Word::Here => {}
                word => return Err(Failure::Child(format!("the victim says {word:?}"))),
            }
        }
        // Now the victim is the only one of its side.
        drop(other);
        Ok(stage)
    }

    /// Starts all peers; each has its end then.
    pub(super) fn start_peers(&mut self) -> Result<(), Failure> {
        for who in 1..=self.round.peers {
            let (mut command, socket) = self.command(who, &self.mine)?;
            self.sockets.push(socket);
            self.herd.start(self.round.dies.peer(), who as u16, &mut command)?;
        }
        let mut count = 0;
        while count < self.round.peers {
            match self.hear()? {
                Said { word: Word::Here, .. } => count += 1,
                said => return Err(too_early(said)),
            }
        }
        Ok(())
    }

    /// The child `who`, 0 is the victim, with an end as `like`; and a socket that it reads.
    fn command(&self, who: usize, like: &PipeEnd) -> Result<(Command, UnixStream), Failure> {
        let Round { dies, burst, at_bells, by_wakes_alone, coming, .. } = *self.round;
        let is_victim = who == 0;
        let play = match (is_victim, coming) {
            (true, Coming::Elsewhere) => Play::Host,
            (true, _) => Play::Victim,
            (false, _) => Play::Peer,
        };
        let lie = self.round.lie.filter(|lie| lie.is_of_victim() == is_victim);
        let (parent, name) = (std::process::id() as i32, self.name.clone());
        let part = Part { parent, play, who, dies, coming, name, burst, at_bells, by_wakes_alone, lie };
        let (here, there) = UnixStream::pair()?;
        let mut command = Command::new(&self.round.program);
        command.env(VARIABLE, serde_json::to_string(&part).map_err(io::Error::from)?);
        command.stdin(OwnedFd::from(there)).stdout(self.to_words.try_clone()?).stderr(self.complaints.place()?);
        match (coming, like) {
            (Coming::Opened, _) => {}
            (Coming::Handed, PipeEnd::Reader(reader)) => reader.try_clone()?.hand_to(&mut command, END),
            (Coming::Handed, PipeEnd::Writer(writer)) => writer.try_clone()?.hand_to(&mut command, END),
            (_, PipeEnd::Reader(reader)) => reader.try_clone()?.pass_to(&here).map_err(io::Error::from)?,
            (_, PipeEnd::Writer(writer)) => writer.try_clone()?.pass_to(&here).map_err(io::Error::from)?,
        }
        Ok((command, here))
    }

    /// Returns when the kernel says that each peer sleeps in its call.
    pub(super) fn wait_until_all_sleep(&mut self) -> Result<Asleep, Failure> {
        let start = Instant::now();
        loop {
            let peers = &self.herd.members()[1..];
            let places: Vec<_> = peers.iter().filter_map(|peer| place_of_sleep(peer.pid())).collect();
            if places.len() == self.round.peers {
                let at_words = places.iter().filter(|&&place| place == Place::AtWords).count();
                let sleeps = peers.iter().filter_map(|peer| sleeps_of(peer.pid())).sum();
                return Ok(Asleep { at_words, at_bells: places.len() - at_words, sleeps });
            }
            if start.elapsed() > self.round.patience {
                return Err(self.hang(self.round.peers)?);
            }
            if self.is_anything_said(Timespec::default())? {
                return Err(too_early(self.hear()?));
            }
            thread::yield_now();
        }
    }

    /// Kills the victim, or has it kill itself after its burst.
    pub(super) fn end_victim(&mut self) -> Result<Death, Failure> {
        let mut ends_before = Vec::new();
        if self.round.burst == 0 {
            let at = now();
            kill(Pid::from_raw(self.victim), Signal::SIGKILL).map_err(io::Error::from)?;
            return Ok(Death { at, burst: 0, ends_before });
        }
        self.sockets[0].write_all(b"!")?;
        loop {
            match self.hear()? {
                Said { word: Word::Dies { messages, at }, .. } => {
                    return Ok(Death { at, burst: messages, ends_before });
                }
                Said { who, word: Word::Ended(end) } => ends_before.push((who, end)),
                said => return Err(too_early(said)),
            }
        }
    }

    /// What each peer says at its end, some of them before.
    pub(super) fn hear_all_ends(&mut self, before: Vec<(usize, End)>) -> Result<Vec<End>, Failure> {
        let mut ends: Vec<Option<End>> = vec![None; self.round.peers];
        for (who, end) in before {
            ends[who - 1] = Some(end);
        }
        while ends.iter().any(Option::is_none) {
            let silent = ends.iter().filter(|end| end.is_none()).count();
            match self.hear_while(silent)? {
                Said { who, word: Word::Ended(end) } => ends[who - 1] = Some(end),
                Said { who, word } => return Err(Failure::Child(format!("child {who} says {word:?}"))),
            }
        }
        Ok(ends.into_iter().flatten().collect())
    }

    /// Nobody but us is there any more, and nothing is left.
    pub(super) fn judge_what_is_left(mut self) -> Result<(), Failure> {
        self.sockets.clear();
        let start = Instant::now();
        while !self.herd.members().is_empty() {
            self.herd.bury(|_, _, _| {})?;
            if start.elapsed() > self.round.patience {
                return Err(self.hang(0)?);
            }
            thread::yield_now();
        }
        self.hear_complaints()?;
        let (end, audit) = match &self.mine {
            PipeEnd::Reader(reader) => (reader.try_recv(&mut [0; 4]).map(drop), reader.audit()?),
            PipeEnd::Writer(writer) => (writer.try_send(&[0; 4]), writer.audit()?),
        };
        let end = end.map_err(|error| format!("{:?}", error.kind()));
        if end != Err(self.round.expected().to_owned()) {
            return Err(Failure::Afterwards(format!("a further try gives {end:?}")));
        }
        if !audit.is_sound() || !audit.is_steady || audit.held().count() != 1 || !audit.extents.is_empty() {
            return Err(Failure::Afterwards(audit.to_string()));
        }
        drop(self.mine);
        match remains_of(&self.name)? {
            Some(remains) => Err(Failure::Afterwards(format!("left behind: {remains}"))),
            None => Ok(()),
        }
    }

    /// The next word, or the failure that there is none.
    fn hear(&mut self) -> Result<Said, Failure> {
        self.hear_while(self.round.peers)
    }

    fn hear_while(&mut self, silent: usize) -> Result<Said, Failure> {
        let patience = Timespec { tv_sec: self.round.patience.as_secs() as i64, tv_nsec: 0 };
        loop {
            if let Some(end) = self.heard.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                return Ok(serde_json::from_slice(&line).map_err(io::Error::from)?);
            }
            self.hear_complaints()?;
            if !self.is_anything_said(patience)? {
                self.hear_complaints()?;
                return Err(self.hang(silent)?);
            }
            let mut buffer = [0; 4096];
            let len = self.words.read(&mut buffer)?;
            self.heard.extend_from_slice(&buffer[..len]);
        }
    }

    fn is_anything_said(&self, patience: Timespec) -> io::Result<bool> {
        if !self.heard.is_empty() {
            return Ok(true);
        }
        Ok(poll(&mut [PollFd::new(&self.words, PollFlags::IN)], Some(&patience))? > 0)
    }

    fn hear_complaints(&self) -> Result<(), Failure> {
        let text = self.complaints.text()?;
        if text.is_empty() { Ok(()) } else { Err(Failure::Child(text)) }
    }

    fn hang(&self, silent: usize) -> Result<Failure, Failure> {
        let audit = match &self.mine {
            PipeEnd::Reader(reader) => reader.audit()?,
            PipeEnd::Writer(writer) => writer.audit()?,
        };
        Ok(Failure::Hang { silent, audit: audit.to_string() })
    }
}

/// Nobody should have said that yet.
fn too_early(said: Said) -> Failure {
    match said.word {
        Word::Ended(End { how, .. }) => Failure::Early { who: said.who, how },
        word => Failure::Child(format!("child {} says {word:?}", said.who)),
    }
}
