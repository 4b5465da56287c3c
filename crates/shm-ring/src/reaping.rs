//! Cleaning up behind a participant that died without leaving: what of it happens in shared memory.
//!
//! ```text
//!   which page did it own? (nothing changes) ──> one store settles its record ──> the page's extents are free
//! ```
//!
//! # Why it is done exactly once, whoever does it
//! Finding out which page a dead participant owned changes nothing, and then one store settles it. Who dies half-way is
//! followed by another one, who finds the same: a settled record says which page, and freeing what is free changes nothing.

use crate::extent::Extents;
use crate::holding::{Record, page_of_the_dead};
use crate::ring::Ring;
use crate::slot::Garbled;

/// Cleans up behind `dead`, and returns the page that belongs to its entry now. `None` if that cannot be told at this moment;
/// then everything is as it was.
///
/// The caller has made sure that the participant is dead, and is the only one who cleans up behind it.
///
/// # Errors
/// [`Garbled`] if there is no such page.
pub fn reap<'a>(
    dead: Record<'_>,
    ring: &Ring<'_>,
    extents: &Extents<'_>,
    records: impl Iterator<Item = Record<'a>>,
) -> Result<Option<u32>, Garbled> {
    let Some(page) = page_of_the_dead(dead, ring.slots, ring.fields, records) else { return Ok(None) };
    if !ring.fields.has_page(page) {
        return Err(Garbled);
    }
    dead.settle(page);
    extents.release_all_of(page);
    Ok(Some(page))
}
