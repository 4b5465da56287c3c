//! Every ordering of the algorithm files, and every fence, weakened by one step at a time; found in the text, so that none is forgotten.
//!
//! ```text
//!   AcqRel ──> Acquire, Release      Acquire, Release ──> Relaxed      SeqCst ──> AcqRel      a fence ──> none
//! ```
//!
//! What came of each is a row of `docs/weakened.md`, which is written anew after each: who runs it again goes on where it ended.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::bench::{Bench, Verdict};
use crate::list_of_weakenings::{CANDIDATES, UNSEEN};

/// The algorithm files, those that the models run.
const FILES: [&str; 11] = [
    "bell.rs",
    "counting.rs",
    "extent.rs",
    "holding.rs",
    "moving.rs",
    "place.rs",
    "reaping.rs",
    "ring.rs",
    "slot.rs",
    "tenure.rs",
    "waiting.rs",
];
/// What is replaced by what.
const STEPS: [(&str, &str); 10] = [
    ("Ordering::SeqCst", "Ordering::AcqRel"),
    ("Ordering::AcqRel", "Ordering::Acquire"),
    ("Ordering::AcqRel", "Ordering::Release"),
    ("Ordering::Acquire", "Ordering::Relaxed"),
    ("Ordering::Release", "Ordering::Relaxed"),
    ("crate::sync::fence(Ordering::SeqCst);", ""),
    ("fence(Ordering::SeqCst);", ""),
    ("fence_after_rmw();", ""),
    ("fence_of_actors(heard.is_fenced_by_sleepers);", ""),
    ("fence_of_sleepers() && ", ""),
];
/// Fences, which are no accesses: without them, not with weaker ones.
const FENCES: [(&str, &str); 3] = [
    ("crate::sync::fence(Ordering::Acquire);", ""),
    ("crate::sync::fence(Ordering::Release);", ""),
    ("fence(Ordering::Release);", ""),
];
const TABLE: &str = "docs/weakened.md";
const HEADER: &str = "\
# Every ordering, weaker by one step

Made by `just weaken`, which finds each ordering stronger than Relaxed, and each fence, in the files that the models run, weakens that one
alone, and runs the models that [the ledger](ordering.md) names for it until one sees it. What no model sees has its reason here, and in the
ledger at more length. A test sees to it that no row is missing or stale.

| id | file | what | weakened to | seen by, or why by none |
|---|---|---|---|---|
";

/// One ordering to be weakened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Weakening {
    id: String,
    file: &'static str,
    /// Where in the file's text, and what is there.
    at: usize,
    old: &'static str,
    new: &'static str,
    /// The line, to know it by.
    code: String,
}

impl Weakening {
    /// The row's first cells, by which it is found again.
    fn name(&self) -> String {
        let to = if self.new.is_empty() { "nothing" } else { self.new.trim_start_matches("Ordering::") };
        let code = self.code.replace('|', "/");
        format!("| {} | `{}` | `{code}` | {to} |", self.id, self.file)
    }

    fn text(&self, text: &str) -> String {
        format!("{}{}{}", &text[..self.at], self.new, &text[self.at + self.old.len()..])
    }

    fn reason(&self) -> Option<&'static str> {
        let is_it = |&&(id, code, new, _): &&(&str, &str, &str, &str)| {
            id == self.id && self.code.contains(code) && self.new.ends_with(new)
        };
        UNSEEN.iter().find(is_it).map(|&(.., reason)| reason)
    }

    fn candidates(&self) -> &'static [&'static str] {
        let of_id = |&&(id, code, _): &&(&str, &str, &[&str])| id == self.id && self.code.contains(code);
        CANDIDATES.iter().find(of_id).map_or(&[], |&(_, _, tests)| tests)
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace around this package").to_owned()
}

fn path_of(file: &str) -> String {
    format!("crates/shm-ring/src/{file}")
}

/// All weakenings, in the order of the files.
fn weakenings() -> Result<Vec<Weakening>, String> {
    let mut all = Vec::new();
    for file in FILES {
        let text = fs::read_to_string(workspace().join(path_of(file))).map_err(|error| format!("{file}: {error}"))?;
        let code_ends = text.find("#[cfg(test)]").unwrap_or(text.len());
        let lines: Vec<&str> = text[..code_ends].split_inclusive('\n').collect();
        let mut start = 0;
        for (number, line) in lines.iter().enumerate() {
            if !line.trim_start().starts_with("//") && !line.contains("use crate::sync") {
                let id = id_near(&lines, number);
                all.extend(weakenings_in(line).map(|(at, old, new)| Weakening {
                    id: id.clone(),
                    file,
                    at: start + at,
                    old,
                    new,
                    code: line.trim().to_owned(),
                }));
            }
            start += line.len();
        }
    }
    Ok(all)
}

/// The id of what is in line `number`: in the same function the last one before it, or the first one behind it, or else the last one
/// of the functions before.
fn id_near(lines: &[&str], number: usize) -> String {
    let id_in = |line: &&str| Some(line.rsplit_once("[ledger: ")?.1.split(']').next()?.to_owned());
    let is_function = |line: &&str| line.trim_start().starts_with("pub fn ") || line.trim_start().starts_with("fn ");
    let begins = lines[..=number].iter().rposition(is_function).unwrap_or(0);
    let ends = lines[number + 1..].iter().position(is_function).map_or(lines.len(), |behind| number + 1 + behind);
    lines[begins..=number]
        .iter()
        .rev()
        .find_map(id_in)
        .or_else(|| lines[number..ends].iter().find_map(id_in))
        .or_else(|| lines[..begins].iter().rev().find_map(id_in))
        .unwrap_or_default()
}

