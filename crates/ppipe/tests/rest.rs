//! Who waits for long uses no CPU at all, and is woken all the same.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use ppipe::{Builder, PollEnd, Reader, Readiness, Writer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

mod name;
mod party;

use name::Name;
use party::{Party, WATCHDOG};

/// In this time one whose sleeps are bounded wakes up five times.
const FIVE_SLEEPS: Duration = Duration::from_millis(250);

/// Returns when `party` has come to rest: it does not run any more, however long one looks.
fn wait_until_at_rest(party: &Party) {
    let start = Instant::now();
    party.wait_until_blocked(|| true);
    let mut before = switches(party);
    loop {
        thread::sleep(FIVE_SLEEPS);
        let now = switches(party);
        if now == before && party.is_asleep() {
            return;
        }
        before = now;
        assert!(start.elapsed() < WATCHDOG, "it never comes to rest");
    }
}

/// How often the thread has gone to sleep.
fn switches(party: &Party) -> u64 {
    switches_in(Path::new(&format!("/proc/self/task/{}/status", party.thread())))
}

fn switches_in(status: &Path) -> u64 {
    let status = fs::read_to_string(status).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("a count");
    line.trim().parse().expect("a number")
}

/// Lets somebody wait until he is at rest, ends his waiting, and returns what he has got.
fn rests_until<T: Send>(wait: impl FnOnce() -> T + Send, end: impl FnOnce()) -> T {
    let party = Arc::new(Party::default());
    let waiting = Arc::clone(&party);
    thread::scope(|scope| {
        let thread: ScopedJoinHandle<'_, T> = scope.spawn(move || waiting.act(wait));
        wait_until_at_rest(&party);
        end();
        thread.join().expect("it ends")
    })
}

#[test]
fn a_reader_of_an_empty_pipe_rests_until_something_is_sent() {
    let (mut reader, writer) = ppipe::pipe().expect("a pipe");
    for _ in 0..2 {
        let mut buffer = [0; 8];
        let read = rests_until(|| reader.read(&mut buffer).expect("a packet"), || writer.send(b"awake").expect("room"));
        assert_eq!(&buffer[..read], b"awake");
    }
}

#[test]
fn a_reader_of_an_empty_pipe_rests_until_the_last_writer_leaves() {
    let (mut reader, writer) = ppipe::pipe().expect("a pipe");
    let other = writer.try_clone().expect("a clone");
    drop(writer);
    assert_eq!(rests_until(|| reader.read(&mut [0; 8]).expect("end of file"), || drop(other)), 0);
}

#[test]
fn a_writer_to_a_full_pipe_rests_until_something_is_read() {
    let (mut reader, mut writer) = Builder::new().slots(2).pipe().expect("a pipe");
    writer.write_all(&[1; 2 * 4096]).expect("room");
    let written = rests_until(
        || writer.write(&[2; 4096]).expect("a reader"),
        || reader.read_exact(&mut [0; 4096]).expect("bytes"),
    );
    assert_eq!(written, 4096);
}

