//! Between a pipe and any descriptor, straight from and to the shared pages.
//!
//! The rules are those of `splice_file_to_pipe`, `filemap_splice_read` and `iter_file_splice_write` in the Linux kernel (6.18):
//! * What comes out of a descriptor are bytes of a stream that later ones are not merged with, one slot for each part of it. Of a file those parts
//!   end where pages of the file do.
//! * What goes into a descriptor has no borders any more. As much leaves the pipe as the descriptor has taken.
//!
//! # What is different where others read the same pipe
//! The kernel keeps the pipe locked while the descriptor takes the bytes. Here they are written where they lie, and taken out after
//! that, which is the same where nobody else reads; one who is killed between the two leaves them to be read again. Where somebody does read too,
//! each piece is taken out first, once the descriptor takes something, and the call waits until it has taken all of it; if that
//! fails, the piece is lost.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, SeekFrom, fcntl_getfl, fstat, seek};
use rustix::io::Errno;
use shm_ring::ring::Seen;
use shm_ring::slot::Span;
use shm_ring::writer_end::Kind;
use shm_ring::{Miss, ReaderEnd, WriterEnd};

use crate::blocking::{Ended, Limit, Retries, Stop, Tried, publish_for_certain, wait_for_data, wait_for_room};
use crate::splice::Buffer;

/// So many bytes one call moves without anybody's asking where they end.
const MOST_BYTES: usize = 0x7fff_f000;
/// Bytes that are taken out at a time where others read too, and moved at a time: no more than a pipe of the kernel takes that says that it takes some.
const PIECE: usize = 4096;

