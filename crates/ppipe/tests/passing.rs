//! Ends passed over Unix sockets, to other processes and on the way to them.

mod again;
mod name;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;

use again::{Ward, command, role};
use ppipe::{Builder, End, Reader, Writer};
use rustix::net::sockopt::{set_socket_passcred, set_socket_send_buffer_size};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, recv, send, shutdown, socketpair,
};

const KINDS: [SocketType; 3] = [SocketType::STREAM, SocketType::DGRAM, SocketType::SEQPACKET];

#[test]
fn child_process() {
    let Some(role) = role() else { return };
    let socket = std::io::stdin();
    match role.as_str() {
        "sends" => {
            let writer = Writer::receive_from(&socket).expect("an end");
            (0..100).for_each(|number| writer.send(&[number]).expect("a reader"));
        }
        "echoes" => {
            let mut reader = Reader::receive_from(&socket).expect("an end");
            let mut writer = Writer::receive_from(&socket).expect("another end");
            std::io::copy(&mut reader, &mut writer).expect("a reader");
        }
        "passes it on" => {
            let End::Writer(writer) = End::receive_from(&socket).expect("an end") else { panic!("the other end") };
            writer.send(b"seen").expect("a reader");
            writer.pass_to(&socket).expect("room");
        }
        "receives and stays" => {
            let writer = Writer::receive_from(&socket).expect("an end");
            writer.send(b"here").expect("a reader");
            loop {
                thread::park();
            }
        }
        _ => panic!("no such part: {role}"),
    }
}

fn pair(kind: SocketType) -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("sockets")
}

/// A child whose standard input is the other side of the socket.
fn child(role: &str, kind: SocketType) -> (OwnedFd, Ward) {
    let (here, there) = pair(kind);
    let mut command: Command = command(role);
    command.stdin(there);
    (here, Ward::start(command))
}

/// Nobody can receive from it any more. Closing it may come too late: a process that another test starts has a copy of it for a moment.
fn hang_up(socket: impl AsFd) {
    shutdown(socket, Shutdown::Both).expect("a socket");
}

