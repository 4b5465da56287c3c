//! Handing an end to a child process: one call here, one call there.
//!
//! What travels is the descriptor that holds the participant's lock, those of its bells, and an environment variable that tells
//! their numbers. So the end is alive all the way: before the child has started, while it runs, and until the last copy of the descriptor
//! is closed, as with the descriptor of a pipe.

use std::env;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;

use command_fds::CommandFdExt;
use rustix::io::fcntl_dupfd_cloexec;
use shm_ring::Side;
use shm_ring::inherited::{Expected, Inherited};
use shm_ring::segment::AttachError;

use crate::joining::{Parts, from_attach};
use crate::reader::Reader;
use crate::ticket::{Ticket, reopen};
use crate::writer::Writer;

impl Reader {
    /// Takes up the reading end that the parent process has handed over in the environment variable `variable`, see
    /// [`Reader::hand_to`]. Can be done once.
    ///
    /// Never waits. Mirrors a descriptor that was inherited, and told by its number.
    ///
    /// # Errors
    /// `NotFound` if there is none, it is the other end, or it has been taken up already; `InvalidData` if the pipe's shared
    /// memory is damaged or of another version; otherwise what the system says.
    pub fn inherited(variable: &str) -> io::Result<Self> {
        take_up(Some(Side::Reader), variable).map(Self::of)
    }

    /// Hands this end to the child that `command` will start, which takes it up with [`Reader::inherited`].
    ///
    /// Until a child has taken it up, the end counts as open as long as the command's value lives, as the descriptors of a
    /// [`std::process::Stdio`] do: drop it after spawning. Of a command that is spawned twice one child gets the end, and the
    /// other one an error from `inherited`. The variable is set with [`Command::env`]: choose
    /// another one for each end, and clear the environment before and not after.
    ///
    /// The flags travel with the end and are its own from then on: unlike descriptors that `fork` copied, the child's end
    /// does not share them with clones that stay here.
    ///
    /// Never waits. What goes wrong with it is told by starting the child, or by `inherited` in the child. Mirrors `fork`, `close` here, and
    /// `exec` with a descriptor that is not closed by it.
    pub fn hand_to(self, command: &mut Command, variable: &str) {
        hand_over(self.into_parts(), command, variable);
    }
}

impl Writer {
    /// Takes up the writing end that the parent process has handed over in the environment variable `variable`, see
    /// [`Writer::hand_to`]. Can be done once.
    ///
    /// Never waits. Mirrors a descriptor that was inherited, and told by its number.
    ///
    /// # Errors
    /// `NotFound` if there is none, it is the other end, or it has been taken up already; `InvalidData` if the pipe's shared
    /// memory is damaged or of another version; otherwise what the system says.
    pub fn inherited(variable: &str) -> io::Result<Self> {
        take_up(Some(Side::Writer), variable).map(Self::of)
    }

    /// Hands this end to the child that `command` will start, which takes it up with [`Writer::inherited`].
    ///
    /// Until a child has taken it up, the end counts as open as long as the command's value lives, as the descriptors of a
    /// [`std::process::Stdio`] do: drop it after spawning. Of a command that is spawned twice one child gets the end, and the
    /// other one an error from `inherited`. The variable is set with [`Command::env`]: choose
    /// another one for each end, and clear the environment before and not after.
    ///
    /// The flags travel with the end and are its own from then on: unlike descriptors that `fork` copied, the child's end
    /// does not share them with clones that stay here.
    ///
    /// Never waits. What goes wrong with it is told by starting the child, or by `inherited` in the child. Mirrors `fork`, `close` here, and
    /// `exec` with a descriptor that is not closed by it.
    ///
    /// ```no_run
    /// // The parent.
    /// let (mut reader, writer) = ppipe::pipe()?;
    /// let mut command = std::process::Command::new("child");
    /// writer.hand_to(&mut command, "OUTPUT");
    /// let mut child = command.spawn()?;
    /// drop(command);
    /// std::io::copy(&mut reader, &mut std::io::stdout())?;
    /// child.wait()?;
    ///
    /// // The child.
    /// let writer = ppipe::Writer::inherited("OUTPUT")?;
    /// writer.send(b"hello")?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn hand_to(self, command: &mut Command, variable: &str) {
        hand_over(self.into_parts(), command, variable);
    }
}

/// An end for a program that is about to be started: what its environment is to say, and the descriptors that it is to have, with
/// the numbers that they have here.
#[derive(Debug)]
pub struct Exported {
    value: String,
    // In this order: as long as somebody could take the bells for alive, the lock says that there is one.
    bells: [OwnedFd; 2],
    lock: OwnedFd,
}

