//! Several ends: waiting for all of them, opening one anew, and names that must or must not be there.

mod name;
mod party;

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use name::Name;
use party::Party;
use ppipe::{Builder, PollEnd, Readiness};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};
use rustix::io::Errno;

const READABLE: Readiness = Readiness::READABLE;
const WRITABLE: Readiness = Readiness::WRITABLE;

#[test]
fn who_waits_for_several_is_told_of_each_that_is_ready() {
    let pipes: Vec<_> = (0..200).map(|_| Builder::new().slots(1).pipe().expect("a pipe")).collect();
    let mut ends: Vec<_> = pipes
        .iter()
        .flat_map(|(reader, writer)| [PollEnd::reader(reader, READABLE), PollEnd::writer(writer, Readiness::empty())])
        .collect();
    assert_eq!(ppipe::poll(&mut ends, Some(Duration::ZERO)).expect("an answer"), 0);
    assert_eq!(ppipe::poll(&mut ends, Some(Duration::from_millis(20))).expect("an answer"), 0);
    for number in [3, 150] {
        pipes[number].1.send(b"news").expect("room");
    }
    assert_eq!(ppipe::poll(&mut ends, None).expect("an answer"), 2);
    let ready: Vec<_> = ends.iter().enumerate().filter(|(_, end)| !end.ready().is_empty()).map(|(at, _)| at).collect();
    assert_eq!(ready, [6, 300]);
    let mut writers: Vec<_> = pipes.iter().map(|(_, writer)| PollEnd::writer(writer, WRITABLE)).collect();
    assert_eq!(ppipe::poll(&mut writers, None).expect("an answer"), 198, "two are full");
}

#[test]
fn who_waits_for_several_is_woken_by_news_by_room_and_by_the_end() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let (mut other_reader, mut other_writer) = Builder::new().slots(1).pipe().expect("a pipe");
    other_writer.write_all(&[0; 4096]).expect("room");
    let (tell, seen) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            loop {
                let mut ends = [PollEnd::reader(&reader, READABLE), PollEnd::writer(&other_writer, WRITABLE)];
                ppipe::poll(&mut ends, None).expect("an answer");
                let ready = [ends[0].ready(), ends[1].ready()];
                if ready[0] == READABLE {
                    reader.recv(&mut [0; 8]).expect("a packet");
                }
                if ready[1] == WRITABLE {
                    other_writer.send(b"full again").expect("room");
                }
                tell.send(ready).expect("it is awaited");
                if ready[0] == Readiness::HUNG_UP {
                    return;
                }
            }
        });
        let seen = || seen.recv().expect("news");
        let nothing = Readiness::empty();
        writer.send(b"news").expect("room");
        assert_eq!(seen(), [READABLE, nothing]);
        other_reader.read_exact(&mut [0; 4096]).expect("bytes");
        assert_eq!(seen(), [nothing, WRITABLE]);
        drop(writer);
        assert_eq!(seen(), [Readiness::HUNG_UP, nothing]);
    });
}

#[test]
fn one_who_is_woken_to_look_leaves_the_message_to_one_who_reads() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    for _ in 0..50 {
        let (reads, looks) = (reader.try_clone().expect("a reader"), reader.try_clone().expect("a reader"));
        let (reading, looking) = (&Party::default(), &Party::default());
        thread::scope(|scope| {
            let reads = scope.spawn(move || reading.act(|| reads.recv(&mut [0; 8]).map(|message| message.len)));
            scope.spawn(move || {
                let mut ends = [PollEnd::reader(&looks, READABLE)];
                looking.act(|| ppipe::poll(&mut ends, None)).expect("an answer");
            });
            reading.wait_until_blocked(|| true);
            looking.wait_until_blocked(|| true);
            writer.send(b"one").expect("room");
            assert_eq!(reads.join().expect("it ends").expect("a packet"), 3);
            // So that the other one ends too.
            writer.send(b"two").expect("room");
        });
        reader.recv(&mut [0; 8]).expect("it was looked at and not taken");
    }
}

#[test]
fn an_end_that_is_opened_anew_has_flags_of_its_own() {
    let (reader, mut writer) = Builder::new().nonblocking(true).packet_mode(true).pipe().expect("a pipe");
    let mut stream = writer.reopen_writer(false).expect("a writer");
    assert!(!stream.is_packet_mode() && !stream.is_nonblocking());
    writer.write_all(b"packet").expect("room");
    stream.write_all(b"stream").expect("room");
    stream.set_packet_mode(true);
    stream.set_packet_mode(false);
    assert!(writer.is_packet_mode());
    // A writer of which only a reader is left, and the other way round.
    drop((writer, stream));
    assert_eq!(reader.readiness(), READABLE | Readiness::HUNG_UP);
    let back = reader.reopen_writer(true).expect("a writer");
    assert_eq!(reader.readiness(), READABLE);
    drop(reader);
    assert_eq!(back.readiness(), WRITABLE | Readiness::BROKEN);
    let reader = back.reopen_reader(true).expect("a reader");
    let mut text = [0; 16];
    assert_eq!((&reader).read(&mut text).expect("bytes"), 6);
    assert_eq!((&reader).read(&mut text).expect("bytes"), 6);
    assert_eq!(&text[..6], b"stream");
}

