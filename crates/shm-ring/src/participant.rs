//! A participant: one entry of a segment's table, held by a lock that the kernel releases when its holder dies.
//!
//! ```text
//!   entries   | writers 0 .. W             | readers W .. W + R          |   table in the segment
//!   locks     | byte 0 .. W of the file    | byte W .. W + R of the file |   kept by the kernel; behind them see `long_sleep`
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
use std::sync::Arc;

use crate::bell::Notice;
use crate::closing::{close_if_last, tenure_of};
use crate::life::{Before, Peers, Side, Witness, arrivals_of, changes_of, entries_of};
use crate::listening::bytes_of;
use crate::long_sleep::AtBells;
use crate::lost::Lost;
use crate::own_descriptor::OwnFd;
use crate::owner::Owner;
use crate::patience::{Patience, Waiting};
use crate::place::Cursor;
use crate::process::Process;
use crate::recovery::{settle_the_dead, take_over};
use crate::ring::{Miss, Ring, Spare};
use crate::robust_list::RobustWord;
use crate::segment::Segment;
use crate::sleeping::{News, turns_of};
use crate::sync::Ordering;
use crate::sys;
use crate::tenure::Refused;
use crate::turns::Luck;

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

impl From<Refused> for JoinError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Closed => Self::Closed,
            Refused::Garbled => Self::Garbled,
        }
    }
}

impl From<Lost> for JoinError {
    fn from(lost: Lost) -> Self {
        Self::System(lost.into())
    }
}

/// One participant of a segment. Dropping it leaves.
#[derive(Debug)]
pub struct Participant {
    pub(crate) segment: Arc<Segment>,
    pub(crate) side: Side,
    pub(crate) entry: u32,
    /// `None` once it has been handed over or has left.
    pub(crate) lock: Option<OwnFd>,
    pub(crate) spare: Spare,
    pub(crate) cursor: Cursor,
    /// Index of the ring in which this participant stands.
    pub(crate) in_ring: usize,
    pub(crate) patience: Patience,
    pub(crate) luck: Luck,
    pub(crate) peers: Peers,
    pub(crate) before: Before,
    pub(crate) at_bells: AtBells,
    /// Marked by the kernel when this process dies. `None` if the system does not let it, and while somebody else has the entry.
    pub(crate) robust: Option<RobustWord>,
    /// The process that joined. A forked child has a copy of the descriptor, but is not the participant.
    process: Process,
}

/// What a participant brings to a step of the ring.
pub(crate) struct Own<'a> {
    pub(crate) cursor: &'a mut Cursor,
    pub(crate) spare: &'a mut Spare,
    pub(crate) notice: Notice<'a>,
}

impl Participant {
    /// Joins the segment as a participant of `side`.
    ///
    /// # Errors
    /// [`JoinError`]; nothing is held then.
    pub fn join(segment: Arc<Segment>, side: Side) -> Result<Self, JoinError> {
        let lock = segment.reopen()?;
        // In this order: who is not alive at the question and was not counted before it will be counted later. Acquire: pairs
        // with the AcqRel in announce_arrival. [ledger: P3]
        let arrivals = arrivals_of(&segment, side.peer()).load(Ordering::Acquire);
        let (first, limit) = entries_of(&segment, side.peer());
        let before = Before { arrivals, alive: sys::is_locked_elsewhere(&lock, first, limit)? };
        let mut entry = free_entry(&segment, side, &lock)?;
        for _ in 0..MOST_RETRIES {
            if entry.is_some() {
                break;
            }
            // One of ours may be waiting for one of the other side to be cleaned up first, or be held for a moment by somebody
            // who cleans up.
            settle_the_dead(&segment, &lock)?;
            entry = free_entry(&segment, side, &lock)?;
        }
        let (_, limit) = entries_of(&segment, side);
        let Some((entry, page)) = entry else { return Err(JoinError::NoEntry { side, limit }) };
        segment.take_memory_of_page(page)?;
        tenure_of(&segment).count_in()?;
        segment.entry(entry).pid.store(std::process::id(), Ordering::Relaxed);
        // Relaxed: nobody but sleepers looks, and until it is seen they sleep with a bound. [ledger: B4]
        segment.entry(entry).stirs.store(0, Ordering::Relaxed);
        let participant = Self::new(segment, side, entry, lock, page, before);
        participant.announce_arrival();
        // The dead one whose entry this was may have had some.
        participant.pass_on(News::Extent);
        participant.segment.check_memory()?;
        Ok(participant)
    }

