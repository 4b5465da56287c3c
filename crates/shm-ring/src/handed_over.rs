//! An entry on its way from one process to another one.
//!
//! ```text
//!   pid of the entry   a process ── hand_over ──> 0 ── take_up ──> another process
//!                           ^                     │
//!                           └───── take_back ─────┘    as long as nobody else has copies of the descriptors
//! ```
//!
//! What goes from the one to the other is the descriptor that holds the lock, with those of the bells. Whatever keeps copies of it, be it
//! another process, the value of a command or a message in a socket, keeps the entry alive, and when the last copy is closed it is free.
//!
//! # Why an entry is taken up once
//! By one exchange of the pid, which the second one finds done. The one who has handed it over takes it back only if it knows that nobody
//! has got the descriptors.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::bell_pipe::Bells;
use crate::holding::{Holding, Record};
use crate::life::{Before, Side, entries_of};
use crate::own_descriptor::OwnFd;
use crate::participant::{JoinError, Participant};
use crate::segment::Segment;
use crate::sync::Ordering;
use crate::sys;

/// What the pid of an entry says between [`Participant::hand_over`] and [`Participant::take_up`].
const HANDED_OVER: u32 = 0;

/// An entry that whoever gets copies of its descriptors can take up. Dropping it closes them here, and gives nothing back.
#[derive(Debug)]
pub struct HandedOver {
    /// Without its lock and its bells.
    participant: Participant,
    // In this order: as long as somebody could take the bells for alive, the lock says that there is one.
    bells: Bells,
    lock: OwnFd,
}

impl HandedOver {
    /// Which entry it is.
    #[must_use]
    pub fn entry(&self) -> u32 {
        self.participant.entry
    }

    /// What has to get to the one who takes it up: the lock, the readers' bell, the writers' bell.
    #[must_use]
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        let [readable, writable] = self.bells.descriptors();
        [self.lock.as_fd(), readable, writable]
    }

    /// The descriptors, to be closed in an order in which the lock is the last one.
    #[must_use]
    pub fn into_parts(self) -> (Bells, OwnFd) {
        (self.bells, self.lock)
    }

    /// Takes it back. Nobody else may have got copies of the descriptors.
    #[must_use]
    pub fn take_back(self) -> Participant {
        let Self { mut participant, bells, lock } = self;
        // Relaxed: the record has been ours all the time.
        participant.segment.entry(participant.entry).pid.store(std::process::id(), Ordering::Relaxed);
        participant.lock = Some(lock);
        participant.watch_over();
        participant.offer_as_witness();
        participant.at_bells.put_back(bells);
        participant
    }
}

impl Participant {
    /// Takes up the entry `entry`, which another process has handed over with the descriptor `lock`. The segment has a
    /// descriptor of its own.
    ///
    /// # Errors
    /// [`JoinError`]; the descriptor is closed then.
    pub fn take_up(segment: Arc<Segment>, side: Side, entry: u32, lock: impl Into<OwnFd>) -> Result<Self, JoinError> {
        let lock = lock.into();
        let (first, limit) = entries_of(&segment, side);
        if !(first..first + limit).contains(&entry) {
            return Err(JoinError::Garbled);
        }
        // The descriptor may be a copy of one whose end is long closed, and the entry somebody else's.
        let is_ours =
            !sys::is_locked_elsewhere(&lock, entry, 1)? && sys::is_locked_elsewhere(segment.file(), entry, 1)?;
        if !is_ours {
            return Err(JoinError::NotHandedOver);
        }
        let pid = &segment.entry(entry).pid;
        // Acquire: pairs with the Release in hand_over, for the record. [ledger: P1]
        if pid.compare_exchange(HANDED_OVER, std::process::id(), Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(JoinError::NotHandedOver);
        }
        let Holding::Settled(page) = Record(&segment.entry(entry).record).holding() else {
            return Err(JoinError::Garbled);
        };
        if page >= segment.layout().pages {
            return Err(JoinError::Garbled);
        }
        let before = Before { arrivals: 0, alive: true };
        let participant = Self::new(segment, side, entry, lock, page, before);
        participant.segment.check_memory()?;
        participant.offer_as_witness();
        Ok(participant)
    }

    /// Gives the entry away with the descriptors that hold it: whoever has copies of them can take it up, once. The entry
    /// counts as alive until then, and is free when all copies are closed.
    ///
    /// # Errors
    /// The participant itself, if it has no bells.
    pub fn hand_over(mut self) -> Result<HandedOver, Box<Self>> {
        let Some(bells) = self.at_bells.take() else { return Err(Box::new(self)) };
        let Some(lock) = self.lock.take() else {
            self.at_bells.put_back(bells);
            return Err(Box::new(self));
        };
        self.release_own_extents();
        self.robust = None;
        // Release: pairs with the Acquire in take_up, for the record. [ledger: P1]
        self.segment.entry(self.entry).pid.store(HANDED_OVER, Ordering::Release);
        Ok(HandedOver { participant: self, bells, lock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Geometry;

    fn writer() -> Participant {
        let segment = Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        let mut writer = Participant::join(segment, Side::Writer).expect("an entry");
        writer.hold_bells(Bells::of_two().expect("descriptors").1).expect("a lock");
        writer
    }

    fn taken_up(segment: &Arc<Segment>, handed_over: &HandedOver) -> Result<Participant, JoinError> {
        let [lock, ..] = handed_over.descriptors();
        let copy = lock.try_clone_to_owned().expect("a descriptor");
        Participant::take_up(Arc::clone(segment), Side::Writer, handed_over.entry(), copy)
    }

    #[test]
    fn what_has_been_taken_back_is_nobody_elses_and_can_be_handed_over_again() {
        let writer = writer();
        let segment = Arc::clone(writer.segment());
        let handed_over = writer.hand_over().expect("it has bells");
        let copy = handed_over.descriptors()[0].try_clone_to_owned().expect("a descriptor");
        let entry = handed_over.entry();
        let writer = handed_over.take_back();
        let late = Participant::take_up(Arc::clone(&segment), Side::Writer, entry, copy);
        assert!(matches!(late, Err(JoinError::NotHandedOver)), "{late:?}");
        let handed_over = writer.hand_over().expect("it has its bells again");
        taken_up(&segment, &handed_over).expect("it has been handed over");
    }

    #[test]
    fn an_entry_is_taken_up_once() {
        let writer = writer();
        let segment = Arc::clone(writer.segment());
        let handed_over = writer.hand_over().expect("it has bells");
        let _first = taken_up(&segment, &handed_over).expect("it has been handed over");
        let second = taken_up(&segment, &handed_over);
        assert!(matches!(second, Err(JoinError::NotHandedOver)), "{second:?}");
    }

    #[test]
    fn who_has_no_bells_is_not_handed_over() {
        let segment = Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        let writer = Participant::join(segment, Side::Writer).expect("an entry");
        writer.hand_over().expect_err("it stays");
    }
}
