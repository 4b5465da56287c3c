//! Waiting for several ends at once.
//!
//! ```text
//!   arm every word ──> is one ready? ── no ──> sleep at all of them, at most 50 ms ──> ... ten times, or too many for that:
//!                          │                                                             at their descriptors, for as long as it takes
//!                          └── yes ──> pass a wake on that may have been meant for one who reads or writes
//! ```

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{self, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use shm_ring::{Waited, sleep_at_any};
use smallvec::SmallVec;

use crate::reader::Reader;
use crate::readiness::{self, Readiness};
use crate::writer::Writer;

/// So many words one can sleep at.
const MOST_WORDS: usize = 128;
/// So many ends are waited for without allocating memory.
const FEW: usize = 32;
/// After so many sleeps that came to nothing one waits at descriptors.
const QUIET_SLEEPS: u32 = 10;

/// One of several ends that are waited for.
#[derive(Clone, Copy, Debug)]
pub struct PollEnd<'a> {
    end: End<'a>,
    interest: Readiness,
    ready: Readiness,
}

#[derive(Clone, Copy, Debug)]
enum End<'a> {
    Reader(&'a Reader),
    Writer(&'a Writer),
}

impl<'a> PollEnd<'a> {
    /// A reading end; `interest` is [`Readiness::READABLE`] or nothing.
    #[must_use]
    pub fn reader(reader: &'a Reader, interest: Readiness) -> Self {
        Self { end: End::Reader(reader), interest, ready: Readiness::empty() }
    }

    /// A writing end; `interest` is [`Readiness::WRITABLE`] or nothing.
    #[must_use]
    pub fn writer(writer: &'a Writer, interest: Readiness) -> Self {
        Self { end: End::Writer(writer), interest, ready: Readiness::empty() }
    }

    /// What it was found to be ready for, of what was of interest; [`Readiness::HUNG_UP`] and [`Readiness::BROKEN`] always are.
    #[must_use]
    pub fn ready(&self) -> Readiness {
        self.ready
    }

    fn look(&mut self) -> bool {
        let ready = match self.end {
            End::Reader(reader) => readiness::of_reader(&mut reader.borrow_end()),
            End::Writer(writer) => readiness::of_writer(&mut writer.borrow_end()),
        };
        self.ready = ready & (self.interest | Readiness::HUNG_UP | Readiness::BROKEN);
        !self.ready.is_empty()
    }

    fn pass_on(&self) {
        match self.end {
            End::Reader(reader) => reader.borrow_end().wake_next_reader(),
            End::Writer(writer) => writer.borrow_end().wake_next_writer(),
        }
    }
}

/// Waits until one of `ends` is ready, for at most `timeout`, or for as long as it takes. Returns how many are; 0 when the time is over.
/// Mirrors `poll`, by the rules of `pipe_poll` in `fs/pipe.c`; what it waits for is what [`Reader::readiness`] and [`Writer::readiness`] tell.
///
/// ```
/// use ppipe::{PollEnd, Readiness};
/// let (one, _writer) = ppipe::pipe()?;
/// let (other, writer) = ppipe::pipe()?;
/// writer.send(b"news")?;
/// let mut ends = [&one, &other].map(|reader| PollEnd::reader(reader, Readiness::READABLE));
/// assert_eq!(ppipe::poll(&mut ends, None)?, 1);
/// assert_eq!(ends[1].ready(), Readiness::READABLE);
/// # std::io::Result::Ok(())
/// ```
///
/// One that has waited for half a second, or waits for more than 128 ends, goes on at their descriptors ([`Reader::poll_fd`]), which it makes for that; if
/// they are short, it looks again every 50 ms, or every 5 ms. As long as a child lives that was forked and goes on without `exec`, descriptors do not show
/// that the other side is gone: then give a `timeout`. An end can be used by others while it is waited for, but not by this thread.
///
/// # Errors
/// `Interrupted` after a signal handler; in the first half second, and of 128 ends at most, only after one without `SA_RESTART` (`poll` is ended
/// by every handler).
pub fn poll(ends: &mut [PollEnd<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let (mut has_slept, mut sleeps) = (false, 0);
    loop {
        let ready = look(ends);
        if ready > 0 || timeout == Some(Duration::ZERO) {
            return Ok(done(ends, ready, has_slept));
        }
        let is_long = sleeps >= QUIET_SLEEPS || ends.len() > MOST_WORDS;
        let waited = if is_long { sleep_at_descriptors(ends, deadline) } else { None };
        let waited = waited.unwrap_or_else(|| {
            let borrowed: SmallVec<[_; FEW]> = ends.iter().map(|end| end.end).collect();
            sleep_unless_ready(&borrowed, ends, deadline)
        });
        sleeps += 1;
        match waited {
            Waited::LookAgain => {}
            Waited::Slept => has_slept = true,
            Waited::TimedOut => {
                let ready = look(ends);
                return Ok(done(ends, ready, has_slept));
            }
            Waited::Interrupted => {
                done(ends, 0, true);
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
    }
}

fn look(ends: &mut [PollEnd<'_>]) -> usize {
    ends.iter_mut().map(|end| usize::from(end.look())).sum()
}

fn sleep_unless_ready(armed: &[End<'_>], ends: &mut [PollEnd<'_>], deadline: Option<Instant>) -> Waited {
    let armed: SmallVec<[_; FEW]> = armed
        .iter()
        .map(|end| match end {
            End::Reader(reader) => reader.arm(),
            End::Writer(writer) => writer.arm(),
        })
        .collect();
    if look(ends) > 0 {
        return Waited::LookAgain;
    }
    let words: SmallVec<[_; FEW]> =
        armed.iter().map(|(segment, side, expected)| (segment.wait_word_of(*side), *expected)).collect();
    sleep_at_any(&words, deadline)
}

/// Sleeps until the descriptor of one of them shows something. `None` if they cannot be had.
fn sleep_at_descriptors(ends: &[PollEnd<'_>], deadline: Option<Instant>) -> Option<Waited> {
    let polled = ends.iter().map(|end| {
        let descriptor = match end.end {
            End::Reader(reader) => reader.poll_fd(),
            End::Writer(writer) => writer.poll_fd(),
        };
        let interest = PollFlags::from_bits_retain(end.interest.bits());
        descriptor.map(|descriptor| PollFd::from_borrowed_fd(descriptor, interest))
    });
    let mut polled = polled.collect::<io::Result<SmallVec<[_; FEW]>>>().ok()?;
    let left = deadline.map(|deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() }
    });
    match event::poll(&mut polled, left.as_ref()) {
        Ok(0) => Some(Waited::TimedOut),
        Ok(_) => Some(Waited::LookAgain),
        Err(Errno::INTR) => Some(Waited::Interrupted),
        Err(_) => None,
    }
}

/// The wake may have been meant for somebody who reads or writes, which this one does not do now.
fn done(ends: &[PollEnd<'_>], ready: usize, has_slept: bool) -> usize {
    if has_slept {
        ends.iter().for_each(PollEnd::pass_on);
    }
    ready
}
