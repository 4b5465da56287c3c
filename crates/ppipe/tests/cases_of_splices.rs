//! Short sequences of `splice` and `tee`, between pipes and to and from descriptors, on a kernel pipe and on ours; see `cases.rs`.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;
use shm_ring::rely_on_wakes;

mod both;
mod name;
mod party;

use both::steps::{kind, nonblocking, number, of_packets, read, write};
use both::{BOTH, Reading, SLOT, Writing};
use party::Party;

#[test]
fn nothing_is_spliced_to_a_descriptor_that_appends_or_is_not_open_to_write_or_is_full() {
    for system in BOTH {
        let whose = system.whose();
        let (reader, mut writer) = nonblocking(system, 16);
        writer.write_all(b"stays, and some goes").expect("room");
        let splice = |to: BorrowedFd<'_>, len: usize| match reader.as_ours() {
            Some(ours) => ours.splice_to(to, len),
            None => Ok(rustix::pipe::splice(reader.poll_fd(), None, to, None, len, SpliceFlags::NONBLOCK)?),
        };
        let appends = tempfile();
        fcntl_setfl(&appends, OFlags::APPEND).expect("a flag");
        assert_eq!(number(splice(appends.as_fd(), 5)), Some(Errno::INVAL), "{whose}");
        let read_only = File::open("/dev/null").expect("a file");
        assert_eq!(number(splice(read_only.as_fd(), 5)), Some(Errno::BADF), "{whose}");
        let (near, _far) = std::os::unix::net::UnixStream::pair().expect("sockets");
        near.set_nonblocking(true).expect("a flag");
        while (&near).write(&[0; SLOT]).is_ok() {}
        assert_eq!(kind(splice(near.as_fd(), 5)), Err(ErrorKind::WouldBlock), "{whose}");
        assert_eq!(reader.unread(), 20, "{whose}: all of it has stayed");
        assert_eq!(kind(splice(tempfile().as_fd(), 5)), Ok(5), "{whose}");
        assert_eq!(reader.unread(), 15, "{whose}");
    }
}

fn tempfile() -> File {
    File::from(rustix::fs::memfd_create("a file", rustix::fs::MemfdFlags::CLOEXEC).expect("memory"))
}

#[test]
fn who_splices_sleeps_until_there_is_something_to_move_and_room() {
    rely_on_wakes();
    for system in BOTH {
        let whose = system.whose();
        let ((input, mut sender), (mut output, mut writer)) = (system.pipe(16), system.pipe(1));
        sender.set_packet_mode(true);
        assert_eq!(write(&mut writer, SLOT), Ok(SLOT));
        let party = &Party::default();
        thread::scope(|scope| {
            let splicer = scope.spawn(move || {
                party.act(|| match (input.as_ours(), writer.as_ours()) {
                    (Some(input), Some(writer)) => ppipe::splice(input, writer, 100),
                    _ => Ok(rustix::pipe::splice(
                        input.poll_fd(),
                        None,
                        writer.poll_fd(),
                        None,
                        100,
                        SpliceFlags::empty(),
                    )?),
                })
            });
            party.wait_until_blocked(|| true);
            assert_eq!(write(&mut sender, 5), Ok(5), "{whose}");
            party.wait_until_blocked(|| true);
            assert!(!splicer.is_finished(), "{whose}: there is no room");
            assert_eq!(read(&mut output, SLOT), Ok(SLOT), "{whose}");
            assert_eq!(kind(splicer.join().expect("no panic")), Ok(5), "{whose}");
            assert_eq!(read(&mut output, SLOT), Ok(5), "{whose}");
        });
    }
}

/// `splice`, or `tee`, of one pipe to another one.
fn transfer(is_tee: bool, from: &Reading, to: &Writing, len: usize) -> io::Result<usize> {
    match (from.as_ours(), to.as_ours()) {
        (Some(from), Some(to)) if is_tee => ppipe::tee(from, to, len),
        (Some(from), Some(to)) => ppipe::splice(from, to, len),
        _ if is_tee => Ok(rustix::pipe::tee(from.poll_fd(), to.poll_fd(), len, SpliceFlags::NONBLOCK)?),
        _ => Ok(rustix::pipe::splice(from.poll_fd(), None, to.poll_fd(), None, len, SpliceFlags::NONBLOCK)?),
    }
}

