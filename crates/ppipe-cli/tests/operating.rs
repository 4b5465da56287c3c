//! What an operator sees of pipes that are in use, stuck or left behind, and what he removes.

mod support;

use std::fs::{self, File};
use std::io::{PipeWriter, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::sync::atomic::Ordering;

use rustix::fs::chown;
use rustix::process::{Signal, Uid, geteuid};
use serde_json::Value;
use shm_ring::Segment;
use shm_ring::holding::Holding;
use shm_ring::segment::Size;
use support::{Ended, Name, Running, is_stopped, run, start, start_with, until};

fn json(ended: &Ended) -> Value {
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.text());
    serde_json::from_slice(&ended.stdout).expect("JSON")
}

/// What `ppipe ls` says of the name.
fn listed(name: &Name) -> Option<Value> {
    let list = json(&run(["ls", "--json"]));
    list.as_array().expect("a list").iter().find(|pipe| pipe["name"] == name.0.as_str()).cloned()
}

fn status(name: &Name) -> Value {
    json(&run(["stat", "--json", "--seconds", "0.05", &name.0]))
}

/// A reader, and a writer whose input stays open as long as the third value lives; they have met.
fn pair(name: &Name) -> (Running, Running, PipeWriter) {
    let (stdin, mut input) = std::io::pipe().expect("a pipe");
    let writer = start_with(["write", &name.0], |command| {
        command.stdin(stdin);
    });
    let reader = start(["read", &name.0]);
    input.write_all(b"hello").expect("a writer");
    until("they have met", || reader.output_len() == 5);
    (reader, writer, input)
}

/// A name whose only user was killed.
fn left_behind(what: &str) -> Name {
    let name = Name::new(what);
    let reader = start(["read", &name.0]);
    until("the name is there", || name.is_there());
    reader.signal(Signal::KILL);
    assert_eq!(reader.end().signal, Some(9));
    name
}

/// What the text says of paths with the name in them.
fn lines_about(name: &Name, text: &str) -> Vec<String> {
    text.lines().filter(|line| line.contains(&name.0)).map(str::to_owned).collect()
}

#[test]
fn a_pipe_in_use_is_listed_with_who_is_there() {
    let name = Name::new("listed");
    let (_reader, _writer, _input) = pair(&name);
    let pipe = listed(&name).expect("it is there");
    assert_eq!((&pipe["condition"], &pipe["mode"]), (&"in_use".into(), &"700".into()));
    assert_eq!(pipe["user"], geteuid().as_raw());
    assert!(pipe["memory"].as_u64() > Some(65_536), "{pipe}");
    let accounts = &pipe["accounts"];
    assert_eq!((&accounts["slots"], &accounts["full_slots"], &accounts["unread"]), (&16.into(), &0.into(), &0.into()));
    assert_eq!((&accounts["writers"]["present"], &accounts["readers"]["present"]), (&1.into(), &1.into()));
    let text = run(["ls"]).text();
    let line = lines_about(&name, &text);
    assert!(line.len() == 1 && line[0].contains("0/16") && line[0].ends_with("in use"), "{text}");
}

#[test]
fn a_stopped_reader_of_a_full_pipe_is_named_with_what_to_do() {
    let name = Name::new("stuck");
    let (reader, writer, mut input) = pair(&name);
    reader.signal(Signal::STOP);
    until("the reader stands", || is_stopped(reader.id()));
    // As much as the pipe holds, and more than the writer has read then.
    input.write_all(&[7; 65_536]).expect("a writer");
    until("the pipe is full", || listed(&name).is_some_and(|pipe| pipe["accounts"]["full_slots"] == 16));

    let status = status(&name);
    let participants = status["participants"].as_array().expect("a list");
    let of = |side: &str| participants.iter().find(|one| one["side"] == side).expect("one of that side");
    let (read, wrote) = (of("reader"), of("writer"));
    assert_eq!((&read["pid"], &read["process"]["id"]), (&reader.id().into(), &reader.id().into()));
    assert_eq!((&read["process"]["state"], &read["process"]["command"]), (&"stopped".into(), &"ppipe".into()));
    assert_eq!(wrote["process"]["id"], writer.id());
    assert!(wrote["page"].is_u64() && wrote["activity"] == "idle", "{wrote}");
    assert_eq!(status["damage"], Value::Array(Vec::new()));
    assert_eq!(status["others"], Value::Array(Vec::new()), "who looks is not listed");

    let text = run(["stat", &name.0]).text();
    assert!(text.contains(&format!("process {} (ppipe) is stopped", reader.id())), "{text}");
    assert!(text.contains(&format!("`kill -CONT {}`", reader.id())), "{text}");
    assert!(text.contains("it is full, and every reader stands"), "{text}");

    reader.signal(Signal::CONT);
    drop(input);
    assert_eq!(writer.end().code, Some(0));
    assert_eq!(reader.end().stdout.len(), 5 + 65_536);
    assert_eq!(name.leavings(), [""; 0]);
}