    pub(crate) fn new(segment: Arc<Segment>, side: Side, entry: u32, lock: OwnFd, page: u32, before: Before) -> Self {
        // The first one, though the pipe may have moved: it is followed from there like by everybody else.
        let in_ring = 0;
        let ring = segment.ring(in_ring);
        let cursor = match side {
            Side::Writer => ring.head_hint(),
            Side::Reader => ring.tail_hint(),
        };
        // Before there is another thread: it takes longer then.
        let at_bells = AtBells::new();
        let robust = own_word(&segment, entry);
        let owner = Owner(segment.entry(entry).owner.load(Ordering::Relaxed));
        let peers = Peers { changed: None, alive: true, asked: None, witness: Witness { entry, owner }, untold: None };
        let (spare, patience) = (Spare::new(page), Patience::new(Waiting::default()));
        Self {
            segment,
            side,
            entry,
            lock: Some(lock),
            spare,
            cursor,
            in_ring,
            patience,
            luck: Luck::default(),
            peers,
            before,
            at_bells,
            robust,
            process: Process::this(),
        }
    }

    /// Has the kernel mark the entry when this process dies, again.
    pub(crate) fn watch_over(&mut self) {
        self.robust = own_word(&self.segment, self.entry);
        self.peers.changed = None;
    }

    /// The segment.
    #[inline]
    #[must_use]
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Which end of the pipe it has.
    #[must_use]
    pub fn side(&self) -> Side {
        self.side
    }

    /// The ring, and what this participant brings to a step of it.
    #[inline(always)]
    pub(crate) fn ring_and_own(&mut self) -> (&Ring<'_>, Own<'_>) {
        let notice = Self::notice_of(&self.segment, self.side, self.entry, &self.at_bells);
        (self.segment.ring(self.in_ring), Own { cursor: &mut self.cursor, spare: &mut self.spare, notice })
    }

