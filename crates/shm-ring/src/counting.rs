//! How much there is to read, without reading it.
//!
//! The slots are looked at twice, one after the other. A slot's word never comes back (its lap grows, and in one lap what it holds only
//! grows or shrinks), so where all are the same both times, they have been so at the moment between the two looks.

use crate::extent::{Extents, HEADER_BYTES};
use crate::ring::{Miss, Ring, Seen};
use crate::slot::Content;

/// One look at all slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Bytes that can be read.
    pub bytes: u64,
    /// Another number where a word is another one.
    words: u64,
}

impl Ring<'_> {
    /// What was there at one moment.
    ///
    /// # Errors
    /// [`Miss::Lost`]: others changed it meanwhile. [`Miss::Moved`], [`Miss::Garbled`].
    pub fn tally(&self, extents: &Extents<'_>) -> Result<Tally, Miss> {
        let first = self.look_over(extents)?;
        // The second look is behind an Acquire load of each word, and so is not older. [ledger: R3]
        let second = self.look_over(extents)?;
        if first == second { Ok(second) } else { Err(Miss::Lost) }
    }

    /// What was there while the look lasted, more or less.
    ///
    /// # Errors
    /// As [`Ring::tally`].
    pub fn look_over(&self, extents: &Extents<'_>) -> Result<Tally, Miss> {
        let mut tally = Tally { bytes: 0, words: 0xcbf2_9ce4_8422_2325 };
        for index in 0..self.ring_size() {
            let seen = self.look(index)?;
            tally.words = (tally.words ^ seen.word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
            tally.bytes += self.unread_in(&seen, extents)?;
        }
        Ok(tally)
    }

    fn unread_in(&self, seen: &Seen, extents: &Extents<'_>) -> Result<u64, Miss> {
        match seen.content() {
            Content::Empty => Ok(0),
            Content::Stream(span) | Content::Packet(span) => Ok(span.len() as u64),
            Content::Large { consumed } => {
                let mut header = [0; HEADER_BYTES];
                let peek = self.pages.peek(seen.page(), 0, &mut header);
                self.confirm(seen, peek)?;
                let length = extents.check(header).ok_or(Miss::Garbled)?.length;
                length.checked_sub(consumed).map(u64::from).ok_or(Miss::Garbled)
            }
        }
    }
}
