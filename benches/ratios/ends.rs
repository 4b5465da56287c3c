//! The ends that are compared, behind two small traits, so that the very same loops measure all of them.

use std::array;
use std::fs::File;
use std::io::{self, Read, Write};

use ppipe::{Reader, Writer};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::one_way::BATCH;

/// Where messages or bytes go in.
pub(crate) trait Sink {
    /// Puts all of `bytes` in, as one message if it is a pipe of messages.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Where they come out.
pub(crate) trait Tap {
    /// The next message, or what a read gives; 0 at the end of file.
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}

/// Our packets, by `send` and `recv`.
pub(crate) struct Packets<E>(pub(crate) E);

impl Sink for Packets<Writer> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.send(bytes)
    }
}

impl Tap for Packets<Reader> {
    #[inline]
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.recv(buffer) {
            Ok(message) => Ok(message.len),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// Our packets, by `send_batch`: a message is a whole batch of [`BATCH`].
pub(crate) struct Batches(pub(crate) Writer);

impl Sink for Batches {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let size = bytes.len() / BATCH;
        let packets: [&[u8]; BATCH] = array::from_fn(|at| &bytes[at * size..][..size]);
        if self.0.send_batch(&packets)? == BATCH { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

/// Our packets, by loans: filled where they will lie, looked at where they lie.
pub(crate) struct Loans<E>(pub(crate) E);

impl Sink for Loans<Writer> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let loan = self.0.reserve(bytes.len())?;
        loan.bytes().copy_from(0, bytes);
        loan.commit()
    }
}

impl Tap for Loans<Reader> {
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.recv_loan() {
            Ok(loan) => {
                loan.bytes().copy_to(0, &mut buffer[..8]);
                Ok(loan.bytes().len())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// `write` and `read`: our stream, the kernel's stream and, with `O_DIRECT`, the kernel's packets.
pub(crate) struct Bytes<E>(pub(crate) E);

impl<E: Write> Sink for Bytes<E> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

impl<E: Read> Tap for Bytes<E> {
    #[inline]
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// A stream from which only whole messages are read.
pub(crate) struct Whole<E>(pub(crate) E);

impl<E: Read> Tap for Whole<E> {
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read_exact(buffer) {
            Ok(()) => Ok(buffer.len()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// A pipe of the kernel, for packets or as a stream, of its default size.
pub(crate) fn kernel_pipe(is_packets: bool) -> io::Result<(File, File)> {
    let direct = if is_packets { PipeFlags::DIRECT } else { PipeFlags::empty() };
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | direct)?;
    Ok((reader.into(), writer.into()))
}

/// The kernel's pipe end that this process has as its standard input.
pub(crate) fn standard_input() -> io::Result<File> {
    Ok(rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?.into())
}

/// The kernel's pipe end that this process has as its standard output.
pub(crate) fn standard_output() -> io::Result<File> {
    Ok(rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3)?.into())
}
