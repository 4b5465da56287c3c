//! Who is there: coming, going, and whether the other side still lives.
//!
//! ```text
//!   who comes or goes itself:  counts itself, and rings ──> the others see the count, and ask the kernel
//!   who is killed:             says nothing             ──> the kernel marks its owner word: the others see that of their *witness*, and ask
//!                                                           and the last one's bells ring
//! ```
//!
//! The truth is the kernel's list of locks: one for each participant, released at its death. To ask for it takes a system
//! call, so those who are busy look at two words instead, and ask when one of them has changed: a count of comings and goings, and the owner word
//! of one participant of the other side who was alive when they asked last, their witness. The kernel marks that before it says of the process that it is
//! dead, so that no one who knows of a death finds the other side alive; see `robust_list`.
//!
//! Who has no such word (its system lets it have none, it is on its way to another process) is nobody's witness. If the other side has nobody
//! else, its death is found as those of all were found without: by those who ask anyway, who wait, who poll, who woke nobody.

use std::time::{Duration, Instant};

use crate::owner::Owner;
use crate::participant::Participant;
use crate::segment::Segment;
use crate::sleeping::{Waited, sleep_limit};
use crate::sync::{AtomicU32, Futex, Ordering, Slept};
use crate::sys;

/// Who keeps asking gets an answer about its peers' lives that is at most this old.
const LIFE_CHECK_INTERVAL: Duration = Duration::from_micros(20);

/// Which end of the pipe a participant has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Publishes.
    Writer,
    /// Takes.
    Reader,
}

impl Side {
    /// The other side.
    #[must_use]
    pub fn peer(self) -> Self {
        match self {
            Self::Writer => Self::Reader,
            Self::Reader => Self::Writer,
        }
    }
}

/// What is known of the other side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peers {
    pub(crate) changed: Option<u32>,
    pub(crate) alive: bool,
    pub(crate) asked: Option<Instant>,
    pub(crate) witness: Witness,
    /// A witness that has died, of which the others of this side may not know yet.
    pub(crate) untold: Option<u32>,
}

/// One whose owner word is looked at, and what it says as long as nothing has happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Witness {
    pub(crate) entry: u32,
    pub(crate) owner: Owner,
}

impl Witness {
    /// The other side is asked for each time: one of it has died, and has not let go of everything yet.
    const DOUBT: Owner = Owner(u32::MAX);
}

/// So long at most one sleeps who has waited for somebody to come for half a second.
const SELDOM: Duration = Duration::from_secs(1);

/// What there was of the other side before anybody could see that we are here; see [`Participant::has_met`].
#[derive(Clone, Copy, Debug)]
pub struct Before {
    pub(crate) arrivals: u32,
    pub(crate) alive: bool,
}

impl Before {
    /// Whether somebody was there, or has come by the time of so many arrivals.
    pub(crate) fn is_before_one_of(self, arrivals: u32) -> bool {
        self.alive || arrivals != self.arrivals
    }
}

impl Participant {
    /// Whether there is a participant of the other side. Asks the kernel only if somebody has come or gone since the last
    /// time; who was killed has not said so, see [`Participant::ask_for_peers`].
    #[inline(always)]
    pub fn has_peers(&mut self) -> bool {
        // Acquire: pairs with the AcqRel in announce_arrival and leave, so that what a writer published before it left
        // is seen after it has been found gone. [ledger: P2]
        let changed = changes_of(&self.segment, self.side.peer()).load(Ordering::Acquire);
        let Witness { entry, owner } = self.peers.witness;
        // Acquire: pairs with the kernel's marking it, after everything that the dead one did. [ledger: P5]
        let is_same = self.segment.entry(entry).owner.load(Ordering::Acquire) == owner.0;
        if self.peers.changed == Some(changed) && is_same {
            return self.peers.alive;
        }
        self.peers.changed = Some(changed);
        self.ask_for_peers()
    }

