//! How long a participant spins before it sleeps.
//!
//! Spinning answers in a fraction of a microsecond and burns a CPU; sleeping costs nothing and answers in tens of
//! microseconds. An adaptive participant spins a little, and spins longer as long as that pays.

use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{SysconfVar, sysconf};

/// How a participant waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waiting {
    /// Spin for a short while, then sleep. How short is learned from how the last waits ended.
    #[default]
    Adaptive,
    /// Spin and yield, never sleep.
    Spinning,
    /// Sleep at once.
    Sleeping,
}

/// So many looks, a few nanoseconds apart, before anything else: a peer that is about to act is done by then.
const BRIEF_LOOKS: u32 = 200;
/// So many looks without giving the CPU away.
const PURE_SPINS: u32 = 100;
/// From then on, so many looks to a yield.
const LOOKS_PER_YIELD: u32 = 8;
/// Bounds of what an adaptive participant learns. The lower one is some 50 us, longer than it takes a sleeping peer to wake
/// and answer: else two who have both learned to sleep at once would never find out that the other one is quick.
const MIN_SPINS: u32 = 768;
const MAX_SPINS: u32 = 1536;
/// However busy the CPUs are: a yield may take a time slice of everybody else's.
const LONGEST: Duration = Duration::from_micros(200);
/// Messages flow where so many were had since the last wait. There and back never has a flow.
const FLOW: u64 = 8;
/// Pauses of one that has caught up with the other side while messages flow: to begin with, and at most (1.2 us on an AMD
/// EPYC).
const FIRST_DISTANCE: u32 = 8;
const MOST_DISTANCE: u32 = 48;

/// What one participant has learned.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    waiting: Waiting,
    spins: u32,
    is_alone: bool,
    is_resting: bool,
    waited_at: u64,
    distance: Distance,
}

/// How far one that has caught up lets the other side get ahead, in pauses.
///
/// Two who are close to each other go on slot by slot and take each slot's line out of each other's hands; two who wait for
/// a whole ring take turns and never work at the same time. Half a ring is best, and how long that takes depends on the
/// machine, on where its CPUs are, and on the messages. So it is learned from what there is behind a pause.
#[derive(Clone, Copy, Debug)]
pub struct Distance(u32);

impl Default for Distance {
    fn default() -> Self {
        Self(FIRST_DISTANCE)
    }
}

impl Distance {
    /// Lets the other side get ahead.
    pub fn keep(self) {
        (0..self.0).for_each(|_| core::hint::spin_loop());
    }

    /// After a pause: whether the other side was half a ring ahead by then.
    pub fn learn(&mut self, is_half_a_ring: bool) {
        self.0 = if is_half_a_ring { self.0.saturating_sub(1) } else { (self.0 + 1).min(MOST_DISTANCE) };
    }
}

/// With one CPU the peer cannot do anything while we spin. The machine's, not this thread's: a participant that is bound to
/// one CPU has its peers on others.
static HAS_ONE_CPU: LazyLock<bool> =
    LazyLock::new(|| sysconf(SysconfVar::_NPROCESSORS_ONLN).is_ok_and(|cpus| cpus == Some(1)));

impl Patience {
    /// Patience of a participant that waits in this way.
    #[must_use]
    pub fn new(waiting: Waiting) -> Self {
        Self {
            waiting,
            spins: MAX_SPINS,
            is_alone: *HAS_ONE_CPU,
            is_resting: false,
            waited_at: 0,
            distance: Distance::default(),
        }
    }

    /// The last sleep ended for no reason: nothing goes on, and spinning before the next one would be for nothing too.
    pub fn rest(&mut self) {
        self.is_resting = true;
    }

    /// Before a wait at `position` of the ring: the distance to keep, if messages have flowed since the last wait.
    #[inline]
    pub fn distance_after_flow(&mut self, position: u64) -> Option<&mut Distance> {
        let had = position.wrapping_sub(core::mem::replace(&mut self.waited_at, position));
        let is_flow = had >= FLOW && !self.is_alone && self.waiting != Waiting::Sleeping;
        is_flow.then_some(&mut self.distance)
    }

    /// How often to look at the start of a wait, with [`breathe`] between.
    #[inline]
    #[must_use]
    pub fn brief_looks(&self) -> u32 {
        if self.is_alone || self.is_resting || self.waiting == Waiting::Sleeping { 0 } else { BRIEF_LOOKS }
    }

