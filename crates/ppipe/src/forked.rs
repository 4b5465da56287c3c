//! Further ends that are made while the first one is in use: for the C library, whose handles can be used by several threads at once, and by
//! a child that is forked and goes on without `exec`, as those of a pipe can.
//!
//! ```text
//!   before the fork    the parent takes an entry for the child, and gives it away as to a child process that is started
//!   after it           the parent closes its copies of the descriptors, the child takes the entry up
//! ```
//!
//! So there is no moment at which the child's end is not alive, whichever of the two goes on first.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;

use shm_ring::participant::Participant;
use shm_ring::{Before, Bells, ReaderEnd, Segment, Side, Waiting, WriterEnd};

use crate::flags::Flags;
use crate::joining::from_join;
use crate::name::Name;
use crate::reader::Reader;
use crate::writer::Writer;

/// To be called once before a fork.
pub fn before_fork() {
    shm_ring::shared_word::before_fork();
}

/// What another end beside one is made from, whatever that one is doing. Good for as long as that one is open.
#[derive(Debug)]
pub struct Pattern {
    segment: Arc<Segment>,
    side: Side,
    bells: Option<[RawFd; 2]>,
    lock: Option<RawFd>,
    before: Before,
    flags: Flags,
    waiting: Waiting,
    name: Option<Arc<Name>>,
}

/// An end on its way to a forked child.
#[derive(Debug)]
pub struct Forked {
    pattern: Pattern,
    entry: u32,
    // In this order: who has bells has the lock.
    bells: Option<Bells>,
    lock: OwnedFd,
}

impl Pattern {
    pub(crate) fn of(participant: &Participant, flags: &Flags, waiting: Waiting, name: Option<&Arc<Name>>) -> Self {
        Self {
            segment: Arc::clone(participant.segment()),
            side: participant.side(),
            bells: participant.numbers_of_bells(),
            lock: participant.number_of_lock(),
            before: participant.before(),
            flags: flags.clone(),
            waiting,
            name: name.cloned(),
        }
    }

    fn join(&self) -> io::Result<Participant> {
        let mut participant = Participant::join(Arc::clone(&self.segment), self.side).map_err(from_join)?;
        participant.count_from(self.before);
        participant.set_waiting(self.waiting);
        if let Some(numbers) = self.bells {
            participant.hold_bells(Bells::beside(numbers, self.side)?)?;
        }
        Ok(participant)
    }

    fn finish(self, participant: Participant) -> (Participant, Flags, Waiting, Option<Arc<Name>>) {
        (participant, self.flags, self.waiting, self.name)
    }

    /// The numbers of the descriptors that the end has for itself, which a forked child has copies of.
    pub fn numbers(&self) -> impl Iterator<Item = RawFd> {
        self.bells.into_iter().flatten().chain(self.lock)
    }

    /// Another reader beside the one that this is the pattern of.
    ///
    /// # Errors
    /// As [`Reader::try_clone`].
    pub fn reader(&self) -> io::Result<Reader> {
        Ok(Reader::new(ReaderEnd::new(self.join()?), self.flags.clone(), self.waiting, self.name.clone()))
    }

    /// Another writer beside the one that this is the pattern of.
    ///
    /// # Errors
    /// As [`Writer::try_clone`].
    pub fn writer(&self) -> io::Result<Writer> {
        Ok(Writer::new(WriterEnd::new(self.join()?), self.flags.clone(), self.waiting, self.name.clone()))
    }

    /// Another end for a child that is about to be forked.
    ///
    /// # Errors
    /// As [`Reader::try_clone`].
    pub fn for_forked_child(&self) -> io::Result<Forked> {
        let participant = self.join()?;
        let (lock, entry, bells) = participant.hand_over().ok_or(io::ErrorKind::NotFound)?;
        let Self { side, before, waiting, .. } = *self;
        let (segment, flags, name) = (Arc::clone(&self.segment), self.flags.clone(), self.name.clone());
        let pattern = Self { segment, side, bells: None, lock: None, before, flags, waiting, name };
        Ok(Forked { pattern, entry, bells, lock })
    }
}

impl Forked {
    fn take_up(self) -> io::Result<(Participant, Flags, Waiting, Option<Arc<Name>>)> {
        let Self { pattern, entry, bells, lock } = self;
        let taken_up = Participant::take_up(Arc::clone(&pattern.segment), pattern.side, entry, lock);
        let mut participant = taken_up.map_err(from_join)?;
        participant.count_from(pattern.before);
        participant.set_waiting(pattern.waiting);
        if let Some(bells) = bells {
            participant.hold_bells(bells)?;
        }
        Ok(pattern.finish(participant))
    }

    /// In the child: the reader.
    ///
    /// # Errors
    /// As [`Reader::inherited`].
    pub fn reader(self) -> io::Result<Reader> {
        let (participant, flags, waiting, name) = self.take_up()?;
        Ok(Reader::new(ReaderEnd::new(participant), flags, waiting, name))
    }

    /// In the child: the writer.
    ///
    /// # Errors
    /// As [`Writer::inherited`].
    pub fn writer(self) -> io::Result<Writer> {
        let (participant, flags, waiting, name) = self.take_up()?;
        Ok(Writer::new(WriterEnd::new(participant), flags, waiting, name))
    }
}

impl Reader {
    /// What further readers beside this one are made from.
    #[doc(hidden)]
    #[must_use]
    pub fn pattern(&self) -> Pattern {
        Pattern::of(self.borrow_end().participant(), &self.flags, self.waiting, self.name.as_ref())
    }
}

impl Writer {
    /// What further writers beside this one are made from.
    #[doc(hidden)]
    #[must_use]
    pub fn pattern(&self) -> Pattern {
        Pattern::of(self.borrow_end().participant(), &self.flags, self.waiting, self.name.as_ref())
    }
}
