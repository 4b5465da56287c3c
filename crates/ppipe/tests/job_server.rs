//! GNU make's job server: a pool of tokens of one byte in a pipe. Whoever wants to work takes one by a read, and gives it back by a
//! write. On a kernel pipe and on ours, with processes that come to it by name, some of which wait and some of which ask again.
//!
//! ```text
//!           ┌───────── write: one byte ─────────┐
//!           v                                   │
//!   [ A B C ... ] ── read: one byte ──> 8 processes, more than there are tokens
//!           │
//!           └── as processes have done their part, the parent takes tokens home, so that there are never more than processes
//! ```
//!
//! # Why a pipe of one slot does not hang
//! A slot that is written to its end takes nothing before it is read to its end. So all would be over if everybody stood before it with
//! a token in his hand, and nobody were left to read. As long as there are at least as many processes as tokens that cannot be: of
//! the tokens one at least lies in the slot, so that of the processes one at least has none, and reads. (One of them that waits for
//! room cannot merge on a kernel pipe; it writes when the slot is empty, to which it comes in the same way.) The last processes
//! would be fewer than the tokens, and there the parent is the reader that they need.
//!
//! A pipe of 16 slots is never full of so few tokens.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use shm_ring::rely_on_wakes;

mod again;
mod both;
mod name;

use again::{Complaints, Ward, command, role};
use both::{BOTH, Opening, System, system};

const PROCESSES: u8 = 8;
/// Of each of our pipes, by all processes together.
const TAKES: usize = 1_000_000;
/// Of each of the kernel's, and of those with a single token.
const FEWER_TAKES: usize = 125_000;
/// A run takes some seconds; what takes so long hangs.
const WATCHDOG: Duration = Duration::from_secs(600);

const WHOSE: &str = "PPIPE_TEST_WHOSE";
const NAME: &str = "PPIPE_TEST_NAME";
const SLOTS: &str = "PPIPE_TEST_SLOTS";
const WORKER: &str = "PPIPE_TEST_WORKER";
const EACH: &str = "PPIPE_TEST_EACH";

/// What all processes see: who holds which token, and who has done his part. A byte for each, in a file.
struct Board(File);

const NOBODY: u8 = 0;
/// Workers have the numbers above.
const PARENT: u8 = 0;
/// Where the bytes of those who have done their part begin, behind those of the tokens.
const DONE: u8 = 128;

impl Board {
    fn new() -> Self {
        let file = File::from(memfd_create("board", MemfdFlags::CLOEXEC).expect("memory"));
        file.set_len(256).expect("memory");
        Self(file)
    }

    fn read(&self, place: u8) -> u8 {
        let mut byte = [0];
        self.0.read_exact_at(&mut byte, place.into()).expect("a byte");
        byte[0]
    }

    fn write(&self, place: u8, byte: u8) {
        self.0.write_all_at(&[byte], place.into()).expect("a byte");
    }

    /// `worker` has it from now on. Two who take one token at the same moment can both be let in; then they see it when they give
    /// it back.
    fn take(&self, token: u8, worker: u8) -> Result<(), String> {
        self.change(token, NOBODY, worker)
    }

    fn give_back(&self, token: u8, worker: u8) -> Result<(), String> {
        self.change(token, worker, NOBODY)
    }

    fn change(&self, token: u8, from: u8, to: u8) -> Result<(), String> {
        let holder = self.read(token);
        if holder != from {
            return Err(format!("token {token} is held by {holder} and not by {from}"));
        }
        self.write(token, to);
        Ok(())
    }

    fn has_done(&self, process: u8) -> bool {
        self.read(DONE + process) != 0
    }

    fn set_done(&self, process: u8) {
        self.write(DONE + process, 1);
    }
}

/// What became of the tokens of `pool`.
fn judge(pool: &[u8], home: &[u8]) -> Result<(), String> {
    let count = |tokens: &[u8], token| tokens.iter().filter(|&&other| other == token).count();
    let is_wrong = |&token: &u8| count(pool, token) != count(home, token);
    match (0..=u8::MAX).find(is_wrong) {
        Some(token) => Err(format!("token {token}: {} of {}", count(home, token), count(pool, token))),
        None => Ok(()),
    }
}

#[test]
fn child_process() {
    if role().is_none() {
        return;
    }
    let variable = |name: &str| std::env::var(name).expect("a variable");
    let number = |name: &str| variable(name).parse::<usize>().expect("a number");
    // Nobody dies here: a wake that is lost is a hang.
    rely_on_wakes();
    let board = Board(io::stdin().as_fd().try_clone_to_owned().expect("a descriptor").into());
    work(system(&variable(WHOSE)), &variable(NAME), number(SLOTS), number(WORKER) as u8, number(EACH), &board);
}

