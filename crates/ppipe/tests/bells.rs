//! The last one out wakes everybody who sleeps at a bell, also when it is killed.
//!
//! No sleep in this file has a bound, so that a bell that does not ring is a test that hangs.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::process::Command;
use std::thread;
use std::time::Duration;

use ppipe::{Builder, Reader, Writer};
use shm_ring::{rely_on_wakes, sleep_at_bells};

mod again;
mod name;
mod party;

use again::{Ward, command, role};
use name::Name;
use party::Party;

const END: &str = "PPIPE_TEST_END";
const HERE: &str = "here";
/// Long enough to go to sleep.
const A_WHILE: Duration = Duration::from_millis(300);
const CROWDS: [usize; 3] = [1, 8, 64];

#[test]
fn child_process() {
    let Some(role) = role() else { return };
    let name = || std::env::var("PPIPE_TEST_NAME").expect("a name");
    match role.as_str() {
        "writes" => stay_with(Writer::inherited(END).expect("an end")),
        "reads" => stay_with(Reader::inherited(END).expect("an end")),
        "writes by name" => stay_with(Writer::open(&name()).expect("an end")),
        "reads by name" => stay_with(Reader::open(&name()).expect("an end")),
        _ => panic!("no such part: {role}"),
    }
}

/// Until killed. Says before that it is there.
fn stay_with<T>(_end: T) {
    println!("{HERE}");
    loop {
        thread::park();
    }
}

/// Starts a child, and returns when it has its end and does nothing any more: who takes an end up rings, and beside one who is about
/// to write nobody sleeps at a bell.
fn started(mut command: Command) -> Ward {
    let (mut output, write_end) = std::io::pipe().expect("a pipe of the kernel");
    command.stdout(write_end);
    let child = Ward::start(command);
    let is_there = BufReader::new(&mut output).lines().any(|line| line.is_ok_and(|line| line.ends_with(HERE)));
    assert!(is_there, "the child has ended");
    child
}

/// As [`started`], with one who meets the child.
fn meeting<T: Send>(command: Command, meet: impl FnOnce() -> T + Send) -> (Ward, T) {
    thread::scope(|scope| {
        let met = scope.spawn(meet);
        (started(command), met.join().expect("they meet"))
    })
}

/// Each of `crowd` does `act` in a thread of its own; when all of them sleep, `end` happens, and then all of them are through.
fn all_sleep_until<T: Send>(crowd: Vec<T>, act: impl Fn(T) + Copy + Send, end: impl FnOnce()) {
    let parties: Vec<Party> = crowd.iter().map(|_| Party::default()).collect();
    thread::scope(|scope| {
        for (party, member) in parties.iter().zip(crowd) {
            scope.spawn(move || party.act(|| act(member)));
        }
        parties.iter().for_each(|party| party.wait_until_blocked(|| true));
        end();
    });
}

fn reads_to_the_end(reader: Reader) {
    let error = reader.recv(&mut [0; 8]).expect_err("nothing is sent");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

fn writes_until_broken(writer: Writer) {
    let error = writer.send(b"x").expect_err("nobody reads");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

fn readers(of: &Reader, count: usize) -> Vec<Reader> {
    (0..count).map(|_| of.try_clone().expect("a clone")).collect()
}

fn writers(of: &Writer, count: usize) -> Vec<Writer> {
    (0..count).map(|_| of.try_clone().expect("a clone")).collect()
}

#[test]
fn the_last_writer_killed_wakes_every_reader() {
    rely_on_wakes();
    sleep_at_bells();
    for count in CROWDS {
        let (reader, writer) = ppipe::pipe().expect("a pipe");
        let mut command = command("writes");
        writer.hand_to(&mut command, END);
        let child = started(command);
        all_sleep_until(readers(&reader, count), reads_to_the_end, || drop(child));
    }
}

#[test]
fn the_last_reader_killed_wakes_every_writer() {
    rely_on_wakes();
    sleep_at_bells();
    for count in CROWDS {
        let (reader, mut writer) = Builder::new().slots(1).pipe().expect("a pipe");
        writer.write_all(&[0; 4096]).expect("room");
        let mut command = command("reads");
        reader.hand_to(&mut command, END);
        let child = started(command);
        all_sleep_until(writers(&writer, count), writes_until_broken, || drop(child));
    }
}

#[test]
fn the_last_one_of_a_name_killed_wakes_everybody_too() {
    rely_on_wakes();
    sleep_at_bells();
    let name = Name::new("last-killed");
    let of_name = |role| {
        let mut command = command(role);
        command.env("PPIPE_TEST_NAME", &name.0);
        command
    };
    let (child, reader) = meeting(of_name("writes by name"), || Reader::open(&name.0).expect("a reader"));
    // Who came has rung, and only one who is alone makes the bell silent again.
    assert_eq!(reader.recv_timeout(&mut [0; 8], A_WHILE).expect_err("nothing is sent").kind(), ErrorKind::TimedOut);
    all_sleep_until(readers(&reader, 8), reads_to_the_end, || drop(child));
    drop(reader);

    let open = || Builder::new().slots(1).open_writer(&name.0).expect("a writer");
    let (child, writer) = meeting(of_name("reads by name"), open);
    while writer.try_send(b"x").is_ok() {}
    assert_eq!(writer.send_timeout(b"x", A_WHILE).expect_err("it is full").kind(), ErrorKind::TimedOut);
    all_sleep_until(writers(&writer, 8), writes_until_broken, || drop(child));
}

#[test]
fn one_after_the_other_who_sleeps_is_woken() {
    rely_on_wakes();
    sleep_at_bells();
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    for number in 0..200_u8 {
        all_sleep_until(
            vec![reader.try_clone().expect("a clone")],
            |reader| assert_eq!(reader.recv(&mut [0; 8]).expect("a packet").len, 1),
            || writer.send(&[number]).expect("room"),
        );
    }
}

#[test]
fn all_writers_wake_for_whom_there_is_room_though_nobody_reads_on() {
    rely_on_wakes();
    sleep_at_bells();
    const WRITERS: usize = 6;
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..300 {
        let (reader, writer) = ppipe::pipe().expect("a pipe");
        while writer.try_send(b"x").is_ok() {}
        thread::scope(|scope| {
            for writer in writers(&writer, WRITERS) {
                let pauses = random.u32(..3000);
                scope.spawn(move || {
                    (0..pauses).for_each(|_| std::hint::spin_loop());
                    writer.send(b"y").expect("room");
                });
            }
            for _ in 0..random.u32(..2000) {
                std::hint::spin_loop();
            }
            // Room for all of them, and then nothing wakes anybody any more.
            for _ in 0..WRITERS {
                reader.recv(&mut [0; 8]).expect("a packet");
            }
        });
    }
}
