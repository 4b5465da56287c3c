//! The pipes around one victim, what is in them, and the others: what they do while it stands, and what must hold when it is dead.
//!
//! ```text
//!   survivor ──> [ first pipe ] ──> survivor          victim: an end of the first pipe, of the last pipe, or of both;
//!                [ last pipe  ] ──> survivor          where there is only one pipe, it is both
//! ```

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ppipe::{Reader, Writer};

use crate::act::{Act, Effect, Filling, LARGE, READER, SLOT, SLOTS, SMALL, Scenario, WRITER, builder};
use crate::content::{Content, bytes_of};
use crate::stepping::{At, Victim};

/// The variable in which a victim finds what it is to do.
pub const ORDERS: &str = "PPIPE_TORTURE";
/// Who sends what survivors send, in the sense of [`bytes_of`].
const SURVIVOR: u8 = 1;
/// So long a call of a survivor may take: it hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many messages the others pass while the victim stands.
const PASSED: u32 = 1000;
/// Most ends of each side.
const MOST_ENDS: usize = 3;

/// A law that was broken.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// What is in the pipe is none of what may be there.
    #[error("there is {found}, and not {expected}")]
    Content {
        /// What came out.
        found: String,
        /// What may have come out.
        expected: String,
    },
    /// Pages or extents are not where they must be.
    #[error("the accounts: {0}")]
    Accounts(String),
    /// Ends that the pipe has no room for, though it should.
    #[error("{joined} more {side} could join, and not {expected}: {error}")]
    Entries {
        /// How many could.
        joined: usize,
        /// How many had to.
        expected: usize,
        /// Of which side.
        side: &'static str,
        /// What the next one was told.
        error: io::Error,
    },
    /// A call of a survivor that had to succeed.
    #[error("a survivor's {what}: {error}")]
    Call {
        /// Which call.
        what: &'static str,
        /// What it said.
        error: io::Error,
    },
    /// What the system says, or the victim.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// One pipe, the survivors' ends of it, and what is in it.
#[derive(Debug)]
struct Pipe {
    reader: Option<Reader>,
    writer: Option<Writer>,
    content: Content,
    next: u32,
}

/// The pipes and the survivors.
#[derive(Debug)]
pub struct World {
    scenario: Scenario,
    pipes: Vec<Pipe>,
    /// Bytes of the first element.
    first: usize,
    program: std::path::PathBuf,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (reader, writer) = builder().pipe()?;
        Ok(Self { reader: Some(reader), writer: Some(writer), content: Content::default(), next: 0 })
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        self.next += 1;
        bytes_of(SURVIVOR, self.next, len)
    }

    fn writer(&self) -> Result<&Writer, Broken> {
        self.writer.as_ref().ok_or_else(|| io::Error::other("no survivor writes").into())
    }

    fn reader(&self) -> Result<&Reader, Broken> {
        self.reader.as_ref().ok_or_else(|| io::Error::other("no survivor reads").into())
    }

    fn put(&mut self, is_stream: bool, len: usize) -> Result<(), Broken> {
        let bytes = self.bytes(len);
        let writer = self.writer()?;
        if is_stream {
            use std::io::Write;
            let written = { writer }.write(&bytes).map_err(|error| Broken::Call { what: "write", error })?;
            assert_eq!(written, len, "it writes what fits a slot");
            self.content.push_stream(&bytes);
        } else {
            writer.send_timeout(&bytes, PATIENCE).map_err(|error| Broken::Call { what: "send", error })?;
            self.content.push_packet(bytes);
        }
        Ok(())
    }

    /// Receives the first packet and compares.
    fn get(&mut self) -> Result<(), Broken> {
        let mut buffer = vec![0; SLOTS as usize * 2 * SLOT];
        let received = self.reader()?.recv_timeout(&mut buffer, PATIENCE);
        let len = received.map_err(|error| Broken::Call { what: "recv", error })?.len;
        let mut found = Content::default();
        found.push_packet(buffer[..len].to_vec());
        let mut expected = Content::default();
        expected.push_some(&self.content, len);
        if found != expected {
            return Err(Broken::Content { found: found.to_string(), expected: expected.to_string() });
        }
        self.content.drop_front(len);
        Ok(())
    }
}

