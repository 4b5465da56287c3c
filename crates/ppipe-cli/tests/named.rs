//! Two strangers meet by a name, and leave nothing of it behind.

mod support;

use std::fs::File;
use std::io::{PipeWriter, Seek, Write};
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{Name, Running, run, start, start_program, start_with, until};

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).expect("a file");
    file.write_all(bytes).expect("a write");
    file.rewind().expect("a rewind");
    file
}

fn some_bytes(len: u32) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn write(name: &Name, options: &[&str], input: &[u8]) -> Running {
    start_with(["write", &name.0], |command| {
        command.args(options).stdin(file_of(input));
    })
}

/// A writer whose input stays open as long as the second value lives.
fn idle_writer(name: &Name) -> (Running, PipeWriter) {
    let (stdin, input) = std::io::pipe().expect("a pipe");
    let writer = start_with(["write", &name.0], |command| {
        command.stdin(stdin);
    });
    (writer, input)
}

fn succeeds(process: Running) -> Vec<u8> {
    let ended = process.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    ended.stdout
}

#[test]
fn all_bytes_arrive_whoever_comes_first() {
    let bytes = some_bytes(1_000_003);
    for is_writer_first in [true, false] {
        let name = Name::new("order");
        let (writer, reader) = if is_writer_first {
            let writer = write(&name, &[], &bytes);
            until("the writer has made the name", || name.is_there());
            (writer, start(["read", &name.0]))
        } else {
            let reader = start(["read", &name.0]);
            until("the reader has made the name", || name.is_there());
            (write(&name, &[], &bytes), reader)
        };
        succeeds(writer);
        assert!(succeeds(reader) == bytes);
        assert_eq!(name.leavings(), [""; 0]);
    }
}

#[test]
fn nothing_is_delivered_as_nothing() {
    let name = Name::new("nothing");
    let (writer, reader) = (write(&name, &[], b""), start(["read", &name.0]));
    succeeds(writer);
    assert_eq!(succeeds(reader), b"");
    assert_eq!(name.leavings(), [""; 0]);
}

#[test]
fn each_line_is_a_packet() {
    let name = Name::new("lines");
    let writer = write(&name, &["--packets"], b"one\n\ntwo and more\nlast without an end");
    let reader = start(["read", &name.0, "--packets"]);
    succeeds(writer);
    assert_eq!(succeeds(reader), b"one\ntwo and more\nlast without an end\n");
    assert_eq!(name.leavings(), [""; 0]);
}

#[test]
fn packets_have_the_size_that_was_asked_for() {
    let name = Name::new("size");
    let writer = write(&name, &["--packet-size", "4"], b"aaaabbbbcc");
    let reader = start(["read", &name.0, "--packets"]);
    succeeds(writer);
    assert_eq!(succeeds(reader), b"aaaa\nbbbb\ncc\n");

    let bytes = some_bytes(200_001);
    let writer = write(&name, &["--packet-size", "64K"], &bytes);
    let reader = start(["read", &name.0]);
    succeeds(writer);
    assert!(succeeds(reader) == bytes);
    assert_eq!(name.leavings(), [""; 0]);
}

#[test]
fn a_line_that_is_too_long_is_refused_and_the_earlier_ones_arrive() {
    let name = Name::new("long");
    for (len, problem) in [(65_537, "65537 bytes"), (200_000, "more than 65536 bytes")] {
        let line = [b"short\n", &vec![b'x'; len][..], b"\nlast\n"].concat();
        let (writer, reader) = (write(&name, &["--packets"], &line), start(["read", &name.0]));
        let ended = writer.end();
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.starts_with(&format!("ppipe: line 2: {problem}, ")), "{}", ended.stderr);
        assert_eq!(succeeds(reader), b"short");
        assert_eq!(name.leavings(), [""; 0]);
    }
    let (writer, reader) = (write(&name, &["--packet-size", "100K"], b"x"), start(["read", &name.0]));
    let ended = writer.end();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.starts_with("ppipe: --packet-size: 102400 bytes, "), "{}", ended.stderr);
    succeeds(reader);
}

#[test]
fn a_name_that_cannot_be_one_is_refused() {
    for command in ["read", "write"] {
        for name in ["a/b", ""] {
            let ended = run([command, name]);
            assert_eq!(ended.code, Some(1));
            assert!(ended.stderr.starts_with("ppipe: NAME: "), "{}", ended.stderr);
            assert!(ended.stderr.contains("cannot be a pipe's name"), "{}", ended.stderr);
        }
    }
}

#[test]
fn what_is_found_in_a_names_place_is_said_once() {
    for command in ["read", "write"] {
        let name = Name::new("taken");
        std::fs::write(name.path(), "").expect("a file");
        let ended = run([command, &name.0]);
        std::fs::remove_file(name.path()).expect("the file is still there");
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.starts_with(&format!("ppipe: pipe {}: found ", name.0)), "{}", ended.stderr);
        assert_eq!(ended.stderr.matches(&name.0).count(), 1, "{}", ended.stderr);
    }
}

