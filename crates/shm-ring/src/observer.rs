//! One who watches: it looks at a pipe from one side, takes no part, and is told when there is something to see. For descriptors that
//! show what an end is ready for.
//!
//! ```text
//!   look ──> the same as before? ── no ──> show it ──> look ──> ...
//!                 │ yes
//!            ask to be told ── it will be ──> wait for the bell to ring: the next ring, not silence that ends
//!                 │ it will not (somebody is about to act, the end would not be heard)
//!            look again after a while
//! ```
//!
//! # Why nothing is missed
//! As for one who sleeps, see `bell`: who acts rings before it acts, for everybody who has asked before that. Who watches never says that it sleeps, so that
//! others may take rings out that it has not looked for; see there why it is told all the same. Where it shows that there is nobody of the other side,
//! which no one who sleeps does, it does say so: the ring of one who comes is for nobody else.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::bell_pipe::BellPipe;
use crate::life::{Before, Side, arrivals_of};
use crate::listening::{Listener, bell_word};
use crate::own_descriptor::OwnFd;
use crate::participant::Participant;
use crate::place::Cursor;
use crate::ring::Miss;
use crate::segment::Segment;
use crate::sync::Ordering;

/// One who watches. It is no participant: nobody waits for it, and it is not alive for anybody.
#[derive(Debug)]
pub struct Observer {
    segment: Arc<Segment>,
    side: Side,
    /// To ask by; it holds no lock but the one that says that somebody sleeps.
    lock: OwnFd,
    bell: Option<BellPipe>,
    cursor: Cursor,
    in_ring: usize,
    before: Before,
}

/// What it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// For readers: a slot is occupied. For writers: one more may be.
    pub is_ready: bool,
    /// Somebody of the other side is there.
    pub has_peers: bool,
    /// Somebody of the other side is there, or has been since the end was opened.
    pub has_met: bool,
}

impl Observer {
    /// Watches for `participant`.
    ///
    /// # Errors
    /// If descriptors are short.
    pub fn beside(participant: &Participant) -> io::Result<Self> {
        let (segment, side) = (Arc::clone(participant.segment()), participant.side());
        let bell = participant.bells()?.map(|bells| bells.into_own(side));
        let lock = segment.reopen()?;
        let cursor = match side {
            Side::Writer => segment.ring(0).head_hint(),
            Side::Reader => segment.ring(0).tail_hint(),
        };
        Ok(Self { segment, side, lock, bell, cursor, in_ring: 0, before: participant.before() })
    }

    /// From which side it looks.
    #[must_use]
    pub fn side(&self) -> Side {
        self.side
    }

    /// The bell, to be waited for with `EPOLLET`; also for its hang-up, after which the kernel takes a moment to tell that somebody is gone.
    #[must_use]
    pub fn bell(&self) -> Option<BorrowedFd<'_>> {
        self.bell.as_ref().map(AsFd::as_fd)
    }

    fn listener(&self) -> Listener<'_> {
        Listener { segment: &self.segment, side: self.side, lock: self.lock.as_fd() }
    }

    /// Looks. In this order: what the last one of the other side did before it left is seen after it has been found gone.
    pub fn look(&mut self) -> Seen {
        let has_peers = self.listener().has_peers();
        // Acquire: pairs with the AcqRel in announce_arrival. [ledger: P3]
        let arrivals = arrivals_of(&self.segment, self.side.peer()).load(Ordering::Acquire);
        let has_met = has_peers || self.before.is_before_one_of(arrivals);
        Seen { is_ready: self.is_ready(), has_peers, has_met }
    }

    fn is_ready(&mut self) -> bool {
        loop {
            let (ring, cursor) = (self.segment.ring(self.in_ring), &mut self.cursor);
            let looked = match self.side {
                Side::Writer => ring.has_room(cursor),
                Side::Reader => ring.front(cursor).map(|_| ()),
            };
            match looked {
                Err(Miss::Moved) if self.follow() => {}
                Err(Miss::Full | Miss::Empty) => return false,
                // Whatever it is, a call says it.
                _ => return true,
            }
        }
    }

    /// Follows the pipe to a larger ring, as often as there are rings at most.
    fn follow(&mut self) -> bool {
        let rings = self.segment.rings();
        let in_use = rings.settle().ok().and_then(|size| rings.index_of(size.ring));
        let is_larger = in_use.is_some_and(|in_use| in_use > self.in_ring);
        self.in_ring = in_use.unwrap_or(self.in_ring).max(self.in_ring);
        is_larger
    }

    /// Asks to be told when there is something else to see than what was `seen`. Returns whether the bell will: if not, there is something else now,
    /// or the caller looks again after a while.
    pub fn ask_to_be_told(&mut self, seen: Seen) -> bool {
        if seen.is_ready && seen.has_peers {
            // The next to see is the end. Who could publish or take more is not to be troubled with rings.
            self.listener().say_awake();
            return self.bell.is_some() && self.listener().would_end_be_heard();
        }
        let (segment, side) = (Arc::clone(&self.segment), self.side);
        let Ok(lock) = self.lock.try_clone() else { return false };
        let Some(bell) = self.bell.take() else { return false };
        let listener = Listener { segment: &segment, side, lock: lock.as_fd() };
        let says_so = listener.say_asleep();
        let may_hush = || says_so && !listener.is_anybody_else_asleep();
        let is_needless = || {
            listener.is_anybody_about_to_act()
                || seen.has_peers && !listener.would_end_be_heard()
                || self.look() != seen
        };
        let is_told = bell_word(&segment, side).prepare_to_watch(&bell, may_hush, is_needless);
        if !is_told || seen.has_peers {
            listener.say_awake();
        }
        self.bell = Some(bell);
        is_told && (says_so || seen.has_peers)
    }
}