#[test]
fn a_name_must_be_there_or_must_not() {
    let name = Name::new("must");
    let builder = Builder::new().nonblocking(true);
    let kind = |result: std::io::Result<ppipe::Reader>| result.map(drop).map_err(|error| error.kind());
    assert_eq!(kind(builder.clone().must_exist().open_reader(&name.0)), Err(ErrorKind::NotFound));
    assert!(name.remains().is_empty());
    let reader = builder.clone().create_new().open_reader(&name.0).expect("there was none");
    assert_eq!(kind(builder.clone().create_new().open_reader(&name.0)), Err(ErrorKind::AlreadyExists));
    assert_eq!(kind(builder.clone().must_exist().open_reader(&name.0)), Ok(()));
    drop(reader);
    assert_eq!(kind(builder.create_new().open_reader(&name.0)), Ok(()), "the name went with the last of them");
}

#[test]
fn a_name_that_is_taken_away_is_another_pipes_from_then_on() {
    let name = Name::new("unlinked");
    let builder = Builder::new().nonblocking(true);
    let reader = builder.open_reader(&name.0).expect("a pipe");
    let writer = builder.open_writer(&name.0).expect("a reader is there");
    ppipe::unlink(&name.0).expect("there is one");
    assert!(name.remains().is_empty());
    assert_eq!(ppipe::unlink(&name.0).expect_err("no more").kind(), ErrorKind::NotFound);
    let other = builder.open_reader(&name.0).expect("another pipe");
    writer.try_clone().expect("a writer").send(b"to the first").expect("room");
    assert_eq!(other.readiness(), Readiness::empty());
    assert_eq!(reader.recv(&mut [0; 16]).expect("a packet").len, 12);
    drop((reader, writer));
    assert_eq!(name.remains().len(), 1, "the other one keeps its name");
    drop(other);
    assert!(name.remains().is_empty());
}

/// What comes of opening the writing end anew through a descriptor of the kernel's, nobody reading.
fn reopened_in_the_kernel(writer: &File, flags: OFlags) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    Ok(open(path, OFlags::WRONLY | OFlags::CLOEXEC | flags, Mode::empty())?.into())
}

#[test]
fn an_end_opened_anew_waits_as_on_a_fifo_if_the_pipe_has_a_name_and_else_never() {
    let (fifo, name) = (Name::new("fifo"), Name::new("anew"));
    let path = Path::new("/dev/shm").join(format!("ppipe-{}", fifo.0));
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a FIFO");
    let their_reader = open(&path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).expect("an end");
    let their_writer: File = open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).expect("an end").into();
    let reader = Builder::new().nonblocking(true).open_reader(&name.0).expect("an end");
    let writer = Builder::new().open_writer(&name.0).expect("an end");
    drop((their_reader, reader));
    let error = reopened_in_the_kernel(&their_writer, OFlags::NONBLOCK).expect_err("nobody reads");
    assert_eq!(error.raw_os_error(), Some(Errno::NXIO.raw_os_error()));
    let error = writer.reopen_writer(true).expect_err("nobody reads");
    assert_eq!(error.raw_os_error(), Some(Errno::NXIO.raw_os_error()));

    let party = Party::default();
    thread::scope(|scope| {
        let opens = scope.spawn(|| party.act(|| reopened_in_the_kernel(&their_writer, OFlags::empty()).is_ok()));
        party.wait_until_blocked(|| true);
        let _reader = File::options().read(true).open(&path).expect("somebody writes");
        assert!(opens.join().expect("it ends"));
    });
    let party = Party::default();
    thread::scope(|scope| {
        let opens = scope.spawn(|| party.act(move || writer.reopen_writer(false).is_ok()));
        party.wait_until_blocked(|| true);
        let _reader = Builder::new().open_reader(&name.0).expect("somebody writes");
        assert!(opens.join().expect("it ends"));
    });

    let (their_reader, their_writer) = rustix::pipe::pipe().expect("a pipe of the kernel");
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    drop((their_reader, reader));
    for flags in [OFlags::empty(), OFlags::NONBLOCK] {
        reopened_in_the_kernel(&their_writer.try_clone().expect("a descriptor").into(), flags)
            .expect("it does not wait");
        writer.reopen_writer(flags == OFlags::NONBLOCK).expect("it does not wait");
    }
}
