//! Whatever somebody sends instead of an end is an error, and leaves no descriptor behind.

mod again;

use std::fs::File;
use std::io::{ErrorKind, IoSlice, IoSliceMut, stdin};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use again::{Ward, command, role};
use ppipe::{End, Writer};
use rustix::cmsg_space;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How each message has to be refused, one after the other.
const KINDS: &str = "PPIPE_TEST_KINDS";
const MESSAGE: usize = 256;
/// With fewer descriptors free than this nobody can receive an end: three come, and some more are its own.
const SHORT: u64 = 5;

#[test]
fn child_process() {
    let Some(role) = role() else { return };
    match role.as_str() {
        "takes what comes" => {
            let before = descriptors();
            let is_open = |number: &String| std::fs::exists(format!("/proc/self/fd/{number}")).expect("an answer");
            let at_start: Vec<String> = own_descriptors().collect();
            // The list itself is not there any more, and its number free.
            let at_start: Vec<String> = at_start.into_iter().filter(is_open).collect();
            let kinds = std::env::var(KINDS).expect("what to expect");
            for (index, expected) in kinds.split(',').enumerate() {
                let error = End::receive_from(stdin()).expect_err("no end");
                assert_eq!(format!("{:?}", error.kind()), expected, "message {index}: {error}");
                assert_eq!(descriptors(), before, "message {index}: {error}");
            }
            let End::Writer(writer) = End::receive_from(stdin()).expect("an end") else { panic!("the other end") };
            let stay_here = own_descriptors().filter(|number| !at_start.contains(number)).all(|number| {
                let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
                let flags = about.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("02000000").trim();
                u32::from_str_radix(flags, 8).expect("a number") & 0o2_000_000 != 0
            });
            assert!(stay_here, "exec does not close all that was received");
            writer.send(b"whole").expect("a reader");
            drop(writer);
            assert_eq!(descriptors(), before);
        }
        "is short of descriptors" => {
            let before = descriptors();
            let limit = getrlimit(Resource::Nofile);
            let first_free = File::open("/dev/null").expect("a file").as_raw_fd() as u64;
            for free in 0..SHORT {
                let most = Rlimit { current: Some(first_free + free), ..limit };
                setrlimit(Resource::Nofile, most).expect("a limit");
                let error = Writer::receive_from(stdin()).expect_err("there is no room for it");
                setrlimit(Resource::Nofile, limit).expect("a limit");
                assert_eq!(error.raw_os_error(), Some(Errno::MFILE.raw_os_error()), "{error}");
                assert_eq!(descriptors(), before);
            }
        }
        _ => panic!("no such part: {role}"),
    }
}

/// Their numbers; one of them is that of the list itself.
fn own_descriptors() -> impl Iterator<Item = String> {
    let list = std::fs::read_dir("/proc/self/fd").expect("a list");
    list.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
}

fn descriptors() -> usize {
    own_descriptors().count()
}

/// Writes a message as a sender does who is no friend.
fn forge(socket: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    let sent = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).expect("somebody receives");
    assert_eq!(sent, bytes.len());
}

/// What goes over the socket when a writer is passed.
fn captured(writer: Writer) -> ([u8; MESSAGE], Vec<OwnedFd>) {
    let (here, there) = pair(SocketType::SEQPACKET);
    writer.pass_to(&here).expect("room");
    let (mut bytes, mut space) = ([0; MESSAGE], [MaybeUninit::uninit(); cmsg_space!(ScmRights(3))]);
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(&there, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags).expect("a message");
    assert_eq!(received.bytes, MESSAGE);
    let mut descriptors = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    (bytes, descriptors)
}

fn pair(kind: SocketType) -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("sockets")
}

fn message(text: &str) -> [u8; MESSAGE] {
    let mut bytes = [0; MESSAGE];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

/// Messages, and how each has to be refused.
struct Cases<'a>(Vec<(Vec<u8>, Vec<BorrowedFd<'a>>, ErrorKind)>);

impl<'a> Cases<'a> {
    fn add(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'a>], kind: ErrorKind) {
        self.0.push((bytes.to_vec(), descriptors.to_vec(), kind));
    }
}

