//! Closing a segment for ever when nobody is there any more, so that its name can be given to another one.
//!
//! ```text
//!   tenure:  0 ── joined ──> 1 ── joined ──> 2 ── ... ── nobody is there ──> closed, for ever
//! ```
//!
//! # Why nobody ever joins a closed segment, and none is closed under somebody
//! Who joins locks its entry first and counts itself in after. Who closes reads the count first, then looks for locks, and then
//! exchanges the count that it has read. If the one who joins counts first, the exchange fails; if it counts second, it finds
//! the segment closed and gives up.

use std::io;
use std::os::fd::OwnedFd;

use crate::participant::JoinError;
use crate::segment::Segment;
use crate::sync::Ordering;
use crate::sys;

/// More than can join while one counts itself in: who loses so often races with somebody who scribbles.
const MOST_LOST_RACES: usize = 10_000;

/// The value of `tenure` after the last one out has closed the segment for ever.
const CLOSED: u32 = u32::MAX;

/// Closes the segment if nobody is there. To be asked by one who has just given up its lock.
pub(crate) fn close_if_last(segment: &Segment, asker: &OwnedFd) -> bool {
    // Only now: one who joined and left while we still held our lock has left the closing to us.
    // Acquire: before the question who is there. [ledger: P4]
    let tenure = segment.header().membership.0.tenure.load(Ordering::Acquire);
    is_abandoned(segment, asker) && close(segment, tenure)
}

/// Closes the segment for ever if nobody is there: everybody was killed, and nobody could close it. Returns whether it is
/// closed now.
///
/// # Errors
/// If the kernel does not tell who is there.
pub fn close_if_abandoned(segment: &Segment) -> io::Result<bool> {
    // Acquire: before the question who is there. [ledger: P4]
    let tenure = segment.header().membership.0.tenure.load(Ordering::Acquire);
    if tenure == CLOSED {
        return Ok(true);
    }
    let asker = segment.reopen()?;
    Ok(is_abandoned(segment, &asker) && close(segment, tenure))
}

fn is_abandoned(segment: &Segment, asker: &OwnedFd) -> bool {
    sys::is_locked_elsewhere(asker, 0, segment.layout().participants()).is_ok_and(|is_locked| !is_locked)
}

/// Closes the segment, unless somebody has joined since `tenure` was read. Joining locks first and counts after; this
/// looks for locks first and closes after: of two, one sees the other.
fn close(segment: &Segment, tenure: u32) -> bool {
    // AcqRel: pairs with count_in. [ledger: P4]
    let exchange =
        segment.header().membership.0.tenure.compare_exchange(tenure, CLOSED, Ordering::AcqRel, Ordering::Acquire);
    matches!(exchange, Ok(_) | Err(CLOSED))
}

/// Counts one who joins, and whose lock is held already.
///
/// # Errors
/// [`JoinError::Closed`], [`JoinError::Garbled`].
pub(crate) fn count_in(segment: &Segment) -> Result<(), JoinError> {
    let tenure = &segment.header().membership.0.tenure;
    let next = |seen: u32| match seen {
        CLOSED => None,
        _ => Some((seen + 1) % CLOSED),
    };
    let mut seen = tenure.load(Ordering::Relaxed);
    for _ in 0..MOST_LOST_RACES {
        let counted = next(seen).ok_or(JoinError::Closed)?;
        // AcqRel: pairs with close. [ledger: P4]
        match tenure.compare_exchange(seen, counted, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok(()),
            Err(now) => seen = now,
        }
    }
    Err(JoinError::Garbled)
}
