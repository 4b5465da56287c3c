//! Every verb of a pipe, each done once, in a way that must not wait for long.
//!
//! Two are done the other way round only, into a pipe that nobody attacks: `splice` and `splice_from` have taken out what they move before they can
//! know that the other pipe is full, and wait then, also if nonblocking (see there).

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use fastrand::Rng;
use ppipe::{Builder, Excess, Message, PollEnd, Reader, Readiness, Writer, try_splice, try_tee};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::canary::Buffer;

/// The longest packet that is sent, and the longest buffer.
pub const LONGEST: usize = 5000;
const SOON: Duration = Duration::from_micros(200);

/// Both ends of the pipe, and what is needed besides.
#[derive(Debug)]
pub struct Ends {
    /// `None` if it has none.
    pub name: Option<String>,
    /// Nonblocking.
    pub reader: Reader,
    /// Nonblocking.
    pub writer: Writer,
    /// A pipe of this process's own.
    own: (Reader, Writer),
    file: File,
    /// What is read goes here.
    pub into: Buffer,
    /// What is written comes from here, and is always the same.
    pub from: Buffer,
}

/// One verb. How many bytes, ends or whatever it gave.
pub type Act = fn(&mut Ends, &mut Rng) -> io::Result<usize>;

/// Byte `at` of what is written.
fn sent(at: usize) -> u8 {
    (at % 251) as u8
}

impl Ends {
    /// Of a pipe that may be under attack.
    ///
    /// # Errors
    /// The system's.
    pub fn new(name: Option<String>, reader: Reader, writer: Writer) -> io::Result<Self> {
        reader.set_nonblocking(true);
        writer.set_nonblocking(true);
        let own = Builder::new().slots(4).nonblocking(true).pipe()?;
        let file = File::from(memfd_create("bytes", MemfdFlags::CLOEXEC)?);
        file.set_len(1 << 16)?;
        let (into, mut from) = (Buffer::new(LONGEST), Buffer::new(LONGEST));
        from.room().iter_mut().enumerate().for_each(|(at, byte)| *byte = sent(at));
        Ok(Self { name, reader, writer, own, file, into, from })
    }

    /// Whether nothing was written but where it was to be.
    #[must_use]
    pub fn are_buffers_intact(&mut self) -> bool {
        self.into.is_intact()
            && self.from.is_intact()
            && self.from.room().iter().enumerate().all(|(at, &byte)| byte == sent(at))
    }

    fn bytes(&mut self, random: &mut Rng) -> (&Writer, &[u8]) {
        let len = length(random);
        (&self.writer, &self.from.room()[..len])
    }

    fn room(&mut self, random: &mut Rng) -> (&Reader, &mut [u8]) {
        let len = length(random);
        (&self.reader, &mut self.into.room()[..len])
    }

    fn empty_own(&self) {
        let mut buffer = [0; LONGEST];
        for _ in 0..64 {
            if self.own.0.try_recv(&mut buffer).is_err() {
                return;
            }
        }
    }
}

fn length(random: &mut Rng) -> usize {
    match random.u8(..4) {
        0 => random.usize(1..=8),
        1 => random.usize(1..=64),
        2 => random.usize(1..=512),
        _ => random.usize(1..=LONGEST),
    }
}

/// What was received is no more than there was room for.
fn received(message: Message, room: usize) -> usize {
    assert!(message.len <= room && message.len <= message.packet_len, "{message:?} into {room} bytes");
    message.len
}

