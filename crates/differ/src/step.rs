//! What programs consist of.

use std::fmt;

use rustix::event::PollFlags;

/// Bytes of a slot, the kernel's page.
pub const SLOT: usize = 4096;

/// Lengths of buffers.
#[derive(Clone, PartialEq, Eq)]
pub struct Lens(pub Vec<usize>);

impl fmt::Debug for Lens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            lens if lens.len() <= 8 => write!(f, "{lens:?}"),
            lens => write!(f, "[{}; {}]", lens[0], lens.len()),
        }
    }
}

/// One of the handles of pipe `pipe`, 0 or 1, that can do something: number `handle` modulo those that are open. Where none is, the
/// call is left out: so any part of a program is a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    /// Of which pipe.
    pub pipe: usize,
    /// That can read, or that can write.
    pub by: Side,
    /// Which of them.
    pub handle: usize,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `writev` of so many bytes, for each buffer.
    Write(Who, Lens),
    /// `readv` into so many bytes, for each buffer.
    Read(Who, Lens),
    /// `fcntl(F_SETFL)` with or without `O_DIRECT`.
    PacketMode(Who, bool),
    /// `fcntl(F_SETFL)` with or without `O_NONBLOCK`. A call that would wait, or might, has it for as long as it takes.
    Nonblocking(Who, bool),
    /// `fcntl(F_GETFL)`.
    Flags(Who),
    /// `fcntl(F_SETPIPE_SZ)` to so many bytes, and then `F_GETPIPE_SZ` by a handle of the other side.
    Resize(Who, u32),
    /// `ioctl(FIONREAD)`.
    Unread(Who),
    /// `poll` for these events without waiting.
    Poll(Who, PollFlags),
    /// `splice` or `tee` of two pipes, or of one and itself.
    Transfer(Transfer),
    /// `splice` of so many bytes at most from a file of numbered bytes, from this place, or from where the last one ended.
    FromFile(Who, usize, Manner, Option<u64>),
    /// `splice` of so many bytes at most to a file that has something in it, to this place.
    ToFile(Who, usize, Manner, u64),
    /// `splice` of so many bytes at most from another pipe of the kernel, in which so many slots are full, to their ends.
    FromPipe(Who, usize, Manner, usize),
    /// `splice` of so many bytes at most to something else.
    ToOther(Who, usize, Manner, Other),
    /// `open` of the name, with a description of its own.
    Open(usize, Access),
    /// `open` of `/proc/self/fd`, with a description of its own.
    Reopen(Who, Access),
    /// `dup`.
    Duplicate(Who),
    /// `close`.
    Close(Who),
}

/// `splice` or `tee`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Which of the two.
    pub verb: Verb,
    /// From where.
    pub from: Who,
    /// To where.
    pub to: Who,
    /// How many bytes at most.
    pub len: usize,
    /// With which flag.
    pub manner: Manner,
}

/// What a transfer leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Nothing.
    Splice,
    /// Everything.
    Tee,
}

/// How a transfer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As the handles' flags say.
    AsTheHandles,
    /// Never, by `SPLICE_F_NONBLOCK`.
    Nonblock,
}

/// What one can splice to besides pipes and files. It does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// One of a pair of Unix sockets, with enough room.
    Socket,
    /// A pipe of the kernel with enough room.
    EmptyPipe,
    /// A pipe of the kernel with none.
    FullPipe,
}

/// One end or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Reading.
    Reader,
    /// Writing.
    Writer,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        if self == Self::Reader { Self::Writer } else { Self::Reader }
    }
}

/// What a handle is open for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `O_RDONLY`.
    Reads,
    /// `O_WRONLY`.
    Writes,
    /// `O_RDWR`.
    Both,
}

impl Access {
    /// Whether it is one end of this side, or both in one.
    #[must_use]
    pub fn has(self, side: Side) -> bool {
        match self {
            Self::Reads => side == Side::Reader,
            Self::Writes => side == Side::Writer,
            Self::Both => true,
        }
    }
}
