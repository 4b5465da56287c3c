//! The kernel's pipe, as the demonstration's opponent.
//!
//! * Stream: `write` and `read`.
//! * Packets up to a page: the packet mode of the pipe, `O_DIRECT`.
//! * Packets above a page, which that mode would split: four bytes of length before each, in the stream.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::thread;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

const LENGTH_LEN: usize = 4;
/// As our own pipe does before it begins to yield.
const PURE_SPINS: u32 = 100;
const LOOKS_PER_YIELD: u32 = 8;

/// The writing end.
#[derive(Debug)]
pub(crate) struct KernelWriter(File);

impl KernelWriter {
    /// The standard stream at which the parent has put it.
    pub(crate) fn at(stream: impl AsFd) -> io::Result<Self> {
        Ok(Self(stream.as_fd().try_clone_to_owned()?.into()))
    }

    /// Makes writes packets, or a stream again.
    pub(crate) fn set_packet_mode(&self, is_on: bool) -> io::Result<()> {
        set_flag(&self.0, OFlags::DIRECT, is_on)
    }

    #[inline]
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Writes a length and a packet.
    #[inline]
    pub(crate) fn write_framed(&mut self, packet: &[u8]) -> io::Result<()> {
        let length = (packet.len() as u32).to_le_bytes();
        let written = self.0.write_vectored(&[IoSlice::new(&length), IoSlice::new(packet)])?;
        // A blocking pipe takes everything at once, but for signals.
        if written < LENGTH_LEN {
            self.0.write_all(&length[written..])?;
        }
        self.0.write_all(&packet[written.saturating_sub(LENGTH_LEN)..])
    }
}

/// The reading end.
#[derive(Debug)]
pub(crate) struct KernelReader(File);

impl KernelReader {
    /// The standard stream at which the parent has put it.
    pub(crate) fn at(stream: impl AsFd) -> io::Result<Self> {
        Ok(Self(stream.as_fd().try_clone_to_owned()?.into()))
    }

    /// Whether reads of an empty pipe fail instead of sleeping.
    pub(crate) fn set_nonblocking(&self, is_on: bool) -> io::Result<()> {
        set_flag(&self.0, OFlags::NONBLOCK, is_on)
    }

    /// Reads what there is: bytes of a stream, or a packet.
    #[inline]
    pub(crate) fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            len => Ok(len),
        }
    }

    /// As [`Self::read_some`] of a nonblocking pipe, again and again.
    #[inline]
    pub(crate) fn poll_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut looks = 0_u32;
        loop {
            match self.read_some(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            looks = looks.wrapping_add(1);
            if looks > PURE_SPINS && looks.is_multiple_of(LOOKS_PER_YIELD) {
                thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }

    /// Reads a length and a packet.
    #[inline]
    pub(crate) fn read_framed(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut length = [0; LENGTH_LEN];
        self.0.read_exact(&mut length)?;
        let len = u32::from_le_bytes(length) as usize;
        let Some(packet) = buffer.get_mut(..len) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a packet of {len} bytes was announced")));
        };
        self.0.read_exact(packet)?;
        Ok(len)
    }
}

fn set_flag(file: &File, flag: OFlags, is_on: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(flag, is_on);
    Ok(fcntl_setfl(file, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> (KernelReader, KernelWriter) {
        let (reader, writer) = io::pipe().expect("a pipe");
        (KernelReader::at(reader).expect("a reader"), KernelWriter::at(writer).expect("a writer"))
    }

    #[test]
    fn packets_of_the_kernel_keep_their_borders() {
        let (mut reader, mut writer) = pipe();
        writer.set_packet_mode(true).expect("packet mode");
        writer.write_all(b"one").expect("a write");
        writer.write_all(b"four").expect("a write");
        let mut buffer = [0; 16];
        assert_eq!(reader.read_some(&mut buffer).expect("a read"), 3);
        assert_eq!(reader.read_some(&mut buffer).expect("a read"), 4);
        writer.set_packet_mode(false).expect("stream mode");
        writer.write_all(b"one").expect("a write");
        writer.write_all(b"four").expect("a write");
        assert_eq!(reader.read_some(&mut buffer).expect("a read"), 7);
    }

    #[test]
    fn framed_packets_keep_their_borders_above_a_page() {
        let (mut reader, mut writer) = pipe();
        let packet = vec![7; 10_000];
        writer.write_framed(&packet).expect("a write");
        writer.write_framed(b"x").expect("a write");
        let mut buffer = vec![0; 20_000];
        assert_eq!(reader.read_framed(&mut buffer).expect("a read"), 10_000);
        assert_eq!(reader.read_framed(&mut buffer).expect("a read"), 1);
        writer.write_framed(&packet).expect("a write");
        let error = reader.read_framed(&mut [0; 9_999]).expect_err("too large");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn an_ended_pipe_is_an_error() {
        let (mut reader, writer) = pipe();
        reader.set_nonblocking(true).expect("nonblocking");
        drop(writer);
        assert_eq!(reader.poll_some(&mut [0; 1]).expect_err("the end").kind(), io::ErrorKind::UnexpectedEof);
    }
}
