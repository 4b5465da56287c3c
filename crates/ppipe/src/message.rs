//! The message verbs' rules: one send is one packet, whole or not at all.

use std::io::{self, IoSlice, IoSliceMut};

use rustix::io::Errno;
use shm_ring::ring::Seen;
use shm_ring::slot::Span;
use shm_ring::writer_end::{ClaimedExtent, Kind};
use shm_ring::{Content, Miss, ReaderEnd, WriterEnd};

use crate::blocking::{
    Limit, Stop, Tried, before_reading, before_writing, read_or_wait, read_within, write_or_wait, write_within,
};
use crate::gather::{Source, Target};
use crate::splice::Buffer;
use crate::stream::{AtPacket, read_part, read_some};

/// What becomes of the part of a packet that the reader's buffer has no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Excess {
    /// It is dropped, as Linux does.
    #[default]
    Discard,
    /// It stays in the pipe, a packet of its own, to be received next.
    Keep,
    /// The call fails with `EMSGSIZE` and the whole packet stays in the pipe.
    Refuse,
}

/// What was received. By default nothing, for one who makes room for several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Bytes that are in the reader's buffer.
    pub len: usize,
    /// Bytes that the packet had when it stood at the front of the pipe: more than `len` if the buffer was too small.
    pub packet_len: usize,
    /// Whether these are bytes of a stream, which somebody wrote without the packet flag, and not a packet.
    pub is_stream: bool,
}

impl Message {
    /// Whether the buffer was too small for the packet.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.len < self.packet_len
    }

    fn packet(len: usize, packet_len: usize) -> Self {
        Self { len, packet_len, is_stream: false }
    }
}

/// The error of a packet that fits nowhere: `EMSGSIZE`.
pub(crate) fn too_large() -> Stop {
    Stop::System(Errno::MSGSIZE.into())
}

