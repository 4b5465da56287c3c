//! Turns: so that none of several writers, or readers, starves.
//!
//! Spinning for a slot is not fair. Who runs on a processor of its own refills the ring as soon as there is room, and who
//! shares one with the other side never finds any. So one that has found none for a while, although others did, takes a
//! *turn*: it writes itself into its side's word, and the others let it go first until its turn is over.
//!
//! ```text
//!   0 ── starving: compare-exchange ──> me ── so many messages, or a sleep, or leaving ──> 0, wake all
//!                                       └──── unused for too long: anybody ───────────────> 0, wake all
//! ```
//!
//! # Why nobody waits for a particular other one
//! The word is a plea and not a lock: who ignores it is merely rude. Who heeds it sleeps no longer than [`LONGEST`], and then
//! strikes the turn out. So a holder that is killed or stopped costs each of the others that much, once.

use std::time::{Duration, Instant};

use crate::sync::{Futex, Ordering, Slept};

/// Nobody heeds a turn for longer.
const LONGEST: Duration = Duration::from_millis(10);
/// Messages in a turn: some milliseconds of them. Shorter turns cost more in sleeping and waking than they give.
const MESSAGES: u32 = 65_536;
/// Who fails for so long, while others did not, is starving.
const PATIENCE: Duration = Duration::from_micros(200);
/// So many rounds of the ring that others have had.
const ROUNDS_OF_OTHERS: u64 = 4;

const NOBODY: u32 = 0;

/// What one participant knows of its own luck.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Luck {
    /// Since when nothing succeeded, and where the ring was then.
    failing: Option<(Instant, u64)>,
    /// What is left of our turn.
    messages_left: u32,
    /// Where the ring was when we waited last without any luck since.
    waited_at: Option<u64>,
    /// Whose turn we heed, and since when, if a signal came between.
    heeding: Option<(u32, Instant)>,
}

/// A side's word, and who looks at it.
#[derive(Clone, Copy)]
pub(crate) struct Turns<'a> {
    word: &'a Futex,
    me: u32,
}

impl<'a> Turns<'a> {
    /// The word as participant `entry` sees it.
    #[inline(always)]
    pub(crate) fn new(word: &'a Futex, entry: u32) -> Self {
        Self { word, me: entry + 1 }
    }

    /// Before each message: lets another one go first whose turn it is, but not beyond `deadline`.
    #[inline(always)]
    pub(crate) fn heed(self, luck: &mut Luck, deadline: Option<Instant>) {
        // Relaxed, here and below: a plea; it orders nothing. [ledger: T1]
        let holder = self.word.load(Ordering::Relaxed);
        if holder != NOBODY {
            self.heed_holder(holder, luck, deadline);
        }
    }

    #[cold]
    fn heed_holder(self, holder: u32, luck: &mut Luck, deadline: Option<Instant>) {
        if holder == self.me {
            return self.spend(luck);
        }
        let now = Instant::now();
        let since = luck.heeding.filter(|&(who, _)| who == holder).map_or(now, |(_, since)| since);
        let limit = LONGEST.saturating_sub(now.duration_since(since));
        if deadline.is_some_and(|deadline| deadline.saturating_duration_since(now) < limit) {
            return;
        }
        // Signals end a sleep early, and may come faster than turns end: so what has been slept already counts.
        luck.heeding = None;
        match self.word.wait(holder, limit) {
            Slept::TimedOut => self.end(holder),
            Slept::Interrupted => luck.heeding = Some((holder, since)),
            Slept::Woken => {}
        }
    }

    /// Before each message of one who heeds nobody: its own turn comes to an end all the same.
    #[inline(always)]
    pub(crate) fn spend_own(self, luck: &mut Luck) {
        if luck.messages_left > 0 && self.word.load(Ordering::Relaxed) == self.me {
            self.spend(luck);
        }
    }

    #[cold]
    fn spend(self, luck: &mut Luck) {
        luck.messages_left = luck.messages_left.saturating_sub(1);
        if luck.messages_left == 0 {
            self.end(self.me);
        }
    }

    /// Others have moved the ring from `before` to `position` while we got nothing. Takes a turn if they have had enough.
    pub(crate) fn fail(self, luck: &mut Luck, before: u64, position: u64, ring_size: u64) {
        let now = Instant::now();
        let (since, from) = *luck.failing.get_or_insert((now, before));
        let is_starving = now.duration_since(since) >= PATIENCE
            && position.wrapping_sub(from) >= ring_size.saturating_mul(ROUNDS_OF_OTHERS);
        if is_starving && self.word.compare_exchange(NOBODY, self.me, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            luck.messages_left = MESSAGES;
            luck.failing = None;
        }
    }

    /// Ends our own turn, if it is ours: we are going to sleep or to leave.
    pub(crate) fn end_own(self) {
        if self.word.load(Ordering::Relaxed) == self.me {
            self.end(self.me);
        }
    }

    fn end(self, holder: u32) {
        if self.word.compare_exchange(holder, NOBODY, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.word.wake(u32::MAX);
        }
    }
}

impl Luck {
    /// Something was had.
    #[inline(always)]
    pub(crate) fn succeed(&mut self) {
        (self.failing, self.waited_at) = (None, None);
    }

