//! Moving what is in one pipe to another one, or copying it there.
//!
//! The rules are those of `splice_pipe_to_pipe` and `link_pipe` in the Linux kernel's `fs/splice.c` (6.18), where buffers change hands and
//! nothing is copied; here the bytes are, since two pipes have two memories:
//! * A buffer that is moved whole stays what it is: a packet, or stream bytes at the same place of their page, which later ones may be
//!   merged with.
//! * A part of a buffer, and whatever is copied by tee, stays a packet if it was one. Stream bytes are not merged with any more.
//! * It is done buffer by buffer, until `len` bytes are, the one pipe is empty, or the other one full.
//!
//! # What two pipes without a common lock cannot do
//! A buffer is taken out of the one pipe and then put into the other one. Where another writer fills the last slot between the look for
//! room and that, the caller waits for room, also if it is nonblocking; the kernel keeps both pipes locked. One who is killed between
//! the two takes that one buffer along.

use std::io;

use rustix::io::Errno;
use shm_ring::extent::LargeHeader;
use shm_ring::ring::Seen;
use shm_ring::slot::Span;
use shm_ring::sync::Peek;
use shm_ring::writer_end::{ClaimedExtent, Kind};
use shm_ring::{Content, Miss, ReaderEnd, SharedBytes, WriterEnd};

use crate::blocking::{Limit, Stop, Tried, wait_for_data, wait_for_room, write_within};
use crate::message::{claim_extent, publish_extent, too_large};

/// Whether what is copied stays in the pipe that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Splice,
    Tee,
}

/// Moves or copies up to `len` bytes from one pipe to another one. Returns how many; 0 at the end of file.
pub(crate) fn run(verb: Verb, from: &mut ReaderEnd, to: &mut WriterEnd, limit: Limit, len: usize) -> io::Result<usize> {
    if len == 0 {
        return Ok(0);
    }
    if from.participant().segment().is_same(to.participant().segment()) {
        return Err(Errno::INVAL.into());
    }
    loop {
        // The kernel looks at both before it says anything of either.
        let is_at_end = match wait_for_data(from, limit) {
            Ok(()) => false,
            Err(Stop::EndOfFile) => true,
            Err(stop) => return Err(stop.into()),
        };
        wait_for_room(to, limit)?;
        if is_at_end {
            return Ok(0);
        }
        match move_some(verb, from, to, len) {
            Ok(moved) => return Ok(moved),
            Err(Stop::WouldBlock) => {}
            Err(stop) => return Err(stop.into()),
        }
    }
}

/// Moves buffers as long as there are some, and room for them. `WouldBlock`: others were faster, and nothing has been moved.
fn move_some(verb: Verb, from: &mut ReaderEnd, to: &mut WriterEnd, len: usize) -> Result<usize, Stop> {
    let mut moved = 0;
    // What tee has copied last; it is still there.
    let mut last: Option<(Seen, Seen)> = None;
    while moved < len {
        let stop = |stop| if moved > 0 { Ok(moved) } else { Err(stop) };
        if !to.participant().has_peers() {
            return stop(Stop::BrokenPipe);
        }
        let next = match &last {
            None => from.front(),
            Some((_, copied)) => from.behind(copied).ok_or(Miss::Empty),
        };
        let seen = match next {
            Ok(seen) => seen,
            Err(Miss::Garbled) => return stop(Stop::Damaged),
            Err(_) => return stop(Stop::WouldBlock),
        };
        if to.has_room().is_err() {
            return stop(Stop::WouldBlock);
        }
        let copied = match verb {
            Verb::Splice => move_one(from, to, &seen, len - moved),
            Verb::Tee => copy_one(from, to, &seen, last.map_or(seen, |(first, _)| first), len - moved),
        };
        match copied {
            Ok(len) => moved += len,
            Err(Stop::WouldBlock) => return stop(Stop::WouldBlock),
            Err(error) => return stop(error),
        }
        if verb == Verb::Tee {
            last = Some((last.map_or(seen, |(first, _)| first), seen));
        }
    }
    Ok(moved)
}

