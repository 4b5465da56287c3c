//! Whether a segment may still be joined: a count of those who joined, which the last one out closes for ever.
//!
//! ```text
//!   0 ── joined ──> 1 ── joined ──> 2 ── ... ── nobody is there ──> closed, for ever
//! ```
//!
//! # Why nobody ever joins a closed segment, and none is closed under somebody
//! Who joins locks its entry first and counts itself in after. Who closes reads the count first, then looks for locks, and then
//! exchanges the count that it has read. If the one who joins counts first, the exchange fails; if it counts second, it finds
//! the segment closed and gives up.

use crate::sync::{AtomicU32, Ordering};

/// The word's value after the last one out has closed the segment for ever.
const CLOSED: u32 = u32::MAX;
/// More than can join while one counts itself in: who loses so often races with somebody who scribbles.
const MOST_LOST_RACES: usize = 10_000;

/// A view of the word.
#[derive(Clone, Copy, Debug)]
pub struct Tenure<'a>(pub &'a AtomicU32);

/// The count as it was before its reader looked for locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Count(u32);

/// Why one could not count itself in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The last participant has left, and the segment is not to be used any more.
    Closed,
    /// The word changes faster than participants can join.
    Garbled,
}

impl Tenure<'_> {
    /// The count, for one who looks for locks next. `None` if the segment is closed.
    pub fn count(self) -> Option<Count> {
        // Acquire: before the question who is there. [ledger: P4]
        let count = self.0.load(Ordering::Acquire);
        (count != CLOSED).then_some(Count(count))
    }

    /// Closes the segment for ever, unless somebody has joined since the count was read. The caller has found no lock since
    /// then. Returns whether the segment is closed now.
    pub fn close(self, count: Count) -> bool {
        // AcqRel: pairs with count_in. [ledger: P4]
        let exchange = self.0.compare_exchange(count.0, CLOSED, Ordering::AcqRel, Ordering::Acquire);
        matches!(exchange, Ok(_) | Err(CLOSED))
    }

    /// Counts one who joins, and whose lock is held already.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn count_in(self) -> Result<(), Refused> {
        // Relaxed: the exchange decides. [ledger: P4]
        let mut seen = self.0.load(Ordering::Relaxed);
        for _ in 0..MOST_LOST_RACES {
            if seen == CLOSED {
                return Err(Refused::Closed);
            }
            let next = seen.wrapping_add(1) % CLOSED;
            // AcqRel: pairs with close. [ledger: P4]
            match self.0.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(now) => seen = now,
            }
        }
        Err(Refused::Garbled)
    }
}