/// Everything until the end of file.
fn received(reader: &Reader) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = [0; 64];
    loop {
        match reader.recv(&mut buffer) {
            Ok(message) => all.push(buffer[..message.len].to_vec()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

fn is_empty_and_open(reader: &Reader) {
    assert_eq!(reader.try_recv(&mut [0; 8]).expect_err("empty").kind(), ErrorKind::WouldBlock);
}

#[test]
fn an_end_passed_over_a_socket_of_any_kind_is_the_other_processs_and_its_exit_is_the_end_of_file() {
    for kind in KINDS {
        let (reader, writer) = ppipe::pipe().expect("a pipe");
        let (socket, mut child) = child("sends", kind);
        writer.pass_to(&socket).expect("room");
        assert_eq!(received(&reader), (0..100).map(|number| vec![number]).collect::<Vec<_>>());
        assert!(child.has_succeeded());
    }
}

#[test]
fn both_ends_are_passed_and_a_process_reads_and_answers() {
    for kind in KINDS {
        let (theirs, mut to) = ppipe::pipe().expect("a pipe");
        let (mut from, answers) = ppipe::pipe().expect("another pipe");
        let (socket, mut child) = child("echoes", kind);
        theirs.pass_to(&socket).expect("room");
        answers.pass_to(&socket).expect("room");
        let text: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let sent = text.clone();
        let sending = thread::spawn(move || to.write_all(&sent).expect("a reader"));
        let mut all = Vec::new();
        from.read_to_end(&mut all).expect("an answer");
        sending.join().expect("no panic");
        assert!(all == text && child.has_succeeded());
    }
}

#[test]
fn an_end_on_its_way_is_open_though_the_process_that_sent_it_is_gone() {
    for kind in KINDS {
        let (reader, writer) = ppipe::pipe().expect("a pipe");
        let (socket, mut child) = child("passes it on", kind);
        writer.pass_to(&socket).expect("room");
        assert!(child.has_succeeded());
        assert_eq!(reader.recv(&mut [0; 8]).expect("a packet").len, 4);
        is_empty_and_open(&reader);
        let writer = Writer::receive_from(&socket).expect("it has come back");
        writer.send(b"back").expect("a reader");
        drop(writer);
        assert_eq!(received(&reader), [b"back"]);
    }
}

#[test]
fn an_end_is_gone_when_the_socket_is_closed_with_it() {
    for kind in KINDS {
        let (here, there) = pair(kind);
        let (reader, writer) = ppipe::pipe().expect("a pipe");
        writer.send(b"before").expect("room");
        writer.pass_to(&here).expect("room");
        drop(here);
        assert_eq!(reader.recv(&mut [0; 8]).expect("a packet").len, 6);
        is_empty_and_open(&reader);
        let reading = thread::spawn(move || received(&reader));
        drop(there);
        assert!(reading.join().expect("no panic").is_empty());

        let (here, there) = pair(kind);
        let (reader, mut writer) = ppipe::pipe().expect("a pipe");
        reader.pass_to(&here).expect("room");
        writer.write_all(&[0; 4096]).expect("it is open");
        let writing = thread::spawn(move || writer.write_all(&[0; 1 << 20]).expect_err("nobody reads").kind());
        drop((here, there));
        assert_eq!(writing.join().expect("no panic"), ErrorKind::BrokenPipe);
    }
}

#[test]
fn a_received_end_is_gone_when_its_process_is_killed() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let (socket, mut child) = child("receives and stays", SocketType::STREAM);
    writer.pass_to(&socket).expect("room");
    assert_eq!(reader.recv(&mut [0; 8]).expect("a packet").len, 4);
    is_empty_and_open(&reader);
    child.kill();
    assert!(received(&reader).is_empty());
}

#[test]
fn an_end_can_be_passed_to_another_user() {
    use std::os::unix::process::CommandExt;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can start a process of another user");
        return;
    }
    let (here, there) = pair(SocketType::SEQPACKET);
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let mut command = command("sends");
    command.uid(65_534).stdin(there);
    match Ward::try_to_start(&mut command) {
        Ok(mut child) => {
            writer.pass_to(&here).expect("room");
            assert_eq!(received(&reader).len(), 100);
            assert!(child.has_succeeded());
        }
        Err(error) => eprintln!("skipped: that user cannot start the test program: {error}"),
    }
}

#[test]
fn a_clone_can_be_passed_and_the_end_stays() {
    let (here, there) = UnixStream::pair().expect("sockets");
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    writer.try_clone().expect("an entry").pass_to(&here).expect("room");
    let other = Writer::receive_from(&there).expect("an end");
    writer.send(b"one").expect("a reader");
    drop(writer);
    other.send(b"two").expect("a reader");
    drop(other);
    assert_eq!(received(&reader), [b"one", b"two"]);
}

#[test]
fn what_stands_before_and_behind_an_end_in_a_stream_stays_there() {
    let (mut here, mut there) = UnixStream::pair().expect("sockets");
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    here.write_all(b"before").expect("room");
    writer.pass_to(&here).expect("room");
    reader.pass_to(&here).expect("room");
    here.write_all(b"behind").expect("room");
    let mut text = [0; 6];
    there.read_exact(&mut text).expect("bytes");
    assert_eq!(&text, b"before");
    let (writer, reader) =
        (Writer::receive_from(&there).expect("an end"), Reader::receive_from(&there).expect("an end"));
    there.read_exact(&mut text).expect("bytes");
    assert_eq!(&text, b"behind");
    writer.send(b"whole").expect("a reader");
    assert_eq!(reader.recv(&mut [0; 8]).expect("a packet").len, 5);
}

#[test]
fn who_cannot_send_has_the_end_as_it_was() {
    for kind in KINDS {
        let (here, there) = pair(kind);
        // Nothing is received, so it is full at some time.
        set_socket_send_buffer_size(&here, 0).expect("a small one");
        while send(&here, b"x", SendFlags::DONTWAIT).is_ok() {}
        let (reader, writer) = ppipe::pipe().expect("a pipe");
        writer.set_packet_mode(true);
        let failed = writer.try_pass_to(&here).expect_err("it is full");
        assert_eq!(failed.error().kind(), ErrorKind::WouldBlock);
        let mut writer = failed.into_end();
        writer.write_all(b"still").expect("a reader");
        writer.write_all(b"mine").expect("a reader");
        let (mut buffer, mut reader) = ([0; 16], reader);
        assert_eq!(reader.read(&mut buffer).expect("a packet"), 5);
        assert_eq!(reader.read(&mut buffer).expect("a packet"), 4);
        while recv(&there, &mut [0; 4096], RecvFlags::DONTWAIT).is_ok() {}
        // It can be passed on afterwards, and taken up, once.
        let failed = reader.pass_to(std::fs::File::open("/dev/null").expect("a file")).expect_err("no socket");
        failed.into_end().pass_to(&here).expect("room");
        let reader = Reader::receive_from(&there).expect("an end");
        hang_up(&there);
        let failed = writer.pass_to(&here).expect_err("nobody receives");
        assert_eq!(failed.error().kind(), ErrorKind::BrokenPipe);
        let (_, writer) = failed.into_parts();
        drop(reader);
        assert_eq!(writer.send(b"x").expect_err("nobody reads").kind(), ErrorKind::BrokenPipe);
    }
}

#[test]
fn an_end_that_is_dropped_with_the_error_is_gone() {
    let (here, there) = UnixStream::pair().expect("sockets");
    hang_up(&there);
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let error = std::io::Error::from(writer.pass_to(&here).expect_err("nobody receives"));
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(received(&reader).is_empty());
}

#[test]
fn over_a_socket_that_is_no_unix_socket_nothing_is_passed() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let here = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a socket");
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let failed = writer.pass_to(&here).expect_err("it carries no descriptors");
    assert_eq!(failed.error().kind(), ErrorKind::InvalidInput);
    failed.into_end().send(b"mine").expect("a reader");
    assert_eq!(reader.recv(&mut [0; 8]).expect("a packet").len, 4);
    assert_eq!(Writer::receive_from(&here).expect_err("nor is it received").kind(), ErrorKind::InvalidInput);
}