impl World {
    /// Pipes that are filled for `scenario`; `program` is what a victim runs.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(scenario: Scenario, program: &std::path::Path) -> Result<Self, Broken> {
        let mut pipes = vec![Pipe::new()?];
        if scenario.hands().between_two {
            pipes.push(Pipe::new()?);
        }
        let mut world = Self { scenario, pipes, first: 0, program: program.to_owned() };
        let (_, len) = world.kind_of_element();
        world.first = len;
        world.fill(len)?;
        if scenario.act == Act::Reap {
            world.leave_a_dead_one()?;
        }
        Ok(world)
    }

    fn fill(&mut self, len: usize) -> Result<(), Broken> {
        let scenario = self.scenario;
        let is_stream = scenario.is_stream();
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
        match scenario.act {
            // The victim's own comes behind, and is merged with.
            Act::AppendOwn => count = count.saturating_sub(1),
            Act::AppendOther => {
                (1..count).try_for_each(|_| pipe.put(false, len))?;
                pipe.put(true, SMALL)?;
                count = 0;
            }
            _ => {}
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
        let mut victim = self.start_as(sends)?;
        let is_pending = |pipe: &Pipe| -> Result<bool, Broken> {
            Ok(pipe.writer()?.audit()?.entries.iter().any(|entry| entry.is_pending))
        };
        while !is_pending(&self.pipes[0])? {
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

    /// Starts the victim, which stands at its first mark then.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(&mut self) -> Result<Victim, Broken> {
        let victim = self.start_as(self.scenario)?;
        self.pipes[0].content.push_some(&self.scenario.prepared(), usize::MAX);
        Ok(victim)
    }

    fn start_as(&mut self, scenario: Scenario) -> Result<Victim, Broken> {
        let mut command = Command::new(&self.program);
        command.env(ORDERS, scenario.to_string()).stdin(Stdio::null()).stdout(Stdio::piped());
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

    /// The victim is dead. Whether it had come to its second mark is `is_done`. `is_reaped_by_joining`: who comes next cleans up, and not the audit.
    /// Returns in how many pipes the audit found that it had died in the midst of an exchange.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn judge(mut self, is_done: bool, is_reaped_by_joining: bool) -> Result<u32, Broken> {
        self.survive(is_done)?;
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
        Ok(settled)
    }

    /// The victim is stopped. The others go on without it, it goes on when they have done, and whatever it does then is what it would have done.
    /// `go_on` lets it, and returns what it has received.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn judge_stopped(mut self, go_on: impl FnOnce() -> io::Result<Vec<u8>>) -> Result<(), Broken> {
        let effect = self.scenario.effect(&self.pipes[0].content, self.first);
        let before = self.pipes[0].content.clone();
        let found = self.drain()?;
        let done = self.find_outcome(&found, &effect, &effect.partly)?;
        self.pipes.iter_mut().for_each(|pipe| pipe.content = Content::default());
        self.pipes.iter_mut().try_for_each(|pipe| pipe.pass(PASSED))?;
        // Something to find for one that reads, and a page that it has no business with.
        if self.scenario.hands().reads {
            let (is_stream, len) = self.kind_of_element();
            (0..3).try_for_each(|_| self.pipes[0].put(is_stream, len))?;
        }
        let marked = bytes_of(SURVIVOR, u32::MAX, SLOT);
        let pipe = self.pipes.last_mut().expect("there is a pipe");
        let mut writer = pipe.writer.take().ok_or_else(|| io::Error::other("no survivor writes"))?;
        let loan = writer.reserve(SLOT).map_err(|error| Broken::Call { what: "reserve", error })?;
        loan.bytes().copy_from(0, &marked);
        let received = go_on()?;
        let mut own = vec![0; SLOT];
        loan.bytes().copy_to(0, &mut own);
        if own != marked {
            return Err(Broken::Accounts("the victim has written to a survivor's page".to_owned()));
        }
        drop(loan);
        self.pipes.last_mut().expect("there is a pipe").writer = Some(writer);
        self.check_rest(&before, &effect, done, &received)?;
        for pipe in &mut self.pipes {
            pipe.content = Content::default();
            pipe.check_accounts()?;
            pipe.pass(SLOTS)?;
            pipe.end()?;
        }
        Ok(())
    }

    /// What was not there yet when the victim stood, and what it has received, by now.
    fn check_rest(
        &self,
        before: &Content,
        effect: &Effect,
        (removed, put): (usize, usize),
        received: &[u8],
    ) -> Result<(), Broken> {
        let found = self.drain()?;
        // Of what it is to take out, the rest comes from what the others have put in since.
        let mut early = Content::default();
        early.push_some(before, removed);
        let rest = effect.removed.saturating_sub(removed);
        // A read that has been overtaken after its first buffer may leave it at that.
        let is_short = removed > 0 && received.len() == removed;
        let late = if is_short { 0 } else { rest.min(self.pipes[0].content.len()) };
        let mut taken = early.bytes();
        taken.extend(&self.pipes[0].content.bytes()[..late]);
        let mut appended = effect.appended.clone();
        appended.drop_front(put);
        if self.scenario.hands().between_two && removed == 0 && put == 0 {
            // It moves or copies what stands first now.
            appended = Content::default();
            appended.push_some(&self.pipes[0].content, effect.appended.len());
        }
        let mut expected: Vec<Content> = self.pipes.iter().map(|pipe| pipe.content.clone()).collect();
        expected[0].drop_front(late);
        expected.last_mut().expect("there is a pipe").push_some(&appended, usize::MAX);
        if found != expected || (self.scenario.reports() && taken != received) {
            let tell = |contents: &[Content], len| format!("{} and {len} bytes received", show(contents));
            return Err(Broken::Content {
                found: tell(&found, received.len()),
                expected: tell(&expected, taken.len()),
            });
        }
        Ok(())
    }

    fn kind_of_element(&self) -> (bool, usize) {
        let len = match () {
            () if self.scenario.is_large() => LARGE,
            () if self.scenario.is_stream() => SLOT,
            () => SMALL,
        };
        (self.scenario.is_stream(), len)
    }

    fn drain(&self) -> Result<Vec<Content>, Broken> {
        self.pipes.iter().map(|pipe| Ok(Content::drain(pipe.reader()?)?)).collect()
    }

    /// Which of `outcomes`, bytes taken out and put in, explains what was found.
    fn find_outcome(
        &self,
        found: &[Content],
        effect: &Effect,
        outcomes: &[(usize, usize)],
    ) -> Result<(usize, usize), Broken> {
        let with = |&(removed, put): &(usize, usize)| {
            let mut contents: Vec<Content> = self.pipes.iter().map(|pipe| pipe.content.clone()).collect();
            contents[0].drop_front(removed);
            contents.last_mut().expect("there is a pipe").push_some(&effect.appended, put);
            contents
        };
        outcomes.iter().find(|outcome| with(outcome) == found).copied().ok_or_else(|| Broken::Content {
            found: show(found),
            expected: outcomes.iter().map(|outcome| show(&with(outcome))).collect::<Vec<_>>().join(", or "),
        })
    }

    /// Takes out what is in the pipes: it has to be what was there, with the victim's own operation, without, or in part.
    fn survive(&mut self, is_done: bool) -> Result<(), Broken> {
        let hands = self.scenario.hands();
        if hands.is_last {
            self.find_the_end(hands.writes)?;
        }
        let effect = self.scenario.effect(&self.pipes[0].content, self.first);
        let mut outcomes = effect.partly.clone();
        if is_done {
            outcomes = vec![(effect.removed, effect.appended.len())];
        }
        let found = self.drain()?;
        self.find_outcome(&found, &effect, &outcomes)?;
        self.pipes.iter_mut().for_each(|pipe| pipe.content = Content::default());
        Ok(())
    }

    /// The victim had the only end of its side: the others are told, and a new one can come.
    fn find_the_end(&mut self, was_writer: bool) -> Result<(), Broken> {
        let pipe = &mut self.pipes[0];
        if !was_writer {
            let error = loop {
                // It may go on until the pipe is full.
                match pipe.writer()?.send_timeout(&[0], PATIENCE) {
                    Ok(()) => {}
                    Err(error) => break error,
                }
            };
            if error.kind() != io::ErrorKind::BrokenPipe {
                return Err(Broken::Call { what: "send without a reader", error });
            }
            pipe.reader = Some(pipe.writer()?.reopen_reader(true)?);
            let mut found = Content::drain(pipe.reader()?)?;
            let rest = found.len().saturating_sub(pipe.content.len());
            let mut kept = Content::default();
            kept.push_some(&found, pipe.content.len());
            found.drop_front(pipe.content.len());
            if kept != pipe.content || rest > 2 * SLOTS as usize {
                return Err(Broken::Content { found: kept.to_string(), expected: pipe.content.to_string() });
            }
            pipe.content = Content::default();
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

impl Pipe {
    /// Every place of the table can be had, that of the dead too.
    fn join_all(&self) -> Result<(), Broken> {
        let reader = self.reader()?;
        let writer = self.writer()?;
        join_all("readers", || reader.try_clone())?;
        join_all("writers", || writer.try_clone())
    }

    /// Returns how many of the dead had left an exchange pending.
    fn check_accounts(&self) -> Result<u32, Broken> {
        let audit = self.reader()?.audit()?;
        if !audit.is_steady || !audit.is_sound() || audit.held().count() != 2 {
            return Err(Broken::Accounts(audit.to_string()));
        }
        Ok(audit.settled)
    }

    fn pass(&mut self, count: u32) -> Result<(), Broken> {
        for _ in 0..count {
            self.put(false, SMALL)?;
            self.get()?;
        }
        Ok(())
    }

    /// The writer leaves, and the reader finds the end.
    fn end(&mut self) -> Result<(), Broken> {
        self.writer = None;
        match self.reader()?.recv_timeout(&mut [0; SMALL], PATIENCE) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(Broken::Call { what: "recv at the end", error }),
            Ok(message) => {
                let found = format!("{} bytes", message.len);
                Err(Broken::Content { found, expected: "the end".to_owned() })
            }
        }
    }
}

fn show(contents: &[Content]) -> String {
    contents.iter().map(|content| content.to_string()).collect::<Vec<_>>().join(" and ")
}

fn join_all<T>(side: &'static str, join: impl Fn() -> io::Result<T>) -> Result<(), Broken> {
    let mut all = Vec::new();
    let expected = MOST_ENDS - 1;
    let start = Instant::now();
    loop {
        match join() {
            Ok(end) => all.push(end),
            Err(_) if all.len() == expected => return Ok(()),
            // One who has just died counts until the kernel has taken it away.
            Err(_) if start.elapsed() < Duration::from_millis(200) => std::thread::yield_now(),
            Err(error) => return Err(Broken::Entries { joined: all.len(), expected, side, error }),
        }
    }
}
