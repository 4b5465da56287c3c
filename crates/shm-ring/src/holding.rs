//! Who owns which page.
//!
//! ```text
//!  63        62            32 31             0
//! +---------+----------------+----------------+
//! | pending | expected page  | offered page   |      one word for each participant, written by it alone
//! +---------+----------------+----------------+
//! ```
//!
//! There are as many pages as slots and participants together, and each of them holds exactly one. A page changes hands
//! only by an exchange on a slot: the participant's page goes in, the slot's page comes out. Before the exchange the
//! participant records both (*pending*), after it the one that it now owns (*settled*).
//!
//! # Why no page is lost and none is held twice
//! A participant that dies between exchanges has settled: its page is known. One that dies with a pending record owns
//! exactly one of the two pages, and the other one is in a slot or in somebody else's hands. Its exchange either
//! succeeded, then the offered page went into a slot, from where it moves on only into other hands; or it did not, then
//! the offered page is still its own and has been nobody else's since. So whoever finds one of the two pages *anywhere
//! else*, in a slot or in a settled record, knows that the dead participant owns the other one. That is stable: a dead
//! participant exchanges nothing any more.
//!
//! A sighting can fail for a moment, while the other page is on its way through a third pending record. Then the entry
//! stays as it is and is looked at again later; nobody waits for it.

use crate::slot::Fields;
use crate::sync::{AtomicU64, Ordering};

/// A record, decoded. The pages are not checked: compare them, do not index with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// The participant owns this page.
    Settled(u32),
    /// The participant owns `offered` if its exchange has not happened, `expected` if it has.
    Pending {
        /// The page that goes into the slot.
        offered: u32,
        /// The page that comes out of the slot.
        expected: u32,
    },
}

const PENDING: u64 = 1 << 63;
const EXPECTED_SHIFT: u32 = 32;
const EXPECTED_MASK: u64 = (1 << 31) - 1;

impl Holding {
    /// The record's word.
    #[inline]
    #[must_use]
    pub fn encode(self) -> u64 {
        match self {
            Self::Settled(page) => u64::from(page),
            Self::Pending { offered, expected } => PENDING | u64::from(expected) << EXPECTED_SHIFT | u64::from(offered),
        }
    }

    /// What `word` says.
    #[inline]
    #[must_use]
    pub fn decode(word: u64) -> Self {
        let offered = word as u32;
        if word & PENDING == 0 {
            Self::Settled(offered)
        } else {
            Self::Pending { offered, expected: (word >> EXPECTED_SHIFT & EXPECTED_MASK) as u32 }
        }
    }
}

/// A participant's public record, written by that participant alone and read by whoever takes over its entry.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a>(pub &'a AtomicU64);

impl Record<'_> {
    /// Says which exchange comes next.
    #[inline]
    pub fn intend(self, offered: u32, expected: u32) {
        // Relaxed: the exchange that follows is a Release, so that whoever sees the page in its slot, and everybody
        // after that, sees this record too. [ledger: H1]
        self.0.store(Holding::Pending { offered, expected }.encode(), Ordering::Relaxed);
    }

    /// Says that the exchange is over, and which page the participant owns now.
    #[inline]
    pub fn settle(self, page: u32) {
        // Relaxed: the Release fence behind the exchange (R6) keeps it from becoming visible before it; nothing else is
        // read through it. [ledger: H2]
        self.0.store(Holding::Settled(page).encode(), Ordering::Relaxed);
    }

    /// Whether an exchange is announced, for one who is about to sleep at a bell.
    #[must_use]
    pub fn is_pending(self) -> bool {
        // Acquire: pairs with the Release fence before the store that settles the record (R6), so that who sees that an exchange is
        // over sees what it has changed. [ledger: B5]
        matches!(Holding::decode(self.0.load(Ordering::Acquire)), Holding::Pending { .. })
    }

    /// What the record says now.
    #[inline]
    #[must_use]
    pub fn holding(self) -> Holding {
        // Relaxed: the reader has seen the participant's death, and all of its stores happened before that. [ledger: H3]
        Holding::decode(self.0.load(Ordering::Relaxed))
    }
}

/// Which page the dead participant `dead` owns, judged by what can be seen in `slots` and in the other `records`.
///
/// The caller has made sure that the participant is dead (it holds the participant's lock), and is the only one who
/// settles this entry. `None` if neither page could be sighted; that is a matter of moments.
#[must_use]
pub fn page_of_the_dead<'a>(
    dead: Record<'_>,
    slots: &[AtomicU64],
    fields: Fields,
    records: impl Iterator<Item = Record<'a>>,
) -> Option<u32> {
    let (offered, expected) = match dead.holding() {
        Holding::Settled(page) => return Some(page),
        Holding::Pending { offered, expected } => (offered, expected),
    };
    let owned_if_elsewhere = |page: u32| match page {
        _ if page == offered => Some(expected),
        _ if page == expected => Some(offered),
        _ => None,
    };
    let in_a_slot = slots
        .iter()
        // Acquire: pairs with the exchanges, so that the records below are at least as new as this slot. [ledger: H4]
        .filter_map(|slot| fields.decode(slot.load(Ordering::Acquire)).ok())
        .find_map(|slot| owned_if_elsewhere(slot.page));
    in_a_slot.or_else(|| {
        let mut records = records;
        records.find_map(|record| match record.holding() {
            Holding::Settled(page) => owned_if_elsewhere(page),
            Holding::Pending { .. } => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_decode_to_what_was_encoded() {
        for holding in [
            Holding::Settled(0),
            Holding::Settled(271),
            Holding::Pending { offered: 0, expected: 0 },
            Holding::Pending { offered: 17, expected: 271 },
        ] {
            assert_eq!(Holding::decode(holding.encode()), holding);
        }
    }
}
