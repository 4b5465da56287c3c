//! The life of names: how ends meet, what is there while they do, and what is left when they are gone.

mod name;

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use name::{Name, sweep};
use ppipe::{Builder, Reader, Writer};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::Errno;
use shm_ring::layout::{Header, VERSION};

/// Nothing here takes so long; who waits longer has failed.
const WATCHDOG: Duration = Duration::from_secs(20);

fn patient() -> Builder {
    Builder::new().open_timeout(WATCHDOG)
}

#[test]
fn a_peer_that_came_and_went_while_we_opened_has_been_met() {
    let name = Name::new("fleeting");
    let both = &Barrier::new(2);
    for round in 0..2000 {
        thread::scope(|scope| {
            let name = name.0.as_str();
            let writer = scope.spawn(move || {
                both.wait();
                patient().open_writer(name).map(drop)
            });
            both.wait();
            let reader = patient().open_reader(name).map(drop);
            let writer = writer.join().expect("no panic");
            assert!(reader.is_ok() && writer.is_ok(), "round {round}: {reader:?}, {writer:?}");
        });
    }
    assert_eq!(name.remains(), [""; 0]);
}

#[test]
fn ends_meet_in_either_order_of_start() {
    for is_reader_first in [true, false] {
        let name = &Name::new(if is_reader_first { "reader-first" } else { "writer-first" });
        let first_is_there = || while ppipe::audit(&name.0).is_err() {};
        thread::scope(|scope| {
            let write = || {
                let mut writer = patient().open_writer(&name.0).expect("a reader comes");
                writer.write_all(b"hello").expect("a reader");
            };
            let read = || {
                let mut all = String::new();
                patient().open_reader(&name.0).expect("a writer comes").read_to_string(&mut all).expect("a writer");
                all
            };
            let all = if is_reader_first {
                let reader = scope.spawn(read);
                first_is_there();
                write();
                reader.join().expect("no panic")
            } else {
                let writer = scope.spawn(write);
                first_is_there();
                let all = read();
                writer.join().expect("no panic");
                all
            };
            assert_eq!(all, "hello");
        });
        assert_eq!(name.remains(), [""; 0]);
    }
}

#[test]
fn ends_that_start_at_once_meet() {
    let name = Name::new("at-once");
    let all = &Barrier::new(8);
    for round in 0_u8..100 {
        thread::scope(|scope| {
            let name = name.0.as_str();
            for _ in 0..4 {
                scope.spawn(move || {
                    all.wait();
                    let mut writer = patient().open_writer(name).expect("readers come");
                    // Nobody leaves before all are there.
                    all.wait();
                    writer.write_all(&[round]).expect("a reader");
                });
            }
            let readers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(move || {
                        all.wait();
                        let mut reader = patient().open_reader(name).expect("writers come");
                        all.wait();
                        let mut bytes = Vec::new();
                        reader.read_to_end(&mut bytes).expect("writers");
                        bytes
                    })
                })
                .collect();
            let bytes: Vec<u8> = readers.into_iter().flat_map(|reader| reader.join().expect("no panic")).collect();
            assert_eq!(bytes, [round; 4], "all came to the same pipe");
        });
        assert_eq!(name.remains(), [""; 0]);
    }
}

#[test]
fn a_name_that_cannot_be_one_is_refused_with_the_reason() {
    let long = "x".repeat(201);
    for (name, reason) in
        [("", "empty"), ("/", "empty"), ("a/b", "slash"), ("a\0b", "null"), (&long, "longer than 200")]
    {
        let error = Writer::open(name).expect_err("not a name");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(Reader::open(name).expect_err("not a name").kind(), ErrorKind::InvalidInput);
    }
    let longest = Name::new(&"x".repeat(170));
    patient().nonblocking(true).open_reader(&longest.0).expect("a name of many bytes");
    let slash = Name::new("slash");
    let _reader =
        patient().nonblocking(true).open_reader(&format!("/{}", slash.0)).expect("a leading slash is nothing");
    assert_eq!(slash.remains().len(), 1);
}

