//! Pipes of the kernel and ours behind one trait: a law is written once, and has to hold for both.
#![allow(dead_code, reason = "not every test file needs all of it")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use ppipe::{Builder, Reader, Readiness, Writer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, fcntl_getfl, fcntl_setfl, mkfifoat, open};
use rustix::io::ioctl_fionread;
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

use crate::name::Name;

pub(crate) mod steps;

/// Bytes in a slot; the kernel's are pages.
pub(crate) const SLOT: usize = 4096;
/// Whose pipes there are.
pub(crate) const BOTH: [&dyn System; 2] = [&Kernel, &Ours];

pub(crate) type Reading = Box<dyn ReadingEnd>;
pub(crate) type Writing = Box<dyn WritingEnd>;

/// Somebody's pipes.
pub(crate) trait System: Sync {
    /// In a word, by which [`system`] finds it again.
    fn whose(&self) -> &'static str;

    /// A new pipe without a name, blocking, a stream.
    fn pipe(&self, slots: usize) -> (Reading, Writing);

    /// The same, of the size that a pipe has if nobody says anything.
    fn pipe_of_default_size(&self) -> (Reading, Writing);

    /// A name that no other test uses, by which a pipe can be opened.
    fn new_name(&self, what: &str) -> Name;

    /// Opens the reading end of the pipe that has this name.
    fn open_reader(&self, name: &str, slots: usize, opening: Opening) -> io::Result<Reading>;

    /// Opens the writing end of the pipe that has this name.
    fn open_writer(&self, name: &str, slots: usize, opening: Opening) -> io::Result<Writing>;
}

/// Whose pipes a child process was told to use.
pub(crate) fn system(whose: &str) -> &'static dyn System {
    BOTH.into_iter().find(|system| system.whose() == whose).expect("the kernel's or ours")
}

/// How to open by name, and what the end is like then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Waits for the other side; blocking.
    Waits,
    /// Waits for nobody; nonblocking.
    Nonblocking,
}

/// What both ends can do.
pub(crate) trait End: Send {
    fn set_nonblocking(&self, is_on: bool);
    fn is_nonblocking(&self) -> bool;
    fn resize(&self, bytes: usize) -> io::Result<usize>;
    fn capacity(&self) -> usize;
    fn unread(&self) -> usize;
    fn readiness(&self) -> Readiness;
    fn poll_fd(&self) -> BorrowedFd<'_>;
}

/// A reading end.
pub(crate) trait ReadingEnd: End + Read {
    /// `dup`.
    fn duplicate(&self) -> Reading;

    /// For calls that the kernel does not have.
    fn as_ours(&self) -> Option<&Reader> {
        None
    }
}

/// A writing end.
pub(crate) trait WritingEnd: End + Write {
    /// `dup`.
    fn duplicate(&self) -> Writing;

    /// For calls that the kernel does not have.
    fn as_ours(&self) -> Option<&Writer> {
        None
    }

    fn set_packet_mode(&self, is_on: bool);
    fn is_packet_mode(&self) -> bool;
}

/// The kernel's pipes, and its FIFOs for those that have a name.
struct Kernel;

impl Kernel {
    fn open(name: &str, slots: usize, access: OFlags, opening: Opening) -> io::Result<File> {
        let nonblocking = if opening == Opening::Nonblocking { OFlags::NONBLOCK } else { OFlags::empty() };
        let end = File::from(open(fifo(name), access | nonblocking | OFlags::CLOEXEC, Mode::empty())?);
        fcntl_setpipe_size(&end, slots * SLOT)?;
        Ok(end)
    }
}

/// Where the FIFO is: where our pipe of that name would be, so that it is swept up in the same way.
fn fifo(name: &str) -> PathBuf {
    Path::new("/dev/shm").join(format!("ppipe-{name}"))
}

impl System for Kernel {
    fn whose(&self) -> &'static str {
        "kernel"
    }

    fn pipe(&self, slots: usize) -> (Reading, Writing) {
        let (reader, writer) = self.pipe_of_default_size();
        assert_eq!(writer.resize(slots * SLOT).expect("its size"), slots * SLOT);
        (reader, writer)
    }

    fn pipe_of_default_size(&self) -> (Reading, Writing) {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        (Box::new(File::from(reader)), Box::new(File::from(writer)))
    }

    fn new_name(&self, what: &str) -> Name {
        let name = Name::new(&format!("{what}-{}", self.whose()));
        mkfifoat(CWD, fifo(&name.0), Mode::RUSR | Mode::WUSR).expect("a FIFO");
        name
    }

    fn open_reader(&self, name: &str, slots: usize, opening: Opening) -> io::Result<Reading> {
        Ok(Box::new(Self::open(name, slots, OFlags::RDONLY, opening)?))
    }

    fn open_writer(&self, name: &str, slots: usize, opening: Opening) -> io::Result<Writing> {
        Ok(Box::new(Self::open(name, slots, OFlags::WRONLY, opening)?))
    }
}

