//! Passing an end to any other process, over a Unix socket.
//!
//! ```text
//!   one message   "ppipe-1:" side:entry:flags:name 0 0 ..     256 bytes, always
//!                 SCM_RIGHTS: lock, readers' bell, writers' bell
//! ```
//!
//! # Why the end is alive while it is on its way
//! The message holds copies of the descriptors, and so the lock. They become the receiver's in the call that takes the message, and are closed by
//! the kernel if nobody ever does: then the end is gone as that of a process that was killed.
//!
//! # Why exactly one message leaves a stream socket
//! The kernel takes so few bytes in one piece or not at all, gives out no bytes of the next piece with descriptors together with them, and
//! all pieces of ours have the same length. So nothing is ever half sent, and one call receives it.
//!
//! # Why a sender can do no harm
//! It may send anything. What comes is bounded by the room for it; every descriptor has an owner from the start, which closes it on
//! whatever way out; and nothing is asked of one, or opened anew, before it is known to be memory, or a pipe, of the kernel's own.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::fs::{fcntl_get_seals, fstat};
use rustix::io::Errno;
use rustix::net::sockopt::socket_domain;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::pipe::fcntl_getpipe_size;
use rustix::process::geteuid;
use shm_ring::Side;

use crate::joining::{Parts, from_attach};
use crate::reader::Reader;
use crate::ticket::{Ticket, reopen};
use crate::writer::Writer;

/// Bytes of a message: more than any ticket has.
const MESSAGE: usize = 256;
/// What every message begins with.
const MARK: &[u8] = b"ppipe-1:";
const DESCRIPTORS: usize = 3;

/// An end that could not be passed on, and why not. It has not left.
#[derive(Debug)]
pub struct PassError<E> {
    error: io::Error,
    /// Boxed, so that what succeeds does not carry its size about.
    end: Box<E>,
}

impl<E> PassError<E> {
    fn new((error, parts): (io::Error, Box<Parts>), of: impl FnOnce(Parts) -> E) -> Self {
        Self { error, end: Box::new(of(*parts)) }
    }

    /// What the system said.
    #[must_use]
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// The end, which is as it was.
    #[must_use]
    pub fn into_end(self) -> E {
        *self.end
    }

    /// Both.
    #[must_use]
    pub fn into_parts(self) -> (io::Error, E) {
        (self.error, *self.end)
    }
}

impl<E> fmt::Display for PassError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot pass the end on: {}", self.error)
    }
}

impl<E: fmt::Debug> std::error::Error for PassError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Drops the end.
impl<E> From<PassError<E>> for io::Error {
    fn from(failed: PassError<E>) -> Self {
        failed.error
    }
}

impl Reader {
    /// Passes this end to whoever receives from `socket` next, with [`Reader::receive_from`]; see [`Writer::pass_to`]. Mirrors
    /// `sendmsg(SCM_RIGHTS)` and a `close`; waits as that does.
    ///
    /// # Errors
    /// As [`Writer::pass_to`].
    pub fn pass_to(self, socket: impl AsFd) -> Result<(), PassError<Self>> {
        send(self.into_parts(), socket.as_fd(), SendFlags::empty()).map_err(|failed| PassError::new(failed, Self::of))
    }

    /// As [`Reader::pass_to`], but never waits.
    ///
    /// # Errors
    /// As [`Writer::try_pass_to`].
    pub fn try_pass_to(self, socket: impl AsFd) -> Result<(), PassError<Self>> {
        send(self.into_parts(), socket.as_fd(), SendFlags::DONTWAIT).map_err(|failed| PassError::new(failed, Self::of))
    }

    /// Receives the reading end that the next message in `socket` is; see [`Writer::receive_from`]. Mirrors `recvmsg(SCM_RIGHTS)`; waits as that does.
    ///
    /// # Errors
    /// As [`Writer::receive_from`].
    pub fn receive_from(socket: impl AsFd) -> io::Result<Self> {
        receive(Some(Side::Reader), socket.as_fd(), RecvFlags::empty()).map(Self::of)
    }

    /// As [`Reader::receive_from`], but never waits.
    ///
    /// # Errors
    /// As [`Writer::try_receive_from`].
    pub fn try_receive_from(socket: impl AsFd) -> io::Result<Self> {
        receive(Some(Side::Reader), socket.as_fd(), RecvFlags::DONTWAIT).map(Self::of)
    }
}

