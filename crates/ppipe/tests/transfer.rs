//! From pipe to pipe, to descriptors and from them, and looks that take nothing: what random programs of one thread do not reach.

mod party;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use party::Party;
use ppipe::{Builder, Reader, Writer};

fn numbered(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect()
}

#[test]
fn sent_packets_of_every_size_stay_packets_when_they_are_moved_or_copied() {
    let ((input, sender), (output, writer)) = (ppipe::pipe().expect("a pipe"), ppipe::pipe().expect("a pipe"));
    let packets = [1, 4096, 4097, 50_000, 65_536].map(numbered);
    for packet in &packets {
        sender.send(packet).expect("room");
    }
    let total: usize = packets.iter().map(Vec::len).sum();
    assert_eq!(ppipe::tee(&input, &writer, usize::MAX).expect("room"), total);
    assert_eq!(ppipe::splice(&input, &writer, usize::MAX).expect("room"), total);
    assert_eq!(ppipe::try_splice(&input, &writer, 1).expect_err("empty").kind(), ErrorKind::WouldBlock);
    let mut buffer = vec![0; 65_536];
    for packet in packets.iter().chain(&packets) {
        let message = output.recv(&mut buffer).expect("a packet");
        assert!(!message.is_stream && message.packet_len == packet.len() && buffer[..message.len] == packet[..]);
    }
    assert!(input.audit().expect("an audit").is_sound() && output.audit().expect("an audit").is_sound());
    assert!(output.audit().expect("an audit").extents.is_empty());
}

#[test]
fn a_part_of_a_packet_that_is_moved_leaves_the_rest_of_it() {
    let ((input, sender), (output, writer)) = (ppipe::pipe().expect("a pipe"), ppipe::pipe().expect("a pipe"));
    let packet = numbered(20_000);
    sender.send(&packet).expect("room");
    assert_eq!(ppipe::splice(&input, &writer, 100).expect("room"), 100);
    assert_eq!(ppipe::splice(&input, &writer, 10_000).expect("room"), 10_000);
    let mut buffer = vec![0; 20_000];
    for (start, len) in [(0, 100), (100, 10_000)] {
        assert_eq!(output.recv(&mut buffer).expect("a packet").packet_len, len);
        assert!(buffer[..len] == packet[start..start + len]);
    }
    assert_eq!(input.recv(&mut buffer).expect("a packet").packet_len, 9_900);
    assert!(buffer[..9_900] == packet[10_100..]);
}

#[test]
fn pipes_with_slots_of_other_sizes_get_the_same_bytes_and_packets() {
    for (from, to) in [(16_384, 4096), (4096, 16_384), (4096, 64)] {
        let (input, mut sender) = Builder::new().slot_size(from).pipe().expect("a pipe");
        let (mut output, writer) = Builder::new().slot_size(to).slots(1024).pipe().expect("a pipe");
        let bytes = numbered(10_000);
        sender.write_all(&bytes).expect("room");
        sender.send(&bytes).expect("room");
        drop(sender);
        while ppipe::splice(&input, &writer, usize::MAX).expect("room") > 0 {}
        drop(writer);
        let mut read = vec![0; 10_000];
        output.read_exact(&mut read).expect("bytes of a stream");
        assert!(read == bytes);
        assert_eq!(output.recv(&mut read).expect("a packet").packet_len, 10_000);
        assert!(read == bytes);
    }
}

#[test]
fn a_packet_that_is_too_large_for_the_other_pipe_stays_where_it_is() {
    let ((input, sender), (output, writer)) =
        (ppipe::pipe().expect("a pipe"), Builder::new().slots(2).pipe().expect("a pipe"));
    sender.send(b"small").expect("room");
    sender.send(&[7; 8193]).expect("room");
    assert_eq!(ppipe::splice(&input, &writer, usize::MAX).expect("the first one fits"), 5);
    assert_eq!(ppipe::splice(&input, &writer, usize::MAX).expect_err("too large").raw_os_error(), Some(90));
    assert_eq!(input.peek(&mut []).expect("it is still there").packet_len, 8193);
    assert_eq!(ppipe::splice(&input, &writer, 8192).expect("a part of it fits"), 8192);
    assert_eq!(output.recv(&mut [0; 9]).expect("a packet").len, 5);
}

