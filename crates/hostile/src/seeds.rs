//! Seeds: one from the environment, or one by the clock, which is printed.

use std::time::{SystemTime, UNIX_EPOCH};

/// The seed of this run: `PPIPE_SEED`, or another one each time.
#[must_use]
pub fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    std::env::var("PPIPE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(now)
}
