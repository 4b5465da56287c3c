//! The kernel's locks of those who say that they sleep at a bell. A death gives them back.

use super::simulator::AtomicBool;
use crate::sync::Ordering;

/// The locks of one bell.
pub(crate) struct Locks {
    sleeps: Vec<AtomicBool>,
    /// Switched off in models of what must not be.
    are_sleepers_heeded: bool,
}

impl Locks {
    /// Nobody sleeps, of so many participants.
    pub(crate) fn new(participants: u32) -> Self {
        Self { sleeps: (0..participants).map(|_| AtomicBool::new(false)).collect(), are_sleepers_heeded: true }
    }

    /// Whether others sleep does not matter.
    pub(crate) fn without_sleepers(mut self) -> Self {
        self.are_sleepers_heeded = false;
        self
    }

    pub(crate) fn say_asleep(&self, entry: u32) {
        self.sleeps[entry as usize].swap(true, Ordering::AcqRel);
    }

    pub(crate) fn say_awake(&self, entry: u32) {
        self.sleeps[entry as usize].swap(false, Ordering::AcqRel);
    }

    pub(crate) fn is_anybody_else_asleep(&self, entry: u32) -> bool {
        let mut others = (0..).zip(&self.sleeps).filter(|&(other, _)| other != entry);
        self.are_sleepers_heeded && others.any(|(_, sleeps)| sleeps.fetch_or(false, Ordering::AcqRel))
    }
}
