//! `ppipe ls`: the pipes that have a name, a line each.

use std::fmt::Write;

use crate::args::ListArgs;
use crate::failure::{At, Failure};
use crate::pipes::{Accounts, Condition, People, Pipe};
use crate::units;

/// The list, as it is to be printed.
pub(crate) fn run(args: &ListArgs) -> Result<String, Failure> {
    let pipes: Vec<_> = ppipe::names().at("pipes")?.iter().filter_map(Pipe::of).collect();
    Ok(if args.is_json { as_json(&pipes)? } else { table(&pipes) })
}

/// Any value as JSON, for programs.
pub(crate) fn as_json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String, Failure> {
    Ok(serde_json::to_string_pretty(value).at("JSON")? + "\n")
}

fn table(pipes: &[Pipe]) -> String {
    let mut out = String::new();
    if pipes.is_empty() {
        return "no pipe has a name\n".to_owned();
    }
    let width = pipes.iter().map(|pipe| pipe.name.chars().count()).max().unwrap_or(0).max(4);
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{:<width$}  {:>10} {:>9} {:>10} {:>9} {:>9} {:>6} {:>4}  CONDITION",
        "NAME", "MEMORY", "SLOTS", "UNREAD", "WRITERS", "READERS", "USER", "MODE"
    );
    for pipe in pipes {
        let of = |show: &dyn Fn(&Accounts) -> String| pipe.accounts.as_ref().map_or("?".to_owned(), show);
        let people = |people: People| {
            format!("{}/{}{}", people.present, people.limit, if people.is_any_asleep { "z" } else { "" })
        };
        let _ = writeln!(
            out,
            "{:<width$}  {:>10} {:>9} {:>10} {:>9} {:>9} {:>6} {:>4}  {}",
            pipe.name,
            pipe.memory.map_or("?".to_owned(), units::bytes),
            of(&|accounts| format!("{}/{}", accounts.full_slots, or_unknown(accounts.slots))),
            of(&|accounts| accounts.unread.map_or("?".to_owned(), units::bytes)),
            of(&|accounts| people(accounts.writers)),
            of(&|accounts| people(accounts.readers)),
            pipe.user,
            pipe.mode,
            said(pipe),
        );
    }
    let _ = writeln!(out, "z: one of them sleeps. `ppipe stat NAME` says who holds what.");
    out
}

/// A number that can be told, or not.
pub(crate) fn or_unknown(number: Option<u32>) -> String {
    number.map_or("?".to_owned(), |number| number.to_string())
}

fn said(pipe: &Pipe) -> String {
    match pipe.condition {
        Condition::InUse => "in use".to_owned(),
        Condition::LeftBehind => "left behind: `ppipe gc` removes it".to_owned(),
        Condition::BeingMade => "being made".to_owned(),
        Condition::LeftHalfMade => "left half made: `ppipe gc` removes it".to_owned(),
        Condition::Unknown => pipe.problem.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe(name: &str, condition: Condition, accounts: Option<Accounts>) -> Pipe {
        let problem = (condition == Condition::Unknown).then(|| "its owner is user 7, expected 0".to_owned());
        let (name, mode) = (name.to_owned(), "700".to_owned());
        let path = format!("/dev/shm/ppipe-{name}").into();
        Pipe { name, path, condition, problem, user: 7, mode, memory: Some(196_608), accounts }
    }

    #[test]
    fn each_pipe_is_a_line_that_says_what_is_known_of_it() {
        let people = |present, is_any_asleep| People { present, limit: 128, is_any_asleep };
        let (writers, readers) = (people(2, false), people(1, true));
        let accounts = Accounts { slots: Some(16), full_slots: 3, unread: Some(12_288), writers, readers };
        let pipes = [
            pipe("jobs", Condition::InUse, Some(accounts)),
            pipe("a-longer-name", Condition::Unknown, None),
            pipe("old", Condition::LeftBehind, None),
        ];
        let text = table(&pipes);
        let lines: Vec<_> = text.lines().collect();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(words(lines[1]), "jobs 192 KiB 3/16 12 KiB 2/128 1/128z 7 700 in use");
        assert_eq!(words(lines[2]), "a-longer-name 192 KiB ? ? ? ? 7 700 its owner is user 7, expected 0");
        assert!(lines[3].ends_with("left behind: `ppipe gc` removes it"), "{text}");
        let column = lines[0].find("CONDITION").expect("a title");
        assert!(lines[1][column..].starts_with("in use") && lines[3][column..].starts_with("left"), "{text}");
        assert_eq!(table(&[]), "no pipe has a name\n");
    }
}