#[test]
fn a_tee_copies_packets_as_packets_and_takes_nothing() {
    for system in BOTH {
        let ((mut source, mut writer), (mut copy, to)) = (of_packets(system, 16), nonblocking(system, 16));
        assert_eq!((write(&mut writer, 10), write(&mut writer, 20)), (Ok(10), Ok(20)));
        assert_eq!(kind(transfer(true, &source, &to, 100)), Ok(30), "{}", system.whose());
        for reader in [&mut copy, &mut source] {
            assert_eq!([read(reader, 100), read(reader, 100)], [Ok(10), Ok(20)], "{}", system.whose());
        }
    }
}

#[test]
fn a_file_gets_no_borders_and_gives_none() {
    for system in BOTH {
        let whose = system.whose();
        let (mut reader, mut writer) = of_packets(system, 16);
        assert_eq!((write(&mut writer, 10), write(&mut writer, 20)), (Ok(10), Ok(20)));
        let file = tempfile();
        let mut moved = 0;
        while moved < 30 {
            moved += match reader.as_ours() {
                Some(ours) => ours.splice_to(&file, 100).expect("packets"),
                None => rustix::pipe::splice(reader.poll_fd(), None, &file, None, 100, SpliceFlags::NONBLOCK)
                    .expect("packets"),
            };
        }
        assert_eq!(moved, 30, "{whose}");
        let mut start = 0;
        let spliced = match writer.as_ours() {
            Some(ours) => {
                rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).expect("a file");
                ours.splice_from(&file, 30).expect("room")
            }
            None => {
                let (flags, offset) = (SpliceFlags::NONBLOCK, Some(&mut start));
                rustix::pipe::splice(&file, offset, writer.poll_fd(), None, 30, flags).expect("room")
            }
        };
        assert_eq!((spliced, write(&mut writer, 5)), (30, Ok(5)), "{whose}");
        assert_eq!(read(&mut reader, 99), Ok(35), "{whose}: bytes of a stream, and the packet behind them");
    }
}

#[test]
fn a_whole_buffer_that_is_moved_can_be_merged_with() {
    for system in BOTH {
        let ((source, mut writer), (mut reader, mut to)) = (nonblocking(system, 16), nonblocking(system, 1));
        assert_eq!(write(&mut writer, 10), Ok(10));
        assert_eq!(kind(transfer(false, &source, &to, 10)), Ok(10), "{}", system.whose());
        assert_eq!((write(&mut to, 5), read(&mut reader, 99)), (Ok(5), Ok(15)), "{}", system.whose());
    }
}

#[test]
fn what_cannot_be_moved_stays() {
    for system in BOTH {
        let whose = system.whose();
        let ((source, mut writer), (other, to)) = (nonblocking(system, 16), nonblocking(system, 16));
        assert_eq!(number(transfer(false, &source, &writer, 5)), Some(Errno::INVAL), "{whose}: the same pipe");
        assert_eq!(kind(transfer(false, &source, &to, 0)), Ok(0), "{whose}");
        assert_eq!(kind(transfer(false, &source, &to, 5)), Err(ErrorKind::WouldBlock), "{whose}: empty");
        assert_eq!(write(&mut writer, 5), Ok(5));
        drop(other);
        assert_eq!(kind(transfer(false, &source, &to, 5)), Err(ErrorKind::BrokenPipe), "{whose}: nobody reads");
        assert_eq!(source.unread(), 5, "{whose}");
        let (_output, to) = nonblocking(system, 16);
        drop(writer);
        assert_eq!([(); 2].map(|()| kind(transfer(false, &source, &to, 5))), [Ok(5), Ok(0)], "{whose}: and its end");
    }
}