#[test]
fn a_writer_to_a_full_pipe_rests_until_the_last_reader_leaves() {
    let (reader, mut writer) = Builder::new().slots(1).pipe().expect("a pipe");
    writer.write_all(&[1; 4096]).expect("room");
    let error = rests_until(|| writer.write(b"y").expect_err("nobody reads"), || drop(reader));
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn who_polls_several_ends_rests_until_one_of_them_is_ready() {
    let ((one, _quiet), (other, writer)) = (ppipe::pipe().expect("a pipe"), ppipe::pipe().expect("a pipe"));
    let polled = move || {
        let mut ends = [&one, &other].map(|reader| PollEnd::reader(reader, Readiness::READABLE));
        assert_eq!(ppipe::poll(&mut ends, None).expect("an answer"), 1);
        ends.map(|end| end.ready())
    };
    let ready = rests_until(polled, || writer.send(b"news").expect("room"));
    assert_eq!(ready, [Readiness::empty(), Readiness::READABLE]);
}

#[test]
fn who_opens_a_reading_end_rests_until_a_writer_comes() {
    let name = Name::new("reader-rests");
    let mut writer = None;
    let mut reader = rests_until(
        || Reader::open(&name.0).expect("a reader"),
        || writer = Some(Writer::open(&name.0).expect("a writer")),
    );
    drop(writer);
    assert_eq!(reader.read(&mut [0; 8]).expect("end of file"), 0);
}

#[test]
fn who_opens_a_reading_end_rests_though_somebody_has_gone_whom_it_has_not_met() {
    let name = Name::new("hung-up");
    let _keeper = Builder::new().nonblocking(true).open_reader(&name.0).expect("a reader");
    // Bells of a writer that has left or died, and that the kernel has not closed yet.
    let bell = File::options().read(true).write(true).open(name.path().join("readable")).expect("a bell");
    let party = Party::default();
    thread::scope(|scope| {
        let thread = scope.spawn(|| party.act(|| Reader::open(&name.0).expect("a reader")));
        party.wait_until_blocked(|| true);
        // From now on the kernel shows a hang-up to whoever opened it before.
        drop(bell);
        wait_until_at_rest(&party);
        let _writer = Writer::open(&name.0).expect("a writer");
        thread.join().expect("it opens");
    });
}

#[test]
fn who_opens_a_writing_end_rests_until_a_reader_comes() {
    let name = Name::new("writer-rests");
    let mut reader = None;
    let writer = rests_until(
        || Writer::open(&name.0).expect("a writer"),
        || reader = Some(Reader::open(&name.0).expect("a reader")),
    );
    drop(reader);
    assert!(writer.send(b"x").is_err());
}

#[test]
fn who_waits_with_a_limit_rests_no_longer_than_that() {
    let limit = Duration::from_millis(1500);
    let is_over_then = |wait: &dyn Fn() -> std::io::Error| {
        let start = Instant::now();
        assert_eq!(wait().kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= limit);
    };
    let (reader, writer) = Builder::new().slots(1).pipe().expect("a pipe");
    is_over_then(&|| reader.recv_timeout(&mut [0; 8], limit).expect_err("nothing comes"));
    writer.send(b"x").expect("room");
    is_over_then(&|| writer.send_timeout(b"y", limit).expect_err("it is full"));
    let name = Name::new("rests-for-a-time");
    let builder = Builder::new().open_timeout(limit);
    is_over_then(&|| builder.open_reader(&name.0).expect_err("nobody writes"));
    is_over_then(&|| builder.open_writer(&name.0).expect_err("nobody reads"));
}

#[test]
fn what_is_polled_and_idle_uses_no_cpu() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let fd = reader.poll_fd().expect("one");
    writer.send(b"news").expect("room");
    wait_for_input(fd);
    reader.recv(&mut [0; 8]).expect("a packet");
    let start = Instant::now();
    let mut before = switches_of_watcher();
    loop {
        thread::sleep(FIVE_SLEEPS);
        let now = switches_of_watcher();
        if now == before {
            break;
        }
        before = now;
        assert!(start.elapsed() < WATCHDOG, "it never comes to rest");
    }
    writer.send(b"news").expect("room");
    wait_for_input(fd);
}

fn wait_for_input(fd: BorrowedFd<'_>) {
    let limit = Timespec { tv_sec: WATCHDOG.as_secs() as i64, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&limit)), Ok(1), "it is never shown");
}

/// How often the threads that keep descriptors up to date have gone to sleep.
fn switches_of_watcher() -> Vec<u64> {
    let tasks = fs::read_dir("/proc/self/task").expect("threads");
    let of_watcher = tasks
        .flatten()
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "ppipe-watcher"));
    let counts = of_watcher.map(|task| switches_in(&task.path().join("status")));
    let counts: Vec<u64> = counts.collect();
    assert_eq!(counts.len(), 1, "one for the whole process");
    counts
}
