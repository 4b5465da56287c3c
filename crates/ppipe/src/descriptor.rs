//! Between a pipe and any descriptor, straight from and to the shared pages.
//!
//! The rules are those of `splice_file_to_pipe`, `filemap_splice_read` and `iter_file_splice_write` in the Linux kernel (6.18):
//! * What comes out of a descriptor are bytes of a stream that later ones are not merged with, one slot for each part of it. Of a file those parts
//!   end where pages of the file do.
//! * What goes into a descriptor has no borders any more. As much leaves the pipe as the descriptor has taken.
//!
//! # What is different where others read the same pipe
//! The kernel keeps the pipe locked while the descriptor takes the bytes. Here they are written where they lie, and taken out after
//! that, which is the same where nobody else reads. Where somebody does, each piece is taken out first, and the call waits until the
//! descriptor has taken all of it, also if that is nonblocking; if it fails, the piece is lost.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, SeekFrom, fcntl_getfl, fstat, seek};
use rustix::io::Errno;
use shm_ring::slot::Span;
use shm_ring::writer_end::Kind;
use shm_ring::{Miss, ReaderEnd, WriterEnd};

use crate::blocking::{Limit, Stop, Tried, wait_for_data, wait_for_room, write_within};
use crate::splice::Buffer;

/// Moves up to `len` bytes to `fd`. Returns how many; 0 at the end of file.
pub(crate) fn to_descriptor(end: &mut ReaderEnd, fd: BorrowedFd<'_>, limit: Limit, len: usize) -> io::Result<usize> {
    if len == 0 {
        return Ok(0);
    }
    if fcntl_getfl(fd)?.contains(OFlags::APPEND) {
        return Err(Errno::INVAL.into());
    }
    let mut moved = 0;
    while moved < len {
        let first = if moved == 0 { wait_for_data(end, limit) } else { wait_for_data(end, Limit::Try) };
        match first {
            Ok(()) => {}
            Err(Stop::EndOfFile) => break,
            Err(_) if moved > 0 => break,
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
    let (bytes, peek) = buffer.in_place(end, &seen, len);
    let written = bytes.write_to(fd)?;
    // Nobody can have taken it meanwhile but one who has come since; then both have it.
    let _ = if written == buffer.len() {
        buffer.take(end, &seen)
    } else if written > 0 {
        end.consume(&seen, buffer.rest_after(written), peek)
    } else {
        Ok(())
    };
    Ok(Some((written, written < len)))
}

fn take_and_write(end: &mut ReaderEnd, fd: BorrowedFd<'_>, most: usize) -> io::Result<Written> {
    let Some((seen, buffer)) = front(end)? else { return Ok(None) };
    let mut bytes = [0; 4096];
    let len = buffer.len().min(most).min(bytes.len());
    let (in_place, peek) = buffer.in_place(end, &seen, len);
    in_place.copy_to(0, &mut bytes[..len]);
    let taken =
        if len == buffer.len() { buffer.take(end, &seen) } else { end.consume(&seen, buffer.rest_after(len), peek) };
    if taken.is_err() {
        return Ok(None);
    }
    let mut rest = &bytes[..len];
    while !rest.is_empty() {
        match rustix::io::write(fd, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::AGAIN) => _ = wait_for(fd, PollFlags::OUT, None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some((len, false)))
}

fn front(end: &mut ReaderEnd) -> io::Result<Option<(shm_ring::ring::Seen, Buffer)>> {
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
    wait_for_room(end, limit)?;
    let is_file = FileType::from_raw_mode(fstat(fd)?.st_mode) == FileType::RegularFile;
    let mut moved = 0;
    while moved < len {
        // A file gives everything at once; of others only what is there.
        if moved > 0 && (end.has_room().is_err() || (!is_file && !wait_for(fd, PollFlags::IN, Some(0)))) {
            break;
        }
        match read_one(end, fd, is_file, len - moved) {
            Ok(0) => break,
            Ok(read) => moved += read,
            Err(error) if moved == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(moved)
}

/// Reads into one slot.
fn read_one(end: &mut WriterEnd, fd: BorrowedFd<'_>, is_file: bool, most: usize) -> io::Result<usize> {
    let slot_size = end.slot_size();
    let until_border =
        if is_file { slot_size - seek(fd, SeekFrom::Current(0))? as usize % slot_size } else { slot_size };
    let most = most.min(until_border);
    end.prepare_to_fill();
    let page = end.in_place(slot_size);
    // At the end of the page, where nothing can be merged with it.
    let read = page.range(slot_size - most, most).read_from(fd)?;
    if read == 0 {
        return Ok(0);
    }
    if read < most {
        let mut bytes = vec![0; read];
        page.copy_to(slot_size - most, &mut bytes);
        page.copy_from(slot_size - read, &bytes);
    }
    let span = Span { start: (slot_size - read) as u32, end: slot_size as u32 };
    // The descriptor has given it: where another writer has filled the last slot meanwhile, this waits.
    write_within(end, Limit::None, |end| Tried::from(end.publish_span(Kind::Stream, span)))?;
    Ok(read)
}

/// Waits until the descriptor is ready; whether it is.
fn wait_for(fd: impl AsFd, what: PollFlags, milliseconds: Option<i64>) -> bool {
    let timeout = milliseconds.map(|milliseconds| Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 });
    let mut polled = [PollFd::new(&fd, what)];
    poll(&mut polled, timeout.as_ref()).is_ok_and(|ready| ready > 0)
}