/// Moves up to `len` bytes to `fd`. Returns how many; 0 at the end of file.
pub(crate) fn to_descriptor(end: &mut ReaderEnd, fd: BorrowedFd<'_>, limit: Limit, len: usize) -> io::Result<usize> {
    if len == 0 {
        return Ok(0);
    }
    let flags = check_access(fd, OFlags::RDONLY)?;
    if flags.contains(OFlags::APPEND) && file_type(fd)? != FileType::Fifo {
        return Err(Errno::INVAL.into());
    }
    check_range(fd, len)?;
    let mut moved = 0;
    while moved < len {
        let first = if moved == 0 { wait_for_data(end, limit) } else { wait_for_data(end, Limit::Try) };
        match first {
            Ok(()) => {}
            Err(_) if moved > 0 => break,
            Err(Stop::EndOfFile) => {
                wait_for_room_in_pipe(fd, limit)?;
                break;
            }
            Err(stop) => return Err(stop.into()),
        }
        let step =
            if end.is_alone() { write_in_place(end, fd, len - moved) } else { take_and_write(end, fd, len - moved) };
        match step {
            Ok(Some((step, is_short))) => {
                moved += step;
                if is_short {
                    break;
                }
            }
            // Somebody else was faster.
            Ok(None) => {}
            Err(error) if moved == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(moved)
}

/// So many bytes, and whether the descriptor took fewer than there were. `None`: somebody else has taken them.
type Written = Option<(usize, bool)>;

fn write_in_place(end: &mut ReaderEnd, fd: BorrowedFd<'_>, most: usize) -> io::Result<Written> {
    let Some((seen, buffer)) = front(end)? else { return Ok(None) };
    let len = buffer.len().min(most);
    let written = buffer.in_place(end, &seen, len).0.write_to(fd)?;
    if written > 0 {
        take_out(end, &seen, written)?;
    }
    Ok(Some((written, written < len)))
}

/// Takes `len` bytes out of the front, which have been written where they lay in the slot as it was `seen`. Writers may merge into it
/// meanwhile, and the pipe may move; what is there still begins with those bytes, unless somebody else has come and read them.
fn take_out(end: &mut ReaderEnd, seen: &Seen, len: usize) -> io::Result<()> {
    let mut races = Retries::new();
    while races.may_go_on() {
        let Some((again, buffer)) = front(end)? else { continue };
        if !end.is_same_place(&again, seen) || buffer.len() < len {
            return Ok(());
        }
        let taken = if len == buffer.len() {
            buffer.take(end, &again)
        } else {
            let peek = buffer.in_place(end, &again, 0).1;
            end.consume(&again, buffer.rest_after(len), peek)
        };
        if taken.is_ok() {
            return Ok(());
        }
    }
    Err(Stop::Damaged.into())
}

/// Takes a piece out first, and then writes all of it, whatever the descriptor makes of it: so it is asked first.
fn take_and_write(end: &mut ReaderEnd, fd: BorrowedFd<'_>, most: usize) -> io::Result<Written> {
    wait_until_writable(fd)?;
    let Some((seen, buffer)) = front(end)? else { return Ok(None) };
    let mut bytes = [0; PIECE];
    let len = buffer.len().min(most).min(bytes.len());
    let (in_place, peek) = buffer.in_place(end, &seen, len);
    in_place.copy_to(0, &mut bytes[..len]);
    let taken =
        if len == buffer.len() { buffer.take(end, &seen) } else { end.consume(&seen, buffer.rest_after(len), peek) };
    if taken.is_err() {
        return Ok(None);
    }
    let mut rest = &bytes[..len];
    let mut is_last = false;
    while !rest.is_empty() {
        match rustix::io::write(fd, rest) {
            Ok(written) => rest = &rest[written..],
            // The call ends with this piece.
            Err(Errno::INTR) => is_last = true,
            Err(Errno::AGAIN) => is_last |= wait_for(fd, PollFlags::OUT, None).is_err(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some((len, is_last)))
}

/// Waits until the descriptor takes something, unless it is nonblocking.
fn wait_until_writable(fd: BorrowedFd<'_>) -> io::Result<()> {
    let is_nonblocking = fcntl_getfl(fd)?.contains(OFlags::NONBLOCK);
    let ready = wait_for(fd, PollFlags::OUT, is_nonblocking.then_some(0))?;
    if ready.is_empty() { Err(Errno::AGAIN.into()) } else { Ok(()) }
}

/// Whether the descriptor is open for it: not for `other` alone. Its flags.
fn check_access(fd: BorrowedFd<'_>, other: OFlags) -> io::Result<OFlags> {
    let flags = fcntl_getfl(fd)?;
    if flags.contains(OFlags::PATH) || flags & OFlags::RWMODE == other {
        return Err(Errno::BADF.into());
    }
    Ok(flags)
}

/// Of what is no pipe the kernel wants to know the end of what is to be moved (`rw_verify_area`).
fn check_range(fd: BorrowedFd<'_>, len: usize) -> io::Result<()> {
    // No file is so long that less than that matters.
    if len <= MOST_BYTES || file_type(fd)? == FileType::Fifo {
        return Ok(());
    }
    // A socket has no position.
    let position = seek(fd, SeekFrom::Current(0)).unwrap_or(0);
    let end = u64::try_from(len).ok().and_then(|len| position.checked_add(len));
    if end.is_some_and(|end| i64::try_from(end).is_ok()) { Ok(()) } else { Err(Errno::INVAL.into()) }
}

/// At the end of file: the kernel, which has both pipes in its hands, says before that that the other one is broken or full.
fn wait_for_room_in_pipe(fd: BorrowedFd<'_>, limit: Limit) -> io::Result<()> {
    if file_type(fd)? != FileType::Fifo {
        return Ok(());
    }
    let ready = wait_for(fd, PollFlags::OUT, may_not_wait(fd, limit)?.then_some(0))?;
    if ready.contains(PollFlags::ERR) {
        return Err(Errno::PIPE.into());
    }
    if ready.is_empty() { Err(Errno::AGAIN.into()) } else { Ok(()) }
}

/// Nobody reads what would be moved: the kernel says before that that there is nothing in the other pipe.
fn check_data_in_pipe(fd: BorrowedFd<'_>, limit: Limit) -> io::Result<()> {
    let is_pipe = file_type(fd)? == FileType::Fifo;
    if is_pipe && may_not_wait(fd, limit)? && wait_for(fd, PollFlags::IN, Some(0))?.is_empty() {
        return Err(Errno::AGAIN.into());
    }
    Ok(())
}

fn may_not_wait(fd: BorrowedFd<'_>, limit: Limit) -> io::Result<bool> {
    Ok(limit == Limit::Try || fcntl_getfl(fd)?.contains(OFlags::NONBLOCK))
}

fn file_type(fd: BorrowedFd<'_>) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode))
}

fn front(end: &mut ReaderEnd) -> io::Result<Option<(Seen, Buffer)>> {
    let seen = match end.front() {
        Ok(seen) => seen,
        Err(Miss::Garbled) => return Err(Stop::Damaged.into()),
        Err(_) => return Ok(None),
    };
    match Buffer::of(end, &seen) {
        Ok(buffer) => Ok(Some((seen, buffer))),
        Err(Stop::WouldBlock) => Ok(None),
        Err(stop) => Err(stop.into()),
    }
}

/// Moves up to `len` bytes from `fd` into the pipe. Returns how many; 0 where the descriptor has no more.
pub(crate) fn from_descriptor(end: &mut WriterEnd, fd: BorrowedFd<'_>, limit: Limit, len: usize) -> io::Result<usize> {
    if len == 0 {
        return Ok(0);
    }
    check_access(fd, OFlags::WRONLY)?;
    check_range(fd, len)?;
    if let Err(stop) = wait_for_room(end, limit) {
        if matches!(stop, Stop::BrokenPipe) {
            check_data_in_pipe(fd, limit)?;
        }
        return Err(stop.into());
    }
    let is_file = file_type(fd)? == FileType::RegularFile;
    let mut moved = 0;
    while moved < len {
        // A file gives everything at once; of others only what is there.
        if moved > 0
            && (end.has_room().is_err()
                || (!is_file && !wait_for(fd, PollFlags::IN, Some(0)).is_ok_and(|ready| !ready.is_empty())))
        {
            break;
        }
        match read_one(end, fd, is_file, len - moved) {
            Ok((0, _)) => break,
            Ok((read, is_last)) => {
                moved += read;
                if is_last {
                    break;
                }
            }
            Err(error) if moved == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(moved)
}

/// Reads into one slot. How many bytes, and whether a signal has come.
fn read_one(end: &mut WriterEnd, fd: BorrowedFd<'_>, is_file: bool, most: usize) -> io::Result<(usize, bool)> {
    let slot_size = end.slot_size();
    let until_border =
        if is_file { slot_size - seek(fd, SeekFrom::Current(0))? as usize % slot_size } else { slot_size };
    let most = most.min(until_border);
    end.prepare_to_fill();
    let page = end.in_place(slot_size);
    // At the end of the page, where nothing can be merged with it.
    let read = page.range(slot_size - most, most).read_from(fd)?;
    if read == 0 {
        return Ok((0, false));
    }
    if read < most {
        // From its end, since the two places may overlap.
        let mut left = read;
        while left > 0 {
            let mut bytes = [0; PIECE];
            let piece = left.min(PIECE);
            left -= piece;
            page.copy_to(slot_size - most + left, &mut bytes[..piece]);
            page.copy_from(slot_size - read + left, &bytes[..piece]);
        }
    }
    let span = Span { start: (slot_size - read) as u32, end: slot_size as u32 };
    // The descriptor has given it: where another writer has filled the last slot meanwhile, this waits.
    let published = publish_for_certain(end, |end| Tried::from(end.publish_span(Kind::Stream, span)));
    if published.is_err() && is_file {
        // The file still has it.
        seek(fd, SeekFrom::Current(-(read as i64)))?;
    }
    Ok((read, published? == Ended::ByASignal))
}

/// Waits until the descriptor is ready; for what it is.
fn wait_for(fd: impl AsFd, what: PollFlags, milliseconds: Option<i64>) -> io::Result<PollFlags> {
    let timeout = milliseconds.map(|milliseconds| Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 });
    let mut polled = [PollFd::new(&fd, what)];
    poll(&mut polled, timeout.as_ref())?;
    Ok(polled[0].revents())
}
