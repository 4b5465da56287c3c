//! Our pipes, and our pipes with a mistake in them.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::sync::atomic::{AtomicU32, Ordering};

use ppipe::{Builder, Reader, Readiness, Writer};
use rustix::io::Errno;

use crate::pipes::{Question, System};
use crate::program::{SLOT, Verb};

/// Two pipes with names that nobody else has, and perhaps a mistake.
pub struct Ours {
    names: [String; 2],
    mistake: Option<Mistake>,
    /// Where their counters begin.
    first_position: u64,
}

/// A mistake that one could make; the judge is to see each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Small writes never go into the last slot.
    NeverMerges,
    /// A read ends with its slot.
    ReadsOneSlot,
    /// The packet flag is lost on a duplicate.
    DuplicatesHaveNoFlag,
    /// A packet flag that is set never goes again.
    FlagStays,
    /// A broken pipe is told as a full one.
    BrokenIsFull,
    /// The end of file is told as an empty pipe.
    EndIsEmpty,
    /// What is unread is counted in slots.
    CountsSlots,
    /// A size is not rounded up.
    SizeAsAsked,
    /// A pipe can be made too small for what is in it.
    NeverBusy,
    /// A size of nothing is refused.
    NothingIsNoSize,
    /// A writer that could merge is shown as one that can write.
    RoomToMergeIsRoom,
    /// The end of file is not shown while there is something to read.
    HangUpAtLast,
    /// A broken pipe is not shown as one that can be written to.
    BrokenIsNotWritable,
    /// A reader that never had a writer is shown as hung up.
    HungUpFromTheStart,
    /// More than one buffer is written in pieces.
    WritesBufferByBuffer,
    /// What is spliced is read and written.
    TransfersBytesOnly,
    /// What tee copies is gone.
    TeeTakes,
    /// What is spliced from a file is read and written.
    FilesAreReadAndWritten,
}

/// All of them.
pub const MISTAKES: [Mistake; 18] = [
    Mistake::NeverMerges,
    Mistake::ReadsOneSlot,
    Mistake::DuplicatesHaveNoFlag,
    Mistake::FlagStays,
    Mistake::BrokenIsFull,
    Mistake::EndIsEmpty,
    Mistake::CountsSlots,
    Mistake::SizeAsAsked,
    Mistake::NeverBusy,
    Mistake::NothingIsNoSize,
    Mistake::RoomToMergeIsRoom,
    Mistake::HangUpAtLast,
    Mistake::BrokenIsNotWritable,
    Mistake::HungUpFromTheStart,
    Mistake::WritesBufferByBuffer,
    Mistake::TransfersBytesOnly,
    Mistake::TeeTakes,
    Mistake::FilesAreReadAndWritten,
];

impl Ours {
    /// Two pipes that nobody has made yet.
    #[must_use]
    pub fn new(mistake: Option<Mistake>, first_position: u64) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = || {
            // So that whoever sweeps up behind tests that were killed finds it.
            format!("test-{}-differ-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
        };
        Self { names: [name(), name()], mistake, first_position }
    }

    fn has(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn builder(&self) -> Builder {
        // A few, since every one of them takes memory; and so much that no program can want more.
        let builder = Builder::new().nonblocking(true).max_readers(8).max_writers(8).max_capacity(1 << 20);
        builder.first_position(self.first_position)
    }

    /// What both sides are asked, put right or wrong.
    fn answer(&self, question: Question, answer: io::Result<usize>) -> Result<usize, Errno> {
        match question {
            Question::Resize(0) if self.has(Mistake::NothingIsNoSize) => Err(Errno::INVAL),
            Question::Resize(bytes) if self.has(Mistake::SizeAsAsked) => {
                errno(answer).map(|size| size.min(bytes.max(1) as usize))
            }
            Question::Resize(_) if self.has(Mistake::NeverBusy) => errno(answer).or_else(|error| match error {
                Errno::BUSY => Ok(SLOT),
                error => Err(error),
            }),
            Question::Unread if self.has(Mistake::CountsSlots) => {
                errno(answer).map(|bytes| bytes.next_multiple_of(SLOT))
            }
            _ => errno(answer),
        }
    }
}

const IN: usize = 0x1;
const OUT: usize = 0x4;
const ERR: usize = 0x8;
const HUP: usize = 0x10;

impl System for Ours {
    type Reader = Reader;
    type Writer = Writer;

    fn open_reader(&self, pipe: usize) -> Result<Reader, Errno> {
        errno(self.builder().open_reader(&self.names[pipe]))
    }

    fn open_writer(&self, pipe: usize) -> Result<Writer, Errno> {
        errno(self.builder().open_writer(&self.names[pipe]))
    }

    fn duplicate_reader(&self, reader: &Reader) -> Result<Reader, Errno> {
        errno(reader.try_clone())
    }

    fn duplicate_writer(&self, writer: &Writer) -> Result<Writer, Errno> {
        let duplicate = errno(writer.try_clone())?;
        if self.has(Mistake::DuplicatesHaveNoFlag) {
            duplicate.set_packet_mode(false);
        }
        Ok(duplicate)
    }

