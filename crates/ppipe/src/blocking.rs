//! Waiting: one loop for readers, one for writers. Everything else in this crate tries once and says why it could not.
//!
//! ```text
//!   reader: try ── empty ──> no writer? ── look once more ──> end of file
//!            ^                   │
//!            └──── woken ──── wait (spin, then sleep)
//!   writer: no reader? ──> broken pipe;  try ── full ──> wait ──> from the start
//! ```
//!
//! # Why nothing that was published is lost at end of file
//! A writer publishes and then leaves, and only then its lock is free. A reader that finds no writer looks at the ring
//! *after* that, so it sees what the last one published.

use std::io;
use std::time::{Duration, Instant};

use crossbeam_utils::Backoff;
use shm_ring::participant::Participant;
use shm_ring::{Miss, ReaderEnd, Waited, WriterEnd};

/// How long a call may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Not at all.
    Try,
    /// As long as it takes.
    None,
    /// Until then.
    Until(Instant),
}

impl Limit {
    pub(crate) fn of_flag(is_nonblocking: bool) -> Self {
        if is_nonblocking { Self::Try } else { Self::None }
    }

    pub(crate) fn after(timeout: Duration) -> Self {
        // A time too far away to be expressed never comes.
        Instant::now().checked_add(timeout).map_or(Self::None, Self::Until)
    }

    fn is_over(self) -> bool {
        self.deadline().is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn deadline(self) -> Option<Instant> {
        if let Self::Until(deadline) = self { Some(deadline) } else { None }
    }
}

/// Why a call ended without having done its work.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Every writer is gone and everything has been read.
    EndOfFile,
    /// Every reader is gone.
    BrokenPipe,
    /// It would have to wait, and may not.
    WouldBlock,
    /// The time is over.
    TimedOut,
    /// A signal handler ran that does not let calls go on.
    Interrupted,
    /// Shared memory says what no participant who keeps the rules writes.
    Damaged,
    /// The system refused something.
    System(io::Error),
}

impl From<Stop> for io::Error {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::EndOfFile => io::ErrorKind::UnexpectedEof.into(),
            Stop::BrokenPipe => io::ErrorKind::BrokenPipe.into(),
            Stop::WouldBlock => io::ErrorKind::WouldBlock.into(),
            Stop::TimedOut => io::ErrorKind::TimedOut.into(),
            Stop::Interrupted => io::ErrorKind::Interrupted.into(),
            Stop::Damaged => Self::new(io::ErrorKind::InvalidData, "the pipe's shared memory is damaged"),
            Stop::System(error) => error,
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// One try of a reader or a writer.
pub(crate) enum Tried<R> {
    /// Done.
    Done(R),
    /// Not possible now.
    Missed(Miss),
    /// Not possible for want of an extent, which is as good as full.
    NoExtent,
    /// Not possible at all.
    Failed(Stop),
}

impl<R> Tried<R> {
    /// What was done, made into something else.
    pub(crate) fn map<S>(self, change: impl FnOnce(R) -> S) -> Tried<S> {
        match self {
            Self::Done(done) => Tried::Done(change(done)),
            Self::Missed(miss) => Tried::Missed(miss),
            Self::NoExtent => Tried::NoExtent,
            Self::Failed(stop) => Tried::Failed(stop),
        }
    }
}

impl<R> From<Result<R, Miss>> for Tried<R> {
    #[inline]
    fn from(result: Result<R, Miss>) -> Self {
        match result {
            Ok(done) => Self::Done(done),
            Err(miss) => Self::Missed(miss),
        }
    }
}

/// So many lost races in one nonblocking call, and it gives up.
const MOST_LOST_RACES: u32 = 100;
/// So many lost races between two questions whether the other side is still there.
const RACES_PER_QUESTION: u32 = 32;

/// So many times in one call a look may say that there is something, and a try find nothing, before the clock is looked at.
const MOST_LOOKS: u32 = 16;

/// Lost races of one call: others were faster, so try again, politely.
struct Races {
    lost: u32,
    looks: u32,
    /// What the ring looked like some races ago.
    ring: Option<u64>,
    backoff: Backoff,
}

impl Races {
    fn new() -> Self {
        Self { lost: 0, looks: 0, ring: None, backoff: Backoff::new() }
    }