fn refuses_what_is_no_end(kind: SocketType, asks_who_sends: bool) {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let (bytes, own) = captured(writer);
    let end = std::str::from_utf8(&bytes).expect("text").trim_end_matches('\0').to_owned();
    let [lock, readable, writable] = [&own[0], &own[1], &own[2]].map(AsFd::as_fd);
    let entry: u32 = end.split(':').nth(2).expect("an entry").parse().expect("a number");
    let spoilt = |entry: u32, name: &str| message(&format!("ppipe-1:w:{entry}:0:{name}"));

    let null = File::open("/dev/null").expect("a file");
    let program = File::open(std::env::current_exe().expect("our program")).expect("a file");
    let folder = File::open("/dev/shm").expect("a folder");
    let memory = memfd_create("unsealed", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("memory");
    // It is the same memory, but whoever opens it anew does not get the lock.
    let unlocked = File::options().read(true).write(true).open(format!("/proc/self/fd/{}", lock.as_raw_fd()));
    let unlocked = unlocked.expect("the memory");
    let (foreign, _foreign_2) = std::io::pipe().expect("a pipe of the kernel");
    let [null, program, folder, memory] = [null.as_fd(), program.as_fd(), folder.as_fd(), memory.as_fd()];
    let many: Vec<_> = std::iter::repeat_n(null, 253).collect();
    let mut garbled = bytes;
    garbled[9] = 0xff;

    let mut cases = Cases(Vec::new());
    use ErrorKind::{InvalidData, NotFound, PermissionDenied};
    // Too few, too many, and far too many.
    for few in 0..3 {
        cases.add(&bytes, &own.iter().map(AsFd::as_fd).take(few).collect::<Vec<_>>(), InvalidData);
    }
    cases.add(&bytes, &[lock, readable, writable, null], InvalidData);
    cases.add(&bytes, &[lock, readable, writable, lock, readable, writable], InvalidData);
    cases.add(&bytes, &many[..12], InvalidData);
    cases.add(&bytes, &many[..20], InvalidData);
    cases.add(&bytes, &many, InvalidData);
    // Such as are something else.
    for wrong in [null, program, folder, memory, readable, foreign.as_fd()] {
        cases.add(&bytes, &[wrong, readable, writable], InvalidData);
    }
    for wrong in [null, program, folder, memory, lock] {
        cases.add(&bytes, &[lock, wrong, writable], InvalidData);
        cases.add(&bytes, &[lock, readable, wrong], InvalidData);
    }
    cases.add(&bytes, &[unlocked.as_fd(), readable, writable], NotFound);
    // Tickets that nobody has written, and such as are not of these descriptors.
    cases.add(&[0; MESSAGE], &[lock, readable, writable], InvalidData);
    cases.add(&[0xff; MESSAGE], &[lock, readable, writable], InvalidData);
    cases.add(&garbled, &[lock, readable, writable], InvalidData);
    cases.add(&message("ppipe-2:w:0:0:"), &[lock, readable, writable], InvalidData);
    cases.add(&message("ppipe-1:"), &[lock, readable, writable], InvalidData);
    let endless = format!("{:n<256}", format!("ppipe-1:w:{entry}:0:"));
    cases.add(&message(&endless), &[lock, readable, writable], InvalidData);
    cases.add(&spoilt(u32::MAX, ""), &[lock, readable, writable], InvalidData);
    cases.add(&spoilt(entry + 1, ""), &[lock, readable, writable], NotFound);
    cases.add(&message(&format!("ppipe-1:r:{entry}:0:")), &[lock, readable, writable], InvalidData);
    // A name, so that its memory need not be sealed.
    cases.add(&spoilt(entry, "name"), &[memory, readable, writable], PermissionDenied);
    cases.add(&spoilt(entry, "../name"), &[lock, readable, writable], PermissionDenied);
    if kind != SocketType::STREAM {
        cases.add(&bytes[..MESSAGE - 1], &[lock, readable, writable], InvalidData);
        cases.add(&[&bytes[..], b"x"].concat(), &[lock, readable, writable], InvalidData);
        cases.add(&[], &[lock, readable, writable], InvalidData);
    }

    let (here, there) = pair(kind);
    set_socket_passcred(&there, asks_who_sends).expect("an option");
    let mut command = command("takes what comes");
    let kinds: Vec<_> = cases.0.iter().map(|(.., kind)| format!("{kind:?}")).collect();
    command.env(KINDS, kinds.join(",")).stdin(there);
    let mut child = Ward::start(command);
    for (bytes, descriptors, _) in &cases.0 {
        forge(&here, bytes, descriptors);
    }
    // None of it has made this one unfit to be taken up.
    forge(&here, &bytes, &[lock, readable, writable]);
    assert!(child.has_succeeded());
    assert_eq!(reader.recv(&mut [0; 8]).expect("a packet").len, 5);
    // And once it has been, it is not again, whoever has kept its descriptors.
    let (here, there) = pair(kind);
    forge(&here, &bytes, &[lock, readable, writable]);
    let again = Writer::receive_from(&there).expect_err("it has been taken up");
    assert_eq!(again.kind(), NotFound);
}

#[test]
fn what_is_no_end_is_refused_whole_over_a_stream_socket() {
    refuses_what_is_no_end(SocketType::STREAM, false);
}

#[test]
fn what_is_no_end_is_refused_whole_over_a_datagram_socket() {
    refuses_what_is_no_end(SocketType::DGRAM, false);
}

#[test]
fn what_is_no_end_is_refused_whole_over_a_seqpacket_socket() {
    refuses_what_is_no_end(SocketType::SEQPACKET, false);
}

#[test]
fn what_is_no_end_is_refused_whole_by_one_who_asks_who_sends() {
    refuses_what_is_no_end(SocketType::SEQPACKET, true);
}

#[test]
fn who_is_short_of_descriptors_is_told_and_the_end_is_gone() {
    let (here, there) = pair(SocketType::SEQPACKET);
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let mut command = command("is short of descriptors");
    command.stdin(there);
    let mut child = Ward::start(command);
    (0..SHORT).for_each(|_| writer.try_clone().expect("an entry").pass_to(&here).expect("room"));
    drop(writer);
    assert!(child.has_succeeded());
    assert_eq!(reader.recv(&mut [0; 8]).expect_err("nobody").kind(), ErrorKind::UnexpectedEof);
}
