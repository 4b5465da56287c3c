//! Whoever knows of a death finds what a pipe of the kernel says then, however busy it was: the kernel tells it before it tells anybody of the death.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use ppipe::{Reader, Waiting, Writer};

mod again;
mod party;

use again::{Ward, command, role};
use party::{Party, WATCHDOG};

const END: &str = "PPIPE_TEST_END";
const ROUNDS: usize = 100;

#[test]
fn child_process() {
    let Some(role) = role() else { return };
    match role.as_str() {
        "receives" => {
            let reader = Reader::inherited(END).expect("an end");
            reader.recv(&mut [0; 8]).expect("a message");
            stay();
        }
        "reads" => {
            std::io::stdin().read_exact(&mut [0; 8]).expect("a message");
            stay();
        }
        "sends" => {
            let writer = Writer::inherited(END).expect("an end");
            writer.send(b"a number").expect("room");
            stay();
        }
        "stays" => {
            let _end = Writer::inherited(END).expect("an end");
            stay();
        }
        _ => panic!("no such part: {role}"),
    }
}

/// Says that it is there, until it is killed.
fn stay() -> ! {
    println!("here");
    loop {
        std::thread::park();
    }
}

/// Starts it, and returns when it has done its part.
fn started(mut command: Command) -> Ward {
    let (says, output) = io::pipe().expect("a pipe of the kernel");
    command.stdout(output);
    let child = Ward::start(command);
    assert!(BufReader::new(says).lines().any(|line| line.is_ok_and(|line| line.ends_with("here"))));
    child
}

#[test]
fn the_first_write_after_the_death_of_the_last_reader_is_a_broken_pipe() {
    for round in 0..ROUNDS {
        let (reader, mut writer) = ppipe::pipe().expect("a pipe");
        let mut command = command("receives");
        reader.hand_to(&mut command, END);
        writer.write_all(b"a number").expect("a reader");
        let mut child = started(command);
        writer.write_all(b"not read").expect("it is there");
        child.kill();
        let error = writer.write(b"in vain").expect_err("nobody is there");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "in round {round}");
    }
    let (reader, writer) = std::io::pipe().expect("a pipe of the kernel");
    let mut writer = File::from(std::os::fd::OwnedFd::from(writer));
    let mut command = command("reads");
    command.stdin(reader);
    writer.write_all(b"a number").expect("a reader");
    let mut child = started(command);
    writer.write_all(b"not read").expect("it is there");
    child.kill();
    assert_eq!(writer.write(b"in vain").expect_err("nobody is there").kind(), ErrorKind::BrokenPipe);
}

#[test]
fn the_first_try_after_the_death_of_the_last_writer_is_the_end_of_file() {
    for round in 0..ROUNDS {
        let (reader, writer) = ppipe::pipe().expect("a pipe");
        let mut command = command("sends");
        writer.hand_to(&mut command, END);
        let mut child = started(command);
        assert_eq!(reader.recv(&mut [0; 8]).expect("it has sent it").len, 8);
        assert_eq!(reader.try_recv(&mut [0; 8]).expect_err("it is there").kind(), ErrorKind::WouldBlock);
        child.kill();
        let error = reader.try_recv(&mut [0; 8]).expect_err("nobody is there");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "in round {round}");
    }
}

#[test]
fn who_has_just_gone_to_sleep_is_woken_by_the_death_of_the_last_one_of_the_other_side() {
    // Wakes alone: without them it would be an hour.
    shm_ring::rely_on_wakes();
    for sleepers in [1, 5] {
        let (reader, writer) = ppipe::pipe().expect("a pipe");
        let mut command = command("stays");
        writer.hand_to(&mut command, END);
        let mut child = started(command);
        let mut readers: Vec<_> = (1..sleepers).map(|_| reader.try_clone().expect("an entry")).collect();
        readers.push(reader);
        let parties: Vec<Party> = readers.iter().map(|_| Party::default()).collect();
        std::thread::scope(|scope| {
            let asleep: Vec<_> = readers
                .into_iter()
                .zip(&parties)
                .map(|(mut reader, party)| {
                    reader.set_waiting(Waiting::Sleeping);
                    scope.spawn(move || party.act(|| reader.recv(&mut [0; 8]).expect_err("nobody sends").kind()))
                })
                .collect();
            parties.iter().for_each(|party| party.wait_until_blocked(|| true));
            let start = Instant::now();
            child.kill();
            for sleeper in asleep {
                assert_eq!(sleeper.join().expect("it ends"), ErrorKind::UnexpectedEof);
            }
            assert!(start.elapsed() < WATCHDOG - Duration::from_secs(1), "by wakes alone");
        });
    }
}
