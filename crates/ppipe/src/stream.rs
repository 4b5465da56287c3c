//! The POSIX verbs' rules: how written bytes become pipe buffers, and how pipe buffers become read bytes.
//!
//! The rules are those of `anon_pipe_write` and `anon_pipe_read` in the Linux kernel's `fs/pipe.c` (6.18):
//! * A write's odd part (its size modulo the slot size) goes into the last buffer, if that holds stream bytes and has room
//!   for all of it; the rest is cut into slots from where it starts. This is so in packet mode too.
//! * What is written in packet mode is cut into packets of the slot size.
//! * A read goes on over stream buffers until it is satisfied or the pipe is empty. A packet ends it, and what of the
//!   packet does not fit is dropped.
//! * Memory that is not there ends a call before the slot, or the merge, that needs it: with what went before, else EFAULT. Nobody looks
//!   at it as long as there is no room, or nothing to read.

use std::io::{IoSlice, IoSliceMut};

use rustix::io::Errno;
use shm_ring::ring::Seen;
use shm_ring::slot::Span;
use shm_ring::writer_end::{Kind, MOST_RINGS};
use shm_ring::{Content, Miss, ReaderEnd, WriterEnd};

use crate::blocking::{Limit, Stop, Tried, read_within, write_within};
use crate::gather::{Source, Target};
use crate::splice::Buffer;

/// So many buffers one call uses, as the standard library does; `writev` and `readv` refuse more.
const MOST_BUFFERS: usize = 1024;
/// So many bytes one call writes or reads, as in the kernel (`MAX_RW_COUNT`).
const MOST_BYTES: usize = 0x7fff_f000;

/// What a write came to.
pub(crate) struct Written {
    pub(crate) len: usize,
    /// It ended early because nobody reads any more.
    pub(crate) is_broken: bool,
}

