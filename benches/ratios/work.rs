//! The list of what is measured.

use std::io;
use std::time::Duration;

use nix::sched::CpuSet;

use crate::figures::Sample;
use crate::peer::{Contender, Form, Manner};
use crate::{crowd, one_way, still, trip};

/// In what a work's figure is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Millions of messages a second.
    MillionsPerSecond,
    /// Gigabytes a second.
    GigabytesPerSecond,
    /// Nanoseconds.
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// KiB.
    Kibibytes,
}

impl Unit {
    /// As it is printed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MillionsPerSecond => "M/s",
            Self::GigabytesPerSecond => "GB/s",
            Self::Nanoseconds => "ns",
            Self::Microseconds => "us",
            Self::Kibibytes => "KiB",
        }
    }

    /// How many times better `ours` is than `kernel`.
    pub(crate) fn times_better(self, ours: f64, kernel: f64) -> f64 {
        match self {
            Self::MillionsPerSecond | Self::GigabytesPerSecond => ours / kernel,
            Self::Nanoseconds | Self::Microseconds | Self::Kibibytes => kernel / ours,
        }
    }
}

/// Something to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    /// As many as possible, one way.
    OneWay(Form, usize),
    /// There and back.
    Trip(Manner, usize),
    /// Two writers, one reader.
    TwoWriters,
    /// One writer, two readers.
    TwoReaders,
    /// A reader of an idle pipe.
    Idle,
    /// Making and closing.
    Create,
    /// Taking up an end in another process.
    Attach,
    /// Keeping.
    Memory,
}

/// A task with its name.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) name: String,
    pub(crate) task: Task,
}

/// How a measurement is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    /// How long one measurement of one contender takes.
    pub(crate) sample: Duration,
    /// Which CPU this process keeps to, when there is one other.
    pub(crate) own_cpu: Option<usize>,
    /// Which CPU that other one keeps to.
    pub(crate) peer_cpu: Option<usize>,
    /// Which CPUs there are.
    pub(crate) all_cpus: CpuSet,
}

impl Work {
    /// Everything that is measured.
    pub(crate) fn all() -> Vec<Self> {
        let work = |name: String, task| Self { name, task };
        let packets = [8, 64, 512, 4096].map(|size| work(format!("packets-{size}"), Task::OneWay(Form::Packets, size)));
        let trips = [(Manner::Spinning, "spinning"), (Manner::Adaptive, "adaptive")].map(|(manner, name)| {
            [8, 64, 512, 4096].map(|size| work(format!("trip-{name}-{size}"), Task::Trip(manner, size)))
        });
        let streams = [(64, "64"), (1 << 10, "1k"), (4 << 10, "4k"), (64 << 10, "64k"), (1 << 20, "1m")]
            .map(|(size, name)| work(format!("stream-{name}"), Task::OneWay(Form::Stream, size)));
        let others = [
            ("packets-64-batch", Task::OneWay(Form::Batches, 64)),
            ("trip-sleeping-64", Task::Trip(Manner::Sleeping, 64)),
            ("large-send", Task::OneWay(Form::Large, 64 << 10)),
            ("large-loan", Task::OneWay(Form::Loans, 64 << 10)),
            ("two-writers", Task::TwoWriters),
            ("two-readers", Task::TwoReaders),
            ("idle", Task::Idle),
            ("create", Task::Create),
            ("attach", Task::Attach),
            ("memory", Task::Memory),
        ];
        let others = others.map(|(name, task)| work(name.to_owned(), task));
        packets.into_iter().chain(trips.into_iter().flatten()).chain(streams).chain(others).collect()
    }

    /// In what its figure is.
    pub(crate) fn unit(&self) -> Unit {
        match self.task {
            Task::OneWay(Form::Stream, _) => Unit::GigabytesPerSecond,
            Task::OneWay(..) | Task::TwoWriters | Task::TwoReaders => Unit::MillionsPerSecond,
            Task::Trip(..) => Unit::Nanoseconds,
            Task::Idle | Task::Create | Task::Attach => Unit::Microseconds,
            Task::Memory => Unit::Kibibytes,
        }
    }

    /// Whether the figure means something beside the machine's limit.
    pub(crate) fn is_compared_with_the_limit(&self) -> bool {
        matches!(self.task, Task::Trip(..))
    }

    /// Whether it matters where the two CPUs are.
    pub(crate) fn depends_on_placement(&self) -> bool {
        !matches!(self.task, Task::Idle | Task::Create | Task::Attach | Task::Memory)
    }

    /// How many rounds of it are worth their time when there are `rounds`.
    pub(crate) fn rounds(&self, rounds: usize) -> usize {
        match self.task {
            Task::Idle => rounds.min(3),
            Task::Memory => rounds.min(1),
            _ => rounds,
        }
    }

    /// Measures one contender.
    pub(crate) fn measure(&self, contender: Contender, conditions: Conditions) -> io::Result<Sample> {
        match self.task {
            Task::OneWay(form, size) => one_way::measure(form, contender, size, conditions),
            Task::Trip(manner, size) => trip::measure(manner, contender, size, conditions),
            Task::TwoWriters => crowd::two_writers(contender),
            Task::TwoReaders => crowd::two_readers(contender),
            Task::Idle => still::idle(contender),
            Task::Create => still::create(contender),
            Task::Attach => still::attach(contender),
            Task::Memory => still::memory(contender),
        }
    }
}