impl Writer {
    /// Passes this end to whoever receives from `socket` next, with [`Writer::receive_from`]: to any process, a relative or not. It is one message
    /// of a Unix socket of any kind; on a stream socket, 256 bytes of the stream. Mirrors `sendmsg(SCM_RIGHTS)` and a `close`.
    ///
    /// Until it is received the end counts as open. It is gone if it never can be, as when the last descriptor of the socket is closed.
    /// To keep one too, pass a clone: `writer.try_clone()?.pass_to(&socket)`. The flags travel as with [`Writer::hand_to`].
    ///
    /// Waits for room in the socket, unless that is nonblocking; never raises SIGPIPE.
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// let (here, there) = UnixStream::pair()?;
    /// let (reader, writer) = ppipe::pipe()?;
    /// writer.pass_to(&here)?;
    ///
    /// // Where `there` is, most likely in another process.
    /// let writer = ppipe::Writer::receive_from(&there)?;
    /// writer.send(b"hello")?;
    /// # assert_eq!(reader.recv(&mut [0; 8])?.len, 5);
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// What the system says, with the end, which is as it was: `WouldBlock` if the socket is nonblocking and full, `BrokenPipe` if nobody can receive
    /// from it any more; `InvalidInput` if it is not a Unix socket.
    pub fn pass_to(self, socket: impl AsFd) -> Result<(), PassError<Self>> {
        send(self.into_parts(), socket.as_fd(), SendFlags::empty()).map_err(|failed| PassError::new(failed, Self::of))
    }

    /// As [`Writer::pass_to`], but never waits.
    ///
    /// # Errors
    /// As [`Writer::pass_to`]; `WouldBlock` if the socket is full.
    pub fn try_pass_to(self, socket: impl AsFd) -> Result<(), PassError<Self>> {
        send(self.into_parts(), socket.as_fd(), SendFlags::DONTWAIT).map_err(|failed| PassError::new(failed, Self::of))
    }

    /// Receives the writing end that the next message in `socket` is, see [`Writer::pass_to`]. If you do not know of which side it is:
    /// [`crate::End::receive_from`].
    ///
    /// Waits for a message, unless the socket is nonblocking. Takes that one message and nothing more. What is wrong with it is an error, and
    /// whatever came with it is closed; on a stream socket the sender is out of step then. Mirrors `recvmsg(SCM_RIGHTS)`. The end of a pipe with
    /// a name is taken from the same user only, who could shorten its file.
    ///
    /// # Errors
    /// `UnexpectedEof` if no message will come; `WouldBlock` if the socket is nonblocking and empty; `InvalidData` if the message is not a writing end;
    /// `NotFound` if the end has been taken up already; `PermissionDenied` if it is another user's; `EMFILE` if descriptors
    /// are short, and the end is gone then; otherwise what the system says.
    pub fn receive_from(socket: impl AsFd) -> io::Result<Self> {
        receive(Some(Side::Writer), socket.as_fd(), RecvFlags::empty()).map(Self::of)
    }

    /// As [`Writer::receive_from`], but never waits.
    ///
    /// # Errors
    /// As [`Writer::receive_from`]; `WouldBlock` if the socket is empty.
    pub fn try_receive_from(socket: impl AsFd) -> io::Result<Self> {
        receive(Some(Side::Writer), socket.as_fd(), RecvFlags::DONTWAIT).map(Self::of)
    }
}

/// Sends an end; gives it back if that fails.
fn send(parts: Parts, socket: BorrowedFd<'_>, flags: SendFlags) -> Result<(), (io::Error, Box<Parts>)> {
    let Parts { participant, flags: flags_of_end, waiting, name, watch } = parts;
    let side = participant.side();
    let (error, participant) = match participant.hand_over() {
        Ok(handed_over) => {
            let ticket = Ticket::new(side, handed_over.entry(), &flags_of_end, name.as_deref());
            match send_message(&ticket, &handed_over.descriptors(), socket, flags) {
                // Dropping what was handed over closes the descriptors here.
                Ok(()) => return Ok(()),
                // No message, so nobody has got them.
                Err(error) => (error, handed_over.take_back()),
            }
        }
        Err(participant) => (ErrorKind::Unsupported.into(), *participant),
    };
    Err((error, Box::new(Parts { participant, flags: flags_of_end, waiting, name, watch })))
}