/// The verbs of a writer.
pub const OF_WRITER: &[(&str, Act)] = &[
    ("send", |ends, random| {
        let (writer, bytes) = ends.bytes(random);
        writer.send(bytes).map(|()| bytes.len())
    }),
    ("try_send", |ends, random| {
        let (writer, bytes) = ends.bytes(random);
        writer.try_send(bytes).map(|()| bytes.len())
    }),
    ("send_timeout", |ends, random| {
        let (writer, bytes) = ends.bytes(random);
        writer.send_timeout(bytes, SOON).map(|()| bytes.len())
    }),
    ("send_vectored", |ends, random| {
        let (writer, bytes) = ends.bytes(random);
        let (one, other) = bytes.split_at(bytes.len() / 3);
        writer.send_vectored(&[IoSlice::new(one), IoSlice::new(other)]).map(|()| bytes.len())
    }),
    ("send_batch", |ends, random| {
        let (writer, bytes) = ends.bytes(random);
        writer.send_batch(&[&bytes[..1], bytes, &bytes[..bytes.len().min(9)]])
    }),
    ("write", |ends, random| {
        let is_packets = random.bool();
        let (mut writer, bytes) = ends.bytes(random);
        writer.set_packet_mode(is_packets);
        writer.write(bytes)
    }),
    ("write_timeout", |ends, random| {
        let (writer, bytes) = ends.bytes(random);
        writer.write_timeout(bytes, SOON)
    }),
    ("reserve and commit", |ends, random| {
        let (len, short) = (length(random), random.bool());
        let mut loan = ends.writer.reserve(len)?;
        loan.bytes().copy_from(0, &ends.from.room()[..len]);
        if short {
            loan.truncate(1 + len / 2);
        }
        loan.commit().map(|()| len)
    }),
    ("reserve and drop", |ends, random| {
        let len = length(random);
        Ok(ends.writer.reserve(len)?.bytes().len())
    }),
    ("try_tee into it", |ends, random| {
        let (writer, bytes) = (&ends.own.1, &ends.from.room()[..8]);
        let _ = writer.try_send(bytes);
        try_tee(&ends.own.0, &ends.writer, length(random))
    }),
    ("resize", |ends, random| ends.writer.resize(1 << random.u32(6..18))),
    ("unread of a writer", |ends, _| ends.writer.unread()),
    ("audit of a writer", |ends, _| ends.writer.audit().map(|audit| audit.findings.len())),
    ("clone of a writer", |ends, _| {
        ends.writer = ends.writer.try_clone()?;
        Ok(1)
    }),
    ("reopen of a writer", |ends, _| {
        ends.writer = ends.writer.reopen_writer(true)?;
        Ok(1)
    }),
    ("pass of a writer", |ends, _| {
        let (here, there) = UnixStream::pair()?;
        let clone = ends.writer.try_clone()?;
        clone.try_pass_to(&here).map_err(io::Error::from)?;
        ends.writer = Writer::try_receive_from(&there)?;
        ends.writer.set_nonblocking(true);
        Ok(1)
    }),
    ("poll_fd of a writer", |ends, _| look_at(ends.writer.poll_fd()?)),
];

