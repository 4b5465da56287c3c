//! Between a pipe of ours and one of the kernel: what is said where both have something to say is what the kernel says of two of its own.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use ppipe::Builder;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

const SLOT: usize = 4096;

type Answer = Result<usize, Errno>;

/// What another pipe is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    Empty,
    Full,
    Broken,
    /// Nobody writes to it, and nothing is in it.
    AtItsEnd,
}

/// What the pipe that is spliced is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    /// It has one slot.
    Full,
    AtItsEnd,
    Broken,
}

/// A nonblocking pipe of one slot, and its ends as far as they are open.
fn kernel_pipe() -> (File, File) {
    let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).expect("a pipe");
    fcntl_setpipe_size(&writer, SLOT).expect("its size");
    (reader.into(), writer.into())
}

fn other(state: Other) -> (Option<File>, Option<File>) {
    let (reader, mut writer) = kernel_pipe();
    match state {
        Other::Empty => (Some(reader), Some(writer)),
        Other::Full => {
            writer.write_all(&[1; SLOT]).expect("there is room");
            (Some(reader), Some(writer))
        }
        Other::Broken => (None, Some(writer)),
        Other::AtItsEnd => (Some(reader), None),
    }
}

fn errno(result: std::io::Result<usize>) -> Answer {
    result.map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => Errno::AGAIN,
        std::io::ErrorKind::BrokenPipe => Errno::PIPE,
        _ => Errno::from_io_error(&error).expect("an error of the system"),
    })
}

/// Splices from a pipe to another one, of the kernel and of ours.
fn answers_to(state: State, target: Other) -> (Answer, Answer) {
    let (reader, mut writer) = kernel_pipe();
    let (our_reader, our_writer) = Builder::new().nonblocking(true).slots(1).pipe().expect("a pipe");
    if state == State::Full {
        writer.write_all(&[2; SLOT]).expect("there is room");
        (&our_writer).write_all(&[2; SLOT]).expect("there is room");
    }
    let is_written = state != State::AtItsEnd;
    let open = (is_written.then_some(writer), is_written.then_some(our_writer));
    let ends = [other(target), other(target)];
    let target = |index: usize| ends[index].1.as_ref().expect("it is written to").as_fd();
    let kernel = splice(&reader, None, target(0), None, SLOT, SpliceFlags::empty());
    let ours = errno(our_reader.splice_to(target(1), SLOT));
    drop(open);
    (kernel, ours)
}

/// Splices to a pipe from another one.
fn answers_from(source: Other, state: State) -> (Answer, Answer) {
    let (reader, mut writer) = kernel_pipe();
    let (our_reader, our_writer) = Builder::new().nonblocking(true).slots(1).pipe().expect("a pipe");
    if state == State::Full {
        writer.write_all(&[2; SLOT]).expect("there is room");
        (&our_writer).write_all(&[2; SLOT]).expect("there is room");
    }
    let is_read = state != State::Broken;
    let open = (is_read.then_some(reader), is_read.then_some(our_reader));
    let ends = [other(source), other(source)];
    let source = |index: usize| ends[index].0.as_ref().expect("it is read from").as_fd();
    let kernel = splice(source(0), None, &writer, None, SLOT, SpliceFlags::empty());
    let ours = errno(our_writer.splice_from(source(1), SLOT));
    drop(open);
    (kernel, ours)
}

#[test]
fn to_a_pipe_of_the_kernel_the_same_is_said_as_between_two_of_its_own() {
    for state in [State::Empty, State::Full, State::AtItsEnd] {
        for target in [Other::Empty, Other::Full, Other::Broken] {
            let (kernel, ours) = answers_to(state, target);
            assert_eq!(ours, kernel, "{state:?} to {target:?}");
        }
    }
    assert_eq!(answers_to(State::AtItsEnd, Other::Full).1, Err(Errno::AGAIN));
}

#[test]
fn from_a_pipe_of_the_kernel_the_same_is_said_as_between_two_of_its_own() {
    for source in [Other::Empty, Other::Full, Other::AtItsEnd] {
        for state in [State::Empty, State::Full, State::Broken] {
            let (kernel, ours) = answers_from(source, state);
            assert_eq!(ours, kernel, "{source:?} to {state:?}");
        }
    }
    assert_eq!(answers_from(Other::Empty, State::Broken).1, Err(Errno::AGAIN));
}
