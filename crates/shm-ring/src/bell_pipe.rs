//! The bells themselves: two pipes of the kernel beside each segment, for those who sleep for long and for the end of a side.
//!
//! ```text
//!                  who sleeps at it, and holds the read end    who rings it, and holds both ends
//!   readable       readers                                     writers
//!   writable       writers                                     readers
//! ```
//!
//! A byte in it means: look. When the last one is gone who could ring, the kernel shows a hang-up, on its own. No message ever
//! passes through a bell.
//!
//! Who rings holds both ends, so that to ring is never an error and never a signal. Every participant has open file
//! descriptions of its own: who shares one with others can be made to wait by them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fchmod, fcntl_setfl, fstat, mkfifoat, openat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

use crate::forking::NoFork;
use crate::life::Side;
use crate::own_descriptor::OwnFd;
use crate::sys;

/// The name of the readers' bell in a directory.
pub const READABLE: &str = "readable";
/// The name of the writers' bell in a directory.
pub const WRITABLE: &str = "writable";

/// Pages that a bell can hold. One that has only one takes nothing any more once it has been written to its end, though nearly all of
/// it has been read.
const PAGES: usize = 2;

/// Bytes of one buffer of a pipe of the kernel. From the C library, which knows it everywhere: others read it from the process's start-up
/// data, which valgrind replaces.
#[must_use]
pub fn page_size() -> usize {
    let asked = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    asked.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(4096)
}

/// One participant's hold of one bell.
#[derive(Debug)]
pub struct BellPipe(OwnFd);

/// How a sleep at a bell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rang {
    /// Somebody has rung.
    Rung,
    /// A signal handler ran that does not let calls go on; where there is a time limit, any handler.
    Interrupted,
    /// There was no one of the other side who holds a bell.
    HungUp,
    /// The time was over.
    TimedOut,
}

/// What one participant holds of both bells.
#[derive(Debug)]
pub struct Bells {
    readable: BellPipe,
    writable: BellPipe,
}

/// How the bell of `sleepers` is opened by one of `side`.
fn access(sleepers: Side, side: Side) -> OFlags {
    if sleepers == side { OFlags::RDONLY } else { OFlags::RDWR }
}

impl Bells {
    /// Bells for a segment without a name: what its first reader and its first writer hold.
    ///
    /// # Errors
    /// If descriptors are short.
    pub fn of_two() -> io::Result<(Self, Self)> {
        let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
        // A child that had copies of what is open only in here would hold the bells for ever.
        let _no_fork = NoFork::hold();
        let (readable, writable) = (pipe_with(flags)?, pipe_with(flags)?);
        for (pipe, _) in [&readable, &writable] {
            // They have no name: whoever has a descriptor may open it anew, also as another user.
            fchmod(pipe, Mode::from_raw_mode(0o666))?;
        }
        let hold = |side| Self::reopened(side, readable.0.as_fd(), writable.0.as_fd());
        Ok((hold(Side::Reader)?, hold(Side::Writer)?))
    }

    /// Makes the bells of a segment with a name, in its `directory`, where nobody else looks for them yet.
    ///
    /// # Errors
    /// What the system says.
    pub fn make(directory: impl AsFd) -> io::Result<()> {
        for name in [READABLE, WRITABLE] {
            mkfifoat(&directory, name, Mode::RUSR | Mode::WUSR)?;
        }
        Ok(())
    }

    /// What a participant of `side` is to hold of the bells in `directory`.
    ///
    /// # Errors
    /// What the system says; `InvalidData` if something else has their names.
    pub fn open(directory: impl AsFd, side: Side) -> io::Result<Self> {
        let open = |name, sleepers| open_bell(directory.as_fd(), name, access(sleepers, side));
        Ok(Self::new(open(READABLE, Side::Reader)?, open(WRITABLE, Side::Writer)?))
    }

    /// The bells that a participant of `side` has handed over.
    ///
    /// # Errors
    /// `InvalidData` if the descriptors are those of something else; what the system says.
    pub fn take_up(side: Side, readable: impl AsFd, writable: impl AsFd) -> io::Result<Self> {
        check_kind(readable.as_fd())?;
        check_kind(writable.as_fd())?;
        Self::reopened(side, readable.as_fd(), writable.as_fd())
    }

    /// The same for another participant, of `side`.
    ///
    /// # Errors
    /// If descriptors are short.
    pub fn try_clone(&self, side: Side) -> io::Result<Self> {
        Self::reopened(side, self.readable.0.as_fd(), self.writable.0.as_fd())
    }

    /// The numbers of the descriptors: `readable`, `writable`.
    #[must_use]
    pub fn numbers(&self) -> [RawFd; 2] {
        [self.readable.0.as_raw_fd(), self.writable.0.as_raw_fd()]
    }

    /// For another participant, of `side`, beside one whose descriptors have these numbers now.
    ///
    /// # Errors
    /// `InvalidData` if they are those of something else; what the system says.
    pub fn beside([readable, writable]: [RawFd; 2], side: Side) -> io::Result<Self> {
        let open = |number, sleepers| {
            let bell = reopen_number(number, access(sleepers, side))?;
            check_kind(bell.as_fd())?;
            io::Result::Ok(bell)
        };
        Ok(Self::new(open(readable, Side::Reader)?, open(writable, Side::Writer)?))
    }

    /// Open file descriptions for one of `side`.
    fn reopened(side: Side, readable: BorrowedFd<'_>, writable: BorrowedFd<'_>) -> io::Result<Self> {
        let readable = reopen(readable, access(Side::Reader, side))?;
        Ok(Self::new(readable, reopen(writable, access(Side::Writer, side))?))
    }