fn send_message(
    ticket: &Ticket,
    descriptors: &[BorrowedFd<'_>; DESCRIPTORS],
    socket: BorrowedFd<'_>,
    flags: SendFlags,
) -> io::Result<()> {
    check_is_unix(socket)?;
    let text = ticket.to_string();
    let mut message = [0; MESSAGE];
    let (mark, rest) = message.split_at_mut(MARK.len());
    mark.copy_from_slice(MARK);
    rest.get_mut(..text.len()).ok_or(ErrorKind::InvalidInput)?.copy_from_slice(text.as_bytes());
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(descriptors));
    // All of it or nothing.
    sendmsg(socket, &[IoSlice::new(&message)], &mut control, flags | SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives an end of `side`, or whichever it is.
pub(crate) fn receive(side: Option<Side>, socket: BorrowedFd<'_>, flags: RecvFlags) -> io::Result<Parts> {
    let (ticket, [lock, readable, writable]) = receive_message(socket, flags)?;
    if side.is_some_and(|side| side != ticket.side) {
        return Err(invalid("it is the other end"));
    }
    let is_bell = |descriptor: &OwnedFd| fcntl_getpipe_size(descriptor).is_ok();
    if fcntl_get_seals(&lock).is_err() || !is_bell(&readable) || !is_bell(&writable) {
        return Err(invalid("its descriptors are those of something else"));
    }
    if ticket.is_named() {
        check_is_own(&lock)?;
    }
    let segment = ticket.attach(reopen(&lock)?).map_err(from_attach)?;
    ticket.take_up(segment, lock, readable, writable)
}

/// The next message. The lock comes first: so it is closed last.
fn receive_message(socket: BorrowedFd<'_>, flags: RecvFlags) -> io::Result<(Ticket, [OwnedFd; DESCRIPTORS])> {
    check_is_unix(socket)?;
    let mut message = [0; MESSAGE];
    // With room for what sockets add that are asked who sends.
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(&mut message)], &mut control, flags | RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    if received.bytes == 0 && descriptors.is_empty() {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "no end, and none will come"));
    }
    if received.flags.contains(ReturnFlags::CTRUNC) && descriptors.len() < DESCRIPTORS {
        // Of those that were sent this process could not have all.
        return Err(Errno::MFILE.into());
    }
    if received.bytes != MESSAGE || received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(invalid("a message of another length"));
    }
    let descriptors = descriptors.try_into().map_err(|_| invalid("not three descriptors"))?;
    Ok((read(&message).ok_or_else(|| invalid("it does not say which"))?, descriptors))
}

/// What a message says.
fn read(message: &[u8; MESSAGE]) -> Option<Ticket> {
    let text = message.strip_prefix(MARK)?;
    let end = text.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(&text[..end]).ok()?.parse().ok()
}

/// Others would take the message for data, and drop the descriptors.
fn check_is_unix(socket: BorrowedFd<'_>) -> io::Result<()> {
    if socket_domain(socket)? == AddressFamily::UNIX {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::InvalidInput, "an end can be passed over a Unix socket only"))
}

/// Whether only this user can shorten it.
fn check_is_own(file: &OwnedFd) -> io::Result<()> {
    let found = fstat(file)?;
    if found.st_uid == geteuid().as_raw() && found.st_mode & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::PermissionDenied, "an end of another user's pipe with a name"))
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("what came is not this end of a pipe: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A real message with a few bytes that are others.
    fn spoiled(random: &mut fastrand::Rng) -> [u8; MESSAGE] {
        let texts = ["w:0:0:", "r:129:3:", "w:4294967295:1:a name", "r:1:2:\u{e9}:\u{1f980}"];
        let mut message = [0; MESSAGE];
        let text = [MARK, texts[random.usize(..texts.len())].as_bytes()].concat();
        message[..text.len()].copy_from_slice(&text);
        for _ in 0..random.u8(..4) {
            let end = if random.bool() { text.len() + 1 } else { MESSAGE };
            let at = random.usize(..end);
            let bytes = [0, b':', b'0', b'9', b'-', b'+', b' ', b'w', 0x7f, 0x80, 0xff, random.u8(..)];
            message[at] = bytes[random.usize(..bytes.len())];
        }
        if random.u8(..16) == 0 {
            random.fill(&mut message[MARK.len()..]);
        }
        message
    }

    #[test]
    fn whatever_a_message_says_is_refused_or_read_as_it_was_written() {
        let mut read_again = 0;
        for seed in 0..20_000 {
            let message = spoiled(&mut fastrand::Rng::with_seed(seed));
            let end = std::panic::catch_unwind(|| read(&message));
            let Some(ticket) = end.unwrap_or_else(|_| panic!("seed {seed}")) else { continue };
            let written = ticket.to_string();
            let again: Ticket = written.parse().unwrap_or_else(|()| panic!("seed {seed}: {written}"));
            assert_eq!(again.to_string(), written, "seed {seed}");
            assert!(written.len() < MESSAGE, "seed {seed}: {written}");
            read_again += 1;
        }
        assert!((5_000..19_000).contains(&read_again), "{read_again} of 20,000 were read");
    }
}
