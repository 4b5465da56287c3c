//! What the descriptor of an end shows when others are killed or stopped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Instant;

use fastrand::Rng;
use ppipe::{Builder, Reader, Writer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

mod again;
mod party;

use again::{Ward, command, role};
use party::WATCHDOG;

const END: &str = "PPIPE_TEST_END";

#[test]
fn child_process() {
    let Some(role) = role() else { return };
    match role.as_str() {
        "writes" => stay_with(Writer::inherited(END).expect("an end")),
        "reads" => stay_with(Reader::inherited(END).expect("an end")),
        "sends" => {
            let writer = Writer::inherited(END).expect("an end");
            while writer.send(b"numbers").is_ok() {}
        }
        _ => panic!("no such part: {role}"),
    }
}

/// Until killed. Says before that it is there.
fn stay_with<T>(_end: T) {
    println!("here");
    loop {
        thread::park();
    }
}

fn shown(fd: BorrowedFd<'_>) -> PollFlags {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::IN | PollFlags::OUT)];
    poll(&mut polled, Some(&Timespec::default())).expect("poll works");
    polled[0].revents()
}

/// Returns when `fd` shows one of `flags`, which it does sooner or later.
fn wait_for(fd: BorrowedFd<'_>, flags: PollFlags) -> PollFlags {
    let mut polled = [PollFd::from_borrowed_fd(fd, flags)];
    let limit = Timespec { tv_sec: WATCHDOG.as_secs() as i64, tv_nsec: 0 };
    assert_eq!(poll(&mut polled, Some(&limit)), Ok(1), "it never shows {flags:?}");
    polled[0].revents()
}

/// Returns when the thread that watches sleeps without a bound: whatever it looks at by the clock has been seen, and what comes now is shown
/// because somebody tells it.
fn wait_until_the_watcher_rests() {
    let start = Instant::now();
    while !watchers_call().is_some_and(|call| is_unbounded_wait(&call)) {
        assert!(start.elapsed() < WATCHDOG, "it never rests");
        thread::yield_now();
    }
}

/// The system call in which it is: number and arguments.
fn watchers_call() -> Option<Vec<u64>> {
    let mut tasks = fs::read_dir("/proc/self/task").expect("threads").map(|task| task.expect("a thread").path());
    let watcher =
        tasks.find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "ppipe-watcher"))?;
    let call = fs::read_to_string(watcher.join("syscall")).ok()?;
    let words = call.split_whitespace().map(|word| match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    });
    words.collect::<Result<_, _>>().ok()
}

/// Whether it is one of the waits of `epoll`, without a time limit.
fn is_unbounded_wait(call: &[u64]) -> bool {
    let number = |number: i64| call.first().is_some_and(|&is| is as i64 == number);
    match call.get(4) {
        Some(&limit) if number(nix::libc::SYS_epoll_pwait2) => limit == 0,
        Some(&limit) if number(nix::libc::SYS_epoll_pwait) => limit as i32 == -1,
        _ => false,
    }
}

#[test]
fn the_death_of_the_last_one_of_a_side_is_shown_until_another_one_comes() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let fd = reader.poll_fd().expect("one");
    assert_eq!(shown(fd), PollFlags::empty());
    let mut writes = again_with(|command| writer.hand_to(command, END), "writes");
    assert_eq!(shown(fd), PollFlags::empty());
    writes.kill();
    assert_eq!(wait_for(fd, PollFlags::IN), PollFlags::HUP);
    wait_until_the_watcher_rests();
    let another = reader.reopen_writer(true).expect("an entry");
    let start = Instant::now();
    while shown(fd) != PollFlags::empty() {
        assert!(start.elapsed() < WATCHDOG, "it shows for ever that nobody is there");
        thread::yield_now();
    }
    drop(another);

    // Also of one that shows already that there is something.
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let fd = reader.poll_fd().expect("one");
    writer.send(b"unread").expect("room");
    wait_for(fd, PollFlags::IN);
    let mut writes = again_with(|command| writer.hand_to(command, END), "writes");
    writes.kill();
    assert_eq!(wait_for(fd, PollFlags::empty()), PollFlags::HUP);
    assert_eq!(shown(fd), PollFlags::IN | PollFlags::HUP);

    let (reader, writer) = Builder::new().slots(1).pipe().expect("a pipe");
    writer.send(b"full").expect("room");
    let fd = writer.poll_fd().expect("one");
    assert_eq!(shown(fd), PollFlags::empty());
    let mut reads = again_with(|command| reader.hand_to(command, END), "reads");
    reads.kill();
    assert_eq!(wait_for(fd, PollFlags::OUT), PollFlags::ERR);
}

/// A child that has its end, and does nothing any more.
fn again_with(hand_over: impl FnOnce(&mut std::process::Command), role: &str) -> Ward {
    let mut command = command(role);
    hand_over(&mut command);
    let (mut output, write_end) = std::io::pipe().expect("a pipe of the kernel");
    command.stdout(write_end);
    let child = Ward::start(command);
    assert!(BufReader::new(&mut output).lines().any(|line| line.is_ok_and(|line| line.ends_with("here"))));
    child
}

#[test]
fn a_writer_stopped_in_the_midst_of_sending_takes_no_news_from_one_who_polls() {
    let (reader, writer) = Builder::new().slots(4).nonblocking(true).pipe().expect("a pipe");
    let other = writer.try_clone().expect("an entry");
    let mut sends = command("sends");
    writer.set_nonblocking(false);
    writer.hand_to(&mut sends, END);
    let child = Ward::start(sends);
    let fd = reader.poll_fd().expect("one");
    let mut rng = Rng::with_seed(1);
    for round in 0..200 {
        wait_for(fd, PollFlags::IN);
        for _ in 0..rng.u32(1..50) {
            let _ = reader.try_recv(&mut [0; 8]);
        }
        child.stop();
        // What it has sent is taken out; then what another one sends is shown, wherever it was stopped.
        while reader.try_recv(&mut [0; 8]).is_ok() {}
        other.try_send(b"from the other").unwrap_or_else(|error| panic!("round {round}: {error}"));
        wait_for(fd, PollFlags::IN);
        child.signal(Signal::CONT);
    }
}
