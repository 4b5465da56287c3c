//! A participant: one entry of a segment's table, held by a lock that the kernel releases when its holder dies.
//!
//! ```text
//!   entries   | writers 0 .. W             | readers W .. W + R          |   table in the segment
//!   locks     | byte 0 .. W of the file    | byte W .. W + R of the file |   kept by the kernel
//! ```
//!
//! Whoever holds the lock on byte `e` is participant `e`. The lock belongs to an open file description, so that it can be
//! handed to a child with its descriptor, and is gone at the instant in which the last copy is closed, by whatever end.
//!
//! # Why time and process ids decide nothing
//! Whether somebody lives is asked of the kernel, which answers from its list of locks. A stopped process keeps its lock.
//!
//! # Why a dead participant is cleaned up exactly once
//! Its entry is cleaned by the next one who takes it over, under the lock. If that one dies half-way the lock is free
//! again and the next one starts over: finding out which page the dead one owned does not change anything, and then one
//! store settles it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::closing::{close_if_last, count_in};
use crate::holding::{Holding, Record};
use crate::patience::{Patience, Waiting};
use crate::place::Cursor;
use crate::recovery::{settle_the_dead, take_over};
use crate::ring::{Miss, Ring, Spare};
use crate::segment::Segment;
use crate::sync::{AtomicU32, Futex, Ordering, Slept};
use crate::sys;
use crate::turns::{Luck, Turns};
use crate::waiting::WaitWord;

/// No sleep is longer than this: a backstop for wakes that somebody died or was stopped before giving.
pub const BACKSTOP: Duration = Duration::from_millis(50);

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

/// Why there is no place at a segment.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// All entries of this side are taken by the living.
    #[error("the pipe has {limit} of {limit} possible {side:?}s")]
    NoEntry {
        /// Which side.
        side: Side,
        /// How many there can be.
        limit: u32,
    },
    /// The last participant has left, and the segment is not to be used any more.
    #[error("the pipe has been closed by its last user")]
    Closed,
    /// The entry says what nobody who keeps the rules has written.
    #[error("the pipe's shared memory is damaged")]
    Garbled,
    /// Somebody else has the entry that was handed over, or nobody ever did hand it over.
    #[error("this end has not been handed over, or has been taken up already")]
    NotHandedOver,
    /// The system refused.
    #[error("cannot join the pipe: {0}")]
    System(#[from] io::Error),
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
    /// The deadline has passed.
    TimedOut,
}

/// One participant of a segment. Dropping it leaves.
#[derive(Debug)]
pub struct Participant {
    segment: Arc<Segment>,
    side: Side,
    entry: u32,
    /// `None` once it has been handed over or has left.
    lock: Option<OwnedFd>,
    pub(crate) spare: Spare,
    cursor: Cursor,
    patience: Patience,
    luck: Luck,
    peers: Peers,
    before: Before,
    /// The process that joined. A forked child has a copy of the descriptor, but is not the participant.
    process: u32,
}

/// What a participant brings to a step of the ring.
pub(crate) struct Own<'a> {
    pub(crate) cursor: &'a mut Cursor,
    pub(crate) spare: &'a mut Spare,
    pub(crate) record: Record<'a>,
}

/// What is known of the other side.
#[derive(Clone, Copy, Debug)]
struct Peers {
    changed: Option<u32>,
    alive: bool,
    asked: Option<Instant>,
}

/// What there was of the other side before anybody could see that we are here; see [`Participant::has_met`].
#[derive(Clone, Copy, Debug)]
struct Before {
    arrivals: u32,
    alive: bool,
}