    /// Looks again and again, until `is_ready` or the patience is at its end. Returns whether it was ready.
    pub fn spin(&mut self, mut is_ready: impl FnMut() -> bool) -> bool {
        let limit = match self.waiting {
            Waiting::Spinning => MAX_SPINS,
            Waiting::Adaptive if !self.is_alone && !core::mem::take(&mut self.is_resting) => self.spins,
            Waiting::Adaptive | Waiting::Sleeping => return is_ready(),
        };
        let is_over = self.look_until(limit, &mut is_ready);
        self.spins = if is_over { (self.spins * 2).min(MAX_SPINS) } else { (self.spins / 2).max(MIN_SPINS) };
        is_over
    }

    #[inline]
    fn look_until(&self, limit: u32, is_ready: &mut impl FnMut() -> bool) -> bool {
        let mut yielding_since = None;
        for look in 0..limit {
            // Two looks to a pause, which takes far longer than a look.
            if look > 0 && is_ready() {
                return true;
            }
            if self.is_alone || (look >= PURE_SPINS && look.is_multiple_of(LOOKS_PER_YIELD)) {
                if yielding_since.get_or_insert_with(Instant::now).elapsed() >= LONGEST {
                    return false;
                }
                thread::yield_now();
            } else {
                core::hint::spin_loop();
            }
            if is_ready() {
                return true;
            }
        }
        false
    }

    /// Whether to sleep once the patience is at its end.
    #[must_use]
    pub fn may_sleep(&self) -> bool {
        self.waiting != Waiting::Spinning
    }
}

/// Some cycles between two looks. With none, the processor has many looks under way at once and begins them all anew when the
/// slot changes; `spin_loop` takes 25 ns on an AMD EPYC, a quarter of the way there.
#[inline(always)]
pub fn breathe() {
    for n in 0..4_u32 {
        core::hint::black_box(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(patience: &mut Patience, ready_at: u32) -> u32 {
        let mut looks = 0;
        patience.spin(|| {
            looks += 1;
            looks == ready_at
        });
        looks
    }

    fn patience(waiting: Waiting, is_alone: bool) -> Patience {
        Patience { waiting, spins: MAX_SPINS, is_alone, is_resting: false, waited_at: 0, distance: Distance::default() }
    }

    #[test]
    fn vain_spinning_gets_shorter_and_success_makes_it_longer() {
        let mut patience = patience(Waiting::Adaptive, false);
        looks(&mut patience, u32::MAX);
        assert!(patience.spins < MAX_SPINS);
        for _ in 0..20 {
            looks(&mut patience, u32::MAX);
        }
        assert_eq!(patience.spins, MIN_SPINS);
        assert_eq!(looks(&mut patience, 1), 1);
        assert!(patience.spins > MIN_SPINS);
    }

    #[test]
    fn a_flow_is_many_messages_since_the_last_wait_and_there_and_back_is_none() {
        let mut patience = patience(Waiting::Adaptive, false);
        for position in 1..100 {
            assert!(patience.distance_after_flow(position).is_none(), "at {position}");
        }
        assert!(patience.distance_after_flow(99 + FLOW).is_some());
        assert!(patience.distance_after_flow(99 + FLOW).is_none());
        let mut alone = self::patience(Waiting::Adaptive, true);
        assert!(alone.distance_after_flow(FLOW).is_none());
    }

    #[test]
    fn the_distance_settles_where_half_a_ring_is_reached() {
        for reached_after in [0, 5, 20, 1000] {
            let mut distance = Distance::default();
            for _ in 0..200 {
                let pauses = distance.0;
                distance.learn(pauses > reached_after);
            }
            let expected = reached_after.min(MOST_DISTANCE);
            assert!(distance.0.abs_diff(expected) <= 1, "{} pauses, not {expected}", distance.0);
        }
    }

    #[test]
    fn who_sleeps_rests_or_is_alone_on_the_machine_looks_once() {
        assert_eq!(looks(&mut patience(Waiting::Sleeping, false), u32::MAX), 1);
        assert_eq!(looks(&mut patience(Waiting::Adaptive, true), u32::MAX), 1);
        let mut resting = patience(Waiting::Adaptive, false);
        resting.rest();
        assert_eq!(looks(&mut resting, u32::MAX), 1);
        assert!(looks(&mut resting, u32::MAX) > 1, "it rests once");
    }
}