    /// Asks the kernel whether there is a participant of the other side.
    #[cold]
    pub fn ask_for_peers(&mut self) -> bool {
        let (first, limit) = entries_of(&self.segment, self.side.peer());
        let was = self.peers.witness;
        let found = self.lock.as_ref().map(|lock| sys::lock_elsewhere(lock, first, limit));
        // If the kernel does not answer, somebody may be there.
        let (alive, witness) = match found {
            Some(Ok(None)) => (false, self.nobody()),
            Some(Ok(Some(entry))) if self.is_witness_still_there(entry) => (true, was),
            Some(Ok(Some(entry))) => (true, self.choose_witness(entry)),
            _ => (true, self.nobody()),
        };
        self.peers.alive = alive;
        self.peers.witness = witness;
        self.notice_death_of(was.entry);
        // As long as it has not let go of everything, those who were woken would only look on, and take the CPU from it.
        if !self.is_in_doubt() {
            self.tell_of_death();
        }
        alive
    }

    /// Whoever is looked at: if that one has died there are others to be told.
    pub(crate) fn notice_death_of_witness(&mut self) {
        self.notice_death_of(self.peers.witness.entry);
    }

    fn notice_death_of(&mut self, witness: u32) {
        if witness != self.entry && self.owner_of(witness).has_died() {
            self.peers.untold = Some(witness);
        }
    }

    /// The kernel has woken one of those who sleep: it tells the others of this side, as soon as they can find out what has become of the
    /// other side, and at the end of its call at the latest. One alone: if each of many woke all, the dying one would not get to its end.
    pub(crate) fn tell_of_death(&mut self) {
        let Some(entry) = self.peers.untold.take() else { return };
        let (owner, died) = (&self.segment.entry(entry).owner, self.owner_of(entry));
        // Relaxed: that it is this one who tells is all there is to know. [ledger: P6]
        let tells = || owner.compare_exchange(died.0, died.told().0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if died.is_untold() && tells() {
            self.wake_all_of_this_side();
        }
    }

    /// Whether one of the other side is looked at, who would be marked at its death.
    pub(crate) fn has_witness(&self) -> bool {
        self.peers.witness.entry != self.entry
    }

    /// Whether the witness is as it was, and has its lock; that of `locked` is locked. Who died unmarked has none.
    fn is_witness_still_there(&self, locked: u32) -> bool {
        let Witness { entry, owner } = self.peers.witness;
        self.has_witness() && self.owner_of(entry) == owner && (entry == locked || self.is_locked(entry))
    }

    /// Whether somebody else has the lock of an entry. If the kernel does not answer, so it may be.
    fn is_locked(&self, entry: u32) -> bool {
        let lock = self.lock.as_ref();
        lock.is_some_and(|lock| sys::is_locked_elsewhere(lock, entry, 1).unwrap_or(true))
    }

    /// Whether one of the other side has died, and has not let go of everything yet.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.peers.witness.owner == Witness::DOUBT
    }

    /// No witness: this participant itself, of whom nobody else changes anything.
    fn nobody(&self) -> Witness {
        Witness { entry: self.entry, owner: self.owner_of(self.entry) }
    }

    pub(crate) fn owner_of(&self, entry: u32) -> Owner {
        // Acquire: as in has_peers. [ledger: P5]
        Owner(self.segment.entry(entry).owner.load(Ordering::Acquire))
    }

    /// One of the other side who is alive, and would be marked at its death: the one of `entry`, if it is such a one.
    fn choose_witness(&self, entry: u32) -> Witness {
        let (first, limit) = entries_of(&self.segment, self.side.peer());
        let others = (first..first + limit).filter(|&other| other != entry);
        let mut is_in_doubt = false;
        for entry in core::iter::once(entry).chain(others) {
            let owner = self.owner_of(entry);
            let is_locked = || self.is_locked(entry);
            // In this order: who is locked and not marked has not died before the word was read.
            if owner.is_marked_at_death() && is_locked() {
                return Witness { entry, owner };
            }
            is_in_doubt = is_in_doubt || owner.has_died() && is_locked();
        }
        if is_in_doubt { Witness { entry: self.entry, owner: Witness::DOUBT } } else { self.nobody() }
    }

    /// Whether there is no other participant of this side. Asks the kernel; if it does not answer, somebody may be there.
    #[must_use]
    pub fn is_alone_on_its_side(&self) -> bool {
        let (first, limit) = entries_of(&self.segment, self.side);
        let Some(lock) = &self.lock else { return false };
        sys::is_locked_elsewhere(lock, first, limit).is_ok_and(|is_locked| !is_locked)
    }

