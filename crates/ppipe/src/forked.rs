//! Further ends that are made while the first one is in use: for the C library, whose handles can be used by several threads at once, and by
//! a child that is forked and goes on without `exec`, as those of a pipe can.
//!
//! ```text
//!   before the fork    the parent takes an entry for the child, and gives it away as to a child process that is started
//!   after it           the parent closes its copies of the descriptors, the child takes the entry up, and closes its copies of its parent's
//! ```
//!
//! So there is no moment at which the child's end is not alive, whichever of the two goes on first.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

pub use shm_ring::forking::{Fork, NoFork, give_up as give_up_forks, prepare as prepare_for_forks};
use shm_ring::handed_over::HandedOver;
use shm_ring::participant::Participant;
pub use shm_ring::process::Process;
use shm_ring::{Before, Bells, Segment, Side, Waiting};

use crate::display::Display;
use crate::flags::Flags;
use crate::handover::Exported;
use crate::joining::{Parts, from_join};
use crate::name::Name;
use crate::reader::Reader;
use crate::watch::WatchCell;
use crate::writer::Writer;

/// What another end beside one is made from, whatever that one is doing. Good for as long as that one is open.
#[derive(Clone, Debug)]
pub struct Pattern {
    segment: Arc<Segment>,
    side: Side,
    bells: Option<[RawFd; 2]>,
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

    /// Whether calls fail where they would wait.
    #[must_use]
    pub fn is_nonblocking(&self) -> bool {
        self.flags.is_nonblocking()
    }

    /// Makes calls fail where they would wait, of all ends that share the flags.
    pub fn set_nonblocking(&self, is_on: bool) {
        self.flags.set_nonblocking(is_on);
    }

    /// Whether writes make packets. A reader has the flag too, and it means nothing there, as with a pipe of the kernel.
    #[must_use]
    pub fn is_packet_mode(&self) -> bool {
        self.flags.is_packet_mode()
    }

    /// Makes writes packets, or a stream again.
    pub fn set_packet_mode(&self, is_on: bool) {
        self.flags.set_packet_mode(is_on);
    }

    /// Whether the user of the C library wants a signal besides the error of a broken pipe. It is the library that sends it.
    #[must_use]
    pub fn is_signal_wanted(&self) -> bool {
        self.flags.is_sigpipe_by_caller()
    }

    /// Says whether a signal is wanted.
    pub fn want_signal(&self, is_wanted: bool) {
        self.flags.set_sigpipe_by_caller(is_wanted);
    }

    /// Flags of a descriptor that mean nothing to a pipe, of C's user; they are kept for it.
    #[must_use]
    pub fn kept_flags(&self) -> u32 {
        self.flags.kept()
    }

    /// Keeps those of such flags that are in `mask` as `flags` has them.
    pub fn keep_flags(&self, flags: u32, mask: u32) {
        self.flags.keep(flags, mask);
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
        let pattern = Self { segment, side, bells: None, before, flags, waiting, name, watch };
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

/// For a forked child: what has shown a description of its parent, to be shown by the same number. Duplicates of an end share one.
#[derive(Debug)]
pub struct ShownAt {
    watch: WatchCell,
    number: RawFd,
    /// `None` if another one has it.
    display: Option<Display>,
}

impl ShownAt {
    /// In the parent, for a description that has this pattern, and reads, or writes, or does both. `None` if nothing shows it. `others` are what
    /// there is so far.
    ///
    /// # Errors
    /// If descriptors are short.
    pub fn new<'a>(
        pattern: &Pattern,
        reads: bool,
        writes: bool,
        mut others: impl Iterator<Item = &'a Self>,
    ) -> io::Result<Option<Self>> {
        let Some(watch) = pattern.watch.get() else { return Ok(None) };
        let number = watch.descriptor().as_raw_fd();
        let (watch, display) = match others.find(|other| other.number == number) {
            Some(other) => (other.watch.clone(), None),
            None => (WatchCell::default(), Some(Display::new(reads, writes)?)),
        };
        Ok(Some(Self { watch, number, display }))
    }

    /// In the child, when the copies of its parent's descriptors have been closed, and before anything else is opened: takes the number. If
    /// it is not free, or descriptors are short, nothing is shown.
    pub fn take_number(&mut self) {
        let moved = self.display.as_mut().map(|display| display.move_to(self.number));
        if !matches!(moved, Some(Ok(()))) {
            self.display = None;
        }
    }

    /// Shows what these ends are ready for from now on.
    ///
    /// # Errors
    /// As [`Reader::poll_fd`].
    pub fn show(self, reader: Option<&mut Reader>, writer: Option<&mut Writer>) -> io::Result<()> {
        let Self { watch, display, .. } = self;
        if reader.is_some() && writer.is_some() {
            watch.set_of_both();
        }
        let reader = reader.map(|reader| {
            reader.watch = watch.clone();
            reader.borrow_end()
        });
        let writer = writer.map(|writer| {
            writer.watch = watch.clone();
            writer.borrow_end()
        });
        let Some(display) = display else { return Ok(()) };
        let (mut reader, mut writer) = (reader, writer);
        let reads = reader.as_mut().map(|end| &*end.participant());
        let writes = writer.as_mut().map(|end| &*end.participant());
        let participants: Vec<_> = reads.into_iter().chain(writes).collect();
        watch.watch(&participants, display)
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
