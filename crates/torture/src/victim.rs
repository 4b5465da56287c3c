//! What the led process does: takes up what it was handed, prepares, and does one operation between its two marks.

use std::fs::File;
use std::io::{self, Read, Seek, Write};

use ppipe::{Excess, Message, Reader, Waiting, Writer, splice, tee};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::act::{Act, BATCH, Entries, LARGE, MOST_SLOTS, PART, SLOT, SLOTS, SMALL, Scenario, builder};
use crate::effect::sent;
use crate::stepping::{be_traced, mark};

/// The variable in which a victim finds what it is to do.
pub const ORDERS: &str = "PPIPE_TORTURE";
/// The variable in which it finds who it is.
pub const WHO: &str = "PPIPE_TORTURE_WHO";
/// The variable that makes a victim lie: it does more than it was told to.
pub const LIES: &str = "PPIPE_TORTURE_LIES";
/// The variable in which a victim finds its reader.
pub const READER: &str = "PPIPE_TORTURE_READER";
/// The variable in which a victim finds its writer.
pub const WRITER: &str = "PPIPE_TORTURE_WRITER";
/// The variable in which a victim finds the pipe's name.
pub const NAME: &str = "PPIPE_TORTURE_NAME";

/// Runs as a victim if this process was started as one; returns whether it was. It writes what it has received to its standard output.
///
/// # Errors
/// What the pipe says when it should not.
pub fn run_if_told() -> io::Result<bool> {
    let Ok(orders) = std::env::var(ORDERS) else { return Ok(false) };
    let scenario: Scenario = orders.parse().map_err(io::Error::other)?;
    be_traced()?;
    let who = std::env::var(WHO).ok().and_then(|who| who.parse().ok()).ok_or_else(|| io::Error::other("who am I?"))?;
    let mut ready = Ready::prepare(scenario, who)?;
    mark()?;
    let received = ready.act();
    if std::env::var_os(LIES).is_some() {
        ready.act()?;
    }
    mark()?;
    io::stdout().write_all(ready.received(received?))?;
    Ok(true)
}

/// A victim, ready to act.
pub struct Ready {
    scenario: Scenario,
    reader: Option<Reader>,
    writer: Option<Writer>,
    /// What it leaves, if that is what it does.
    leaves: (Option<Reader>, Option<Writer>),
    buffer: Vec<u8>,
    packets: Vec<Vec<u8>>,
    /// From or to which bytes are spliced.
    file: File,
    /// Of the pipe, if it has one.
    name: String,
}

impl Ready {
    /// Takes up what was handed over and does everything that comes before the operation.
    ///
    /// # Errors
    /// What the pipe says when it should not.
    pub fn prepare(scenario: Scenario, who: u8) -> io::Result<Self> {
        let hands = scenario.hands();
        let name = if scenario.has_name() { std::env::var(NAME).map_err(io::Error::other)? } else { String::new() };
        let takes_up = scenario.act == Act::TakeUp;
        let mut reader = hands.reads.then(|| Reader::inherited(READER)).transpose()?;
        let mut writer = (hands.writes && !takes_up).then(|| Writer::inherited(WRITER)).transpose()?;
        if scenario.sleeps() {
            reader.iter_mut().for_each(|reader| reader.set_waiting(Waiting::Sleeping));
            writer.iter_mut().for_each(|writer| writer.set_waiting(Waiting::Sleeping));
        }
        if scenario.act == Act::AppendOwn
            && let Some(writer) = &mut writer
        {
            writer.write_all(&sent(who, 0, SMALL))?;
        }
        if scenario.act == Act::WritePackets
            && let Some(writer) = &writer
        {
            writer.set_packet_mode(true);
        }
        let leaves = match scenario.act {
            Act::LeaveWriter => (None, writer.as_ref().map(Writer::try_clone).transpose()?),
            Act::LeaveReader => (reader.as_ref().map(Reader::try_clone).transpose()?, None),
            Act::LastWriter => (None, writer.take()),
            Act::LastReader => (reader.take(), None),
            Act::Pass => (None, writer.as_ref().map(Writer::try_clone).transpose()?),
            Act::CloseName => {
                let reader = builder(Entries::FOR_ONE).nonblocking(true).open_reader(&name)?;
                (Some(reader), Some(builder(Entries::FOR_ONE).open_writer(&name)?))
            }
            _ => (None, None),
        };
        let packets = match scenario.act {
            Act::SendBatch => (1..=BATCH as u32).map(|number| sent(who, number, SMALL)).collect(),
            Act::SendLarge | Act::CommitLarge | Act::AbandonLarge | Act::WriteMany => vec![sent(who, 1, LARGE)],
            Act::WritePackets => vec![sent(who, 1, SLOT + SMALL)],
            _ => vec![sent(who, 1, SMALL)],
        };
        let mut file = File::from(memfd_create("victim", MemfdFlags::CLOEXEC)?);
        if scenario.act == Act::SpliceFrom {
            file.write_all(&packets[0])?;
            file.rewind()?;
        }
        Ok(Self { scenario, reader, writer, leaves, buffer: vec![0; LARGE], packets, file, name })
    }

