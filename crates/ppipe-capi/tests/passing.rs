//! Ends that go from C to C, from Rust to C and back.

#[path = "../../ppipe/tests/again/mod.rs"]
mod again;
#[path = "../../ppipe/tests/name/mod.rs"]
mod name;
mod program;

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use again::{Ward, role};
use ppipe_rs::{Reader, Writer};
use program::{Library, compile, run, succeeded};

const END: &str = "PASSED";

#[test]
fn child_process() {
    match role().as_deref() {
        None => {}
        Some("writes") => {
            let mut writer = Writer::inherited(END).expect("an end");
            writer.write_all(b"from Rust").expect("a reader");
        }
        Some(role) => panic!("no such part: {role}"),
    }
}

fn compiled(folder: &Path) -> Command {
    Command::new(compile("passing", &Library::Static, folder))
}

/// Everything until the end of file.
fn text(mut reader: Reader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    text
}

#[test]
fn ends_are_passed_over_sockets_and_to_programs_that_are_started_by_spawn_or_exec() {
    name::sweep();
    run("passing");
}

#[test]
fn ends_go_over_a_socket_from_rust_to_c_and_from_c_to_rust() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, there) = UnixStream::pair().expect("sockets");
    let (reader, writer) = ppipe_rs::pipe().expect("a pipe");
    writer.pass_to(&here).expect("room");
    let mut command = compiled(folder.path());
    command.arg("answers").stdin(OwnedFd::from(there));
    let mut child = Ward::start(command);
    assert_eq!(text(reader), "from C");
    let reader = Reader::receive_from(&here).expect("an end");
    assert_eq!(reader.recv(&mut [0; 16]).expect("a packet").len, 8);
    assert_eq!(text(reader), "");
    assert!(child.has_succeeded());
}

#[test]
fn what_rust_hands_to_a_program_in_c_is_inherited_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let (reader, writer) = ppipe_rs::pipe().expect("a pipe");
    let mut command = compiled(folder.path());
    command.arg("writes");
    writer.hand_to(&mut command, END);
    let mut child = Ward::start(command);
    assert_eq!(text(reader), "from the program");
    assert!(child.has_succeeded());
    let (reader, mut writer) = ppipe_rs::pipe().expect("a pipe");
    let mut command = compiled(folder.path());
    command.arg("reads");
    reader.hand_to(&mut command, END);
    let mut child = Ward::start(command);
    writer.write_all(b"to the program").expect("a reader");
    drop(writer);
    assert!(child.has_succeeded());
}

#[test]
fn what_c_exports_to_a_program_in_rust_is_inherited_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = compiled(folder.path());
    command.arg(std::env::current_exe().expect("our own program"));
    succeeded(&command.output().expect("it runs"), "passing");
}
