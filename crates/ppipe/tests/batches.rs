//! The laws of batches: many packets in one call, each a packet of its own, as if sent and received one by one.

mod party;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

use party::Party;
use ppipe::{Builder, Message, Reader, Waiting, Writer};
use rustix::io::Errno;
use shm_ring::rely_on_wakes;

const SLOT: usize = 4096;
const CAPACITY: usize = 16 * SLOT;

fn nonblocking_pipe() -> (Reader, Writer) {
    Builder::new().nonblocking(true).pipe().expect("a pipe")
}

fn packet(len: usize, packet_len: usize) -> Message {
    Message { len, packet_len, is_stream: false }
}

/// Packets that differ, of all these lengths.
fn packets(lens: &[usize]) -> Vec<Vec<u8>> {
    lens.iter().enumerate().map(|(at, &len)| vec![at as u8 + 1; len]).collect()
}

#[test]
fn a_batch_is_received_in_order_each_packet_whole_and_for_itself() {
    let (reader, writer) = nonblocking_pipe();
    let sent = packets(&[1, 64, SLOT, SLOT + 1, 8, 5 * SLOT, CAPACITY, 3]);
    let mut buffer = vec![0; CAPACITY];
    assert_eq!(writer.send_batch(&sent).expect("room"), 8);
    for packet in &sent {
        let message = reader.recv(&mut buffer).expect("a packet");
        assert!(&buffer[..message.len] == packet);
    }
    assert_eq!(writer.send_batch(&sent).expect("room"), 8);
    let mut buffers = vec![vec![0; CAPACITY]; 9];
    let mut messages = [Message::default(); 9];
    assert_eq!(reader.recv_batch(&mut buffers, &mut messages).expect("packets"), 8);
    for ((buffer, message), sent) in buffers.iter().zip(messages).zip(&sent) {
        assert_eq!(message, packet(sent.len(), sent.len()));
        assert!(&buffer[..message.len] == sent);
    }
    assert_eq!(messages[8], Message::default());
}

#[test]
fn a_batch_is_received_as_far_as_there_are_packets_buffers_and_messages() {
    let (reader, writer) = nonblocking_pipe();
    let (mut buffers, mut messages) = ([[0; 8]; 4], [Message::default(); 4]);
    assert_eq!(reader.recv_batch(&mut buffers, &mut messages).expect_err("empty").kind(), ErrorKind::WouldBlock);
    writer.send_batch(&["a", "b", "c", "d", "e", "f", "g"]).expect("room");
    assert_eq!(reader.recv_batch(&mut buffers[..0], &mut messages).expect("nothing to do"), 0);
    assert_eq!(reader.recv_batch(&mut buffers[..2], &mut messages).expect("packets"), 2);
    assert_eq!(reader.recv_batch(&mut buffers, &mut messages[..1]).expect("packets"), 1);
    assert_eq!(reader.try_recv_batch(&mut buffers, &mut messages).expect("packets"), 4);
    assert_eq!(buffers.map(|buffer| buffer[0]), *b"defg");
    assert_eq!(reader.try_recv_batch(&mut buffers, &mut messages).expect_err("empty").kind(), ErrorKind::WouldBlock);
}

#[test]
fn what_is_too_small_is_cut_and_streams_are_told_from_packets_in_a_batch_too() {
    let (reader, mut writer) = nonblocking_pipe();
    writer.send_batch(&packets(&[9, 3 * SLOT])).expect("room");
    writer.write_all(b"stream").expect("room");
    writer.send(b"next").expect("room");
    let (mut buffers, mut messages) = ([[0; 8]; 8], [Message::default(); 8]);
    assert_eq!(reader.recv_batch(&mut buffers, &mut messages).expect("packets"), 4);
    let stream = Message { len: 6, packet_len: 6, is_stream: true };
    assert_eq!(messages[..4], [packet(8, 9), packet(8, 3 * SLOT), stream, packet(4, 4)]);
}

