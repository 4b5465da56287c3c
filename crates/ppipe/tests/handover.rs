//! Ends handed to child processes, clones of ends, and what the last one to go leaves to the others.

mod again;

use std::io::{ErrorKind, Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use again::{Ward, command, role};
use ppipe::{Builder, Reader, Writer};

const END: &str = "PPIPE_TEST_END";
const ANSWER: &str = "PPIPE_TEST_ANSWER";
/// How a child says that there was no end for it, as it should be.
const NO_END: i32 = 42;

#[test]
fn child_process() {
    let Some(role) = role() else { return };
    let number = || std::env::var("PPIPE_TEST_NUMBER").expect("a number").parse().expect("a number");
    match role.as_str() {
        "sends" => drop(send_some(number())),
        "sends unmarked" => {
            shm_ring::leave_deaths_unmarked();
            let _writer = send_some(number());
            stay();
        }
        "sends and stays" => {
            let _writer = send_some(number());
            stay();
        }
        "stays" => {
            let _reader = Reader::inherited(END).expect("an end");
            stay();
        }
        "echoes" => {
            let mut reader = Reader::inherited(END).expect("an end");
            let mut writer = Writer::inherited(ANSWER).expect("another end");
            std::io::copy(&mut reader, &mut writer).expect("a reader");
        }
        "reads" => {
            let reader = Reader::inherited(END).expect("an end");
            while reader.recv(&mut [0; 8]).is_ok() {}
        }
        "has a child that stays" => {
            let writer = send_some(1);
            let _grandchild = Ward::start(command("stays without an end"));
            drop(writer);
            stay();
        }
        "stays without an end" => stay(),
        "has a child with a stale ticket" => {
            let writer = Writer::inherited(END).expect("an end");
            assert!(Ward::start(command("has a stale ticket")).has_succeeded());
            writer.send(b"done").expect("a reader");
        }
        "has a stale ticket" => {
            // The descriptors have not come along, and its own ones get the same numbers.
            let ticket = std::env::var(END).expect("a ticket");
            let (numbers, _) = ticket.split_once(':').expect("numbers");
            let is_open = |number: &str| std::fs::metadata(format!("/proc/self/fd/{number}")).is_ok();
            assert!(!numbers.split(',').any(is_open));
            let mut own = Vec::new();
            while !numbers.split(',').all(is_open) {
                own.push(ppipe::pipe().expect("a pipe"));
            }
            assert_eq!(Writer::inherited(END).expect_err("not ours").kind(), ErrorKind::NotFound);
            assert!(numbers.split(',').all(is_open), "a descriptor of our own has been closed");
            for (reader, writer) in own {
                writer.send(b"whole").expect("a reader");
                assert_eq!(reader.recv(&mut [0; 8]).expect("a packet").len, 5);
            }
        }
        "takes twice" => {
            let writer = Writer::inherited(END).expect("an end");
            assert_eq!(Writer::inherited(END).expect_err("once").kind(), ErrorKind::NotFound);
            writer.send(b"once").expect("a reader");
        }
        "tries" => match Writer::inherited(END) {
            Ok(writer) => writer.send(b"mine").expect("a reader"),
            Err(error) if error.kind() == ErrorKind::NotFound => std::process::exit(NO_END),
            Err(error) => panic!("{error}"),
        },
        "tries, and stays with it" => match Writer::inherited(END) {
            Ok(writer) => {
                writer.send(b"mine").expect("a reader");
                stay();
            }
            Err(error) if error.kind() == ErrorKind::NotFound => std::process::exit(NO_END),
            Err(error) => panic!("{error}"),
        },
        "tries the wrong end" => match Reader::inherited(END) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Writer::inherited(END).expect("it is still there").send(b"the right one").expect("a reader");
            }
            other => panic!("{other:?}"),
        },
        "says its flags" => {
            let mut writer = Writer::inherited(END).expect("an end");
            assert!(writer.is_packet_mode());
            writer.write_all(b"one").expect("room");
            writer.write_all(b"two").expect("room");
            let full = writer.write(&[0; 1 << 20]).and_then(|_| writer.write(b"more"));
            assert_eq!(full.expect_err("nonblocking").kind(), ErrorKind::WouldBlock);
        }
        "holds a file of its own" => {
            // Another file has the number by which the end was handed to our parent.
            let numbers = std::env::var(END).expect("a ticket");
            let descriptor: u32 = numbers.split([',', ':']).next().expect("a number").parse().expect("a number");
            let path = format!("/proc/self/fd/{descriptor}");
            assert!(std::fs::metadata(&path).expect("it is there").is_file());
            assert_eq!(Writer::inherited(END).expect_err("not ours").kind(), ErrorKind::NotFound);
            assert!(std::fs::metadata(&path).is_ok(), "our file has been closed");
        }
        _ => panic!("no such part: {role}"),
    }
}

