//! The operations: what a victim prepares, what it then does between its two marks, and what others may find afterwards.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;
use std::time::Duration;

use ppipe::{Builder, Excess, Message, Reader, Waiting, Writer, splice, tee};

use crate::content::{Content, bytes_of};

/// Slots of the pipes under test, and bytes of each.
pub const SLOTS: u32 = 8;
/// Bytes of a slot.
pub const SLOT: usize = 128;
/// Most slots that they can be resized to.
pub const MOST_SLOTS: u32 = 16;
/// Bytes of a small message.
pub const SMALL: usize = 40;
/// Bytes of a packet above a slot.
pub const LARGE: usize = 300;
/// Packets of a batch.
pub const BATCH: usize = 3;
/// Who sends what the victim sends, in the sense of [`bytes_of`].
const VICTIM: u8 = 2;
/// A read that leaves something in the first buffer.
const PART: usize = 10;

macro_rules! acts {
    ($($(#[$doc:meta])* $act:ident = $name:literal,)*) => {
        /// What a victim does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Act { $($(#[$doc])* $act,)* }

        impl Act {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$act),*];

            /// What it is called in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$act => $name),* }
            }
        }
    };
}

acts! {
    /// `send` of a small packet.
    Send = "send",
    /// `try_send` of a small packet.
    TrySend = "try_send",
    /// `send` of a packet above a slot.
    SendLarge = "send-large",
    /// `send_batch` of three.
    SendBatch = "send_batch",
    /// `write` of stream bytes that nothing can be merged with.
    Write = "write",
    /// `write` under the packet flag, of two packets.
    WritePackets = "write-packets",
    /// `write` that merges with what the victim wrote before.
    AppendOwn = "append-own",
    /// `write` that merges with what somebody else wrote.
    AppendOther = "append-other",
    /// `write` of several slots.
    WriteMany = "write-many",
    /// `reserve`, fill, `commit`.
    Commit = "commit",
    /// The same of a packet above a slot.
    CommitLarge = "commit-large",
    /// `reserve`, fill, drop.
    Abandon = "abandon",
    /// The same of a packet above a slot.
    AbandonLarge = "abandon-large",
    /// `recv`.
    Recv = "recv",
    /// `try_recv`.
    TryRecv = "try_recv",
    /// `recv` into a buffer that keeps the rest of the packet in the pipe.
    RecvKeep = "recv-keep",
    /// `recv` of a packet above a slot.
    RecvLarge = "recv-large",
    /// `recv_batch` of up to three.
    RecvBatch = "recv_batch",
    /// `read` of a part of a buffer.
    ReadPart = "read-part",
    /// `read` of exactly one buffer.
    ReadAll = "read-all",
    /// `read` across a border of buffers.
    ReadAcross = "read-across",
    /// `recv_loan`, look, give back.
    Loan = "loan",
    /// The same of a packet above a slot.
    LoanLarge = "loan-large",
    /// `peek`.
    Peek = "peek",
    /// `splice` of the first buffer into another pipe.
    Splice = "splice",
    /// `tee` of the first buffer into another pipe.
    Tee = "tee",
    /// `resize` to twice the slots.
    Grow = "grow",
    /// `resize` to half the slots.
    Shrink = "shrink",
    /// `try_clone` of a writer: joins.
    JoinWriter = "join-writer",
    /// `try_clone` of a reader: joins.
    JoinReader = "join-reader",
    /// Drops a clone of a writer: leaves.
    LeaveWriter = "leave-writer",
    /// Drops a clone of a reader: leaves.
    LeaveReader = "leave-reader",
    /// Drops the only writer.
    LastWriter = "last-writer",
    /// Drops the only reader.
    LastReader = "last-reader",
    /// Joins in the place of one that died in the midst of an exchange.
    Reap = "reap",
    /// Takes up an end that was handed over.
    TakeUp = "take-up",
    /// Makes a descriptor for an event loop.
    PollFd = "poll_fd",
}

