//! Handing an end to a child process: one call here, one call there.
//!
//! What travels is the descriptor that holds the participant's lock, those of its bells, and an environment variable that tells
//! their numbers. So the end is alive all the way: before the child has started, while it runs, and until the last copy of the descriptor
//! is closed, as with the descriptor of a pipe.

use std::env;
use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::process::Command;
use std::str::FromStr;
use std::sync::Arc;

use command_fds::CommandFdExt;
use shm_ring::inherited::{Expected, Inherited};
use shm_ring::participant::Participant;
use shm_ring::segment::{AttachError, Size};
use shm_ring::{Bells, Segment, Side};

use crate::flags::Flags;
use crate::joining::from_join;
use crate::name::Name;
use crate::reader::close;

/// What the child finds in its environment: `descriptors:side:entry:flags:name`, where the descriptors are those of the lock
/// and of both bells, with commas between.
struct Ticket {
    descriptors: [i32; 3],
    side: Side,
    entry: u32,
    flags: u32,
    name: String,
}

const NONBLOCKING: u32 = 1;
const PACKET_MODE: u32 = 2;

impl Display for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = match self.side {
            Side::Writer => 'w',
            Side::Reader => 'r',
        };
        let [lock, readable, writable] = self.descriptors;
        write!(f, "{lock},{readable},{writable}:{side}:{}:{}:{}", self.entry, self.flags, self.name)
    }
}

impl FromStr for Ticket {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(5, ':');
        let mut next = || parts.next().ok_or(());
        Ok(Self {
            descriptors: {
                let numbers: Result<Vec<i32>, _> = next()?.split(',').map(str::parse).collect();
                numbers.map_err(|_| ())?.try_into().map_err(|_| ())?
            },
            side: match next()? {
                "w" => Side::Writer,
                "r" => Side::Reader,
                _ => return Err(()),
            },
            entry: next()?.parse().map_err(|_| ())?,
            flags: next()?.parse().map_err(|_| ())?,
            name: next()?.to_owned(),
        })
    }
}

/// Arranges for `command` to start its child with this end.
pub(crate) fn hand_over(
    participant: Participant,
    side: Side,
    flags: &Flags,
    name: Option<&Name>,
    command: &mut Command,
    variable: &str,
) {
    let Some((lock, entry, Some(bells))) = participant.hand_over() else { return };
    let [readable, writable] = bells.into_descriptors();
    let flag = |is_set, bit| if is_set { bit } else { 0 };
    let ticket = Ticket {
        descriptors: [lock.as_raw_fd(), readable.as_raw_fd(), writable.as_raw_fd()],
        side,
        entry,
        flags: flag(flags.is_nonblocking(), NONBLOCKING) | flag(flags.is_packet_mode(), PACKET_MODE),
        name: name.map_or("", Name::as_str).to_owned(),
    };
    command.env(variable, ticket.to_string());
    // Closed in this order: as long as somebody could take the bells for alive, the lock says that there is one.
    command.preserved_fds(vec![readable, writable, lock]);
}

/// An end that the parent has handed over.
pub(crate) struct TakenUp {
    pub(crate) participant: Participant,
    pub(crate) flags: Flags,
    pub(crate) name: Option<Arc<Name>>,
}

/// Takes up the end of `side` that the parent has handed over in the environment variable `variable`.
pub(crate) fn take_up(side: Side, variable: &str) -> io::Result<TakenUp> {
    let not_there =
        |problem: &str| io::Error::new(io::ErrorKind::NotFound, format!("no pipe in {variable}: {problem}"));
    let text = env::var(variable).map_err(|error| not_there(&error.to_string()))?;
    let ticket: Ticket = text.parse().map_err(|()| not_there("it does not say which"))?;
    if ticket.side != side {
        return Err(not_there("it is the other end"));
    }
    // The variable may have come to us without the descriptor, and the number be that of something else. So this looks first,
    // through a descriptor of the segment's own, which does not keep the lock.
    let path_of = |descriptor| format!("/proc/self/fd/{descriptor}");
    let kind_of = |descriptor| fs::metadata(path_of(descriptor)).map(|metadata| metadata.file_type());
    let [lock, readable, writable] = ticket.descriptors;
    let path = path_of(lock);
    let is_bell = |descriptor| kind_of(descriptor).is_ok_and(|kind| kind.is_fifo());
    if !kind_of(lock).is_ok_and(|kind| kind.is_file()) || !is_bell(readable) || !is_bell(writable) {
        return Err(not_there("a descriptor of it is not open, or something else"));
    }
    let open = File::options().read(true).write(true).open(&path);
    let file = open.map_err(|error| not_there(&error.to_string()))?;
    let is_named = !ticket.name.is_empty();
    let segment = match Segment::attach(file, if is_named { Size::Trusted } else { Size::Sealed }) {
        Ok(segment) => segment,
        Err(error @ (AttachError::Magic { .. } | AttachError::Kind { .. })) => {
            return Err(not_there(&error.to_string()));
        }
        Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    };
    let look = |number, expected| Inherited::look_at(number, expected).map_err(|error| not_there(&error.to_string()));
    // In this order, and dropped in the other one: who has bells has the lock.
    let lock = look(lock, Expected::Segment)?;
    let (readable, writable) = (look(readable, Expected::Bell)?, look(writable, Expected::Bell)?);
    let bells = Bells::take_up(side, &readable, &writable)?;
    let name = if is_named { Name::of_segment(&ticket.name, &segment) } else { None };
    let flags = Flags::new(ticket.flags & NONBLOCKING != 0, ticket.flags & PACKET_MODE != 0)?;
    let participant = Participant::take_up(Arc::new(segment), side, ticket.entry, lock.try_clone()?);
    let mut participant = participant.map_err(from_join)?;
    // Only now it is certain that they were meant for us.
    readable.close();
    writable.close();
    lock.close();
    if let Err(error) = participant.hold_bells(bells) {
        close(participant, name.as_deref());
        return Err(error);
    }
    Ok(TakenUp { participant, flags, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_as_it_was_written() {
        let ticket =
            Ticket { descriptors: [7, 9, 8], side: Side::Reader, entry: 129, flags: 3, name: "a:b".to_owned() };
        let read: Ticket = ticket.to_string().parse().expect("a ticket");
        assert_eq!(read.to_string(), "7,9,8:r:129:3:a:b");
        for wrong in ["", "7,8,9", "7,8,9:x:0:0:", "7,8,9:r:0:0", "7,8,a:r:0:0:", "7,8:r:0:0:", "7,8,9:r:-1:0:"] {
            assert!(wrong.parse::<Ticket>().is_err(), "{wrong:?}");
        }
    }
}
