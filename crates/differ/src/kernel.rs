//! The kernel's pipes.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, fcntl};
// Unlike those of others, these pass on as many buffers as there are.
use nix::sys::uio::{readv, writev};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, fcntl_getfl, fcntl_setfl, mkfifoat, open};
use rustix::io::{Errno, ioctl_fionread};
use rustix::pipe::{SpliceFlags, splice, tee};

use crate::step::{Access, Manner, Verb};
use crate::system::{Answer, System};

/// Two FIFOs that nobody else can find.
#[derive(Debug)]
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

fn open_again(descriptor: &impl AsRawFd, access: Access) -> Result<File, Errno> {
    let access = match access {
        Access::Reads => OFlags::RDONLY,
        Access::Writes => OFlags::WRONLY,
        Access::Both => OFlags::RDWR,
    };
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    Ok(open(path, access | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?.into())
}

impl System for Kernel {
    type Handle = File;

    fn open(&self, pipe: usize, access: Access) -> Result<File, Errno> {
        open_again(&self.0[pipe], access)
    }

    fn reopen(&self, handle: &File, access: Access) -> Result<File, Errno> {
        open_again(handle, access)
    }

    fn duplicate(&self, handle: &File) -> Result<File, Errno> {
        Ok(rustix::io::fcntl_dupfd_cloexec(handle, 0)?.into())
    }

    fn read(&self, handle: &File, buffers: &mut [IoSliceMut<'_>]) -> Answer {
        readv(handle, buffers).map_err(errno)
    }

    fn write(&self, handle: &File, buffers: &[IoSlice<'_>]) -> Answer {
        writev(handle, buffers).map_err(errno)
    }

    fn flags(&self, handle: &File) -> Result<OFlags, Errno> {
        // Not whether it is a large file.
        Ok(fcntl_getfl(handle)? & (OFlags::RWMODE | OFlags::NONBLOCK | OFlags::DIRECT))
    }

    fn set_nonblocking(&self, handle: &File, is_on: bool) -> Result<(), Errno> {
        set(handle, OFlags::NONBLOCK, is_on)
    }

    fn set_packet_mode(&self, handle: &File, is_on: bool) -> Result<(), Errno> {
        set(handle, OFlags::DIRECT, is_on)
    }

    fn resize(&self, handle: &File, bytes: u32) -> Answer {
        // The kernel takes the bits of an unsigned number.
        fcntl(handle, FcntlArg::F_SETPIPE_SZ(bytes as i32)).map(|size| size as usize).map_err(errno)
    }

    fn size(&self, handle: &File) -> Answer {
        fcntl(handle, FcntlArg::F_GETPIPE_SZ).map(|size| size as usize).map_err(errno)
    }

    fn unread(&self, handle: &File) -> Answer {
        Ok(ioctl_fionread(handle)? as usize)
    }

    fn poll(&self, polled: &[(&File, PollFlags)]) -> Result<(usize, Vec<PollFlags>), Errno> {
        let mut polled: Vec<_> = polled.iter().map(|&(handle, events)| PollFd::new(handle, events)).collect();
        let count = poll(&mut polled, Some(&Timespec::default()))?;
        Ok((count, polled.iter().map(PollFd::revents).collect()))
    }

    fn transfer(&self, verb: Verb, from: &File, to: &File, len: usize, manner: Manner) -> Answer {
        match verb {
            Verb::Splice => splice(from, None, to, None, len, flags(manner)),
            Verb::Tee => tee(from, to, len, flags(manner)),
        }
    }

    fn splice_from(&self, from: BorrowedFd<'_>, to: &File, len: usize, manner: Manner) -> Answer {
        splice(from, None, to, None, len, flags(manner))
    }

    fn splice_to(&self, from: &File, to: BorrowedFd<'_>, len: usize, manner: Manner) -> Answer {
        splice(from, None, to, None, len, flags(manner))
    }
}

fn set(handle: &File, flag: OFlags, is_on: bool) -> Result<(), Errno> {
    let mut flags = fcntl_getfl(handle)?;
    flags.set(flag, is_on);
    fcntl_setfl(handle, flags)
}

fn flags(manner: Manner) -> SpliceFlags {
    match manner {
        Manner::AsTheHandles => SpliceFlags::empty(),
        Manner::Nonblock => SpliceFlags::NONBLOCK,
    }
}

fn errno(error: nix::Error) -> Errno {
    Errno::from_raw_os_error(error as i32)
}
