//! Our pipes with a mistake in them.

use std::cell::Cell;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::BorrowedFd;

use ppipe::{Readiness, Writer};
use rustix::event::PollFlags;
use rustix::fs::{FileType, OFlags, SeekFrom, fstat, seek};
use rustix::io::Errno;

use crate::mistakes::Mistake;
use crate::ours::{Handle, Ours, errno};
use crate::step::{Access, Manner, SLOT, Verb};
use crate::system::{Answer, System};

/// Ours, but for one thing.
#[derive(Debug)]
pub(crate) struct Mistaken {
    ours: Ours,
    mistake: Mistake,
    /// The pipe has just been made smaller, or has got another size at all.
    is_resized: Cell<bool>,
}

impl Mistaken {
    pub(crate) fn new(ours: Ours, mistake: Mistake) -> Self {
        Self { ours, mistake, is_resized: Cell::new(false) }
    }

    fn has(&self, mistake: Mistake) -> bool {
        self.mistake == mistake
    }

    /// What `poll` shows of a handle for which it has shown `ready`.
    fn shown(&self, handle: &Handle, events: PollFlags, mut ready: PollFlags) -> PollFlags {
        if let Some(writer) = &handle.writer {
            let could_merge = writer.unread().is_ok_and(|bytes| bytes < writer.capacity());
            let is_room = self.has(Mistake::RoomToMergeIsRoom) && could_merge
                || self.has(Mistake::SmallerShowsLate) && self.is_resized.get();
            if is_room {
                ready |= events & PollFlags::OUT;
            }
            if self.has(Mistake::BrokenIsNotWritable) && ready.contains(PollFlags::ERR) {
                ready = PollFlags::ERR;
            }
        }
        if self.has(Mistake::HangUpAtLast) && ready == PollFlags::IN | PollFlags::HUP {
            ready = PollFlags::IN;
        }
        if self.has(Mistake::NothingIsAskedFor) && events.is_empty() {
            ready = PollFlags::empty();
        }
        if let (Some(reader), None) = (&handle.reader, &handle.writer)
            && self.has(Mistake::HungUpFromTheStart)
            && ready.is_empty()
        {
            let is_end = reader.try_recv(&mut []).is_err_and(|error| error.kind() == ErrorKind::UnexpectedEof);
            ready.set(PollFlags::HUP, is_end);
        }
        ready
    }
}

fn is_only_writable(to: &Handle) -> bool {
    to.writer.as_ref().is_some_and(|writer| writer.readiness() == Readiness::WRITABLE)
}

impl System for Mistaken {
    type Handle = Handle;

    fn open(&self, pipe: usize, access: Access) -> Result<Handle, Errno> {
        self.ours.open(pipe, access)
    }

    fn reopen(&self, handle: &Handle, access: Access) -> Result<Handle, Errno> {
        let reopened = self.ours.reopen(handle, access)?;
        if self.has(Mistake::ReopenedHasTheFlags) {
            let flags = self.ours.flags(handle)?;
            self.ours.set_packet_mode(&reopened, flags.contains(OFlags::DIRECT))?;
        }
        Ok(reopened)
    }

    fn duplicate(&self, handle: &Handle) -> Result<Handle, Errno> {
        let duplicate = self.ours.duplicate(handle)?;
        if self.has(Mistake::DuplicatesHaveNoFlag) {
            self.ours.set_packet_mode(&duplicate, false)?;
        }
        Ok(duplicate)
    }