impl Participant {
    /// Joins the segment as a participant of `side`.
    ///
    /// # Errors
    /// [`JoinError`]; nothing is held then.
    pub fn join(segment: Arc<Segment>, side: Side) -> Result<Self, JoinError> {
        let lock = segment.reopen()?;
        // In this order: who is not alive at the question and was not counted before it will be counted later.
        let arrivals = arrivals_of(&segment, side.peer()).load(Ordering::Acquire);
        let (first, limit) = entries_of(&segment, side.peer());
        let before = Before { arrivals, alive: sys::is_locked_elsewhere(&lock, first, limit)? };
        let entry = match free_entry(&segment, side, &lock)? {
            Some(entry) => Some(entry),
            None => {
                // One of ours may be waiting for one of the other side to be cleaned up first.
                settle_the_dead(&segment, &lock)?;
                free_entry(&segment, side, &lock)?
            }
        };
        let (_, limit) = entries_of(&segment, side);
        let Some((entry, page)) = entry else { return Err(JoinError::NoEntry { side, limit }) };
        segment.take_memory_of_page(page)?;
        count_in(&segment)?;
        segment.entry(entry).pid.store(std::process::id(), Ordering::Relaxed);
        let participant = Self::new(segment, side, entry, lock, page, before);
        participant.announce_arrival();
        Ok(participant)
    }

    /// Takes up the entry `entry`, which another process has handed over with the descriptor `lock`. The segment has a
    /// descriptor of its own.
    ///
    /// # Errors
    /// [`JoinError`]; the descriptor is closed then.
    pub fn take_up(segment: Arc<Segment>, side: Side, entry: u32, lock: OwnedFd) -> Result<Self, JoinError> {
        let (first, limit) = entries_of(&segment, side);
        if !(first..first + limit).contains(&entry) {
            return Err(JoinError::Garbled);
        }
        // The descriptor may be a copy of one whose end is long closed, and the entry somebody else's.
        let is_ours =
            !sys::is_locked_elsewhere(&lock, entry, 1)? && sys::is_locked_elsewhere(segment.file(), entry, 1)?;
        if !is_ours {
            return Err(JoinError::NotHandedOver);
        }
        let pid = &segment.entry(entry).pid;
        // Acquire: pairs with the Release in hand_over, for the record. [ledger: P1]
        if pid.compare_exchange(HANDED_OVER, std::process::id(), Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(JoinError::NotHandedOver);
        }
        let Holding::Settled(page) = Record(&segment.entry(entry).record).holding() else {
            return Err(JoinError::Garbled);
        };
        if page >= segment.layout().pages {
            return Err(JoinError::Garbled);
        }
        let before = Before { arrivals: 0, alive: true };
        Ok(Self::new(segment, side, entry, lock, page, before))
    }

    /// Gives the entry away with the descriptor that holds it: whoever has a copy of it can take it up, once. The entry
    /// counts as alive until then, and is free when all copies are closed.
    #[must_use]
    pub fn hand_over(mut self) -> Option<(OwnedFd, u32)> {
        let lock = self.lock.take()?;
        self.segment.extents().release_all_of(self.spare.page());
        // Release: pairs with the Acquire in take_up, for the record. [ledger: P1]
        self.segment.entry(self.entry).pid.store(HANDED_OVER, Ordering::Release);
        Some((lock, self.entry))
    }

    fn new(segment: Arc<Segment>, side: Side, entry: u32, lock: OwnedFd, page: u32, before: Before) -> Self {
        let ring = segment.ring();
        let cursor = match side {
            Side::Writer => ring.head_hint(),
            Side::Reader => ring.tail_hint(),
        };
        let peers = Peers { changed: None, alive: true, asked: None };
        let (spare, patience) = (Spare::new(page), Patience::new(Waiting::default()));
        Self {
            segment,
            side,
            entry,
            lock: Some(lock),
            spare,
            cursor,
            patience,
            luck: Luck::default(),
            peers,
            before,
            process: std::process::id(),
        }
    }

    /// The segment.
    #[inline]
    #[must_use]
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The ring, and what this participant brings to a step of it.
    #[inline(always)]
    pub(crate) fn ring_and_own(&mut self) -> (&Ring<'_>, Own<'_>) {
        let record = Record(&self.segment.entry(self.entry).record);
        (self.segment.ring(), Own { cursor: &mut self.cursor, spare: &mut self.spare, record })
    }

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