/// How the ring is when the victim begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filling {
    /// Nothing in it.
    Empty,
    /// One element.
    One,
    /// No room.
    Full,
    /// Half full, from the last slots round to the first ones.
    Wrapped,
}

impl Filling {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Empty, Self::One, Self::Full, Self::Wrapped];
}

/// An operation on a ring that is filled so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scenario {
    /// What the victim does.
    pub act: Act,
    /// On which ring.
    pub filling: Filling,
}

/// Which ends a victim has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hands {
    /// A reader of the first pipe.
    pub reads: bool,
    /// A writer of the last pipe.
    pub writes: bool,
    /// Whether these are two pipes.
    pub between_two: bool,
    /// Whether nobody else has an end of that side.
    pub is_last: bool,
}

/// What an operation does when it is done, and what others may find if it was not.
#[derive(Clone, Debug, Default)]
pub struct Effect {
    /// What it puts in at the end.
    pub appended: Content,
    /// How many bytes it takes out of the front.
    pub removed: usize,
    /// What may be taken out and put in if it dies on the way.
    pub partly: Vec<(usize, usize)>,
}

impl Scenario {
    /// Every scenario that there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let each = |act: &Act| Filling::ALL.map(|filling| Self { act: *act, filling });
        Act::ALL.iter().flat_map(each).filter(|scenario| scenario.makes_sense())
    }

    fn makes_sense(self) -> bool {
        use Act as A;
        match self.act {
            A::Send | A::TrySend | A::Commit | A::CommitLarge | A::Recv | A::TryRecv | A::TakeUp => true,
            A::SendLarge => true,
            A::Grow | A::Shrink | A::JoinWriter | A::JoinReader | A::LeaveWriter | A::LeaveReader => true,
            A::LastWriter | A::LastReader | A::PollFd => true,
            A::SendBatch | A::Write | A::WritePackets | A::WriteMany | A::Abandon | A::AbandonLarge => {
                self.filling != Filling::Full
            }
            A::AppendOwn | A::AppendOther => true,
            A::RecvKeep | A::RecvLarge | A::RecvBatch | A::ReadPart | A::ReadAll => self.filling != Filling::Empty,
            A::ReadAcross => matches!(self.filling, Filling::Full | Filling::Wrapped),
            A::Loan | A::LoanLarge | A::Peek | A::Splice | A::Tee => self.filling != Filling::Empty,
            A::Reap => matches!(self.filling, Filling::Empty | Filling::Full),
        }
    }

    /// Whether the pipe is filled with stream bytes, and not with packets.
    #[must_use]
    pub fn is_stream(self) -> bool {
        use Act as A;
        matches!(self.act, A::ReadPart | A::ReadAll | A::ReadAcross)
    }

    /// Whether the elements are packets above a slot.
    #[must_use]
    pub fn is_large(self) -> bool {
        matches!(self.act, Act::RecvLarge | Act::LoanLarge)
    }

    /// Whether the operation sleeps until somebody does something.
    #[must_use]
    pub fn sleeps(self) -> bool {
        match self.act {
            Act::Send | Act::SendLarge | Act::Commit | Act::CommitLarge => self.filling == Filling::Full,
            Act::Recv => self.filling == Filling::Empty,
            _ => false,
        }
    }

    /// Whether the operation is the same whatever the others have done meanwhile: others are not stopped for it.
    #[must_use]
    pub fn outlasts_others(self) -> bool {
        let depends_on_the_ring = matches!(
            (self.act, self.filling),
            (Act::TrySend, Filling::Full) | (Act::TryRecv, Filling::Empty) | (Act::RecvBatch, Filling::One)
        );
        !depends_on_the_ring && !self.hands().is_last
    }

    /// Whether the victim says what it has received.
    #[must_use]
    pub fn reports(self) -> bool {
        use Act as A;
        let by_message = matches!(self.act, A::Recv | A::TryRecv | A::RecvKeep | A::RecvLarge | A::RecvBatch);
        by_message || matches!(self.act, A::ReadPart | A::ReadAll | A::ReadAcross | A::Loan | A::LoanLarge)
    }

    /// Which ends the victim has.
    #[must_use]
    pub fn hands(self) -> Hands {
        use Act as A;
        let none = Hands { reads: false, writes: false, between_two: false, is_last: false };
        match self.act {
            A::Send | A::TrySend | A::SendLarge | A::SendBatch | A::Write | A::WritePackets => {
                Hands { writes: true, ..none }
            }
            A::AppendOwn | A::AppendOther | A::WriteMany | A::Commit | A::CommitLarge => Hands { writes: true, ..none },
            A::Abandon | A::AbandonLarge | A::Grow | A::Shrink | A::JoinWriter => Hands { writes: true, ..none },
            A::LeaveWriter | A::TakeUp | A::Reap => Hands { writes: true, ..none },
            A::LastWriter => Hands { writes: true, is_last: true, ..none },
            A::Recv | A::TryRecv | A::RecvKeep | A::RecvLarge | A::RecvBatch | A::ReadPart | A::ReadAll => {
                Hands { reads: true, ..none }
            }
            A::ReadAcross | A::Loan | A::LoanLarge | A::Peek | A::JoinReader | A::LeaveReader | A::PollFd => {
                Hands { reads: true, ..none }
            }
            A::LastReader => Hands { reads: true, is_last: true, ..none },
            A::Splice | A::Tee => Hands { reads: true, writes: true, between_two: true, is_last: false },
        }
    }

    /// What the victim puts in before it begins.
    #[must_use]
    pub fn prepared(self) -> Content {
        let mut content = Content::default();
        if self.act == Act::AppendOwn {
            content.push_stream(&bytes_of(VICTIM, 0, SMALL));
        }
        content
    }

    /// What the operation does to pipes that hold `content` and give it `first`, the bytes of the first buffer.
    #[must_use]
    pub fn effect(self, content: &Content, first: usize) -> Effect {
        use Act as A;
        let mut appended = Content::default();
        let mut removed = 0;
        let is_refused = self.filling == Filling::Full;
        match self.act {
            A::TrySend if is_refused => {}
            A::Send | A::TrySend | A::Commit => appended.push_packet(sent(1, SMALL)),
            A::SendLarge | A::CommitLarge => appended.push_packet(sent(1, LARGE)),
            A::SendBatch => (1..=BATCH as u32).for_each(|number| appended.push_packet(sent(number, SMALL))),
            A::Write | A::AppendOwn | A::AppendOther => appended.push_stream(&sent(1, SMALL)),
            A::WriteMany => appended.push_stream(&sent(1, LARGE)),
            A::WritePackets => {
                let bytes = sent(1, SLOT + SMALL);
                appended.push_packet(bytes[..SLOT].to_vec());
                appended.push_packet(bytes[SLOT..].to_vec());
            }
            A::TryRecv if content.is_empty() => {}
            A::Recv | A::TryRecv | A::RecvLarge | A::Loan | A::LoanLarge | A::ReadAll => removed = first,
            A::RecvBatch => removed = content.len().min(BATCH * first),
            A::ReadPart | A::RecvKeep => removed = PART,
            A::ReadAcross => removed = SLOT + PART,
            A::Splice => {
                removed = first;
                appended.push_some(content, first);
            }
            A::Tee => appended.push_some(content, first),
            A::Abandon | A::AbandonLarge | A::Peek | A::Grow | A::Shrink | A::JoinWriter | A::JoinReader => {}
            A::LeaveWriter | A::LeaveReader | A::LastWriter | A::LastReader | A::Reap | A::TakeUp | A::PollFd => {}
        }
        let put = appended.len();
        let partly = match self.act {
            A::SendBatch => (0..=BATCH).map(|done| (0, done * SMALL)).collect(),
            A::WriteMany => [0, SLOT, 2 * SLOT, put].map(|done| (0, done)).to_vec(),
            A::WritePackets => [0, SLOT, put].map(|done| (0, done)).to_vec(),
            A::RecvBatch => (0..=BATCH).map(|done| ((done * first).min(removed), 0)).collect(),
            A::ReadAcross => [0, SLOT, removed].map(|done| (done, 0)).to_vec(),
            // Whoever moves a buffer may take it along, but leaves it nowhere twice.
            A::Splice => vec![(0, 0), (removed, 0), (removed, put)],
            _ => vec![(0, 0), (removed, put)],
        };
        Effect { appended, removed, partly }
    }
}

