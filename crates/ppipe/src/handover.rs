//! Handing an end to a child process: one call here, one call there.
//!
//! What travels is the descriptor that holds the participant's lock, and an environment variable that tells its number.
//! So the end is alive all the way: before the child has started, while it runs, and until the last copy of the descriptor
//! is closed, as with the descriptor of a pipe.

use std::env;
use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::str::FromStr;
use std::sync::Arc;

use command_fds::CommandFdExt;
use shm_ring::participant::{JoinError, Participant};
use shm_ring::segment::{AttachError, Size};
use shm_ring::{Segment, Side};

use crate::flags::Flags;
use crate::name::{Name, from_join};

/// What the child finds in its environment: `descriptor:side:entry:flags:name`.
struct Ticket {
    descriptor: i32,
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
        write!(f, "{}:{side}:{}:{}:{}", self.descriptor, self.entry, self.flags, self.name)
    }
}

impl FromStr for Ticket {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(5, ':');
        let mut next = || parts.next().ok_or(());
        Ok(Self {
            descriptor: next()?.parse().map_err(|_| ())?,
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
    let Some((lock, entry)) = participant.hand_over() else { return };
    let flag = |is_set, bit| if is_set { bit } else { 0 };
    let ticket = Ticket {
        descriptor: lock.as_raw_fd(),
        side,
        entry,
        flags: flag(flags.is_nonblocking(), NONBLOCKING) | flag(flags.is_packet_mode(), PACKET_MODE),
        name: name.map_or("", Name::as_str).to_owned(),
    };
    command.env(variable, ticket.to_string());
    command.preserved_fds(vec![lock]);
}

/// An end that the parent has handed over.
pub(crate) struct TakenUp {
    pub(crate) segment: Arc<Segment>,
    pub(crate) entry: u32,
    pub(crate) lock: OwnedFd,
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
    // through a descriptor of the segment's own, which does not keep the lock, and only then takes possession.
    let path = format!("/proc/self/fd/{}", ticket.descriptor);
    if !fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
        return Err(not_there("its descriptor is not open, or something else"));
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
    let lock = shm_ring::inherited::take(ticket.descriptor).map_err(|error| not_there(&error.to_string()))?;
    let name = if is_named { Name::of_segment(&ticket.name, &segment) } else { None };
    let flags = Flags::new(ticket.flags & NONBLOCKING != 0, ticket.flags & PACKET_MODE != 0);
    Ok(TakenUp { segment: Arc::new(segment), entry: ticket.entry, lock, flags, name })
}

/// The error of a join that failed.
pub(crate) fn joined<E>(result: Result<E, JoinError>) -> io::Result<E> {
    result.map_err(from_join)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_as_it_was_written() {
        let ticket = Ticket { descriptor: 7, side: Side::Reader, entry: 129, flags: 3, name: "a:b".to_owned() };
        let read: Ticket = ticket.to_string().parse().expect("a ticket");
        assert_eq!(read.to_string(), "7:r:129:3:a:b");
        for wrong in ["", "7", "7:x:0:0:", "7:r:0:0", "a:r:0:0:", "7:r:-1:0:"] {
            assert!(wrong.parse::<Ticket>().is_err(), "{wrong:?}");
        }
    }
}