/// Takes one buffer, or a part of it, out of `from` and puts it into `to`.
fn move_one(from: &mut ReaderEnd, to: &mut WriterEnd, seen: &Seen, most: usize) -> Result<usize, Stop> {
    let buffer = Buffer::of(from, seen)?;
    let len = buffer.len().min(most).min(buffer.most_for(to));
    let is_whole = len == buffer.len();
    let place = Place::find(to, &buffer, len, is_whole)?;
    let taken = if is_whole {
        // From its own page, since it has it then.
        from.take(seen).map(|()| buffer.fill_from_own(from, to, &place, len))
    } else {
        let peek = buffer.fill_by_peek(from, to, &place, seen, len);
        from.consume(seen, buffer.rest_after(len), peek)
    };
    if let Err(miss) = taken {
        place.give_up(to);
        return Err(if miss == Miss::Garbled { Stop::Damaged } else { Stop::WouldBlock });
    }
    // It is in nobody's pipe now: see the top.
    place.publish(to, &buffer, Limit::None)?;
    Ok(len)
}

/// Puts a copy of one buffer, or of a part of it, into `to`. `first` was copied before, and its being there says that nobody has read a
/// part of what stands behind it.
fn copy_one(from: &mut ReaderEnd, to: &mut WriterEnd, seen: &Seen, first: Seen, most: usize) -> Result<usize, Stop> {
    let buffer = Buffer::of(from, seen)?;
    let len = buffer.len().min(most).min(buffer.most_for(to));
    let place = Place::find(to, &buffer, len, false)?;
    let peek = buffer.fill_by_peek(from, to, &place, seen, len);
    let is_there = from.confirm(seen, peek).is_ok() && (first.position() == seen.position() || from.is_there(&first));
    if !is_there {
        place.give_up(to);
        return Err(Stop::WouldBlock);
    }
    place.publish(to, &buffer, Limit::Try)?;
    Ok(len)
}

/// What is in a slot.
#[derive(Clone, Copy)]
pub(crate) enum Buffer {
    Page { kind: Kind, span: Span },
    Extent { header: LargeHeader, consumed: u32 },
}

impl Buffer {
    pub(crate) fn of(from: &ReaderEnd, seen: &Seen) -> Result<Self, Stop> {
        Ok(match seen.content() {
            Content::Empty => return Err(Stop::WouldBlock),
            Content::Stream(span) => Self::Page { kind: Kind::Stream, span },
            Content::Packet(span) => Self::Page { kind: Kind::Packet, span },
            Content::Large { consumed } => match from.peek_large_header(seen) {
                Ok(header) if header.length > consumed => Self::Extent { header, consumed },
                Err(Miss::Lost) => return Err(Stop::WouldBlock),
                _ => return Err(Stop::Damaged),
            },
        })
    }

    pub(crate) fn len(&self) -> usize {
        match *self {
            Self::Page { span, .. } => span.len(),
            Self::Extent { header, consumed } => (header.length - consumed) as usize,
        }
    }

    /// How much of it fits into one buffer of `to`.
    fn most_for(&self, to: &WriterEnd) -> usize {
        match self {
            Self::Page { kind: Kind::Stream, .. } => to.slot_size(),
            // A packet stays one, whatever its size.
            _ => usize::MAX,
        }
    }

    fn is_packet(&self) -> bool {
        !matches!(self, Self::Page { kind: Kind::Stream, .. })
    }

    /// What is left when `len` bytes are gone.
    pub(crate) fn rest_after(&self, len: usize) -> Content {
        match *self {
            Self::Page { kind, span } => {
                let rest = Span { start: span.start + len as u32, ..span };
                if kind == Kind::Stream { Content::Stream(rest) } else { Content::Packet(rest) }
            }
            Self::Extent { consumed, .. } => Content::Large { consumed: consumed + len as u32 },
        }
    }

