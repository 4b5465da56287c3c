//! What goes with the descriptors of an end that is handed or passed on: a line of text that says what they are.
//!
//! ```text
//!   side:entry:flags:name                        behind it all, whichever way it goes
//!   lock,readable,writable:side:entry:flags:name in the environment: the numbers of the descriptors before it
//! ```
//!
//! A ticket is what somebody else has written. It is good for nothing without the descriptor that holds the lock of just that entry, and
//! the kernel says whether it does.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::str::FromStr;
use std::sync::Arc;

use shm_ring::participant::Participant;
use shm_ring::segment::{AttachError, Size};
use shm_ring::{Bells, Segment, Side, Waiting};

use crate::flags::Flags;
use crate::joining::{Parts, from_join};
use crate::name::Name;
use crate::reader::close;
use crate::watch::WatchCell;

/// Which end it is, and what travels with it.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) side: Side,
    entry: u32,
    flags: u32,
    name: String,
}

const NONBLOCKING: u32 = 1;
const PACKET_MODE: u32 = 2;

impl Ticket {
    /// The ticket of an end that has been handed over as `entry`.
    pub(crate) fn new(side: Side, entry: u32, flags: &Flags, name: Option<&Name>) -> Self {
        let flag = |is_set, bit| if is_set { bit } else { 0 };
        let flags = flag(flags.is_nonblocking(), NONBLOCKING) | flag(flags.is_packet_mode(), PACKET_MODE);
        Self { side, entry, flags, name: name.map_or("", Name::as_str).to_owned() }
    }

    /// Whether the pipe has a name, so that its memory is not sealed.
    pub(crate) fn is_named(&self) -> bool {
        !self.name.is_empty()
    }

    /// The segment in `file`.
    ///
    /// # Errors
    /// What was found instead.
    pub(crate) fn attach(&self, file: File) -> Result<Segment, AttachError> {
        Segment::attach(file, if self.is_named() { Size::Trusted } else { Size::Sealed })
    }

    /// Takes the end up, which these descriptors have come for. Those of the bells are not needed any more then.
    ///
    /// # Errors
    /// `NotFound` if the descriptor does not hold the lock, or the end has been taken up already; `InvalidData`; what the system says.
    pub(crate) fn take_up(
        self,
        segment: Segment,
        lock: OwnedFd,
        readable: impl AsFd,
        writable: impl AsFd,
    ) -> io::Result<Parts> {
        let bells = Bells::take_up(self.side, readable, writable)?;
        let name = if self.is_named() { Name::of_segment(&self.name, &segment) } else { None };
        let flags = Flags::new(self.flags & NONBLOCKING != 0, self.flags & PACKET_MODE != 0)?;
        let participant = Participant::take_up(Arc::new(segment), self.side, self.entry, lock);
        let mut participant = participant.map_err(from_join)?;
        if let Err(error) = participant.hold_bells(bells) {
            close(participant, name.as_deref());
            return Err(error);
        }
        Ok(Parts { participant, flags, waiting: Waiting::default(), name, watch: WatchCell::default() })
    }
}

/// The file that the lock is on, through a descriptor of its own, which does not keep the lock.
pub(crate) fn reopen(lock: impl AsFd) -> io::Result<File> {
    File::options().read(true).write(true).open(format!("/proc/self/fd/{}", lock.as_fd().as_raw_fd()))
}

impl Display for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = match self.side {
            Side::Writer => 'w',
            Side::Reader => 'r',
        };
        write!(f, "{side}:{}:{}:{}", self.entry, self.flags, self.name)
    }
}

impl FromStr for Ticket {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(4, ':');
        let mut next = || parts.next().ok_or(());
        Ok(Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_as_it_was_written() {
        let ticket = Ticket { side: Side::Reader, entry: 129, flags: 3, name: "a:b".to_owned() };
        let read: Ticket = ticket.to_string().parse().expect("a ticket");
        assert_eq!(read.to_string(), "r:129:3:a:b");
        for wrong in ["", ":", "x:0:0:", "r:0:0", "r:a:0:", "r:-1:0:", "r:4294967296:0:", "r:0::", "w:0"] {
            assert!(wrong.parse::<Ticket>().is_err(), "{wrong:?}");
        }
    }
}
