//! Waiting for news, and giving them.
//!
//! ```text
//!   others of this side starve? ──> keep a ──> look    ──> spin ──> say so, look again, sleep ──> look again
//!   take a turn (turns)             distance   briefly              waiting, at most 50 ms
//!                                   (patience) (patience)  (patience)
//! ```
//!
//! One that waits is the last to act and the first to be disturbed; nothing here is on the path of a message that finds what
//! it needs.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::life::{Side, Witness};
use crate::participant::Participant;
use crate::patience::{Patience, Waiting, breathe};
use crate::segment::Segment;
use crate::sync::{Futex, Slept};
use crate::turns::Turns;
use crate::waiting::WaitWord;

/// No sleep on a wait word is longer than this: a backstop for wakes that somebody died or was stopped before giving. (Sleeps at a
/// bell, see `long_sleep`, are without.)
const BACKSTOP: Duration = Duration::from_millis(50);
static BACKSTOP_IN_TESTS: OnceLock<Duration> = OnceLock::new();

/// How long one sleeps while a process of the other side is dying, and has not let go of everything: a small one takes no longer to.
const IN_DOUBT: Duration = Duration::from_micros(250);

/// For tests: from now on the sleeps of this process are ended by wakes and deadlines alone. Where nobody dies or is stopped that is
/// enough, and a wake that is missing is seen as a hang and not as a delay.
#[doc(hidden)]
pub fn rely_on_wakes() {
    BACKSTOP_IN_TESTS.get_or_init(|| Duration::from_secs(3600));
}

/// What a sleeper waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A reader: something is published.
    Data,
    /// A writer: a slot is empty.
    Room,
    /// A writer of a packet above a slot: an extent is free.
    Extent,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Something may have changed: look again.
    LookAgain,
    /// The same, after a sleep: a wake may have been used up that others could have used too.
    Slept,
    /// The deadline has passed.
    TimedOut,
    /// A signal handler ran that does not let calls go on. As after a sleep, a wake may have been used up.
    Interrupted,
}

impl Participant {
    /// Before an operation that may wait: lets another one of this side go first that is starving. For 10 ms at most, and not
    /// at all if `deadline` is nearer or this one never sleeps.
    #[inline(always)]
    pub fn heed_turns(&mut self, deadline: Option<Instant>) {
        let turns = turns_of(&self.segment, self.side, self.entry);
        if self.patience.may_sleep() {
            turns.heed(&mut self.luck, deadline);
        } else {
            // Who never sleeps is rude.
            turns.spend_own(&mut self.luck);
        }
    }

    /// After an operation that had to wait.
    pub fn had_luck(&mut self) {
        self.luck.succeed();
        self.at_bells.stir();
        self.tell_of_death();
    }

    /// Changes how this participant waits.
    pub fn set_waiting(&mut self, waiting: Waiting) {
        self.patience = Patience::new(waiting);
    }

    /// Begins to wait: some hundred nanoseconds of looks, since the other side may be about to act. Whether it has; if not, the
    /// rest of the wait is [`Participant::wait`].
    #[inline(always)]
    pub(crate) fn look_briefly(&mut self, is_ready: impl Fn(&mut Self) -> bool) -> bool {
        for _ in 0..self.begin_to_wait() {
            breathe();
            if is_ready(self) {
                self.patience.was_in_time();
                return true;
            }
        }
        false
    }

    /// What comes first in a wait. How often to look at once then.
    #[inline]
    fn begin_to_wait(&mut self) -> u32 {
        // Again, without any luck between: if the ring has moved, others were faster.
        if let Some(before) = self.luck.waits_at(self.cursor.0) {
            let ring_size = self.ring().fields.ring_size();
            turns_of(&self.segment, self.side, self.entry).fail(&mut self.luck, before, self.cursor.0, ring_size);
        }
        if let Some(distance) = self.patience.distance_after_flow(self.cursor.0) {
            distance.keep();
            let ring = self.segment.ring(self.in_ring);
            distance.learn(match self.side {
                Side::Writer => ring.is_less_than_half_full(self.cursor),
                Side::Reader => ring.is_half_full(self.cursor),
            });
        }
        self.patience.brief_looks()
    }