    /// Counts one, and asks now and then who is still there.
    #[cold]
    fn lose_one(&mut self, miss: Miss, limit: Limit, participant: &mut Participant) -> Result<(), Stop> {
        self.lost += 1;
        if miss == Miss::Unheard {
            // Lost to those who go to sleep, and they change nothing.
            self.ring = None;
        }
        if self.lost.is_multiple_of(RACES_PER_QUESTION) {
            participant.ask_for_peers_now_and_then();
            // Who wins a race changes the ring. If nobody has, it is not the others.
            let now = Some(participant.fingerprint());
            if core::mem::replace(&mut self.ring, now) == now {
                return Err(Stop::Damaged);
            }
        }
        match limit {
            Limit::Try if self.lost > MOST_LOST_RACES => return Err(Stop::WouldBlock),
            Limit::Until(_) if limit.is_over() => return Err(Stop::TimedOut),
            // Who may not wait does not give the CPU away either.
            Limit::Try => self.backoff.spin(),
            _ => self.backoff.snooze(),
        }
        Ok(())
    }
}

impl Races {
    /// Whether to look briefly, and not to wait in earnest at once. Mostly; but one whose looks always succeed, and its tries
    /// never, has to get on to the questions whether its time is over and anybody is there.
    fn may_look(&mut self, limit: Limit) -> bool {
        self.looks += 1;
        limit != Limit::Try && !self.looks.is_multiple_of(MOST_LOOKS)
    }
}

/// Before a reader's first try.
#[inline(always)]
pub(crate) fn before_reading(end: &mut ReaderEnd, limit: Limit) {
    if limit != Limit::Try {
        end.participant().heed_turns(limit.deadline());
    }
}

/// Tries until something is read, the writers are gone, or the limit.
#[inline]
pub(crate) fn read_within<R>(
    end: &mut ReaderEnd,
    limit: Limit,
    mut attempt: impl FnMut(&mut ReaderEnd) -> Tried<R>,
) -> Result<R, Stop> {
    before_reading(end, limit);
    match attempt(end) {
        Tried::Done(done) => Ok(done),
        missed => read_or_wait(end, limit, attempt, Some(missed)),
    }
}

/// As [`read_within`], once [`before_reading`] and perhaps a `first` try are over.
#[cold]
pub(crate) fn read_or_wait<R>(
    end: &mut ReaderEnd,
    limit: Limit,
    mut attempt: impl FnMut(&mut ReaderEnd) -> Tried<R>,
    first: Option<Tried<R>>,
) -> Result<R, Stop> {
    let mut has_slept = false;
    let result = read_until_done(end, limit, &mut attempt, first, &mut has_slept);
    end.participant().had_luck();
    if has_slept {
        // Whatever came of it: the wake that we were given may have been for what another one can use.
        end.wake_next_reader();
    }
    result
}

fn read_until_done<R>(
    end: &mut ReaderEnd,
    limit: Limit,
    attempt: &mut impl FnMut(&mut ReaderEnd) -> Tried<R>,
    mut first: Option<Tried<R>>,
    has_slept: &mut bool,
) -> Result<R, Stop> {
    let mut races = Races::new();
    loop {
        match first.take().unwrap_or_else(|| attempt(end)) {
            Tried::Done(done) => return Ok(done),
            Tried::Failed(stop) => return Err(stop),
            Tried::Missed(miss @ (Miss::Lost | Miss::Unheard)) => races.lose_one(miss, limit, end.participant())?,
            Tried::Missed(Miss::Garbled | Miss::Full | Miss::Moved) | Tried::NoExtent => return Err(Stop::Damaged),
            Tried::Missed(Miss::Empty) if races.may_look(limit) && end.look_briefly() => {}
            Tried::Missed(Miss::Empty) if end.participant().segment().is_lost() => return Err(Stop::Damaged),
            Tried::Missed(Miss::Empty) => {
                let peers = end.participant();
                if !peers.has_peers() || (limit == Limit::Try && !peers.ask_for_peers_now_and_then()) {
                    if end.is_empty() {
                        return Err(Stop::EndOfFile);
                    }
                    races.lose_one(Miss::Lost, limit, end.participant())?;
                } else if limit == Limit::Try {
                    return Err(Stop::WouldBlock);
                } else if limit.is_over() {
                    return Err(Stop::TimedOut);
                } else {
                    let waited = end.wait_for_data(limit.deadline());
                    *has_slept |= matches!(waited, Waited::Slept | Waited::Interrupted);
                    if waited == Waited::Interrupted {
                        return Err(Stop::Interrupted);
                    }
                }
            }
        }
    }
}

/// Tries of something that others prevent again and again, politely and not for ever.
pub(crate) struct Retries {
    left: u32,
    backoff: Backoff,
}

impl Retries {
    pub(crate) fn new() -> Self {
        Self { left: MOST_RETRIES, backoff: Backoff::new() }
    }