/// Writes all of `buffers` within the limit, or as much as goes; see the module. `missing` bytes more are nowhere. Each buffer is what `kind`
/// says when it is made, and each wait what `limit` says when it begins: flags can be changed while a write waits.
#[inline]
pub(crate) fn write(
    end: &mut WriterEnd,
    kind: impl Fn() -> Kind,
    limit: impl Fn() -> Limit,
    buffers: &[IoSlice<'_>],
    missing: usize,
) -> Result<Written, Stop> {
    let mut source = Source::new(&buffers[..buffers.len().min(MOST_BUFFERS)]).with_missing(missing);
    source.limit(MOST_BYTES);
    let total = source.left();
    while source.left() > 0 {
        match write_within(end, limit(), |end| write_some(end, &kind, &mut source)) {
            Ok(()) => {}
            Err(stop) if source.left() < total => {
                return Ok(Written { len: total - source.left(), is_broken: matches!(stop, Stop::BrokenPipe) });
            }
            Err(stop) => return Err(stop),
        }
    }
    Ok(Written { len: total, is_broken: false })
}

fn bad_address() -> Stop {
    Stop::System(Errno::FAULT.into())
}

/// Merges the odd part, if it can be, and publishes slots until nothing is left or the pipe is full.
#[inline]
fn write_some(end: &mut WriterEnd, kind: &impl Fn() -> Kind, source: &mut Source<'_>) -> Tried<()> {
    let before = source.left();
    let odd_part = before % end.slot_size();
    if odd_part > 0 && !source.has(odd_part) {
        if end.begin_merge(odd_part).is_some() {
            return Tried::Failed(bad_address());
        }
    } else if odd_part > 0
        && let Err(miss) = merge(end, source, odd_part)
    {
        return Tried::Missed(miss);
    }
    while source.left() > 0 {
        let rest = *source;
        let len = rest.left().min(end.slot_size());
        if !rest.has(len) {
            return if rest.left() < before { Tried::Done(()) } else { fail_if_there_is_room(end) };
        }
        let mut at = 0;
        while at < len {
            let piece = source.next(len - at);
            end.fill(at, piece);
            at += piece.len();
        }
        if let Err(miss) = end.publish(kind(), len) {
            *source = rest;
            return if source.left() < before { Tried::Done(()) } else { Tried::Missed(miss) };
        }
    }
    Tried::Done(())
}

#[cold]
fn fail_if_there_is_room(end: &mut WriterEnd) -> Tried<()> {
    end.has_room().map_or_else(Tried::Missed, |()| Tried::Failed(bad_address()))
}

/// Merges the first `len` bytes of `source` into the last slot if they fit there.
#[inline]
fn merge(end: &mut WriterEnd, source: &mut Source<'_>, len: usize) -> Result<(), Miss> {
    // As often as others arm the bell while this one rings it, and no oftener than it would for a slot.
    for _ in 0..MOST_RINGS {
        let Some(merge) = end.begin_merge(len) else { return Ok(()) };
        let before = *source;
        let mut at = 0;
        while at < len {
            let piece = source.next(len - at);
            end.fill_merge(&merge, at, piece);
            at += piece.len();
        }
        match end.merge(merge, len) {
            Err(Miss::Unheard) => *source = before,
            merged => return merged.inspect_err(|_| *source = before),
        }
    }
    Err(Miss::Lost)
}

/// Reads into `buffers` within the limit, and into `missing` bytes more that are nowhere; 0 at the end of file.
#[inline]
pub(crate) fn read(
    end: &mut ReaderEnd,
    limit: Limit,
    buffers: &mut [IoSliceMut<'_>],
    missing: usize,
) -> Result<usize, Stop> {
    let most = buffers.len().min(MOST_BUFFERS);
    let mut target = Target::new(&mut buffers[..most]).with_missing(missing);
    target.limit(MOST_BYTES);
    if target.left() == 0 {
        return Ok(0);
    }
    let attempt = |end: &mut ReaderEnd| match read_some(end, &mut target, AtPacket::Take) {
        Err(Miss::Lost) if end.front().is_ok_and(|seen| !has_memory_for(end, &seen, &target)) => {
            Tried::Failed(bad_address())
        }
        read => read.into(),
    };
    match read_within(end, limit, attempt) {
        Err(Stop::EndOfFile) => Ok(0),
        result => result,
    }
}

/// What a read does when a packet comes after stream bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtPacket {
    /// Fills what room is left with it and drops the rest of it, as Linux does.
    Take,
    /// Leaves it where it is.
    Stop,
}

/// Reads what is there, up to the room in `target` or the end of a packet.
///
/// One read's bytes lie together in the stream: when another reader has taken what comes next, or a part of it, this one ends.
#[inline]
pub(crate) fn read_some(end: &mut ReaderEnd, target: &mut Target<'_, '_>, at_packet: AtPacket) -> Result<usize, Miss> {
    let room = target.left();
    // Where the next bytes begin: in which slot, and where in its page.
    let mut next = None;
    loop {
        let has_read = room - target.left();
        let seen = match end.front() {
            Ok(seen) if has_read == 0 || next == Some((seen.position(), start_of(seen.content()))) => seen,
            Err(miss) if has_read == 0 => return Err(miss),
            _ => return Ok(has_read),
        };
        let is_stream = matches!(seen.content(), Content::Stream(_));
        if !is_stream && at_packet == AtPacket::Stop {
            // Without having read anything: somebody has taken the stream bytes that the caller saw here.
            return if has_read > 0 { Ok(has_read) } else { Err(Miss::Lost) };
        }
        if !has_memory_for(end, &seen, target) {
            return if has_read > 0 { Ok(has_read) } else { Err(Miss::Lost) };
        }
        // Looked at while this one is still there, so that nobody can have read a part of it.
        let start_behind = if is_stream { end.behind(&seen).map(|behind| start_of(behind.content())) } else { None };
        match read_slot(end, &seen, target) {
            Ok(()) if is_stream && target.left() > 0 => {
                // What is published from now on begins where its page does, but for what is spliced; then this read ends.
                next = Some((seen.position().wrapping_add(1), start_behind.unwrap_or(0)));
            }
            Ok(()) => return Ok(room - target.left()),
            Err(miss) if has_read == 0 => return Err(miss),
            Err(_) => return Ok(has_read),
        }
    }
}

/// Whether there is memory for what a read takes of this slot.
#[inline(always)]
fn has_memory_for(end: &ReaderEnd, seen: &Seen, target: &Target<'_, '_>) -> bool {
    !target.is_short() || Buffer::of(end, seen).map_or(true, |buffer| target.has(buffer.len()))
}

/// Where in its page, or its extent, a slot's unread bytes begin.
fn start_of(content: Content) -> u32 {
    match content {
        Content::Empty => 0,
        Content::Stream(span) | Content::Packet(span) => span.start,
        Content::Large { consumed } => consumed,
    }
}

/// Reads from one slot what there is room for. Of a packet the rest is dropped.
#[inline]
fn read_slot(end: &mut ReaderEnd, seen: &Seen, target: &mut Target<'_, '_>) -> Result<(), Miss> {
    match seen.content() {
        Content::Empty => Err(Miss::Lost),
        Content::Stream(span) if span.len() > target.left() => read_part(end, seen, span, target, Content::Stream),
        Content::Stream(span) | Content::Packet(span) => {
            end.take(seen)?;
            let len = span.len().min(target.left());
            let mut at = 0;
            while at < len {
                let piece = target.next(len - at);
                end.read(span.start as usize + at, piece);
                at += piece.len();
            }
            Ok(())
        }
        Content::Large { consumed } => {
            end.take(seen)?;
            let header = end.large_header()?;
            let unread = header.length.checked_sub(consumed).filter(|&unread| unread > 0);
            let unread = unread.filter(|&unread| target.has(unread as usize)).ok_or(Miss::Garbled)?;
            let len = (unread as usize).min(target.left());
            let mut at = 0;
            while at < len {
                let piece = target.next(len - at);
                end.read_extent(header, consumed as usize + at, piece);
                at += piece.len();
            }
            end.release_extent(header);
            Ok(())
        }
    }
}

/// Reads as much of the slot's bytes as there is room for, and leaves the rest there, as what `rest` makes of it.
pub(crate) fn read_part(
    end: &ReaderEnd,
    seen: &Seen,
    span: Span,
    target: &mut Target<'_, '_>,
    rest: fn(Span) -> Content,
) -> Result<(), Miss> {
    let place = target.place();
    let mut start = span.start;
    let mut last_peek = None;
    while target.left() > 0 {
        let piece = target.next(span.len());
        let part = Span { start, end: start + piece.len() as u32 };
        last_peek = Some(end.peek(seen, part, piece));
        start = part.end;
    }
    let Some(peek) = last_peek else { return Ok(()) };
    end.consume(seen, rest(Span { start, end: span.end }), peek).inspect_err(|_| target.go_back(place))
}