#[test]
fn no_bytes_are_no_packet_and_no_packets_are_no_error() {
    let (reader, writer) = nonblocking_pipe();
    assert_eq!(writer.send_batch(&["a", "", "b"]).expect("room"), 3);
    let (mut buffers, mut messages) = ([[0; 8]; 8], [Message::default(); 8]);
    assert_eq!(reader.recv_batch(&mut buffers, &mut messages).expect("packets"), 2);
    drop(reader);
    assert_eq!(writer.send_batch(&[[0; 0]; 0]).expect("nothing to do"), 0);
}

#[test]
fn nonblocking_a_batch_goes_as_far_as_there_is_room() {
    let (reader, writer) = nonblocking_pipe();
    let many = [[7; 64]; 40];
    assert_eq!(writer.send_batch(&many).expect("room"), 16);
    assert_eq!(writer.send_batch(&many).expect_err("full").kind(), ErrorKind::WouldBlock);
    let (mut buffers, mut messages) = ([[0; 64]; 3], [Message::default(); 3]);
    assert_eq!(reader.recv_batch(&mut buffers, &mut messages).expect("packets"), 3);
    assert_eq!(writer.try_send_batch(&many).expect("room"), 3);
}

#[test]
fn a_batch_with_a_time_limit_goes_as_far_as_it_can_until_then() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let timeout = Duration::from_millis(20);
    let (mut buffers, mut messages) = ([[0; 8]; 40], [Message::default(); 40]);
    let start = Instant::now();
    let received = reader.recv_batch_timeout(&mut buffers, &mut messages, timeout);
    assert_eq!(received.expect_err("empty").kind(), ErrorKind::TimedOut);
    assert_eq!(writer.send_batch_timeout(&["x"; 40], timeout).expect("room for some"), 16);
    assert_eq!(writer.send_batch_timeout(&["x"; 40], timeout).expect_err("full").kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() >= 3 * timeout);
    assert_eq!(reader.recv_batch_timeout(&mut buffers, &mut messages, timeout).expect("packets"), 16);
}

#[test]
fn a_packet_above_the_capacity_ends_a_batch_before_it() {
    let (reader, writer) = nonblocking_pipe();
    let batch = packets(&[5, 2 * SLOT, CAPACITY + 1, 6]);
    assert_eq!(writer.send_batch(&batch).expect("room for two"), 2);
    let refused = writer.send_batch(&batch[2..]).expect_err("too large");
    assert_eq!(refused.raw_os_error(), Some(Errno::MSGSIZE.raw_os_error()));
    let (mut buffers, mut messages) = (vec![vec![0; CAPACITY]; 4], [Message::default(); 4]);
    assert_eq!(reader.recv_batch(&mut buffers, &mut messages).expect("packets"), 2);
}

#[test]
fn who_waits_for_a_batch_takes_what_is_there_and_waits_for_no_more() {
    rely_on_wakes();
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let party = &Party::default();
    let received = thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            let (mut buffers, mut messages) = ([[0; 8]; 8], [Message::default(); 8]);
            party.act(|| reader.recv_batch(&mut buffers, &mut messages)).expect("a packet")
        });
        party.wait_until_blocked(|| true);
        writer.send(b"only").expect("room");
        waiting.join().expect("it returns")
    });
    assert_eq!(received, 1);
}