fn set_flag(file: &File, flag: OFlags, is_on: bool) {
    let mut flags = fcntl_getfl(file).expect("flags");
    flags.set(flag, is_on);
    fcntl_setfl(file, flags).expect("a flag of pipes");
}

impl End for File {
    fn set_nonblocking(&self, is_on: bool) {
        set_flag(self, OFlags::NONBLOCK, is_on);
    }

    fn is_nonblocking(&self) -> bool {
        fcntl_getfl(self).expect("flags").contains(OFlags::NONBLOCK)
    }

    fn resize(&self, bytes: usize) -> io::Result<usize> {
        fcntl_setpipe_size(self, bytes)?;
        Ok(fcntl_getpipe_size(self)?)
    }

    fn capacity(&self) -> usize {
        fcntl_getpipe_size(self).expect("a size")
    }

    fn unread(&self) -> usize {
        ioctl_fionread(self).expect("a number") as usize
    }

    fn readiness(&self) -> Readiness {
        let mut polled = [PollFd::new(self, PollFlags::IN | PollFlags::OUT)];
        poll(&mut polled, Some(&Timespec::default())).expect("an answer");
        Readiness::from_bits_retain(polled[0].revents().bits())
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

impl ReadingEnd for File {
    fn duplicate(&self) -> Reading {
        Box::new(self.try_clone().expect("a descriptor"))
    }
}

impl WritingEnd for File {
    fn duplicate(&self) -> Writing {
        Box::new(self.try_clone().expect("a descriptor"))
    }

    fn set_packet_mode(&self, is_on: bool) {
        set_flag(self, OFlags::DIRECT, is_on);
    }

    fn is_packet_mode(&self) -> bool {
        fcntl_getfl(self).expect("flags").contains(OFlags::DIRECT)
    }
}

/// Our pipes.
struct Ours;

impl Ours {
    fn builder(slots: usize, opening: Opening) -> Builder {
        Builder::new().slots(slots as u32).nonblocking(opening == Opening::Nonblocking)
    }
}

impl System for Ours {
    fn whose(&self) -> &'static str {
        "ours"
    }

    fn pipe(&self, slots: usize) -> (Reading, Writing) {
        let (reader, writer) = Self::builder(slots, Opening::Waits).pipe().expect("a pipe");
        (Box::new(reader), Box::new(writer))
    }

    fn pipe_of_default_size(&self) -> (Reading, Writing) {
        let (reader, writer) = ppipe::pipe().expect("a pipe");
        (Box::new(reader), Box::new(writer))
    }

    fn new_name(&self, what: &str) -> Name {
        Name::new(&format!("{what}-{}", self.whose()))
    }

    fn open_reader(&self, name: &str, slots: usize, opening: Opening) -> io::Result<Reading> {
        Ok(Box::new(Self::builder(slots, opening).open_reader(name)?))
    }

    fn open_writer(&self, name: &str, slots: usize, opening: Opening) -> io::Result<Writing> {
        Ok(Box::new(Self::builder(slots, opening).open_writer(name)?))
    }
}

/// Both of our ends have functions of these names.
macro_rules! end {
    ($end:ident) => {
        impl End for $end {
            fn set_nonblocking(&self, is_on: bool) {
                $end::set_nonblocking(self, is_on);
            }

            fn is_nonblocking(&self) -> bool {
                $end::is_nonblocking(self)
            }

            fn resize(&self, bytes: usize) -> io::Result<usize> {
                $end::resize(self, bytes)
            }

            fn capacity(&self) -> usize {
                $end::capacity(self)
            }

            fn unread(&self) -> usize {
                $end::unread(self).expect("a number")
            }

            fn readiness(&self) -> Readiness {
                $end::readiness(self)
            }

            fn poll_fd(&self) -> BorrowedFd<'_> {
                $end::poll_fd(self).expect("a descriptor")
            }
        }
    };
}

end!(Reader);
end!(Writer);

impl ReadingEnd for Reader {
    fn duplicate(&self) -> Reading {
        Box::new(self.try_clone().expect("an entry"))
    }

    fn as_ours(&self) -> Option<&Reader> {
        Some(self)
    }
}

impl WritingEnd for Writer {
    fn duplicate(&self) -> Writing {
        Box::new(self.try_clone().expect("an entry"))
    }

    fn as_ours(&self) -> Option<&Writer> {
        Some(self)
    }

    fn set_packet_mode(&self, is_on: bool) {
        Writer::set_packet_mode(self, is_on);
    }

    fn is_packet_mode(&self) -> bool {
        Writer::is_packet_mode(self)
    }
}
