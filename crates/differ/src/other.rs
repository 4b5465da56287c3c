//! What is spliced from and to besides files: pipes of the kernel and sockets, whoever's the pipes under test are.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::io::ioctl_fionread;
use rustix::net::sockopt;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::bytes::UNTOUCHED;
use crate::step::{Other, SLOT};
use crate::system::Answer;

/// More than this is not spliced to a socket at once, so that it never says that it is full.
pub(crate) const MOST_FOR_SOCKET: usize = 8 * SLOT;
/// As many bytes as it may hold, if it may.
const MUCH_ROOM: usize = 4 << 20;

/// They are made when they are used first: most programs do not.
#[derive(Debug, Default)]
pub(crate) struct Others {
    pipe: OnceCell<Ends>,
    full: OnceCell<Ends>,
    socket: OnceCell<Ends>,
}

/// The one is read from, the other one written to. None of them waits.
#[derive(Debug)]
struct Ends {
    reader: File,
    writer: File,
}

impl Others {
    /// Splices from a pipe that holds `bytes`, all its slots to their ends. Returns what is left there besides.
    pub(crate) fn take_from_pipe(
        &self,
        bytes: &[u8],
        splice: impl FnOnce(BorrowedFd<'_>) -> Answer,
    ) -> (Answer, Vec<u8>) {
        let Ends { reader, writer } = self.pipe.get_or_init(roomy_pipe);
        (&*writer).write_all(bytes).expect("there is room");
        let spliced = splice(reader.as_fd());
        (spliced, all_of(reader))
    }

    /// Splices to one of them. Returns what has got there besides.
    pub(crate) fn to(&self, other: Other, splice: impl FnOnce(BorrowedFd<'_>) -> Answer) -> (Answer, Vec<u8>) {
        let Ends { reader, writer } = match other {
            Other::Socket => self.socket.get_or_init(sockets),
            Other::EmptyPipe => self.pipe.get_or_init(roomy_pipe),
            Other::FullPipe => self.full.get_or_init(|| pipe(SLOT)),
        };
        if other == Other::FullPipe {
            (&*writer).write_all(&[UNTOUCHED; SLOT]).expect("there is room for that");
        }
        let spliced = splice(writer.as_fd());
        (spliced, all_of(reader))
    }
}

/// As many slots as the largest pipe has: each buffer may take one.
fn roomy_pipe() -> Ends {
    pipe(256 * SLOT)
}

fn pipe(bytes: usize) -> Ends {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("a pipe");
    fcntl_setpipe_size(&writer, bytes).expect("its size");
    Ends { reader: reader.into(), writer: writer.into() }
}

fn sockets() -> Ends {
    let (reader, writer) = UnixStream::pair().expect("sockets");
    reader.set_nonblocking(true).and_then(|()| writer.set_nonblocking(true)).expect("sockets");
    // One in which something is shows sooner that it takes no more than it would refuse it. More than that only some may have.
    if sockopt::set_socket_send_buffer_size_force(&writer, MUCH_ROOM).is_err() {
        sockopt::set_socket_send_buffer_size(&writer, MUCH_ROOM).expect("a size");
    }
    let file = |socket: UnixStream| std::os::fd::OwnedFd::from(socket).into();
    Ends { reader: file(reader), writer: file(writer) }
}

fn all_of(mut reader: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    // At once: what of a packet does not fit behind bytes of a stream is dropped.
    while let Ok(len @ 1..) = ioctl_fionread(reader) {
        let mut buffer = vec![UNTOUCHED; len as usize];
        let read = reader.read(&mut buffer).expect("there is something");
        bytes.extend_from_slice(&buffer[..read]);
    }
    bytes
}
