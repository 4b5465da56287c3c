//! Two pipes with their handles, and what a step does to them: the same for whoever's pipes they are.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Seek};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;

use crate::program::{Lens, Side, Step, Verb};

/// What a step gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A number, or poll bits.
    Number(usize),
    /// What was read.
    Bytes(Vec<u8>),
    /// An error.
    Error(Errno),
    /// There is nothing to tell.
    Done,
    /// There was no such handle.
    LeftOut,
}

/// Somebody's pipes.
pub trait System {
    /// An open reading end.
    type Reader;
    /// An open writing end.
    type Writer;

    /// Opens pipe `pipe`, nonblocking, to read.
    ///
    /// # Errors
    /// The system's, here and below.
    fn open_reader(&self, pipe: usize) -> Result<Self::Reader, Errno>;
    /// Opens pipe `pipe`, nonblocking, to write.
    ///
    /// # Errors
    /// Of the system.
    fn open_writer(&self, pipe: usize) -> Result<Self::Writer, Errno>;
    /// `dup`.
    ///
    /// # Errors
    /// Of the system.
    fn duplicate_reader(&self, reader: &Self::Reader) -> Result<Self::Reader, Errno>;
    /// `dup`.
    ///
    /// # Errors
    /// Of the system.
    fn duplicate_writer(&self, writer: &Self::Writer) -> Result<Self::Writer, Errno>;
    /// `read`, `readv`.
    ///
    /// # Errors
    /// Of the system.
    fn read(&self, reader: &mut Self::Reader, buffers: &mut [IoSliceMut<'_>]) -> Result<usize, Errno>;
    /// `write`, `writev`.
    ///
    /// # Errors
    /// Of the system.
    fn write(&self, writer: &mut Self::Writer, buffers: &[IoSlice<'_>]) -> Result<usize, Errno>;
    /// `F_SETFL`.
    ///
    /// # Errors
    /// Of the system.
    fn set_packet_mode(&self, writer: &Self::Writer, is_on: bool) -> Result<(), Errno>;
    /// `splice`, `tee`.
    ///
    /// # Errors
    /// Of the system.
    fn transfer(&self, verb: Verb, from: &Self::Reader, to: &Self::Writer, len: usize) -> Result<usize, Errno>;
    /// `splice` from a file.
    ///
    /// # Errors
    /// Of the system.
    fn splice_from_file(&self, file: &File, to: &Self::Writer, len: usize) -> Result<usize, Errno>;
    /// `splice` to a file.
    ///
    /// # Errors
    /// Of the system.
    fn splice_to_file(&self, from: &Self::Reader, file: &File, len: usize) -> Result<usize, Errno>;
    /// What both sides can be asked.
    ///
    /// # Errors
    /// Of the system.
    fn ask_reader(&self, reader: &Self::Reader, question: Question) -> Result<usize, Errno>;
    /// What both sides can be asked.
    ///
    /// # Errors
    /// Of the system.
    fn ask_writer(&self, writer: &Self::Writer, question: Question) -> Result<usize, Errno>;
}

/// What both sides can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// `F_SETPIPE_SZ`.
    Resize(u32),
    /// `F_GETPIPE_SZ`.
    Size,
    /// `FIONREAD`.
    Unread,
    /// `poll` for all that there is.
    Poll,
}

/// Two pipes of one system.
pub struct Pipes<S: System> {
    system: S,
    /// What is spliced from, and to.
    files: [File; 2],
    readers: [Vec<S::Reader>; 2],
    writers: [Vec<S::Writer>; 2],
}

impl<S: System> Pipes<S> {
    /// Nobody has opened them yet.
    pub fn new(system: S) -> Self {
        Self {
            system,
            files: [numbered_file(), empty_file()],
            readers: Default::default(),
            writers: Default::default(),
        }
    }

    /// Runs one step; what it writes begins with byte number `first` of its pipe, so that every byte tells where it belongs.
    pub fn run(&mut self, step: &Step, first: usize) -> Outcome {
        let system = &self.system;
        match *step {
            Step::Write { pipe, handle, lens: Lens(ref lens) } => on(&mut self.writers[pipe], handle, |writer| {
                let bytes = numbered(first, lens.iter().sum());
                let mut rest = &bytes[..];
                let piece = |&len: &usize| {
                    let (piece, others) = rest.split_at(len);
                    rest = others;
                    IoSlice::new(piece)
                };
                let buffers: Vec<_> = lens.iter().map(piece).collect();
                system.write(writer, &buffers).map(Outcome::Number)
            }),
            Step::Read { pipe, handle, lens: Lens(ref lens) } => on(&mut self.readers[pipe], handle, |reader| {
                let mut buffers: Vec<Vec<u8>> = lens.iter().map(|&len| vec![0; len]).collect();
                let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
                let len = system.read(reader, &mut slices)?;
                let mut bytes = buffers.concat();
                bytes.truncate(len);
                Ok(Outcome::Bytes(bytes))
            }),
            Step::PacketMode { pipe, handle, is_on } => on(&mut self.writers[pipe], handle, |writer| {
                system.set_packet_mode(writer, is_on)?;
                Ok(Outcome::Done)
            }),
            Step::Resize { pipe, by, handle, bytes } => match self.ask(pipe, by, handle, Question::Resize(bytes)) {
                Outcome::Number(size) => {
                    let other = if by == Side::Reader { Side::Writer } else { Side::Reader };
                    match self.ask(pipe, other, handle, Question::Size) {
                        Outcome::LeftOut => Outcome::Number(size),
                        Outcome::Number(seen) if seen == size => Outcome::Number(size),
                        wrong => wrong,
                    }
                }
                outcome => outcome,
            },
            Step::Transfer { verb, from, reader, to, writer, len } => {
                let Some(reader) = one_of(&mut self.readers[from], reader) else { return Outcome::LeftOut };
                let Some(writer) = one_of(&mut self.writers[to], writer) else { return Outcome::LeftOut };
                system.transfer(verb, reader, writer, len).map_or_else(Outcome::Error, Outcome::Number)
            }
            Step::FromFile { pipe, handle, len } => on(&mut self.writers[pipe], handle, |writer| {
                system.splice_from_file(&self.files[0], writer, len).map(Outcome::Number)
            }),
            Step::ToFile { pipe, handle, len } => on(&mut self.readers[pipe], handle, |reader| {
                let file = &self.files[1];
                file.set_len(0).and_then(|()| (&*file).rewind()).expect("an empty file");
                let count = system.splice_to_file(reader, file, len)?;
                let mut bytes = vec![0; count];
                file.read_exact_at(&mut bytes, 0).expect("what was written");
                Ok(Outcome::Bytes(bytes))
            }),
            Step::Unread { pipe, by, handle } => self.ask(pipe, by, handle, Question::Unread),
            Step::Poll { pipe, by, handle } => self.ask(pipe, by, handle, Question::Poll),
            Step::Open { pipe, side: Side::Reader } => opened(&mut self.readers[pipe], system.open_reader(pipe)),
            Step::Open { pipe, side: Side::Writer } => opened(&mut self.writers[pipe], system.open_writer(pipe)),
            Step::Duplicate { pipe, side: Side::Reader, handle } => {
                let Some(reader) = one_of(&mut self.readers[pipe], handle) else { return Outcome::LeftOut };
                let duplicate = system.duplicate_reader(reader);
                opened(&mut self.readers[pipe], duplicate)
            }
            Step::Duplicate { pipe, side: Side::Writer, handle } => {
                let Some(writer) = one_of(&mut self.writers[pipe], handle) else { return Outcome::LeftOut };
                let duplicate = system.duplicate_writer(writer);
                opened(&mut self.writers[pipe], duplicate)
            }
            Step::Close { pipe, side: Side::Reader, handle } => closed(&mut self.readers[pipe], handle),
            Step::Close { pipe, side: Side::Writer, handle } => closed(&mut self.writers[pipe], handle),
        }
    }

    fn ask(&mut self, pipe: usize, by: Side, handle: usize, question: Question) -> Outcome {
        let system = &self.system;
        match by {
            Side::Reader => {
                on(&mut self.readers[pipe], handle, |reader| system.ask_reader(reader, question).map(Outcome::Number))
            }
            Side::Writer => {
                on(&mut self.writers[pipe], handle, |writer| system.ask_writer(writer, question).map(Outcome::Number))
            }
        }
    }
}

/// More handles than this are not opened.
const MOST_HANDLES: usize = 4;

fn one_of<H>(handles: &mut [H], handle: usize) -> Option<&mut H> {
    let count = handles.len();
    handles.get_mut(handle.checked_rem(count)?)
}

fn on<H>(handles: &mut [H], handle: usize, call: impl FnOnce(&mut H) -> Result<Outcome, Errno>) -> Outcome {
    one_of(handles, handle).map_or(Outcome::LeftOut, |handle| call(handle).unwrap_or_else(Outcome::Error))
}

fn opened<H>(handles: &mut Vec<H>, handle: Result<H, Errno>) -> Outcome {
    match handle {
        Ok(handle) if handles.len() < MOST_HANDLES => {
            handles.push(handle);
            Outcome::Done
        }
        Ok(_) => Outcome::Done,
        Err(error) => Outcome::Error(error),
    }
}

fn closed<H>(handles: &mut Vec<H>, handle: usize) -> Outcome {
    let Some(index) = handle.checked_rem(handles.len()) else { return Outcome::LeftOut };
    handles.remove(index);
    Outcome::Done
}

fn empty_file() -> File {
    memfd_create("differ", MemfdFlags::CLOEXEC).expect("memory").into()
}

/// More bytes than a program splices; where it ends is seen too.
fn numbered_file() -> File {
    let file = empty_file();
    file.write_all_at(&numbered(7, 300_000), 0).expect("memory");
    file
}

fn numbered(first: usize, len: usize) -> Vec<u8> {
    (first..first + len).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect()
}