/// Sends all of `buffers` as one packet.
#[inline]
pub(crate) fn send(end: &mut WriterEnd, limit: Limit, buffers: &[IoSlice<'_>]) -> io::Result<()> {
    let mut source = Source::new(buffers);
    let len = source.left();
    if len > end.slot_size() {
        return Ok(send_large(end, limit, source)?);
    }
    if len == 0 {
        return Ok(());
    }
    if let [only] = buffers {
        end.fill(0, only);
    } else {
        let mut at = 0;
        while at < len {
            let piece = source.next(len - at);
            end.fill(at, piece);
            at += piece.len();
        }
    }
    if !before_writing(end, limit) {
        return Err(Stop::BrokenPipe.into());
    }
    match end.publish(Kind::Packet, len) {
        Ok(()) => Ok(()),
        Err(miss) => publish_or_wait(end, limit, len, miss),
    }
}

/// The page stays filled until it is published.
#[cold]
fn publish_or_wait(end: &mut WriterEnd, limit: Limit, len: usize, first: Miss) -> io::Result<()> {
    Ok(write_or_wait(end, limit, |end| end.publish(Kind::Packet, len).into(), Some(Tried::Missed(first)))?)
}

#[cold]
fn send_large(end: &mut WriterEnd, limit: Limit, mut source: Source<'_>) -> Result<(), Stop> {
    if source.left() > end.capacity() {
        return Err(too_large());
    }
    let extent = claim_extent(end, limit, source.left())?;
    let mut at = 0;
    while source.left() > 0 {
        let piece = source.next(usize::MAX);
        end.fill_extent(&extent, at, piece);
        at += piece.len();
    }
    publish_extent(end, limit, extent).map_err(|(stop, extent)| {
        end.release_extent(extent);
        stop
    })
}

/// An extent for a packet of `len` bytes.
pub(crate) fn claim_extent(end: &mut WriterEnd, limit: Limit, len: usize) -> Result<ClaimedExtent, Stop> {
    write_within(end, limit, |end| match end.claim_extent(len) {
        Ok(Some(extent)) => Tried::Done(extent),
        Ok(None) => Tried::NoExtent,
        Err(error) => Tried::Failed(error.into()),
    })
}

/// Publishes the extent, or leaves it where it is.
pub(crate) fn try_to_publish(end: &mut WriterEnd, unpublished: &mut Option<ClaimedExtent>) -> Tried<()> {
    let Some(extent) = unpublished.take() else { return Tried::Done(()) };
    match end.publish_extent(extent) {
        Ok(()) => Tried::Done(()),
        Err((miss, extent)) => {
            *unpublished = Some(extent);
            Tried::Missed(miss)
        }
    }
}

/// Publishes a filled extent, or gives it back with the reason.
pub(crate) fn publish_extent(
    end: &mut WriterEnd,
    limit: Limit,
    extent: ClaimedExtent,
) -> Result<(), (Stop, ClaimedExtent)> {
    let mut unpublished = Some(extent);
    let published = write_within(end, limit, |end| try_to_publish(end, &mut unpublished));
    match (published, unpublished) {
        (Err(stop), Some(extent)) => Err((stop, extent)),
        _ => Ok(()),
    }
}

/// Copies the next packet, or the next buffer of a stream, into `buffers` and leaves it where it is.
pub(crate) fn peek(end: &mut ReaderEnd, limit: Limit, buffers: &mut [IoSliceMut<'_>]) -> io::Result<Message> {
    let message = read_within(end, limit, |end| {
        let seen = match end.front() {
            Ok(seen) => seen,
            Err(miss) => return Tried::Missed(miss),
        };
        let buffer = match Buffer::of(end, &seen) {
            Ok(buffer) => buffer,
            Err(Stop::WouldBlock) => return Tried::Missed(Miss::Lost),
            Err(stop) => return Tried::Failed(stop),
        };
        let mut target = Target::new(buffers);
        let len = buffer.len().min(target.left());
        let (bytes, peek) = buffer.in_place(end, &seen, len);
        let mut at = 0;
        while at < len {
            let piece = target.next(len - at);
            bytes.copy_to(at, piece);
            at += piece.len();
        }
        let is_stream = matches!(seen.content(), Content::Stream(_));
        let message = if is_stream { stream(len) } else { Message::packet(len, buffer.len()) };
        end.confirm(&seen, peek).map(|()| message).into()
    })?;
    Ok(message)
}

/// Receives the packet at the front into `buffers`, or, where stream bytes stand first, what a read would give of them.
#[inline]
pub(crate) fn recv(
    end: &mut ReaderEnd,
    limit: Limit,
    excess: Excess,
    buffers: &mut [IoSliceMut<'_>],
) -> io::Result<Message> {
    before_reading(end, limit);
    if let [only] = buffers
        && let Some(len) = end.recv_packet(only)
    {
        return Ok(Message::packet(len, len));
    }
    recv_or_wait(end, limit, excess, buffers)
}

/// As [`recv`], for one who has received something already: does not wait, and does not ask who is there where there is nothing.
#[inline]
pub(crate) fn recv_if_any(end: &mut ReaderEnd, excess: Excess, buffers: &mut [IoSliceMut<'_>]) -> io::Result<Message> {
    if let [only] = buffers
        && let Some(len) = end.recv_packet(only)
    {
        return Ok(Message::packet(len, len));
    }
    if end.is_empty() {
        return Err(Stop::WouldBlock.into());
    }
    recv_or_wait(end, Limit::Try, excess, buffers)
}

#[cold]
fn recv_or_wait(
    end: &mut ReaderEnd,
    limit: Limit,
    excess: Excess,
    buffers: &mut [IoSliceMut<'_>],
) -> io::Result<Message> {
    if limit != Limit::Try
        && let [only] = buffers
        && let Some(len) = end.recv_packet_soon(only)
    {
        return Ok(Message::packet(len, len));
    }
    // By field, and not as a result that is passed on: moving one with its padding stalls behind the store of a single byte.
    let mut received = Message::packet(0, 0);
    let attempt = |end: &mut ReaderEnd| {
        if let [only] = buffers
            && let Some(len) = end.recv_packet(only)
        {
            (received.len, received.packet_len) = (len, len);
            return Tried::Done(());
        }
        match end.front() {
            Ok(seen) => recv_front(end, &seen, excess, Target::new(buffers)).map(|message| received = message),
            Err(miss) => Tried::Missed(miss),
        }
    };
    read_or_wait(end, limit, attempt, None)?;
    let Message { len, packet_len, is_stream } = received;
    Ok(Message { len, packet_len, is_stream })
}

fn recv_front(end: &mut ReaderEnd, seen: &Seen, excess: Excess, mut target: Target<'_, '_>) -> Tried<Message> {
    match seen.content() {
        Content::Packet(span) => recv_packet(end, seen, span, excess, &mut target),
        Content::Large { consumed } => recv_large(end, seen, consumed, excess, &mut target),
        Content::Empty => Tried::Missed(Miss::Lost),
        Content::Stream(_) if target.left() == 0 => Tried::Done(stream(0)),
        Content::Stream(_) => match read_some(end, &mut target, AtPacket::Stop) {
            Ok(len) => Tried::Done(stream(len)),
            Err(miss) => Tried::Missed(miss),
        },
    }
}

fn stream(len: usize) -> Message {
    Message { len, packet_len: len, is_stream: true }
}

fn recv_packet(
    end: &mut ReaderEnd,
    seen: &Seen,
    span: Span,
    excess: Excess,
    target: &mut Target<'_, '_>,
) -> Tried<Message> {
    let len = span.len().min(target.left());
    if len < span.len() {
        match excess {
            Excess::Discard => {}
            Excess::Refuse => return Tried::Failed(too_large()),
            Excess::Keep => {
                return match read_part(end, seen, span, target, Content::Packet) {
                    Ok(()) => Tried::Done(Message::packet(len, span.len())),
                    Err(miss) => Tried::Missed(miss),
                };
            }
        }
    }
    if let Err(miss) = end.take(seen) {
        return Tried::Missed(miss);
    }
    let mut at = 0;
    while at < len {
        let piece = target.next(len - at);
        end.read(span.start as usize + at, piece);
        at += piece.len();
    }
    Tried::Done(Message::packet(len, span.len()))
}

#[cold]
fn recv_large(
    end: &mut ReaderEnd,
    seen: &Seen,
    consumed: u32,
    excess: Excess,
    target: &mut Target<'_, '_>,
) -> Tried<Message> {
    let header = match end.peek_large_header(seen) {
        Ok(header) if header.length > consumed => header,
        Ok(_) => return Tried::Missed(Miss::Garbled),
        Err(miss) => return Tried::Missed(miss),
    };
    let packet_len = (header.length - consumed) as usize;
    let is_kept = match excess {
        _ if packet_len <= target.left() => false,
        Excess::Refuse => return Tried::Failed(too_large()),
        Excess::Keep => true,
        Excess::Discard => false,
    };
    if !is_kept && let Err(miss) = end.take(seen) {
        return Tried::Missed(miss);
    }
    let place = target.place();
    let len = packet_len.min(target.left());
    let mut at = 0;
    let mut last_peek = None;
    while at < len {
        let piece = target.next(len - at);
        last_peek = Some(end.peek_extent(header, consumed as usize + at, piece));
        at += piece.len();
    }
    if !is_kept {
        end.release_extent(header);
    } else if let Some(peek) = last_peek {
        let rest = Content::Large { consumed: consumed + len as u32 };
        if let Err(miss) = end.consume(seen, rest, peek) {
            target.go_back(place);
            return Tried::Missed(miss);
        }
    }
    Tried::Done(Message::packet(len, packet_len))
}
