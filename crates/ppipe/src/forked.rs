//! Further ends that are made while the first one is in use: for the C library, whose handles can be used by several threads at once, and by
//! a child that is forked and goes on without `exec`, as those of a pipe can.
//!
//! ```text
//!   before the fork    the parent takes an entry for the child, and gives it away as to a child process that is started
//!   after it           the parent closes its copies of the descriptors, the child takes the entry up
//! ```
//!
//! So there is no moment at which the child's end is not alive, whichever of the two goes on first.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use shm_ring::handed_over::HandedOver;
use shm_ring::participant::Participant;
use shm_ring::{Before, Bells, Segment, Side, Waiting};

use crate::display::Display;
use crate::flags::Flags;
use crate::handover::Exported;
use crate::joining::{Parts, from_join};
use crate::name::Name;
use crate::reader::Reader;
use crate::watch::WatchCell;
use crate::writer::Writer;

/// To be called once before a fork.
pub fn before_fork() {
    shm_ring::shared_word::before_fork();
}

/// What another end beside one is made from, whatever that one is doing. Good for as long as that one is open.
#[derive(Clone, Debug)]
pub struct Pattern {
    segment: Arc<Segment>,
    side: Side,
    bells: Option<[RawFd; 2]>,
    lock: Option<RawFd>,
    before: Before,
    flags: Flags,
    waiting: Waiting,
    name: Option<Arc<Name>>,
    watch: WatchCell,
}

/// An end on its way to a forked child.
#[derive(Debug)]
pub struct Forked {
    pattern: Pattern,
    handed_over: HandedOver,
}

impl Pattern {
    fn of(
        participant: &Participant,
        flags: &Flags,
        waiting: Waiting,
        name: Option<&Arc<Name>>,
        watch: &WatchCell,
    ) -> Self {
        Self {
            segment: Arc::clone(participant.segment()),
            side: participant.side(),
            bells: participant.numbers_of_bells(),
            lock: participant.number_of_lock(),
            before: participant.before(),
            flags: flags.clone(),
            waiting,
            name: name.cloned(),
            watch: watch.clone(),
        }
    }

    fn join(&self) -> io::Result<Participant> {
        let mut participant = Participant::join(Arc::clone(&self.segment), self.side).map_err(from_join)?;
        participant.count_from(self.before);
        participant.set_waiting(self.waiting);
        if let Some(numbers) = self.bells {
            participant.hold_bells(Bells::beside(numbers, self.side)?)?;
        }
        Ok(participant)
    }

    fn finish(self, participant: Participant) -> Parts {
        Parts { participant, flags: self.flags, waiting: self.waiting, name: self.name, watch: self.watch }
    }

    /// The numbers of the descriptors that the end has for itself, which a forked child has copies of.
    pub fn numbers(&self) -> impl Iterator<Item = RawFd> {
        self.bells.into_iter().flatten().chain(self.lock)
    }

    /// The number of the descriptor that shows what it is ready for, if there is one.
    #[must_use]
    pub fn number_of_poll_fd(&self) -> Option<RawFd> {
        self.watch.get().map(|watch| watch.descriptor().as_raw_fd())
    }

    /// Another reader beside the one that this is the pattern of.
    ///
    /// # Errors
    /// As [`Reader::try_clone`].
    pub fn reader(&self) -> io::Result<Reader> {
        Ok(Reader::of(self.clone().finish(self.join()?)))
    }

    /// Another writer beside the one that this is the pattern of.
    ///
    /// # Errors
    /// As [`Writer::try_clone`].
    pub fn writer(&self) -> io::Result<Writer> {
        Ok(Writer::of(self.clone().finish(self.join()?)))
    }

