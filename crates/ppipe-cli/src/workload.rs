//! What is moved and how it is cut.
//!
//! ```text
//!   input    | AAAAAAAAAAAAAAAAAAAA | again | again ...     repeated until `amount` bytes are moved
//!   cut      |size|size|size|size|re|size|size| ...          the last piece before a border is what is left
//! ```
//!
//! Writer and reader cut alike, so that the reader knows how long each packet has to be.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::units;

/// Which of the two pipes carries the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Way {
    /// The pipe in shared memory.
    Ours,
    /// The kernel's.
    Kernel,
}

/// How pings are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PingWay {
    /// By the pipe in shared memory, which spins a little before it sleeps.
    Ours,
    /// By the kernel's pipe, as everybody uses it: a reader that finds it empty sleeps.
    KernelSleeping,
    /// By the kernel's pipe, nonblocking, with readers that try again and again.
    KernelPolled,
}

/// Whether the bytes flow or come in packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Shape {
    /// A byte stream, written in pieces.
    Stream,
    /// One packet a piece.
    Packets,
}

/// A page: what a packet of the kernel's pipe can hold.
pub(crate) const KERNEL_PACKET_MAX: usize = 4096;
/// Bytes in a packet of the ping-pong.
pub(crate) const PING_SIZE: usize = 64;

/// Round trips that are not timed: the first ones find the other side asleep, and the caches cold.
pub(crate) fn warm_up_of(round_trips: u32) -> u32 {
    round_trips / 10
}

/// One kind of work, the same for both pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Workload {
    /// Whether the bytes flow or come in packets.
    pub(crate) shape: Shape,
    /// Bytes in a piece.
    pub(crate) size: usize,
    /// Bytes in all.
    pub(crate) amount: u64,
}

impl Workload {
    /// The standard set, moving `amount` bytes each; the smallest packets only a quarter of it.
    pub(crate) fn standard(amount: u64) -> [Self; 5] {
        let stream = |size| Self { shape: Shape::Stream, size, amount };
        let packets = |size, amount| Self { shape: Shape::Packets, size, amount };
        [stream(4096), stream(65536), packets(64, (amount / 4).max(64)), packets(4096, amount), packets(65536, amount)]
    }

    /// The same with less to move, to warm up.
    pub(crate) fn shortened(self) -> Self {
        Self { amount: self.amount.div_ceil(16), ..self }
    }

    /// Whether the kernel's pipe cannot carry such packets and a length has to go before each.
    pub(crate) fn is_framed_on_kernel(self) -> bool {
        self.shape == Shape::Packets && self.size > KERNEL_PACKET_MAX
    }

    /// What it is called.
    pub(crate) fn name(self) -> String {
        let size = units::bytes(self.size as u64);
        match self.shape {
            Shape::Stream => format!("stream, {size} writes"),
            Shape::Packets => format!("packets of {size}"),
        }
    }

    /// The pieces, as ranges of an input of `input_len` bytes.
    pub(crate) fn cut(self, input_len: usize) -> Cut {
        Cut { input_len, size: self.size, left: self.amount, at: 0 }
    }
}

/// Iterator over the pieces of a workload.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    input_len: usize,
    size: usize,
    left: u64,
    at: usize,
}

impl Iterator for Cut {
    type Item = Range<usize>;

    #[inline]
    fn next(&mut self) -> Option<Range<usize>> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let len = self.size.min(self.input_len - self.at).min(left);
        if len == 0 {
            return None;
        }
        let piece = self.at..self.at + len;
        self.left -= len as u64;
        self.at = if piece.end == self.input_len { 0 } else { piece.end };
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_is_cut_repeatedly_until_the_amount_is_reached() {
        let workload = Workload { shape: Shape::Packets, size: 4, amount: 23 };
        let pieces: Vec<_> = workload.cut(10).collect();
        assert_eq!(pieces, [0..4, 4..8, 8..10, 0..4, 4..8, 8..10, 0..3]);
    }

    #[test]
    fn a_piece_larger_than_the_input_is_the_input() {
        let workload = Workload { shape: Shape::Stream, size: 100, amount: 10 };
        assert_eq!(workload.cut(5).collect::<Vec<_>>(), [0..5, 0..5]);
    }

    #[test]
    fn nothing_is_cut_from_an_empty_input() {
        let workload = Workload { shape: Shape::Stream, size: 100, amount: 10 };
        assert_eq!(workload.cut(0).count(), 0);
    }

    #[test]
    fn every_standard_workload_moves_at_least_one_piece() {
        for workload in Workload::standard(1) {
            assert!(workload.shortened().cut(1).count() > 0, "{workload:?}");
        }
    }
}