    /// Frees what extents belong to the own page, and wakes a writer that may wait for one.
    #[cold]
    pub(crate) fn release_own_extents(&self) {
        self.segment.extents().release_all_of(self.spare.page());
        self.pass_on(News::Extent);
    }

    /// Whether no slot is empty. For writers.
    pub(crate) fn is_full(&mut self) -> bool {
        let (ring, own) = self.ring_and_own();
        ring.is_full(own.cursor)
    }

    /// Whether fewer than half of the slots are occupied. For writers.
    pub(crate) fn is_less_than_half_full(&self) -> bool {
        self.segment.ring().is_less_than_half_full(self.cursor)
    }

    /// Whether it still looks so to a writer that waits.
    #[inline]
    pub(crate) fn is_still_full(&self) -> bool {
        self.segment.ring().is_still_full(self.cursor)
    }

    /// Whether there is still nothing for a reader that waits.
    #[inline]
    pub(crate) fn is_still_empty(&self) -> bool {
        self.segment.ring().is_still_empty(self.cursor)
    }

    /// Whether there is nothing to read. For readers.
    pub(crate) fn is_empty(&mut self) -> bool {
        let (ring, own) = self.ring_and_own();
        matches!(ring.front(own.cursor), Err(Miss::Empty))
    }

    /// Waits as patience has it, until ready, woken, the backstop or the deadline.
    pub(crate) fn wait(
        &mut self,
        news: News,
        deadline: Option<Instant>,
        is_ready: impl Fn(&mut Self) -> bool,
    ) -> Waited {
        // Again, without any luck between: if the ring has moved, others were faster.
        if let Some(before) = self.luck.waits_at(self.cursor.0) {
            let ring_size = self.segment.layout().geometry.ring_size.into();
            turns_of(&self.segment, self.side, self.entry).fail(&mut self.luck, before, self.cursor.0, ring_size);
        }
        let mut patience = self.patience;
        patience.keep_distance(self.cursor.0);
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

    /// Which entry of the table this participant holds.
    #[must_use]
    pub fn entry(&self) -> u32 {
        self.entry
    }

    /// Changes how this participant waits.
    pub fn set_waiting(&mut self, waiting: Waiting) {
        self.patience = Patience::new(waiting);
    }

    /// Whether there is a participant of the other side. Asks the kernel only if somebody has come or gone since the last
    /// time; who was killed has not said so, see [`Participant::ask_for_peers`].
    #[inline(always)]
    pub fn has_peers(&mut self) -> bool {
        // Acquire: pairs with the AcqRel in announce_arrival and leave, so that what a writer published before it left
        // is seen after it has been found gone. [ledger: P2]
        let changed = self.changes_of(self.side.peer()).load(Ordering::Acquire);
        if self.peers.changed == Some(changed) {
            return self.peers.alive;
        }
        self.peers.changed = Some(changed);
        self.ask_for_peers()
    }

    /// Asks the kernel whether there is a participant of the other side.
    #[cold]
    pub fn ask_for_peers(&mut self) -> bool {
        let (first, limit) = entries_of(&self.segment, self.side.peer());
        // If the kernel does not answer, somebody may be there.
        self.peers.alive = match &self.lock {
            Some(lock) => sys::is_locked_elsewhere(lock, first, limit).unwrap_or(true),
            None => true,
        };
        self.peers.alive
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
        self.before.alive || arrivals != self.before.arrivals || self.ask_for_peers()
    }

    /// Sleeps until somebody of the other side comes, the backstop, or the deadline.
    pub fn wait_to_meet(&self, deadline: Option<Instant>) -> Waited {
        let Some(limit) = sleep_limit(deadline) else { return Waited::TimedOut };
        arrivals_of(&self.segment, self.side.peer()).wait(self.before.arrivals, limit);
        Waited::LookAgain
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
        Waited::LookAgain
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

    /// Leaves, and closes the segment for ever if nobody else is there. Returns whether it did: the caller then removes
    /// the segment's name.
    #[must_use]
    pub fn leave_and_close_if_last(&mut self) -> bool {
        let Some(lock) = self.leave() else { return false };
        close_if_last(&self.segment, &lock)
    }

    /// Gives up the entry; returns the descriptor that held it.
    fn leave(&mut self) -> Option<OwnedFd> {
        let lock = self.lock.take()?;
        if std::process::id() != self.process {
            // A copy of the handle in a forked child: closing its copy of the descriptor is all there is to do.
            return None;
        }
        turns_of(&self.segment, self.side, self.entry).end_own();
        self.segment.extents().release_all_of(self.spare.page());
        // From here on the entry is somebody else's. If this fails, closing the descriptor does it.
        let _ = sys::unlock(&lock, self.entry);
        // AcqRel: pairs with has_peers. [ledger: P2]
        self.changes_of(self.side).fetch_add(1, Ordering::AcqRel);
        self.wake_all_peers();
        Some(lock)
    }

    fn announce_arrival(&self) {
        // AcqRel: pairs with has_peers. [ledger: P2]
        self.changes_of(self.side).fetch_add(1, Ordering::AcqRel);
        let arrivals = arrivals_of(&self.segment, self.side);
        // AcqRel: pairs with has_met. [ledger: P3]
        arrivals.fetch_add(1, Ordering::AcqRel);
        arrivals.wake(u32::MAX);
        // A sleeper of the other side that was about to give up has a peer again.
        self.wake_all_peers();
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
    fn wake_all_peers(&self) {
        match self.side {
            Side::Writer => self.wait_word(&self.segment, News::Data).wake_all(),
            Side::Reader => {
                self.wait_word(&self.segment, News::Room).wake_all();
                self.wait_word(&self.segment, News::Extent).wake_all();
            }
        }
    }

    #[inline(always)]
    fn changes_of(&self, side: Side) -> &AtomicU32 {
        let membership = &self.segment.header().membership.0;
        match side {
            Side::Writer => &membership.writers_changed,
            Side::Reader => &membership.readers_changed,
        }
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What the pid of an entry says between [`Participant::hand_over`] and [`Participant::take_up`].
const HANDED_OVER: u32 = 0;

/// An entry of `side` that nobody has, locked now, and the page that belongs to it. `None` if there is none, or none that
/// can be taken over at this moment.
fn free_entry(segment: &Segment, side: Side, lock: &OwnedFd) -> Result<Option<(u32, u32)>, JoinError> {
    let (first, limit) = entries_of(segment, side);
    for entry in first..first + limit {
        if !sys::try_lock(lock, entry)? {
            continue;
        }
        if let Some(page) = take_over(segment, entry)? {
            return Ok(Some((entry, page)));
        }
        // Its page is on its way through somebody's hands; there are other entries.
        sys::unlock(lock, entry)?;
    }
    Ok(None)
}

fn arrivals_of(segment: &Segment, side: Side) -> &Futex {
    let membership = &segment.header().membership.0;
    match side {
        Side::Writer => &membership.writers_arrived,
        Side::Reader => &membership.readers_arrived,
    }
}

#[inline(always)]
fn turns_of(segment: &Segment, side: Side, entry: u32) -> Turns<'_> {
    let header = segment.header();
    let word = match side {
        Side::Writer => &header.writers_turn.0,
        Side::Reader => &header.readers_turn.0,
    };
    Turns::new(word, entry)
}

fn entries_of(segment: &Segment, side: Side) -> (u32, u32) {
    let geometry = segment.layout().geometry;
    match side {
        Side::Writer => (0, geometry.writers),
        Side::Reader => (geometry.writers, geometry.readers),
    }
}

/// How long to sleep now, `None` if the deadline has passed.
fn sleep_limit(deadline: Option<Instant>) -> Option<Duration> {
    let Some(deadline) = deadline else { return Some(BACKSTOP) };
    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
    Some(left.min(BACKSTOP))
}