    /// Waits as patience has it, until ready, woken, the backstop or the deadline.
    pub(crate) fn wait(
        &mut self,
        news: News,
        deadline: Option<Instant>,
        is_ready: impl Fn(&mut Self) -> bool,
    ) -> Waited {
        let mut patience = self.patience;
        if self.luck.has_turn() {
            // It would end by a sleep.
            patience.stay_awake();
        }
        let was_ready = patience.spin(|| is_ready(self));
        self.patience = patience;
        if was_ready {
            return Waited::LookAgain;
        }
        if patience.may_sleep() {
            turns_of(&self.segment, self.side, self.entry).end_own();
            return self.sleep_unless(news, deadline, is_ready);
        }
        self.ask_for_peers_now_and_then();
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) { Waited::TimedOut } else { Waited::LookAgain }
    }

    /// Sleeps until woken, the backstop or the deadline; `is_ready` is looked at once more
    /// between saying so and sleeping. Where nothing goes on, without the backstop.
    fn sleep_unless(&mut self, news: News, deadline: Option<Instant>, is_ready: impl Fn(&mut Self) -> bool) -> Waited {
        if let Some(waited) = self.sleep_at_bell(news, deadline, &is_ready) {
            return waited;
        }
        let segment = Arc::clone(&self.segment);
        let word = self.wait_word(&segment, news);
        let armed = word.arm();
        if is_ready(self) || !self.ask_for_peers() {
            return Waited::LookAgain;
        }
        let Some(limit) = sleep_limit(deadline) else { return Waited::TimedOut };
        let limit = self.at_bells.doubtful_sleep().map_or(limit, |doubtful| limit.min(doubtful));
        let limit = if self.is_in_doubt() { limit.min(IN_DOUBT) } else { limit };
        let Witness { entry, owner } = self.peers.witness;
        let slept = if self.has_witness() {
            Futex::wait_both((word.0, armed.expected()), (&segment.entry(entry).owner, owner.0), limit)
        } else {
            word.0.wait(armed.expected(), limit)
        };
        match slept {
            Slept::TimedOut => {
                self.ask_for_peers();
                self.patience.rest();
                self.at_bells.slept_for_nothing();
            }
            Slept::Woken => self.at_bells.stir(),
            Slept::Interrupted => return Waited::Interrupted,
        }
        Waited::Slept
    }

    /// Says that this participant is about to sleep until there is something to read, or room; for one who waits at several pipes. It looks
    /// once more, and then sleeps on [`Segment::wait_word_of`] its side as long as that has this value, with a bound.
    #[must_use]
    pub fn arm(&self) -> u32 {
        WaitWord(self.segment.wait_word_of(self.side)).arm().expected()
    }

    /// As [`Participant::wake_one`], for one whose last access was not an exchange: passes a wake on.
    #[cold]
    pub(crate) fn pass_on(&self, news: News) {
        self.wait_word(&self.segment, news).wake_one_after_anything();
    }

    /// Tells one sleeper that there may be what it waits for. What made it so was the caller's last exchange.
    #[inline(always)]
    pub(crate) fn wake_one(&mut self, news: News) {
        if self.wait_word(&self.segment, news).wake_one_after_exchange() {
            // A sleeper that was killed cannot take back what it said.
            self.ask_for_peers();
        }
    }

    /// As [`Participant::wake_one`], whatever the caller did since its exchange.
    #[inline]
    pub(crate) fn wake_one_late(&mut self, news: News) {
        if self.wait_word(&self.segment, news).wake_one_after_anything() {
            self.ask_for_peers();
        }
    }

    #[inline(always)]
    fn wait_word<'a>(&self, segment: &'a Segment, news: News) -> WaitWord<'a> {
        let header = segment.header();
        match news {
            News::Data => WaitWord(&header.readable.0.word),
            News::Room => WaitWord(&header.writable.0.word),
            News::Extent => WaitWord(&header.extents_free.0),
        }
    }

    /// Wakes all who wait for `news`.
    pub(crate) fn wake_all(&self, news: News) {
        self.wait_word(&self.segment, news).wake_all();
    }

    /// Wakes all of this side: one of the other side has died.
    #[cold]
    pub(crate) fn wake_all_of_this_side(&self) {
        match self.side {
            Side::Reader => self.wait_word(&self.segment, News::Data).wake_all(),
            Side::Writer => {
                self.wait_word(&self.segment, News::Room).wake_all();
                self.wait_word(&self.segment, News::Extent).wake_all();
            }
        }
    }

    /// Wakes all of the other side: one of this side has come or gone.
    pub(crate) fn wake_all_peers(&self) {
        match self.side {
            Side::Writer => self.wait_word(&self.segment, News::Data).wake_all(),
            Side::Reader => {
                self.wait_word(&self.segment, News::Room).wake_all();
                self.wait_word(&self.segment, News::Extent).wake_all();
            }
        }
    }
}

