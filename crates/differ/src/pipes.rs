//! Two pipes with their handles, and what a step does to them: the same for whoever's pipes they are.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::bytes::{UNTOUCHED, begin_anew, empty_file, numbered, numbered_file, position, whole};
use crate::other::Others;
use crate::privilege;
use crate::step::{Access, Lens, Manner, SLOT, Side, Step, Transfer, Who};
use crate::system::{Answer, System};

/// What a step gave: everything that a program could tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What each of its calls returned, and numbers that can be asked for after it; nothing if there was no such handle.
    pub answers: Vec<Answer>,
    /// All that is in the buffers, the file or the other end after it, and not only what the call says that it has put there.
    pub bytes: Vec<u8>,
}

impl Outcome {
    fn of(answers: impl Into<Vec<Answer>>, bytes: Vec<u8>) -> Self {
        Self { answers: answers.into(), bytes }
    }

    fn done(result: Result<(), Errno>) -> Self {
        Self::of([result.map(|()| 0)], Vec::new())
    }

    /// Whether there was a call at all.
    #[must_use]
    pub fn is_of_a_call(&self) -> bool {
        !self.answers.is_empty()
    }
}

/// What can be seen of a handle without changing anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// On which pipe.
    pub pipe: usize,
    /// What it is open for.
    pub access: Access,
    /// What `poll` says of it.
    pub ready: PollFlags,
    /// `FIONREAD`.
    pub unread: Answer,
    /// `F_GETPIPE_SZ`.
    pub size: Answer,
    /// `F_GETFL`.
    pub flags: Result<OFlags, Errno>,
}

/// Two pipes of one system.
#[derive(Debug)]
pub struct Pipes<S: System> {
    system: S,
    handles: [Vec<(Access, S::Handle)>; 2],
    /// How many bytes have been written to each, so that every byte tells where it belongs.
    written: [usize; 2],
    source: File,
    target: File,
    others: Others,
}

/// More handles of a pipe than this are not kept open.
const MOST_HANDLES: usize = 6;

impl<S: System> Pipes<S> {
    /// Nobody has opened them yet.
    pub fn new(system: S) -> Self {
        Self {
            system,
            handles: Default::default(),
            written: [0; 2],
            source: numbered_file(),
            target: empty_file(),
            others: Others::default(),
        }
    }

    /// Runs one step; `is_to_wait_never`: nonblocking, whatever the handles' flags are.
    pub fn run(&mut self, step: &Step, is_to_wait_never: bool) -> Outcome {
        let blocking = if is_to_wait_never { self.blocking_handles(step) } else { Vec::new() };
        for &who in &blocking {
            self.set_nonblocking(who, true);
        }
        let outcome = self.call(step).unwrap_or_default();
        for &who in &blocking {
            self.set_nonblocking(who, false);
        }
        outcome
    }

