//! What an end shows to `poll`, and how it comes to be true.
//!
//! ```text
//!   a call of this end leaves nothing to read (no room) ──> not ready any more, and asks to be told
//!   somebody publishes (takes) something                ──> the bell rings ──> the watcher ──> ready
//!   the other side goes, or comes                       ──> the bell rings, or hangs up ──> the watcher ──> hung up, or not
//! ```
//!
//! It belongs to a description: all duplicates of an end share it, as they share flags.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use shm_ring::Side;
use shm_ring::observer::{Observer, Seen};
use shm_ring::own_descriptor::OwnFd;
use shm_ring::participant::Participant;

use crate::display::Display;
use crate::readiness::Readiness;
use crate::watcher::Watcher;

/// How long until the first look again of one that will not be told; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// So often one looks at once where others change it all the time.
const MOST_LOOKS: usize = 4;
/// So often in a row a call finds no room, and the ring has some, before that is believed: what it wants is short, and not shown.
const MOST_IN_VAIN: u32 = 3;

/// What is shown of one description. Empty until somebody asks for the descriptor.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchCell(Arc<Cell>);

#[derive(Debug, Default)]
struct Cell {
    watch: OnceLock<Arc<Watch>>,
    /// Whether the description is open both ways.
    is_of_both: AtomicBool,
}

/// One description that is watched.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Whether it shows that there is something to read, or room, of each side; for those who need not look any further.
    shows_ready: [AtomicBool; 2],
    is_of_both: bool,
    watcher: Arc<Watcher>,
    /// Set when it is known to the watcher.
    key: OnceLock<u64>,
    descriptor: Arc<OwnFd>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    observers: Vec<Observer>,
    display: Display,
    pauses: u32,
    /// So many calls in a row fell short and left something.
    in_vain: u32,
}

/// What a call of an end has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// It did all that it was to do.
    ToItsEnd,
    /// It did a part of it; its user waits now.
    Short,
    /// It would have had to wait.
    ToNothing,
}

impl Came {
    #[inline]
    pub(crate) fn of<T>(result: &io::Result<T>, is_all: impl FnOnce(&T) -> bool) -> Self {
        match result {
            Ok(done) if is_all(done) => Self::ToItsEnd,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Self::ToNothing,
            _ => Self::Short,
        }
    }
}

impl WatchCell {
    /// What is shown, if somebody has asked for it.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<&Arc<Watch>> {
        self.0.watch.get()
    }

    /// Says that the description is open both ways.
    pub(crate) fn set_of_both(&self) {
        // Relaxed: it is said before anybody else has it.
        self.0.is_of_both.store(true, Ordering::Relaxed);
    }

    /// What is shown of the end of these participants, from now on.
    ///
    /// # Errors
    /// If descriptors are short, or no thread can be made; `Unsupported` if the description is open both ways, and these are not.
    pub(crate) fn get_or_watch(&self, participants: &[&Participant]) -> io::Result<BorrowedFd<'_>> {
        if self.get().is_none() {
            if participants.len() == 1 && self.0.is_of_both.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Unsupported.into());
            }
            let is_of = |side| participants.iter().any(|participant| participant.side() == side);
            self.watch(participants, Display::new(is_of(Side::Reader), is_of(Side::Writer))?)?;
        }
        self.get().map(|watch| watch.descriptor()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Shows it from now on, if nothing does yet.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn watch(&self, participants: &[&Participant], display: Display) -> io::Result<()> {
        // If another thread was faster, it is that one's.
        let _ = self.0.watch.set(Watch::new(participants, display)?);
        Ok(())
    }
}

impl Watch {
    fn new(participants: &[&Participant], display: Display) -> io::Result<Arc<Self>> {
        let watcher = Watcher::of_this_process()?;
        let observers = participants.iter().map(|participant| Observer::beside(participant));
        let observers = observers.collect::<io::Result<Vec<_>>>()?;
        let watch = Arc::new(Self {
            shows_ready: [const { AtomicBool::new(false) }; 2],
            is_of_both: participants.len() > 1,
            watcher,
            key: OnceLock::new(),
            descriptor: Arc::clone(display.descriptor()),
            inner: Mutex::new(Inner { observers, display, pauses: 0, in_vain: 0 }),
        });
        let key = {
            let inner = watch.inner();
            watch.watcher.add(inner.observers.iter().filter_map(Observer::bell), &Arc::downgrade(&watch))?
        };
        let _ = watch.key.set(key);
        watch.look();
        Ok(watch)
    }

    /// The descriptor that shows it.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// After a call of an end of `side`, which has `left_something`: to read, or room.
    #[cold]
    pub(crate) fn after_use(&self, side: Side, came: Came, left_something: impl FnOnce() -> bool) {
        // A full fence, as in settle.
        fence(Ordering::SeqCst);
        // Relaxed: a flag.
        let showed_ready = self.shows_ready[side as usize].load(Ordering::Relaxed);
        if !showed_ready && !self.is_of_both {
            return;
        }
        if self.is_of_both || !left_something() {
            self.inner().in_vain = 0;
            self.look();
            if came != Came::ToItsEnd {
                // What came between the call and this look has changed nothing of what is shown, and so has made no edge.
                self.inner().display.make_edge();
            }
            return;
        }
        let mut inner = self.inner();
        match came {
            Came::ToItsEnd => inner.in_vain = 0,
            // Who waits for edges is told by one, also of what has come since.
            Came::Short => inner.display.make_edge(),
            Came::ToNothing if side == Side::Reader || inner.in_vain < MOST_IN_VAIN => {
                inner.in_vain += 1;
                inner.display.make_edge();
            }
            Came::ToNothing => {
                // What is short is nothing that the ring shows: an extent. Who waits for it looks again by the clock.
                self.shows_ready[side as usize].store(false, Ordering::Relaxed);
                let _ = inner.display.show(Readiness::empty());
                let pause = inner.next_pause();
                drop(inner);
                self.look_again(pause);
            }
        }
    }

