//! What the demonstration's three processes say to each other, in packets of our own pipes.
//!
//! ```text
//!   parent ── orders ──> writer ══ the data and the pings ══> reader <── orders ── parent
//!   parent <── reports ── writer <══ the pongs ══ reader ── reports ──> parent
//! ```
//!
//! Each order is answered by one report. A process that is gone, for whatever reason, is known by the end of its reports;
//! one that gets no more orders ends.

use std::io::{self, ErrorKind};
use std::process::Command;

use ppipe::{Reader, Writer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::{At, Failure};
use crate::input::Summary;
use crate::workload::{PingWay, Way, Workload};

/// Environment variables in which the ends are handed over.
pub(crate) mod ends {
    /// Where a child gets its orders.
    pub(crate) const ORDERS: &str = "PPIPE_DEMO_ORDERS";
    /// Where it reports.
    pub(crate) const REPORTS: &str = "PPIPE_DEMO_REPORTS";
    /// Our pipe from the writer to the reader.
    pub(crate) const FORWARD: &str = "PPIPE_DEMO_FORWARD";
    /// Our pipe from the reader to the writer.
    pub(crate) const BACK: &str = "PPIPE_DEMO_BACK";
}

/// What the parent tells both children to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Move data.
    Move {
        /// What.
        workload: Workload,
        /// How.
        way: Way,
        /// Length of the writer's input, by which the reader knows how it is cut.
        input_len: usize,
        /// Whether the reader falsifies what it receives, to show that this is noticed.
        is_falsified: bool,
    },
    /// Send packets to and fro.
    Ping {
        /// How.
        way: PingWay,
        /// So many times.
        round_trips: u32,
    },
}

/// What a child says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// It is ready; the writer has read the input.
    Ready(Option<Loaded>),
    /// It has moved its data.
    Moved(Moved),
    /// The reader has answered all pings.
    Answered,
    /// The writer has timed them: nanoseconds of a round trip, and how many took so long.
    Timed(Vec<(u64, u64)>),
    /// It cannot go on.
    Failed(Failed),
}

/// The writer's input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Loaded {
    /// Where it came from.
    pub(crate) summary: Summary,
    /// Bytes in memory.
    pub(crate) input_len: usize,
}

/// One side's account of one piece of work.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Moved {
    /// When the writer began or the reader had everything, by the system's monotonic clock.
    pub(crate) at_ns: u64,
    /// How many pieces were written; for packets, also how many were received.
    pub(crate) pieces: u64,
    /// CRC-32 of all bytes in their order.
    pub(crate) checksum: u32,
}

/// Why a child ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failed {
    what: String,
    why: String,
    /// Whether it only means that the other one is gone.
    pub(crate) is_consequence: bool,
}

impl Failed {
    /// An error met at `what`.
    pub(crate) fn at(what: &str, error: &io::Error) -> Self {
        let is_consequence = matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof);
        Self { what: what.to_owned(), why: error.to_string(), is_consequence }
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Told { what, why } => Self { what, why, is_consequence: false },
            other => Self { what: "demo".to_owned(), why: other.to_string(), is_consequence: false },
        }
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        Self::Told { what: failed.what, why: failed.why }
    }
}

/// Now, by the clock that all processes share.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Sends one value as one packet.
pub(crate) fn say<T: Serialize>(writer: &Writer, value: &T) -> io::Result<()> {
    writer.send(&serde_json::to_vec(value)?)
}

/// Receives one value; `None` when the other side is gone.
pub(crate) fn hear<T: DeserializeOwned>(reader: &Reader) -> io::Result<Option<T>> {
    // As large as a packet can be in a pipe of the default capacity.
    let mut buffer = vec![0; 65536];
    match reader.recv(&mut buffer) {
        Ok(message) => Ok(Some(serde_json::from_slice(&buffer[..message.len])?)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// A child's ends of the conversation.
#[derive(Debug)]
pub(crate) struct ChildsEnd {
    orders: Reader,
    reports: Writer,
}

impl ChildsEnd {
    /// Takes up what the parent handed over.
    pub(crate) fn inherited() -> Result<Self, Failure> {
        let orders = Reader::inherited(ends::ORDERS).at("this command is started by ppipe demo")?;
        let reports = Writer::inherited(ends::REPORTS).at("this command is started by ppipe demo")?;
        Ok(Self { orders, reports })
    }

    /// The next order; `None` when there are no more.
    pub(crate) fn next_order(&self) -> io::Result<Option<Order>> {
        hear(&self.orders)
    }

    pub(crate) fn report(&self, report: &Report) -> io::Result<()> {
        say(&self.reports, report)
    }
}

/// The parent's ends of the conversation with one child.
#[derive(Debug)]
pub(crate) struct ParentsEnd {
    /// Dropped to say that there are no more.
    pub(crate) orders: Writer,
    pub(crate) reports: Reader,
}

impl ParentsEnd {
    /// Makes a conversation with the child that `command` will start.
    pub(crate) fn with_child_of(command: &mut Command) -> io::Result<Self> {
        let (their_orders, orders) = ppipe::pipe()?;
        let (reports, their_reports) = ppipe::pipe()?;
        their_orders.hand_to(command, ends::ORDERS);
        their_reports.hand_to(command, ends::REPORTS);
        Ok(Self { orders, reports })
    }
}
