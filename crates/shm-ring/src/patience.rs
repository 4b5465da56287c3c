//! How long a participant spins before it sleeps.
//!
//! Spinning answers in a fraction of a microsecond and burns a CPU; sleeping costs nothing and answers in tens of
//! microseconds. An adaptive participant spins a little, and spins longer as long as that pays.
//!
//! Whether it pays depends on who else is on the CPU, and a yield tells: one that takes no time was alone; one that takes
//! some microseconds and finds what it waited for shares the CPU with the other side; one that takes a time slice stood in
//! line behind others.

use std::sync::atomic::{AtomicU8, Ordering};
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
/// Nobody yields for longer without having got what it waits for.
const LONGEST: Duration = Duration::from_micros(200);
/// Who was away for so long in one yield has given a time slice to somebody who has nothing to do with the pipe, or the host
/// has taken one.
const TIME_SLICE: Duration = Duration::from_micros(500);
/// If one slice was lost so many times its length, or less, after the one before, the CPU is crowded, and to spin there is to
/// wait in line: who sleeps instead is put at the head of it when it is woken.
const CROWDED: u32 = 4;
/// So many waits sleep at once then, to begin with, and at most: twice as many each time that it happens again.
const FIRST_RESTS: u32 = 8;
const MOST_RESTS: u32 = 4096;
/// Who was away for so long in a yield, and found then what it waited for, may share its CPU with the other side.
const SWITCH: Duration = Duration::from_micros(2);
/// So many waits in a row have to end so, and so many more begin with a yield then.
const SWITCHES: u32 = 4;
const SHARED_WAITS: u32 = 32;
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
    /// So many of the next waits sleep at once.
    resting: u32,
    /// How many it will be when the CPU is found to be crowded the next time.
    rests: u32,
    /// When the last time slice that was lost was over, or the rest that came of it.
    sliced: Option<Instant>,
    /// So many of the last waits in a row have ended with a switch to somebody else.
    switches: u32,
    /// So many of the next waits begin with a yield.
    sharing: u32,
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
fn has_one_cpu() -> bool {
    /// Nobody waits for one who is just asking: in a forked child that one may not be there.
    static ANSWER: AtomicU8 = AtomicU8::new(NOT_ASKED);
    const NOT_ASKED: u8 = 2;
    // Relaxed, both: the answer is all that there is to it, and always the same.
    let answer = ANSWER.load(Ordering::Relaxed);
    if answer != NOT_ASKED {
        return answer == 1;
    }
    let has_one = sysconf(SysconfVar::_NPROCESSORS_ONLN).is_ok_and(|cpus| cpus == Some(1));
    ANSWER.store(has_one.into(), Ordering::Relaxed);
    has_one
}

impl Patience {
    /// Patience of a participant that waits in this way.
    #[must_use]
    pub fn new(waiting: Waiting) -> Self {
        Self {
            waiting,
            spins: MAX_SPINS,
            is_alone: has_one_cpu(),
            resting: 0,
            rests: FIRST_RESTS,
            sliced: None,
            switches: 0,
            sharing: 0,
            waited_at: 0,
            distance: Distance::default(),
        }
    }

    /// The last sleep ended for no reason: nothing goes on, and spinning before the next one would be for nothing too.
    pub fn rest(&mut self) {
        self.resting = self.resting.max(1);
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
        let is_in_vain = self.is_alone || self.sharing > 0 || (self.resting > 0 && self.may_sleep());
        if is_in_vain || self.waiting == Waiting::Sleeping { 0 } else { BRIEF_LOOKS }
    }

    /// Looks again and again, until `is_ready` or the patience is at its end. Returns whether it was ready.
    pub fn spin(&mut self, is_ready: impl FnMut() -> bool) -> bool {
        self.spin_with(is_ready, || {
            let before = Instant::now();
            thread::yield_now();
            before.elapsed()
        })
    }

    /// The same; `yield_now` gives the CPU away and returns for how long.
    fn spin_with(&mut self, mut is_ready: impl FnMut() -> bool, mut yield_now: impl FnMut() -> Duration) -> bool {
        let limit = match self.waiting {
            Waiting::Spinning => MAX_SPINS,
            Waiting::Adaptive if self.resting > 0 => {
                self.resting -= 1;
                if self.resting == 0 && self.rests > FIRST_RESTS {
                    // The time that was slept through says nothing about the crowd.
                    self.sliced = Some(Instant::now());
                }
                return is_ready();
            }
            Waiting::Adaptive if !self.is_alone => self.spins,
            Waiting::Adaptive | Waiting::Sleeping => return is_ready(),
        };
        let is_over = self.look_until(limit, &mut is_ready, &mut yield_now);
        self.spins = if is_over { (self.spins * 2).min(MAX_SPINS) } else { (self.spins / 2).max(MIN_SPINS) };
        is_over
    }

    fn look_until(
        &mut self,
        limit: u32,
        is_ready: &mut impl FnMut() -> bool,
        yield_now: &mut impl FnMut() -> Duration,
    ) -> bool {
        let is_shared = self.is_alone || self.sharing > 0;
        self.sharing = self.sharing.saturating_sub(1);
        let mut yielded = Duration::ZERO;
        for look in 0..limit {
            // Two looks to a pause, which takes far longer than a look.
            if look > 0 && is_ready() {
                self.was_in_time();
                return true;
            }
            let yields = is_shared || (look >= PURE_SPINS && look.is_multiple_of(LOOKS_PER_YIELD));
            if !yields {
                core::hint::spin_loop();
            } else if yielded >= LONGEST {
                return false;
            } else {
                let away = yield_now();
                yielded += away;
                if away >= TIME_SLICE {
                    self.lose_a_slice(away, Instant::now());
                }
                if is_ready() {
                    if !is_shared && (SWITCH..TIME_SLICE).contains(&away) {
                        self.switches += 1;
                        if self.switches >= SWITCHES {
                            (self.switches, self.sharing) = (SWITCHES - 1, SHARED_WAITS);
                        }
                    }
                    return true;
                }
                continue;
            }
            if is_ready() {
                self.was_in_time();
                return true;
            }
        }
        false
    }

