//! What goes wrong is said in one line, with the right exit code, and leaves no process behind.

mod support;

use std::fs;
use std::process::Stdio;

use rustix::process::Signal;
use support::{Running, child_of, is_running, kill, run, start, start_program, start_with, until};

/// Runs for longer than any test needs it, and no longer than that.
const ENDLESS: [&str; 11] =
    ["demo", "--limit", "1M", "--amount", "1M", "--rounds", "1000", "--seconds", "20", "--pings", "200"];

fn endless_demo() -> Running {
    start(ENDLESS)
}

#[test]
fn a_child_that_is_killed_is_reported_and_the_other_one_ends() {
    for (killed, other, report) in [
        ("demo-reader", "demo-writer", "ppipe: the reading process: killed by signal 9 (SIGKILL)\n"),
        ("demo-writer", "demo-reader", "ppipe: the writing process: killed by signal 9 (SIGKILL)\n"),
    ] {
        let demo = endless_demo();
        let (victim, survivor) = (child_of(demo.id(), killed), child_of(demo.id(), other));
        kill(victim, Signal::KILL);
        let ended = demo.end();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), report));
        assert!(ended.stdout.is_empty());
        assert!(!is_running(victim) && !is_running(survivor));
    }
}

#[test]
fn the_children_of_an_interrupted_or_killed_demo_end() {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let demo = endless_demo();
        let children = [child_of(demo.id(), "demo-writer"), child_of(demo.id(), "demo-reader")];
        demo.signal(signal);
        assert_eq!(demo.end().signal, Some(signal.as_raw()));
        until("the children are gone", || !children.into_iter().any(is_running));
    }
}

#[test]
fn a_demo_that_is_to_end_with_its_starter_does() {
    let script = r#"PPIPE_STARTER=$$ "$0" "$@" & wait"#;
    let starter = start_program("/bin/sh", ["-c", script, env!("CARGO_BIN_EXE_ppipe")], |command| {
        command.args(ENDLESS).stdin(Stdio::null());
    });
    let demo = child_of(starter.id(), "demo");
    let processes = [demo, child_of(demo, "demo-writer"), child_of(demo, "demo-reader")];
    starter.signal(Signal::KILL);
    assert_eq!(starter.end().signal, Some(9));
    until("the demo is gone", || !processes.into_iter().any(is_running));

    let ended = start_with(["demo"], |command| {
        command.env("PPIPE_STARTER", "1").stdin(Stdio::null());
    })
    .end();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.starts_with("ppipe: PPIPE_STARTER: process 1, "), "{}", ended.stderr);
}

#[test]
fn a_path_that_cannot_be_read_is_named() {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let path = |name: &str| root.path().join(name).to_str().expect("a path").to_owned();
    fs::write(path("empty"), "").expect("a file");
    fs::create_dir(path("nothing")).expect("a directory");
    for (name, why) in [
        ("missing", "No such file or directory (os error 2)"),
        ("empty", "nothing to move: there is not a single byte in it"),
        ("nothing", "nothing to move: there is not a single byte in it"),
    ] {
        let ended = run(["demo", &path(name)]);
        assert_eq!((ended.code, ended.stderr), (Some(1), format!("ppipe: {}: {why}\n", path(name))));
        assert!(ended.stdout.is_empty());
    }
    let ended = run(["demo", "/dev/null"]);
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stderr, "ppipe: /dev/null: it is neither a file nor a directory\n");
}

#[test]
fn an_entry_that_is_no_file_is_left_out_and_said_so() {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    fs::write(root.path().join("file"), "data").expect("a file");
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).expect("a socket");
    let path = root.path().to_str().expect("a path");
    let ended = run(["demo", path, "--amount", "64K", "--rounds", "1", "--pings", "10"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.text().contains(&format!("Skipped  1: {path}/socket: it is neither")), "{}", ended.text());
}

#[test]
fn a_command_line_that_cannot_be_understood_is_a_usage_error() {
    for arguments in [
        &["demo", "--rounds", "0"][..],
        &["demo", "--amount", "much"],
        &["demo", "--capacity", "4K"],
        &["demo", "--no-such-option"],
        &["no-such-command"],
        &["write"],
        &["write", "name", "--packets", "--packet-size", "4"],
    ] {
        let ended = start_with([], |command| {
            command.args(arguments).stdin(Stdio::null());
        })
        .end();
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.starts_with("ppipe: "), "{arguments:?}: {}", ended.stderr);
        assert!(!ended.stderr.starts_with("ppipe: error"), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stdout.is_empty());
    }
    let ended = run(["--help"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(!ended.text().contains("demo-writer"), "{}", ended.text());
}

#[test]
fn the_hidden_commands_refuse_to_be_used_by_hand() {
    for command in ["demo-writer --limit=1", "demo-reader"] {
        let ended = start_with([], |started| {
            started.args(command.split(' ')).stdin(Stdio::null());
        })
        .end();
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.starts_with("ppipe: this command is started by ppipe demo: "), "{}", ended.stderr);
    }
}
