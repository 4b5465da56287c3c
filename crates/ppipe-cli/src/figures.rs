//! What was measured, and what comes out of it: medians over the rounds, percentiles over all pings.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::input::Summary;
use crate::workload::{PingWay, Shape, Way, Workload};

/// Everything that the demonstration found.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) system: String,
    pub(crate) cpus: usize,
    pub(crate) input: Summary,
    pub(crate) capacity: usize,
    pub(crate) rounds: u32,
    /// Bytes whose checksum was compared, of both pipes together.
    pub(crate) bytes_verified: u64,
    pub(crate) throughput: Vec<Throughput>,
    pub(crate) latency: Vec<Latency>,
    /// Half of a round trip, in the round where it was the shortest: only that can be a limit.
    pub(crate) cache_line_one_way_ns: f64,
    /// Whether our latency is far above what two CPUs can do. Why cannot be told; busy CPUs are the usual cause.
    pub(crate) is_slow: bool,
}

impl Figures {
    /// Half of a cache line's round trip, unless a pipe was faster: then it was measured at a bad time.
    pub(crate) fn cache_line_limit_ns(&self) -> Option<f64> {
        let is_limit = self.latency.iter().all(|latency| self.cache_line_one_way_ns < latency.p50_ns);
        is_limit.then_some(self.cache_line_one_way_ns)
    }
}

/// Two processes on two CPUs usually pass a packet on in less through our pipe, wherever the CPUs are.
const SLOW_NS: f64 = 2000.0;

/// Whether our pipe's latency is far above what two CPUs can do.
pub(crate) fn is_slow(ours: &Latency) -> bool {
    ours.p50_ns > SLOW_NS
}

/// One workload on both pipes.
#[derive(Debug, Serialize)]
pub(crate) struct Throughput {
    pub(crate) name: String,
    pub(crate) is_packets: bool,
    pub(crate) piece_size: usize,
    pub(crate) bytes_per_round: u64,
    pub(crate) is_framed_on_kernel: bool,
    pub(crate) ours: Rate,
    pub(crate) kernel: Rate,
    /// Median over the rounds of how much faster ours was.
    pub(crate) ratio: f64,
    pub(crate) lowest_ratio: f64,
    pub(crate) highest_ratio: f64,
}

/// Medians over the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Rate {
    pub(crate) bytes_per_second: f64,
    /// Only of packets.
    pub(crate) packets_per_second: Option<f64>,
}

/// One way to carry pings. All times are one way: half of a round trip.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) name: &'static str,
    pub(crate) round_trips: u64,
    pub(crate) p50_ns: f64,
    pub(crate) p90_ns: f64,
    pub(crate) p99_ns: f64,
    pub(crate) p99_9_ns: f64,
    pub(crate) max_ns: f64,
}

/// Seconds that the rounds of one workload took.
#[derive(Debug)]
pub(crate) struct Rounds {
    workload: Workload,
    pieces: u64,
    ours: Vec<f64>,
    kernel: Vec<f64>,
}

impl Rounds {
    pub(crate) fn of(workload: Workload) -> Self {
        Self { workload, pieces: 0, ours: Vec::new(), kernel: Vec::new() }
    }

    pub(crate) fn workload(&self) -> Workload {
        self.workload
    }

    pub(crate) fn add(&mut self, way: Way, pieces: u64, elapsed_ns: u64) {
        self.pieces = pieces;
        let seconds = elapsed_ns.max(1) as f64 / 1e9;
        match way {
            Way::Ours => self.ours.push(seconds),
            Way::Kernel => self.kernel.push(seconds),
        }
    }

    /// Each round of ours is compared with the kernel's right beside it.
    pub(crate) fn throughput(&self) -> Throughput {
        let mut ratios: Vec<f64> = self.kernel.iter().zip(&self.ours).map(|(kernel, ours)| kernel / ours).collect();
        ratios.sort_by(f64::total_cmp);
        Throughput {
            name: self.workload.name(),
            is_packets: self.workload.shape == Shape::Packets,
            piece_size: self.workload.size,
            bytes_per_round: self.workload.amount,
            is_framed_on_kernel: self.workload.is_framed_on_kernel(),
            ours: self.rate(&self.ours),
            kernel: self.rate(&self.kernel),
            ratio: median(&ratios),
            lowest_ratio: ratios.first().copied().unwrap_or(f64::NAN),
            highest_ratio: ratios.last().copied().unwrap_or(f64::NAN),
        }
    }

    fn rate(&self, seconds: &[f64]) -> Rate {
        let seconds = median(seconds);
        let is_packets = self.workload.shape == Shape::Packets;
        Rate {
            bytes_per_second: self.workload.amount as f64 / seconds,
            packets_per_second: is_packets.then(|| self.pieces as f64 / seconds),
        }
    }
}

/// All round trips of one way.
#[derive(Debug)]
pub(crate) struct Pings {
    way: PingWay,
    round_trips: Histogram<u64>,
}

impl Pings {
    /// None yet.
    pub(crate) fn of(way: PingWay) -> Self {
        // Three digits are within the limits of a histogram.
        Self { way, round_trips: Histogram::new(3).expect("a histogram of three digits") }
    }

    pub(crate) fn way(&self) -> PingWay {
        self.way
    }

    /// Adds times in nanoseconds and how often each occurred.
    pub(crate) fn add(&mut self, times: &[(u64, u64)]) {
        for &(time, count) in times {
            // It grows as needed, so nothing is out of its range.
            let _ = self.round_trips.record_n(time, count);
        }
    }

    pub(crate) fn latency(&self) -> Latency {
        let one_way = |quantile| self.round_trips.value_at_quantile(quantile) as f64 / 2.0;
        Latency {
            name: match self.way {
                PingWay::Ours => "ppipe",
                PingWay::KernelPolled => "kernel pipe, polled",
                PingWay::KernelSleeping => "kernel pipe",
            },
            round_trips: self.round_trips.len(),
            p50_ns: one_way(0.5),
            p90_ns: one_way(0.9),
            p99_ns: one_way(0.99),
            p99_9_ns: one_way(0.999),
            max_ns: self.round_trips.max() as f64 / 2.0,
        }
    }
}

/// The number in the middle, or between the two in the middle.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len.is_multiple_of(2) => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
        len => sorted[len / 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&[3.0, 1.0, 100.0]) - 3.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn rounds_are_compared_pairwise() {
        let workload = Workload { shape: Shape::Packets, size: 10, amount: 1000 };
        let mut rounds = Rounds::of(workload);
        for (ours, kernel) in [(1_000, 2_000), (10_000, 30_000), (1_000, 4_000)] {
            rounds.add(Way::Ours, 100, ours);
            rounds.add(Way::Kernel, 100, kernel);
        }
        let throughput = rounds.throughput();
        assert!((throughput.ratio - 3.0).abs() < 1e-9);
        assert!((throughput.lowest_ratio - 2.0).abs() < 1e-9);
        assert!((throughput.ours.bytes_per_second - 1e9).abs() < 1.0);
        assert!((throughput.ours.packets_per_second.expect("packets") - 1e8).abs() < 1.0);
    }

    #[test]
    fn latency_is_half_of_a_round_trip() {
        let mut pings = Pings::of(PingWay::Ours);
        pings.add(&[(100, 90), (1000, 9), (4000, 1)]);
        let latency = pings.latency();
        assert_eq!(latency.round_trips, 100);
        assert!((latency.p50_ns - 50.0).abs() < 1.0);
        assert!((latency.p99_ns - 500.0).abs() < 1.0);
        assert!((latency.max_ns - 2000.0).abs() < 2.0);
    }
}