fn send_some(count: u8) -> Writer {
    let writer = Writer::inherited(END).expect("an end");
    for number in 0..count {
        writer.send(&[number]).expect("a reader");
    }
    writer
}

/// Until killed.
fn stay() -> ! {
    loop {
        thread::park();
    }
}

fn sender(role: &str, count: u8) -> (Reader, Command) {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let mut command = command(role);
    command.env("PPIPE_TEST_NUMBER", count.to_string());
    writer.hand_to(&mut command, END);
    (reader, command)
}

/// Everything until the end of file.
fn received(reader: &Reader) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = [0; 64];
    loop {
        match reader.recv(&mut buffer) {
            Ok(message) => all.push(buffer[..message.len].to_vec()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

fn numbers(count: u8) -> Vec<Vec<u8>> {
    (0..count).map(|number| vec![number]).collect()
}

/// Writes until the pipe is broken, which has to be before it could be full.
fn is_broken(writer: &Writer) {
    for _ in 0..17 {
        if let Err(error) = writer.send(b"x") {
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            return;
        }
    }
    panic!("more was sent to nobody than the pipe holds");
}

#[test]
fn a_child_sends_by_one_call_on_each_side_and_its_exit_is_the_end_of_file() {
    let (reader, command) = sender("sends", 100);
    let mut child = Ward::start(command);
    assert_eq!(received(&reader), numbers(100));
    assert!(child.has_succeeded());
}

#[test]
fn a_child_reads_and_answers() {
    let mut echo = command("echoes");
    let (theirs, mut to) = ppipe::pipe().expect("a pipe");
    let (mut from, answers) = ppipe::pipe().expect("another pipe");
    theirs.hand_to(&mut echo, END);
    answers.hand_to(&mut echo, ANSWER);
    let mut child = Ward::start(echo);
    let text: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let sent = text.clone();
    let sending = thread::spawn(move || to.write_all(&sent).expect("a reader"));
    let mut all = Vec::new();
    from.read_to_end(&mut all).expect("an answer");
    sending.join().expect("no panic");
    assert!(all == text && child.has_succeeded());
}

#[test]
fn what_was_published_before_a_kill_is_delivered_before_the_end_of_file() {
    for _ in 0..20 {
        let (reader, command) = sender("sends and stays", 9);
        let mut child = Ward::start(command);
        while reader.audit().expect("an audit").full_slots() < 9 {
            assert_eq!(child.ended(), None);
            thread::yield_now();
        }
        child.kill();
        assert_eq!(received(&reader), numbers(9));
    }
}

#[test]
fn a_killed_writer_wakes_a_reader_that_sleeps_with_the_end_of_file() {
    let (reader, command) = sender("sends and stays", 1);
    let mut child = Ward::start(command);
    assert_eq!(reader.recv(&mut [0; 8]).expect("a packet").len, 1);
    let reading = thread::spawn(move || received(&reader));
    child.kill();
    assert_eq!(reading.join().expect("no panic"), numbers(0));
}

#[test]
fn where_the_kernel_marks_nothing_a_death_is_found_by_those_who_ask() {
    let (reader, command) = sender("sends unmarked", 1);
    let mut child = Ward::start(command);
    assert_eq!(reader.recv(&mut [0; 8]).expect("a packet").len, 1);
    let looks = reader.try_clone().expect("an entry");
    let reading = thread::spawn(move || received(&reader));
    // It says so before it sleeps, and asks once more, if it does.
    while !looks.audit().expect("an audit").readers_wait {
        thread::yield_now();
    }
    child.kill();
    assert_eq!(reading.join().expect("no panic"), numbers(0));
}

#[test]
fn the_pipe_is_broken_when_a_child_that_read_is_killed() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let mut command = command("stays");
    reader.hand_to(&mut command, END);
    let mut child = Ward::start(command);
    writer.send(b"x").expect("it is there from the start");
    child.kill();
    is_broken(&writer);
}

#[test]
fn of_a_reader_that_was_killed_in_its_sleep_the_first_send_knows() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let mut command = command("reads");
    reader.hand_to(&mut command, END);
    let mut child = Ward::start(command);
    writer.send(b"x").expect("a reader");
    // It says that it waits before it sleeps, and does not take it back while nobody writes.
    loop {
        let audit = writer.audit().expect("an audit");
        if audit.full_slots() == 0 && audit.readers_wait {
            break;
        }
        assert_eq!(child.ended(), None);
        thread::yield_now();
    }
    child.kill();
    assert_eq!(writer.send(b"x").expect_err("nobody reads").kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_writer_that_waits_for_room_is_told_that_its_reader_was_killed() {
    let (reader, mut writer) = ppipe::pipe().expect("a pipe");
    let mut command = command("stays");
    reader.hand_to(&mut command, END);
    let mut child = Ward::start(command);
    let writing = thread::spawn(move || writer.write_all(&[0; 1 << 20]).expect_err("nobody reads").kind());
    child.kill();
    assert_eq!(writing.join().expect("no panic"), ErrorKind::BrokenPipe);
}

#[test]
fn a_command_that_is_never_started_closes_its_end_when_dropped() {
    let (reader, command) = sender("sends", 1);
    assert_eq!(reader.try_recv(&mut [0; 8]).expect_err("empty").kind(), ErrorKind::WouldBlock);
    drop(command);
    assert_eq!(received(&reader), numbers(0));
}

#[test]
fn of_a_command_that_is_started_twice_the_second_child_has_no_end() {
    let (reader, mut command) = sender("tries", 0);
    let mut first = command.spawn().expect("a child");
    assert!(first.wait().expect("it is ours").success());
    let mut second = command.spawn().expect("a child");
    assert_eq!(second.wait().expect("it is ours").code(), Some(NO_END));
    drop(command);
    assert_eq!(received(&reader), [b"mine"]);
}

#[test]
fn of_a_command_that_is_started_twice_the_second_child_has_no_end_while_the_first_one_has_it() {
    let (reader, mut command) = sender("tries, and stays with it", 0);
    let _first = Ward::started_by(&mut command);
    let mut buffer = [0; 8];
    assert_eq!(reader.recv(&mut buffer).expect("the first one sends").len, 4);
    let mut second = Ward::started_by(&mut command);
    let code = loop {
        // Had it the end too, it would say so.
        if let Ok(message) = reader.try_recv(&mut buffer) {
            panic!("the second one has sent {:?}", &buffer[..message.len]);
        }
        if let Some(code) = second.code() {
            break code;
        }
        thread::yield_now();
    };
    assert_eq!(code, Some(NO_END));
}

#[test]
fn a_child_that_is_one_too_many_does_not_take_what_was_handed_to_another_one() {
    let (reader, writer) = Builder::new().max_writers(3).pipe().expect("a pipe");
    let mut first = command("tries");
    writer.try_clone().expect("an entry").hand_to(&mut first, END);
    assert!(first.status().expect("a child").success());
    let mut other = command("tries");
    writer.try_clone().expect("an entry").hand_to(&mut other, END);
    drop(writer);
    assert_eq!(first.status().expect("a child").code(), Some(NO_END));
    assert!(other.status().expect("a child").success(), "its end has been taken");
    drop((first, other));
    assert_eq!(received(&reader), [b"mine", b"mine"]);
}

#[test]
fn the_place_of_an_end_that_was_handed_over_is_free_when_its_command_is_gone() {
    let (_reader, writer) = Builder::new().max_writers(2).pipe().expect("a pipe");
    let mut first = command("tries");
    writer.try_clone().expect("an entry").hand_to(&mut first, END);
    assert!(first.status().expect("a child").success());
    // The command has copies of the end's descriptors, which its child has closed.
    assert_eq!(writer.try_clone().expect_err("no entry").kind(), ErrorKind::QuotaExceeded);
    drop(first);
    writer.try_clone().expect("an entry");
}

#[test]
fn an_end_can_be_taken_up_once() {
    let (reader, command) = sender("takes twice", 0);
    let mut child = Ward::start(command);
    assert_eq!(received(&reader), [b"once"]);
    assert!(child.has_succeeded());
}

#[test]
fn the_wrong_end_is_refused_and_the_right_one_stays() {
    let (reader, command) = sender("tries the wrong end", 0);
    let mut child = Ward::start(command);
    assert_eq!(received(&reader), [b"the right one"]);
    assert!(child.has_succeeded());
}

#[test]
fn without_an_end_there_is_an_error_that_names_the_variable() {
    let error = Writer::inherited("PPIPE_TEST_NOTHING").expect_err("nothing was handed over");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("PPIPE_TEST_NOTHING"), "{error}");
}

#[test]
fn a_descriptor_that_is_somebody_elses_file_is_left_alone() {
    // The number is one that the child inherits for another purpose: its standard input has a copy of it.
    let mut child = command("holds a file of its own");
    child.stdin(Stdio::null());
    let file = std::fs::File::open(std::env::current_exe().expect("our program")).expect("a file");
    let number = std::os::fd::AsRawFd::as_raw_fd(&file);
    command_fds::CommandFdExt::preserved_fds(&mut child, vec![file.into()]);
    let (read_end, write_end) = std::io::pipe().expect("a pipe of the kernel");
    let bells = [std::os::fd::AsRawFd::as_raw_fd(&read_end), std::os::fd::AsRawFd::as_raw_fd(&write_end)];
    command_fds::CommandFdExt::preserved_fds(&mut child, vec![read_end.into(), write_end.into()]);
    child.env(END, format!("{number},{},{}:w:0:0:", bells[0], bells[1]));
    assert!(Ward::start(child).has_succeeded());
}

#[test]
fn an_end_without_its_bells_is_not_taken_up() {
    // A number that nothing has, and one that something else has: the end's own lock.
    let spoilers: [fn(&[&str]) -> String; 4] = [
        |numbers| format!("{},999999,{}", numbers[0], numbers[2]),
        |numbers| format!("{},{},999999", numbers[0], numbers[1]),
        |numbers| format!("{},{},{}", numbers[0], numbers[0], numbers[2]),
        |numbers| format!("{},{},{}", numbers[0], numbers[1], numbers[0]),
    ];
    for spoil in spoilers {
        let (_reader, writer) = ppipe::pipe().expect("a pipe");
        let mut command = command("tries");
        writer.hand_to(&mut command, END);
        let (_, ticket) = command.get_envs().find(|(name, _)| *name == END).expect("a ticket");
        let ticket = ticket.expect("a value").to_str().expect("text").to_owned();
        let (numbers, rest) = ticket.split_once(':').expect("a number");
        let spoilt = spoil(&numbers.split(',').collect::<Vec<_>>());
        command.env(END, format!("{spoilt}:{rest}"));
        let mut child = Ward::start(command);
        assert!(!child.has_succeeded());
        assert_eq!(child.code(), Some(Some(NO_END)));
    }
}

#[test]
fn a_variable_that_came_without_its_descriptors_closes_nothing() {
    let (reader, command) = sender("has a child with a stale ticket", 0);
    let mut child = Ward::start(command);
    assert_eq!(received(&reader), [b"done"]);
    assert!(child.has_succeeded());
}

#[test]
fn an_end_can_be_handed_to_a_child_of_another_user() {
    use std::os::unix::process::CommandExt;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can start a process of another user");
        return;
    }
    // The test program itself may lie where that user cannot reach it; the child has it open already.
    let (reader, mut command) = sender("sends", 3);
    command.uid(65_534);
    match Ward::try_to_start(&mut command) {
        Ok(mut child) => {
            drop(command);
            assert_eq!(received(&reader), numbers(3));
            assert!(child.has_succeeded());
        }
        Err(error) => eprintln!("skipped: that user cannot start the test program: {error}"),
    }
}

#[test]
fn a_childs_children_do_not_keep_its_end_open() {
    let (reader, command) = sender("has a child that stays", 1);
    let mut child = Ward::start(command);
    assert_eq!(received(&reader), numbers(1));
    assert_eq!(child.ended(), None, "it lives, and so does its child");
    child.kill();
}

#[test]
fn flags_travel_with_the_end() {
    let (mut reader, writer) = ppipe::pipe().expect("a pipe");
    writer.set_packet_mode(true);
    writer.set_nonblocking(true);
    let mut command = command("says its flags");
    writer.hand_to(&mut command, END);
    let mut child = Ward::start(command);
    assert!(child.has_succeeded());
    let mut buffer = [0; 8];
    assert_eq!(reader.read(&mut buffer).expect("a packet"), 3);
    assert_eq!(reader.read(&mut buffer).expect("a packet"), 3);
}

#[test]
fn a_named_end_keeps_its_name_when_it_is_handed_over() {
    let name = format!("test-{}-handed", std::process::id());
    let path = format!("/dev/shm/ppipe-{name}");
    let reader = Builder::new().nonblocking(true).open_reader(&name).expect("a pipe");
    let writer = Builder::new().open_writer(&name).expect("somebody reads");
    let mut command = command("sends and stays");
    command.env("PPIPE_TEST_NUMBER", "1");
    writer.hand_to(&mut command, END);
    let mut child = Ward::start(command);
    reader.set_nonblocking(false);
    assert_eq!(reader.recv(&mut [0; 8]).expect("a packet").len, 1);
    drop(reader);
    assert!(std::fs::exists(&path).expect("an answer"), "the child has it open");
    let reader = Builder::new().open_reader(&name).expect("the same pipe");
    child.kill();
    assert_eq!(received(&reader), numbers(0));
    drop(reader);
    assert!(!std::fs::exists(&path).expect("an answer"));
}

#[test]
fn clones_share_their_flags_and_others_do_not() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let (reader_2, writer_2) = (reader.try_clone().expect("an entry"), writer.try_clone().expect("an entry"));
    reader_2.set_nonblocking(true);
    assert_eq!(reader.recv(&mut [0; 8]).expect_err("empty").kind(), ErrorKind::WouldBlock);
    writer_2.set_packet_mode(true);
    assert!(writer.is_packet_mode());
    writer.set_nonblocking(true);
    let full = loop {
        if let Err(error) = writer_2.send(b"x") {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    let (_, other) = ppipe::pipe().expect("a pipe");
    assert!(!other.is_packet_mode());
}

#[test]
fn the_end_of_file_comes_after_the_last_clone_is_gone() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    reader.set_nonblocking(true);
    let clones: Vec<_> = (0..3).map(|_| writer.try_clone().expect("an entry")).collect();
    drop(writer);
    for clone in clones {
        assert_eq!(reader.recv(&mut [0; 8]).expect_err("one is left").kind(), ErrorKind::WouldBlock);
        drop(clone);
    }
    assert_eq!(reader.recv(&mut [0; 8]).expect_err("none is left").kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn what_the_last_writer_sends_as_it_leaves_comes_before_the_end_of_file() {
    for round in 0..1000_u32 {
        let (reader, writer) = Builder::new().slots(2).max_readers(1).max_writers(1).pipe().expect("a pipe");
        let writing = thread::spawn(move || writer.send(&round.to_le_bytes()).expect("a reader"));
        assert_eq!(received(&reader), [round.to_le_bytes()], "round {round}");
        writing.join().expect("no panic");
    }
}

#[test]
fn the_pipe_is_broken_after_the_last_clone_of_its_reader_is_gone() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let clones: Vec<_> = (0..3).map(|_| reader.try_clone().expect("an entry")).collect();
    drop(reader);
    for clone in clones {
        writer.send(b"x").expect("one is left");
        drop(clone);
    }
    assert_eq!(writer.send(b"x").expect_err("none is left").kind(), ErrorKind::BrokenPipe);
}

#[test]
fn neither_the_end_of_file_nor_a_broken_pipe_is_for_ever() {
    let name = format!("test-{}-latch", std::process::id());
    let builder = Builder::new().nonblocking(true);
    let reader = builder.open_reader(&name).expect("a pipe");
    for _ in 0..3 {
        assert_eq!(reader.recv(&mut [0; 8]).expect_err("nobody").kind(), ErrorKind::UnexpectedEof);
        let writer = builder.open_writer(&name).expect("somebody reads");
        assert_eq!(reader.recv(&mut [0; 8]).expect_err("empty").kind(), ErrorKind::WouldBlock);
        writer.send(b"x").expect("room");
        assert_eq!(reader.recv(&mut [0; 8]).expect("a packet").len, 1);
    }
    let (reader, writer) = (builder.open_reader(&name).expect("a pipe"), builder.open_writer(&name).expect("a reader"));
    drop(reader);
    writer.send(b"x").expect("the first reader is there");
}
