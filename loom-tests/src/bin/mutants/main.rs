//! Shows that the models can fail: breaks the algorithm in one place at a time, and sees which models notice.
//!
//! ```text
//! cargo run -p loom-tests --bin mutants              # all of them, some minutes
//! cargo run -p loom-tests --bin mutants -- lap R2    # those whose names contain one of the words
//! ```
//!
//! The sources are copied to a folder of their own, and changed there. A mutant is *caught* if every model that is named for
//! it fails, on a panic of its own: not because it does not compile, and not because it had fewer executions than usual.
//! This program fails if a mutant is not caught, if its text is not found, or if one is caught of which it is said that no
//! model can see it.

mod bench;
mod list;
mod list_of_logic;

use std::process::ExitCode;
use std::time::Instant;

use bench::{Bench, Verdict};
use list::{Fate, Mutant};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |mutant: &Mutant| words.is_empty() || words.iter().any(|word| mutant.name.contains(word));
    let mutants: Vec<&Mutant> =
        list::ORDERINGS.iter().chain(list_of_logic::LOGIC).filter(|&mutant| is_wanted(mutant)).collect();
    match try_all(&mutants) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            println!("\n{wrong} of {} mutants are not as listed", mutants.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("mutants: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tries the mutants one after the other and prints the table. How many of them are not as listed.
fn try_all(mutants: &[&Mutant]) -> Result<usize, String> {
    let bench = Bench::new()?;
    bench.check_unbroken()?;
    println!("| mutant | model | outcome |\n|---|---|---|");
    let mut wrong = 0;
    for mutant in mutants {
        let start = Instant::now();
        let verdicts = bench.try_mutant(mutant)?;
        let (is_expected, note) = match mutant.fate {
            Fate::Caught => (verdicts.iter().all(|(_, verdict)| verdict.is_caught()), ""),
            Fate::Unseen(because) => (!verdicts.iter().any(|(_, verdict)| verdict.is_caught()), because),
        };
        wrong += usize::from(!is_expected);
        for (model, verdict) in &verdicts {
            println!("| {} | {model} | {} |", mutant.name, describe(verdict));
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
