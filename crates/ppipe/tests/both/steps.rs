//! Single steps of those who do not wait: what comes of them, as short as a script needs it.
#![allow(dead_code, reason = "not every test file needs all of it")]

use std::io::{self, ErrorKind};

use rustix::io::Errno;

use super::{Reading, System, Writing};

/// A pipe both of whose ends are nonblocking.
pub(crate) fn nonblocking(system: &dyn System, slots: usize) -> (Reading, Writing) {
    let (reader, writer) = system.pipe(slots);
    reader.set_nonblocking(true);
    writer.set_nonblocking(true);
    (reader, writer)
}

/// The same in packet mode.
pub(crate) fn of_packets(system: &dyn System, slots: usize) -> (Reading, Writing) {
    let (reader, writer) = nonblocking(system, slots);
    writer.set_packet_mode(true);
    (reader, writer)
}

pub(crate) fn kind<T>(result: io::Result<T>) -> Result<T, ErrorKind> {
    result.map_err(|error| error.kind())
}

pub(crate) fn number<T>(result: io::Result<T>) -> Option<Errno> {
    result.err().and_then(|error| Errno::from_io_error(&error))
}

pub(crate) fn write(writer: &mut Writing, len: usize) -> Result<usize, ErrorKind> {
    kind(writer.write(&vec![7; len]))
}

pub(crate) fn read(reader: &mut Reading, room: usize) -> Result<usize, ErrorKind> {
    kind(reader.read(&mut vec![0; room]))
}