#[test]
fn who_receives_is_told_that_nothing_is_there_and_that_nothing_will_come() {
    let (here, there) = pair(SocketType::SEQPACKET);
    assert_eq!(Writer::try_receive_from(&there).expect_err("empty").kind(), ErrorKind::WouldBlock);
    assert_eq!(Reader::try_receive_from(&there).expect_err("empty").kind(), ErrorKind::WouldBlock);
    assert_eq!(End::try_receive_from(&there).expect_err("empty").kind(), ErrorKind::WouldBlock);
    drop(here);
    assert_eq!(End::receive_from(&there).expect_err("no more").kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn the_wrong_end_is_an_error_and_gone_and_whoever_takes_either_gets_it() {
    let (here, there) = UnixStream::pair().expect("sockets");
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    writer.try_clone().expect("an entry").pass_to(&here).expect("room");
    assert_eq!(Reader::receive_from(&there).expect_err("a writer").kind(), ErrorKind::InvalidData);
    writer.pass_to(&here).expect("room");
    let end = End::receive_from(&there).expect("an end");
    assert!(matches!(end, End::Writer(_)), "{end:?}");
    is_empty_and_open(&reader);
    drop(end);
    assert!(received(&reader).is_empty());
    reader.try_pass_to(&here).expect("room");
    assert!(matches!(End::receive_from(&there).expect("an end"), End::Reader(_)));
}

#[test]
fn flags_travel_with_a_passed_end_and_are_its_own() {
    let (here, there) = UnixStream::pair().expect("sockets");
    let (_reader, writer) = ppipe::pipe().expect("a pipe");
    writer.set_packet_mode(true);
    writer.set_nonblocking(true);
    writer.try_clone().expect("an entry").pass_to(&here).expect("room");
    let other = Writer::receive_from(&there).expect("an end");
    assert!(other.is_packet_mode() && other.is_nonblocking());
    other.set_packet_mode(false);
    assert!(writer.is_packet_mode());
}

#[test]
fn a_socket_that_asks_who_sends_gives_the_end_all_the_same() {
    let (here, there) = UnixStream::pair().expect("sockets");
    set_socket_passcred(&there, true).expect("an option");
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    writer.pass_to(&here).expect("room");
    Writer::receive_from(&there).expect("an end").send(b"x").expect("a reader");
    assert_eq!(received(&reader), [b"x"]);
}

#[test]
fn an_end_with_a_name_keeps_it_when_it_is_passed_and_the_last_one_takes_it_away() {
    let name = name::Name::new("passed");
    let (here, there) = UnixStream::pair().expect("sockets");
    let reader = Builder::new().nonblocking(true).open_reader(&name.0).expect("a pipe");
    let writer = Builder::new().open_writer(&name.0).expect("somebody reads");
    reader.pass_to(&here).expect("room");
    let reader = Reader::receive_from(&there).expect("an end");
    writer.pass_to(&here).expect("room");
    let writer = Writer::receive_from(&there).expect("an end");
    writer.send(b"x").expect("a reader");
    drop(writer);
    assert_eq!(received(&reader), [b"x"]);
    assert!(!name.remains().is_empty(), "somebody has it open");
    drop(reader);
    assert!(name.remains().is_empty(), "{:?}", name.remains());
}