/// Moves packets with numbers through two pipes, with so many threads between them.
fn every_packet_arrives_once(between: usize, step: impl Fn(&Reader, &Writer) -> std::io::Result<usize> + Sync) {
    const PACKETS: u64 = 20_000;
    let ((input, sender), (output, writer)) = (ppipe::pipe().expect("a pipe"), ppipe::pipe().expect("a pipe"));
    let sum = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..between {
            let (input, writer) = (input.try_clone().expect("a reader"), writer.try_clone().expect("a writer"));
            let step = &step;
            scope.spawn(move || while step(&input, &writer).expect("both are open") > 0 {});
        }
        drop((input, writer));
        scope.spawn(move || {
            for number in 0..PACKETS {
                let len = if number % 50 == 0 { 5000 } else { 8 };
                let mut packet = vec![0; len];
                packet[..8].copy_from_slice(&number.to_le_bytes());
                sender.send(&packet).expect("a reader");
            }
        });
        let mut buffer = vec![0; 8192];
        let mut count = 0;
        while let Ok(message) = output.recv(&mut buffer) {
            let number = u64::from_le_bytes(buffer[..8].try_into().expect("eight bytes"));
            assert_eq!(message.packet_len, if number % 50 == 0 { 5000 } else { 8 });
            sum.fetch_add(number, Ordering::Relaxed);
            count += 1;
        }
        assert_eq!((count, sum.load(Ordering::Relaxed)), (PACKETS, PACKETS * (PACKETS - 1) / 2));
    });
}

#[test]
fn every_packet_arrives_once_however_many_splice() {
    for between in [1, 3] {
        every_packet_arrives_once(between, |input, writer| ppipe::splice(input, writer, 1 << 20));
    }
}

#[test]
fn what_is_copied_by_tee_while_others_read_is_a_part_of_the_stream_without_gaps() {
    const BYTES: usize = 4 << 20;
    let ((mut input, mut sender), (mut output, writer)) =
        (ppipe::pipe().expect("a pipe"), ppipe::pipe().expect("a pipe"));
    thread::scope(|scope| {
        scope.spawn(move || {
            // Every byte tells where it is, modulo 251.
            let bytes: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
            bytes.chunks(1000).for_each(|chunk| sender.write_all(chunk).expect("a reader"));
        });
        let tapper = input.try_clone().expect("a reader");
        scope.spawn(move || {
            while let Ok(1..) = ppipe::tee(&tapper, &writer, 30_000) {
                thread::yield_now();
            }
        });
        scope.spawn(move || {
            let mut buffer = vec![0; 3333];
            while input.read(&mut buffer).expect("bytes") > 0 {}
        });
        // Each copy is at most what the pipe held, and its bytes follow each other.
        let mut buffer = vec![0; 30_000];
        let mut seams = 0;
        let mut last = None;
        let mut copied = 0;
        loop {
            let len = output.read(&mut buffer).expect("bytes");
            if len == 0 {
                break;
            }
            copied += len;
            for &byte in &buffer[..len] {
                if last.is_some_and(|last: u8| (u32::from(last) + 1) % 251 != u32::from(byte)) {
                    seams += 1;
                }
                last = Some(byte);
            }
        }
        // Between two copies there is a seam, and each copy has at least one slot's bytes.
        assert!(copied > 0 && seams <= copied / 1000 + 1, "{seams} seams in {copied} bytes");
    });
}

#[test]
fn a_filter_stands_between_two_descriptors_and_keeps_no_buffer() {
    let (mut source, input) = UnixStream::pair().expect("sockets");
    let (output, mut sink) = UnixStream::pair().expect("sockets");
    let bytes = numbered(1 << 20);
    thread::scope(|scope| {
        let (reader, writer) = ppipe::pipe().expect("a pipe");
        scope.spawn(move || while writer.splice_from(&input, 1 << 20).expect("a reader") > 0 {});
        scope.spawn(move || while reader.splice_to(&output, 1 << 20).expect("a peer") > 0 {});
        scope.spawn(|| {
            source.write_all(&bytes).expect("a peer");
            source.shutdown(std::net::Shutdown::Write).expect("it is open");
        });
        let mut all = Vec::new();
        sink.read_to_end(&mut all).expect("bytes");
        assert!(all == bytes);
    });
}