/// The verbs of a reader.
pub const OF_READER: &[(&str, Act)] = &[
    ("recv", |ends, random| {
        let (reader, room) = ends.room(random);
        reader.recv(room).map(|message| received(message, room.len()))
    }),
    ("try_recv", |ends, random| {
        let (reader, room) = ends.room(random);
        reader.try_recv(room).map(|message| received(message, room.len()))
    }),
    ("recv, keeping the rest", |ends, random| {
        let (reader, room) = ends.room(random);
        reader.recv_with(room, Excess::Keep).map(|message| received(message, room.len()))
    }),
    ("recv, refusing", |ends, random| {
        let (reader, room) = ends.room(random);
        reader.recv_with(room, Excess::Refuse).map(|message| received(message, room.len()))
    }),
    ("recv_timeout", |ends, random| {
        let (reader, room) = ends.room(random);
        reader.recv_timeout(room, SOON).map(|message| received(message, room.len()))
    }),
    ("recv_vectored", |ends, random| {
        let (reader, room) = ends.room(random);
        let len = room.len();
        let (one, other) = room.split_at_mut(len / 3);
        let got = reader.recv_vectored(&mut [IoSliceMut::new(one), IoSliceMut::new(other)])?;
        Ok(received(got, len))
    }),
    ("recv_batch", |ends, random| {
        let (reader, room) = ends.room(random);
        let len = room.len().div_ceil(3);
        let mut rooms: Vec<&mut [u8]> = room.chunks_mut(len).collect();
        let mut messages = [Message::default(); 3];
        let most = rooms.len();
        let count = reader.recv_batch(&mut rooms, &mut messages[..most])?;
        messages[..count].iter().zip(&rooms).for_each(|(&message, room)| _ = received(message, room.len()));
        Ok(count)
    }),
    ("read", |ends, random| {
        let (mut reader, room) = ends.room(random);
        let read = reader.read(room)?;
        assert!(read <= room.len(), "{read} bytes into {}", room.len());
        Ok(read)
    }),
    ("read_timeout", |ends, random| {
        let (reader, room) = ends.room(random);
        reader.read_timeout(room, SOON)
    }),
    ("peek", |ends, random| {
        let (reader, room) = ends.room(random);
        reader.peek(room).map(|message| received(message, room.len()))
    }),
    ("recv_loan", |ends, _| {
        let loan = ends.reader.recv_loan()?;
        let bytes = loan.bytes();
        // The longest packet is as long as the largest capacity.
        let len = bytes.len().min(LONGEST);
        bytes.range(0, len).copy_to(0, &mut ends.into.room()[..len]);
        Ok(bytes.len())
    }),
    ("try_splice", |ends, random| {
        ends.empty_own();
        try_splice(&ends.reader, &ends.own.1, length(random))
    }),
    ("try_tee", |ends, random| {
        ends.empty_own();
        try_tee(&ends.reader, &ends.own.1, length(random))
    }),
    ("splice_to", |ends, random| ends.reader.try_splice_to(&ends.file, length(random))),
    ("resize by a reader", |ends, random| ends.reader.resize(random.usize(..1 << 18))),
    ("unread", |ends, _| ends.reader.unread()),
    ("audit", |ends, _| ends.reader.audit().map(|audit| audit.findings.len())),
    ("clone of a reader", |ends, _| {
        ends.reader = ends.reader.try_clone()?;
        Ok(1)
    }),
    ("reopen of a reader", |ends, _| {
        ends.reader = ends.reader.reopen_reader(true)?;
        Ok(1)
    }),
    ("pass of a reader", |ends, _| {
        let (here, there) = UnixStream::pair()?;
        let clone = ends.reader.try_clone()?;
        clone.try_pass_to(&here).map_err(io::Error::from)?;
        ends.reader = Reader::try_receive_from(&there)?;
        ends.reader.set_nonblocking(true);
        Ok(1)
    }),
    ("poll_fd", |ends, _| look_at(ends.reader.poll_fd()?)),
];

/// What tells how things are and has no errors, and what is done by name.
pub const OF_BOTH: &[(&str, Act)] = &[
    ("readiness", |ends, _| Ok((ends.reader.readiness().bits() | ends.writer.readiness().bits()).into())),
    ("capacity", |ends, _| Ok(ends.reader.capacity().min(ends.writer.capacity()))),
    ("poll", |ends, _| {
        let mut polled =
            [PollEnd::reader(&ends.reader, Readiness::READABLE), PollEnd::writer(&ends.writer, Readiness::WRITABLE)];
        ppipe::poll(&mut polled, Some(SOON))
    }),
    ("open by name", |ends, random| {
        let Some(name) = &ends.name else { return Ok(0) };
        let builder = Builder::new().nonblocking(true).must_exist();
        if random.bool() {
            ends.reader = builder.open_reader(name)?;
        } else {
            ends.writer = builder.open_writer(name)?;
        }
        Ok(1)
    }),
    ("audit by name", |ends, _| {
        let Some(name) = &ends.name else { return Ok(0) };
        ppipe::audit(name).map(|audit| audit.findings.len())
    }),
];

fn look_at(descriptor: impl AsFd) -> io::Result<usize> {
    let mut polled = [PollFd::new(&descriptor, PollFlags::IN | PollFlags::OUT)];
    Ok(poll(&mut polled, Some(&Timespec::default()))?)
}

/// A verb by its number: each of them, at random.
pub fn any(random: &mut Rng) -> (&'static str, Act) {
    let groups = [OF_WRITER, OF_READER, OF_BOTH];
    let all: usize = groups.iter().map(|group| group.len()).sum();
    let mut index = random.usize(..all);
    for group in groups {
        match group.get(index) {
            Some(&verb) => return verb,
            None => index -= group.len(),
        }
    }
    OF_BOTH[0]
}
