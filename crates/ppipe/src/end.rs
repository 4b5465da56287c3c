//! An end of whichever side: for those who take what comes.

use std::io;
use std::os::fd::AsFd;

use rustix::net::RecvFlags;
use shm_ring::Side;

use crate::handover;
use crate::joining::Parts;
use crate::passing;
use crate::reader::Reader;
use crate::writer::Writer;

/// A reader or a writer.
///
/// ```
/// use std::os::unix::net::UnixStream;
/// let (here, there) = UnixStream::pair()?;
/// let (reader, _writer) = ppipe::pipe()?;
/// reader.pass_to(&here)?;
/// assert!(matches!(ppipe::End::receive_from(&there)?, ppipe::End::Reader(_)));
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub enum End {
    /// The reading end.
    Reader(Reader),
    /// The writing end.
    Writer(Writer),
}

impl End {
    /// Receives the end that the next message in `socket` is, of whichever side; see [`Writer::receive_from`]. Mirrors
    /// `recvmsg(SCM_RIGHTS)`; waits as that does.
    ///
    /// # Errors
    /// As [`Writer::receive_from`].
    pub fn receive_from(socket: impl AsFd) -> io::Result<Self> {
        passing::receive(None, socket.as_fd(), RecvFlags::empty()).map(Self::of)
    }

    /// As [`End::receive_from`], but never waits.
    ///
    /// # Errors
    /// As [`Writer::try_receive_from`].
    pub fn try_receive_from(socket: impl AsFd) -> io::Result<Self> {
        passing::receive(None, socket.as_fd(), RecvFlags::DONTWAIT).map(Self::of)
    }

    /// Takes up the end that the parent process has handed over in the environment variable `variable`, of whichever side; see
    /// [`Writer::inherited`]. Never waits.
    ///
    /// # Errors
    /// As [`Writer::inherited`].
    pub fn inherited(variable: &str) -> io::Result<Self> {
        handover::take_up(None, variable).map(Self::of)
    }

    fn of(parts: Parts) -> Self {
        match parts.participant.side() {
            Side::Reader => Self::Reader(Reader::of(parts)),
            Side::Writer => Self::Writer(Writer::of(parts)),
        }
    }
}
