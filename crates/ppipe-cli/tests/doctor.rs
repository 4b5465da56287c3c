//! The doctor on this machine, and in places of its own that lack something.

mod support;

use std::process::Stdio;

use rustix::process::geteuid;
use serde_json::Value;
use support::{Ended, run, start_program};

/// Those that say whether pipes work at all, which they do where these tests run.
const NEEDED: [&str; 6] = ["/proc", "/dev/shm", "unnamed pipe", "named pipe", "locks", "sealed memory"];

fn json(ended: &Ended) -> Value {
    assert_eq!(ended.stderr, "");
    serde_json::from_slice(&ended.stdout).expect("JSON")
}

fn verdict_of<'a>(findings: &'a Value, name: &str) -> &'a str {
    let points = findings["points"].as_array().expect("a list");
    let point = points.iter().find(|point| point["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    point["verdict"].as_str().expect("a word")
}

/// What the doctor says after `commands` in namespaces of its own; `None` if the system lets nobody have them.
fn after(commands: &str) -> Option<Ended> {
    let options = if geteuid().is_root() { "-m" } else { "-Urm" };
    let script = format!("{commands} && echo ready >&2 && exec \"$0\" doctor --json");
    let arguments = [options, "sh", "-c", &script, env!("CARGO_BIN_EXE_ppipe")];
    let mut ended = start_program("unshare", arguments, |command| {
        command.stdin(Stdio::null());
    })
    .end();
    if ended.stderr != "ready\n" {
        println!("skipped: this system lets nobody have namespaces of his own: {}", ended.stderr);
        return None;
    }
    ended.stderr.clear();
    Some(ended)
}

#[test]
fn where_pipes_work_all_that_they_need_is_well() {
    let ended = run(["doctor", "--json"]);
    let findings = json(&ended);
    for name in NEEDED {
        assert_eq!(verdict_of(&findings, name), "well", "{findings:#}");
    }
    // What else is found here is this machine's affair; the exit code says what the points say.
    let points = findings["points"].as_array().expect("a list");
    let is_well = points.iter().all(|point| point["verdict"] != "to_do");
    assert_eq!((findings["is_well"].as_bool(), ended.code), (Some(is_well), Some(i32::from(!is_well))));

    let ended = run(["doctor"]);
    let lines: Vec<_> = ended.stdout.split(|&byte| byte == b'\n').collect();
    assert!(lines.len() > points.len() && ended.text().contains("well   named pipe"), "{}", ended.text());
}

#[test]
fn a_dev_shm_that_is_too_small_is_to_be_made_larger() {
    let Some(ended) = after("mount -t tmpfs -o size=64k none /dev/shm") else { return };
    let findings = json(&ended);
    assert_eq!(ended.code, Some(1));
    for name in ["room in /dev/shm", "named pipe"] {
        assert_eq!(verdict_of(&findings, name), "to_do", "{findings:#}");
    }
    assert_eq!(verdict_of(&findings, "unnamed pipe"), "well", "they need no /dev/shm");
    assert!(findings.to_string().contains("/dev/shm is full"), "{findings:#}");
}

#[test]
fn without_proc_that_is_the_first_thing_to_do() {
    let Some(ended) = after("mount -t tmpfs none /proc") else { return };
    let findings = json(&ended);
    assert_eq!(ended.code, Some(1));
    assert_eq!((&findings["points"][0]["name"], verdict_of(&findings, "/proc")), (&"/proc".into(), "to_do"));
    assert_eq!(verdict_of(&findings, "locks"), "note", "it could not be tried");
}

#[test]
fn limits_of_the_process_are_found() {
    let script = "ulimit -f 1000 -v 200000 -n 24; exec \"$0\" doctor --json";
    let ended = start_program("/bin/bash", ["-c", script, env!("CARGO_BIN_EXE_ppipe")], |command| {
        command.stdin(Stdio::null());
    })
    .end();
    let findings = json(&ended);
    assert_eq!(ended.code, Some(1));
    for name in ["size of files", "address space", "descriptors", "unnamed pipe", "named pipe"] {
        assert_eq!(verdict_of(&findings, name), "to_do", "{findings:#}");
    }
    assert!(findings.to_string().contains("RLIMIT_FSIZE"), "{findings:#}");
}
