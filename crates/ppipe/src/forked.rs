//! Ends for a child that is about to be forked and goes on without `exec`: for the C library, whose users expect that of a pipe.
//!
//! ```text
//!   before the fork    the parent takes an entry for the child, and gives it away as to a child process that is started
//!   after it           the parent closes its copies of the descriptors, the child takes the entry up
//! ```
//!
//! So there is no moment at which the child's end is not alive, whichever of the two goes on first.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use shm_ring::participant::Participant;
use shm_ring::{Bells, ReaderEnd, Segment, Side, Waiting, WriterEnd};

use crate::flags::Flags;
use crate::joining::{from_join, join_beside};
use crate::name::Name;
use crate::reader::Reader;
use crate::writer::Writer;

/// To be called once before a fork, after all ends have been prepared for it.
pub fn before_fork() {
    shm_ring::shared_word::before_fork();
}

/// A reader on its way to a forked child.
#[derive(Debug)]
pub struct ForkedReader(Forked);

/// A writer on its way to a forked child.
#[derive(Debug)]
pub struct ForkedWriter(Forked);

#[derive(Debug)]
struct Forked {
    segment: Arc<Segment>,
    side: Side,
    entry: u32,
    // In this order: who has bells has the lock.
    bells: Option<Bells>,
    lock: OwnedFd,
    flags: Flags,
    waiting: Waiting,
    name: Option<Arc<Name>>,
}

impl Forked {
    fn of(participant: Participant, flags: Flags, waiting: Waiting, name: Option<Arc<Name>>) -> io::Result<Self> {
        let (segment, side) = (Arc::clone(participant.segment()), participant.side());
        let (lock, entry, bells) = participant.hand_over().ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { segment, side, entry, bells, lock, flags, waiting, name })
    }

    fn take_up(self) -> io::Result<(Participant, Flags, Waiting, Option<Arc<Name>>)> {
        let Self { segment, side, entry, bells, lock, flags, waiting, name } = self;
        let mut participant = Participant::take_up(segment, side, entry, lock).map_err(from_join)?;
        if let Some(bells) = bells {
            participant.hold_bells(bells)?;
        }
        participant.set_waiting(waiting);
        Ok((participant, flags, waiting, name))
    }
}

impl Reader {
    /// A duplicate of this end for a child that is about to be forked.
    ///
    /// # Errors
    /// As [`Reader::try_clone`].
    #[doc(hidden)]
    pub fn for_forked_child(&self) -> io::Result<ForkedReader> {
        let participant = join_beside(self.borrow_end().participant())?;
        Ok(ForkedReader(Forked::of(participant, self.flags.clone(), self.waiting, self.name.clone())?))
    }

    /// In the child: the duplicate.
    ///
    /// # Errors
    /// As [`Reader::inherited`].
    #[doc(hidden)]
    pub fn in_forked_child(forked: ForkedReader) -> io::Result<Self> {
        let (participant, flags, waiting, name) = forked.0.take_up()?;
        Ok(Self::new(ReaderEnd::new(participant), flags, waiting, name))
    }
}

impl Writer {
    /// A duplicate of this end for a child that is about to be forked.
    ///
    /// # Errors
    /// As [`Writer::try_clone`].
    #[doc(hidden)]
    pub fn for_forked_child(&self) -> io::Result<ForkedWriter> {
        let participant = join_beside(self.borrow_end().participant())?;
        Ok(ForkedWriter(Forked::of(participant, self.flags.clone(), self.waiting, self.name.clone())?))
    }

    /// In the child: the duplicate.
    ///
    /// # Errors
    /// As [`Writer::inherited`].
    #[doc(hidden)]
    pub fn in_forked_child(forked: ForkedWriter) -> io::Result<Self> {
        let (participant, flags, waiting, name) = forked.0.take_up()?;
        Ok(Self::new(WriterEnd::new(participant), flags, waiting, name))
    }
}
