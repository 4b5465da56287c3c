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
//! One who leaves rings before it does. One who is killed lets go of its lock and of its bells, and when it was the last one who
//! could ring, the kernel says so at the bell. That is a reason to ask who lives, and no more: what counts is the list of locks. Between
//! its lock and its bells one who joins is alive and could die without a sound; so each says by a second lock that it has bells, and
//! only beside one who has them somebody sleeps at a bell.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::bell::{Heard, Notice};
use crate::bell_pipe::{BellPipe, Bells, Rang};
use crate::holding::Record;
use crate::life::Side;
use crate::listening::{Listener, announcement_of, bell_word, bytes_of};
use crate::participant::Participant;
use crate::segment::Segment;
use crate::sleeping::{News, Waited};
use crate::sys;

/// So many sleeps in a row have come to nothing before one sleeps at the bell: half a second of them.
const QUIET_SLEEPS: u32 = 10;
static QUIET_SLEEPS_IN_TESTS: OnceLock<u32> = OnceLock::new();
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

    /// Whether nothing has come of so many sleeps that one can sleep for long.
    pub(crate) fn is_quiet_for_long(&self) -> bool {
        self.quiet >= *QUIET_SLEEPS_IN_TESTS.get().unwrap_or(&QUIET_SLEEPS)
    }

    /// Whether it is time to sleep at the bell, and possible.
    fn is_quiet(&self) -> bool {
        self.is_quiet_for_long() && self.doubts == 0 && self.heard.is_fenced_by_sleepers()
    }

    pub(crate) fn take(&mut self) -> Option<Bells> {
        self.bells.take()
    }

    /// Gives back what was taken.
    pub(crate) fn put_back(&mut self, bells: Bells) {
        self.bells = Some(bells);
    }
}

impl Participant {
    /// Gives this participant its bells, so that it can ring and sleep at them. Either all participants of a segment have
    /// bells or none has: one that has none wakes nobody who sleeps at one.
    ///
    /// # Errors
    /// If the kernel has no more locks.
    pub fn hold_bells(&mut self, bells: Bells) -> io::Result<()> {
        if let Some(lock) = &self.lock {
            sys::try_lock(lock, bytes_of(&self.segment).has_bells(self.entry))?;
        }
        // For those who watch, and show that nobody is there.
        bell_word(&self.segment, self.side.peer()).ring_for_all(bells.of(self.side.peer()));
        self.at_bells.bells = Some(bells);
        Ok(())
    }

    /// The same for another participant of this side.
    ///
    /// # Errors
    /// If descriptors are short.
    pub fn bells(&self) -> io::Result<Option<Bells>> {
        self.bells_of(self.side)
    }

    /// The numbers of the descriptors of its bells, if it has some.
    #[must_use]
    pub fn numbers_of_bells(&self) -> Option<[std::os::fd::RawFd; 2]> {
        self.at_bells.bells.as_ref().map(Bells::numbers)
    }

    /// What a participant of the other side would hold of them.
    ///
    /// # Errors
    /// If descriptors are short.
    pub fn bells_of(&self, side: Side) -> io::Result<Option<Bells>> {
        self.at_bells.bells.as_ref().map(|bells| bells.try_clone(side)).transpose()
    }

    fn listener(&self) -> Option<Listener<'_>> {
        let lock = self.lock.as_ref()?.as_fd();
        Some(Listener { segment: &self.segment, side: self.side, lock })
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

    /// A hold of the bell of writers that can ring it. A writer's own one cannot. `None` if it has no bells.
    pub(crate) fn ringable_bell_of_writers(&self) -> io::Result<Option<BellPipe>> {
        self.at_bells.bells.as_ref().map(|bells| bells.of(Side::Writer).ringable()).transpose()
    }

    /// Rings the other side's bell, whatever its word says.
    #[cold]
    pub(crate) fn ring_for_peers(&self) {
        if let Some(bells) = &self.at_bells.bells {
            bells.of(self.side.peer()).ring();
        }
    }