    /// As [`Participant::ask_for_peers`], but no more often than every 20 us; for those who poll.
    pub fn ask_for_peers_now_and_then(&mut self) -> bool {
        if self.peers.asked.is_none_or(|asked| asked.elapsed() >= LIFE_CHECK_INTERVAL) {
            self.ask_for_peers();
            self.peers.asked = Some(Instant::now());
        }
        self.peers.alive
    }

    /// Whether a participant of the other side is here, or was at any time since this one began to join.
    ///
    /// # Why nobody is missed who has met us
    /// Whoever met us saw our lock, so it was here after we took it: it was alive at the question before that, or came
    /// after the count before the question. That it has gone again changes neither.
    pub fn has_met(&mut self) -> bool {
        // Acquire: pairs with the AcqRel in announce_arrival. [ledger: P3]
        let arrivals = arrivals_of(&self.segment, self.side.peer()).load(Ordering::Acquire);
        self.before.is_before_one_of(arrivals) || self.ask_for_peers()
    }

    /// What there was of the other side before this participant was there.
    #[must_use]
    pub fn before(&self) -> Before {
        self.before
    }

    /// Says that this participant is a duplicate of one who was there after `before`, and has met whomever that one has.
    pub fn count_from(&mut self, before: Before) {
        self.before = before;
    }

    /// Sleeps until somebody of the other side comes, or the deadline: at most 50 ms to begin with, and a second after a while. Not at a bell: there may
    /// be nobody yet who could ring it, and who is stopped as it comes is found so by the next look.
    pub fn wait_to_meet(&mut self, deadline: Option<Instant>) -> Waited {
        let Some(limit) = sleep_limit(deadline) else { return Waited::TimedOut };
        let left = deadline.map_or(SELDOM, |deadline| deadline.saturating_duration_since(Instant::now()).min(SELDOM));
        let limit = if self.at_bells.is_quiet_for_long() { limit.max(left) } else { limit };
        match arrivals_of(&self.segment, self.side.peer()).wait(self.before.arrivals, limit) {
            Slept::TimedOut => self.at_bells.slept_for_nothing(),
            Slept::Interrupted => return Waited::Interrupted,
            Slept::Woken => {}
        }
        Waited::LookAgain
    }

    /// Has the others look for a witness again: this one has not come, but could not be one until now.
    pub(crate) fn offer_as_witness(&self) {
        // Release: pairs with has_peers, so that who sees it sees the owner word. [ledger: P2]
        changes_of(&self.segment, self.side).fetch_add(1, Ordering::Release);
    }

    pub(crate) fn announce_arrival(&self) {
        // AcqRel: pairs with has_peers. [ledger: P2]
        changes_of(&self.segment, self.side).fetch_add(1, Ordering::AcqRel);
        let arrivals = arrivals_of(&self.segment, self.side);
        // AcqRel: pairs with has_met. [ledger: P3]
        arrivals.fetch_add(1, Ordering::AcqRel);
        arrivals.wake(u32::MAX);
        // A sleeper of the other side that was about to give up has a peer again.
        self.wake_all_peers();
    }
}

#[inline(always)]
pub(crate) fn changes_of(segment: &Segment, side: Side) -> &AtomicU32 {
    let membership = &segment.header().membership.0;
    match side {
        Side::Writer => &membership.writers_changed,
        Side::Reader => &membership.readers_changed,
    }
}

pub(crate) fn arrivals_of(segment: &Segment, side: Side) -> &Futex {
    let membership = &segment.header().membership.0;
    match side {
        Side::Writer => &membership.writers_arrived,
        Side::Reader => &membership.readers_arrived,
    }
}

