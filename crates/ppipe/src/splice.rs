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
//! the two takes that one buffer along. And where several move buffers between the same two pipes at once, each buffer arrives once, but not
//! in the order in which they were.

use std::io;

use rustix::io::Errno;
use shm_ring::extent::LargeHeader;
use shm_ring::ring::Seen;
use shm_ring::slot::Span;
use shm_ring::sync::Peek;
use shm_ring::writer_end::{ClaimedExtent, Kind};
use shm_ring::{Content, Miss, ReaderEnd, SharedBytes, WriterEnd};

use crate::blocking::{
    Ended, Limit, Retries, Stop, Tried, publish_for_certain, wait_for_data, wait_for_extent, wait_for_room,
    write_within,
};
use crate::message::{publish_extent, too_large, try_to_publish};

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
    let mut retries = Retries::new();
    while retries.may_go_on() {
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
            Err(Hindrance::Race) => {}
            // As good as full.
            Err(Hindrance::NoExtent) => wait_for_extent(to, limit)?,
            Err(Hindrance::Stop(stop)) => return Err(stop.into()),
        }
    }
    Err(Stop::Damaged.into())
}

/// Why nothing has been moved.
enum Hindrance {
    /// Others were faster.
    Race,
    /// The packet at the front needs an extent of the other pipe, and none is free.
    NoExtent,
    /// Something else.
    Stop(Stop),
}

impl From<Stop> for Hindrance {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Moves buffers as long as there are some, and room for them.
fn move_some(verb: Verb, from: &mut ReaderEnd, to: &mut WriterEnd, len: usize) -> Result<usize, Hindrance> {
    let mut moved = 0;
    // What tee has copied first and last; both are still there.
    let mut copied: Option<(Seen, Seen)> = None;
    while moved < len {
        let step = match verb {
            Verb::Splice => splice_one(from, to, len - moved),
            Verb::Tee => tee_one(from, to, &mut copied, len - moved).map(|len| (len, Ended::AsMeant)),
        };
        match step {
            Ok((len, ended)) => {
                moved += len;
                if ended == Ended::ByASignal {
                    break;
                }
            }
            Err(_) if moved > 0 => break,
            Err(hindrance) => return Err(hindrance),
        }
    }
    Ok(moved)
}

fn check_room(to: &mut WriterEnd) -> Result<(), Hindrance> {
    if !to.participant().has_peers() {
        return Err(Stop::BrokenPipe.into());
    }
    to.has_room().map_err(|_| Hindrance::Race)
}

fn found(seen: Result<Seen, Miss>) -> Result<Seen, Hindrance> {
    seen.map_err(|miss| if miss == Miss::Garbled { Stop::Damaged.into() } else { Hindrance::Race })
}

/// Takes one buffer, or a part of it, out of `from` and puts it into `to`.
fn splice_one(from: &mut ReaderEnd, to: &mut WriterEnd, most: usize) -> Result<(usize, Ended), Hindrance> {
    check_room(to)?;
    let seen = &found(from.front())?;
    let buffer = Buffer::of(from, seen).map_err(race)?;
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
        return Err(if miss == Miss::Garbled { Stop::Damaged.into() } else { Hindrance::Race });
    }
    // It is in nobody's pipe now: see the top.
    match place.publish_for_certain(to, &buffer) {
        Ok(ended) => Ok((len, ended)),
        // As if its readers had gone a moment later.
        Err(Stop::BrokenPipe) => Ok((len, Ended::AsMeant)),
        Err(stop) => Err(stop.into()),
    }
}

/// Puts a copy of the next buffer, or of a part of it, into `to`. What was copied first is still there, which says that nobody has read a part
/// of what stands behind it.
fn tee_one(
    from: &mut ReaderEnd,
    to: &mut WriterEnd,
    copied: &mut Option<(Seen, Seen)>,
    most: usize,
) -> Result<usize, Hindrance> {
    check_room(to)?;
    let seen = match copied {
        None => found(from.front())?,
        Some((_, last)) => from.behind(last).ok_or(Hindrance::Race)?,
    };
    let first = copied.map_or(seen, |(first, _)| first);
    let buffer = Buffer::of(from, &seen).map_err(race)?;
    let len = buffer.len().min(most).min(buffer.most_for(to));
    let place = Place::find(to, &buffer, len, false)?;
    let peek = buffer.fill_by_peek(from, to, &place, &seen, len);
    let is_there = from.confirm(&seen, peek).is_ok() && (first.position() == seen.position() || from.is_there(&first));
    if !is_there {
        place.give_up(to);
        return Err(Hindrance::Race);
    }
    place.publish_copy(to, &buffer)?;
    *copied = Some((first, seen));
    Ok(len)
}

/// A slot that has changed is a race, and not that nothing is there.
fn race(stop: Stop) -> Hindrance {
    if matches!(stop, Stop::WouldBlock) { Hindrance::Race } else { stop.into() }
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

    fn kind(&self) -> Kind {
        match *self {
            Self::Page { kind, .. } => kind,
            Self::Extent { .. } => Kind::Packet,
        }
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
    fn find(to: &mut WriterEnd, buffer: &Buffer, len: usize, is_whole: bool) -> Result<Self, Hindrance> {
        let slot_size = to.slot_size();
        if len > slot_size {
            if len > to.capacity() {
                return Err(too_large().into());
            }
            let claimed = to.claim_extent(len).map_err(Stop::System)?;
            return claimed.map(Self::Extent).ok_or(Hindrance::NoExtent);
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

    /// Publishes what has been taken out already.
    fn publish_for_certain(self, to: &mut WriterEnd, buffer: &Buffer) -> Result<Ended, Stop> {
        match self {
            Self::Page(span) => publish_for_certain(to, |to| Tried::from(to.publish_span(buffer.kind(), span))),
            Self::Extent(extent) => {
                let mut unpublished = Some(extent);
                let published = publish_for_certain(to, |to| try_to_publish(to, &mut unpublished));
                if let Some(extent) = unpublished {
                    to.release_extent(extent);
                }
                published
            }
        }
    }

    /// Publishes what is still where it comes from.
    fn publish_copy(self, to: &mut WriterEnd, buffer: &Buffer) -> Result<(), Hindrance> {
        let published = match self {
            Self::Page(span) => write_within(to, Limit::Try, |to| Tried::from(to.publish_span(buffer.kind(), span))),
            Self::Extent(extent) => publish_extent(to, Limit::Try, extent).map_err(|(stop, extent)| {
                to.release_extent(extent);
                stop
            }),
        };
        published.map_err(race)
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
