//! The manual against the header: every prototype, and of every function whether it waits, who may call it, and what it fails with.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Command;

mod prototypes;

use prototypes::{functions, name_of, of_the_project, prototypes};

/// A prototype as both write it: what a structure is called by, and blanks, are not the same.
fn plain(prototype: &str) -> String {
    let plain = prototype.replace("struct ppipe", "ppipe").replace("unsigned int", "unsigned");
    plain.split_whitespace().collect()
}

/// What a line in two alternating fonts says.
fn text_of(line: &str) -> String {
    let mut text = String::new();
    let mut is_quoted = false;
    for c in line.trim_start_matches(".BI ").chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => {}
            c => text.push(c),
        }
    }
    text
}

#[test]
fn the_synopsis_is_the_header() {
    let manual = of_the_project("man/ppipe.3");
    let (_, synopsis) = manual.split_once(".SH SYNOPSIS").expect("a section");
    let (synopsis, _) = synopsis.split_once(".SH ").expect("another section");
    let lines = synopsis.lines().filter(|line| line.starts_with(".BI "));
    let in_manual: BTreeSet<_> = lines.map(|line| plain(text_of(line).trim_end_matches(';'))).collect();
    let in_header: BTreeSet<_> = prototypes().iter().map(|prototype| plain(prototype)).collect();
    assert_eq!(in_manual, in_header);
    let (_, names) = manual.split_once(".SH NAME").expect("a section");
    let (names, _) = names.split_once("\\- ").expect("what it is");
    let names: BTreeSet<_> = names.split([',', ' ', '\n']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    assert_eq!(names, functions());
}

/// The rows of the table of attributes: of each function whether it waits, two more answers, and its errors.
fn attributes(manual: &str) -> BTreeMap<String, (Vec<String>, BTreeSet<String>)> {
    let (_, table) = manual.split_once("function\twaits\tMT\tAS\terrors\n_\n").expect("a table");
    let (table, _) = table.split_once(".TE").expect("its end");
    let rows = table.split("\nT}\n").filter(|row| !row.trim().is_empty());
    let parts = rows.map(|row| {
        let (answers, errors) = row.split_once("\tT{\n").expect("errors");
        let mut answers = answers.split('\t').map(|answer| answer.trim().to_owned());
        let name = answers.next().expect("a name");
        (name, (answers.collect(), errors_in(errors)))
    });
    parts.collect()
}

fn errors_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_error = |word: &&str| {
        word.len() > 3 && word.starts_with('E') && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    };
    words.filter(is_error).map(str::to_owned).collect()
}

#[test]
fn of_every_function_the_manual_says_whether_it_waits_who_may_call_it_and_what_it_fails_with() {
    let manual = of_the_project("man/ppipe.3");
    let attributes = attributes(&manual);
    let names: BTreeSet<_> = attributes.keys().cloned().collect();
    assert_eq!(names, functions());
    let (_, explained) = manual.split_once(".SH ERRORS").expect("a section");
    let (explained, _) = explained.split_once(".SH ATTRIBUTES").expect("the next one");
    let explained: BTreeSet<_> =
        explained.lines().filter_map(|line| line.strip_prefix(".B E")).map(|rest| format!("E{rest}")).collect();
    let mut all = BTreeSet::new();
    for (name, (answers, errors)) in attributes {
        assert_eq!(answers.len(), 3, "{name}");
        assert!(answers[1..] == ["yes", "no"], "{name}: {answers:?}");
        assert!(!errors.is_empty(), "{name}");
        all.extend(errors);
    }
    assert_eq!(all, explained, "each error is explained, and each one that is explained is some function's");
}

/// What is told of each function in words, and not only in its prototype.
#[test]
fn every_function_and_every_constant_is_spoken_of() {
    let manual = of_the_project("man/ppipe.3");
    let (_, text) = manual.split_once(".SH DESCRIPTION").expect("a section");
    let (text, _) = text.split_once(".SH ATTRIBUTES").expect("a section");
    let words: BTreeSet<_> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    for prototype in prototypes() {
        assert!(words.contains(name_of(&prototype)), "{prototype}");
    }
    let header = of_the_project("include/ppipe.h");
    let defined = header.lines().filter_map(|line| line.strip_prefix("#define ")?.split_once(' '));
    let constants: Vec<_> = defined.map(|(name, _)| name).collect();
    assert!(constants.contains(&"PPIPE_SIGPIPE"), "{constants:?}");
    let flags = ["SPLICE_F_NONBLOCK", "SPLICE_F_MOVE", "SPLICE_F_MORE", "SPLICE_F_GIFT", "MSG_PEEK", "MSG_DONTWAIT"];
    for constant in constants.into_iter().chain(flags) {
        assert!(words.contains(constant), "{constant}");
        assert!(header.contains(constant), "{constant}");
    }
}

/// What groff warns of, or `None` where there is none.
fn warnings(page: &str) -> Option<String> {
    let path = format!("{}/man/{page}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("groff").args(["-ww", "-t", "-man", "-Tutf8", &path]).output().ok()?;
    assert!(output.status.success());
    Some(String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn the_pages_are_set_without_a_warning() {
    for page in ["ppipe.3", "ppipe.7"] {
        match warnings(page) {
            Some(warnings) => assert_eq!(warnings, "", "{page}"),
            // Past the harness, which shows nothing of tests that end well.
            None => _ = writeln!(std::io::stderr(), "skipped: there is no groff, so {page} was not set"),
        }
    }
}
