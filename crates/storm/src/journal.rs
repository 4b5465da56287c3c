//! What children say, in a way that outlives them.
//!
//! ```text
//!   sent      a file in memory: "is it over?", then for each writer how many it has sent; one small write a message
//!   arrived   a kernel pipe: one record a message; small writes to a pipe are whole or not at all
//! ```
//!
//! And `complaints`, a file in memory that is every child's standard error.
//!
//! What has been written is there, also if the writer is killed in the same instant; the kernel sees to that.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::Stdio;

use rustix::fs::MemfdFlags;
use rustix::pipe::PipeFlags;

use crate::message::{Id, Tear};
use crate::orders::Orders;

const WORD: u64 = 8;
const ARRIVAL: usize = 16;
/// Bytes of the kernel's pipe: so many arrivals can wait while the coordinator does something else.
const ROOM: usize = 1 << 20;

/// A reader says that it has received something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Which reader.
    pub reader: u16,
    /// Which message; or how it was torn, and which one it said that it was.
    pub what: Result<Id, (Tear, Option<Id>)>,
}

impl Arrival {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; ARRIVAL] {
        let (kind, id) = match self.what {
            Ok(id) => (0, Some(id)),
            Err((Tear::Head, id)) => (1, id),
            Err((Tear::Length, id)) => (2, id),
            Err((Tear::Body, id)) => (3, id),
        };
        let number = id.map_or(0, |id| id.number);
        let words = [self.reader, id.map_or(0, |id| id.writer), kind, id.is_some().into()];
        let words = words.map(|word: u16| word.to_le_bytes()).concat();
        let mut bytes = [0; ARRIVAL];
        bytes[..8].copy_from_slice(&words);
        bytes[8..12].copy_from_slice(&number.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; ARRIVAL]) -> Self {
        let word = |at| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let number = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let id = Id { writer: word(2), number };
        let named = (word(6) != 0).then_some(id);
        let what = match word(4) {
            0 => Ok(id),
            1 => Err((Tear::Head, named)),
            2 => Err((Tear::Length, named)),
            _ => Err((Tear::Body, named)),
        };
        Self { reader: word(0), what }
    }
}

/// The coordinator's side.
#[derive(Debug)]
pub struct Journal {
    sent: File,
    arrived: File,
    /// Children open this one through `/proc`.
    to_arrived: File,
    buffer: Vec<u8>,
}

impl Journal {
    /// An empty one.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Self> {
        let sent = File::from(rustix::fs::memfd_create("storm-sent", MemfdFlags::CLOEXEC)?);
        let (arrived, to_arrived) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        rustix::pipe::fcntl_setpipe_size(&arrived, ROOM)?;
        Ok(Self { sent, arrived: arrived.into(), to_arrived: to_arrived.into(), buffer: vec![0; 1 << 16] })
    }

    /// The numbers of the descriptors that children open.
    #[must_use]
    pub fn numbers(&self) -> (i32, i32) {
        (self.sent.as_raw_fd(), self.to_arrived.as_raw_fd())
    }

    /// Tells writers to finish.
    ///
    /// # Errors
    /// What the system says.
    pub fn say_that_it_is_over(&self) -> io::Result<()> {
        self.sent.write_all_at(&[1], 0)
    }

    /// How many messages `writer` has said that it sent.
    ///
    /// # Errors
    /// What the system says.
    pub fn sent_by(&self, writer: u16) -> io::Result<u32> {
        let mut bytes = [0; 4];
        // Behind the end of the file nothing has been said.
        let len = self.sent.read_at(&mut bytes, place_of(writer))?;
        Ok(if len == bytes.len() { u32::from_le_bytes(bytes) } else { 0 })
    }

    /// Gives what has arrived since the last call to `each`, and returns how much it was.
    ///
    /// # Errors
    /// What the system or `each` says.
    pub fn drain<E: From<io::Error>>(&mut self, mut each: impl FnMut(Arrival) -> Result<(), E>) -> Result<u64, E> {
        let mut count = 0;
        loop {
            let len = match self.arrived.read(&mut self.buffer) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(count),
                Err(error) => return Err(error.into()),
            };
            // Records are written whole, and the buffer holds whole ones.
            let (records, rest) = self.buffer[..len].as_chunks();
            assert!(rest.is_empty(), "half a record in the journal");
            for record in records {
                each(Arrival::from_bytes(*record))?;
                count += 1;
            }
        }
    }
}

