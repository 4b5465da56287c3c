//! Our pipes.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ppipe::{Builder, PollEnd, Reader, Readiness, Writer};
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::privilege;
use crate::step::{Access, Manner, Verb};
use crate::system::{Answer, System};

/// Two pipes with names that nobody else has.
#[derive(Debug)]
pub struct Ours {
    names: [String; 2],
    /// Where their counters begin.
    first_position: u64,
}

/// One end, or both with one set of flags, as a handle in C that is open both ways.
#[derive(Debug)]
pub struct Handle {
    pub(crate) reader: Option<Reader>,
    pub(crate) writer: Option<Writer>,
}

impl Ours {
    /// Two pipes that nobody has made yet.
    #[must_use]
    pub fn new(first_position: u64) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = || {
            // So that whoever sweeps up behind tests that were killed finds it.
            format!("test-{}-differ-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
        };
        Self { names: [name(), name()], first_position }
    }

    fn builder(&self) -> Builder {
        // A few, since every one of them takes memory; and as large as an ordinary user's pipe can be.
        let builder =
            Builder::new().nonblocking(true).max_readers(8).max_writers(8).max_capacity(privilege::most_bytes());
        builder.first_position(self.first_position)
    }
}

impl Handle {
    fn both(mut reader: Reader) -> io::Result<Self> {
        let writer = reader.reopen_writer(true)?;
        reader.share_flags(&writer);
        Ok(Self { reader: Some(reader), writer: Some(writer) })
    }

    /// The programs ask only readers to read, here and below.
    pub(crate) fn reader(&self) -> &Reader {
        self.reader.as_ref().expect("a handle that can read")
    }

    pub(crate) fn writer(&self) -> &Writer {
        self.writer.as_ref().expect("a handle that can write")
    }

    /// By either end.
    fn by_one<T>(&self, by_reader: impl FnOnce(&Reader) -> T, by_writer: impl FnOnce(&Writer) -> T) -> T {
        match &self.reader {
            Some(reader) => by_reader(reader),
            None => by_writer(self.writer()),
        }
    }
}

impl From<Reader> for Handle {
    fn from(reader: Reader) -> Self {
        Self { reader: Some(reader), writer: None }
    }
}

impl From<Writer> for Handle {
    fn from(writer: Writer) -> Self {
        Self { reader: None, writer: Some(writer) }
    }
}

impl System for Ours {
    type Handle = Handle;

    fn open(&self, pipe: usize, access: Access) -> Result<Handle, Errno> {
        let (builder, name) = (self.builder(), &self.names[pipe]);
        errno(match access {
            Access::Reads => builder.open_reader(name).map(Handle::from),
            Access::Writes => builder.open_writer(name).map(Handle::from),
            Access::Both => builder.open_reader(name).and_then(Handle::both),
        })
    }

    fn reopen(&self, handle: &Handle, access: Access) -> Result<Handle, Errno> {
        let reader = || handle.by_one(|reader| reader.reopen_reader(true), |writer| writer.reopen_reader(true));
        let writer = || handle.by_one(|reader| reader.reopen_writer(true), |writer| writer.reopen_writer(true));
        errno(match access {
            Access::Reads => reader().map(Handle::from),
            Access::Writes => writer().map(Handle::from),
            Access::Both => reader().and_then(Handle::both),
        })
    }

    fn duplicate(&self, handle: &Handle) -> Result<Handle, Errno> {
        let reader = errno(handle.reader.as_ref().map(Reader::try_clone).transpose())?;
        let writer = errno(handle.writer.as_ref().map(Writer::try_clone).transpose())?;
        Ok(Handle { reader, writer })
    }