    /// Says that this participant is leaving, to those too who sleep at the other side's bell.
    pub(crate) fn announce_leaving(&self) {
        announcement_of(&self.segment, self.entry).leave();
        if let Some(bells) = &self.at_bells.bells {
            let bell = bells.of(self.side.peer());
            bell_word(&self.segment, self.side.peer()).ring_for_all(bell);
            // Also for those who watch and have not asked, since they show that they are ready.
            bell.ring();
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
        // Extents are given back by both sides, and only one of them rings for writers.
        if news == News::Extent {
            return None;
        }
        let rang = self.sleep_at(deadline, |participant| {
            is_ready(participant)
                || !participant.has_to_wait(news)
                || !participant.ask_for_peers()
                || !participant.listener().is_some_and(Listener::would_end_be_heard)
        })?;
        if rang == Rang::HungUp && self.ask_for_peers() {
            self.at_bells.doubts = 1;
        }
        Some(if rang == Rang::Interrupted { Waited::Interrupted } else { Waited::Slept })
    }

    /// What the quick looks do not tell one that has not looked for so long that the laps came round.
    fn has_to_wait(&mut self, news: News) -> bool {
        match news {
            News::Data => self.is_empty(),
            News::Room => self.is_full(),
            News::Extent => true,
        }
    }

    /// Sleeps at the own bell, if it is time for that, and possible, and not needless.
    fn sleep_at(&mut self, deadline: Option<Instant>, is_needless: impl FnOnce(&mut Self) -> bool) -> Option<Rang> {
        if !self.at_bells.is_quiet() {
            return None;
        }
        let bells = self.at_bells.bells.take()?;
        let says_so = self.listener().is_some_and(Listener::say_asleep);
        let rang = if says_so { self.sleep_at_this(bells.of(self.side), deadline, is_needless) } else { None };
        if says_so && let Some(listener) = self.listener() {
            listener.say_awake();
        }
        self.at_bells.bells = Some(bells);
        rang
    }

    fn sleep_at_this(
        &mut self,
        bell: &BellPipe,
        deadline: Option<Instant>,
        is_needless: impl FnOnce(&mut Self) -> bool,
    ) -> Option<Rang> {
        let segment = Arc::clone(&self.segment);
        let word = bell_word(&segment, self.side);
        let lock = self.lock.as_ref()?.try_clone().ok()?;
        let listener = Listener { segment: &segment, side: self.side, lock: lock.as_fd() };
        let may_hush = || !listener.is_anybody_else_asleep();
        let may_sleep =
            word.prepare_to_sleep(bell, may_hush, || listener.is_anybody_about_to_act() || is_needless(self));
        drop(lock);
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
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicI32, Ordering};
    use std::thread;

    use rustix::thread::gettid;

    use super::*;
    use crate::layout::Geometry;

    /// A reader that has been quiet for long enough, and a writer.
    fn two() -> (Arc<Segment>, Participant, Participant) {
        let segment = Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        let (bells_of_reader, bells_of_writer) = Bells::of_two().expect("descriptors");
        let mut writer = Participant::join(Arc::clone(&segment), Side::Writer).expect("an entry");
        let mut reader = Participant::join(Arc::clone(&segment), Side::Reader).expect("an entry");
        writer.hold_bells(bells_of_writer).expect("a lock");
        reader.hold_bells(bells_of_reader).expect("a lock");
        reader.at_bells.quiet = QUIET_SLEEPS;
        (segment, reader, writer)
    }

    /// Whether `reader` sleeps at its bell, if only for a moment.
    fn sleeps(reader: &mut Participant) -> bool {
        let soon = Instant::now().checked_add(Duration::from_millis(1));
        reader.sleep_at_bell(News::Data, soon, |_| false) == Some(Waited::Slept)
    }

    #[test]
    fn who_leaves_wakes_those_at_the_bell_though_a_copy_of_it_stays() {
        let (segment, mut reader, writer) = two();
        // As a forked child has it.
        let _copy = writer.bells().expect("descriptors");
        let sleeper = AtomicI32::new(0);
        let is_asleep = || {
            let stat = fs::read_to_string(format!("/proc/self/task/{}/stat", sleeper.load(Ordering::Relaxed)));
            let is_armed = segment.header().readable.0.bell.load(Ordering::Relaxed) != 0;
            is_armed && stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')))
        };
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                sleeper.store(gettid().as_raw_nonzero().get(), Ordering::Relaxed);
                reader.sleep_at_bell(News::Data, None, |_| false)
            });
            while !is_asleep() {
                thread::yield_now();
            }
            drop(writer);
            assert_eq!(thread.join().expect("it wakes up"), Some(Waited::Slept));
        });
    }

    #[test]
    fn beside_one_who_is_about_to_act_nobody_sleeps_at_a_bell() {
        let (segment, mut reader, writer) = two();
        assert!(sleeps(&mut reader));
        let (entry, vacant) = (segment.entry(writer.entry()), segment.entry(writer.entry() + 1));
        let record = Record(&entry.record);
        let page = writer.spare.page();
        record.intend(page, 0);
        assert!(!sleeps(&mut reader), "it may be about to publish");
        record.settle(page);
        entry.stirs.store(1, Ordering::Relaxed);
        assert!(!sleeps(&mut reader), "it is about to leave");
        entry.stirs.store(0, Ordering::Relaxed);
        // Of the dead nobody expects anything.
        Record(&vacant.record).intend(page, 0);
        vacant.stirs.store(1, Ordering::Relaxed);
        assert!(sleeps(&mut reader));
    }

    #[test]
    fn beside_one_who_has_no_bells_nobody_sleeps_at_one() {
        let segment = Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        let (bells_of_reader, bells_of_writer) = Bells::of_two().expect("descriptors");
        let mut reader = Participant::join(Arc::clone(&segment), Side::Reader).expect("an entry");
        reader.hold_bells(bells_of_reader).expect("a lock");
        reader.at_bells.quiet = QUIET_SLEEPS;
        let mut writer = Participant::join(Arc::clone(&segment), Side::Writer).expect("an entry");
        assert!(!sleeps(&mut reader), "it could die without a sound");
        writer.hold_bells(bells_of_writer).expect("a lock");
        assert!(sleeps(&mut reader));
    }

    #[test]
    fn while_somebody_has_copies_of_one_who_has_left_others_sleep_with_a_bound_and_leave_its_entry_alone() {
        let (segment, mut reader, mut writer) = two();
        let mut other = Participant::join(Arc::clone(&segment), Side::Writer).expect("an entry");
        other.hold_bells(writer.bells().expect("descriptors").expect("it has bells")).expect("a lock");
        assert!(sleeps(&mut reader));
        // As a forked child has them.
        let copy = writer.lock.as_ref().expect("a lock").try_clone().expect("a descriptor");
        let entry = writer.entry();
        assert!(!writer.leave_and_close_if_last());
        drop(writer);
        assert!(!sleeps(&mut reader), "the copies would hide the death of the other one");
        // Whoever tries the entry's lock in the midst of that does not make it one who lives.
        let joiner = segment.reopen().expect("a descriptor");
        let at_last = |_: &mut Participant| !sys::try_lock(&joiner, entry).expect("an answer");
        let soon = Instant::now().checked_add(Duration::from_millis(1));
        assert_eq!(reader.sleep_at_bell(News::Data, soon, at_last), None);
        drop(joiner);
        let next = Participant::join(Arc::clone(&segment), Side::Writer).expect("an entry");
        assert_ne!(next.entry(), entry);
        drop((next, copy));
        assert!(sleeps(&mut reader));
        let next = Participant::join(segment, Side::Writer).expect("an entry");
        assert_eq!(next.entry(), entry);
    }

    #[test]
    fn the_place_of_one_who_leaves_is_free_before_it_tells_anybody() {
        let segment = Arc::new(Segment::anonymous(Geometry { writers: 1, ..Geometry::default() }).expect("a segment"));
        let (bells_of_reader, bells_of_writer) = Bells::of_two().expect("descriptors");
        let mut writer = Participant::join(Arc::clone(&segment), Side::Writer).expect("an entry");
        writer.hold_bells(bells_of_writer).expect("a lock");
        assert!(!writer.leave_and_close_if_last() || bells_of_reader.of(Side::Reader).rung().is_some());
        // It may be stopped anywhere behind this.
        assert!(!sys::is_locked_elsewhere(segment.file(), bytes_of(&segment).has_bells(0), 1).expect("an answer"));
    }

    #[test]
    fn who_has_left_has_no_bells_any_more() {
        let (_segment, reader, mut writer) = two();
        assert!(!writer.leave_and_close_if_last());
        assert!(writer.at_bells.bells.is_none(), "whoever dies last after it would not be heard");
        let bells = reader.at_bells.bells.as_ref().expect("it has bells");
        assert_eq!(bells.of(Side::Reader).sleep(Some(Duration::ZERO)), Rang::HungUp);
    }

    #[test]
    fn bells_without_a_name_can_be_opened_anew_by_whoever_has_them() {
        let (_segment, mut reader, _writer) = two();
        for bell in reader.at_bells.bells.take().expect("it has bells").into_descriptors() {
            assert_eq!(rustix::fs::fstat(&bell).expect("an answer").st_mode & 0o777, 0o666);
        }
    }

    #[test]
    fn at_a_bell_that_could_refuse_a_ring_nobody_sleeps() {
        let (_segment, mut reader, writer) = two();
        let [own, _] = reader.at_bells.bells.take().expect("it has bells").into_descriptors();
        rustix::pipe::fcntl_setpipe_size(&own, 1).expect("one page");
        reader.at_bells.bells = Some(Bells::take_up(Side::Reader, &own, &own).expect("descriptors"));
        assert!(sleeps(&mut reader), "whoever opens it makes it larger");
        rustix::pipe::fcntl_setpipe_size(&own, 1).expect("one page");
        assert!(!sleeps(&mut reader));
        drop(writer);
    }

    #[test]
    fn who_has_been_away_until_the_laps_came_round_does_not_sleep_beside_what_it_does_not_see() {
        let (segment, mut reader, writer) = two();
        let mut writer = crate::WriterEnd::new(writer);
        writer.fill(0, b"seen by a search");
        writer.publish(crate::writer_end::Kind::Packet, 16).expect("room");
        reader.cursor = crate::place::Cursor(5);
        assert!(segment.ring(0).is_still_empty(reader.cursor), "a quick look sees nothing there");
        let soon = Instant::now().checked_add(Duration::from_millis(1));
        assert_eq!(reader.sleep_at_bell(News::Data, soon, |reader| !reader.is_still_empty()), None);
    }

    #[test]
    fn a_bell_that_says_that_nobody_is_there_though_somebody_is_is_doubted() {
        let (_segment, mut reader, mut writer) = two();
        // It is dying, and the kernel has taken its bells already.
        drop(writer.at_bells.take());
        assert!(sleeps(&mut reader), "the bell ends its sleep");
        assert_eq!(reader.at_bells.doubtful_sleep(), Some(FIRST_DOUBT));
        let mut sleeps_with_a_bound = 0;
        while reader.at_bells.doubtful_sleep().is_some() {
            assert!(!sleeps(&mut reader));
            reader.at_bells.slept_for_nothing();
            sleeps_with_a_bound += 1;
        }
        assert_eq!(sleeps_with_a_bound, MOST_DOUBTS);
        assert!(!sleeps(&mut reader), "as if nothing had been slept");
    }

    #[test]
    fn a_bell_that_was_full_becomes_silent_after_a_while_and_not_at_once() {
        let (_segment, mut reader, writer) = two();
        let bells = writer.bells().expect("descriptors").expect("it has bells");
        for _ in 0..10_000 {
            bells.of(Side::Reader).ring();
        }
        let rung = || bells.of(Side::Reader).rung().expect("a number");
        let full = rung();
        assert!(full > BellPipe::MOST_TAKEN && full < 10_000, "{full}");
        let mut tries = 0;
        while !sleeps(&mut reader) {
            assert!(rung() > 0, "it rings on until somebody has looked");
            tries += 1;
            assert!(tries < 10, "it never becomes silent");
        }
        assert_eq!((tries, rung()), (full.div_ceil(BellPipe::MOST_TAKEN) - 1, 0));
    }

    #[test]
    fn while_somebody_sleeps_at_the_bell_nobody_takes_rings_out() {
        let (segment, mut reader, writer) = two();
        let bells = writer.bells().expect("descriptors").expect("it has bells");
        let other = segment.reopen().expect("a descriptor");
        assert!(sys::try_lock_unseen(&other, bytes_of(&segment).sleeps(Side::Reader)).expect("an answer"));
        assert!(sleeps(&mut reader), "two can sleep at once");
        bells.of(Side::Reader).ring();
        assert!(!sleeps(&mut reader), "the ring is for the other one");
        assert_eq!(bells.of(Side::Reader).rung(), Some(1));
        drop(other);
        assert!(sleeps(&mut reader));
        assert_eq!(bells.of(Side::Reader).rung(), Some(0));
    }
}
