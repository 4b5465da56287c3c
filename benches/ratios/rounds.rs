//! One round of one work: limit, ours, the kernel's, limit again, within the same second or so.
//!
//! Everything depends on where the host has the two CPUs at the moment, so that only figures of one round are compared with
//! each other, and a round in which the limit has moved says nothing.

use std::io;
use std::time::Duration;

use crate::figures::Sample;
use crate::line::Probe;
use crate::peer::{Contender, pin, spread};
use crate::work::{Conditions, Work};

/// A limit below this means two threads of one core.
pub(crate) const NEAR_BELOW_NS: f64 = 200.0;
/// A round whose limit moved by more than this part says nothing.
pub(crate) const MOST_MOVED: f64 = 0.25;
const PROBE: Duration = Duration::from_millis(4);

/// Where the two CPUs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Threads of one core.
    Near,
    /// Cores of their own.
    Far,
}

impl Placement {
    /// As it is printed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Near => "NEAR",
            Self::Far => "FAR",
        }
    }
}

/// What a round gave.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    /// The limit before, in nanoseconds.
    pub(crate) before: f64,
    /// Our pipe.
    pub(crate) ours: Sample,
    /// The kernel's pipe.
    pub(crate) kernel: Sample,
    /// The limit after.
    pub(crate) after: f64,
    /// Whether the figures depend on where the CPUs are.
    pub(crate) depends_on_placement: bool,
}

impl Round {
    /// Measures one.
    pub(crate) fn measure(work: &Work, probe: &mut Probe, conditions: Conditions) -> io::Result<Self> {
        pin(conditions.own_cpu)?;
        let before = probe.measure(PROBE)?;
        // Who opens a pipe while it may run on one CPU only believes that the machine has no other, and never spins; so a
        // work's processes open their pipes first and keep to their CPUs then.
        spread(&conditions.all_cpus)?;
        let ours = work.measure(Contender::Ours, conditions)?;
        let kernel = work.measure(Contender::Kernel, conditions)?;
        pin(conditions.own_cpu)?;
        let after = probe.measure(PROBE)?;
        Ok(Self { before, ours, kernel, after, depends_on_placement: work.depends_on_placement() })
    }

    /// The limit during the round.
    pub(crate) fn limit(&self) -> f64 {
        f64::midpoint(self.before, self.after)
    }

    /// Whether the limit stayed where it was, or does not matter.
    pub(crate) fn is_steady(&self) -> bool {
        !self.depends_on_placement || (self.after - self.before).abs() <= MOST_MOVED * self.before
    }

    /// Where the CPUs were.
    pub(crate) fn placement(&self) -> Placement {
        if self.limit() < NEAR_BELOW_NS { Placement::Near } else { Placement::Far }
    }
}
