//! The bells themselves: two pipes of the kernel beside each segment, for those who sleep for long and for the end of a side.
//!
//! ```text
//!                writers hold                readers hold      it rings            the kernel shows, on its own
//!   readable     both ends (to write to)     the read end      a byte is in it     hang-up when the last writer is gone
//!   writable     the write end               the read end      no byte is in it    error when the last reader is gone
//! ```
//!
//! So a descriptor that is polled shows what that of a pipe would: the reader's is readable when there may be something to
//! read, the writer's is writable when there may be room. No message ever passes through them.
//!
//! Writers hold both ends of `readable`, so that to ring it is never an error and never a signal; that all readers are gone they
//! learn from the other one.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, fstat, mkfifoat, openat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::life::Side;

/// The name of the readers' bell in a directory.
pub const READABLE: &str = "readable";
/// The name of the writers' bell in a directory.
pub const WRITABLE: &str = "writable";

/// As many bytes as a bell can hold, which has the size of one page; a peer could have made it larger.
const MOST_BYTES: usize = 4096;

/// What a bell rings for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A byte is in it.
    Readable,
    /// No byte is in it.
    Writable,
}

/// One participant's hold of one bell.
#[derive(Debug)]
pub struct BellPipe {
    kind: Kind,
    pipe: OwnedFd,
}

/// How a sleep at a bell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rang {
    /// Somebody has rung, or a signal handler ran.
    Rung,
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

impl Bells {
    /// Bells for a segment without a name: what its first reader and its first writer hold.
    ///
    /// # Errors
    /// If descriptors are short.
    pub fn of_two() -> io::Result<(Self, Self)> {
        let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
        let (readable, rings_readable) = pipe_with(flags)?;
        let (rings_writable, writable) = pipe_with(flags)?;
        let reader = Self::new(readable, rings_writable);
        let writer = Self::new(reopen(&rings_readable, OFlags::RDWR)?, writable);
        Ok((reader, writer))
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
        let open = |name, access| open_bell(directory.as_fd(), name, access);
        Ok(match side {
            Side::Reader => Self::new(open(READABLE, OFlags::RDONLY)?, open(WRITABLE, OFlags::RDONLY)?),
            Side::Writer => {
                let readable = open(READABLE, OFlags::RDWR)?;
                // A FIFO can be opened for writing only if there is somebody to read.
                let _reader = open(WRITABLE, OFlags::RDONLY)?;
                Self::new(readable, open(WRITABLE, OFlags::WRONLY)?)
            }
        })
    }

    /// The bells that a participant of `side` has handed over.
    ///
    /// # Errors
    /// `InvalidData` if the descriptors are those of something else; what the system says.
    pub fn take_up(side: Side, readable: OwnedFd, writable: OwnedFd) -> io::Result<Self> {
        let (reads, writes) = match side {
            Side::Reader => (OFlags::RDONLY, OFlags::RDONLY),
            Side::Writer => (OFlags::RDWR, OFlags::WRONLY),
        };
        for (pipe, access) in [(&readable, reads), (&writable, writes)] {
            check_kind(pipe)?;
            let flags = fcntl_getfl(pipe)?;
            if flags & OFlags::RWMODE != access {
                return Err(not_a_bell("a pipe's other end"));
            }
            fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?;
        }
        Ok(Self::new(readable, writable))
    }

    fn new(readable: OwnedFd, writable: OwnedFd) -> Self {
        // So that one byte fills it. If it cannot be, its pollers are woken for nothing.
        let _ = fcntl_setpipe_size(&writable, 1);
        let _ = fcntl_setpipe_size(&readable, 1);
        Self {
            readable: BellPipe { kind: Kind::Readable, pipe: readable },
            writable: BellPipe { kind: Kind::Writable, pipe: writable },
        }
    }

    /// The same for another participant of the same side. Open file descriptions of its own: who gets one of them by handing over
    /// could make calls on it wait.
    ///
    /// # Errors
    /// If descriptors are short.
    pub fn try_clone(&self) -> io::Result<Self> {
        let copy = |bell: &BellPipe| {
            // A FIFO can be opened for writing only if there is somebody to read.
            let _reader = reopen(&bell.pipe, OFlags::RDONLY)?;
            let access = fcntl_getfl(&bell.pipe)? & OFlags::RWMODE;
            Ok::<_, io::Error>(BellPipe { kind: bell.kind, pipe: reopen(&bell.pipe, access)? })
        };
        Ok(Self { readable: copy(&self.readable)?, writable: copy(&self.writable)? })
    }