    /// Looks, shows what it sees, and asks to be told of anything else.
    pub(crate) fn look(&self) {
        let mut inner = self.inner();
        let pause = inner.settle(&self.shows_ready);
        drop(inner);
        if let Some(pause) = pause {
            self.look_again(pause);
        }
    }

    fn look_again(&self, pause: Duration) {
        if let Some(key) = self.key.get() {
            self.watcher.look_again(*key, pause);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Returns when to look again, if nobody tells.
    fn settle(&mut self, shows_ready: &[AtomicBool; 2]) -> Option<Duration> {
        for _ in 0..MOST_LOOKS {
            let seen = self.look();
            let mut is_told = self.show(&seen, shows_ready);
            // A full fence, as in after_use: either a call that changes it sees what is shown now, or we see what it has changed.
            fence(Ordering::SeqCst);
            for (observer, seen) in self.observers.iter_mut().zip(&seen) {
                is_told &= observer.ask_to_be_told(*seen);
            }
            if self.look() != seen {
                continue;
            }
            if is_told {
                self.pauses = 0;
                return None;
            }
            break;
        }
        Some(self.next_pause())
    }

    fn next_pause(&mut self) -> Duration {
        let pause = LONGEST_PAUSE.min(FIRST_PAUSE * (1 << self.pauses.min(6)));
        self.pauses += 1;
        pause
    }

    fn look(&mut self) -> Vec<Seen> {
        self.observers.iter_mut().map(Observer::look).collect()
    }

    /// Whether it could be shown.
    fn show(&mut self, seen: &[Seen], shows_ready: &[AtomicBool; 2]) -> bool {
        let mut ready = Readiness::empty();
        for (observer, seen) in self.observers.iter().zip(seen) {
            // Relaxed: a fence follows, and one is before whoever looks.
            shows_ready[observer.side() as usize].store(seen.is_ready, Ordering::Relaxed);
            match observer.side() {
                Side::Reader => {
                    ready.set(Readiness::READABLE, seen.is_ready);
                    ready.set(Readiness::HUNG_UP, !seen.has_peers && seen.has_met);
                }
                Side::Writer => {
                    ready.set(Readiness::WRITABLE, seen.is_ready);
                    ready.set(Readiness::BROKEN, !seen.has_peers);
                }
            }
        }
        let is_shown = self.display.show(ready);
        if !is_shown {
            // It may show anything of before: whoever uses the end looks.
            shows_ready.iter().for_each(|shows_ready| shows_ready.store(true, Ordering::Relaxed));
        }
        is_shown
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = self.key.get() {
            self.watcher.remove(inner.observers.iter().filter_map(Observer::bell), *key);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{Timespec, epoll};

    use super::*;
    use crate::Builder;

    /// What tells of an edge at `fd` since it was asked last.
    fn edges_of(fd: BorrowedFd<'_>, flags: epoll::EventFlags) -> impl Fn() -> bool + use<> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor");
        epoll::add(&epoll, fd, epoll::EventData::new_u64(0), flags | epoll::EventFlags::ET).expect("it can be polled");
        move || {
            let mut events = Vec::with_capacity(1);
            epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&Timespec::default())) == Ok(1)
        }
    }

    #[test]
    fn a_call_that_came_to_nothing_is_told_of_what_comes_between_it_and_the_look_behind_it() {
        let (reader, writer) = Builder::new().slots(1).nonblocking(true).pipe().expect("a pipe");
        // Of these nobody who watches knows what they do.
        let (other_reader, other_writer) =
            (reader.reopen_reader(true).expect("an entry"), writer.reopen_writer(true).expect("an entry"));
        let send = || other_writer.send(b"news").expect("room");
        let recv = || assert_eq!(other_reader.recv(&mut [0; 8]).expect("news").len, 4);

        let has_edge = edges_of(writer.poll_fd().expect("descriptors"), epoll::EventFlags::OUT);
        assert!(has_edge() && !has_edge(), "there is room, told once");
        send();
        writer.watch.get().expect("it is watched").after_use(Side::Writer, Came::ToNothing, || {
            recv();
            false
        });
        assert!(has_edge(), "room has come");

        send();
        let has_edge = edges_of(reader.poll_fd().expect("descriptors"), epoll::EventFlags::IN);
        assert!(has_edge() && !has_edge(), "there is something to read, told once");
        recv();
        reader.watch.get().expect("it is watched").after_use(Side::Reader, Came::ToNothing, || {
            send();
            false
        });
        assert!(has_edge(), "something to read has come");
    }
}