/// One batch of many times what the pipe holds, to one reader that sleeps whenever it can.
fn a_long_batch_goes_through(slots: u32, len: impl Fn(usize) -> usize) {
    rely_on_wakes();
    let (reader, writer) = Builder::new().slots(slots).waiting(Waiting::Sleeping).pipe().expect("a pipe");
    let lens: Vec<usize> = (0..2000).map(len).collect();
    let batch: Vec<Vec<u8>> = lens.iter().enumerate().map(|(at, &len)| vec![at as u8; len]).collect();
    let party = &Party::default();
    let lens = &lens;
    thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let (mut buffers, mut messages) = (vec![vec![0; SLOT * slots as usize]; 5], [Message::default(); 5]);
            let mut at = 0;
            loop {
                let received = match party.act(|| reader.recv_batch(&mut buffers, &mut messages)) {
                    Ok(received) => received,
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => return at,
                    Err(error) => panic!("{error}"),
                };
                for (buffer, message) in buffers.iter().zip(&messages[..received]) {
                    assert_eq!(*message, packet(lens[at], lens[at]));
                    assert!(buffer[..message.len].iter().all(|&byte| byte == at as u8), "torn");
                    at += 1;
                }
            }
        });
        party.wait_until_blocked(|| true);
        assert_eq!(writer.send_batch(&batch).expect("a reader"), 2000);
        drop(writer);
        assert_eq!(reading.join().expect("a reader"), 2000);
    });
}

#[test]
fn a_batch_that_waits_for_room_in_its_midst_has_woken_its_reader() {
    a_long_batch_goes_through(16, |_| 64);
    a_long_batch_goes_through(1, |_| 64);
}

#[test]
fn packets_above_a_slot_go_through_in_a_batch_too() {
    a_long_batch_goes_through(4, |at| [16, SLOT, SLOT + 1, 3 * SLOT, 4 * SLOT][at % 5]);
}

#[test]
fn of_those_who_sleep_one_wakes_the_next_as_long_as_a_batch_lasts() {
    rely_on_wakes();
    let (reader, writer) = Builder::new().waiting(Waiting::Sleeping).pipe().expect("a pipe");
    let readers: Vec<Reader> = (0..4).map(|_| reader.try_clone().expect("a clone")).collect();
    let parties: [Party; 4] = Default::default();
    thread::scope(|scope| {
        for (reader, party) in readers.into_iter().zip(&parties) {
            scope.spawn(move || party.act(|| reader.recv(&mut [0; 8])).expect("a packet"));
        }
        for party in &parties {
            party.wait_until_blocked(|| true);
        }
        assert_eq!(writer.send_batch(&["to", "each", "of", "them"]).expect("room"), 4);
    });
}

#[test]
fn a_batch_that_finds_the_pipe_broken_in_its_midst_says_how_far_it_went() {
    rely_on_wakes();
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let party = &Party::default();
    thread::scope(|scope| {
        let sending = scope.spawn(move || {
            assert_eq!(party.act(|| writer.send_batch(&["x"; 40])).expect("some went"), 16);
            assert_eq!(writer.send_batch(&["x"; 40]).expect_err("broken").kind(), ErrorKind::BrokenPipe);
        });
        party.wait_until_blocked(|| true);
        drop(reader);
        sending.join().expect("it returns");
    });
}

#[test]
fn what_a_batch_leaves_is_shown_by_the_descriptor_of_its_end() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let (reader, writer) = nonblocking_pipe();
    let is_shown = |reader: &Reader| {
        let mut polled = [PollFd::from_borrowed_fd(reader.poll_fd().expect("a descriptor"), PollFlags::IN)];
        poll(&mut polled, Some(&Timespec::default())).expect("an answer") == 1
    };
    assert!(!is_shown(&reader));
    writer.send_batch(&["a", "b", "c"]).expect("room");
    let mut polled = [PollFd::from_borrowed_fd(reader.poll_fd().expect("a descriptor"), PollFlags::IN)];
    assert_eq!(poll(&mut polled, None).expect("an answer"), 1);
    let (mut buffers, mut messages) = ([[0; 8]; 2], [Message::default(); 2]);
    assert_eq!(reader.recv_batch(&mut buffers, &mut messages).expect("packets"), 2);
    assert!(is_shown(&reader));
    assert_eq!(reader.recv_batch(&mut buffers, &mut messages).expect("a packet"), 1);
    assert!(!is_shown(&reader));
}

