//! Sleeping for as long as it takes: at a bell, without a bound and without using the CPU.
//!
//! ```text
//!   sleep, at most 50 ms ──> nothing came ──> ... ten times ──> sleep at the bell ──> rung: as if nothing had been slept
//!          ^                                                       │
//!          └──── somebody is about to act, or the bell is hard of hearing ◄── not now
//! ```
//!
//! Whoever acts pays for a ring with a system call and wakes all who sleep at the bell, and not one; so only those do who have
//! waited for long.
//!
//! # Why the end of a side wakes everybody
//! A participant holds its bells as long as its lock, and the kernel lets go of both when it dies. It then says so at the
//! bells of the other side. That is a reason to ask who lives, and no more: what counts is the list of locks.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::bell::{BellWord, Heard, Notice, is_announced};
use crate::bell_pipe::{BellPipe, Bells, Rang};
use crate::holding::Record;
use crate::life::{Side, entries_of};
use crate::participant::Participant;
use crate::segment::Segment;
use crate::sleeping::{News, Waited};
use crate::sys;

/// So many sleeps in a row have come to nothing before one sleeps at the bell: half a second of them.
const QUIET_SLEEPS: u32 = 10;
static QUIET_SLEEPS_IN_TESTS: OnceLock<u32> = OnceLock::new();
/// So often one rings before an exchange that those who have been woken keep putting off by going to sleep again.
pub(crate) const MOST_RINGS: usize = 64;
/// How long to sleep if the bell says that nobody is there and the kernel's locks that somebody is: who dies lets go of them one
/// after the other, who comes takes them so. Twice as long each time.
const FIRST_DOUBT: Duration = Duration::from_millis(1);
const MOST_DOUBTS: u32 = 6;

/// For tests: from now on this process sleeps at bells as soon as it sleeps.
#[doc(hidden)]
pub fn sleep_at_bells() {
    QUIET_SLEEPS_IN_TESTS.get_or_init(|| 0);
}

/// What a participant knows of bells.
#[derive(Debug)]
pub(crate) struct AtBells {
    bells: Option<Bells>,
    heard: Heard,
    /// So many of the last sleeps came to nothing.
    quiet: u32,
    /// So many times in a row the bell said that nobody is there, and somebody was.
    doubts: u32,
}

impl AtBells {
    pub(crate) fn new() -> Self {
        Self { bells: None, heard: Heard::nothing(sys::let_others_fence()), quiet: 0, doubts: 0 }
    }

    /// How long a sleep is at most, if something is doubtful.
    pub(crate) fn doubtful_sleep(&self) -> Option<Duration> {
        (self.doubts > 0).then(|| FIRST_DOUBT * (1 << (self.doubts - 1)))
    }

    /// Nothing came of a sleep.
    pub(crate) fn slept_for_nothing(&mut self) {
        self.quiet = self.quiet.saturating_add(1);
        match self.doubts {
            0 => {}
            MOST_DOUBTS => self.stir(),
            _ => self.doubts += 1,
        }
    }

    /// Something is going on.
    pub(crate) fn stir(&mut self) {
        (self.quiet, self.doubts) = (0, 0);
    }

    fn is_quiet(&self) -> bool {
        self.quiet >= *QUIET_SLEEPS_IN_TESTS.get().unwrap_or(&QUIET_SLEEPS)
    }

    pub(crate) fn take(&mut self) -> Option<Bells> {
        self.bells.take()
    }
}

impl Participant {
    /// Gives this participant its bells, so that it can ring and sleep at them. Either all participants of a segment have
    /// bells or none has: one that has none wakes nobody who sleeps at one.
    pub fn hold_bells(&mut self, bells: Bells) {
        self.at_bells.bells = Some(bells);
        // Who waits for one of this side may sleep at the bell.
        self.ring_peers_after_change();
    }

    /// The same for another participant of this side.
    ///
    /// # Errors
    /// If descriptors are short.
    pub fn bells(&self) -> std::io::Result<Option<Bells>> {
        self.at_bells.bells.as_ref().map(Bells::try_clone).transpose()
    }