/// Takes a token and gives it back, `each` times.
fn work(system: &dyn System, name: &str, slots: usize, worker: u8, each: usize, board: &Board) {
    let opening = if worker.is_multiple_of(2) { Opening::Nonblocking } else { Opening::Waits };
    let mut reader = system.open_reader(name, slots, opening).expect("the pool");
    let mut writer = system.open_writer(name, slots, opening).expect("the pool");
    let mut random = fastrand::Rng::with_seed(worker.into());
    for _ in 0..each {
        let mut token = [0];
        in_the_end(opening, || reader.read(&mut token));
        board.take(token[0], worker).expect("nobody else has it");
        (0..random.u32(..200)).for_each(|_| std::hint::spin_loop());
        board.give_back(token[0], worker).expect("nobody else has got it");
        in_the_end(opening, || writer.write(&token));
    }
    // Nobody leaves before all have done their part: who leaves wakes everybody, and a wake that was lost would not be seen.
    board.set_done(worker);
    while !board.has_done(PARENT) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Moves one byte, however often it has to be asked for.
fn in_the_end(opening: Opening, mut moving: impl FnMut() -> io::Result<usize>) {
    loop {
        match moving() {
            Ok(len) => return assert_eq!(len, 1, "the pool is open as long as there are workers"),
            Err(error) if error.kind() == ErrorKind::WouldBlock && opening == Opening::Nonblocking => {
                thread::yield_now()
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Lets all processes work with a pool of `tokens` in a pipe of `slots`.
fn serve(system: &dyn System, slots: usize, tokens: usize, takes: usize) {
    let what = format!("{}, {slots} slots, {tokens} tokens", system.whose());
    let name = system.new_name(&format!("job-server-{slots}"));
    let mut reader = system.open_reader(&name.0, slots, Opening::Nonblocking).expect("a pipe");
    let mut writer = system.open_writer(&name.0, slots, Opening::Nonblocking).expect("a reader");
    let pool: Vec<u8> = (b'A'..).take(tokens).collect();
    assert_eq!(writer.write(&pool).expect("room"), tokens);
    let (board, complaints) = (Board::new(), Complaints::new());
    let start = |worker: u8| {
        let mut command = command("works");
        command.env(WHOSE, system.whose()).env(NAME, &name.0).env(SLOTS, slots.to_string());
        command.env(WORKER, worker.to_string()).env(EACH, (takes / usize::from(PROCESSES)).to_string());
        command.stdin(board.0.try_clone().expect("a descriptor")).stderr(complaints.place());
        Ward::start(command)
    };
    let mut workers: Vec<Ward> = (1..=PROCESSES).map(start).collect();
    let begin = Instant::now();
    let (mut home, mut token) = (Vec::new(), [0]);
    let mut take_home = || {
        let is_taken = reader.read(&mut token).is_ok_and(|len| len == 1);
        is_taken.then_some(token[0])
    };
    loop {
        let working = (1..=PROCESSES).filter(|&worker| !board.has_done(worker)).count();
        if working == 0 {
            break;
        }
        assert!(begin.elapsed() < WATCHDOG, "{what}: {working} workers hang, at home are {home:?}");
        let is_none_ended = workers.iter_mut().all(|worker| worker.ended().is_none());
        assert!(is_none_ended, "{what}: {}", complaints.text());
        if tokens - home.len() > working {
            home.extend(take_home());
        }
        // For the workers' sake: a parent that looks all the time takes half of the machine.
        thread::sleep(Duration::from_millis(1));
    }
    home.extend(std::iter::from_fn(take_home));
    assert_eq!(judge(&pool, &home), Ok(()), "{what}");
    board.set_done(PARENT);
    assert!(workers.iter_mut().all(Ward::has_succeeded), "{what}: {}", complaints.text());
}

/// On both pipes, with a pool of several and with one of a single token, where everybody depends on everybody's wake.
fn serve_on_both(slots: usize, several: usize) {
    for system in BOTH {
        let takes = if system.whose() == "ours" { TAKES } else { FEWER_TAKES };
        let start = Instant::now();
        serve(system, slots, several, takes);
        println!("{}, {slots} slots: {takes} takes in {:.1} s", system.whose(), start.elapsed().as_secs_f64());
        serve(system, slots, 1, FEWER_TAKES);
    }
}

#[test]
fn one_slot_keeps_a_job_servers_tokens() {
    serve_on_both(1, 3);
}

#[test]
fn sixteen_slots_keep_a_job_servers_tokens() {
    serve_on_both(16, 6);
}

#[test]
fn a_token_that_is_lost_or_doubled_is_seen() {
    assert_eq!(judge(b"ABC", b"CAB"), Ok(()));
    for home in [&b"AB"[..], b"ABCC", b"ABB", b"ABX", b""] {
        assert!(judge(b"ABC", home).is_err(), "{home:?}");
    }
    let board = Board::new();
    board.take(b'A', 1).expect("it is free");
    assert!(board.take(b'A', 2).is_err(), "two at a time");
    board.give_back(b'A', 1).expect("it is his");
    assert!(board.give_back(b'A', 1).is_err(), "it is given back already");
}