#[test]
fn a_writer_that_is_stopped_in_the_midst_of_an_exchange_is_shown_so() {
    let name = Name::new("midst");
    let (reader, writer, input) = pair(&name);
    let segment = File::options().read(true).write(true).open(name.path().join("segment")).expect("its segment");
    let segment = Segment::attach(segment, Size::Trusted).expect("a segment");
    writer.signal(Signal::STOP);
    until("the writer stands", || is_stopped(writer.id()));
    // As if it stood some instructions further on: the first writer of a pipe has its first entry, and what it says of itself there is only to be read.
    let record = &segment.entry(0).record;
    let settled = record.load(Ordering::Relaxed);
    let Holding::Settled(own) = Holding::decode(settled) else { panic!("it was in the midst of something") };
    let expected = segment.layout().first_page_of(1);
    record.store(Holding::Pending { offered: own, expected }.encode(), Ordering::Relaxed);

    let seen = status(&name);
    let participants = seen["participants"].as_array().expect("a list");
    let wrote = participants.iter().find(|one| one["side"] == "writer").expect("a writer");
    assert_eq!((&wrote["activity"], &wrote["exchange"]), (&"exchanging".into(), &serde_json::json!([own, expected])));
    assert!(wrote["stands_for"].as_f64() >= Some(0.05), "{wrote}");
    let text = run(["stat", &name.0]).text();
    assert!(text.contains("in the midst of an exchange for at least 0.2 s"), "{text}");
    assert!(text.contains("is stopped, in the midst of an exchange: nobody waits for that"), "{text}");

    record.store(settled, Ordering::Relaxed);
    writer.signal(Signal::CONT);
    drop(input);
    assert_eq!((writer.end().code, reader.end().code), (Some(0), Some(0)));
    assert_eq!(name.leavings(), [""; 0]);
}

#[test]
fn the_state_of_a_pipe_that_is_not_there_is_an_error_that_names_it() {
    let name = Name::new("missing");
    for command in ["stat", "rm"] {
        let ended = run([command, &name.0]);
        assert_eq!((ended.code, ended.stderr), (Some(1), format!("ppipe: pipe {:?}: there is none\n", name.0)));
    }
}

#[test]
fn what_the_dead_left_is_removed_and_what_lives_stays() {
    let (dead, alive) = (left_behind("dead"), Name::new("alive"));
    let (_reader, _writer, _input) = pair(&alive);
    assert_eq!(listed(&dead).expect("it is there")["condition"], "left_behind");
    assert!(run(["stat", &dead.0]).text().contains("nobody has it open"));

    let both = [dead.0.as_str(), &alive.0];
    let swept = |options: &[&str]| {
        start_with(["gc"], |command| {
            command.args(options).args(both);
        })
        .end()
    };
    let path = dead.path();
    let ended = swept(&["--dry-run"]);
    assert_eq!(
        (ended.code, ended.text()),
        (Some(0), format!("would remove {}: left by its last user\n", path.display()))
    );
    assert!(dead.is_there(), "nothing was to be removed");

    let ended = swept(&[]);
    assert_eq!((ended.code, ended.text()), (Some(0), format!("removed {}: left by its last user\n", path.display())));
    assert_eq!(dead.leavings(), [""; 0]);
    assert_eq!(listed(&alive).expect("it lives")["condition"], "in_use");
    assert_eq!(swept(&[]).text(), "", "nothing is left");
}

#[test]
fn what_was_left_half_made_is_swept_with_its_name() {
    let name = Name::new("half");
    let hidden = format!("/dev/shm/.ppipe-{}.0123456789abcdef", name.0);
    fs::create_dir(&hidden).expect("a directory");
    assert_eq!(listed(&name).expect("it is there")["condition"], "left_half_made");
    let ended = run(["gc", &name.0]);
    assert_eq!((ended.code, ended.text()), (Some(0), format!("removed {hidden}: left half made\n")));
    assert_eq!(name.leavings(), [""; 0]);
}

#[test]
fn a_damaged_pipe_is_named_by_the_sweeper_and_removed_by_its_name() {
    let name = left_behind("damaged");
    let segment = File::options().write(true).open(name.path().join("segment")).expect("its segment");
    segment.write_all_at(&[0; 64], 0).expect("a write");
    let ended = run(["gc", &name.0]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains(&name.0) && ended.stderr.contains("not a ppipe segment"), "{}", ended.stderr);
    assert!(name.is_there(), "it may be another version's, and alive");
    let listed = listed(&name).expect("it is there");
    assert!(listed["problem"].as_str().expect("why").contains("not a ppipe segment"), "{listed}");
    assert_eq!(run(["rm", &name.0]).code, Some(0));
    assert_eq!(name.leavings(), [""; 0]);
}

#[test]
fn a_name_is_taken_away_from_a_pipe_in_use_which_goes_on() {
    let name = Name::new("taken");
    let (reader, writer, mut input) = pair(&name);
    assert_eq!(run(["rm", &name.0]).code, Some(0));
    assert_eq!(name.leavings(), [""; 0]);
    input.write_all(b" again").expect("a writer");
    until("it arrives", || reader.output_len() == 11);
    drop(input);
    assert_eq!((writer.end().code, reader.end().code), (Some(0), Some(0)));
}

#[test]
fn root_sees_and_removes_what_another_user_left_as_that_user() {
    if !geteuid().is_root() {
        println!("skipped: only root can give a pipe to another user");
        return;
    }
    let name = left_behind("others");
    let other = Uid::from_raw(65_534);
    for path in [name.path(), name.path().join("segment"), name.path().join("readable"), name.path().join("writable")] {
        chown(path, Some(other), None).expect("root may");
    }
    let pipe = listed(&name).expect("it is there");
    assert_eq!((&pipe["condition"], &pipe["user"]), (&"left_behind".into(), &65_534.into()));
    assert!(run(["stat", &name.0]).text().contains("of user 65534"));
    // One that the world may write to is not opened, whoever asks.
    fs::set_permissions(name.path(), fs::Permissions::from_mode(0o777)).expect("root may");
    let pipe = listed(&name).expect("it is there");
    assert!(pipe["problem"].as_str().expect("why").contains("others may write to it"), "{pipe}");
    fs::set_permissions(name.path(), fs::Permissions::from_mode(0o700)).expect("root may");
    assert_eq!(run(["gc", &name.0]).stderr, "");
    assert_eq!(name.leavings(), [""; 0]);
}