    /// Before each try.
    pub(crate) fn may_go_on(&mut self) -> bool {
        if self.left < MOST_RETRIES {
            self.backoff.snooze();
        }
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }
}

/// Each of them fails only because somebody else has got on, or scribbles.
const MOST_RETRIES: u32 = 100_000;

/// How a call is to go on that could not be given up for a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    AsMeant,
    /// A handler ran that does not let calls go on: this is to be the last that it does.
    ByASignal,
}

/// Publishes what exists nowhere else any more: waits for room, as long as somebody reads.
pub(crate) fn publish_for_certain(
    end: &mut WriterEnd,
    mut attempt: impl FnMut(&mut WriterEnd) -> Tried<()>,
) -> Result<Ended, Stop> {
    let mut ended = Ended::AsMeant;
    loop {
        match write_within(end, Limit::None, &mut attempt) {
            Ok(()) => return Ok(ended),
            Err(Stop::Interrupted) => ended = Ended::ByASignal,
            Err(stop) => return Err(stop),
        }
    }
}

/// Waits until there is something to read.
pub(crate) fn wait_for_data(end: &mut ReaderEnd, limit: Limit) -> Result<(), Stop> {
    read_within(end, limit, |end| end.front().map(|_| ()).into())
}

/// Waits until an extent is free.
pub(crate) fn wait_for_extent(end: &mut WriterEnd, limit: Limit) -> Result<(), Stop> {
    write_within(end, limit, |end| if end.has_free_extent() { Tried::Done(()) } else { Tried::NoExtent })
}

/// Waits until one more slot may be occupied.
pub(crate) fn wait_for_room(end: &mut WriterEnd, limit: Limit) -> Result<(), Stop> {
    write_within(end, limit, |end| end.has_room().into())
}

/// Before a writer's first try. Whether there is anybody to read.
#[inline(always)]
pub(crate) fn before_writing(end: &mut WriterEnd, limit: Limit) -> bool {
    if !end.participant().has_peers() {
        return false;
    }
    if limit != Limit::Try {
        end.participant().heed_turns(limit.deadline());
    }
    true
}

/// Tries until something is written, the readers are gone, or the limit.
#[inline]
pub(crate) fn write_within<R>(
    end: &mut WriterEnd,
    limit: Limit,
    mut attempt: impl FnMut(&mut WriterEnd) -> Tried<R>,
) -> Result<R, Stop> {
    if !before_writing(end, limit) {
        return Err(Stop::BrokenPipe);
    }
    match attempt(end) {
        Tried::Done(done) => Ok(done),
        missed => write_or_wait(end, limit, attempt, Some(missed)),
    }
}

/// As [`write_within`], once [`before_writing`] and perhaps a `first` try are over.
#[cold]
pub(crate) fn write_or_wait<R>(
    end: &mut WriterEnd,
    limit: Limit,
    mut attempt: impl FnMut(&mut WriterEnd) -> Tried<R>,
    first: Option<Tried<R>>,
) -> Result<R, Stop> {
    let mut has_slept = false;
    let result = write_until_done(end, limit, &mut attempt, first, &mut has_slept);
    end.participant().had_luck();
    if has_slept {
        end.wake_next_writer();
    }
    result
}