    fn read(&self, handle: &Handle, buffers: &mut [IoSliceMut<'_>]) -> Answer {
        errno(handle.reader().read_vectored(buffers))
    }

    fn write(&self, handle: &Handle, buffers: &[IoSlice<'_>]) -> Answer {
        errno(handle.writer().write_vectored(buffers))
    }

    fn flags(&self, handle: &Handle) -> Result<OFlags, Errno> {
        let mut flags = match (&handle.reader, &handle.writer) {
            (Some(_), Some(_)) => OFlags::RDWR,
            (Some(_), None) => OFlags::RDONLY,
            _ => OFlags::WRONLY,
        };
        flags.set(OFlags::NONBLOCK, handle.by_one(Reader::is_nonblocking, Writer::is_nonblocking));
        flags.set(OFlags::DIRECT, handle.writer.as_ref().is_some_and(Writer::is_packet_mode));
        Ok(flags)
    }

    fn set_nonblocking(&self, handle: &Handle, is_on: bool) -> Result<(), Errno> {
        handle.by_one(|reader| reader.set_nonblocking(is_on), |writer| writer.set_nonblocking(is_on));
        Ok(())
    }

    fn set_packet_mode(&self, handle: &Handle, is_on: bool) -> Result<(), Errno> {
        if let Some(writer) = &handle.writer {
            writer.set_packet_mode(is_on);
        }
        Ok(())
    }

    fn resize(&self, handle: &Handle, bytes: u32) -> Answer {
        let bytes = bytes as usize;
        errno(handle.by_one(|reader| reader.resize(bytes), |writer| writer.resize(bytes)))
    }

    fn size(&self, handle: &Handle) -> Answer {
        Ok(handle.by_one(Reader::capacity, Writer::capacity))
    }

    fn unread(&self, handle: &Handle) -> Answer {
        errno(handle.by_one(Reader::unread, Writer::unread))
    }

    fn poll(&self, polled: &[(&Handle, PollFlags)]) -> Result<(usize, Vec<PollFlags>), Errno> {
        let (mut ends, mut places) = (Vec::new(), Vec::new());
        for (place, &(handle, events)) in polled.iter().enumerate() {
            let interest = Readiness::from_bits_truncate(events.bits());
            ends.extend(handle.reader.as_ref().map(|reader| PollEnd::reader(reader, interest)));
            ends.extend(handle.writer.as_ref().map(|writer| PollEnd::writer(writer, interest)));
            places.resize(ends.len(), place);
        }
        let mut count = errno(ppipe::poll(&mut ends, Some(Duration::ZERO)))?;
        let mut ready = vec![PollFlags::empty(); polled.len()];
        for (end, place) in ends.iter().zip(places) {
            let bits = PollFlags::from_bits_retain(end.ready().bits());
            // A handle that is open both ways is two ends, and counts once.
            count -= usize::from(!bits.is_empty() && !ready[place].is_empty());
            ready[place] |= bits;
        }
        Ok((count, ready))
    }

    fn transfer(&self, verb: Verb, from: &Handle, to: &Handle, len: usize, manner: Manner) -> Answer {
        let transfer = match (verb, manner) {
            (Verb::Splice, Manner::AsTheHandles) => ppipe::splice,
            (Verb::Splice, Manner::Nonblock) => ppipe::try_splice,
            (Verb::Tee, Manner::AsTheHandles) => ppipe::tee,
            (Verb::Tee, Manner::Nonblock) => ppipe::try_tee,
        };
        errno(transfer(from.reader(), to.writer(), len))
    }

    fn splice_from(&self, from: BorrowedFd<'_>, to: &Handle, len: usize, manner: Manner) -> Answer {
        errno(match manner {
            Manner::AsTheHandles => to.writer().splice_from(from, len),
            Manner::Nonblock => to.writer().try_splice_from(from, len),
        })
    }

    fn splice_to(&self, from: &Handle, to: BorrowedFd<'_>, len: usize, manner: Manner) -> Answer {
        errno(match manner {
            Manner::AsTheHandles => from.reader().splice_to(to, len),
            Manner::Nonblock => from.reader().try_splice_to(to, len),
        })
    }

    fn has_come_round(&self, handle: &Handle) -> Result<bool, String> {
        let audit = handle.by_one(Reader::audit, Writer::audit).map_err(|error| error.to_string())?;
        if !audit.is_steady || !audit.findings.is_empty() {
            return Err(format!("{:?}", audit.findings));
        }
        // What was emptied in a lap is empty in the next one.
        let has_begun_late = self.first_position > u64::from(u32::MAX) / 2;
        Ok(has_begun_late && audit.slots.iter().flatten().any(|slot| (1..MOST_LAPS).contains(&slot.lap)))
    }
}

/// No program goes round so often.
const MOST_LAPS: u64 = 10_000;

pub(crate) fn errno<T>(result: io::Result<T>) -> Result<T, Errno> {
    result.map_err(|error| match (error.raw_os_error(), error.kind()) {
        (Some(code), _) => Errno::from_raw_os_error(code),
        (_, ErrorKind::WouldBlock) => Errno::AGAIN,
        (_, ErrorKind::BrokenPipe) => Errno::PIPE,
        // Nothing that the kernel would say of a pipe: a difference, which is told with its program.
        _ => Errno::NOTRECOVERABLE,
    })
}
