//! What one who is about to sleep at a bell, or to watch it, asks first: is anybody about to act, and would the end be heard?
//!
//! ```text
//!   locks     | byte of each entry | who sleeps at a bell: writers, readers | who has bells, by entry |
//! ```

use std::os::fd::BorrowedFd;

use crate::bell::{Announcement, BellWord, is_announced};
use crate::holding::Record;
use crate::life::{Side, entries_of};
use crate::segment::Segment;
use crate::sys;

/// One who asks: of `side`, with a description of the segment's file that is its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) side: Side,
    pub(crate) lock: BorrowedFd<'a>,
}

/// A number of entries has fewer bits.
const MOST_RANGES: usize = 40;

impl Listener<'_> {
    /// Whether the kernel rings when the last one of the other side dies: one of them who lives has bells, and nobody has copies of the
    /// bells of one who has left.
    pub(crate) fn would_end_be_heard(self) -> bool {
        let (first, limit) = entries_of(self.segment, self.side.peer());
        let bytes = bytes_of(self.segment);
        let mut have_bells = false;
        // What is left to be asked about: each lock that is found parts it in two, of which the larger one waits. So there are never more than a number
        // of entries has bits, and no memory is asked for.
        let mut ranges = [(first, limit); MOST_RANGES];
        let mut left = 1;
        while left > 0 {
            left -= 1;
            let (first, count) = ranges[left];
            if count == 0 {
                continue;
            }
            let offset = bytes.has_bells(0);
            // If the kernel does not answer, somebody may be there.
            let found = sys::lock_elsewhere(self.lock, offset + first, count).unwrap_or(Some(offset + first));
            let Some(entry) = found.map(|byte| byte - offset) else { continue };
            let entry = entry.min(first + count - 1);
            // Who has left has said so, and nobody takes its entry while others have copies. Its lock alone does not tell:
            // one who wants to join may try it.
            let leaves = announcement_of(self.segment, entry).is_leaving();
            if leaves || !sys::is_locked_elsewhere(self.lock, entry, 1).unwrap_or(true) {
                return false;
            }
            have_bells = true;
            let mut parts = [(first, entry - first), (entry + 1, first + count - entry - 1)];
            parts.sort_unstable_by_key(|&(_, count)| core::cmp::Reverse(count));
            for part in parts {
                if let Some(place) = ranges.get_mut(left) {
                    *place = part;
                    left += 1;
                }
            }
        }
        have_bells
    }

    /// Whether one who lives is about to do something that may be news: of the other side anything, of the own one a change of the
    /// size.
    pub(crate) fn is_anybody_about_to_act(self) -> bool {
        let (first, limit) = entries_of(self.segment, self.side.peer());
        let of_peers = first..first + limit;
        let all = (0..self.segment.layout().participants()).map(|entry| (entry, announcement_of(self.segment, entry)));
        let others = all.filter(|(entry, announcement)| of_peers.contains(entry) || announcement.is_resizing());
        // If the kernel does not answer, somebody may be there.
        let lives = |entry| sys::is_locked_elsewhere(self.lock, entry, 1).unwrap_or(true);
        is_announced(others, lives)
    }

    /// Whether there is a participant of the other side.
    pub(crate) fn has_peers(self) -> bool {
        let (first, limit) = entries_of(self.segment, self.side.peer());
        sys::is_locked_elsewhere(self.lock, first, limit).unwrap_or(true)
    }

    /// Says that it sleeps at its bell, with all others who do, until it says otherwise or dies. Whether it could.
    pub(crate) fn say_asleep(self) -> bool {
        sys::try_lock_unseen(self.lock, self.sleeps()).unwrap_or(false)
    }

    /// Says that it does not sleep any more.
    pub(crate) fn say_awake(self) {
        let _ = sys::unlock(self.lock, self.sleeps());
    }

    /// Whether others say that they sleep at the bell.
    pub(crate) fn is_anybody_else_asleep(self) -> bool {
        sys::is_locked_even_unseen(self.lock, self.sleeps()).unwrap_or(true)
    }

    fn sleeps(self) -> u32 {
        bytes_of(self.segment).sleeps(self.side)
    }
}

pub(crate) fn bytes_of(segment: &Segment) -> Bytes {
    Bytes { participants: segment.layout().participants() }
}

/// Bytes of the segment's file whose locks say something, behind those of the entries.
#[derive(Clone, Copy)]
pub(crate) struct Bytes {
    participants: u32,
}

impl Bytes {
    /// Of all of `side` who sleep at its bell.
    pub(crate) fn sleeps(self, side: Side) -> u32 {
        self.participants + side as u32
    }

    /// Of the participant `entry`, if it has bells. It goes with the descriptor of its lock, and not before the last copy of that.
    pub(crate) fn has_bells(self, entry: u32) -> u32 {
        self.participants + 2 + entry
    }
}

pub(crate) fn announcement_of(segment: &Segment, entry: u32) -> Announcement<'_> {
    let entry = segment.entry(entry);
    Announcement { record: Record(&entry.record), stirs: &entry.stirs }
}

#[inline(always)]
pub(crate) fn bell_word(segment: &Segment, side: Side) -> BellWord<'_> {
    let header = segment.header();
    match side {
        Side::Writer => BellWord(&header.writable.0.bell),
        Side::Reader => BellWord(&header.readable.0.bell),
    }
}