    /// Another end for a program that is about to be started.
    ///
    /// # Errors
    /// As [`Reader::try_clone`].
    pub fn exported(&self) -> io::Result<Exported> {
        Exported::new(self.clone().finish(self.join()?)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Another end for a child that is about to be forked.
    ///
    /// # Errors
    /// As [`Reader::try_clone`].
    pub fn for_forked_child(&self) -> io::Result<Forked> {
        let handed_over = self.join()?.hand_over().map_err(|_| io::ErrorKind::NotFound)?;
        let Self { side, before, waiting, .. } = *self;
        let (segment, flags, name) = (Arc::clone(&self.segment), self.flags.clone(), self.name.clone());
        // What its parent shows is its parent's.
        let watch = WatchCell::default();
        let pattern = Self { segment, side, bells: None, lock: None, before, flags, waiting, name, watch };
        Ok(Forked { pattern, handed_over })
    }
}

/// The descriptor that shows what a description is ready for, of its one end or of both; see [`Reader::poll_fd`].
///
/// # Errors
/// As [`Reader::poll_fd`].
pub fn poll_fd_of<'a>(reader: Option<&'a Reader>, writer: Option<&'a Writer>) -> io::Result<BorrowedFd<'a>> {
    match (reader, writer) {
        (Some(reader), Some(writer)) => {
            let (mut one, mut other) = (reader.borrow_end(), writer.borrow_end());
            reader.watch.get_or_watch(&[one.participant(), other.participant()])
        }
        (Some(reader), None) => reader.poll_fd(),
        (None, Some(writer)) => writer.poll_fd(),
        (None, None) => Err(io::ErrorKind::NotFound.into()),
    }
}

/// In a forked child: what has shown a description of its parent, to be shown by the same number again.
#[derive(Debug)]
pub struct ShownAt(Display);

impl ShownAt {
    /// For a description that reads, or writes, or does both. To be made while its parent's descriptor is still open.
    ///
    /// # Errors
    /// If descriptors are short.
    pub fn new(reads: bool, writes: bool) -> io::Result<Self> {
        Display::new(reads, writes).map(Self)
    }

    /// Shows it by `number`, which is free now.
    ///
    /// # Errors
    /// As [`Reader::poll_fd`]; `AddrInUse` if it is not free.
    pub fn show(mut self, number: RawFd, reader: Option<&Reader>, writer: Option<&Writer>) -> io::Result<()> {
        self.0.move_to(number)?;
        let mut ends = (reader.map(Reader::borrow_end), writer.map(Writer::borrow_end));
        let reads = ends.0.as_mut().map(|end| &*end.participant());
        let writes = ends.1.as_mut().map(|end| &*end.participant());
        let participants: Vec<_> = reads.into_iter().chain(writes).collect();
        let watch = reader.map(|reader| &reader.watch).or(writer.map(|writer| &writer.watch));
        watch.ok_or(io::ErrorKind::NotFound)?.watch(&participants, self.0)
    }
}

impl Forked {
    fn take_up(self) -> io::Result<Parts> {
        let Self { pattern, handed_over } = self;
        let entry = handed_over.entry();
        let (bells, lock) = handed_over.into_parts();
        let taken_up = Participant::take_up(Arc::clone(&pattern.segment), pattern.side, entry, lock);
        let mut participant = taken_up.map_err(from_join)?;
        participant.count_from(pattern.before);
        participant.set_waiting(pattern.waiting);
        participant.hold_bells(bells)?;
        Ok(pattern.finish(participant))
    }

    /// In the child: the reader.
    ///
    /// # Errors
    /// As [`Reader::inherited`].
    pub fn reader(self) -> io::Result<Reader> {
        self.take_up().map(Reader::of)
    }

    /// In the child: the writer.
    ///
    /// # Errors
    /// As [`Writer::inherited`].
    pub fn writer(self) -> io::Result<Writer> {
        self.take_up().map(Writer::of)
    }
}

impl Reader {
    /// What further readers beside this one are made from.
    #[doc(hidden)]
    #[must_use]
    pub fn pattern(&self) -> Pattern {
        let (flags, name) = (&self.flags, self.name.as_ref());
        Pattern::of(self.borrow_end().participant(), flags, self.waiting, name, &self.watch)
    }
}

impl Writer {
    /// What further writers beside this one are made from.
    #[doc(hidden)]
    #[must_use]
    pub fn pattern(&self) -> Pattern {
        let (flags, name) = (&self.flags, self.name.as_ref());
        Pattern::of(self.borrow_end().participant(), flags, self.waiting, name, &self.watch)
    }
}
