//! Ends that fail, forget or leave at a bad moment cost the others nothing.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Duration;

use ppipe::{Builder, Excess, Waiting};
use rustix::io::Errno;

const SLOT: usize = 4096;
/// Far above the longest sleep; only a wake that never comes takes so long.
const WATCHDOG: Duration = Duration::from_secs(20);

#[test]
fn a_receiver_never_gets_a_part_of_a_packet_as_stream_bytes() {
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
    let (reader, writer) = Builder::new().waiting(Waiting::Sleeping).pipe().expect("a pipe");
    for _ in 0..50 {
        let (refusing, taking) = (reader.try_clone().expect("a clone"), reader.try_clone().expect("a clone"));
        thread::scope(|scope| {
            let refusing = scope.spawn(move || {
                let refused = refusing.recv_with(&mut [0; 1], Excess::Refuse);
                assert_eq!(refused.expect_err("too small").raw_os_error(), Some(Errno::MSGSIZE.raw_os_error()));
            });
            let taking = scope.spawn(move || taking.recv_timeout(&mut [0; 100], WATCHDOG).expect("a packet"));
            writer.send(&[0; 100]).expect("room");
            assert_eq!(taking.join().expect("the taker").len, 100);
            // The refuser may have come too late for that one.
            writer.send(&[0; 100]).expect("room");
            refusing.join().expect("the refuser");
        });
        assert_eq!(reader.recv(&mut [0; 100]).expect("what was refused").len, 100);
    }
}

#[test]
fn writers_that_wait_for_room_and_for_extents_do_not_sleep_on_each_others_wakes() {
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
