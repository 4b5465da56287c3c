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

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::life::Side;
use crate::participant::Participant;
use crate::patience::{Patience, Waiting, breathe};
use crate::segment::Segment;
use crate::sync::Slept;
use crate::turns::Turns;
use crate::waiting::WaitWord;

/// No sleep is longer than this: a backstop for wakes that somebody died or was stopped before giving.
pub(crate) const BACKSTOP: Duration = Duration::from_millis(50);

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
}

impl Participant {
    /// Before an operation that may wait: lets another one of this side go first that is starving. For 10 ms at most, and not
    /// at all if `deadline` is nearer or this one never sleeps.
    #[inline(always)]
    pub fn heed_turns(&mut self, deadline: Option<Instant>) {
        // Who never sleeps is rude.
        if !self.patience.may_sleep() {
            return;
        }
        turns_of(&self.segment, self.side, self.entry).heed(&mut self.luck, deadline);
    }

    /// After an operation that had to wait.
    pub fn had_luck(&mut self) {
        self.luck.succeed();
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
            let ring_size = self.segment.layout().geometry.ring_size.into();
            turns_of(&self.segment, self.side, self.entry).fail(&mut self.luck, before, self.cursor.0, ring_size);
        }
        if let Some(distance) = self.patience.distance_after_flow(self.cursor.0) {
            distance.keep();
            let ring = self.segment.ring();
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
    /// between saying so and sleeping.
    fn sleep_unless(
        &mut self,
        news: News,
        deadline: Option<Instant>,
        is_ready: impl FnOnce(&mut Self) -> bool,
    ) -> Waited {
        let segment = Arc::clone(&self.segment);
        let word = self.wait_word(&segment, news);
        let armed = word.arm();
        if is_ready(self) || !self.ask_for_peers() {
            return Waited::LookAgain;
        }
        let Some(limit) = sleep_limit(deadline) else { return Waited::TimedOut };
        if word.0.wait(armed.expected(), limit) == Slept::TimedOut {
            self.ask_for_peers();
            self.patience.rest();
        }
        Waited::Slept
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

    #[inline(always)]
    fn wait_word<'a>(&self, segment: &'a Segment, news: News) -> WaitWord<'a> {
        let header = segment.header();
        match news {
            News::Data => WaitWord(&header.readable.0),
            News::Room => WaitWord(&header.writable.0),
            News::Extent => WaitWord(&header.extents_free.0),
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

/// How long to sleep now, `None` if the deadline has passed.
pub(crate) fn sleep_limit(deadline: Option<Instant>) -> Option<Duration> {
    let Some(deadline) = deadline else { return Some(BACKSTOP) };
    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
    Some(left.min(BACKSTOP))
}
