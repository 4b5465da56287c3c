//! How long something took, many times.

use std::fmt::{self, Display};
use std::time::Duration;

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Adds some.
    pub fn add(&mut self, more: &[Duration]) {
        self.0.extend_from_slice(more);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// So long at most it took in `share` of a hundred cases; nothing if there are none.
    #[must_use]
    pub fn percentile(&self, share: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * share).div_ceil(100).saturating_sub(1);
        sorted.get(index).copied().unwrap_or_default()
    }
}

impl Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, all] = [50, 99, 100].map(|share| self.percentile(share).as_secs_f64() * 1e3);
        write!(f, "half within {half:.2} ms, 99 of 100 within {most:.2} ms, all within {all:.2} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_what_so_many_did_not_exceed() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(99), Duration::ZERO);
        latencies.add(&(1..=200).rev().map(Duration::from_millis).collect::<Vec<_>>());
        let millis = [1, 50, 99, 100].map(|share| latencies.percentile(share).as_millis());
        assert_eq!(millis, [2, 100, 198, 200]);
    }
}