fn sent(number: u32, len: usize) -> Vec<u8> {
    bytes_of(VICTIM, number, len)
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:?}", self.act.name(), self.filling)
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::all().find(|scenario| scenario.to_string() == text).ok_or_else(|| format!("no scenario {text:?}"))
    }
}

/// The variable in which a victim finds its reader.
pub const READER: &str = "PPIPE_TORTURE_READER";
/// The variable in which a victim finds its writer.
pub const WRITER: &str = "PPIPE_TORTURE_WRITER";

/// A victim, ready to act.
pub struct Ready {
    scenario: Scenario,
    reader: Option<Reader>,
    writer: Option<Writer>,
    /// What it leaves, if that is what it does.
    leaves: (Option<Reader>, Option<Writer>),
    buffer: Vec<u8>,
    sent: Vec<Vec<u8>>,
}

impl Ready {
    /// Takes up what was handed over and does everything that comes before the operation.
    ///
    /// # Errors
    /// What the pipe says when it should not.
    pub fn prepare(scenario: Scenario) -> io::Result<Self> {
        let hands = scenario.hands();
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
            writer.write_all(&sent(0, SMALL))?;
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
            _ => (None, None),
        };
        let sent = match scenario.act {
            Act::SendBatch => (1..=BATCH as u32).map(|number| self::sent(number, SMALL)).collect(),
            Act::SendLarge | Act::CommitLarge | Act::AbandonLarge | Act::WriteMany => vec![self::sent(1, LARGE)],
            Act::WritePackets => vec![self::sent(1, SLOT + SMALL)],
            _ => vec![self::sent(1, SMALL)],
        };
        Ok(Self { scenario, reader, writer, leaves, buffer: vec![0; LARGE], sent })
    }

    /// Does it, and says what was received.
    ///
    /// # Errors
    /// What the pipe says when it should not.
    #[inline(never)]
    pub fn act(&mut self) -> io::Result<usize> {
        use Act as A;
        let none = || io::Error::other("the victim has not what it needs");
        let bytes = &self.sent[0];
        let writer = || self.writer.as_ref().ok_or_else(none);
        let reader = || self.reader.as_ref().ok_or_else(none);
        match self.scenario.act {
            A::Send | A::SendLarge => writer()?.send(bytes)?,
            A::TrySend => match writer()?.try_send(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => sent?,
            },
            A::SendBatch => all(writer()?.send_batch(&self.sent)?, BATCH)?,
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
            A::Recv | A::RecvLarge => return Ok(reader()?.recv(&mut self.buffer)?.len),
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
            A::LeaveWriter | A::LeaveReader | A::LastWriter | A::LastReader => self.leaves = (None, None),
            A::TakeUp => self.leaves.1 = Some(Writer::inherited(WRITER)?),
            A::PollFd => {
                reader()?.poll_fd()?;
            }
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

/// A pipe as all of these are made.
pub fn builder() -> Builder {
    Builder::new()
        .slots(SLOTS)
        .slot_size(SLOT as u32)
        .max_capacity(MOST_SLOTS as usize * SLOT)
        .max_writers(3)
        .max_readers(3)
        .open_timeout(Duration::from_secs(10))
}
