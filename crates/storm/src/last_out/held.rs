//! An end that somebody has in a round: of our pipe, or of one of the kernel's, to compare with.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use ppipe::{Audit, End as PipeEnd};
use rustix::fs::OFlags;

use crate::orders::Role;

/// One of them.
#[expect(clippy::large_enum_variant, reason = "a process has one of them")]
pub(super) enum Held {
    Ours(PipeEnd),
    /// Of the kernel's pipe.
    Kernels(Role, File),
}

impl Held {
    /// A pipe of the kernel: the reading end and the writing one.
    pub(super) fn of_kernel() -> io::Result<(Self, Self)> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        Ok((Self::Kernels(Role::Reader, reader.into()), Self::Kernels(Role::Writer, writer.into())))
    }

    /// An end beside one that process `pid` has by that number.
    pub(super) fn beside(pid: i32, number: i32, role: Role) -> io::Result<Self> {
        let mut options = File::options();
        let options = options.read(role == Role::Reader).write(role == Role::Writer);
        Ok(Self::Kernels(role, options.open(format!("/proc/{pid}/fd/{number}"))?))
    }

    /// The number by which others find it; -1 if they come to theirs otherwise.
    pub(super) fn number(&self) -> i32 {
        match self {
            Self::Ours(_) => -1,
            Self::Kernels(_, file) => file.as_raw_fd(),
        }
    }

    /// Sends message `number`, or receives one; which one it was.
    pub(super) fn exchange(&self, number: u32) -> io::Result<u32> {
        let mut bytes = [0; 4];
        let len = match self {
            Self::Ours(PipeEnd::Writer(writer)) => return writer.send(&number.to_le_bytes()).map(|()| number),
            Self::Kernels(Role::Writer, file) => return (&*file).write_all(&number.to_le_bytes()).map(|()| number),
            Self::Ours(PipeEnd::Reader(reader)) => reader.recv(&mut bytes)?.len,
            Self::Kernels(Role::Reader, file) => (&*file).read(&mut bytes)?,
        };
        match len {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            4 => Ok(u32::from_le_bytes(bytes)),
            _ => Err(io::Error::other("a torn message")),
        }
    }

    /// As [`Held::exchange`], without waiting.
    pub(super) fn try_exchange(&self, number: u32) -> io::Result<u32> {
        match self {
            Self::Ours(PipeEnd::Writer(writer)) => writer.try_send(&number.to_le_bytes()).map(|()| number),
            Self::Ours(PipeEnd::Reader(reader)) => reader.try_recv(&mut [0; 4]).map(|_| number),
            Self::Kernels(role, file) => {
                // A description of its own, which alone does not wait.
                let mut options = File::options();
                let options = options.read(*role == Role::Reader).write(*role == Role::Writer);
                let options = options.custom_flags(OFlags::NONBLOCK.bits() as i32);
                let file = options.open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
                Self::Kernels(*role, file).exchange(number)
            }
        }
    }

    /// Who holds what; nobody tells that of a pipe of the kernel.
    pub(super) fn audit(&self) -> io::Result<Option<Audit>> {
        match self {
            Self::Ours(PipeEnd::Reader(reader)) => reader.audit().map(Some),
            Self::Ours(PipeEnd::Writer(writer)) => writer.audit().map(Some),
            Self::Kernels(..) => Ok(None),
        }
    }
}
