//! The demonstration moves real files through both pipes, and everything it says about them is so.

mod support;

use std::fs;
use std::process::Stdio;

use serde_json::Value;
use support::{Terminal, run, start_with};

const AMOUNT: u64 = 1 << 20;

/// Two files, one of them below a directory, and an empty one.
fn files() -> (tempfile::TempDir, Vec<u8>) {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let first: Vec<u8> = (0..100_003_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::create_dir(root.path().join("deep")).expect("a directory");
    fs::write(root.path().join("a"), &first).expect("a file");
    fs::write(root.path().join("deep/b"), "second").expect("a file");
    fs::write(root.path().join("empty"), "").expect("a file");
    let all = [&first[..], b"second"].concat();
    (root, all)
}

fn path(root: &tempfile::TempDir) -> &str {
    root.path().to_str().expect("a path")
}

#[test]
fn the_table_shows_both_pipes() {
    let (root, all) = files();
    let ended = run(["demo", path(&root), "--amount", "1M", "--rounds", "2", "--pings", "200"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let table = ended.text();
    for expected in [
        "97.7 KiB in 2 files",
        &format!("CRC-32 {:08x}", crc32fast::hash(&all)),
        "2 rounds",
        "stream, 4 KiB writes",
        "stream, 64 KiB writes",
        "packets of 64 B",
        "packets of 4 KiB",
        "packets of 64 KiB *",
        "kernel pipe, polled",
        "p99.9",
        "half of a round trip",
    ] {
        assert!(table.contains(expected), "{expected} is not in\n{table}");
    }
    assert!(!table.contains('\x1b') && !table.contains("NaN"), "{table}");
}

#[test]
fn the_json_has_every_figure() {
    let (root, all) = files();
    let ended = run(["demo", path(&root), "--json", "--amount", "1M", "--rounds", "1", "--pings", "200"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let figures: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    assert_eq!(figures["input"]["files"], 2);
    assert_eq!(figures["input"]["bytes"], all.len());
    assert_eq!(figures["input"]["checksum"], crc32fast::hash(&all));
    assert_eq!(figures["rounds"], 1);
    // Four workloads move the amount and one a quarter, through both pipes, and before that a sixteenth to warm up.
    let each_pipe = 4 * AMOUNT + AMOUNT / 4;
    assert_eq!(figures["bytes_verified"], 2 * (each_pipe + each_pipe / 16));
    let throughput = figures["throughput"].as_array().expect("rows");
    assert_eq!(throughput.len(), 5);
    for row in throughput {
        for side in ["ours", "kernel"] {
            assert!(row[side]["bytes_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{row}");
            assert_eq!(row[side]["packets_per_second"].is_number(), row["is_packets"] == true, "{row}");
        }
        assert!(row["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{row}");
    }
    let latency = figures["latency"].as_array().expect("rows");
    let round_trips: Vec<_> = latency.iter().map(|row| row["round_trips"].as_u64().expect("a count")).collect();
    assert_eq!(round_trips, [200, 200, 20]);
    for row in latency {
        let times = ["p50_ns", "p90_ns", "p99_ns", "p99_9_ns", "max_ns"].map(|key| row[key].as_f64().expect("a time"));
        assert!(times[0] > 0.0 && times.is_sorted(), "{row}");
    }
}

#[test]
fn larger_pipes_carry_the_same() {
    let (root, _) = files();
    let arguments = ["demo", path(&root), "--capacity", "1M", "--amount", "1M", "--rounds", "1", "--pings", "20"];
    let ended = run(arguments);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.text().contains("capacity 1 MiB"), "{}", ended.text());
}

#[test]
fn without_a_file_the_system_has_something_to_move() {
    let ended = run(["demo", "--limit", "3M", "--amount", "1M", "--rounds", "1", "--pings", "20"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.text().contains("3 MiB in "), "{}", ended.text());
}

#[test]
fn a_falsified_byte_is_a_checksum_error() {
    let (root, _) = files();
    let ended = run(["demo", path(&root), "--falsify", "--amount", "1M", "--rounds", "1", "--pings", "20"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.is_empty());
    assert!(ended.stderr.starts_with("ppipe: ppipe, stream, 4 KiB writes: checksum error: "), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1);
}

#[test]
fn a_terminal_sees_how_far_it_is_and_what_it_does_and_is_clean_afterwards() {
    let (root, _) = files();
    let terminal = Terminal::new();
    let arguments = ["demo", path(&root), "--amount", "1M", "--rounds", "2", "--pings", "2000"];
    let ended = start_with(arguments, |command| {
        command.stdin(Stdio::null()).stderr(terminal.device());
    })
    .end();
    assert_eq!(ended.code, Some(0));
    let written = terminal.written();
    assert!(written.contains("reading the input") && written.contains("stream, 4 KiB writes"), "{written:?}");
    let percents: Vec<u32> =
        written.split(" %").filter_map(|before| before.rsplit([' ', 'm']).next()?.parse().ok()).collect();
    // How many of the steps are drawn depends on how quickly they go by.
    assert!(percents.is_sorted() && percents.last().is_some_and(|&last| (1..=100).contains(&last)), "{written:?}");
    // The last thing that is written of the bar is that its line is cleared.
    assert!(written.trim_end().ends_with("\x1b[2K") || written.trim_end().ends_with("\x1b[J"), "{written:?}");
    assert!(!ended.text().contains('\x1b'), "{}", ended.text());
}

#[test]
fn nobody_reading_the_output_is_no_failure() {
    let (root, _) = files();
    for kind in ["--json", "--pings=20"] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ended = start_with(["demo", path(&root), kind, "--amount", "64K", "--rounds", "1"], |command| {
            command.stdin(Stdio::null()).stdout(writer);
        })
        .end();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    }
}