impl Exported {
    /// `None` if it cannot be handed over, and it has left then.
    pub(crate) fn new(parts: Parts) -> Option<Self> {
        let Parts { participant, flags, name, .. } = parts;
        let side = participant.side();
        let handed_over = participant.hand_over().ok()?;
        let ticket = Ticket::new(side, handed_over.entry(), &flags, name.as_deref());
        let (bells, lock) = handed_over.into_parts();
        let bells = bells.into_descriptors().map(beyond_standard_streams);
        let lock = beyond_standard_streams(lock.into());
        let [readable, writable] = &bells;
        let [lock_number, readable, writable] = [&lock, readable, writable].map(AsRawFd::as_raw_fd);
        Some(Self { value: format!("{lock_number},{readable},{writable}:{ticket}"), bells, lock })
    }

    /// What the environment variable is to say.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The descriptors, to be closed in this order: the lock is the last one.
    #[must_use]
    pub fn into_descriptors(self) -> [OwnedFd; 3] {
        let [readable, writable] = self.bells;
        [readable, writable, self.lock]
    }
}

/// The same with another number, if it has one that the started program will use for something else.
fn beyond_standard_streams(descriptor: OwnedFd) -> OwnedFd {
    const FIRST: i32 = 3;
    if descriptor.as_raw_fd() >= FIRST {
        return descriptor;
    }
    // Where descriptors are short it is left as it is, and found not to be there.
    fcntl_dupfd_cloexec(&descriptor, FIRST).unwrap_or(descriptor)
}

/// Arranges for `command` to start its child with this end.
fn hand_over(parts: Parts, command: &mut Command, variable: &str) {
    let Some(exported) = Exported::new(parts) else { return };
    command.env(variable, exported.value());
    command.preserved_fds(exported.into_descriptors().into());
}

/// Takes up the end that the parent has handed over in the environment variable `variable`, if it is of `side`, or whichever it is.
pub(crate) fn take_up(side: Option<Side>, variable: &str) -> io::Result<Parts> {
    let not_there =
        |problem: &str| io::Error::new(io::ErrorKind::NotFound, format!("no pipe in {variable}: {problem}"));
    let text = env::var(variable).map_err(|error| not_there(&error.to_string()))?;
    let (numbers, ticket) = read(&text).ok_or_else(|| not_there("it does not say which"))?;
    if side.is_some_and(|side| side != ticket.side) {
        return Err(not_there("it is the other end"));
    }
    // The variable may have come to us without the descriptors, and the numbers be those of something else. So this looks first.
    let look = |number, expected| Inherited::look_at(number, expected).map_err(|error| not_there(&error.to_string()));
    let [lock, readable, writable] = numbers;
    // In this order, and dropped in the other one: who has bells has the lock.
    let lock = look(lock, Expected::Segment)?;
    let (readable, writable) = (look(readable, Expected::Bell)?, look(writable, Expected::Bell)?);
    let file = reopen(&lock).map_err(|error| not_there(&error.to_string()))?;
    let segment = ticket.attach(file).map_err(|error| match error {
        AttachError::Magic { .. } | AttachError::Kind { .. } => not_there(&error.to_string()),
        error => from_attach(error),
    })?;
    let parts = ticket.take_up(segment, lock.try_clone()?, &readable, &writable)?;
    // Only now it is certain that they were meant for us.
    readable.close();
    writable.close();
    lock.close();
    Ok(parts)
}

/// The numbers of the descriptors, and the ticket.
fn read(text: &str) -> Option<([i32; 3], Ticket)> {
    let (numbers, ticket) = text.split_once(':')?;
    let numbers: Result<Vec<i32>, _> = numbers.split(',').map(str::parse).collect();
    Some((numbers.ok()?.try_into().ok()?, ticket.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_read_as_it_was_written() {
        let (numbers, ticket) = read("7,9,8:r:129:3:a:b").expect("an end");
        assert_eq!((numbers, ticket.to_string().as_str()), ([7, 9, 8], "r:129:3:a:b"));
        for wrong in ["", "7,8,9", "7,8,9:x:0:0:", "7,8,9:r:0:0", "7,8,a:r:0:0:", "7,8:r:0:0:", "7,8,9:r:-1:0:"] {
            assert!(read(wrong).is_none(), "{wrong:?}");
        }
    }
}
