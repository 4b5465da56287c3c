//! Many ends at once, in threads: nothing lost, nothing twice, nothing torn, nobody asleep for ever, however they sleep.
//!
//! No sleep of theirs has a bound, so that a wake that is lost is a test that hangs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ppipe::{Builder, Reader, Waiting, Writer};
use rustix::pipe::PipeFlags;

use crate::party::Party;

fn message(writer: u64, number: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![(writer * 31 + number) as u8; len.max(16)];
    bytes[..8].copy_from_slice(&writer.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn check(bytes: &[u8]) -> (u64, u64) {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let (writer, number) = (number(0), number(8));
    assert!(bytes[16..].iter().all(|&byte| byte == (writer * 31 + number) as u8), "torn: {writer} {number}");
    (writer, number)
}

/// Sends from many to many; every reader sees every writer's messages in order, and together they see each once.
fn every_message_once(builder: &Builder, writers: u64, readers: u64, messages: u64, len: fn(u64) -> usize) {
    let (reader, writer) = builder.pipe().expect("a pipe");
    let capacity = writer.capacity();
    let clones: Vec<Writer> = (0..writers).map(|_| writer.try_clone().expect("a clone")).collect();
    let reader_clones: Vec<Reader> = (0..readers).map(|_| reader.try_clone().expect("a clone")).collect();
    drop((reader, writer));
    let received: Vec<Vec<(u64, u64)>> = thread::scope(|scope| {
        for (id, writer) in clones.into_iter().enumerate() {
            scope.spawn(move || {
                for number in 0..messages {
                    writer.send(&message(id as u64, number, len(number))).expect("sent");
                }
            });
        }
        let readers: Vec<_> = reader_clones
            .into_iter()
            .map(|reader| {
                scope.spawn(move || {
                    let mut buffer = vec![0; capacity];
                    let mut all = Vec::new();
                    loop {
                        match reader.recv(&mut buffer) {
                            Ok(message) => all.push(check(&buffer[..message.packet_len])),
                            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return all,
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().expect("a reader")).collect()
    });
    let mut seen = BTreeMap::new();
    for messages in &received {
        let mut last = BTreeMap::new();
        for &(writer, number) in messages {
            assert!(last.insert(writer, number).is_none_or(|before| before < number), "out of order");
            assert!(seen.insert((writer, number), ()).is_none(), "twice: {writer} {number}");
        }
    }
    assert_eq!(seen.len() as u64, writers * messages);
}

fn mixed(number: u64) -> usize {
    [16, 64, 300, 4096, 4097, 20_000, 65_536][number as usize % 7]
}

#[test]
fn many_to_many_every_packet_once_whole_and_in_order() {
    crate::sleep_so();
    every_message_once(&Builder::new(), 3, 3, 3000, mixed);
}

#[test]
fn a_ring_of_one_slot_serves_many_too() {
    crate::sleep_so();
    every_message_once(&Builder::new().slots(1), 3, 2, 2000, |number| [16, 100, 4096][number as usize % 3]);
}

#[test]
fn those_who_always_sleep_are_always_woken() {
    crate::sleep_so();
    every_message_once(&Builder::new().slots(2).waiting(Waiting::Sleeping), 2, 2, 3000, |_| 64);
}

#[test]
fn those_who_never_sleep_get_along_on_few_cpus() {
    crate::sleep_so();
    every_message_once(&Builder::new().slots(4).waiting(Waiting::Spinning), 2, 2, 3000, |_| 64);
}

#[test]
fn a_stream_keeps_every_byte_in_order_whatever_the_sizes() {
    crate::sleep_so();
    for slots in [1, 16] {
        let (mut reader, mut writer) = Builder::new().slots(slots).pipe().expect("a pipe");
        let total = 3_000_000;
        let byte = |n: usize| (n ^ n >> 8 ^ n >> 16) as u8;
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(1);
                let mut written = 0;
                while written < total {
                    let most = if random.bool() { 100 } else { 20_000 };
                    let len = random.usize(1..most).min(total - written);
                    let bytes: Vec<u8> = (written..written + len).map(byte).collect();
                    writer.write_all(&bytes).expect("written");
                    written += len;
                }
            });
            let mut random = fastrand::Rng::with_seed(2);
            let mut buffer = vec![0; 20_000];
            let mut read = 0;
            loop {
                let room = random.usize(1..20_000);
                let len = reader.read(&mut buffer[..room]).expect("read");
                if len == 0 {
                    break;
                }
                assert!(buffer[..len].iter().enumerate().all(|(at, &found)| found == byte(read + at)));
                read += len;
            }
            assert_eq!(read, total);
        });
    }
}

#[test]
fn writes_up_to_a_slot_are_atomic_among_many_writers() {
    crate::sleep_so();
    // Sizes that do and that do not divide a slot, and reads that end within a record.
    for record in [64, 100, 1000, 4095, 4096] {
        let (mut reader, writer) = ppipe::pipe().expect("a pipe");
        let clones: Vec<Writer> = (0..3).map(|_| writer.try_clone().expect("a clone")).collect();
        drop(writer);
        thread::scope(|scope| {
            for (id, mut writer) in clones.into_iter().enumerate() {
                scope.spawn(move || {
                    for number in 0..2000 {
                        let written = writer.write(&message(id as u64, number, record)).expect("written");
                        assert_eq!(written, record);
                    }
                });
            }
            let mut next = [0; 3];
            let mut bytes = vec![0; record];
            let mut filled = 0;
            loop {
                let most = (filled % 777 + 1).min(record - filled);
                let len = reader.read(&mut bytes[filled..filled + most]).expect("read");
                if len == 0 {
                    break;
                }
                filled += len;
                if filled == record {
                    let (writer, number) = check(&bytes);
                    assert_eq!(number, next[writer as usize], "records of {record} bytes");
                    next[writer as usize] += 1;
                    filled = 0;
                }
            }
            assert_eq!((next, filled), ([2000; 3], 0), "records of {record} bytes");
        });
    }
}

#[test]
fn bytes_of_one_read_lie_together_in_the_stream_whoever_else_reads() {
    crate::sleep_so();
    // The stream counts itself, in words of 8 bytes; all is written and read in whole words.
    const WORDS: u64 = 200_000;
    let (reader, mut writer) = ppipe::pipe().expect("a pipe");
    let readers: Vec<Reader> = (0..3).map(|_| reader.try_clone().expect("a clone")).collect();
    drop(reader);
    let mut all: Vec<u64> = thread::scope(|scope| {
        scope.spawn(move || {
            let mut next = 0;
            while next < WORDS {
                let words = (next % 700 + 1).min(WORDS - next);
                let bytes: Vec<u8> = (next..next + words).flat_map(u64::to_le_bytes).collect();
                writer.write_all(&bytes).expect("written");
                next += words;
            }
        });
        let reading = readers.into_iter().zip([800, 8000, 24_000]).map(|(mut reader, room)| {
            scope.spawn(move || {
                let (mut all, mut bytes) = (Vec::new(), vec![0; room]);
                loop {
                    let len = reader.read(&mut bytes).expect("read");
                    if len == 0 {
                        return all;
                    }
                    let words =
                        bytes[..len].chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("8")));
                    let words: Vec<u64> = words.collect();
                    assert!(words.windows(2).all(|pair| pair[0] + 1 == pair[1]), "a read with a gap in it");
                    all.extend(words);
                }
            })
        });
        let reading: Vec<_> = reading.collect();
        reading.into_iter().flat_map(|reader| reader.join().expect("a reader")).collect()
    });
    all.sort_unstable();
    assert!(all.into_iter().eq(0..WORDS), "words lost or read twice");
}

#[test]
fn tokens_in_a_one_slot_pipe_never_strand_a_writer() {
    crate::sleep_so();
    // A job server's tokens: a writer that waited for room has to merge when somebody else was faster.
    let (reader, mut writer) = Builder::new().slots(1).pipe().expect("a pipe");
    writer.write_all(b"++").expect("tokens");
    let mut left = Vec::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..6)
            .map(|_| {
                let (mut reader, mut writer) =
                    (reader.try_clone().expect("a clone"), writer.try_clone().expect("a clone"));
                scope.spawn(move || {
                    let mut token = [0];
                    for _ in 0..3000 {
                        reader.read_exact(&mut token).expect("a token");
                        writer.write_all(&token).expect("given back");
                    }
                })
            })
            .collect();
        // The last worker may stand before a slot that is written to its end and not read to it, alone: as with the kernel,
        // only a reader helps there. So this thread reads too, and never waits with a token in its hand.
        let mut held = Vec::new();
        while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
            let mut token = [0];
            if reader.read_timeout(&mut token, Duration::ZERO).is_ok() {
                held.push(token[0]);
            }
            if held.last().is_some_and(|&token| writer.write_timeout(&[token], Duration::ZERO).is_ok()) {
                held.pop();
            }
            thread::yield_now();
        }
        left = held;
    });
    drop(writer);
    (&reader).read_to_end(&mut left).expect("the tokens");
    assert_eq!(left, b"++");
}

