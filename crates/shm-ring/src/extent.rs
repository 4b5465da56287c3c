//! Room for packets that are larger than a page.
//!
//! ```text
//!   page 4 (owned by a writer, then in a slot, then owned by a reader)        owners
//!  +-----------+----------+----------------------+                           +---+---+---+---+
//!  | extent: 2 | length   | unused               |                           | 0 | 0 | 5 | 0 |  page + 1, or 0: free
//!  +-----------+----------+----------------------+                           +---+---+---+---+
//!        |                                                                             |
//!        +--> extent 2: [ the packet's bytes, in one piece, up to the capacity ]  <----+
//! ```
//!
//! An extent belongs to a *page*, and so to whoever owns that page: it changes hands with the page, by the page's one
//! exchange, and needs no protocol of its own. What always holds: only the owner of page `p` writes `p + 1` into a free
//! owner word, or 0 into one that says `p + 1`; a page in an empty slot has no extent.
//!
//! # Why a dead participant leaks no extent
//! Its page is found again (see `holding`), and whoever takes the page over frees what belongs to it.
//!
//! # Why a stopped participant keeps nobody from sending
//! It holds one extent at most, and there are more of them than participants.

use crate::sync::{AtomicU32, Blocks, Ordering, fence};

const FREE: u32 = 0;

/// Bytes that the header of a large packet takes in its page.
pub const HEADER_BYTES: usize = 8;

/// Where a large packet's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeHeader {
    /// The extent that holds the bytes.
    pub extent: u32,
    /// How many there are.
    pub length: u32,
}

impl LargeHeader {
    /// The header's bytes in the page.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        (u64::from(self.extent) | u64::from(self.length) << 32).to_le_bytes()
    }

    /// The header in `bytes`, unchecked.
    #[must_use]
    pub fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Self {
        let word = u64::from_le_bytes(bytes);
        Self { extent: word as u32, length: (word >> 32) as u32 }
    }
}

/// A view of the extents in a segment.
#[derive(Clone, Copy, Debug)]
pub struct Extents<'a> {
    /// For each extent the page that it belongs to.
    pub owners: &'a [AtomicU32],
    /// The bytes of all extents.
    pub bytes: Blocks<'a>,
}

impl Extents<'_> {
    /// A free extent, which now belongs to `page`, or `None` if all are in use. The caller owns the page.
    #[must_use]
    pub fn claim(&self, page: u32) -> Option<u32> {
        let index = self.owners.iter().position(|owner| {
            // Acquire: pairs with the Release in release, so that the last owner's reads come before our writes.
            // [ledger: E1]
            owner.compare_exchange(FREE, page + 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
        })?;
        // Release fence: pairs with the Acquire fence in Ring::confirm. Whoever sees a byte that we write to the extent sees
        // that the slot of its last packet has changed. [ledger: E4]
        fence(Ordering::Release);
        Some(index as u32)
    }

    /// Whether one is free at this moment.
    #[must_use]
    pub fn has_free(&self) -> bool {
        // Relaxed: a guess; claim decides. [ledger: E3]
        self.owners.iter().any(|owner| owner.load(Ordering::Relaxed) == FREE)
    }

    /// Frees `extent`, which belongs to `page`, which the caller owns. One that belongs elsewhere stays as it is.
    pub fn release(&self, extent: u32, page: u32) {
        if let Some(owner) = self.owners.get(extent as usize) {
            // Release: pairs with the Acquire in claim. Nobody else changes this word while we own the page. [ledger: E2]
            let _ = owner.compare_exchange(page + 1, FREE, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// Frees whatever belongs to `page`, which the caller owns.
    pub fn release_all_of(&self, page: u32) {
        for extent in 0..self.owners.len() as u32 {
            self.release(extent, page);
        }
    }

    /// The header in `bytes`, if it lies within the extents.
    #[must_use]
    pub fn check(&self, bytes: [u8; HEADER_BYTES]) -> Option<LargeHeader> {
        let header = LargeHeader::from_bytes(bytes);
        let fits = (header.extent as usize) < self.owners.len() && header.length as usize <= self.bytes.size();
        fits.then_some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_their_page() {
        let header = LargeHeader { extent: 7, length: 65536 };
        assert_eq!(LargeHeader::from_bytes(header.to_bytes()), header);
    }
}