    /// Whether something is left of a turn of one's own.
    #[inline]
    pub(crate) fn has_turn(&self) -> bool {
        self.messages_left > 0
    }

    /// About to wait at `position`. Where we waited last without any luck since, if that was elsewhere.
    #[inline(always)]
    pub(crate) fn waits_at(&mut self, position: u64) -> Option<u64> {
        self.waited_at.replace(position).filter(|&before| before != position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Geometry;
    use crate::segment::Segment;

    const RING_SIZE: u64 = 16;

    fn holder(word: &Futex) -> u32 {
        word.load(Ordering::Relaxed)
    }

    fn starve(turns: Turns<'_>, luck: &mut Luck) {
        let mut position = 0;
        while luck.messages_left == 0 {
            turns.fail(luck, position, position, RING_SIZE);
            position += 1;
        }
    }

    fn with_word(test: impl FnOnce(&Futex)) {
        let segment = Segment::anonymous(Geometry::default()).expect("a segment");
        test(&segment.header().writers_turn.0);
    }

    #[test]
    fn who_starves_takes_a_turn_and_gives_it_back_after_so_many_messages() {
        with_word(|word| {
            let (turns, mut luck) = (Turns::new(word, 3), Luck::default());
            starve(turns, &mut luck);
            assert_eq!(holder(word), 4);
            for _ in 1..MESSAGES {
                turns.heed(&mut luck, None);
            }
            assert_eq!(holder(word), 4);
            turns.heed(&mut luck, None);
            assert_eq!(holder(word), NOBODY);
        });
    }

    #[test]
    fn who_heeds_nobody_gives_its_own_turn_back_too() {
        with_word(|word| {
            let (turns, mut luck) = (Turns::new(word, 3), Luck::default());
            starve(turns, &mut luck);
            for _ in 1..MESSAGES {
                turns.spend_own(&mut luck);
            }
            assert_eq!(holder(word), 4);
            turns.spend_own(&mut luck);
            assert_eq!(holder(word), NOBODY);
        });
    }

    #[test]
    fn who_waits_because_nothing_moves_is_not_starving() {
        with_word(|word| {
            let (turns, mut luck) = (Turns::new(word, 0), Luck::default());
            let start = Instant::now();
            while start.elapsed() < 2 * PATIENCE {
                turns.fail(&mut luck, 7, 7, RING_SIZE);
            }
            assert_eq!(holder(word), NOBODY);
        });
    }

    #[test]
    fn a_turn_that_is_not_used_is_struck_out_and_nobody_waits_for_it_twice() {
        with_word(|word| {
            let (stopped, mut its_luck) = (Turns::new(word, 1), Luck::default());
            starve(stopped, &mut its_luck);
            let (other, mut luck) = (Turns::new(word, 2), Luck::default());
            other.heed(&mut luck, None);
            assert_eq!(holder(word), NOBODY);
            other.heed(&mut luck, None);
        });
    }

    #[test]
    fn a_second_starving_one_does_not_take_a_turn_from_the_first() {
        with_word(|word| {
            let (first, mut luck) = (Turns::new(word, 1), Luck::default());
            starve(first, &mut luck);
            let (second, mut luck) = (Turns::new(word, 2), Luck::default());
            let start = Instant::now();
            let mut position = 0;
            while start.elapsed() < 2 * PATIENCE || position < 100 * RING_SIZE {
                second.fail(&mut luck, position, position, RING_SIZE);
                position += 1;
            }
            assert_eq!(holder(word), 2);
            first.end_own();
            assert_eq!(holder(word), NOBODY);
            second.end_own();
        });
    }

    #[test]
    fn a_deadline_that_is_near_is_not_spent_on_somebody_elses_turn() {
        with_word(|word| {
            let (first, mut luck) = (Turns::new(word, 1), Luck::default());
            starve(first, &mut luck);
            let (second, mut luck) = (Turns::new(word, 2), Luck::default());
            second.heed(&mut luck, Some(Instant::now()));
            assert_eq!(holder(word), 2, "it did not wait until it could strike the turn out");
        });
    }

    #[test]
    fn what_has_been_slept_before_a_signal_counts() {
        with_word(|word| {
            let (stopped, mut its_luck) = (Turns::new(word, 1), Luck::default());
            starve(stopped, &mut its_luck);
            // As if signals had come between all the time. Of a turn that nothing has been slept of yet, so near a deadline would
            // leave the word as it is.
            let slept = |holder| Some((holder, Instant::now().checked_sub(LONGEST).expect("a time since the start")));
            let soon = || Some(Instant::now() + LONGEST / 2);
            let (other, mut luck) = (Turns::new(word, 2), Luck { heeding: slept(2), ..Luck::default() });
            other.heed(&mut luck, soon());
            assert_eq!(holder(word), NOBODY);
            // What was slept of one's turn does not count for another one's.
            let (third, mut its_luck) = (Turns::new(word, 3), Luck::default());
            starve(third, &mut its_luck);
            luck.heeding = slept(2);
            other.heed(&mut luck, soon());
            assert_eq!(holder(word), 4);
        });
    }
}
