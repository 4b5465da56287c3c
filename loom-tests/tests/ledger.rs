//! `docs/ordering.md`, the sources, the models and the mutants speak of the same things.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace around this package").to_owned()
}

fn ledger() -> String {
    read(&workspace().join("docs/ordering.md"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text of every Rust file below `folder`.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a readable entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let here = files.into_iter().filter(is_rust).map(|path| (path.clone(), read(&path)));
    here.chain(folders.iter().flat_map(|folder| sources(folder))).collect()
}

fn shipped() -> Vec<(PathBuf, String)> {
    let crates = fs::read_dir(workspace().join("crates")).expect("a folder of crates");
    crates.flat_map(|entry| sources(&entry.expect("a readable entry").path().join("src"))).collect()
}

/// What stands between each `open` and the next `close`.
fn between<'a>(text: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split_once(close)).map(|(inside, _)| inside)
}

fn ids_in_sources() -> BTreeSet<String> {
    shipped()
        .iter()
        .flat_map(|(_, text)| between(text, "[ledger: ", ']').map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// The lines of the tables, cell by cell.
fn rows(ledger: &str) -> impl Iterator<Item = Vec<&str>> {
    ledger
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| id "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

#[test]
fn every_ordering_in_the_sources_is_in_the_ledger_and_the_other_way_round() {
    let ledger = ledger();
    let listed: Vec<String> = rows(&ledger).map(|row| row[0].to_owned()).collect();
    let set: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(set.len(), listed.len(), "an id is in the ledger twice: {listed:?}");
    assert_eq!(set, ids_in_sources());
    assert!(set.len() >= 20);
}

#[test]
fn every_line_of_the_ledger_is_complete_and_names_its_files() {
    let ledger = ledger();
    let shipped = shipped();
    for row in rows(&ledger) {
        assert!(row.len() == 6 && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        let id = format!("[ledger: {}]", row[0]);
        for file in row[1].split(['`', ' ', ':']).filter(|word| word.ends_with(".rs")) {
            let is_there = |(path, text): &(PathBuf, String)| path.ends_with(file) && text.contains(&id);
            assert!(shipped.iter().any(is_there), "{id} is not in {file}");
        }
    }
}

#[test]
fn every_model_that_the_ledger_names_exists() {
    let folder = workspace().join("loom-tests/tests/models");
    let ledger = ledger();
    let names: BTreeSet<(&str, &str)> = ledger.split('`').filter_map(|word| word.split_once("::")).collect();
    assert!(names.len() >= 10, "the ledger names only {names:?}");
    for (file, law) in names {
        let text = read(&folder.join(file).with_extension("rs"));
        assert!(text.contains(&format!("#[test]\nfn {law}()")), "{file}::{law} does not exist");
    }
}

#[test]
fn every_model_has_a_mutant_that_it_catches() {
    let package = workspace().join("loom-tests");
    let mutants: String = sources(&package.join("src/bin/mutants")).into_iter().map(|(_, text)| text).collect();
    // Not those of which it is said that no model sees them.
    let caught: String = mutants.split("Mutant {").filter(|mutant| mutant.contains("fate: Fate::Caught")).collect();
    let mut laws = 0;
    for (path, text) in ["tests/models", "tests/schedules"].iter().flat_map(|folder| sources(&package.join(folder))) {
        let file = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        // What must panic shows by itself that it can.
        for law in between(&text, "#[test]\nfn ", '(') {
            laws += 1;
            let is_about_loom = law.starts_with("loom_alone");
            assert!(is_about_loom || caught.contains(&format!("\"{file}::{law}\"")), "{file}::{law} has no mutant");
        }
    }
    assert!(laws >= 30, "only {laws} models");
}

#[test]
fn every_ordering_of_the_algorithm_has_an_id() {
    // An ordering may stand a few lines below the comment that explains it.
    const REACH: usize = 7;
    for (path, text) in shipped() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !["holding.rs", "place.rs", "ring.rs", "extent.rs", "waiting.rs", "bell.rs", "reaping.rs", "tenure.rs"]
            .contains(&name)
        {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines: Vec<&str> = code.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let is_use = ["Acquire", "Release", "AcqRel", "SeqCst", "Relaxed"]
                .iter()
                .any(|order| line.contains(&format!("Ordering::{order}")));
            let has_id = lines[at.saturating_sub(REACH)..=at].iter().any(|line| line.contains("[ledger: "));
            assert!(!is_use || has_id, "{}:{}: an ordering without an id: {line}", path.display(), at + 1);
        }
    }
}

/// The words of `text` that are set as code.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What may be a function's name, of so many words at least.
fn is_name(word: &str, words: usize) -> bool {
    let is_of_names = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    word.bytes().all(is_of_names) && word.split('_').count() >= words
}

#[test]
fn every_test_and_every_file_that_the_documents_name_exists() {
    // Shorter names outside of the tables' last column are those of functions, here and in the kernel.
    const WORDS: usize = 5;
    let workspace = workspace();
    let mut sources: Vec<_> =
        ["crates", "loom-tests", "benches"].map(|folder| all_files(&workspace.join(folder))).concat();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "rs" || extension == "c"));
    let texts: String = sources.iter().map(|path| read(path)).collect();
    let is_there = |law: &str| texts.contains(&format!("fn {law}(")) || texts.contains(&format!("void {law}(void)"));
    assert!(!is_there("a_test_that_nobody_has_written"));
    let mut count = 0;
    for document in ["docs/semantics.md", "docs/crash.md", "docs/ordering.md", "docs/pairs.md", "docs/weakened.md"] {
        let text = read(&workspace.join(document));
        let cells = text
            .lines()
            .filter(|line| line.starts_with("| "))
            .filter_map(|line| line.trim_end_matches([' ', '|']).rsplit_once(" | "));
        let is_of_semantics = document == "docs/semantics.md";
        let in_cells =
            cells.filter(|_| is_of_semantics).flat_map(|(_, cell)| code(cell)).filter(|word| is_name(word, 2));
        let anywhere = code(&text)
            .map(|word| word.rsplit_once("::").map_or(word, |(_, law)| law))
            .filter(|word| is_name(word, WORDS));
        for law in in_cells.chain(anywhere) {
            assert!(is_there(law), "{document}: there is no {law}");
            count += 1;
        }
        for file in code(&text).filter(|word| word.ends_with(".rs") || word.ends_with(".c")) {
            let is_it = |path: &PathBuf| path.ends_with(file);
            // The kernel's own are elsewhere.
            assert!(file.starts_with("fs/") || sources.iter().any(is_it), "{document}: there is no {file}");
        }
    }
    assert!(count >= 150, "only {count} names");
}

/// The paths of all files below `folder`.
fn all_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let (folders, files): (Vec<_>, Vec<_>) =
        entries.map(|entry| entry.expect("a readable entry").path()).partition(|path| path.is_dir());
    files.into_iter().chain(folders.iter().flat_map(|folder| all_files(folder))).collect()
}