    fn read(&self, reader: &mut Reader, buffers: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        refuse_too_many(buffers.len())?;
        let result = if self.has(Mistake::ReadsOneSlot) {
            let mut bytes = vec![0; buffers.iter().map(|buffer| buffer.len()).sum::<usize>().min(SLOT)];
            reader.read(&mut bytes).inspect(|&len| {
                let mut rest = &bytes[..len];
                for buffer in buffers {
                    let piece = rest.len().min(buffer.len());
                    buffer[..piece].copy_from_slice(&rest[..piece]);
                    rest = &rest[piece..];
                }
            })
        } else {
            let has_room = buffers.iter().any(|buffer| !buffer.is_empty());
            match reader.read_vectored(buffers) {
                Ok(0) if has_room && self.has(Mistake::EndIsEmpty) => return Err(Errno::AGAIN),
                result => result,
            }
        };
        errno(result)
    }

    fn write(&self, writer: &mut Writer, buffers: &[IoSlice<'_>]) -> Result<usize, Errno> {
        refuse_too_many(buffers.len())?;
        let total: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let result = if self.has(Mistake::NeverMerges) && total < SLOT && !writer.is_packet_mode() {
            let all: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
            writer.try_send(&all).map(|()| total)
        } else if self.has(Mistake::WritesBufferByBuffer) {
            let mut written = Ok(0);
            for buffer in buffers {
                match writer.write(buffer) {
                    Ok(len) => written = written.map(|sum| sum + len),
                    Err(error) => {
                        written = written.and_then(|sum| if sum > 0 { Ok(sum) } else { Err(error) });
                        break;
                    }
                }
            }
            written
        } else {
            writer.write_vectored(buffers)
        };
        match errno(result) {
            Err(Errno::PIPE) if self.has(Mistake::BrokenIsFull) => Err(Errno::AGAIN),
            result => result,
        }
    }

    fn set_packet_mode(&self, writer: &Writer, is_on: bool) -> Result<(), Errno> {
        if is_on || !self.has(Mistake::FlagStays) {
            writer.set_packet_mode(is_on);
        }
        Ok(())
    }

    fn transfer(&self, verb: Verb, from: &Reader, to: &Writer, len: usize) -> Result<usize, Errno> {
        if self.has(Mistake::TransfersBytesOnly) && verb == Verb::Splice && to.readiness() == Readiness::WRITABLE {
            let mut bytes = vec![0; len.min(SLOT)];
            let len = errno((&*from).read(&mut bytes))?;
            return errno((&*to).write(&bytes[..len]));
        }
        let verb = if self.has(Mistake::TeeTakes) { Verb::Splice } else { verb };
        errno(match verb {
            Verb::Splice => ppipe::splice(from, to, len),
            Verb::Tee => ppipe::tee(from, to, len),
        })
    }

    fn splice_from_file(&self, file: &File, to: &Writer, len: usize) -> Result<usize, Errno> {
        if self.has(Mistake::FilesAreReadAndWritten) && to.readiness() == Readiness::WRITABLE {
            let mut bytes = vec![0; len.min(SLOT)];
            let len = errno((&*file).read(&mut bytes))?;
            return errno((&*to).write(&bytes[..len]));
        }
        errno(to.splice_from(file, len))
    }

    fn splice_to_file(&self, from: &Reader, file: &File, len: usize) -> Result<usize, Errno> {
        errno(from.splice_to(file, len))
    }

    fn ask_reader(&self, reader: &Reader, question: Question) -> Result<usize, Errno> {
        let answer = match question {
            Question::Resize(bytes) => reader.resize(bytes as usize),
            Question::Size => Ok(reader.capacity()),
            Question::Unread => reader.unread(),
            Question::Poll => {
                let mut bits = reader.readiness().bits().into();
                if self.has(Mistake::HangUpAtLast) && bits == IN | HUP {
                    bits = IN;
                }
                if self.has(Mistake::HungUpFromTheStart) && bits == 0 && reader.try_recv(&mut []).is_err() {
                    let is_end = reader.try_recv(&mut []).is_err_and(|error| error.kind() == ErrorKind::UnexpectedEof);
                    bits |= if is_end { HUP } else { 0 };
                }
                Ok(bits)
            }
        };
        self.answer(question, answer)
    }

    fn ask_writer(&self, writer: &Writer, question: Question) -> Result<usize, Errno> {
        let answer = match question {
            Question::Resize(bytes) => writer.resize(bytes as usize),
            Question::Size => Ok(writer.capacity()),
            Question::Unread => writer.unread(),
            Question::Poll => {
                let mut bits = writer.readiness().bits().into();
                let has_room = || writer.unread().is_ok_and(|bytes| bytes < writer.capacity());
                if self.has(Mistake::RoomToMergeIsRoom) && has_room() {
                    bits |= OUT;
                }
                if self.has(Mistake::BrokenIsNotWritable) && bits & ERR != 0 {
                    bits = ERR;
                }
                Ok(bits)
            }
        };
        self.answer(question, answer)
    }
}

/// As the system call: the library takes the first ones, as the standard library does.
fn refuse_too_many(buffers: usize) -> Result<(), Errno> {
    if buffers > 1024 { Err(Errno::INVAL) } else { Ok(()) }
}

fn errno<T>(result: io::Result<T>) -> Result<T, Errno> {
    result.map_err(|error| match (error.raw_os_error(), error.kind()) {
        (Some(code), _) => Errno::from_raw_os_error(code),
        (_, ErrorKind::WouldBlock) => Errno::AGAIN,
        (_, ErrorKind::BrokenPipe) => Errno::PIPE,
        // Nothing that the kernel would say.
        _ => panic!("{error}"),
    })
}
