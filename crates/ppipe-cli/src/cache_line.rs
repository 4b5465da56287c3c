//! The physical limit of latency: one cache line that goes to and fro between two CPUs.
//!
//! Measured between two threads. To the line it makes no difference in whose page tables it is, so processes cannot be
//! faster. Measured next to the pipes in each round, since hosts move virtual CPUs nearer and farther.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use crate::figures::median;

/// So often a waiting thread looks before it yields, for machines with one CPU or none to spare.
const SPINS_PER_YIELD: u32 = 1_000;
/// Round trips that are timed together, since reading the clock takes longer than one.
const BATCH: u32 = 100;
/// Said by the first thread, which says odd numbers otherwise.
const END: u32 = 0;

/// Nanoseconds of one round trip: the median of averages of some round trips, for about so long.
pub(crate) fn round_trip_ns(duration: Duration) -> f64 {
    let line = CachePadded::new(AtomicU32::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut answer = 2;
            loop {
                let said = wait_while(&line, answer);
                if said == END {
                    return;
                }
                answer = said + 1;
                // Relaxed everywhere: the word is all that is passed on.
                line.store(answer, Ordering::Relaxed);
            }
        });
        let begin = Instant::now();
        let mut averages = Vec::new();
        while averages.is_empty() || begin.elapsed() < duration {
            let start = Instant::now();
            for trip in 1..=BATCH {
                let said = 2 * trip + 1;
                line.store(said, Ordering::Relaxed);
                wait_while(&line, said);
            }
            averages.push(start.elapsed().as_nanos() as f64 / f64::from(BATCH));
        }
        line.store(END, Ordering::Relaxed);
        median(&averages)
    })
}

/// Returns what is there when it is no longer `number`.
#[inline]
fn wait_while(line: &AtomicU32, number: u32) -> u32 {
    let mut spins = 0_u32;
    loop {
        let seen = line.load(Ordering::Relaxed);
        if seen != number {
            return seen;
        }
        spins = spins.wrapping_add(1);
        if spins.is_multiple_of(SPINS_PER_YIELD) {
            thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_some_time() {
        assert!(round_trip_ns(Duration::ZERO) > 0.0);
    }
}
