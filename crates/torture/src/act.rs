//! The operations, the states of the ring in which a victim meets them, and what it needs for them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ppipe::Builder;

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
/// A read that leaves something in the first buffer.
pub const PART: usize = 10;

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
    /// Makes a descriptor for an event loop, of a reader.
    PollFd = "poll_fd",
    /// The same, of a writer.
    PollFdWriter = "poll_fd-writer",
    /// `splice_to` a file.
    SpliceTo = "splice_to",
    /// `splice_from` a file.
    SpliceFrom = "splice_from",
    /// `pass_to` a socket, of a clone of its writer.
    Pass = "pass",
    /// `send` while a survivor sleeps in `recv`.
    WakeReader = "wake-reader",
    /// `recv` while a survivor sleeps in `send`.
    WakeWriter = "wake-writer",
    /// Opens a name that nobody has: makes the pipe.
    Create = "create",
    /// Opens a writer by name.
    OpenWriter = "open-writer",
    /// Opens a reader by name.
    OpenReader = "open-reader",
    /// Drops the only two ends of a pipe with a name.
    CloseName = "close-name",
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
            A::PollFdWriter | A::Pass | A::OpenWriter | A::OpenReader => true,
            A::SpliceTo => self.filling != Filling::Empty,
            A::SpliceFrom => self.filling != Filling::Full,
            A::WakeWriter => self.filling == Filling::Full,
            A::WakeReader | A::Create | A::CloseName => self.filling == Filling::Empty,
        }
    }

    /// Whether the pipe has a name.
    #[must_use]
    pub fn has_name(self) -> bool {
        matches!(self.act, Act::Create | Act::OpenWriter | Act::OpenReader | Act::CloseName)
    }

    /// Whether nobody but the victim has the pipe.
    #[must_use]
    pub fn is_alone(self) -> bool {
        matches!(self.act, Act::Create | Act::CloseName)
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

    /// Whether the operation does less, and says so, if another victim has been faster.
    #[must_use]
    pub fn may_do_less(self) -> bool {
        matches!(self.act, Act::TrySend | Act::TryRecv | Act::RecvBatch)
    }

    /// Whether the victim says what it has received.
    #[must_use]
    pub fn reports(self) -> bool {
        use Act as A;
        let by_message = matches!(self.act, A::Recv | A::TryRecv | A::RecvKeep | A::RecvLarge | A::RecvBatch);
        by_message || matches!(self.act, A::ReadPart | A::ReadAll | A::ReadAcross | A::Loan | A::LoanLarge)
    }

    /// How many places in the table of the pipe a victim needs.
    #[must_use]
    pub fn entries(self) -> Entries {
        use Act as A;
        let hands = self.hands();
        // Its own, and one more; the reaper's clone takes that of the dead one.
        let one_more_writer = matches!(self.act, A::JoinWriter | A::LeaveWriter | A::Reap | A::Pass);
        let one_more_reader = matches!(self.act, A::JoinReader | A::LeaveReader);
        Entries {
            writers: u32::from(hands.writes) + u32::from(one_more_writer),
            readers: u32::from(hands.reads) + u32::from(one_more_reader),
        }
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
            A::LeaveWriter | A::TakeUp | A::Reap | A::PollFdWriter | A::SpliceFrom | A::Pass | A::WakeReader => {
                Hands { writes: true, ..none }
            }
            A::LastWriter => Hands { writes: true, is_last: true, ..none },
            A::Recv | A::TryRecv | A::RecvKeep | A::RecvLarge | A::RecvBatch | A::ReadPart | A::ReadAll => {
                Hands { reads: true, ..none }
            }
            A::ReadAcross | A::Loan | A::LoanLarge | A::Peek | A::JoinReader | A::LeaveReader | A::PollFd => {
                Hands { reads: true, ..none }
            }
            A::SpliceTo | A::WakeWriter => Hands { reads: true, ..none },
            A::Create | A::OpenWriter | A::OpenReader | A::CloseName => none,
            A::LastReader => Hands { reads: true, is_last: true, ..none },
            A::Splice | A::Tee => Hands { reads: true, writes: true, between_two: true, is_last: false },
        }
    }
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

/// How many writers and readers a pipe has places for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries {
    /// Places for writers.
    pub writers: u32,
    /// Places for readers.
    pub readers: u32,
}

impl Entries {
    /// For a survivor, a victim, and one more, who takes the place of a dead one if there is one.
    pub const FOR_ONE: Self = Self { writers: 3, readers: 3 };
}

/// A pipe as all of these are made.
pub fn builder(entries: Entries) -> Builder {
    Builder::new()
        .slots(SLOTS)
        .slot_size(SLOT as u32)
        .max_capacity(MOST_SLOTS as usize * SLOT)
        .max_writers(entries.writers)
        .max_readers(entries.readers)
        .open_timeout(Duration::from_secs(10))
}
