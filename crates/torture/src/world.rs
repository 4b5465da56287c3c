//! The pipes around one victim, what is in them, and the others: what they do while it stands, and what must hold when it is dead.
//!
//! ```text
//!   survivor ──> [ first pipe ] ──> survivor          victim: an end of the first pipe, of the last pipe, or of both;
//!                [ last pipe  ] ──> survivor          where there is only one pipe, it is both
//! ```

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use ppipe::Writer;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::act::{Act, Entries, Filling, LARGE, SLOT, SLOTS, SMALL, Scenario};
use crate::content::Content;
use crate::effect::{Effect, VICTIMS};
use crate::name::Name;
use crate::pipe::{Broken, PATIENCE, Pipe};
use crate::sleeper::{self, Sleeper};
use crate::stepping::{At, Victim};
use crate::victim::{LIES, NAME, ORDERS, READER, WHO, WRITER};

/// The pipes and the survivors.
#[derive(Debug)]
pub struct World {
    pub(crate) scenario: Scenario,
    /// Of another victim.
    second: Option<Scenario>,
    pub(crate) pipes: Vec<Pipe>,
    /// Of the pipe, if it has one.
    name: Option<Name>,
    /// Bytes of the first element.
    pub(crate) first: usize,
    sleeper: Option<Sleeper>,
    /// Whether the victims do more than they are told to.
    lies: bool,
    /// Where an end arrives that the victim passes.
    socket: Option<OwnedFd>,
    program: PathBuf,
}

