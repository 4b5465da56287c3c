//! Another program in the place of one that has an end: the end is gone, as a descriptor that exec closes, and the others are told of it; unless it was
//! handed over.

use std::io::{self, BufRead, BufReader, ErrorKind, PipeReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use ppipe::{End, Reader, Waiting, Writer};

mod again;
mod party;

use again::{Ward, command, role};
use party::{Party, WATCHDOG};

const END: &str = "PPIPE_TEST_END";
/// The process of the test, which stays the parent.
const PARENT: &str = "PPIPE_TEST_PARENT";

#[test]
fn child_process() {
    let Some(role) = role() else { return };
    match role.as_str() {
        // Becomes another program when told, and has an end until then.
        "becomes another" => {
            // One of its own: its descriptors are not those that were let through to this program.
            let _end = match End::inherited(END).expect("an end") {
                End::Reader(reader) => End::Reader(reader.try_clone().expect("an entry")),
                End::Writer(writer) => End::Writer(writer.try_clone().expect("an entry")),
            };
            say_and_wait("here");
            panic!("{}", another("idles").exec());
        }
        "becomes another and takes the end along" => {
            let writer = Writer::inherited(END).expect("an end");
            say_and_wait("here");
            let mut command = another("sends");
            writer.hand_to(&mut command, END);
            panic!("{}", command.exec());
        }
        "idles" => say_and_wait("another"),
        "sends" => {
            let writer = Writer::inherited(END).expect("an end that was handed over");
            say_and_wait("another");
            writer.send(b"from another").expect("somebody reads");
        }
        _ => panic!("no such part: {role}"),
    }
}

/// The program that takes this one's place, with its parent and its streams.
fn another(role: &str) -> Command {
    let mut command = command(role);
    command.env(PARENT, std::env::var(PARENT).expect("a parent"));
    command.stdin(std::process::Stdio::inherit()).stdout(std::process::Stdio::inherit());
    command
}

/// Says what it is, and goes on when there is a line to read. (Byte by byte: what follows is for the program that takes its place.)
fn say_and_wait(what: &str) {
    println!("{what}");
    let mut byte = [0];
    while rustix::io::read(io::stdin(), &mut byte).expect("a line") == 1 && byte != *b"\n" {}
}

/// A child, what it says, and what it is told.
struct Talker {
    child: Ward,
    says: BufReader<PipeReader>,
    tell: io::PipeWriter,
}

impl Talker {
    fn start(mut command: Command) -> Self {
        let (says, output) = io::pipe().expect("a pipe of the kernel");
        let (input, tell) = io::pipe().expect("a pipe of the kernel");
        command.stdin(input).stdout(output);
        Self { child: Ward::start(command), says: BufReader::new(says), tell }
    }

    fn wait_for(&mut self, what: &str) {
        let is_said = self.says.by_ref().lines().any(|line| line.is_ok_and(|line| line.ends_with(what)));
        assert!(is_said, "it never says {what:?}");
    }

    fn tell_to_go_on(&mut self) {
        self.tell.write_all(b"\n").expect("it reads");
    }
}

/// What one who sleeps comes to when the only one of the other side becomes another program, which goes on.
fn end_of_one_who_sleeps(mut talker: Talker, sleep: impl FnOnce() -> ErrorKind + Send) -> ErrorKind {
    talker.wait_for("here");
    let party = Party::default();
    let end = thread::scope(|scope| {
        let sleeper = scope.spawn(|| party.act(sleep));
        party.wait_until_blocked(|| true);
        talker.tell_to_go_on();
        sleeper.join().expect("it returns")
    });
    talker.wait_for("another");
    assert_eq!(talker.child.ended(), None, "the other program goes on");
    end
}

#[test]
fn an_end_that_is_not_handed_over_is_gone_when_its_process_becomes_another_program() {
    // Woken by the kernel alone: without that it would be an hour.
    shm_ring::rely_on_wakes();
    let (mut reader, writer) = ppipe::pipe().expect("a pipe");
    let mut command_of_writer = command("becomes another");
    writer.hand_to(&mut command_of_writer, END);
    reader.set_waiting(Waiting::Sleeping);
    let talker = Talker::start(command_of_writer);
    let end = end_of_one_who_sleeps(talker, move || reader.recv(&mut [0; 8]).expect_err("nothing is sent").kind());
    assert_eq!(end, ErrorKind::UnexpectedEof);

    let (reader, mut writer) = ppipe::pipe().expect("a pipe");
    while writer.try_send(b"x").is_ok() {}
    let mut command_of_reader = command("becomes another");
    reader.hand_to(&mut command_of_reader, END);
    writer.set_waiting(Waiting::Sleeping);
    let talker = Talker::start(command_of_reader);
    let end = end_of_one_who_sleeps(talker, move || writer.send(b"x").expect_err("nobody reads").kind());
    assert_eq!(end, ErrorKind::BrokenPipe);
}

#[test]
fn an_end_that_is_handed_over_goes_on_when_its_process_becomes_another_program() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let mut command = command("becomes another and takes the end along");
    writer.hand_to(&mut command, END);
    let mut talker = Talker::start(command);
    talker.wait_for("here");
    talker.tell_to_go_on();
    talker.wait_for("another");
    let nothing_yet = |reader: &Reader| reader.try_recv(&mut [0; 16]).expect_err("nothing is sent").kind();
    assert_eq!(nothing_yet(&reader), ErrorKind::WouldBlock, "it is open all the way");
    talker.tell_to_go_on();
    let mut buffer = [0; 16];
    let message = reader.recv_timeout(&mut buffer, WATCHDOG - Duration::from_secs(1)).expect("it is sent");
    assert_eq!(&buffer[..message.len], b"from another");
    assert!(talker.child.has_succeeded());
    assert_eq!(nothing_yet(&reader), ErrorKind::UnexpectedEof);
}