/// Opening either end says that what is there is not a pipe, with all of `words`.
fn refused(name: &Name, words: &[&str]) {
    let builder = patient().nonblocking(true);
    for error in
        [builder.open_writer(&name.0).expect_err("no pipe"), builder.open_reader(&name.0).expect_err("no pipe")]
    {
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        let text = error.to_string();
        assert!(words.iter().chain([&name.0.as_str()]).all(|word| text.contains(word)), "{words:?} not in {text:?}");
    }
    assert!(ppipe::audit(&name.0).is_err());
    assert_eq!(name.remains().len(), 1, "what is not ours stays");
}

fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
}

#[test]
fn something_else_of_that_name_is_left_alone_and_the_error_says_what_it_is() {
    let file = Name::new("file");
    File::create(file.path()).expect("a file");
    refused(&file, &["found a regular file", "expected a directory with a segment"]);
    let fifo = Name::new("fifo");
    make_fifo(&fifo.path());
    refused(&fifo, &["found a FIFO", "expected a directory"]);
    let link = Name::new("link");
    std::os::unix::fs::symlink("/tmp", link.path()).expect("a link");
    refused(&link, &["found a symbolic link", "expected a directory"]);
    let other = Name::new("other");
    fs::create_dir(other.path()).expect("a directory");
    File::create(other.path().join("diary")).expect("a file");
    refused(&other, &["diary", "expected one with a segment"]);
}

#[test]
fn something_else_in_place_of_the_segment_is_named() {
    let place = |what: &str| {
        let name = Name::new(what);
        fs::create_dir(name.path()).expect("a directory");
        let segment = name.path().join("segment");
        (name, segment)
    };
    let (name, segment) = place("segment-fifo");
    make_fifo(&segment);
    refused(&name, &["a FIFO", "expected a regular file"]);
    let (name, segment) = place("segment-link");
    std::os::unix::fs::symlink("/etc/passwd", segment).expect("a link");
    refused(&name, &["a symbolic link", "expected a segment"]);
    let (name, segment) = place("segment-directory");
    fs::create_dir(segment).expect("a directory");
    refused(&name, &["a directory", "expected a segment"]);
    let (name, segment) = place("segment-empty");
    File::create(segment).expect("a file");
    refused(&name, &["size of the file is 0", &format!("expected {}", size_of::<Header>())]);
    let (name, segment) = place("segment-text");
    fs::write(segment, "x".repeat(10_000)).expect("a file");
    refused(&name, &["starts with 0x7878787878787878", "expected 0x"]);
}

#[test]
fn something_else_in_place_of_a_bell_is_named() {
    let place = |what: &str, bell: &str| {
        let name = Name::new(what);
        let end = Builder::new().nonblocking(true).open_reader(&name.0).expect("a pipe");
        let bell = name.path().join(bell);
        fs::remove_file(&bell).expect("it was there");
        (name, end, bell)
    };
    let refused = |name: &Name, kind: ErrorKind, parts: &[&str]| {
        let builder = Builder::new().nonblocking(true);
        for error in
            [builder.open_reader(&name.0).expect_err("a bell"), builder.open_writer(&name.0).expect_err("a bell")]
        {
            let text = error.to_string();
            assert_eq!(error.kind(), kind, "{text}");
            assert!(parts.iter().all(|part| text.contains(part)), "{text} does not say {parts:?}");
        }
    };
    let (name, _end, bell) = place("bell-file", "readable");
    File::create(bell).expect("a file");
    refused(&name, ErrorKind::InvalidData, &["its bells", "a regular file", "expected a FIFO"]);
    let (name, _end, bell) = place("bell-link", "writable");
    std::os::unix::fs::symlink("/dev/null", bell).expect("a link");
    refused(&name, ErrorKind::InvalidData, &["its bells", "a symbolic link", "expected a FIFO"]);
}