    /// What this participant says before an exchange.
    #[inline(always)]
    pub(crate) fn notice_of<'a>(segment: &'a Segment, side: Side, entry: u32, at_bells: &AtBells) -> Notice<'a> {
        let record = Record(&segment.entry(entry).record);
        Notice { record, bell: Some((bell_word(segment, side.peer()), at_bells.heard)) }
    }

    /// Rings for those who sleep at the other side's bell: something is about to change.
    #[cold]
    pub(crate) fn answer_bell(&mut self) {
        let word = bell_word(&self.segment, self.side.peer());
        let AtBells { bells, heard, .. } = &mut self.at_bells;
        if let Some(bells) = bells {
            word.answer(heard, bells.of(self.side.peer()));
        }
    }

    /// Rings for those who sleep at the other side's bell: one of this side has come or gone.
    pub(crate) fn ring_peers_after_change(&self) {
        if let Some(bells) = &self.at_bells.bells {
            bell_word(&self.segment, self.side.peer()).ring_after_change(bells.of(self.side.peer()));
        }
    }

    /// Sleeps at the bell until it rings, all of the other side are gone, or the deadline. `None` if there is a reason not to,
    /// now: then a sleep with a bound is right.
    pub(crate) fn sleep_at_bell(
        &mut self,
        news: News,
        deadline: Option<Instant>,
        is_ready: impl FnOnce(&mut Self) -> bool,
    ) -> Option<Waited> {
        if !self.at_bells.is_quiet() || self.at_bells.doubts > 0 || news == News::Extent {
            return None;
        }
        let bells = self.at_bells.bells.take()?;
        let rang = self.sleep_at(bells.of(self.side), deadline, |participant| {
            is_ready(participant) || !participant.ask_for_peers()
        });
        self.at_bells.bells = Some(bells);
        if rang? == Rang::HungUp && self.ask_for_peers() {
            self.at_bells.doubts = 1;
        }
        Some(Waited::Slept)
    }

    /// As [`Participant::sleep_at_bell`], for one who waits until somebody of the other side comes at all.
    pub(crate) fn wait_at_bell_to_meet(&mut self, deadline: Option<Instant>) -> Option<Waited> {
        if !self.at_bells.is_quiet() || self.at_bells.doubts > 0 {
            return None;
        }
        let bells = self.at_bells.bells.take()?;
        let bell = bells.of(self.side);
        // Until there is a reader the kernel calls a writer's bell broken.
        let _reader = (self.side == Side::Writer).then(|| bell.pretend_to_read());
        let rang = self.sleep_at(bell, deadline, Self::has_met);
        self.at_bells.bells = Some(bells);
        match rang? {
            Rang::Rung => {}
            // Somebody has come and gone, and perhaps has not got as far as to be met.
            Rang::HungUp => self.at_bells.doubts = 1,
            Rang::TimedOut if self.has_met() => {}
            Rang::TimedOut => return Some(Waited::TimedOut),
        }
        Some(Waited::LookAgain)
    }

    fn sleep_at(
        &mut self,
        bell: &BellPipe,
        deadline: Option<Instant>,
        is_needless: impl FnOnce(&mut Self) -> bool,
    ) -> Option<Rang> {
        let segment = Arc::clone(&self.segment);
        let word = bell_word(&segment, self.side);
        // Held by a descriptor of this participant alone: the kernel takes it back with its life.
        let byte = segment.layout().participants() + self.side as u32;
        let is_alone =
            self.lock.as_ref().is_some_and(|lock| sys::try_lock(lock, byte).is_ok_and(|is_locked| is_locked));
        let may_sleep = word.prepare_to_sleep(bell, is_alone, || self.is_anybody_at_it(&segment) || is_needless(self));
        if is_alone && let Some(lock) = &self.lock {
            let _ = sys::unlock(lock, byte);
        }
        if !may_sleep {
            return None;
        }
        // Where no time is left, poll says so.
        let rang = bell.sleep(deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())));
        if rang == Rang::Rung {
            self.at_bells.stir();
        }
        Some(rang)
    }

    /// Whether one of the other side who lives has announced an exchange.
    fn is_anybody_at_it(&self, segment: &Segment) -> bool {
        let (first, limit) = entries_of(segment, self.side.peer());
        let records = (first..first + limit).map(|entry| (entry, Record(&segment.entry(entry).record)));
        let lives = |entry| {
            let Some(lock) = &self.lock else { return true };
            // If the kernel does not answer, somebody may be there.
            sys::is_locked_elsewhere(lock.as_fd(), entry, 1).unwrap_or(true)
        };
        is_announced(records, lives)
    }
}

#[inline(always)]
fn bell_word(segment: &Segment, side: Side) -> BellWord<'_> {
    let header = segment.header();
    match side {
        Side::Writer => BellWord(&header.writable.0.bell),
        Side::Reader => BellWord(&header.readable.0.bell),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::layout::Geometry;

    #[test]
    fn who_leaves_wakes_those_at_the_bell_though_a_copy_of_it_stays() {
        let segment = Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        let (bells_of_reader, bells_of_writer) = Bells::of_two().expect("descriptors");
        let mut writer = Participant::join(Arc::clone(&segment), Side::Writer).expect("an entry");
        let mut reader = Participant::join(Arc::clone(&segment), Side::Reader).expect("an entry");
        // As a forked child has it.
        let _copy = bells_of_writer.try_clone().expect("descriptors");
        writer.hold_bells(bells_of_writer);
        reader.hold_bells(bells_of_reader);
        reader.at_bells.quiet = QUIET_SLEEPS;
        thread::scope(|scope| {
            let sleeper = scope.spawn(move || reader.sleep_at_bell(News::Data, None, |_| false));
            let is_armed = || segment.header().readable.0.bell.load(crate::sync::Ordering::Relaxed) != 0;
            while !is_armed() {
                thread::yield_now();
            }
            drop(writer);
            // It was too late to go to sleep, or it was woken.
            assert!(matches!(sleeper.join().expect("it wakes up"), None | Some(Waited::Slept)));
        });
    }
}
