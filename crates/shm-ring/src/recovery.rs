//! Cleaning up behind participants that died without leaving.
//!
//! What is done for one of them, and why exactly once: see `reaping`.
//!
//! # Why cleaning up behind others holds up nobody
//! Who takes an entry for itself locks it, and counts as a participant from then on. Who only cleans up holds a lock that
//! keeps the entry from being taken and that nobody sees who asks for the living: one who is stopped at it costs an entry of
//! the table, and no end of file.

use std::io;

use crate::holding::Record;
use crate::own_descriptor::OwnFd;
use crate::participant::JoinError;
use crate::reaping::reap;
use crate::segment::Segment;
use crate::slot::Garbled;
use crate::sys;

/// Each round settles at least one entry, and all but as many as died in the midst of exchanges with each other at once: that
/// it takes so many means that somebody has made the records up.
const MOST_ROUNDS: usize = 32;

/// Cleans up behind the last owner of `entry`, whose lock the caller holds, and returns the page that belongs to it now.
/// `None` if that cannot be told at this moment; then everything is as it was.
pub(crate) fn take_over(segment: &Segment, entry: u32) -> Result<Option<u32>, JoinError> {
    let dead = Record(&segment.entry(entry).record);
    let in_use = || segment.rings().in_use();
    in_use()
        .and_then(|ring| reap(dead, ring, segment.extents(), segment.records()))
        .map_err(|Garbled| JoinError::Garbled)
}

/// Takes over every free entry, and returns which ones were not free. One that cannot be settled is tried again as long
/// as others are settled, since each of those may be the sighting that was missing.
pub(crate) fn settle_the_dead(segment: &Segment, asker: &OwnFd) -> io::Result<Vec<bool>> {
    let mut is_held = vec![false; segment.layout().participants() as usize];
    let mut open: Vec<u32> = (0..segment.layout().participants()).collect();
    for _ in 0..MOST_ROUNDS {
        let before = open.len();
        let mut unresolved = Vec::new();
        for entry in open {
            is_held[entry as usize] = !sys::try_lock_unseen(asker, entry)?;
            if is_held[entry as usize] {
                continue;
            }
            // A garbled record is found by the look that follows.
            if let Ok(None) = take_over(segment, entry) {
                unresolved.push(entry);
            }
            sys::unlock(asker, entry)?;
        }
        if unresolved.is_empty() || unresolved.len() == before {
            break;
        }
        open = unresolved;
    }
    Ok(is_held)
}