    /// The ring.
    #[inline(always)]
    pub(crate) fn ring(&self) -> &Ring<'_> {
        self.segment.ring(self.in_ring)
    }

    /// Follows the pipe to the ring that it has moved to, if that is what `miss` is about. What is to be said of it then.
    #[cold]
    pub(crate) fn follow(&mut self, miss: Miss) -> Miss {
        if miss != Miss::Moved {
            return miss;
        }
        let rings = self.segment.rings();
        let in_use = rings.settle().ok().and_then(|size| rings.index_of(size.ring));
        // It never moves back.
        let Some(in_use) = in_use.filter(|&in_use| in_use > self.in_ring) else { return Miss::Garbled };
        self.in_ring = in_use;
        self.spare = Spare::new(self.spare.page());
        Miss::Lost
    }

    /// Frees what extents belong to the own page, and wakes a writer that may wait for one.
    #[cold]
    pub(crate) fn release_own_extents(&self) {
        self.segment.extents().release_all_of(self.spare.page());
        self.pass_on(News::Extent);
    }

    /// Whether as many slots are occupied as may be. For writers.
    pub(crate) fn is_full(&mut self) -> bool {
        self.has_room() == Err(Miss::Full)
    }

    /// Whether one more slot may be occupied. For writers.
    pub(crate) fn has_room(&mut self) -> Result<(), Miss> {
        self.look(|ring, cursor| ring.has_room(cursor))
    }

    /// What a look at the ring gives, wherever the pipe has moved to.
    fn look(&mut self, look: impl Fn(&Ring<'_>, &mut Cursor) -> Result<(), Miss>) -> Result<(), Miss> {
        loop {
            let (ring, own) = self.ring_and_own();
            match look(ring, own.cursor) {
                // As often as there are rings, at most.
                Err(Miss::Moved) if self.follow(Miss::Moved) == Miss::Lost => {}
                // Whatever zeros say: who tries is told what is wrong.
                _ if self.segment.is_lost() => return Err(Miss::Garbled),
                seen => return seen,
            }
        }
    }

    /// Whether fewer than half of the slots are occupied. For writers.
    pub(crate) fn is_less_than_half_full(&self) -> bool {
        self.ring().is_less_than_half_full(self.cursor)
    }

    /// Whether `added` bytes could be merged into the last slot. For writers.
    pub(crate) fn could_merge(&self, added: usize) -> bool {
        self.ring().could_merge(self.cursor, added)
    }

    /// Whether it still looks so to a writer that waits.
    #[inline]
    pub(crate) fn is_still_full(&self) -> bool {
        self.ring().is_still_full(self.cursor) && !self.segment.is_lost()
    }

    /// Whether there is still nothing for a reader that waits.
    #[inline]
    pub(crate) fn is_still_empty(&self) -> bool {
        self.ring().is_still_empty(self.cursor) && !self.segment.is_lost()
    }

    /// Whether there is nothing to read. For readers.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.look(|ring, cursor| ring.front(cursor).map(|_| ())) == Err(Miss::Empty)
    }

    /// A number that changes with every change of the ring, as far as a few thousand million of them go.
    #[cold]
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        // Relaxed: nothing depends on when it was.
        let words = self.ring().slots.iter().map(|slot| slot.load(Ordering::Relaxed));
        words.fold(0, |hash: u64, word| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29))
    }

    /// Says on the own page who fills it. It mostly says so already, since pages go round.
    #[inline(always)]
    pub(crate) fn sign_page(&self) {
        if !self.segment.layout().geometry.is_signed {
            return;
        }
        let signature = self.segment.signature(self.spare.page());
        // Relaxed, both: for people to read. The exchange that follows makes it seen with the bytes.
        let number = self.process.number();
        if signature.load(Ordering::Relaxed) != number {
            signature.store(number, Ordering::Relaxed);
        }
    }

    /// Whether it is the one who joined, and not a copy in a forked child.
    #[inline]
    #[must_use]
    pub fn is_of_this_process(&self) -> bool {
        self.process.is_not_forked()
    }

    /// Which entry of the table this participant holds.
    #[must_use]
    pub fn entry(&self) -> u32 {
        self.entry
    }

    /// Leaves, and closes the segment for ever if nobody else is there. Returns whether it did: the caller then removes
    /// the segment's name.
    #[must_use]
    pub fn leave_and_close_if_last(&mut self) -> bool {
        // Another one than that of the lock, which is closed by then, and leaves a number where they are short. If there is none all the same, whoever
        // opens the name next closes it.
        let asker = self.segment.reopen();
        let may_be_last = self.leave();
        // What is lost has no words that others see: its name is a damaged one's.
        let may_be_last = may_be_last && !self.segment.is_lost();
        may_be_last && asker.or_else(|_| self.segment.reopen()).is_ok_and(|asker| close_if_last(&self.segment, &asker))
    }

    /// Gives up the entry; returns whether there was one to be given up.
    fn leave(&mut self) -> bool {
        let is_this = self.process.is_this();
        if self.lock.is_some() && is_this {
            self.announce_leaving();
        }
        // Before the lock, always: who is found gone hides no hang-up.
        drop(self.at_bells.take());
        let Some(lock) = self.lock.take() else { return false };
        if !is_this {
            // A copy of the handle in a forked child: closing its copy of the descriptor is all there is to do.
            return false;
        }
        turns_of(&self.segment, self.side, self.entry).end_own();
        self.release_own_extents();
        // Before the lock: after it the entry is somebody else's, and so is its word. Between the two it is not known who is there, and the others ask.
        match self.robust.take() {
            Some(robust) => robust.leave(),
            None => self.segment.entry(self.entry).owner.store(Owner::LEAVING.0, Ordering::Relaxed),
        }
        // From here on the entry is somebody else's. If this fails, closing the descriptor does it.
        let _ = sys::unlock(&lock, self.entry);
        // At once: until then it looks as if somebody had copies of it, and the entry is nobody's.
        drop(lock);
        // AcqRel: pairs with has_peers. [ledger: P2]
        changes_of(&self.segment, self.side).fetch_add(1, Ordering::AcqRel);
        self.wake_all_peers();
        true
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The owner word of an entry that is this process's. `None`: then it says that nobody would be marked, and not what it said of the one before.
fn own_word(segment: &Segment, entry: u32) -> Option<RobustWord> {
    // Relaxed: seen by whoever sees that this one is there.
    segment.entry(entry).owner.store(Owner::NOBODY.0, Ordering::Relaxed);
    RobustWord::new(segment.file(), segment.layout().owner_at(entry))
}

/// So often one who finds no free entry cleans up and looks again.
const MOST_RETRIES: usize = 3;

/// An entry of `side` that nobody has, locked now, and the page that belongs to it. `None` if there is none, or none that
/// can be taken over at this moment.
fn free_entry(segment: &Segment, side: Side, lock: &OwnFd) -> Result<Option<(u32, u32)>, JoinError> {
    let (first, limit) = entries_of(segment, side);
    for entry in first..first + limit {
        // Somebody may have copies of the bells of the one who has left, and so hide it when the last one goes. Asked before the lock,
        // so that nobody takes it for that of one who is there; and after it, since one may have come and left between.
        let has_ghost = || sys::is_locked_elsewhere(lock, bytes_of(segment).has_bells(entry), 1);
        if has_ghost()? || !sys::try_lock(lock, entry)? {
            continue;
        }
        if !has_ghost()?
            && let Some(page) = take_over(segment, entry)?
        {
            return Ok(Some((entry, page)));
        }
        // Its page is on its way through somebody's hands; there are other entries.
        sys::unlock(lock, entry)?;
    }
    Ok(None)
}