#[test]
fn what_a_descriptor_does_not_take_stays_in_the_pipe() {
    let (reader, mut writer) = ppipe::pipe().expect("a pipe");
    writer.write_all(b"to be kept").expect("room");
    let read_only = File::open("/dev/null").expect("a file");
    assert_eq!(reader.splice_to(&read_only, 100).expect_err("not open to write").raw_os_error(), Some(9));
    assert_eq!(reader.unread().expect("a number"), 10);
    // A nonblocking descriptor that takes a part.
    let (mut far, near) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).map(|(r, w)| (File::from(r), w)).expect("a pipe");
    rustix::pipe::fcntl_setpipe_size(&near, 4096).expect("one page");
    rustix::io::write(&near, &[0; 4090]).expect("room");
    rustix::io::write(&near, &[0; 6]).expect("room");
    assert_eq!(reader.splice_to(&near, 100).expect_err("full").kind(), ErrorKind::WouldBlock);
    assert_eq!(reader.unread().expect("a number"), 10);
    far.read_exact(&mut [0; 4096]).expect("bytes");
    assert_eq!(reader.splice_to(&near, 4).expect("room"), 4);
    assert_eq!(reader.unread().expect("a number"), 6);
}

#[test]
fn where_several_splice_to_one_descriptor_each_byte_gets_there_once() {
    const BYTES: usize = 2 << 20;
    let (reader, mut writer) = ppipe::pipe().expect("a pipe");
    let (far, near) = rustix::pipe::pipe().expect("a pipe of the kernel");
    let mut bytes = Vec::new();
    thread::scope(|scope| {
        for _ in 0..2 {
            let (reader, near) = (reader.try_clone().expect("a reader"), near.try_clone().expect("a descriptor"));
            scope.spawn(move || while reader.splice_to(&near, 10_000).expect("a reader") > 0 {});
        }
        drop((reader, near));
        scope.spawn(move || (0..BYTES / 8).for_each(|n| writer.write_all(&n.to_le_bytes()).expect("a reader")));
        File::from(far).read_to_end(&mut bytes).expect("bytes");
    });
    assert_eq!(bytes.len(), BYTES);
    // The pieces may be out of order, but eight bytes that were written at once stay together in their slot.
    let mut numbers: Vec<_> =
        bytes.chunks(8).map(|eight| usize::from_le_bytes(eight.try_into().expect("eight"))).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..BYTES / 8));
}

#[test]
fn what_a_descriptor_takes_leaves_the_pipe_once_though_writers_merge_and_the_pipe_grows_meanwhile() {
    let changes: [fn(&mut Writer); 2] = [
        |writer| writer.write_all(b" world").expect("room"),
        |writer| _ = writer.resize(1 << 20).expect("a larger size"),
    ];
    for change in changes {
        let (reader, mut writer) = ppipe::pipe().expect("a pipe");
        writer.write_all(b"hello").expect("room");
        let (far, near) = rustix::pipe::pipe().expect("a pipe of the kernel");
        rustix::pipe::fcntl_setpipe_size(&near, 4096).expect("one page");
        rustix::io::write(&near, &[b'.'; 4096]).expect("room");
        let mut far = File::from(far);
        let party = Party::default();
        let moved = thread::scope(|scope| {
            let mover = scope.spawn(|| {
                let moved = party.act(|| reader.splice_to(&near, 100)).expect("room, in a while");
                drop(near);
                (moved, reader)
            });
            // It stands in the midst of the descriptor's write: nowhere else does it sleep.
            party.wait_until_blocked(|| true);
            change(&mut writer);
            far.read_exact(&mut [0; 4096]).expect("bytes");
            mover.join().expect("it ends")
        });
        drop(writer);
        let mut arrived = String::new();
        far.read_to_string(&mut arrived).expect("text");
        let (moved, mut reader) = moved;
        assert_eq!(arrived.len(), moved);
        reader.read_to_string(&mut arrived).expect("text");
        assert!(arrived == "hello" || arrived == "hello world", "{arrived}");
    }
}

