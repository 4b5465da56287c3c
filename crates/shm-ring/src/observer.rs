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
    look: Look,
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
        let look = Look { cursor, in_ring: 0, before: participant.before() };
        Ok(Self { segment, side, lock, bell, look })
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

    /// Looks.
    pub fn look(&mut self) -> Seen {
        let Self { segment, side, lock, look, .. } = self;
        look.look(Listener { segment, side: *side, lock: lock.as_fd() })
    }

    /// Asks to be told when there is something else to see than what was `seen`. Returns whether the bell will: if not, there is something else now,
    /// or the caller looks again after a while.
    pub fn ask_to_be_told(&mut self, seen: Seen) -> bool {
        let Some(bell) = self.bell.take() else { return false };
        let is_told = self.ask_at(&bell, seen);
        self.bell = Some(bell);
        is_told
    }

    fn ask_at(&mut self, bell: &BellPipe, seen: Seen) -> bool {
        if seen.has_peers && bell.is_hung_up() {
            // It has said so once, and will not again: who dies, or gives an end away, lets go of one thing after the other.
            self.listener().say_awake();
            return false;
        }
        if seen.is_ready && seen.has_peers {
            // The next to see is the end. Who could publish or take more is not to be troubled with rings.
            self.listener().say_awake();
            return self.listener().would_end_be_heard();
        }
        let segment = Arc::clone(&self.segment);
        let Self { side, lock, look, .. } = self;
        let listener = Listener { segment: &segment, side: *side, lock: lock.as_fd() };
        let says_so = listener.say_asleep();
        // Who is only waiting for somebody to come does not see what others wait for.
        let may_hush = || says_so && seen.has_peers && !listener.is_anybody_else_asleep();
        let is_needless = || {
            listener.is_anybody_about_to_act()
                || seen.has_peers && !listener.would_end_be_heard()
                || look.look(listener) != seen
        };
        let is_told = bell_word(&segment, *side).prepare_to_watch(bell, may_hush, is_needless);
        if !is_told || seen.has_peers {
            listener.say_awake();
        }
        is_told && (says_so || seen.has_peers)
    }
}

/// Where it looks, and since when.
#[derive(Debug)]
struct Look {
    cursor: Cursor,
    in_ring: usize,
    before: Before,
}

impl Look {
    /// In this order: what the last one of the other side did before it left is seen after it has been found gone.
    fn look(&mut self, listener: Listener<'_>) -> Seen {
        let Listener { segment, side, .. } = listener;
        let has_peers = listener.has_peers();
        // Acquire: pairs with the AcqRel in announce_arrival. [ledger: P3]
        let arrivals = arrivals_of(segment, side.peer()).load(Ordering::Acquire);
        let has_met = has_peers || self.before.is_before_one_of(arrivals);
        // What is lost is something that a call says.
        Seen { is_ready: self.is_ready(segment, side) || segment.is_lost(), has_peers, has_met }
    }

    fn is_ready(&mut self, segment: &Segment, side: Side) -> bool {
        loop {
            let (ring, cursor) = (segment.ring(self.in_ring), &mut self.cursor);
            let looked = match side {
                Side::Writer => ring.has_room(cursor),
                Side::Reader => ring.front(cursor).map(|_| ()),
            };
            match looked {
                Err(Miss::Moved) if self.follow(segment) => {}
                Err(Miss::Full | Miss::Empty) => return false,
                // Whatever it is, a call says it.
                _ => return true,
            }
        }
    }

    /// Follows the pipe to a larger ring, as often as there are rings at most.
    fn follow(&mut self, segment: &Segment) -> bool {
        let rings = segment.rings();
        let in_use = rings.settle().ok().and_then(|size| rings.index_of(size.ring));
        let is_larger = in_use.is_some_and(|in_use| in_use > self.in_ring);
        self.in_ring = in_use.unwrap_or(self.in_ring).max(self.in_ring);
        is_larger
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bell_pipe::Bells;
    use crate::layout::Geometry;
    use crate::reader_end::ReaderEnd;
    use crate::writer_end::{Kind, WriterEnd};

    /// A reader with one who watches for it, and a writer.
    fn three() -> (Participant, Observer, Participant) {
        let segment = Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        let (bells_of_reader, bells_of_writer) = Bells::of_two().expect("descriptors");
        let mut reader = Participant::join(Arc::clone(&segment), Side::Reader).expect("an entry");
        let mut writer = Participant::join(segment, Side::Writer).expect("an entry");
        reader.hold_bells(bells_of_reader).expect("a lock");
        writer.hold_bells(bells_of_writer).expect("a lock");
        let observer = Observer::beside(&reader).expect("descriptors");
        (reader, observer, writer)
    }

    fn seen(is_ready: bool, has_peers: bool) -> Seen {
        Seen { is_ready, has_peers, has_met: true }
    }

    #[test]
    fn it_sees_what_there_is_to_read_and_who_is_there() {
        let (reader, mut observer, writer) = three();
        let (mut reader, mut writer) = (ReaderEnd::new(reader), WriterEnd::new(writer));
        assert_eq!(observer.look(), seen(false, true));
        writer.fill(0, b"news");
        writer.publish(Kind::Packet, 4).expect("room");
        assert_eq!(observer.look(), seen(true, true));
        drop(writer);
        assert_eq!(observer.look(), seen(true, false));
        assert_eq!(reader.recv_packet(&mut [0; 8]), Some(4));
        assert_eq!(observer.look(), seen(false, false));
    }

    #[test]
    fn it_is_not_told_of_what_is_so_already_or_is_about_to_be() {
        let (_reader, mut observer, writer) = three();
        assert!(observer.ask_to_be_told(seen(false, true)));
        assert!(!observer.ask_to_be_told(seen(false, false)), "somebody is there");
        let record = crate::holding::Record(&writer.segment().entry(writer.entry()).record);
        record.intend(writer.spare.page(), 0);
        assert!(!observer.ask_to_be_told(seen(false, true)), "it may be about to publish");
        record.settle(writer.spare.page());
        assert!(observer.ask_to_be_told(seen(false, true)));
    }

    #[test]
    fn where_the_bell_has_hung_up_though_somebody_is_there_it_looks_again_by_the_clock() {
        let (_reader, mut observer, mut writer) = three();
        // It gives them away, or is dying, and its lock goes without a sound.
        drop(writer.at_bells.take());
        for is_ready in [false, true] {
            assert!(!observer.ask_to_be_told(seen(is_ready, true)));
        }
    }

    #[test]
    fn where_it_waits_for_somebody_to_come_it_leaves_the_rings_to_others() {
        let (_reader, mut observer, writer) = three();
        let bells = writer.bells().expect("descriptors").expect("it has bells");
        drop(writer);
        bells.of(Side::Reader).ring();
        let rung = bells.of(Side::Reader).rung();
        assert!(observer.ask_to_be_told(seen(false, false)));
        assert_eq!(bells.of(Side::Reader).rung(), rung);
    }

    #[test]
    fn who_leaves_rings_for_those_too_who_have_not_asked() {
        let (_reader, observer, writer) = three();
        let rung = || observer.bell.as_ref().and_then(BellPipe::rung);
        assert_eq!(rung(), Some(0));
        drop(writer);
        assert_eq!(rung(), Some(1));
    }
}