#[inline(always)]
pub(crate) fn turns_of(segment: &Segment, side: Side, entry: u32) -> Turns<'_> {
    let header = segment.header();
    let word = match side {
        Side::Writer => &header.writers_turn.0,
        Side::Reader => &header.readers_turn.0,
    };
    Turns::new(word, entry)
}

/// Sleeps until one of the words has another value or is woken, the backstop or the deadline: who has armed some of them. Mirrors
/// `futex_waitv`.
pub fn sleep_at_any(words: &[(&Futex, u32)], deadline: Option<Instant>) -> Waited {
    let Some(limit) = sleep_limit(deadline) else { return Waited::TimedOut };
    match Futex::wait_any(words, limit) {
        Slept::Interrupted => Waited::Interrupted,
        Slept::Woken | Slept::TimedOut => Waited::Slept,
    }
}

/// How long to sleep now, `None` if the deadline has passed.
pub(crate) fn sleep_limit(deadline: Option<Instant>) -> Option<Duration> {
    let backstop = *BACKSTOP_IN_TESTS.get().unwrap_or(&BACKSTOP);
    let Some(deadline) = deadline else { return Some(backstop) };
    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
    Some(left.min(backstop))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::ReaderEnd;
    use crate::layout::Geometry;
    use crate::sync::Ordering;
    use crate::waiting::WAITING;
    use crate::writer_end::{Kind, WriterEnd};

    #[test]
    fn no_sleep_on_a_word_is_longer_than_50_ms() {
        let longest = Duration::from_millis(50);
        assert_eq!(sleep_limit(None), Some(longest));
        assert_eq!(sleep_limit(Instant::now().checked_add(Duration::from_secs(60))), Some(longest));
        assert_eq!(sleep_limit(Some(Instant::now())), None);
    }

    #[test]
    fn who_has_said_that_it_will_sleep_looks_once_more() {
        let segment = Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        let _writer = WriterEnd::join(Arc::clone(&segment)).expect("an entry");
        let mut reader = ReaderEnd::join(Arc::clone(&segment)).expect("an entry");
        let word = || segment.header().readable.0.word.load(Ordering::Relaxed);
        let looks = Cell::new(0);
        let waited = reader.participant().sleep_unless(News::Data, None, |_| {
            assert_eq!(word() & WAITING, WAITING, "whoever publishes now has to know");
            looks.set(looks.get() + 1);
            true
        });
        assert_eq!((waited, looks.get()), (Waited::LookAgain, 1));
        let waited = reader.participant().sleep_unless(News::Data, None, |_| false);
        assert_eq!(waited, Waited::Slept);
    }

    #[test]
    fn a_writer_that_finds_no_room_while_others_do_takes_a_turn_and_the_others_heed_it() {
        let segment = Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        let join = || WriterEnd::join(Arc::clone(&segment)).expect("an entry");
        let (mut lucky, mut starving) = (join(), join());
        let mut reader = ReaderEnd::join(Arc::clone(&segment)).expect("an entry");
        let turn = || segment.header().writers_turn.0.load(Ordering::Relaxed);
        let mut rounds = 0;
        while turn() == 0 {
            lucky.fill(0, b"x");
            lucky.publish(Kind::Packet, 1).expect("room");
            assert_eq!(reader.recv_packet(&mut [0]), Some(1));
            // It looks after the others, and never when there is room.
            assert!(!starving.is_full());
            starving.look_briefly();
            rounds += 1;
            assert!(rounds < 10_000_000, "it never takes a turn");
        }
        assert_eq!(turn(), starving.participant().entry() + 1);
        lucky.participant().heed_turns(None);
        assert_eq!(turn(), 0, "a turn that is not used ends after 10 ms of somebody's waiting for it");
    }
}