#[test]
fn one_slot_that_is_written_to_its_end_takes_nothing_before_it_is_read_to_its_end_as_in_the_kernel() {
    crate::sleep_so();
    let (reader, mut writer) = Builder::new().slots(1).nonblocking(true).pipe().expect("a pipe");
    let (kernel_reader, kernel_writer) = rustix::pipe::pipe_with(PipeFlags::NONBLOCK).expect("a pipe");
    rustix::pipe::fcntl_setpipe_size(&kernel_writer, writer.capacity()).expect("one page");
    let (mut kernel_reader, mut kernel_writer) = (File::from(kernel_reader), File::from(kernel_writer));
    let passes = passes_of_two_tokens(&mut &reader, &mut writer);
    assert_eq!(passes, passes_of_two_tokens(&mut kernel_reader, &mut kernel_writer));
    assert_eq!(passes, writer.capacity() - 2);
}

/// How often one alone can take one of two tokens and give it back.
fn passes_of_two_tokens(reader: &mut impl Read, writer: &mut impl Write) -> usize {
    writer.write_all(b"++").expect("tokens");
    let mut passes = 0;
    loop {
        reader.read_exact(&mut [0]).expect("a token");
        match writer.write(b"+") {
            Ok(1) => passes += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return passes,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_last_one_out_wakes_all_who_sleep() {
    crate::sleep_so();
    let builder = Builder::new().slots(1).waiting(Waiting::Sleeping);
    let parties: [Party; 5] = Default::default();
    let (reader, writer) = builder.pipe().expect("a pipe");
    thread::scope(|scope| {
        for party in &parties {
            let mut reader = reader.try_clone().expect("a clone");
            scope.spawn(move || assert_eq!(party.act(|| reader.read(&mut [0])).expect("end of file"), 0));
        }
        parties.iter().for_each(|party| party.wait_until_blocked(|| true));
        drop(writer);
    });
    let parties: [Party; 5] = Default::default();
    let (reader, mut writer) = builder.pipe().expect("a pipe");
    writer.write_all(&[0; 4096]).expect("room");
    thread::scope(|scope| {
        for party in &parties {
            let mut writer = writer.try_clone().expect("a clone");
            scope.spawn(move || {
                let error = party.act(|| writer.write(b"x")).expect_err("broken");
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            });
        }
        parties.iter().for_each(|party| party.wait_until_blocked(|| true));
        drop(reader);
    });
}

#[test]
fn polling_readers_miss_nothing_while_writers_come_and_go() {
    crate::sleep_so();
    let (reader, writer) = Builder::new().nonblocking(true).pipe().expect("a pipe");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let done = &done;
        scope.spawn(move || {
            for number in 0..2000_u64 {
                let clone = writer.try_clone().expect("a clone");
                while clone.try_send(&number.to_le_bytes()).is_err() {
                    thread::yield_now();
                }
            }
            done.store(true, Ordering::Release);
            drop(writer);
        });
        let mut next = 0;
        let mut buffer = [0; 8];
        loop {
            match reader.try_recv(&mut buffer) {
                Ok(_) => {
                    assert_eq!(u64::from_le_bytes(buffer), next);
                    next += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
                    assert!(done.load(Ordering::Acquire), "end of file while a writer lives");
                    break;
                }
            }
        }
        assert_eq!(next, 2000);
    });
}
