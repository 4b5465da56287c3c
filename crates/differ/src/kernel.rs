//! The kernel's pipes.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, fcntl};
// Unlike those of others, these pass on as many buffers as there are.
use nix::sys::uio::{readv, writev};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};
use rustix::io::{Errno, ioctl_fionread};
use rustix::pipe::SpliceFlags;

use crate::pipes::{Question, System};
use crate::program::Verb;

/// Two FIFOs that nobody else can find.
pub struct Kernel([OwnedFd; 2]);

impl Kernel {
    /// Makes them.
    ///
    /// # Panics
    /// If the system does not.
    #[must_use]
    pub fn new() -> Self {
        Self([fifo(), fifo()])
    }

    fn open(&self, pipe: usize, access: OFlags) -> Result<File, Errno> {
        let path = format!("/proc/self/fd/{}", self.0[pipe].as_raw_fd());
        Ok(open(path, access | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?.into())
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self::new()
    }
}

/// A FIFO without a name any more, and nothing of it open.
fn fifo() -> OwnedFd {
    let directory = tempfile::tempdir().expect("a place for a FIFO");
    let path = directory.path().join("fifo");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a FIFO");
    open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("the FIFO")
}

impl System for Kernel {
    type Reader = File;
    type Writer = File;

    fn open_reader(&self, pipe: usize) -> Result<File, Errno> {
        self.open(pipe, OFlags::RDONLY)
    }

    fn open_writer(&self, pipe: usize) -> Result<File, Errno> {
        self.open(pipe, OFlags::WRONLY)
    }

    fn duplicate_reader(&self, reader: &File) -> Result<File, Errno> {
        Ok(rustix::io::fcntl_dupfd_cloexec(reader, 0)?.into())
    }

    fn duplicate_writer(&self, writer: &File) -> Result<File, Errno> {
        self.duplicate_reader(writer)
    }

    fn read(&self, reader: &mut File, buffers: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        readv(reader, buffers).map_err(errno)
    }

    fn write(&self, writer: &mut File, buffers: &[IoSlice<'_>]) -> Result<usize, Errno> {
        writev(writer, buffers).map_err(errno)
    }

    fn set_packet_mode(&self, writer: &File, is_on: bool) -> Result<(), Errno> {
        let direct = if is_on { OFlags::DIRECT } else { OFlags::empty() };
        rustix::fs::fcntl_setfl(writer, OFlags::NONBLOCK | direct)
    }

    fn transfer(&self, verb: Verb, from: &File, to: &File, len: usize) -> Result<usize, Errno> {
        match verb {
            Verb::Splice => rustix::pipe::splice(from, None, to, None, len, SpliceFlags::empty()),
            Verb::Tee => rustix::pipe::tee(from, to, len, SpliceFlags::empty()),
        }
    }

    fn splice_from_file(&self, file: &File, to: &File, len: usize) -> Result<usize, Errno> {
        rustix::pipe::splice(file, None, to, None, len, SpliceFlags::empty())
    }

    fn splice_to_file(&self, from: &File, file: &File, len: usize) -> Result<usize, Errno> {
        rustix::pipe::splice(from, None, file, None, len, SpliceFlags::empty())
    }

    fn ask_reader(&self, reader: &File, question: Question) -> Result<usize, Errno> {
        ask(reader, question)
    }

    fn ask_writer(&self, writer: &File, question: Question) -> Result<usize, Errno> {
        ask(writer, question)
    }
}

fn errno(error: nix::Error) -> Errno {
    Errno::from_raw_os_error(error as i32)
}

fn ask(end: impl AsFd, question: Question) -> Result<usize, Errno> {
    let fcntl = |argument| {
        let answer = fcntl(end.as_fd(), argument).map_err(errno)?;
        Ok(answer as usize)
    };
    match question {
        // The kernel takes the bits of an unsigned number.
        Question::Resize(bytes) => fcntl(FcntlArg::F_SETPIPE_SZ(bytes as i32)),
        Question::Size => fcntl(FcntlArg::F_GETPIPE_SZ),
        Question::Unread => Ok(ioctl_fionread(&end)? as usize),
        Question::Poll => {
            let mut polled = [PollFd::new(&end, PollFlags::IN | PollFlags::OUT)];
            poll(&mut polled, Some(&Timespec::default()))?;
            Ok(polled[0].revents().bits().into())
        }
    }
}