/// What children write to their standard error.
#[derive(Debug)]
pub struct Complaints(File);

impl Complaints {
    /// None so far.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Self> {
        Ok(Self(rustix::fs::memfd_create("storm-complaints", MemfdFlags::CLOEXEC)?.into()))
    }

    /// Where a child is to complain.
    ///
    /// # Errors
    /// What the system says.
    pub fn place(&self) -> io::Result<Stdio> {
        Ok(self.0.try_clone()?.into())
    }

    /// All of them.
    ///
    /// # Errors
    /// What the system says.
    pub fn text(&self) -> io::Result<String> {
        let mut bytes = vec![0; self.0.metadata()?.len() as usize];
        self.0.read_exact_at(&mut bytes, 0)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A child's side.
#[derive(Debug)]
pub struct Voice {
    sent: File,
    arrived: File,
    at: u64,
}

impl Voice {
    /// Opens the coordinator's journal.
    ///
    /// # Errors
    /// If the coordinator is gone.
    pub fn open(orders: &Orders) -> io::Result<Self> {
        Self::at(orders.coordinator, orders.journal, orders.incarnation)
    }

    /// Opens the journal of which `coordinator` has descriptors of these numbers, for the child `incarnation`.
    ///
    /// # Errors
    /// If the coordinator is gone.
    pub fn at(coordinator: i32, (sent, arrived): (i32, i32), incarnation: u16) -> io::Result<Self> {
        let path = |number| format!("/proc/{coordinator}/fd/{number}");
        let sent = File::options().read(true).write(true).open(path(sent))?;
        let arrived = File::options().write(true).open(path(arrived))?;
        Ok(Self { sent, arrived, at: place_of(incarnation) })
    }

    /// Says that `count` messages have been sent.
    ///
    /// # Errors
    /// What the system says.
    pub fn say_sent(&self, count: u32) -> io::Result<()> {
        self.sent.write_all_at(&count.to_le_bytes(), self.at)
    }

    /// Waits until no other child has this lock, which its holder's death undoes, and its standing still does not.
    ///
    /// # Errors
    /// What the system says.
    pub fn lock(&self) -> io::Result<()> {
        self.sent.lock()
    }

    /// Lets go of it.
    ///
    /// # Errors
    /// What the system says.
    pub fn unlock(&self) -> io::Result<()> {
        self.sent.unlock()
    }

    /// Says what has arrived: all of it or, if killed, nothing.
    ///
    /// # Errors
    /// What the system says.
    pub fn say_arrived(&mut self, arrivals: &[u8]) -> io::Result<()> {
        self.arrived.write_all(arrivals)
    }

    /// Whether writers are to finish.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_over(&self) -> io::Result<bool> {
        let mut byte = [0];
        Ok(self.sent.read_at(&mut byte, 0)? == 1 && byte[0] == 1)
    }
}

fn place_of(writer: u16) -> u64 {
    WORD * (1 + u64::from(writer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_read_as_they_were_said() {
        let id = Id { writer: 65535, number: u32::MAX };
        for what in [Ok(id), Err((Tear::Head, None)), Err((Tear::Length, Some(id))), Err((Tear::Body, Some(id)))] {
            let arrival = Arrival { reader: 3, what };
            assert_eq!(Arrival::from_bytes(arrival.to_bytes()), arrival);
        }
    }
}