#[test]
fn a_packet_is_moved_or_stays_though_the_other_pipe_breaks_meanwhile() {
    for round in 0..400 {
        let (input, sender) = ppipe::pipe().expect("a pipe");
        let (output, writer) = Builder::new().slots(1).pipe().expect("a pipe");
        // A rival takes the only slot now and then between the look for room and the exchange.
        let rival = writer.try_clone().expect("a writer");
        for _ in 0..16 {
            sender.send(b"packet").expect("room");
        }
        let moved = thread::scope(|scope| {
            scope.spawn(move || {
                while !rival.readiness().contains(ppipe::Readiness::BROKEN) {
                    let _ = rival.try_send(b"rival");
                }
            });
            scope.spawn(move || {
                for _ in 0..round % 40 {
                    let _ = output.try_recv(&mut [0; 8]);
                }
            });
            let mut moved = 0;
            loop {
                match ppipe::try_splice(&input, &writer, 6) {
                    Ok(len) => moved += len,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                        return moved;
                    }
                }
                if moved == 16 * 6 {
                    return moved;
                }
            }
        });
        assert_eq!(moved + input.unread().expect("a number"), 16 * 6, "round {round}");
    }
}

#[test]
fn where_no_extent_is_free_for_a_packet_who_tries_is_told_so_and_who_waits_waits() {
    let few = || Builder::new().slots(1).max_writers(1).max_readers(1).pipe().expect("a pipe");
    let ((input, sender), (output, writer)) = (few(), few());
    for end in [&sender, &writer] {
        end.resize(1 << 20).expect("a larger size");
    }
    // There are three: one for each participant, and one to be in the pipe.
    let mut inside = 0;
    while writer.try_send(&[7; 5000]).is_ok() {
        inside += 1;
    }
    assert!(inside > 0 && writer.readiness() == ppipe::Readiness::WRITABLE, "slots are free, and extents are not");
    sender.send(&[8; 5000]).expect("room");
    assert_eq!(ppipe::try_splice(&input, &writer, 5000).expect_err("full").kind(), ErrorKind::WouldBlock);
    assert_eq!(ppipe::try_tee(&input, &writer, 5000).expect_err("full").kind(), ErrorKind::WouldBlock);
    let party = &Party::default();
    thread::scope(|scope| {
        let splicer = scope.spawn(move || party.act(|| ppipe::splice(&input, &writer, 5000)));
        party.wait_until_blocked(|| true);
        assert!(!splicer.is_finished());
        for _ in 0..inside {
            output.recv(&mut [0; 5000]).expect("a packet");
        }
        assert_eq!(splicer.join().expect("it ends").expect("an extent"), 5000);
    });
}

#[test]
fn beside_another_reader_a_descriptor_that_takes_nothing_gets_nothing() {
    let (reader, mut writer) = ppipe::pipe().expect("a pipe");
    let _other = reader.try_clone().expect("a reader");
    writer.write_all(b"stays").expect("room");
    let (_far, near) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).expect("a pipe");
    while rustix::io::write(&near, &[0; 4096]).is_ok() {}
    assert_eq!(reader.splice_to(&near, 5).expect_err("full").kind(), ErrorKind::WouldBlock);
    assert_eq!(reader.unread().expect("a number"), 5);
}

#[test]
fn a_look_takes_nothing_and_tells_how_long_the_packet_is() {
    let (reader, mut writer) = ppipe::pipe().expect("a pipe");
    assert_eq!(reader.try_peek(&mut [0; 4]).expect_err("empty").kind(), ErrorKind::WouldBlock);
    writer.write_all(b"stream").expect("room");
    writer.send(b"packet").expect("room");
    writer.send(&numbered(10_000)).expect("room");
    let mut buffer = [0; 4];
    for _ in 0..2 {
        let message = reader.peek(&mut buffer).expect("bytes");
        assert_eq!((message.len, message.is_stream, &buffer), (4, true, b"stre"));
    }
    reader.recv(&mut [0; 6]).expect("bytes");
    let message = reader.peek(&mut buffer).expect("a packet");
    assert_eq!((message.len, message.packet_len, message.is_stream, &buffer), (4, 6, false, b"pack"));
    reader.recv(&mut [0; 6]).expect("a packet");
    assert_eq!(reader.peek(&mut []).expect("a packet").packet_len, 10_000);
    let mut all = vec![0; 10_000];
    assert_eq!(reader.peek(&mut all).expect("a packet").len, 10_000);
    assert!(all == numbered(10_000));
    drop(writer);
    assert_eq!(reader.recv(&mut all).expect("a packet").len, 10_000);
    assert_eq!(reader.peek(&mut all).expect_err("the end").kind(), ErrorKind::UnexpectedEof);
}