fn write_until_done<R>(
    end: &mut WriterEnd,
    limit: Limit,
    attempt: &mut impl FnMut(&mut WriterEnd) -> Tried<R>,
    mut first: Option<Tried<R>>,
    has_slept: &mut bool,
) -> Result<R, Stop> {
    let mut races = Races::new();
    loop {
        let waited = match first.take().unwrap_or_else(|| attempt(end)) {
            Tried::Done(done) => return Ok(done),
            Tried::Failed(stop) => return Err(stop),
            Tried::Missed(Miss::Garbled | Miss::Empty | Miss::Moved) => return Err(Stop::Damaged),
            Tried::Missed(miss @ (Miss::Lost | Miss::Unheard)) => {
                races.lose_one(miss, limit, end.participant())?;
                Waited::LookAgain
            }
            Tried::Missed(Miss::Full) | Tried::NoExtent if end.participant().segment().is_lost() => {
                return Err(Stop::Damaged);
            }
            Tried::Missed(Miss::Full) | Tried::NoExtent if limit == Limit::Try => {
                if end.participant().ask_for_peers_now_and_then() {
                    return Err(Stop::WouldBlock);
                }
                Waited::LookAgain
            }
            Tried::Missed(Miss::Full) if races.may_look(limit) && end.look_briefly() => Waited::LookAgain,
            Tried::Missed(Miss::Full) if limit.is_over() => Waited::TimedOut,
            Tried::Missed(Miss::Full) => {
                if *has_slept {
                    // Woken for room that is gone. There may be room behind what was put there, for one who has less to write.
                    end.leave_room_to_the_next();
                }
                end.wait_for_room(limit.deadline())
            }
            Tried::NoExtent => end.wait_for_extent(limit.deadline()),
        };
        *has_slept |= matches!(waited, Waited::Slept | Waited::Interrupted);
        if !end.participant().has_peers() {
            return Err(Stop::BrokenPipe);
        }
        if waited == Waited::Interrupted {
            return Err(Stop::Interrupted);
        }
        if waited == Waited::TimedOut {
            return Err(Stop::TimedOut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shm_ring::sync::Ordering;
    use shm_ring::writer_end::Kind;
    use shm_ring::{Geometry, Segment};

    fn ends() -> (ReaderEnd, WriterEnd) {
        let segment = std::sync::Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        (ReaderEnd::join(segment.clone()).expect("an entry"), WriterEnd::join(segment).expect("an entry"))
    }

    #[test]
    fn who_may_wait_lets_others_go_first_whose_turn_it_is() {
        let segment = std::sync::Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        let mut reader = ReaderEnd::join(segment.clone()).expect("an entry");
        let mut writer = WriterEnd::join(segment.clone()).expect("an entry");
        let (readers, writers) = (&segment.header().readers_turn.0, &segment.header().writers_turn.0);
        for turn in [readers, writers] {
            turn.fetch_add(100, Ordering::Relaxed);
        }
        let turns = || [readers, writers].map(|turn| turn.load(Ordering::Relaxed));
        before_reading(&mut reader, Limit::Try);
        assert!(before_writing(&mut writer, Limit::Try));
        assert_eq!(turns(), [100, 100]);
        // Nobody has that turn, so whoever waits for it strikes it out.
        before_reading(&mut reader, Limit::None);
        assert_eq!(turns(), [0, 100]);
        assert!(before_writing(&mut writer, Limit::None));
        assert_eq!(turns(), [0, 0]);
    }

    #[test]
    fn a_time_comes_to_its_end_though_every_look_says_that_there_is_something() {
        let (mut reader, mut writer) = ends();
        writer.fill(0, b"never taken");
        writer.publish(Kind::Packet, 11).expect("room");
        let limit = Limit::after(Duration::from_millis(5));
        let result: Result<(), _> = read_within(&mut reader, limit, |_| Tried::Missed(Miss::Empty));
        assert!(matches!(result, Err(Stop::TimedOut)), "{result:?}");
        let limit = Limit::after(Duration::from_millis(5));
        let result: Result<(), _> = write_within(&mut writer, limit, |_| Tried::Missed(Miss::Full));
        assert!(matches!(result, Err(Stop::TimedOut)), "{result:?}");
    }

    /// One try that finds nothing; what happens before the reader asks who is there is up to `meanwhile`.
    fn read_with(reader: &mut ReaderEnd, meanwhile: impl FnOnce()) -> Result<usize, Stop> {
        let mut meanwhile = Some(meanwhile);
        read_within(reader, Limit::Try, |end| match meanwhile.take() {
            Some(happen) => {
                assert!(end.is_empty());
                happen();
                Tried::Missed(Miss::Empty)
            }
            None => end.recv_packet(&mut [0; 8]).ok_or(Miss::Empty).into(),
        })
    }

    #[test]
    fn what_is_sent_between_a_look_and_the_end_of_file_is_found() {
        let (mut reader, mut writer) = ends();
        let received = read_with(&mut reader, move || {
            writer.fill(0, b"last");
            writer.publish(Kind::Packet, 4).expect("room");
            drop(writer);
        });
        assert!(matches!(received, Ok(4)), "{received:?}");
        assert!(matches!(read_with(&mut reader, || ()), Err(Stop::EndOfFile)));
    }

    #[test]
    fn races_lost_to_those_who_go_to_sleep_are_no_damage() {
        let (mut reader, _writer) = ends();
        let mut try_in_vain = |miss| read_within(&mut reader, Limit::Try, |_| Tried::<()>::Missed(miss));
        assert!(matches!(try_in_vain(Miss::Lost), Err(Stop::Damaged)), "nobody else has changed anything");
        assert!(matches!(try_in_vain(Miss::Unheard), Err(Stop::WouldBlock)));
    }

    #[test]
    fn a_try_that_fails_is_not_made_again() {
        let (mut reader, writer) = ends();
        let mut tries = 0;
        let result: Result<(), _> = read_within(&mut reader, Limit::None, |_| {
            tries += 1;
            Tried::Missed(Miss::Garbled)
        });
        assert!(matches!(result, Err(Stop::Damaged)), "{result:?}");
        assert_eq!(tries, 1, "what was garbled has been taken away and something else looked at");
        drop(writer);
    }
}