impl World {
    /// Pipes that are filled for `scenario`; `program` is what a victim runs.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(scenario: Scenario, program: &Path) -> Result<Self, Broken> {
        Self::with(scenario, None, Entries::FOR_ONE, program)
    }

    /// One pipe for two victims, with so many places in its table.
    ///
    /// # Errors
    /// What the system says.
    pub fn for_two([first, second]: [Scenario; 2], entries: Entries, program: &Path) -> Result<Self, Broken> {
        Self::with(first, Some(second), entries, program)
    }

    fn with(scenario: Scenario, second: Option<Scenario>, entries: Entries, program: &Path) -> Result<Self, Broken> {
        // Relaxed: only that no two are the same.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = scenario.has_name().then(|| Name::new(&format!("torture-{number}")));
        let mut pipes = Vec::new();
        match &name {
            Some(_) if scenario.is_alone() => {}
            Some(name) => pipes.push(Pipe::of_name(name, entries)?),
            None => pipes.push(Pipe::new(entries)?),
        }
        if scenario.hands().between_two {
            pipes.push(Pipe::new(entries)?);
        }
        let program = program.to_owned();
        let mut world =
            Self { scenario, second, pipes, name, first: 0, sleeper: None, lies: false, socket: None, program };
        let (_, len) = world.kind_of_element();
        world.first = len;
        if !scenario.is_alone() {
            world.fill(len)?;
        }
        if world.scenarios().any(|scenario| scenario.act == Act::Reap) {
            world.leave_a_dead_one()?;
        }
        match scenario.act {
            Act::WakeReader => world.sleeper = Some(Sleeper::in_recv(world.pipes[0].reader()?.try_clone()?)?),
            Act::WakeWriter => {
                let pipe = &mut world.pipes[0];
                let packet = pipe.bytes(SMALL);
                world.sleeper = Some(Sleeper::in_send(pipe.writer()?.try_clone()?, packet)?);
            }
            _ => {}
        }
        Ok(world)
    }

    fn fill(&mut self, len: usize) -> Result<(), Broken> {
        let scenario = self.scenario;
        let is_stream = scenario.is_stream();
        let acts: Vec<_> = self.scenarios().map(|scenario| scenario.act).collect();
        let has = |act| acts.contains(&act);
        let pipe = &mut self.pipes[0];
        let mut count = match scenario.filling {
            Filling::Empty => 0,
            Filling::One => 1,
            Filling::Full if scenario.is_large() => 6,
            Filling::Full => SLOTS,
            Filling::Wrapped => SLOTS / 2,
        };
        if scenario.filling == Filling::Wrapped {
            for _ in 0..SLOTS - 2 {
                pipe.put(false, SMALL)?;
                pipe.get()?;
            }
        }
        // A victim's own comes behind, and is merged with.
        count = count.saturating_sub(u32::from(has(Act::AppendOwn)));
        if has(Act::AppendOther) {
            (1..count).try_for_each(|_| pipe.put(false, len))?;
            pipe.put(true, SMALL)?;
            count = 0;
        }
        (0..count).try_for_each(|_| pipe.put(is_stream, len))
    }

    /// Somebody has died between saying which exchange comes next and saying how that ended.
    fn leave_a_dead_one(&mut self) -> Result<(), Broken> {
        let filling = if self.scenario.filling == Filling::Full { Filling::One } else { Filling::Empty };
        let full = self.scenario.filling == Filling::Full;
        if full {
            self.pipes[0].get()?;
        }
        let sends = Scenario { act: Act::Send, filling };
        let mut victim = self.start_as(sends, VICTIMS[0])?;
        while self.pending()? == 0 {
            match victim.step()? {
                At::Stands => {}
                at => return Err(io::Error::other(format!("never in the midst of an exchange: {at:?}")).into()),
            }
        }
        victim.kill();
        if full {
            // It has died before the exchange, so that its place is free.
            self.pipes[0].put(false, SMALL)?;
        }
        Ok(())
    }

    /// Those that are started from now on do their operation twice: what the laws are tried on.
    pub fn let_victims_lie(&mut self) {
        self.lies = true;
    }

    fn scenarios(&self) -> impl Iterator<Item = Scenario> + use<> {
        [Some(self.scenario), self.second].into_iter().flatten()
    }

    /// How many have said which exchange comes next, and not yet how that ended.
    pub(crate) fn pending(&self) -> Result<usize, Broken> {
        let of = |pipe: &Pipe| {
            Ok::<_, Broken>(pipe.writer()?.audit()?.entries.iter().filter(|entry| entry.is_pending).count())
        };
        self.pipes.iter().map(of).sum()
    }

    /// Starts the victim, which stands at its first mark then.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(&mut self) -> Result<Victim, Broken> {
        self.start_with_content(self.scenario, VICTIMS[0])
    }

    /// Starts both victims, which stand at their first marks then.
    ///
    /// # Errors
    /// What the system says.
    pub fn start_two(&mut self) -> Result<[Victim; 2], Broken> {
        let second = self.second.ok_or_else(|| io::Error::other("there is one victim"))?;
        Ok([self.start_with_content(self.scenario, VICTIMS[0])?, self.start_with_content(second, VICTIMS[1])?])
    }

    fn start_with_content(&mut self, scenario: Scenario, who: u8) -> Result<Victim, Broken> {
        let victim = self.start_as(scenario, who)?;
        if let Some(pipe) = self.pipes.first_mut() {
            pipe.content.push_some(&scenario.prepared(who), usize::MAX);
        }
        Ok(victim)
    }

    fn start_as(&mut self, scenario: Scenario, who: u8) -> Result<Victim, Broken> {
        let mut command = Command::new(&self.program);
        command.env(ORDERS, scenario.to_string()).env(WHO, who.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        if self.lies {
            command.env(LIES, "");
        }
        if let Some(name) = &self.name {
            command.env(NAME, &name.0);
        }
        if scenario.act == Act::Pass {
            let (here, there) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(io::Error::from)?;
            command.stdin(there);
            self.socket = Some(here);
        }
        let hands = scenario.hands();
        if hands.reads {
            let pipe = &mut self.pipes[0];
            let end = if hands.is_last { pipe.reader.take() } else { Some(pipe.reader()?.try_clone()?) };
            end.into_iter().for_each(|end| end.hand_to(&mut command, READER));
        }
        if hands.writes {
            let pipe = self.pipes.last_mut().expect("there is a pipe");
            let end = if hands.is_last { pipe.writer.take() } else { Some(pipe.writer()?.try_clone()?) };
            end.into_iter().for_each(|end| end.hand_to(&mut command, WRITER));
        }
        Ok(Victim::start(&mut command)?)
    }

    /// Does what the victim sleeps for.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn rouse(&mut self) -> Result<(), Broken> {
        let pipe = &mut self.pipes[0];
        if self.scenario.hands().reads { pipe.put(false, SMALL) } else { pipe.get() }
    }

    /// The victims are dead; `are_done`: which of them had come to their second mark. What the second one did began when the first one stood.
    /// `is_reaped_by_joining`: who comes next cleans up, and not the audit. Returns how many the audit found to have died in the midst of an
    /// exchange.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn judge(mut self, are_done: &[bool], is_reaped_by_joining: bool) -> Result<u32, Broken> {
        self.open_what_nobody_had()?;
        let has_arrived = self.find_what_was_passed()?;
        if !has_arrived
            && self.scenarios().zip(are_done).any(|(scenario, is_done)| *is_done && scenario.act == Act::Pass)
        {
            return Err(io::Error::other("the end that was passed has not arrived").into());
        }
        self.socket = None;
        self.survive(are_done)?;
        let mut settled = 0;
        for index in 0..self.pipes.len() {
            if is_reaped_by_joining {
                self.pipes[index].join_all()?;
            }
            settled += self.pipes[index].check_accounts()?;
            if !is_reaped_by_joining {
                self.pipes[index].join_all()?;
            }
        }
        for pipe in &mut self.pipes {
            pipe.pass(3 * SLOTS)?;
            pipe.check_accounts()?;
            pipe.end()?;
        }
        self.leave_no_name()?;
        Ok(settled)
    }

    /// Nobody but the victim had the pipe: whoever comes now finds one, whatever the victim has left.
    pub(crate) fn open_what_nobody_had(&mut self) -> Result<(), Broken> {
        if let Some(name) = self.name.as_ref().filter(|_| self.pipes.is_empty()) {
            self.pipes.push(Pipe::of_name(name, Entries::FOR_ONE)?);
        }
        Ok(())
    }

    /// The last one to leave a pipe with a name takes that along, and whatever the victim had not finished of it.
    pub(crate) fn leave_no_name(&mut self) -> Result<(), Broken> {
        self.pipes.clear();
        match self.name.as_ref().map(Name::remains).unwrap_or_default().as_slice() {
            [] => Ok(()),
            left => Err(Broken::Accounts(format!("the name is left: {left:?}"))),
        }
    }

    /// Whether the end that the victim passes has arrived. It can be used, and is closed then.
    pub(crate) fn find_what_was_passed(&mut self) -> Result<bool, Broken> {
        let Some(socket) = &self.socket else { return Ok(false) };
        match Writer::try_receive_from(socket) {
            Ok(writer) => {
                writer.unread()?;
                Ok(true)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::UnexpectedEof) => Ok(false),
            Err(error) => Err(Broken::Call { what: "receive_from", error }),
        }
    }

    /// Takes out whatever is there; what a sleeper has received comes first, and what one has sent is none of it.
    pub(crate) fn collect(&mut self) -> Result<Vec<Content>, Broken> {
        let (mut front, sent) = match self.sleeper.take() {
            None => return self.drain(),
            Some(Sleeper::Reads(thread)) => {
                // It has the victim's packet, or receives this one.
                let pipe = &mut self.pipes[0];
                let packet = pipe.bytes(SMALL);
                let sent = pipe.writer()?.send_timeout(&packet, PATIENCE);
                sent.map_err(|error| Broken::Call { what: "send to a sleeper", error })?;
                let mut front = Content::default();
                front.push_packet(sleeper::outcome("recv of a sleeper", thread)?);
                (front, packet)
            }
            Some(Sleeper::Writes(thread, packet)) => {
                let front = Content::drain(self.pipes[0].reader()?)?;
                sleeper::outcome("send of a sleeper", thread)?;
                (front, packet)
            }
        };
        front.push_some(&Content::drain(self.pipes[0].reader()?)?, usize::MAX);
        if !front.drop_last(&sent) {
            return Err(Broken::Content {
                found: front.to_string(),
                expected: "the sleeper's packet at the end".to_owned(),
            });
        }
        Ok(vec![front])
    }

    pub(crate) fn kind_of_element(&self) -> (bool, usize) {
        let len = match () {
            () if self.scenario.is_large() => LARGE,
            () if self.scenario.is_stream() => SLOT,
            () => SMALL,
        };
        (self.scenario.is_stream(), len)
    }

    pub(crate) fn drain(&self) -> Result<Vec<Content>, Broken> {
        self.pipes.iter().map(|pipe| Ok(Content::drain(pipe.reader()?)?)).collect()
    }

    /// Takes out what is in the pipes: it has to be what was there, with the victims' own operations, without, or in part.
    fn survive(&mut self, are_done: &[bool]) -> Result<(), Broken> {
        let hands = self.scenario.hands();
        if hands.is_last {
            self.find_the_end(hands.writes)?;
        }
        let mut states: Vec<Vec<Content>> = vec![self.pipes.iter().map(|pipe| pipe.content.clone()).collect()];
        for ((scenario, &is_done), who) in self.scenarios().zip(are_done).zip(VICTIMS) {
            states = states.iter().flat_map(|state| self.after(scenario, who, is_done, state)).collect();
        }
        let found = self.collect()?;
        if !states.contains(&found) {
            let expected = states.iter().map(|state| show(state)).collect::<Vec<_>>().join(", or ");
            return Err(Broken::Content { found: show(&found), expected });
        }
        self.pipes.iter_mut().for_each(|pipe| pipe.content = Content::default());
        Ok(())
    }

    /// What may be in pipes with these contents after a victim's operation.
    fn after(&self, scenario: Scenario, who: u8, is_done: bool, contents: &[Content]) -> Vec<Vec<Content>> {
        let front = &contents[0];
        let first = if front.begins_with_packet() { front.len_of_first(1) } else { self.first.min(front.len()) };
        let effect = scenario.effect(who, front, first);
        let is_all = is_done && !(self.second.is_some() && scenario.may_do_less());
        let outcomes = if is_all { vec![(effect.removed, effect.appended.len())] } else { effect.partly.clone() };
        outcomes.into_iter().map(|outcome| with(contents, &effect, outcome)).collect()
    }

    /// The victim had the only end of its side: the others are told, and a new one can come.
    fn find_the_end(&mut self, was_writer: bool) -> Result<(), Broken> {
        let pipe = &mut self.pipes[0];
        if !was_writer {
            match pipe.writer()?.try_send(&[0]) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(error) => return Err(Broken::Call { what: "send without a reader", error }),
                Ok(()) => return Err(Broken::Accounts("a send succeeded without a reader".to_owned())),
            }
            pipe.reader = Some(pipe.writer()?.reopen_reader(true)?);
            return Ok(());
        }
        let mut buffer = vec![0; SLOTS as usize * 2 * SLOT];
        while !pipe.content.is_empty() {
            pipe.get()?;
        }
        match pipe.reader()?.recv_timeout(&mut buffer, PATIENCE) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(Broken::Call { what: "recv at the end", error }),
            Ok(message) => {
                let found = format!("{} bytes", message.len);
                return Err(Broken::Content { found, expected: "the end".to_owned() });
            }
        }
        pipe.writer = Some(pipe.reader()?.reopen_writer(true)?);
        pipe.writer()?.set_nonblocking(false);
        Ok(())
    }
}

/// `contents` when so many bytes have been taken out of the first pipe and put into the last one.
pub(crate) fn with(contents: &[Content], effect: &Effect, (removed, put): (usize, usize)) -> Vec<Content> {
    let mut contents = contents.to_vec();
    contents[0].drop_front(removed);
    contents.last_mut().expect("there is a pipe").push_some(&effect.appended, put);
    contents
}

pub(crate) fn show(contents: &[Content]) -> String {
    contents.iter().map(|content| content.to_string()).collect::<Vec<_>>().join(" and ")
}