#[test]
fn a_name_whose_taking_away_somebody_began_and_was_killed_is_taken_away_by_the_next_who_opens_it() {
    let open = |name: &Name| Builder::new().nonblocking(true).open_reader(&name.0);
    for left in [&["writable", "segment"][..], &["segment"]] {
        let name = Name::new(&format!("half-gone-{}", left.len()));
        let before = open(&name).expect("a pipe");
        let writer = Builder::new().nonblocking(true).open_writer(&name.0).expect("a reader is there");
        for file in ["readable", "writable"].iter().filter(|file| !left.contains(file)) {
            fs::remove_file(name.path().join(file)).expect("it was there");
        }
        let error = Builder::new().must_exist().nonblocking(true).open_reader(&name.0).expect_err("it is gone");
        assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("there is none"), "{error}");
        let another = open(&name).expect("another pipe");
        writer.send(b"to those who had it").expect("they have it still");
        assert_eq!(before.recv(&mut [0; 32]).expect("it was sent").len, 19);
        assert_eq!(another.recv(&mut [0; 32]).expect_err("nobody writes").kind(), ErrorKind::UnexpectedEof);
        drop((before, writer));
        assert!(name.path().exists(), "it is another one's");
        drop(another);
        assert_eq!(name.remains(), [""; 0], "{left:?}");
    }
}

#[test]
fn a_damaged_segment_is_an_error_and_not_a_signal() {
    let whole = Name::new("whole");
    let reader = patient().nonblocking(true).slots(2).open_reader(&whole.0).expect("a pipe");
    let bytes = fs::read(whole.path().join("segment")).expect("its bytes");
    drop(reader);
    let damaged = |what: &str, words: &[&str], damage: &dyn Fn(&mut Vec<u8>)| {
        let name = Name::new(what);
        fs::create_dir(name.path()).expect("a directory");
        let mut bytes = bytes.clone();
        damage(&mut bytes);
        fs::write(name.path().join("segment"), bytes).expect("a file");
        refused(&name, words);
    };
    damaged("version", &["version 7", &format!("expected {VERSION}")], &|bytes| bytes[8] = 7);
    damaged("truncated", &["size of the file", "expected"], &|bytes| bytes.truncate(bytes.len() - 4096));
    let expected = format!("expected {}", size_of::<Header>());
    damaged("header", &["size of the file", &expected], &|bytes| bytes.truncate(size_of::<Header>() - 1));
    damaged("longer", &["size of the file", "expected"], &|bytes| bytes.resize(bytes.len() + 4096, 0));
    damaged("slots", &["number of slots is 3", "a power of two"], &|bytes| bytes[20] = 3);
    damaged("writers", &["number of writers is 0"], &|bytes| bytes[24..28].fill(0));
    damaged("checksum", &["checksum"], &|bytes| bytes[48] ^= 1);
}

#[test]
fn a_name_can_be_taken_away_also_when_nobody_has_it_any_more_or_its_segment_is_damaged() {
    let whole = Name::new("taken");
    let reader = patient().nonblocking(true).slots(2).open_reader(&whole.0).expect("a pipe");
    let bytes = fs::read(whole.path().join("segment")).expect("its bytes");
    drop(reader);
    // Nobody has locked anything in a copy.
    let left = [("taken-abandoned", bytes.clone()), ("taken-damaged", vec![7; 4096]), ("taken-empty", Vec::new())];
    for (what, bytes) in left {
        let name = Name::new(what);
        fs::create_dir(name.path()).expect("a directory");
        fs::write(name.path().join("segment"), bytes).expect("a file");
        ppipe::unlink(&name.0).expect("it can be taken away");
        assert_eq!(name.remains(), [""; 0], "{what}");
        assert_eq!(ppipe::unlink(&name.0).expect_err("no more").kind(), ErrorKind::NotFound);
    }
    let name = Name::new("taken-unfinished");
    fs::create_dir(name.path()).expect("a directory");
    ppipe::unlink(&name.0).expect("whoever was the last one out has not come to that");
    fs::create_dir(name.path()).expect("a directory");
    fs::write(name.path().join("notes"), "mine").expect("a file");
    let error = ppipe::unlink(&name.0).expect_err("not a pipe");
    assert!(error.kind() == ErrorKind::DirectoryNotEmpty && name.path().join("notes").exists(), "{error}");
}

#[test]
fn a_directory_of_another_user_is_refused() {
    let name = Name::new("owner");
    fs::create_dir(name.path()).expect("a directory");
    if std::os::unix::fs::chown(name.path(), Some(12345), None).is_err() {
        return eprintln!("skipped: only the system's administrator can give a directory to another user");
    }
    let error = patient().open_reader(&name.0).expect_err("who owns it can do to it what he likes");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("its owner is user 12345, expected 0"), "{error}");
}

