//! Shows that the models, and the pipe's tests, can fail: breaks the code in one place at a time, and sees which of them notice.
//!
//! ```text
//! cargo run -p loom-tests --bin mutants              # all of them, some minutes
//! cargo run -p loom-tests --bin mutants -- lap R2    # those whose names contain one of the words
//! cargo run -p loom-tests --bin mutants -- --weaken    # each ordering by itself: see docs/weakened.md
//! ```
//!
//! The sources are copied to a folder of their own, and changed there. A mutant is *caught* if every test that is named for
//! it fails, on a panic of its own: not because it does not compile, and not because it had fewer executions than usual. A
//! test of the pipe, unlike a model, may also fail by not ending.
//! This program fails if a mutant is not caught, if its text is not found, or if one is caught of which it is said that no
//! test can see it.

mod bench;
mod list;
mod list_of_attaching;
mod list_of_bells;
mod list_of_deaths;
mod list_of_hostility;
mod list_of_kernel;
mod list_of_logic;
mod list_of_moving;
mod list_of_pairs;
mod list_of_passing;
mod list_of_pipe;
mod list_of_room;
mod list_of_schedules;
mod list_of_watching;
mod list_of_weakenings;
mod weaken;

use std::process::ExitCode;
use std::time::Instant;

use bench::{Bench, Stage, Verdict};
use list::{Fate, Mutant};

const OF_MODELS: [&[Mutant]; 7] = [
    list::ORDERINGS,
    list_of_logic::LOGIC,
    list_of_bells::MODELS,
    list_of_moving::MODELS,
    list_of_watching::MODELS,
    list_of_schedules::SCHEDULES,
    list_of_pairs::MODELS,
];
const OF_PIPE: [&[Mutant]; 9] = [
    list_of_pipe::PIPE,
    list_of_bells::PIPE,
    list_of_watching::PIPE,
    list_of_passing::PIPE,
    list_of_room::PIPE,
    list_of_deaths::PIPE,
    list_of_kernel::PIPE,
    list_of_attaching::PIPE,
    list_of_hostility::PIPE,
];

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "--weaken") {
        return judged(weaken_all(&words.split_off(1)));
    }
    let is_wanted = |mutant: &Mutant| words.is_empty() || words.iter().any(|word| mutant.name.contains(word));
    let chosen = |lists: &[&'static [Mutant]]| -> Vec<&'static Mutant> {
        lists.iter().copied().flatten().filter(|&mutant| is_wanted(mutant)).collect()
    };
    let (of_models, of_pipe) = (chosen(&OF_MODELS), chosen(&OF_PIPE));
    println!("| mutant | test | outcome |\n|---|---|---|");
    let outcome = try_all(Stage::Models, &of_models)
        .and_then(|wrong| try_all(Stage::Pipe, &of_pipe).map(|others| wrong + others));
    judged(outcome)
}

/// Weakens what has not been weakened yet. How many orderings are not as they should be.
fn weaken_all(words: &[String]) -> Result<usize, String> {
    let bench = Bench::new(Stage::Models)?;
    bench.check_unbroken()?;
    weaken::try_all(&bench, words)
}

fn judged(outcome: Result<usize, String>) -> ExitCode {
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            println!("\n{wrong} are not as listed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("mutants: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tries the mutants one after the other and prints rows of the table. How many of them are not as listed.
fn try_all(stage: Stage, mutants: &[&Mutant]) -> Result<usize, String> {
    if mutants.is_empty() {
        return Ok(0);
    }
    let bench = Bench::new(stage)?;
    bench.check_unbroken()?;
    let mut wrong = 0;
    for mutant in mutants {
        let start = Instant::now();
        let verdicts = bench.try_mutant(mutant)?;
        let (is_expected, note) = match mutant.fate {
            Fate::Caught => (verdicts.iter().all(|(_, verdict)| verdict.is_caught()), ""),
            Fate::Unseen(because) => (!verdicts.iter().any(|(_, verdict)| verdict.is_caught()), because),
        };
        wrong += usize::from(!is_expected);
        for (test, verdict) in &verdicts {
            println!("| {} | {test} | {} |", mutant.name, describe(verdict));
        }
        let mark = if is_expected { "" } else { " <-- not as listed" };
        println!("| | | {note} ({:.0} s){mark} |", start.elapsed().as_secs_f64());
    }
    Ok(wrong)
}

fn describe(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Caught(message) => format!("caught: {message}"),
        Verdict::Survived => "survives".to_owned(),
        Verdict::Inconclusive(message) => format!("inconclusive: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn workspace() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace")
    }

    /// The text of every Rust file below `folder`, one after the other.
    fn sources(folder: PathBuf) -> String {
        let entries = fs::read_dir(&folder).expect("a folder of the project");
        let texts = entries.map(|entry| entry.expect("an entry").path()).filter_map(|path| {
            let is_rust = path.extension().is_some_and(|extension| extension == "rs");
            if path.is_dir() { Some(sources(path)) } else { is_rust.then(|| fs::read_to_string(&path).expect("text")) }
        });
        texts.collect()
    }

    #[test]
    fn the_tests_that_are_to_notice_exist() {
        let texts = [sources(workspace().join("crates")), sources(workspace().join("loom-tests/tests"))];
        for mutant in OF_MODELS.into_iter().chain(OF_PIPE).flatten() {
            for test in mutant.tests {
                let name = test.rsplit("::").next().expect("a name");
                let definition = format!("fn {name}()");
                assert!(texts.iter().any(|text| text.contains(&definition)), "{}: there is no {test}", mutant.name);
            }
        }
    }

    #[test]
    fn what_is_to_be_broken_is_in_its_file_once() {
        let workspace = workspace();
        let mut stale = String::new();
        for mutant in OF_MODELS.into_iter().chain(OF_PIPE).flatten() {
            for edit in mutant.edits {
                let text = fs::read_to_string(workspace.join(edit.file)).expect("a file of the project");
                let count = text.matches(edit.old).count();
                if count != 1 {
                    stale += &format!("{}: {count} times in {}:\n{}\n", mutant.name, edit.file, edit.old);
                }
            }
        }
        assert!(stale.is_empty(), "{stale}");
    }
}
