//! How a pipe is made or opened.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use shm_ring::participant::Participant;
use shm_ring::{Geometry, ReaderEnd, Side, Waited, Waiting, WriterEnd};

use crate::flags::Flags;
use crate::joining::join_new;
use crate::name::Name;
use crate::reader::{Reader, close};
use crate::writer::Writer;

/// A new pipe without a name: 16 slots of 4096 bytes, blocking, a stream. Never waits. Mirrors `pipe2(O_CLOEXEC)`.
///
/// # Errors
/// If memory or descriptors are short.
///
/// ```
/// use std::io::{Read, Write};
/// let (mut reader, mut writer) = ppipe::pipe()?;
/// writer.write_all(b"hello")?;
/// drop(writer);
/// let mut all = String::new();
/// reader.read_to_string(&mut all)?;
/// assert_eq!(all, "hello");
/// # std::io::Result::Ok(())
/// ```
pub fn pipe() -> io::Result<(Reader, Writer)> {
    Builder::new().pipe()
}

/// What a pipe is to be like. Sizes matter only to the one who makes it.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder {
    geometry: Geometry,
    is_nonblocking: bool,
    is_packet_mode: bool,
    waiting: Waiting,
    timeout: Option<Duration>,
    /// In bytes; `None`: as much as Linux lets an ordinary user have.
    max_capacity: Option<usize>,
    making: Making,
}

/// What opening by name does about there being a pipe of that name, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Making {
    /// Makes it if there is none.
    #[default]
    IfMissing,
    /// It has to be there.
    Never,
    /// It must not be there.
    New,
}

/// Bytes that a pipe can be resized to if nothing else was said: what `/proc/sys/fs/pipe-max-size` says on most systems.
const MAX_CAPACITY: usize = 1 << 20;

impl Builder {
    /// As [`pipe`] makes them: 16 slots of 4096 bytes, blocking, a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of slots, rounded up to a power of two, from 1 (0 is rounded up too) to 65536; 16 by default, as on Linux. Slots times their size is less
    /// than 4 GiB.
    pub fn slots(mut self, slots: u32) -> Self {
        self.geometry.ring_size = rounded_up(slots);
        self
    }

    /// Bytes in a slot, rounded up to a power of two, from 64 to 1048576 (fewer or more are refused); 4096 by default, as on Linux.
    pub fn slot_size(mut self, bytes: u32) -> Self {
        self.geometry.slot_size = rounded_up(bytes);
        self
    }

    /// Bytes that the pipe can be resized to at most, rounded up to slots times a power of two; 1 MiB by default, as
    /// on Linux, or its first capacity if that is more. Less than 4 GiB. Takes address space, and memory only when it is used.
    pub fn max_capacity(mut self, bytes: usize) -> Self {
        self.max_capacity = Some(bytes);
        self
    }

    /// Whether what is received tells which process has sent it, see [`Reader::last_sender`]. Costs each message a few nanoseconds.
    pub fn senders(mut self, is_on: bool) -> Self {
        self.geometry.is_signed = is_on;
        self
    }

    /// Most writers at a time, from 1 to 4096; 128 by default.
    pub fn max_writers(mut self, writers: u32) -> Self {
        self.geometry.writers = writers;
        self
    }

    /// Most readers at a time, from 1 to 4096; 128 by default.
    pub fn max_readers(mut self, readers: u32) -> Self {
        self.geometry.readers = readers;
        self
    }

    /// Whether writes make packets. Mirrors `O_DIRECT` of `pipe2`; here also for what is opened by name, which `fifo_open` refuses.
    pub fn packet_mode(mut self, is_on: bool) -> Self {
        self.is_packet_mode = is_on;
        self
    }

    /// Whether calls fail with `WouldBlock` where they would wait. Mirrors `O_NONBLOCK`.
    pub fn nonblocking(mut self, is_on: bool) -> Self {
        self.is_nonblocking = is_on;
        self
    }

    /// Opening by name fails with `NotFound` if there is no such pipe. Mirrors `open` without `O_CREAT`.
    pub fn must_exist(mut self) -> Self {
        self.making = Making::Never;
        self
    }

    /// Opening by name fails with `AlreadyExists` if there is such a pipe that anybody has open. Mirrors `O_CREAT | O_EXCL`.
    pub fn create_new(mut self) -> Self {
        self.making = Making::New;
        self
    }

    /// For tests of what happens when the counters of a pipe come round: where they begin.
    #[doc(hidden)]
    pub fn first_position(mut self, position: u64) -> Self {
        self.geometry.first_position = position;
        self
    }

    /// How the ends wait; adaptive by default.
    pub fn waiting(mut self, waiting: Waiting) -> Self {
        self.waiting = waiting;
        self
    }

    /// How long opening by name waits for the other side; for ever by default.
    pub fn open_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes a pipe without a name. Never waits. Mirrors `pipe2`, with `O_CLOEXEC`.
    ///
    /// # Errors
    /// `InvalidInput` for sizes that cannot be; `StorageFull` or `OutOfMemory` if there is no memory; otherwise what the system says.
    pub fn pipe(&self) -> io::Result<(Reader, Writer)> {
        let (reader, writer) = join_new(self.geometry())?;
        Ok((self.reader(reader, None)?, self.writer(writer, None)?))
    }