#[test]
fn a_writer_whose_reader_is_killed_says_so() {
    let name = Name::new("killed");
    let (writer, mut input) = idle_writer(&name);
    let reader = start(["read", &name.0]);
    input.write_all(b"hello").expect("a write");
    until("the reader has read", || reader.output_len() == 5);
    reader.signal(Signal::KILL);
    assert_eq!(reader.end().signal, Some(9));
    // It is noticed when the pipe is full.
    while input.write_all(&[0; 4096]).is_ok() {}
    let ended = writer.end();
    assert_eq!((ended.code, ended.stderr), (Some(1), format!("ppipe: pipe {}: nobody reads it any more\n", name.0)));
    assert_eq!(name.leavings(), [""; 0]);
}

#[test]
fn a_reader_whose_output_is_closed_ends_and_so_does_its_writer() {
    let name = Name::new("closed");
    let (output, stdout) = std::io::pipe().expect("a pipe");
    drop(output);
    let reader = start_with(["read", &name.0], |command| {
        command.stdin(Stdio::null()).stdout(stdout);
    });
    // More than the reader can take at once and the pipe can hold.
    let writer = write(&name, &[], &some_bytes(4 << 20));
    assert_eq!(succeeds(reader), b"");
    assert_eq!(writer.end().code, Some(1));
    assert_eq!(name.leavings(), [""; 0]);
}

#[test]
fn who_is_interrupted_while_it_waits_for_a_stranger_leaves_no_name() {
    for signal in [Signal::INT, Signal::TERM] {
        for command in ["read", "write"] {
            let name = Name::new("waiting");
            let process = start([command, &name.0]);
            until("the name is there", || name.is_there());
            process.signal(signal);
            let ended = process.end();
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(128 + signal.as_raw()), ""));
            assert_eq!(name.leavings(), [""; 0]);
        }
    }
}

#[test]
fn a_signal_that_is_sent_twice_leaves_no_name() {
    // As by `timeout`, which signals its child and then the child's group.
    for pause in [0, 0, 0, 1, 5, 20, 50, 100].map(Duration::from_millis) {
        for command in ["read", "write"] {
            let name = Name::new("twice");
            let process = start([command, &name.0]);
            until("the name is there", || name.is_there());
            process.signal(Signal::TERM);
            thread::sleep(pause);
            process.signal(Signal::TERM);
            let ended = process.end();
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(128 + 15), ""));
            assert_eq!(name.leavings(), [""; 0]);
        }
    }
}

#[test]
fn who_waits_at_a_name_that_has_been_damaged_ends_when_told() {
    for command in ["read", "write"] {
        let name = Name::new("damaged");
        let process = start([command, &name.0]);
        until("the name is there", || name.is_there());
        let segment = File::options().write(true).open(name.path().join("segment")).expect("its segment");
        segment.write_all_at(&[0; 64], 0).expect("a write");
        process.signal(Signal::TERM);
        assert_eq!(process.end().code, Some(128 + 15));
    }
}

#[test]
fn a_later_signal_ends_a_reader_that_is_stuck() {
    let name = Name::new("stuck");
    // Nobody reads the reader's output, so it hangs in a call that no signal ends.
    let (output, stdout) = std::io::pipe().expect("a pipe");
    let capacity = rustix::pipe::fcntl_getpipe_size(&output).expect("a capacity") as u64;
    let mut reader = start_with(["read", &name.0], |command| {
        command.stdin(Stdio::null()).stdout(stdout);
    });
    let writer = write(&name, &[], &some_bytes(4 << 20));
    until("the reader is stuck", || {
        let is_full = rustix::io::ioctl_fionread(&output).expect("a length") == capacity;
        is_full && writer.is_asleep() && reader.is_asleep()
    });
    reader.signal(Signal::TERM);
    let begin = Instant::now();
    // Again and again until it has an effect: how long the first one's time lasts is the program's affair.
    until("the reader ends", || {
        reader.signal(Signal::TERM);
        reader.has_ended()
    });
    assert!(begin.elapsed() >= Duration::from_millis(400), "it ended after {:?}", begin.elapsed());
    assert_eq!(reader.end().code, Some(128 + 15));
    assert_eq!(writer.end().code, Some(1));
}

#[test]
fn a_signal_that_is_ignored_stays_so() {
    let name = Name::new("ignored");
    let script = r#"trap "" HUP; exec "$0" read "$1""#;
    let reader = start_program("/bin/sh", ["-c", script, env!("CARGO_BIN_EXE_ppipe"), &name.0], |command| {
        command.stdin(Stdio::null());
    });
    until("the name is there", || name.is_there());
    reader.signal(Signal::HUP);
    succeeds(write(&name, &[], b"hello"));
    assert_eq!(succeeds(reader), b"hello");
}

#[test]
fn who_is_interrupted_while_nothing_happens_leaves_no_name() {
    let name = Name::new("idle");
    let (writer, mut input) = idle_writer(&name);
    let reader = start(["read", &name.0]);
    input.write_all(b"hello").expect("a write");
    until("the reader has read", || reader.output_len() == 5);
    writer.signal(Signal::INT);
    assert_eq!(writer.end().code, Some(130));
    assert_eq!(succeeds(reader), b"hello");
    assert_eq!(name.leavings(), [""; 0]);

    let (writer, mut input) = idle_writer(&name);
    let reader = start(["read", &name.0]);
    input.write_all(b"hello").expect("a write");
    until("the reader has read", || reader.output_len() == 5);
    reader.signal(Signal::INT);
    assert_eq!(reader.end().code, Some(130));
    drop(input);
    succeeds(writer);
    assert_eq!(name.leavings(), [""; 0]);
}