    /// The descriptors, to be handed over: `readable`, `writable`.
    #[must_use]
    pub fn into_descriptors(self) -> [OwnedFd; 2] {
        [self.readable.pipe, self.writable.pipe]
    }

    /// The bell at which a participant of `side` sleeps.
    pub(crate) fn of(&self, side: Side) -> &BellPipe {
        match side {
            Side::Reader => &self.readable,
            Side::Writer => &self.writable,
        }
    }
}

impl BellPipe {
    /// Rings it. Whoever sleeps at it wakes up, and nobody goes to sleep at it before it has been made silent.
    pub fn ring(&self) {
        match self.kind {
            // Full is as good as rung.
            Kind::Readable => drop(rustix::io::write(&self.pipe, &[1])),
            Kind::Writable => drop(take_out(&self.pipe, MOST_BYTES)),
        }
    }

    /// Before arming: how far it has rung already.
    pub fn prepare(&self) -> usize {
        match self.kind {
            // If the kernel does not tell, nothing is taken out, and the sleep ends at once.
            Kind::Readable => rustix::io::ioctl_fionread(&self.pipe).map_or(0, |count| count as usize),
            Kind::Writable => {
                self.put_one();
                0
            }
        }
    }

    /// After arming: makes it silent again that has `rung` before. Whether it is, but for what has been rung since.
    pub fn hush(&self, rung: usize, is_alone: bool) -> bool {
        rung == 0 || (is_alone && rung <= MOST_BYTES && take_out(&self.pipe, rung) == rung)
    }

    /// Sleeps until it rings or `timeout`. Mirrors `poll`.
    pub(crate) fn sleep(&self, timeout: Option<Duration>) -> Rang {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let wanted = match self.kind {
            Kind::Readable => PollFlags::IN,
            Kind::Writable => PollFlags::OUT,
        };
        let mut polled = [PollFd::new(&self.pipe, wanted)];
        match poll(&mut polled, timeout.as_ref()) {
            Ok(0) => Rang::TimedOut,
            Ok(_) if polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) => Rang::HungUp,
            _ => Rang::Rung,
        }
    }

    /// Puts one byte in, if there is none.
    fn put_one(&self) {
        if rustix::io::ioctl_fionread(&self.pipe).is_ok_and(|count| count > 0) {
            return;
        }
        // Through a descriptor that reads too: with the last reader gone it would be a signal else.
        if let Ok(both) = reopen(&self.pipe, OFlags::RDWR) {
            let _ = rustix::io::write(&both, &[1]);
        }
    }

    /// For one who waits until there is a reader at all: a read end of its own for as long as that takes, since the kernel shows
    /// an error until then.
    pub(crate) fn pretend_to_read(&self) -> Option<OwnedFd> {
        reopen(&self.pipe, OFlags::RDONLY).ok()
    }
}

/// Takes up to `most` bytes out. How many they were.
fn take_out(pipe: &OwnedFd, most: usize) -> usize {
    let mut buffer = [0; MOST_BYTES];
    rustix::io::read(pipe, &mut buffer[..most.min(MOST_BYTES)]).unwrap_or(0)
}

fn reopen(pipe: &OwnedFd, access: OFlags) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    Ok(openat(CWD, path, access | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?)
}

fn open_bell(directory: BorrowedFd<'_>, name: &str, access: OFlags) -> io::Result<OwnedFd> {
    let flags = access | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let bell = match openat(directory, name, flags, Mode::empty()) {
        Err(Errno::LOOP) => return Err(not_a_bell("a symbolic link")),
        opened => opened?,
    };
    check_kind(&bell)?;
    Ok(bell)
}

fn check_kind(bell: &OwnedFd) -> io::Result<()> {
    if FileType::from_raw_mode(fstat(bell)?.st_mode) == FileType::Fifo {
        return Ok(());
    }
    let found = File::from(bell.try_clone()?).metadata()?.file_type();
    Err(not_a_bell(crate::segment::name_of(found)))
}

fn not_a_bell(found: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a bell: found {found}, expected a FIFO"))
}