    /// `None`: there is no such handle.
    fn call(&mut self, step: &Step) -> Option<Outcome> {
        let system = &self.system;
        Some(match *step {
            Step::Write(who, ref lens) => {
                let written = system.write(self.one(who)?, &to_write(self.written[who.pipe], lens));
                self.written[who.pipe] += written.unwrap_or(0);
                Outcome::of([written], Vec::new())
            }
            Step::Read(who, Lens(ref lens)) => {
                let mut buffers: Vec<Vec<u8>> = lens.iter().map(|&len| vec![UNTOUCHED; len]).collect();
                let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
                let read = system.read(self.one(who)?, &mut slices);
                Outcome::of([read], buffers.concat())
            }
            Step::PacketMode(who, is_on) => Outcome::done(system.set_packet_mode(self.one(who)?, is_on)),
            Step::Nonblocking(who, is_on) => Outcome::done(system.set_nonblocking(self.one(who)?, is_on)),
            Step::Flags(who) => {
                let flags = self.flags(who)?;
                Outcome::of([flags.map(|flags| flags.bits() as usize)], Vec::new())
            }
            Step::Resize(_, bytes) if bytes as usize > privilege::most_bytes() && !privilege::is_ordinary() => {
                return None;
            }
            Step::Resize(who, bytes) => {
                let mut answers = vec![system.resize(self.one(who)?, bytes)];
                answers.extend(self.one(Who { by: who.by.other(), ..who }).map(|other| system.size(other)));
                Outcome::of(answers, Vec::new())
            }
            Step::Unread(who) => Outcome::of([system.unread(self.one(who)?)], Vec::new()),
            Step::Poll(who, events) => match system.poll(&[(self.one(who)?, events)]) {
                Ok((count, ready)) => Outcome::of([Ok(count), Ok(ready[0].bits().into())], Vec::new()),
                Err(error) => Outcome::of([Err(error)], Vec::new()),
            },
            Step::Transfer(Transfer { verb, from, to, len, manner }) => {
                Outcome::of([system.transfer(verb, self.one(from)?, self.one(to)?, len, manner)], Vec::new())
            }
            Step::FromFile(who, len, manner, place) => {
                let to = self.one(who)?;
                if let Some(place) = place {
                    (&self.source).seek(SeekFrom::Start(place)).expect("a file");
                }
                let spliced = system.splice_from(self.source.as_fd(), to, len, manner);
                Outcome::of([spliced, Ok(position(&self.source))], Vec::new())
            }
            Step::ToFile(who, len, manner, place) => {
                let from = self.one(who)?;
                begin_anew(&self.target, place);
                let spliced = system.splice_to(from, self.target.as_fd(), len, manner);
                Outcome::of([spliced, Ok(position(&self.target))], whole(&self.target))
            }
            Step::FromPipe(who, len, manner, slots) => {
                let to = self.one(who)?;
                let splice = |from: BorrowedFd<'_>| system.splice_from(from, to, len, manner);
                let (spliced, rest) = self.others.take_from_pipe(numbered(len, slots * SLOT), splice);
                Outcome::of([spliced], rest)
            }
            Step::ToOther(who, len, manner, other) => {
                let from = self.one(who)?;
                let splice = |to: BorrowedFd<'_>| system.splice_to(from, to, len, manner);
                let (spliced, there) = self.others.to(other, splice);
                Outcome::of([spliced], there)
            }
            Step::Open(pipe, access) => {
                let opened = system.open(pipe, access);
                self.keep(pipe, access, opened)
            }
            Step::Reopen(who, access) => {
                let opened = system.reopen(self.one(who)?, access);
                self.keep(who.pipe, access, opened)
            }
            Step::Duplicate(who) => {
                let (access, handle) = &self.handles[who.pipe][self.index(who)?];
                let (access, duplicate) = (*access, system.duplicate(handle));
                self.keep(who.pipe, access, duplicate)
            }
            Step::Close(who) => {
                let index = self.index(who)?;
                self.handles[who.pipe].remove(index);
                Outcome::done(Ok(()))
            }
        })
    }

    /// What every handle shows, and of how many `poll` says that they are ready.
    ///
    /// # Errors
    /// Of `poll`.
    pub fn look(&self) -> Result<(usize, Vec<View>), Errno> {
        let all =
            || (0..2).flat_map(|pipe| self.handles[pipe].iter().map(move |(access, handle)| (pipe, *access, handle)));
        let polled: Vec<_> = all().map(|(_, _, handle)| (handle, PollFlags::IN | PollFlags::OUT)).collect();
        let (count, ready) = self.system.poll(&polled)?;
        let view = |((pipe, access, handle), ready)| View {
            pipe,
            access,
            ready,
            unread: self.system.unread(handle),
            size: self.system.size(handle),
            flags: self.shown(access, self.system.flags(handle)),
        };
        Ok((count, all().zip(ready).map(view).collect()))
    }

    /// Reads all that is left, and opens a reader for that where there is none.
    pub fn drain(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        for pipe in 0..2 {
            if self.handles[pipe].is_empty() {
                continue;
            }
            let who = Who { pipe, by: Side::Reader, handle: 0 };
            if self.index(who).is_none() {
                let opened = self.system.open(pipe, Access::Reads);
                outcome.answers.extend(self.keep(pipe, Access::Reads, opened).answers);
            }
            loop {
                // So much that nothing is dropped, and there is room behind it.
                let left = self.one(who).map_or(Ok(0), |handle| self.system.unread(handle)).unwrap_or(0);
                let read = Step::Read(who, Lens(vec![left + SLOT]));
                let Outcome { answers, bytes } = self.run(&read, true);
                let is_last = !matches!(answers[..], [Ok(1..)]);
                outcome.answers.extend(answers);
                outcome.bytes.extend(bytes);
                if is_last {
                    break;
                }
            }
        }
        outcome
    }