/// A packet that cannot be had.
struct Packet(Option<&'static str>);

impl AsRef<[u8]> for Packet {
    fn as_ref(&self) -> &[u8] {
        self.0.expect("a packet").as_bytes()
    }
}

#[test]
fn a_batch_that_is_given_up_by_a_panic_has_woken_its_reader() {
    rely_on_wakes();
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let party = &Party::default();
    thread::scope(|scope| {
        let receiving = scope.spawn(move || party.act(|| reader.recv(&mut [0; 8])).expect("a packet").len);
        party.wait_until_blocked(|| true);
        let batch = [Packet(Some("there")), Packet(None)];
        let sending = std::panic::AssertUnwindSafe(|| writer.send_batch(&batch));
        assert!(std::panic::catch_unwind(sending).is_err());
        assert_eq!(receiving.join().expect("it returns"), 5);
    });
}

#[test]
fn end_of_file_comes_after_the_last_packet_of_a_batch() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    writer.send_batch(&["a", "b", "c"]).expect("room");
    drop(writer);
    let (mut buffers, mut messages) = ([[0; 8]; 2], [Message::default(); 2]);
    assert_eq!(reader.recv_batch(&mut buffers, &mut messages).expect("packets"), 2);
    assert_eq!(reader.recv_batch(&mut buffers, &mut messages).expect("a packet"), 1);
    let end = reader.recv_batch(&mut buffers, &mut messages);
    assert_eq!(end.expect_err("all gone").kind(), ErrorKind::UnexpectedEof);
}

const BATCHES: u64 = 300;
const WRITERS: u64 = 3;

fn numbered(writer: u64, batch: u64) -> Vec<Vec<u8>> {
    let number = |at: u64| (writer << 32 | batch << 8 | at).to_le_bytes();
    (0..1 + batch % 37).map(|at| number(at).repeat([1, 8, 40, 600][at as usize % 4])).collect()
}

/// What one reader gets until the end.
fn all_of(reader: &Reader) -> Vec<u64> {
    let (mut buffers, mut messages) = (vec![vec![0; CAPACITY]; 7], [Message::default(); 7]);
    let mut all = Vec::new();
    while let Ok(received) = reader.recv_batch(&mut buffers, &mut messages) {
        for (buffer, message) in buffers.iter().zip(&messages[..received]) {
            let number: [u8; 8] = buffer[..8].try_into().expect("eight bytes");
            assert!(buffer[..message.len].chunks(8).all(|chunk| chunk == number), "torn");
            all.push(u64::from_le_bytes(number));
        }
    }
    all
}

#[test]
fn from_many_to_many_every_packet_of_every_batch_arrives_once() {
    rely_on_wakes();
    for waiting in [Waiting::default(), Waiting::Sleeping] {
        let (reader, writer) = Builder::new().slots(8).waiting(waiting).pipe().expect("a pipe");
        let writers: Vec<Writer> = (0..WRITERS).map(|_| writer.try_clone().expect("a clone")).collect();
        let readers: Vec<Reader> = (0..3).map(|_| reader.try_clone().expect("a clone")).collect();
        drop((reader, writer));
        let received: Vec<Vec<u64>> = thread::scope(|scope| {
            for (id, writer) in writers.into_iter().enumerate() {
                scope.spawn(move || {
                    for batch in 0..BATCHES {
                        let packets = numbered(id as u64, batch);
                        assert_eq!(writer.send_batch(&packets).expect("sent"), packets.len());
                    }
                });
            }
            let readers: Vec<_> = readers.into_iter().map(|reader| scope.spawn(move || all_of(&reader))).collect();
            readers.into_iter().map(|reader| reader.join().expect("a reader")).collect()
        });
        let mut seen = BTreeSet::new();
        for numbers in &received {
            for writer in 0..WRITERS {
                let of_this_one = numbers.iter().filter(|&&number| number >> 32 == writer);
                assert!(of_this_one.is_sorted(), "out of order");
            }
            assert!(numbers.iter().all(|&number| seen.insert(number)), "twice");
        }
        let sent = (0..BATCHES).map(|batch| 1 + batch % 37).sum::<u64>() * WRITERS;
        assert_eq!(seen.len() as u64, sent);
    }
}