    /// Does it, and says what was received.
    ///
    /// # Errors
    /// What the pipe says when it should not.
    #[inline(never)]
    pub fn act(&mut self) -> io::Result<usize> {
        use Act as A;
        let none = || io::Error::other("the victim has not what it needs");
        let bytes = &self.packets[0];
        let writer = || self.writer.as_ref().ok_or_else(none);
        let reader = || self.reader.as_ref().ok_or_else(none);
        match self.scenario.act {
            A::Send | A::SendLarge | A::WakeReader => writer()?.send(bytes)?,
            A::TrySend => match writer()?.try_send(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => sent?,
            },
            A::SendBatch => all(writer()?.send_batch(&self.packets)?, BATCH)?,
            A::Write | A::AppendOwn | A::AppendOther | A::WritePackets | A::WriteMany => {
                let mut writer = writer()?;
                all(writer.write(bytes)?, bytes.len())?;
            }
            A::Commit | A::CommitLarge | A::Abandon | A::AbandonLarge => {
                let loan = self.writer.as_mut().ok_or_else(none)?.reserve(bytes.len())?;
                loan.bytes().copy_from(0, bytes);
                if matches!(self.scenario.act, A::Commit | A::CommitLarge) {
                    loan.commit()?;
                }
            }
            A::Recv | A::RecvLarge | A::WakeWriter => return Ok(reader()?.recv(&mut self.buffer)?.len),
            A::TryRecv => match reader()?.try_recv(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return Ok(received?.len),
            },
            A::RecvKeep => return Ok(reader()?.recv_with(&mut self.buffer[..PART], Excess::Keep)?.len),
            A::RecvBatch => {
                let (mut buffers, mut messages) = ([[0; SMALL]; BATCH], [Message::default(); BATCH]);
                let count = reader()?.recv_batch(&mut buffers, &mut messages)?;
                for (index, buffer) in buffers[..count].iter().enumerate() {
                    self.buffer[index * SMALL..][..SMALL].copy_from_slice(buffer);
                }
                return Ok(count * SMALL);
            }
            A::ReadPart => return reader()?.read(&mut self.buffer[..PART]),
            A::ReadAll => return reader()?.read(&mut self.buffer[..SLOT]),
            A::ReadAcross => return reader()?.read(&mut self.buffer[..SLOT + PART]),
            A::Loan | A::LoanLarge => {
                let loan = self.reader.as_mut().ok_or_else(none)?.recv_loan()?;
                let bytes = loan.bytes();
                bytes.copy_to(0, &mut self.buffer[..bytes.len()]);
                return Ok(bytes.len());
            }
            A::Peek => {
                reader()?.peek(&mut self.buffer)?;
            }
            A::Splice => {
                splice(reader()?, writer()?, SMALL)?;
            }
            A::Tee => {
                tee(reader()?, writer()?, SMALL)?;
            }
            A::Grow => {
                writer()?.resize(MOST_SLOTS as usize * SLOT)?;
            }
            A::Shrink => match writer()?.resize(SLOTS as usize / 2 * SLOT) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                resized => {
                    resized?;
                }
            },
            A::JoinWriter | A::Reap => self.leaves.1 = Some(writer()?.try_clone()?),
            A::JoinReader => self.leaves.0 = Some(reader()?.try_clone()?),
            A::LeaveWriter | A::LeaveReader | A::LastWriter | A::LastReader | A::CloseName => {
                self.leaves = (None, None)
            }
            A::TakeUp => self.leaves.1 = Some(Writer::inherited(WRITER)?),
            A::PollFd => {
                reader()?.poll_fd()?;
            }
            A::PollFdWriter => {
                writer()?.poll_fd()?;
            }
            A::SpliceTo => {
                reader()?.splice_to(&self.file, SMALL)?;
            }
            A::SpliceFrom => all(writer()?.splice_from(&self.file, SMALL)?, SMALL)?,
            A::Pass => self.leaves.1.take().ok_or_else(none)?.pass_to(io::stdin())?,
            A::Create | A::OpenReader => {
                self.leaves.0 = Some(builder(Entries::FOR_ONE).nonblocking(true).open_reader(&self.name)?)
            }
            A::OpenWriter => self.leaves.1 = Some(builder(Entries::FOR_ONE).open_writer(&self.name)?),
        }
        Ok(0)
    }

    /// What was received.
    #[must_use]
    pub fn received(&self, len: usize) -> &[u8] {
        &self.buffer[..len]
    }
}

fn all(done: usize, asked: usize) -> io::Result<()> {
    if done == asked { Ok(()) } else { Err(io::Error::other(format!("only {done} of {asked}"))) }
}