    /// Opens the writing end of the pipe `name`, and makes the pipe if there is none. Waits until a reader has it open too, unless
    /// nonblocking. Mirrors `open(O_WRONLY)` of a FIFO, by the rules of `fifo_open` in `fs/pipe.c`: a reader that came and went meanwhile has been met.
    ///
    /// # Errors
    /// `Interrupted` if a signal handler ended the wait; nobody has come then. `TimedOut` after [`Builder::open_timeout`]; `ENXIO` if
    /// nonblocking and nobody reads; `InvalidInput` for a name that cannot be one (see [`Writer::open`]); `InvalidData` if something else has
    /// the name; `PermissionDenied` if it is another user's; `QuotaExceeded` if there are as many writers as there can be; otherwise what the
    /// system says.
    ///
    /// Sizes count only where the pipe is made: who comes second gets what there is, see [`Writer::capacity`].
    pub fn open_writer(&self, name: &str) -> io::Result<Writer> {
        let (participant, name) = Name::join(name, self.geometry(), Side::Writer, self.making)?;
        self.writer_that_has_met(participant, name)
    }

    /// Opens the reading end of the pipe `name`, and makes the pipe if there is none. Waits until a writer has it open too,
    /// unless nonblocking. Mirrors `open(O_RDONLY)` of a FIFO, by the rules of `fifo_open` in `fs/pipe.c`.
    ///
    /// # Errors
    /// As [`Builder::open_writer`], but never `ENXIO`.
    pub fn open_reader(&self, name: &str) -> io::Result<Reader> {
        let (participant, name) = Name::join(name, self.geometry(), Side::Reader, self.making)?;
        self.reader_that_has_met(participant, name)
    }

    /// Opens anew what has a name, or has none.
    pub(crate) fn reopen_writer(&self, participant: Participant, name: Option<Arc<Name>>) -> io::Result<Writer> {
        match name {
            Some(name) => self.writer_that_has_met(participant, name),
            None => self.writer(participant, None),
        }
    }

    /// Opens anew what has a name, or has none.
    pub(crate) fn reopen_reader(&self, participant: Participant, name: Option<Arc<Name>>) -> io::Result<Reader> {
        match name {
            Some(name) => self.reader_that_has_met(participant, name),
            None => self.reader(participant, None),
        }
    }

    fn writer_that_has_met(&self, mut participant: Participant, name: Arc<Name>) -> io::Result<Writer> {
        let has_met = self.meet(&mut participant);
        let writer = self.writer(participant, Some(name))?;
        if has_met? { Ok(writer) } else { Err(Errno::NXIO.into()) }
    }

    fn reader_that_has_met(&self, mut participant: Participant, name: Arc<Name>) -> io::Result<Reader> {
        let has_met = self.meet(&mut participant);
        let reader = self.reader(participant, Some(name))?;
        has_met?;
        Ok(reader)
    }

    /// Waits for the other side. Returns whether it is there, or has been since we began to join.
    fn meet(&self, participant: &mut Participant) -> io::Result<bool> {
        let deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if participant.has_met() {
                return Ok(true);
            }
            participant.unless_lost(Ok(()))?;
            if self.is_nonblocking {
                return Ok(false);
            }
            match participant.wait_to_meet(deadline) {
                Waited::TimedOut => return Err(io::ErrorKind::TimedOut.into()),
                Waited::Interrupted => return Err(io::ErrorKind::Interrupted.into()),
                Waited::LookAgain | Waited::Slept => {}
            }
        }
    }

    fn geometry(&self) -> Geometry {
        let Geometry { slot_size, ring_size, .. } = self.geometry;
        let slots = self.max_capacity.unwrap_or(MAX_CAPACITY).div_ceil(slot_size.max(1) as usize);
        // What cannot be is refused where the pipe is made.
        let max_ring_size = rounded_up(u32::try_from(slots).unwrap_or(u32::MAX)).max(ring_size);
        Geometry { max_ring_size, ..self.geometry }
    }

    fn reader(&self, mut participant: Participant, name: Option<Arc<Name>>) -> io::Result<Reader> {
        participant.set_waiting(self.waiting);
        let flags = match Flags::new(self.is_nonblocking, false) {
            Ok(flags) => flags,
            Err(error) => {
                close(participant, name.as_deref());
                return Err(error);
            }
        };
        Ok(Reader::new(ReaderEnd::new(participant), flags, self.waiting, name))
    }

    fn writer(&self, mut participant: Participant, name: Option<Arc<Name>>) -> io::Result<Writer> {
        participant.set_waiting(self.waiting);
        let flags = match Flags::new(self.is_nonblocking, self.is_packet_mode) {
            Ok(flags) => flags,
            Err(error) => {
                close(participant, name.as_deref());
                return Err(error);
            }
        };
        Ok(Writer::new(WriterEnd::new(participant), flags, self.waiting, name))
    }
}

/// A number too large for that stays as it is, and is refused when the pipe is made.
fn rounded_up(number: u32) -> u32 {
    number.max(1).checked_next_power_of_two().unwrap_or(number)
}