    #[cold]
    fn lose_a_slice(&mut self, away: Duration, now: Instant) {
        let before = self.sliced.replace(now);
        if before.is_some_and(|before| now.duration_since(before) <= away.saturating_mul(CROWDED)) {
            self.resting = self.rests;
            self.rests = (self.rests * 2).min(MOST_RESTS);
        } else {
            self.rests = FIRST_RESTS;
        }
    }

    /// Does not sleep at once in the next wait, whatever it has learned.
    pub fn stay_awake(&mut self) {
        self.resting = 0;
    }

    /// A look has found what was waited for, so that it came from another CPU.
    #[inline]
    pub fn was_in_time(&mut self) {
        self.switches = 0;
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

    /// How often it looks that is ready at the so-manieth look, on a CPU that nobody else wants.
    fn looks(patience: &mut Patience, ready_at: u32) -> u32 {
        let mut looks = 0;
        let is_ready = || {
            looks += 1;
            looks == ready_at
        };
        patience.spin_with(is_ready, || Duration::from_nanos(100));
        looks
    }

    fn patience(waiting: Waiting, is_alone: bool) -> Patience {
        Patience { is_alone, ..Patience::new(waiting) }
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

    /// A wait in which every yield takes `away`, ready at the first look after the yield number `ready_after`. How many yields
    /// there were, and whether it ended well.
    fn yields(patience: &mut Patience, away: Duration, ready_after: u32) -> (u32, bool) {
        let yields = core::cell::Cell::new(0);
        let is_over = patience.spin_with(
            || yields.get() >= ready_after,
            || {
                yields.set(yields.get() + 1);
                away
            },
        );
        (yields.get(), is_over)
    }

    #[test]
    fn who_loses_a_time_slice_by_a_yield_sleeps_the_next_times_and_longer_each_time() {
        let mut patience = patience(Waiting::Adaptive, false);
        // Once may be chance.
        assert_eq!(yields(&mut patience, Duration::from_millis(3), 1), (1, true));
        assert!(patience.brief_looks() > 0);
        for rests in [FIRST_RESTS, 2 * FIRST_RESTS, 4 * FIRST_RESTS] {
            // Also if it was ready when the slice was over.
            assert_eq!(yields(&mut patience, Duration::from_millis(3), 1), (1, true));
            for rest in 0..rests {
                assert_eq!(patience.brief_looks(), 0);
                assert_eq!(looks(&mut patience, u32::MAX), 1, "at {rest} of {rests}");
            }
            assert!(patience.brief_looks() > 0);
        }
        // A slice now and then is the host's doing.
        let start = Instant::now();
        for slice in 1..100 {
            patience.lose_a_slice(Duration::from_millis(3), start + slice * Duration::from_millis(100));
            assert!(patience.brief_looks() > 0);
        }
        patience.lose_a_slice(Duration::from_millis(3), start + Duration::from_millis(9910));
        assert_eq!((patience.brief_looks(), patience.resting), (0, FIRST_RESTS));
        let mut spinning = self::patience(Waiting::Spinning, false);
        for _ in 0..4 {
            assert_eq!(yields(&mut spinning, Duration::from_millis(3), 1), (1, true));
        }
        assert!(spinning.brief_looks() > 0 && looks(&mut spinning, 5) == 5, "it never sleeps");
    }

    #[test]
    fn who_shares_a_cpu_with_the_other_side_yields_at_once_for_a_while() {
        let mut patience = patience(Waiting::Adaptive, false);
        let short = Duration::from_micros(20);
        for _ in 0..SWITCHES {
            assert!(patience.brief_looks() > 0);
            assert_eq!(yields(&mut patience, short, 1), (1, true));
        }
        assert_eq!(patience.brief_looks(), 0);
        let mut looks = 0;
        let was_ready = patience.spin_with(
            || {
                looks += 1;
                looks == 1
            },
            || short,
        );
        assert!(was_ready && looks == 1, "the first look comes after a yield");
        for _ in 1..SHARED_WAITS {
            yields(&mut patience, short, 1);
        }
        // It tries how it is without, and one such wait says that nothing has changed.
        assert!(patience.brief_looks() > 0);
        yields(&mut patience, short, 1);
        assert_eq!(patience.brief_looks(), 0);
    }

    #[test]
    fn who_is_sometimes_served_from_another_cpu_does_not_yield_at_once() {
        let mut patience = patience(Waiting::Adaptive, false);
        for _ in 0..20 {
            for _ in 1..SWITCHES {
                yields(&mut patience, Duration::from_micros(20), 1);
            }
            assert_eq!(looks(&mut patience, 5), 5);
            assert!(patience.brief_looks() > 0);
        }
    }

    #[test]
    fn yields_come_to_an_end_however_long_each_takes() {
        for (away, most) in [(Duration::from_micros(50), 5), (Duration::from_millis(4), 1)] {
            let mut patience = patience(Waiting::Adaptive, false);
            let (count, is_over) = yields(&mut patience, away, u32::MAX);
            assert!(!is_over && (1..=most).contains(&count), "{count} yields of {away:?}");
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
