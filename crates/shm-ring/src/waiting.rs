//! Sleeping until the other side has done something, and waking whoever sleeps.
//!
//! ```text
//!  31                           1    0
//! +------------------------------+---------+
//! | epoch                        | waiting |      one such word for readers, one for writers
//! +------------------------------+---------+
//! ```
//!
//! `waiting` says that somebody may be asleep. It is a bit and not a count, because a sleeper that is killed cannot count
//! itself out. The epoch changes whenever the bit is cleared, so that a sleep that was decided on before is refused.
//!
//! # Why no wake is lost
//! The sleeper sets the bit, then looks at the ring again, then sleeps. The waker changes the ring, then looks at the bit.
//! Both have a full fence between the two, so at least one of them sees what the other one did: the sleeper finds the
//! ring changed, or the waker finds the bit set.
//! A waker that finds it wakes one sleeper. If there was none (nobody has gone to sleep yet, or all are awake again), it
//! clears the bit with a new epoch, and whoever was about to sleep is refused and looks again. Who was quicker, and went to
//! sleep before the clearing, is woken by a second wake, which is for all: so nobody sleeps while the bit is clear.
//! The bit stays set while somebody was woken, since others may still be asleep; the next change of the ring finds out.
//!
//! A waker may change the ring several times before it looks, as a batch does: it looks behind a fence that comes after all of them. It must
//! not wait between, for whom it waits may be asleep. One wake is enough: who is woken and leaves something wakes the next one.
//!
//! # What is left to the bound on every sleep
//! A waker that is killed or stopped between its change and its wake, and a sleeper that is killed when it has just been
//! woken on behalf of others. Nothing else: the bound is a backstop and not part of the protocol. For sleeps without a bound see
//! `bell`.

use crate::sync::{Futex, Ordering, fence, fence_after_rmw};

/// The bit that says that somebody may be asleep.
pub const WAITING: u32 = 1;
const ONE_EPOCH: u32 = 2;

/// A view of one side's wait word.
#[derive(Clone, Copy, Debug)]
pub struct WaitWord<'a>(pub &'a Futex);

/// The right to sleep, if nothing is found to have changed.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Armed(u32);

impl Armed {
    /// The word's value at which to sleep.
    #[must_use]
    pub fn expected(self) -> u32 {
        self.0
    }
}

impl WaitWord<'_> {
    /// Says that the caller is about to sleep. The caller now looks at the ring once more, and sleeps only if there is
    /// still nothing to do.
    pub fn arm(self) -> Armed {
        // Relaxed with a full fence: see "Why no wake is lost". [ledger: W1]
        let before = self.0.fetch_or(WAITING, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Armed(before | WAITING)
    }

    /// Wakes one sleeper if there may be one. The caller has just changed the ring by a compare-exchange. Returns whether
    /// somebody had said to be waiting and nobody was asleep: awake already, or dead.
    #[inline]
    pub fn wake_one_after_exchange(self) -> bool {
        // A full fence, then Relaxed: see "Why no wake is lost". [ledger: W2]
        fence_after_rmw();
        let seen = self.0.load(Ordering::Relaxed);
        seen & WAITING != 0 && self.wake_one(seen)
    }

    /// As [`WaitWord::wake_one_after_exchange`], whatever the caller did last.
    pub fn wake_one_after_anything(self) -> bool {
        // The fence that every processor has. [ledger: W2]
        fence(Ordering::SeqCst);
        let seen = self.0.load(Ordering::Relaxed);
        seen & WAITING != 0 && self.wake_one(seen)
    }

    #[cold]
    fn wake_one(self, seen: u32) -> bool {
        if self.0.wake(1) > 0 {
            return false;
        }
        // Relaxed: whoever arms again looks at the ring behind its own fence. A failure means that somebody else has
        // cleared it, or armed it in a later epoch. [ledger: W3]
        let cleared = (seen & !WAITING).wrapping_add(ONE_EPOCH);
        if self.0.compare_exchange(seen, cleared, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            // Who went to sleep between the wake and the exchange was not refused, and nobody sees the bit any more.
            self.0.wake(u32::MAX);
        }
        true
    }

    /// Wakes every sleeper, and refuses those who are about to sleep: something has changed for all of them.
    pub fn wake_all(self) {
        // AcqRel and a new epoch: whoever is refused by it sees what the caller did before. [ledger: W4]
        self.0.fetch_add(ONE_EPOCH, Ordering::AcqRel);
        self.0.wake(u32::MAX);
    }
}