pub(crate) fn entries_of(segment: &Segment, side: Side) -> (u32, u32) {
    let geometry = segment.layout().geometry;
    match side {
        Side::Writer => (0, geometry.writers),
        Side::Reader => (geometry.writers, geometry.readers),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::layout::Geometry;

    #[test]
    fn a_death_is_told_once_when_others_can_find_out_or_at_the_end_of_the_call_of_the_one_who_knows() {
        let segment = Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        let join = |side| Participant::join(Arc::clone(&segment), side).expect("an entry");
        let mut readers = [(); 3].map(|()| join(Side::Reader));
        let told = || segment.header().readable.0.word.load(Ordering::Relaxed);
        let know_a_writer = |readers: &mut [Participant]| {
            let writer = join(Side::Writer);
            assert!(readers.iter_mut().all(|reader| reader.has_peers() && reader.has_witness()));
            writer
        };
        let die = |writer: &Participant| {
            let owner = &segment.entry(writer.entry()).owner;
            // As the kernel does.
            owner.store(writer.owner_of(writer.entry()).dead().0, Ordering::Relaxed);
        };
        let let_go = |writer: &Participant| {
            sys::unlock(writer.lock.as_ref().expect("it lives"), writer.entry()).expect("it was locked");
        };

        let writer = know_a_writer(&mut readers);
        let nobody_is_told = told();
        die(&writer);
        assert!(readers[0].has_peers() && readers[0].is_in_doubt(), "it has not let go of its lock");
        assert_eq!(told(), nobody_is_told, "whoever were woken would come to nothing");
        readers[0].had_luck();
        let all_are_told = told();
        assert_ne!(all_are_told, nobody_is_told, "it does something else now");
        let_go(&writer);
        assert!(readers.iter_mut().all(|reader| !reader.has_peers()));
        assert_eq!(told(), all_are_told, "one tells, once");
        drop(writer);

        let writer = know_a_writer(&mut readers);
        die(&writer);
        assert!(readers[0].has_peers() && readers[0].is_in_doubt());
        let nobody_is_told = told();
        let_go(&writer);
        assert!(!readers[0].has_peers());
        assert_ne!(told(), nobody_is_told, "the others can find out");
        drop(writer);

        let writer = know_a_writer(&mut readers);
        die(&writer);
        let nobody_is_told = told();
        readers[0].notice_death_of_witness();
        readers[0].had_luck();
        assert_ne!(told(), nobody_is_told, "it was woken, and has found something else");
        drop(writer);
    }

    #[test]
    fn one_who_is_gone_is_nobodys_witness_any_more_though_nothing_was_said_of_it() {
        let segment = Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        let join = |side| Participant::join(Arc::clone(&segment), side).expect("an entry");
        let (mut reader, writers) = (join(Side::Reader), [(); 2].map(|()| join(Side::Writer)));
        for (leaves, stays) in [(0, 1), (1, 0)] {
            reader.peers.witness = reader.choose_witness(writers[leaves].entry());
            let lock = writers[leaves].lock.as_ref().expect("it lives");
            sys::unlock(lock, writers[leaves].entry()).expect("it was locked");
            assert!(reader.ask_for_peers());
            assert_eq!(reader.peers.witness.entry, writers[stays].entry());
            assert!(sys::try_lock(lock, writers[leaves].entry()).expect("an answer"));
        }
    }

    #[test]
    fn of_one_who_is_leaving_the_others_are_in_doubt_until_it_is_gone() {
        let segment = Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        let join = |side| Participant::join(Arc::clone(&segment), side).expect("an entry");
        let (mut reader, mut writer) = (join(Side::Reader), join(Side::Writer));
        assert!(reader.has_peers() && !reader.is_in_doubt());
        writer.robust.take().expect("the system lets it").leave();
        for _ in 0..2 {
            assert!(reader.has_peers() && reader.is_in_doubt(), "whether it has gone is asked for each time");
        }
        let entry = writer.entry();
        drop(writer);
        assert!(!reader.has_peers());
        assert_eq!(reader.owner_of(entry), Owner::LEAVING);
    }

    #[test]
    fn who_is_not_marked_is_not_taken_for_the_dead_one_before_it() {
        let segment = Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        let mut reader = Participant::join(Arc::clone(&segment), Side::Reader).expect("an entry");
        let join = || Participant::join(Arc::clone(&segment), Side::Writer).expect("an entry");
        let entry = join().entry();
        assert!(reader.owner_of(entry).has_died());
        let writer = crate::robust_list::unmarked(join);
        assert_eq!((writer.entry(), reader.owner_of(entry)), (entry, Owner::NOBODY));
        assert!(reader.has_peers() && !reader.is_in_doubt());
    }
}