#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    for mode in [0o770, 0o707] {
        let name = Name::new("mode");
        fs::create_dir(name.path()).expect("a directory");
        fs::set_permissions(name.path(), fs::Permissions::from_mode(mode)).expect("it is ours");
        let error = patient().open_reader(&name.0).expect_err("others can do to it what they like");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().contains(&format!("its mode is {mode:o}, expected 700")), "{error}");
    }
}

#[test]
fn opening_gives_up_when_its_time_is_over_and_leaves_nothing() {
    let name = Name::new("timeout");
    let soon = Builder::new().open_timeout(Duration::from_millis(20));
    assert_eq!(soon.open_writer(&name.0).expect_err("nobody reads").kind(), ErrorKind::TimedOut);
    assert_eq!(soon.open_reader(&name.0).expect_err("nobody writes").kind(), ErrorKind::TimedOut);
    assert_eq!(name.remains(), [""; 0]);
}

#[test]
fn nonblocking_a_writer_needs_a_reader_and_a_reader_needs_nobody() {
    let name = Name::new("nonblocking");
    let builder = Builder::new().nonblocking(true);
    let error = builder.open_writer(&name.0).expect_err("nobody reads");
    assert_eq!(error.raw_os_error(), Some(Errno::NXIO.raw_os_error()));
    assert_eq!(name.remains(), [""; 0]);
    let reader = builder.open_reader(&name.0).expect("a reader needs nobody");
    let writer = builder.open_writer(&name.0).expect("somebody reads");
    writer.send(b"hello").expect("room");
    drop(writer);
    let mut buffer = [0; 8];
    assert_eq!(reader.recv(&mut buffer).expect("a packet").len, 5);
    assert_eq!(reader.recv(&mut buffer).expect_err("nobody writes any more").kind(), ErrorKind::UnexpectedEof);
    drop(reader);
    assert_eq!(name.remains(), [""; 0]);
}

#[test]
fn the_name_lives_as_long_as_its_last_end() {
    let name = Name::new("last");
    let builder = Builder::new().nonblocking(true);
    let reader = builder.open_reader(&name.0).expect("a pipe");
    let writer = builder.open_writer(&name.0).expect("somebody reads");
    let clone = writer.try_clone().expect("an entry");
    drop(reader);
    drop(writer);
    assert_eq!(name.remains().len(), 1);
    let reader = builder.open_reader(&name.0).expect("the same pipe");
    clone.send(b"still here").expect("somebody reads again");
    let mut buffer = [0; 16];
    assert_eq!(reader.recv(&mut buffer).expect("a packet").len, 10);
    drop(clone);
    assert_eq!(name.remains().len(), 1);
    drop(reader);
    assert_eq!(name.remains(), [""; 0]);
}

#[test]
fn an_audit_of_a_name_joins_nothing_and_says_when_there_is_none() {
    let name = Name::new("audit");
    assert_eq!(ppipe::audit(&name.0).expect_err("no such pipe").kind(), ErrorKind::NotFound);
    let reader = Builder::new().nonblocking(true).open_reader(&name.0).expect("a pipe");
    let audit = ppipe::audit(&name.0).expect("a pipe");
    assert!(audit.is_sound(), "{audit}");
    assert_eq!(audit.held().count(), 1);
    drop(reader);
    assert_eq!(name.remains(), [""; 0]);
}

#[test]
fn what_a_killed_test_left_is_swept_and_what_a_live_one_has_stays() {
    let mut child = std::process::Command::new("true").spawn().expect("a child");
    child.wait().expect("it ends");
    let (dead, alive) = (Name(format!("test-{}-left", child.id())), Name::new("kept"));
    let unfinished = Path::new("/dev/shm").join(format!(".ppipe-{}.1", dead.0));
    for path in [&dead.path(), &alive.path(), &unfinished] {
        fs::create_dir(path).expect("a directory");
    }
    assert_eq!(dead.remains().len(), 2);
    sweep();
    assert_eq!((dead.remains().len(), alive.remains().len()), (0, 1));
}
