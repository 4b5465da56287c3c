//! Ends that fail, forget or leave at a bad moment cost the others nothing.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::thread;

use ppipe::{Builder, Excess, Waiting};
use rustix::io::Errno;
use shm_ring::rely_on_wakes;

mod party;

use party::{Party, WATCHDOG};

const SLOT: usize = 4096;

#[test]
fn a_receiver_never_gets_a_part_of_a_packet_as_stream_bytes() {
    rely_on_wakes();
    // Stream bytes and packets by turns; two readers take them from under each other's eyes.
    let (reader, mut writer) = Builder::new().pipe().expect("a pipe");
    let readers = [reader.try_clone().expect("a clone"), reader];
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..40_000 {
                writer.write_all(&[1; 20]).expect("room");
                writer.send(&[2; 200]).expect("room");
            }
        });
        for reader in readers {
            scope.spawn(move || {
                let mut buffer = [0; 100];
                loop {
                    match reader.recv_with(&mut buffer, Excess::Keep) {
                        Ok(message) => {
                            let expected = if message.is_stream { 1 } else { 2 };
                            assert!(buffer[..message.len].iter().all(|&byte| byte == expected), "{message:?}");
                        }
                        Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
}

#[test]
fn forgotten_loans_leave_extents_to_nobody() {
    rely_on_wakes();
    let (mut reader, mut writer) =
        Builder::new().nonblocking(true).max_writers(2).max_readers(1).pipe().expect("a pipe");
    let other = writer.try_clone().expect("a clone");
    let mut buffer = vec![0; 2 * SLOT];
    for _ in 0..50 {
        std::mem::forget(writer.reserve(2 * SLOT).expect("an extent"));
        writer.send(b"small").expect("room");
        writer.send(&[1; 2 * SLOT]).expect("room and an extent");
        assert_eq!(reader.recv(&mut buffer).expect("a packet").len, 5);
        std::mem::forget(reader.recv_loan().expect("a packet"));
        other.send(&[2; 2 * SLOT]).expect("room and an extent");
        assert_eq!(reader.recv(&mut buffer).expect("a packet").len, 2 * SLOT);
    }
}

#[test]
fn a_woken_reader_that_refuses_leaves_the_packet_to_the_next_one() {
    rely_on_wakes();
    let (reader, writer) = Builder::new().waiting(Waiting::Sleeping).pipe().expect("a pipe");
    for _ in 0..50 {
        let (refusing, taking) = (reader.try_clone().expect("a clone"), reader.try_clone().expect("a clone"));
        let (first, second) = (Party::default(), Party::default());
        thread::scope(|scope| {
            let (first, second) = (&first, &second);
            let refusing = scope.spawn(move || {
                let refused = first.act(|| refusing.recv_with(&mut [0; 1], Excess::Refuse));
                assert_eq!(refused.expect_err("too small").raw_os_error(), Some(Errno::MSGSIZE.raw_os_error()));
            });
            first.wait_until_blocked(|| true);
            let taking =
                scope.spawn(move || second.act(|| taking.recv_timeout(&mut [0; 100], WATCHDOG)).expect("a packet"));
            second.wait_until_blocked(|| true);
            // Who has slept longest is woken.
            writer.send(&[0; 100]).expect("room");
            refusing.join().expect("the refuser");
            assert_eq!(taking.join().expect("the taker").len, 100);
        });
    }
}

#[test]
fn a_woken_writer_leaves_the_room_behind_its_bytes_to_the_next_one() {
    rely_on_wakes();
    let builder = Builder::new().slots(1).waiting(Waiting::Sleeping);
    for _ in 0..50 {
        let (mut reader, mut writer) = builder.pipe().expect("a pipe");
        writer.write_all(&[0; SLOT]).expect("room");
        thread::scope(|scope| {
            let writers = [1, 2].map(|byte| {
                let (mut writer, party) = (writer.try_clone().expect("a clone"), Party::default());
                let party = Arc::new(party);
                let sleeper = Arc::clone(&party);
                let thread = scope.spawn(move || sleeper.act(|| writer.write_all(&[byte; 10])).expect("a reader"));
                party.wait_until_blocked(|| true);
                thread
            });
            // One slot is empty now, and one of them is woken. The other one's bytes go into the same slot.
            assert_eq!(reader.read(&mut [1; SLOT]).expect("bytes"), SLOT);
            writers.into_iter().for_each(|writer| writer.join().expect("it has written"));
            assert_eq!(reader.read(&mut [1; SLOT]).expect("bytes"), 20);
        });
    }
}

#[test]
fn a_writer_that_is_woken_for_nothing_leaves_what_room_there_is_to_the_next_one() {
    rely_on_wakes();
    let builder = Builder::new().slots(1).waiting(Waiting::Sleeping);
    let (mut rounds, mut chains) = (0, 0);
    while chains < 20 {
        rounds += 1;
        assert!(rounds < 10_000, "somebody else was quicker in only {chains} rounds");
        let (mut reader, mut writer) = builder.pipe().expect("a pipe");
        writer.write_all(&[0; SLOT]).expect("room");
        writer.set_nonblocking(true);
        let (large, small) = (writer.try_clone().expect("a clone"), writer.try_clone().expect("a clone"));
        thread::scope(|scope| {
            // Who has slept longest is woken first, and needs a slot of its own.
            let sleepers = [(large, SLOT), (small, 10)].map(|(writer, len)| {
                let party = Arc::new(Party::default());
                let sleeper = Arc::clone(&party);
                let bytes = vec![len as u8; len];
                let thread = scope.spawn(move || {
                    sleeper.act(|| writer.write_timeout(&bytes, 4 * WATCHDOG)).expect("a reader");
                });
                party.wait_until_blocked(|| true);
                thread
            });
            assert_eq!(reader.read(&mut [1; SLOT]).expect("bytes"), SLOT);
            // Quicker than who was woken, mostly.
            let was_quicker = writer.write(&[3; 100]).is_ok_and(|len| len == 100);
            let [large, small] = sleepers;
            if was_quicker {
                chains += 1;
                small.join().expect("it has merged its bytes");
            }
            // Whoever is left gets on when everything is read.
            let mut left = 100 * usize::from(was_quicker) + SLOT + 10;
            while left > 0 {
                left -= reader.read(&mut [1; SLOT]).expect("bytes");
            }
            large.join().expect("it has written");
        });
    }
}

#[test]
fn writers_that_wait_for_room_and_for_extents_do_not_sleep_on_each_others_wakes() {
    rely_on_wakes();
    let (reader, writer) =
        Builder::new().slots(2).max_writers(3).max_readers(1).waiting(Waiting::Sleeping).pipe().expect("a pipe");
    let (small, large) = (writer.try_clone().expect("a clone"), writer.try_clone().expect("a clone"));
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..2000 {
                small.send(&[1; 10]).expect("sent");
            }
        });
        scope.spawn(move || {
            for _ in 0..2000 {
                large.send(&[2; SLOT + 10]).expect("sent");
            }
        });
        drop(writer);
        let mut buffer = [0; 2 * SLOT];
        let mut count = [0; 3];
        while let Ok(message) = reader.recv_timeout(&mut buffer, WATCHDOG) {
            assert_eq!(message.len, if buffer[0] == 1 { 10 } else { SLOT + 10 });
            count[buffer[0] as usize] += 1;
        }
        assert_eq!(count, [0, 2000, 2000]);
    });
}
