//! Whose memory is taken away is told so by every call, and lives.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use hostile::attack::{READY, segment};
use hostile::children::Ward;
use hostile::names::Name;
use hostile::user::user;
use ppipe::{Builder, Reader, Writer};
use shm_ring::bell::ARMED;
use shm_ring::sync::Ordering;

const SIGBUS: i32 = 7;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_hostile"))
}

fn pipe(name: &Name) -> (Reader, Writer) {
    let builder = Builder::new().nonblocking(true).max_writers(8).max_readers(8);
    let reader = builder.open_reader(name.as_str()).expect("a pipe");
    (reader, builder.open_writer(name.as_str()).expect("a pipe"))
}

fn shorten(name: &Name, len: u64) {
    File::options().write(true).open(name.file()).expect("its file").set_len(len).expect("it is ours");
}

#[test]
fn who_has_its_file_shortened_in_the_midst_of_calls_is_told_so_by_each_and_lives() {
    for (index, len) in [0, 4096, 8192].into_iter().enumerate() {
        let name = Name::new(&format!("shortened-{index}"));
        let (reader, writer) = pipe(&name);
        let mut users = ["reader", "writer"].map(|side| user(program(), &name, side, false).expect("a child"));
        for user in &mut users {
            assert_eq!(user.line().expect("its words"), READY);
        }
        shorten(&name, len);
        for user in users {
            let (status, text) = user.end().expect("it ends");
            assert!(status.success(), "to {len} bytes: {status}");
            assert!(
                text.contains("the pipe's memory is gone") && text.contains(&format!("file has {len} bytes")),
                "{text}"
            );
            print!("to {len} bytes: {text}");
        }
        // This process has not looked since.
        let mut buffer = [0; 8];
        let error = writer.try_send(&[1; 4096]).and_then(|()| reader.try_recv(&mut buffer)).expect_err("no memory");
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        let error = Builder::new().nonblocking(true).open_reader(name.as_str()).expect_err("it is too short");
        assert!(error.to_string().contains("size of the file"), "{error}");
        drop((reader, writer));
        assert!(name.file().exists(), "what is damaged stays");
        ppipe::unlink(name.as_str()).expect("it can be taken away");
    }
}

#[test]
fn without_the_guard_it_is_a_signal() {
    let name = Name::new("unguarded");
    let _ends = pipe(&name);
    let users = ["reader", "writer"].map(|side| user(program(), &name, side, true).expect("a child"));
    let users = users.map(|mut user| {
        assert_eq!(user.line().expect("its words"), READY);
        user
    });
    shorten(&name, 0);
    for user in users {
        let (status, _) = user.end().expect("it ends");
        assert_eq!(status.signal(), Some(SIGBUS), "{status}");
    }
}

#[test]
fn who_finds_the_memory_gone_wakes_those_who_sleep_for_as_long_as_it_takes() {
    let name = Name::new("sleeper");
    let (reader, writer) = pipe(&name);
    let mut command = Command::new(program());
    command.args(["sleeper", "--name", name.as_str(), "--parent", &std::process::id().to_string()]);
    let mut sleeper = Ward::start(&mut command).expect("a child");
    assert_eq!(sleeper.line().expect("its words"), READY);
    let segment = segment(Some(name.as_str())).expect("its memory");
    while segment.header().readable.0.bell.load(Ordering::Relaxed) & ARMED == 0 {
        thread::yield_now();
    }
    drop(segment);
    shorten(&name, 0);
    let error = writer.try_send(b"news").expect_err("no memory");
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    let (status, _) = sleeper.end().expect("it wakes up");
    assert!(status.success(), "{status}");
    drop(reader);
}

#[test]
fn one_who_waits_in_open_is_told_so() {
    let name = Name::new("opening");
    let opening = thread::spawn({
        let name = name.as_str().to_owned();
        move || Writer::open(&name).map(|_| ())
    });
    while !name.file().exists() {
        thread::yield_now();
    }
    shorten(&name, 0);
    let error = opening.join().expect("no panic").expect_err("nobody comes to what is gone");
    assert!(matches!(error.kind(), ErrorKind::InvalidData), "{error}");
}

/// Runs the part in a mount namespace with a small `/dev/shm` of its own. `None`, and why, if the system does not let us.
fn in_a_small_shm(part: &str) -> Result<Ward, String> {
    let allowed = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "none", "/dev/shm"]).output();
    match allowed {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => return Err(error.to_string()),
    }
    let script = "mount -t tmpfs -o size=1m none /dev/shm && exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(program());
    command.args([part, "--parent", &std::process::id().to_string()]);
    Ward::start(&mut command).map_err(|error: io::Error| error.to_string())
}

#[test]
fn holes_in_the_memory_that_nothing_can_fill_are_told_by_each_call_and_hurt_nobody() {
    let director = match in_a_small_shm("short-of-memory") {
        Ok(director) => director,
        Err(why) => return eprintln!("skipped: no file system can be mounted here: {why}"),
    };
    let (status, text) = director.end().expect("it ends");
    assert!(status.success(), "{status}: {text}");
    assert_eq!(text.matches("the pipe's memory is gone").count(), 2, "{text}");
    print!("{text}");
}