    fn read(&self, handle: &Handle, buffers: &mut [IoSliceMut<'_>]) -> Answer {
        self.is_resized.set(false);
        let reader = handle.reader();
        let room = buffers.iter().map(|buffer| buffer.len()).sum::<usize>();
        if self.has(Mistake::LastBytesAreLost)
            && reader.readiness().contains(Readiness::HUNG_UP)
            && reader.unread().is_ok_and(|bytes| bytes < 200)
        {
            return Ok(0);
        }
        if self.has(Mistake::ReadsOneSlot) {
            let mut bytes = vec![0; room.min(SLOT)];
            let len = errno((&*reader).read(&mut bytes))?;
            let mut rest = &bytes[..len];
            for buffer in buffers {
                let piece = rest.len().min(buffer.len());
                buffer[..piece].copy_from_slice(&rest[..piece]);
                rest = &rest[piece..];
            }
            return Ok(len);
        }
        let read = self.ours.read(handle, buffers);
        if self.has(Mistake::WritesBehindTheCount)
            && let Some(last) = buffers.iter_mut().rev().find_map(|buffer| buffer.last_mut())
            && read.is_ok_and(|len| len < room)
        {
            *last = 0;
        }
        match read {
            Ok(0) if room > 0 && self.has(Mistake::EndIsEmpty) => Err(Errno::AGAIN),
            read => read,
        }
    }

    fn write(&self, handle: &Handle, buffers: &[IoSlice<'_>]) -> Answer {
        let was_resized = self.is_resized.replace(false);
        let writer = handle.writer();
        let total: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if self.has(Mistake::LooksPutItRight) && was_resized && total > 0 {
            return Err(Errno::AGAIN);
        }
        if self.has(Mistake::NeverMerges) && total < SLOT && !writer.is_packet_mode() {
            let all: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
            return errno(writer.try_send(&all).map(|()| total));
        }
        let written = if self.has(Mistake::WritesBufferByBuffer) {
            buffer_by_buffer(writer, buffers)
        } else {
            self.ours.write(handle, buffers)
        };
        match written {
            Err(Errno::PIPE) if self.has(Mistake::BrokenIsFull) => Err(Errno::AGAIN),
            written => written,
        }
    }

    fn flags(&self, handle: &Handle) -> Result<OFlags, Errno> {
        let flags = self.ours.flags(handle)?;
        let is_wrong = self.has(Mistake::BothIsReading) && flags.contains(OFlags::RDWR);
        Ok(if is_wrong { flags - OFlags::RDWR } else { flags })
    }

    fn set_nonblocking(&self, handle: &Handle, is_on: bool) -> Result<(), Errno> {
        if is_on || !self.has(Mistake::NonblockingStays) {
            self.ours.set_nonblocking(handle, is_on)?;
        }
        Ok(())
    }

    fn set_packet_mode(&self, handle: &Handle, is_on: bool) -> Result<(), Errno> {
        if is_on || !self.has(Mistake::FlagStays) {
            self.ours.set_packet_mode(handle, is_on)?;
        }
        Ok(())
    }

    fn resize(&self, handle: &Handle, bytes: u32) -> Answer {
        let before = self.ours.size(handle)?;
        if self.has(Mistake::NothingIsNoSize) && bytes == 0 {
            return Err(Errno::INVAL);
        }
        let resized = self.ours.resize(handle, bytes);
        let is_smaller = resized.is_ok_and(|size| size < before);
        self.is_resized.set(if self.has(Mistake::LooksPutItRight) { resized.is_ok() } else { is_smaller });
        match resized {
            Ok(size) if self.has(Mistake::SizeAsAsked) => Ok(size.min(bytes.max(1) as usize)),
            Ok(_) if self.has(Mistake::TellsTheOldSize) => Ok(before),
            Err(Errno::BUSY) if self.has(Mistake::NeverBusy) => Ok(SLOT),
            Err(Errno::PERM) if self.has(Mistake::TooLargeIsInvalid) => Err(Errno::INVAL),
            resized => resized,
        }
    }

    fn size(&self, handle: &Handle) -> Answer {
        self.ours.size(handle)
    }

    fn unread(&self, handle: &Handle) -> Answer {
        let unread = self.ours.unread(handle);
        if self.has(Mistake::CountsSlots) { unread.map(|bytes| bytes.next_multiple_of(SLOT)) } else { unread }
    }

    fn poll(&self, polled: &[(&Handle, PollFlags)]) -> Result<(usize, Vec<PollFlags>), Errno> {
        if self.has(Mistake::LooksPutItRight) {
            self.is_resized.set(false);
        }
        let (_, ready) = self.ours.poll(polled)?;
        let show = |(&(handle, events), ready)| self.shown(handle, events, ready);
        let ready: Vec<_> = polled.iter().zip(ready).map(show).collect();
        Ok((ready.iter().filter(|ready| !ready.is_empty()).count(), ready))
    }

    fn transfer(&self, verb: Verb, from: &Handle, to: &Handle, len: usize, manner: Manner) -> Answer {
        if self.has(Mistake::TransfersBytesOnly) && verb == Verb::Splice && is_only_writable(to) {
            let mut bytes = vec![0; len.min(SLOT)];
            let len = errno(from.reader().read(&mut bytes))?;
            return errno(to.writer().write(&bytes[..len]));
        }
        let verb = if self.has(Mistake::TeeTakes) { Verb::Splice } else { verb };
        self.ours.transfer(verb, from, to, len, manner)
    }

    fn splice_from(&self, from: BorrowedFd<'_>, to: &Handle, len: usize, manner: Manner) -> Answer {
        if self.has(Mistake::FilesAreReadAndWritten) && is_only_writable(to) {
            let mut bytes = vec![0; len.min(SLOT)];
            let len = rustix::io::read(from, &mut bytes)?;
            return errno(to.writer().write(&bytes[..len]));
        }
        self.ours.splice_from(from, to, len, manner)
    }

    fn splice_to(&self, from: &Handle, to: BorrowedFd<'_>, len: usize, manner: Manner) -> Answer {
        let spliced = self.ours.splice_to(from, to, len, manner);
        let is_file = || fstat(to).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        if self.has(Mistake::FileStaysInPlace) && is_file() {
            seek(to, SeekFrom::Current(-(spliced.unwrap_or(0) as i64)))?;
        }
        if self.has(Mistake::RefusedIsLost) && spliced == Err(Errno::AGAIN) {
            // Whether there is anything is just what was asked.
            _ = from.reader().read(&mut vec![0; len.min(SLOT)]);
        }
        spliced
    }
}

fn buffer_by_buffer(mut writer: &Writer, buffers: &[IoSlice<'_>]) -> Answer {
    let mut written = 0;
    for buffer in buffers {
        match errno(writer.write(buffer)) {
            Ok(len) => written += len,
            Err(_) if written > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