/// What there is in one line: where, and what becomes of it.
fn weakenings_in(line: &str) -> impl Iterator<Item = (usize, &'static str, &'static str)> {
    let fences = FENCES.iter().filter_map(|&(old, new)| Some((line.find(old)?, old, new)));
    let fence = fences.min_by_key(|&(at, ..)| at);
    let rest = STEPS
        .iter()
        .filter(move |_| fence.is_none())
        .flat_map(|&(old, new)| line.match_indices(old).map(move |(at, _)| (at, old, new)).collect::<Vec<_>>());
    // `crate::sync::fence(..)` contains `fence(..)`: the longer one is it.
    let is_inside = |at: usize, old: &str| old == "fence(Ordering::SeqCst);" && line[..at].ends_with("crate::sync::");
    let rest: Vec<_> = rest.filter(|&(at, old, _)| !is_inside(at, old)).collect();
    fence.into_iter().chain(rest)
}

/// The rows of the table so far, by their first cells.
fn rows() -> BTreeMap<String, String> {
    let text = fs::read_to_string(workspace().join(TABLE)).unwrap_or_default();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| id "));
    rows.filter_map(|row| {
        let (name, outcome) = row.trim_end_matches(" |").rsplit_once(" | ")?;
        Some((format!("{name} |"), outcome.to_owned()))
    })
    .collect()
}

fn write_rows(all: &[Weakening], rows: &BTreeMap<String, String>) -> Result<(), String> {
    let mut text = HEADER.to_owned();
    for weakening in all {
        let name = weakening.name();
        let outcome = rows.get(&name).map_or(NOT_TRIED, String::as_str);
        text += &format!("{name} {outcome} |\n");
    }
    fs::write(workspace().join(TABLE), text).map_err(|error| format!("{TABLE}: {error}"))
}

const NOT_TRIED: &str = "not tried yet";

/// Tries those that have no row yet and whose row contains one of `words`. How many are not as they should be.
pub(crate) fn try_all(bench: &Bench, words: &[String]) -> Result<usize, String> {
    let (all, mut rows) = (weakenings()?, rows());
    let mut wrong = 0;
    for weakening in &all {
        let name = weakening.name();
        let is_wanted = words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
        if !is_wanted || rows.get(&name).is_some_and(|outcome| outcome != NOT_TRIED) {
            continue;
        }
        let outcome = outcome_of(bench, weakening)?;
        wrong += usize::from(outcome.is_none());
        println!("{name} {} |", outcome.as_deref().unwrap_or("none, and nobody has said why"));
        if let Some(outcome) = outcome {
            rows.insert(name, outcome);
            write_rows(&all, &rows)?;
        }
    }
    Ok(wrong)
}

/// The model that sees it, or the reason why none does; `None` where that is missing, or wrong.
fn outcome_of(bench: &Bench, weakening: &Weakening) -> Result<Option<String>, String> {
    let path = path_of(weakening.file);
    let text = fs::read_to_string(workspace().join(&path)).map_err(|error| format!("{path}: {error}"))?;
    for &test in weakening.candidates() {
        match bench.try_text(&path, &weakening.text(&text), test)? {
            Verdict::Caught(_) => return Ok(weakening.reason().is_none().then(|| format!("`{test}`"))),
            Verdict::Survived => {}
            Verdict::Inconclusive(message) => return Err(format!("{test}: {message}")),
        }
    }
    Ok(weakening.reason().map(|reason| format!("none: {reason}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_ordering_that_can_be_weaker_has_its_row_and_no_row_is_stale() {
        let (all, rows) = (weakenings().expect("files of the project"), rows());
        let names: Vec<String> = all.iter().map(Weakening::name).collect();
        assert!(names.len() >= 30, "only {names:?}");
        let different: BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "two rows cannot be told apart");
        for name in &names {
            let outcome = rows.get(name).unwrap_or_else(|| panic!("there is no row for {name}"));
            assert!(!name.starts_with("|  |"), "{name} has no id");
            assert!(outcome.starts_with('`') || outcome.starts_with("none: "), "{name} {outcome}");
        }
        for row in rows.keys() {
            assert!(names.contains(row), "there is nothing like that any more: {row}");
        }
    }

    #[test]
    fn an_ordering_is_found_where_it_is_and_weakened_alone() {
        let line = "self.word.compare_exchange(a, b, Ordering::AcqRel, Ordering::Acquire)";
        let found: Vec<_> = weakenings_in(line).collect();
        let weaker = |(at, old, new): &(usize, &str, &str)| format!("{}{new}{}", &line[..*at], &line[at + old.len()..]);
        let texts: Vec<_> = found.iter().map(weaker).collect();
        let exchange = |orders: &str| format!("self.word.compare_exchange(a, b, {orders})");
        let expected = [
            "Ordering::Acquire, Ordering::Acquire",
            "Ordering::Release, Ordering::Acquire",
            "Ordering::AcqRel, Ordering::Relaxed",
        ];
        assert_eq!(texts, expected.map(exchange));
        for fence in ["crate::sync::fence(Ordering::Release);", "fence(Ordering::Release);", "fence_after_rmw();"] {
            assert_eq!(weakenings_in(fence).collect::<Vec<_>>(), [(0, fence, "")]);
        }
        let both =
            weakenings_in("fence(Ordering::SeqCst);").map(|(at, old, new)| (at, old.len(), new)).collect::<Vec<_>>();
        assert_eq!(both, [(6, 16, "Ordering::AcqRel"), (0, 24, "")]);
    }
}