    fn new(readable: OwnFd, writable: OwnFd) -> Self {
        for bell in [&readable, &writable] {
            // Only to save memory: a larger one does as well, and nobody sleeps at a smaller one.
            let _ = fcntl_setpipe_size(bell, PAGES * page_size());
        }
        Self { readable: BellPipe(readable), writable: BellPipe(writable) }
    }

    /// The descriptors: `readable`, `writable`.
    #[must_use]
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.readable.0.as_fd(), self.writable.0.as_fd()]
    }

    /// The descriptors, to be handed over: `readable`, `writable`.
    #[must_use]
    pub fn into_descriptors(self) -> [OwnedFd; 2] {
        [self.readable.0.into(), self.writable.0.into()]
    }

    /// The bell at which those of `side` sleep, which they cannot ring.
    pub(crate) fn into_own(self, side: Side) -> BellPipe {
        match side {
            Side::Reader => self.readable,
            Side::Writer => self.writable,
        }
    }

    /// The bell at which those of `side` sleep.
    pub(crate) fn of(&self, side: Side) -> &BellPipe {
        match side {
            Side::Reader => &self.readable,
            Side::Writer => &self.writable,
        }
    }
}

impl BellPipe {
    /// So many rings are taken out of a bell at once: much less than makes it full.
    pub const MOST_TAKEN: usize = 2048;

    /// Another hold of it that can ring it.
    pub(crate) fn ringable(&self) -> io::Result<Self> {
        Ok(Self(reopen(self.0.as_fd(), OFlags::RDWR)?))
    }

    /// Rings it. Whoever sleeps at it wakes up, and nobody goes to sleep at it before it has been made silent.
    pub fn ring(&self) {
        // Full is as good as rung: more is in it than anybody takes out at once.
        let _ = rustix::io::write(&self.0, &[1]);
    }

    /// How often it has rung. `None` if that cannot be told, or a ring may be refused before the bell is full.
    pub fn rung(&self) -> Option<usize> {
        if fcntl_getpipe_size(&self.0).ok()? < PAGES * page_size() {
            return None;
        }
        rustix::io::ioctl_fionread(&self.0).ok().map(|count| count as usize)
    }

    /// Takes that many rings out, no more than [`BellPipe::MOST_TAKEN`]. Whether there were so many.
    pub fn hush(&self, rung: usize) -> bool {
        let mut buffer = [0; Self::MOST_TAKEN];
        rung == 0 || rustix::io::read(&self.0, &mut buffer[..rung.min(Self::MOST_TAKEN)]) == Ok(rung)
    }

    /// Whether nobody holds it who could ring it.
    pub(crate) fn is_hung_up(&self) -> bool {
        self.poll(Some(&Timespec::default())) == Rang::HungUp
    }

    /// Sleeps until it rings or `timeout`. Mirrors `poll`.
    pub(crate) fn sleep(&self, timeout: Option<Duration>) -> Rang {
        let Some(timeout) = timeout else { return self.sleep_for_as_long_as_it_takes() };
        let timeout = Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        self.poll(Some(&timeout))
    }

    /// As `poll` without a timeout, but goes on after a signal handler with `SA_RESTART`.
    fn sleep_for_as_long_as_it_takes(&self) -> Rang {
        // The description is this participant's own, and nobody else asks it anything meanwhile.
        let access = |flags| fcntl_setfl(&self.0, flags);
        if access(OFlags::empty()).is_err() {
            return self.poll(None);
        }
        let waited = sys::wait_for_pipe(&self.0);
        let _ = access(OFlags::NONBLOCK);
        match waited {
            Ok(()) => match self.poll(Some(&Timespec::default())) {
                // Nobody could ring, and now somebody can.
                Rang::TimedOut => Rang::Rung,
                rang => rang,
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Rang::Interrupted,
            // Descriptors are short.
            Err(_) => self.poll(None),
        }
    }

    fn poll(&self, timeout: Option<&Timespec>) -> Rang {
        let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
        match poll(&mut polled, timeout) {
            Ok(0) => Rang::TimedOut,
            Ok(_) if polled[0].revents().contains(PollFlags::HUP) => Rang::HungUp,
            Err(Errno::INTR) => Rang::Interrupted,
            _ => Rang::Rung,
        }
    }
}

impl AsFd for BellPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn reopen(pipe: BorrowedFd<'_>, access: OFlags) -> io::Result<OwnFd> {
    reopen_number(pipe.as_raw_fd(), access)
}

fn reopen_number(number: RawFd, access: OFlags) -> io::Result<OwnFd> {
    sys::reopen_number(number, access | OFlags::NONBLOCK)
}

fn open_bell(directory: BorrowedFd<'_>, name: &str, access: OFlags) -> io::Result<OwnFd> {
    let flags = access | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let bell = match OwnFd::open(|| openat(directory, name, flags, Mode::empty())) {
        Err(Errno::LOOP) => return Err(not_a_bell("a symbolic link")),
        opened => opened?,
    };
    check_kind(bell.as_fd())?;
    Ok(bell)
}

fn check_kind(bell: BorrowedFd<'_>) -> io::Result<()> {
    if FileType::from_raw_mode(fstat(bell)?.st_mode) == FileType::Fifo {
        return Ok(());
    }
    let found = File::from(bell.try_clone_to_owned()?).metadata()?.file_type();
    Err(not_a_bell(crate::segment::name_of(found)))
}

fn not_a_bell(found: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a bell: found {found}, expected a FIFO"))
}
