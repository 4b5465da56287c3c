//! Threads that come with ends of their own and leave while others are in calls: nothing is lost, nothing comes twice, and nobody sleeps for ever.
//!
//! No sleep here has a bound, so that a wake that left with somebody is a test that hangs. (An end is one thread's in Rust, and the compiler sees to
//! that. Handles of the C library are for several threads at once: `crates/ppipe-capi/c/threads.c`.)

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::{Mutex, PoisonError};
use std::thread;

use ppipe::{Builder, Reader, Waiting, Writer};

const THREADS: u64 = 8;
const STAYS: u64 = 60;
const MOST_IN_A_STAY: u64 = 5;

/// Where threads get ends from.
struct Source<E>(Mutex<Option<E>>);

impl<E> Source<E> {
    fn new(end: E) -> Self {
        Self(Mutex::new(Some(end)))
    }

    /// One of the same side, as long as there is any.
    fn get(&self, clone: impl FnOnce(&E) -> E) -> Option<E> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(clone)
    }

    fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Each in some stays, each with an end of its own; all that was sent.
fn come_send_and_leave(source: &Source<Writer>, thread: u64) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(thread);
    let mut sent = Vec::new();
    for stay in 0..STAYS {
        let mut writer = source.get(|writer| writer.try_clone().expect("an entry")).expect("it is open");
        writer.set_waiting(waiting(&mut random));
        for number in 0..random.u64(0..=MOST_IN_A_STAY) {
            let message = (thread * STAYS + stay) * MOST_IN_A_STAY + number;
            writer.send(&message.to_le_bytes()).expect("somebody reads");
            sent.push(message);
        }
    }
    sent
}

/// In as many stays as it takes until nothing more comes; all that came.
fn come_receive_and_leave(source: &Source<Reader>, thread: u64) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(!thread);
    let mut received = Vec::new();
    loop {
        let mut reader = source.get(|reader| reader.try_clone().expect("an entry")).expect("it is open");
        reader.set_waiting(waiting(&mut random));
        for _ in 0..random.u64(0..=MOST_IN_A_STAY) {
            let mut message = [0; 8];
            match reader.recv(&mut message) {
                Ok(_) => received.push(u64::from_le_bytes(message)),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return received,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn waiting(random: &mut fastrand::Rng) -> Waiting {
    if random.bool() { Waiting::Sleeping } else { Waiting::Adaptive }
}

#[test]
fn what_threads_send_and_receive_that_come_and_leave_while_others_wait_arrives_once() {
    shm_ring::rely_on_wakes();
    for slots in [1, 16] {
        let most = THREADS as u32 + 2;
        let (reader, writer) = Builder::new().slots(slots).max_readers(most).max_writers(most).pipe().expect("a pipe");
        let (readers, writers) = (&Source::new(reader), &Source::new(writer));
        let (sent, received) = thread::scope(|scope| {
            let senders: Vec<_> =
                (0..THREADS).map(|thread| scope.spawn(move || come_send_and_leave(writers, thread))).collect();
            let receivers: Vec<_> =
                (0..THREADS).map(|thread| scope.spawn(move || come_receive_and_leave(readers, thread))).collect();
            let all = |threads: Vec<thread::ScopedJoinHandle<'_, Vec<u64>>>| -> Vec<u64> {
                threads.into_iter().flat_map(|thread| thread.join().expect("it returns")).collect()
            };
            let sent = all(senders);
            // Those who receive sleep now, or will.
            writers.close();
            (sent, all(receivers))
        });
        assert!(sent.len() > 100, "{}", sent.len());
        assert_eq!(received.len(), sent.len(), "with {slots} slots");
        assert_eq!(received.into_iter().collect::<BTreeSet<_>>(), sent.into_iter().collect(), "with {slots} slots");
        let reader = readers.get(|reader| reader.try_clone().expect("an entry")).expect("it is open");
        let audit = reader.audit().expect("the accounts");
        assert!(audit.is_sound() && audit.is_steady && audit.held().count() == 2, "{audit}");
    }
}