    /// Of how many of the pipes that are open the counters have come round.
    ///
    /// # Errors
    /// What is wrong with the accounts of one of them.
    pub fn come_round(&self) -> Result<usize, String> {
        let one_of_each = self.handles.iter().filter_map(|handles| handles.first());
        let come_round = one_of_each.map(|(_, handle)| self.system.has_come_round(handle));
        Ok(come_round.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|&has| has).count())
    }

    /// Whether the step would wait, or might: what is in the pipe is known in bytes and not in slots.
    pub fn might_wait(&self, step: &Step) -> bool {
        let is_empty = |who: Who| {
            let is_empty = self.one(who).is_some_and(|handle| self.system.unread(handle) == Ok(0));
            is_empty && self.count(Who { by: Side::Writer, ..who }) > 0
        };
        let is_full = |who: Who| self.is_full_and_read(who, 1);
        match *step {
            Step::Read(who, Lens(ref lens)) => lens.iter().sum::<usize>() > 0 && is_empty(who),
            Step::Write(who, Lens(ref lens)) => self.is_full_and_read(who, lens.iter().sum::<usize>().div_ceil(SLOT)),
            Step::Transfer(Transfer { from, to, manner: Manner::AsTheHandles, .. }) => is_empty(from) || is_full(to),
            Step::FromFile(who, _, Manner::AsTheHandles, _) | Step::FromPipe(who, _, Manner::AsTheHandles, _) => {
                is_full(who)
            }
            Step::ToFile(who, _, Manner::AsTheHandles, _) | Step::ToOther(who, _, Manner::AsTheHandles, _) => {
                is_empty(who)
            }
            _ => false,
        }
    }

    /// Whether so many slots may not be free; but where nobody reads nobody waits.
    fn is_full_and_read(&self, who: Who, slots: usize) -> bool {
        let Some(handle) = self.one(who) else { return false };
        let (size, unread) = (self.system.size(handle).unwrap_or(0), self.system.unread(handle).unwrap_or(0));
        let free_for_certain = (size / SLOT).saturating_sub(unread);
        let has_room = || {
            let polled = self.system.poll(&[(handle, PollFlags::OUT)]);
            polled.is_ok_and(|(_, ready)| ready[0].contains(PollFlags::OUT))
        };
        let is_full = if slots == 1 { !has_room() } else { slots > free_for_certain };
        is_full && self.count(Who { by: Side::Reader, ..who }) > 0
    }

    /// Those of the step's handles that might wait.
    fn blocking_handles(&self, step: &Step) -> Vec<Who> {
        let handles = match *step {
            Step::Transfer(Transfer { from, to, .. }) => vec![from, to],
            Step::Read(who, _)
            | Step::Write(who, _)
            | Step::FromFile(who, ..)
            | Step::ToFile(who, ..)
            | Step::FromPipe(who, ..)
            | Step::ToOther(who, ..) => vec![who],
            _ => Vec::new(),
        };
        let is_blocking = |&who: &Who| {
            let flags = self.flags(who);
            flags.is_some_and(|flags| flags.is_ok_and(|flags| !flags.contains(OFlags::NONBLOCK)))
        };
        handles.into_iter().filter(is_blocking).collect()
    }

    fn set_nonblocking(&self, who: Who, is_on: bool) {
        if let Some(handle) = self.one(who) {
            self.system.set_nonblocking(handle, is_on).expect("a flag can be set");
        }
    }

    fn flags(&self, who: Who) -> Option<Result<OFlags, Errno>> {
        let (access, handle) = &self.handles[who.pipe][self.index(who)?];
        Some(self.shown(*access, self.system.flags(handle)))
    }

    /// A reading end of ours has no packet flag, from Rust. The kernel's has one that does nothing; that it does nothing is compared.
    fn shown(&self, access: Access, flags: Result<OFlags, Errno>) -> Result<OFlags, Errno> {
        let hidden = if access == Access::Reads { OFlags::DIRECT } else { OFlags::empty() };
        flags.map(|flags| flags - hidden)
    }

    fn keep(&mut self, pipe: usize, access: Access, opened: Result<S::Handle, Errno>) -> Outcome {
        Outcome::done(opened.map(|handle| {
            if self.handles[pipe].len() < MOST_HANDLES {
                self.handles[pipe].push((access, handle));
            }
        }))
    }

    fn count(&self, who: Who) -> usize {
        self.handles[who.pipe].iter().filter(|(access, _)| access.has(who.by)).count()
    }

    fn index(&self, who: Who) -> Option<usize> {
        let nth = who.handle.checked_rem(self.count(who))?;
        let able = self.handles[who.pipe].iter().enumerate().filter(|(_, (access, _))| access.has(who.by));
        able.map(|(index, _)| index).nth(nth)
    }

    fn one(&self, who: Who) -> Option<&S::Handle> {
        Some(&self.handles[who.pipe][self.index(who)?].1)
    }
}

fn to_write(first: usize, Lens(lens): &Lens) -> Vec<IoSlice<'static>> {
    let mut next = first;
    let piece = |&len: &usize| {
        let piece = numbered(next, len);
        next += len;
        IoSlice::new(piece)
    };
    lens.iter().map(piece).collect()
}