    /// The first `len` bytes where they lie.
    pub(crate) fn in_place<'a>(&self, from: &'a ReaderEnd, seen: &Seen, len: usize) -> (SharedBytes<'a>, Peek) {
        match *self {
            Self::Page { span, .. } => from.peek_in_place(seen, Span { end: span.start + len as u32, ..span }),
            Self::Extent { header, consumed } => from.peek_extent_in_place(header, consumed as usize, len),
        }
    }

    /// Takes the slot, of which everything has been read.
    pub(crate) fn take(&self, from: &mut ReaderEnd, seen: &Seen) -> Result<(), Miss> {
        from.take(seen)?;
        if let Self::Extent { header, .. } = *self {
            from.release_extent(header);
        }
        Ok(())
    }

    fn fill_from_own(&self, from: &mut ReaderEnd, to: &mut WriterEnd, place: &Place, len: usize) {
        in_pieces(len, |at, piece| {
            match *self {
                Self::Page { span, .. } => from.read(span.start as usize + at, piece),
                Self::Extent { header, consumed } => from.read_extent(header, consumed as usize + at, piece),
            }
            place.fill(to, at, piece);
        });
        if let Self::Extent { header, .. } = *self {
            from.release_extent(header);
        }
    }

    fn fill_by_peek(&self, from: &ReaderEnd, to: &mut WriterEnd, place: &Place, seen: &Seen, len: usize) -> Peek {
        let mut last = None;
        in_pieces(len, |at, piece| {
            last = Some(match *self {
                Self::Page { span, .. } => {
                    let start = span.start + at as u32;
                    from.peek(seen, Span { start, end: start + piece.len() as u32 }, piece)
                }
                Self::Extent { header, consumed } => from.peek_extent(header, consumed as usize + at, piece),
            });
            place.fill(to, at, piece);
        });
        last.expect("there is at least one byte")
    }
}

/// Where in the other pipe it goes to.
enum Place {
    Page(Span),
    Extent(ClaimedExtent),
}

impl Place {
    /// Room for `len` bytes of `buffer`, which are the whole of it or not.
    fn find(to: &mut WriterEnd, buffer: &Buffer, len: usize, is_whole: bool) -> Result<Self, Stop> {
        let slot_size = to.slot_size();
        if len > slot_size {
            if len > to.capacity() {
                return Err(too_large());
            }
            return claim_extent(to, Limit::Try, len).map(Self::Extent);
        }
        to.prepare_to_fill();
        let at = |start: usize| Self::Page(Span { start: start as u32, end: (start + len) as u32 });
        Ok(match *buffer {
            // At the end of the page there is nothing to be merged with.
            Buffer::Page { kind: Kind::Stream, .. } if !is_whole => at(slot_size - len),
            // The same place, so that there is as much room behind it as there was.
            Buffer::Page { span, .. } if span.end as usize <= slot_size => at(span.start as usize),
            _ => at(0),
        })
    }

    fn fill(&self, to: &mut WriterEnd, at: usize, bytes: &[u8]) {
        match self {
            Self::Page(span) => to.fill(span.start as usize + at, bytes),
            Self::Extent(extent) => to.fill_extent(extent, at, bytes),
        }
    }

    fn publish(self, to: &mut WriterEnd, buffer: &Buffer, limit: Limit) -> Result<(), Stop> {
        match self {
            Self::Page(span) => {
                let kind = if buffer.is_packet() { Kind::Packet } else { Kind::Stream };
                write_within(to, limit, |to| Tried::from(to.publish_span(kind, span)))
            }
            Self::Extent(extent) => publish_extent(to, limit, extent).map_err(|(stop, extent)| {
                to.release_extent(extent);
                stop
            }),
        }
    }

    fn give_up(self, to: &mut WriterEnd) {
        if let Self::Extent(extent) = self {
            to.release_extent(extent);
        }
    }
}

/// Calls `each` with pieces of a buffer that together have `len` bytes.
fn in_pieces(len: usize, mut each: impl FnMut(usize, &mut [u8])) {
    let mut buffer = [0; 4096];
    let mut at = 0;
    while at < len {
        let piece = (len - at).min(buffer.len());
        each(at, &mut buffer[..piece]);
        at += piece;
    }
}
