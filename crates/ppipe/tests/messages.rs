//! The message verbs' laws: one send is one packet, whole or not at all.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::time::{Duration, Instant};

use ppipe::{Builder, Excess, Message, Reader, Writer};
use rustix::io::Errno;

const SLOT: usize = 4096;
const CAPACITY: usize = 16 * SLOT;

fn nonblocking_pipe() -> (Reader, Writer) {
    Builder::new().nonblocking(true).pipe().expect("a pipe")
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n ^ n >> 8) as u8).collect()
}

fn packet(len: usize, packet_len: usize) -> Message {
    Message { len, packet_len, is_stream: false }
}

fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> Option<i32> {
    result.expect_err("an error").raw_os_error()
}

#[test]
fn one_send_is_one_packet_of_any_size_up_to_the_capacity() {
    let (reader, writer) = nonblocking_pipe();
    let mut buffer = vec![0; CAPACITY + 1];
    for len in [1, 8, 64, SLOT - 1, SLOT, SLOT + 1, 2 * SLOT, 5 * SLOT + 7, CAPACITY - 1, CAPACITY] {
        writer.send(&bytes(len)).expect("room");
        writer.send(b"next").expect("room");
        assert_eq!(reader.recv(&mut buffer).expect("a packet"), packet(len, len));
        assert!(buffer[..len] == bytes(len), "{len} bytes came out different");
        assert_eq!(reader.recv(&mut buffer).expect("a packet"), packet(4, 4));
        assert_eq!(&buffer[..4], b"next");
    }
    assert_eq!(reader.recv(&mut buffer).expect_err("empty").kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_packet_above_the_capacity_is_refused_at_once_and_leaves_nothing() {
    let (reader, mut writer) = Builder::new().pipe().expect("a pipe");
    assert_eq!((writer.capacity(), reader.capacity()), (CAPACITY, CAPACITY));
    assert_eq!(errno(writer.send(&bytes(CAPACITY + 1))), Some(Errno::MSGSIZE.raw_os_error()));
    assert_eq!(errno(writer.reserve(CAPACITY + 1).map(drop)), Some(Errno::MSGSIZE.raw_os_error()));
    reader.set_nonblocking(true);
    assert_eq!(reader.recv(&mut [0; 9]).expect_err("empty").kind(), ErrorKind::WouldBlock);
}

#[test]
fn sends_are_never_merged_with_anything() {
    let (mut reader, mut writer) = nonblocking_pipe();
    writer.write_all(b"stream").expect("room");
    writer.send(b"one").expect("room");
    writer.send(b"two").expect("room");
    writer.write_all(b"and on").expect("room");
    writer.write_all(b" and on").expect("room");
    let mut buffer = [0; 99];
    assert_eq!(reader.recv(&mut buffer).expect("data"), Message { len: 6, packet_len: 6, is_stream: true });
    assert_eq!(reader.recv(&mut buffer).expect("data"), packet(3, 3));
    assert_eq!(reader.recv(&mut buffer).expect("data"), packet(3, 3));
    assert_eq!(&buffer[..3], b"two");
    assert_eq!(reader.read(&mut buffer).expect("data"), 13);
    assert_eq!(&buffer[..13], b"and on and on");
}

#[test]
fn several_buffers_are_one_packet_and_one_packet_fills_several_buffers() {
    let (reader, writer) = nonblocking_pipe();
    for len in [30, 3 * SLOT] {
        let all = bytes(len);
        let (a, b) = all.split_at(len / 3);
        writer.send_vectored(&[IoSlice::new(a), IoSlice::new(b""), IoSlice::new(b)]).expect("room");
        let (mut c, mut d) = (vec![0; len / 2], vec![0; len]);
        let received = reader.recv_vectored(&mut [IoSliceMut::new(&mut c), IoSliceMut::new(&mut d)]).expect("a packet");
        assert_eq!(received, packet(len, len));
        assert!([&c[..], &d[..len - len / 2]].concat() == all);
        writer.try_send_vectored(&[IoSlice::new(a), IoSlice::new(b)]).expect("room");
        let received = reader.try_recv_vectored(&mut [IoSliceMut::new(&mut c), IoSliceMut::new(&mut d[..1])]);
        assert_eq!(received.expect("a packet"), packet(len / 2 + 1, len));
        let received = reader.try_recv_vectored(&mut [IoSliceMut::new(&mut c)]);
        assert_eq!(received.expect_err("empty").kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn no_bytes_no_packet() {
    let (reader, mut writer) = nonblocking_pipe();
    writer.send(b"").expect("nothing to do");
    writer.reserve(0).expect("nothing to do").commit().expect("nothing to do");
    assert_eq!(reader.recv(&mut [0; 9]).expect_err("empty").kind(), ErrorKind::WouldBlock);
}

#[test]
fn what_does_not_fit_is_dropped_kept_or_refused_as_the_reader_chooses() {
    for len in [100, SLOT, 3 * SLOT] {
        let (reader, writer) = nonblocking_pipe();
        let all = bytes(len);
        let mut buffer = vec![0; len];

        writer.send(&all).expect("room");
        let message = reader.recv_with(&mut buffer[..10], Excess::Discard).expect("a packet");
        assert_eq!(message, packet(10, len));
        assert!(message.is_truncated());
        assert_eq!(reader.try_recv(&mut buffer).expect_err("empty").kind(), ErrorKind::WouldBlock);

        writer.send(&all).expect("room");
        let refused = reader.recv_with(&mut buffer[..10], Excess::Refuse);
        assert_eq!(errno(refused), Some(Errno::MSGSIZE.raw_os_error()));
        assert_eq!(reader.recv_with(&mut buffer, Excess::Refuse).expect("all of it"), packet(len, len));

        writer.send(&all).expect("room");
        writer.send(b"next").expect("room");
        let mut kept = Vec::new();
        while kept.len() < len {
            let message = reader.recv_with(&mut buffer[..40], Excess::Keep).expect("a part");
            assert_eq!(message.packet_len, len - kept.len());
            kept.extend_from_slice(&buffer[..message.len]);
        }
        assert!(kept == all);
        assert_eq!(reader.recv_with(&mut buffer, Excess::Keep).expect("the next one"), packet(4, 4));
    }
}

#[test]
fn a_read_of_a_packet_above_a_slot_gives_at_most_that_packet_and_drops_the_rest() {
    let (mut reader, writer) = nonblocking_pipe();
    let all = bytes(3 * SLOT);
    let mut buffer = vec![0; 4 * SLOT];
    writer.send(&all).expect("room");
    writer.send(b"next").expect("room");
    assert_eq!(reader.read(&mut buffer).expect("data"), 3 * SLOT);
    assert!(buffer[..3 * SLOT] == all);
    assert_eq!(reader.read(&mut buffer).expect("data"), 4);

    writer.send(&all).expect("room");
    writer.send(b"next").expect("room");
    assert_eq!(reader.read(&mut buffer[..SLOT + 5]).expect("data"), SLOT + 5);
    assert!(buffer[..SLOT + 5] == all[..SLOT + 5]);
    assert_eq!(reader.read(&mut buffer).expect("data"), 4);
}

#[test]
fn a_packet_takes_one_slot_and_packets_above_a_slot_are_bounded_too() {
    let (reader, writer) = nonblocking_pipe();
    let mut sent = 0;
    while writer.try_send(b"x").is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 16);
    let mut buffer = vec![0; CAPACITY];
    while reader.try_recv(&mut buffer).is_ok() {}
    for _ in 0..3 {
        let mut sent = 0;
        while writer.try_send(&bytes(SLOT + 1)).is_ok() {
            sent += 1;
        }
        assert_eq!(sent, 16);
        let mut received = 0;
        while reader.try_recv(&mut buffer).is_ok() {
            received += 1;
        }
        assert_eq!(received, sent);
    }
}

#[test]
fn a_loan_is_sent_when_committed_and_abandoned_when_dropped() {
    let (mut reader, mut writer) = nonblocking_pipe();
    for len in [1, 64, SLOT, SLOT + 1, CAPACITY] {
        for _ in 0..300 {
            // More often than there are extents.
            writer.reserve(len).expect("room").bytes().copy_from(0, b"x");
        }
        let loan = writer.reserve(len).expect("room");
        loan.bytes().copy_from(0, &bytes(len));
        loan.commit().expect("room");
        let received = reader.recv_loan().expect("a packet");
        assert!(!received.is_stream());
        assert!(received.to_vec() == bytes(len));
        drop(received);
        assert_eq!(reader.recv_loan().map(drop).expect_err("empty").kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn a_loan_can_be_made_shorter() {
    let (reader, mut writer) = nonblocking_pipe();
    let mut buffer = vec![0; CAPACITY];
    for (reserved, len) in [(100, 7), (3 * SLOT, SLOT + 9), (3 * SLOT, 5)] {
        let mut loan = writer.reserve(reserved).expect("room");
        loan.bytes().copy_from(0, &bytes(reserved));
        loan.truncate(len);
        assert_eq!(loan.bytes().len(), len);
        loan.commit().expect("room");
        assert_eq!(reader.recv(&mut buffer).expect("a packet"), packet(len, len));
        assert!(buffer[..len] == bytes(len)[..]);
    }
}

#[test]
fn a_loan_that_cannot_be_committed_gives_its_memory_back() {
    let (reader, mut writer) = nonblocking_pipe();
    while writer.try_send(b"x").is_ok() {}
    for _ in 0..300 {
        let loan = writer.reserve(2 * SLOT).expect("room");
        assert_eq!(loan.commit().expect_err("full").kind(), ErrorKind::WouldBlock);
    }
    reader.recv(&mut [0; 9]).expect("a packet");
    writer.reserve(2 * SLOT).expect("room").commit().expect("room");
}

#[test]
fn a_received_stream_buffer_can_be_borrowed_too() {
    let (mut reader, mut writer) = nonblocking_pipe();
    writer.write_all(&bytes(SLOT + 10)).expect("room");
    let loan = reader.recv_loan().expect("data");
    assert!(loan.is_stream());
    assert!(loan.to_vec() == bytes(SLOT + 10)[..SLOT]);
}

#[test]
fn waiting_ends_when_the_time_is_over_and_not_before() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let timeout = Duration::from_millis(20);
    let start = Instant::now();
    assert_eq!(reader.recv_timeout(&mut [0; 9], timeout).expect_err("empty").kind(), ErrorKind::TimedOut);
    assert_eq!(reader.read_timeout(&mut [0; 9], timeout).expect_err("empty").kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() >= 2 * timeout);
    while writer.try_send(b"x").is_ok() {}
    let start = Instant::now();
    assert_eq!(writer.send_timeout(b"x", timeout).expect_err("full").kind(), ErrorKind::TimedOut);
    assert_eq!(writer.send_timeout(&bytes(SLOT + 1), timeout).expect_err("full").kind(), ErrorKind::TimedOut);
    assert_eq!(writer.write_timeout(b"x", timeout).expect_err("full").kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() >= 3 * timeout);
    assert_eq!(reader.recv_timeout(&mut [0; 9], timeout).expect("a packet"), packet(1, 1));
    writer.send_timeout(b"x", timeout).expect("room");
}

#[test]
fn end_of_file_comes_after_the_last_byte_and_does_not_latch() {
    let (mut reader, mut writer) = ppipe::pipe().expect("a pipe");
    let mut second = writer.try_clone().expect("a clone");
    writer.write_all(b"one").expect("room");
    drop(writer);
    second.write_all(b"two").expect("room");
    second.send(b"three").expect("room");
    let third = second.try_clone().expect("a clone");
    drop(second);
    let mut buffer = [0; 99];
    assert_eq!(reader.recv(&mut buffer).expect("data").len, 6);
    assert_eq!(reader.recv(&mut buffer).expect("data"), packet(5, 5));
    reader.set_nonblocking(true);
    assert_eq!(reader.recv(&mut buffer).expect_err("third lives").kind(), ErrorKind::WouldBlock);
    drop(third);
    assert_eq!(reader.recv(&mut buffer).expect_err("all gone").kind(), ErrorKind::UnexpectedEof);
    assert_eq!(reader.read(&mut buffer).expect("end of file"), 0);
    assert_eq!(reader.recv_loan().map(drop).expect_err("all gone").kind(), ErrorKind::UnexpectedEof);
    let late = reader.reopen_writer(true).expect("a writer");
    assert_eq!(reader.recv(&mut buffer).expect_err("there is a writer again").kind(), ErrorKind::WouldBlock);
    late.send(b"late").expect("room");
    drop(late);
    assert_eq!(reader.recv(&mut buffer).expect("data"), packet(4, 4));
    assert_eq!(reader.recv(&mut buffer).expect_err("all gone again").kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn a_pipe_without_readers_is_broken_for_every_verb() {
    let (reader, mut writer) = ppipe::pipe().expect("a pipe");
    drop(reader);
    let broken = |result: std::io::Result<()>| assert_eq!(result.expect_err("broken").kind(), ErrorKind::BrokenPipe);
    broken(writer.send(b"x"));
    broken(writer.try_send(b"x"));
    broken(writer.send(&bytes(2 * SLOT)));
    broken(writer.write_all(b"x"));
    broken(writer.reserve(9).expect("only room").commit());
    assert_eq!(writer.write(b"").expect("nothing to do"), 0);
}

#[test]
fn clones_share_their_flags() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let (other_reader, other_writer) = (reader.try_clone().expect("a clone"), writer.try_clone().expect("a clone"));
    other_writer.set_packet_mode(true);
    assert!(writer.is_packet_mode());
    reader.set_nonblocking(true);
    assert!(other_reader.is_nonblocking() && !writer.is_nonblocking());
    assert_eq!(other_reader.recv(&mut [0; 9]).expect_err("empty").kind(), ErrorKind::WouldBlock);
    writer.set_nonblocking(true);
    assert!(other_writer.is_nonblocking());
    while other_writer.send(b"x").is_ok() {}
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let kind = |builder: Builder| builder.pipe().map(drop).expect_err("impossible").kind();
    assert_eq!(kind(Builder::new().slots(u32::MAX)), ErrorKind::InvalidInput);
    assert_eq!(kind(Builder::new().slot_size(u32::MAX)), ErrorKind::InvalidInput);
    assert_eq!(kind(Builder::new().max_writers(0)), ErrorKind::InvalidInput);
    assert_eq!(kind(Builder::new().max_readers(1_000_000)), ErrorKind::InvalidInput);
    let (_reader, writer) = Builder::new().slots(3).slot_size(1000).pipe().expect("rounded up");
    assert_eq!(writer.capacity(), 4 * 1024);
}

#[test]
fn a_full_table_is_an_error_and_a_leaver_makes_room() {
    let (reader, writer) = Builder::new().max_writers(2).max_readers(1).pipe().expect("a pipe");
    let second = writer.try_clone().expect("a second one");
    assert_eq!(writer.try_clone().map(drop).expect_err("full").kind(), ErrorKind::QuotaExceeded);
    assert_eq!(reader.try_clone().map(drop).expect_err("full").kind(), ErrorKind::QuotaExceeded);
    drop(second);
    writer.try_clone().expect("room again");
}
