//! `ppipe doctor`: whether this machine has what a pipe needs, and what to do where it has not.
//!
//! ```text
//!   looking: the system ──┐
//!   logind, groups: files ┼──> Machine ──> judging ──> points ──> text, JSON, exit code
//!   trials: calls, pipes ─┘
//! ```
//!
//! What reads the system decides nothing, and what decides reads nothing: so machines that there are none of here can be judged too.

mod groups;
mod judging;
mod logind;
mod looking;
mod machine;
mod trials;

use std::fmt::Write;

use serde::Serialize;

use crate::args::DoctorArgs;
use crate::failure::Failure;
use crate::listing::as_json;

/// What comes of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// As it should be.
    Well,
    /// Not as it could be, or worth to be known, but a pipe works.
    Note,
    /// A pipe does not work, or will not.
    ToDo,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Note => "note",
            Self::ToDo => "TO DO",
        }
    }
}

/// One thing that a pipe needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Point {
    name: &'static str,
    verdict: Verdict,
    /// What was found.
    found: String,
    /// What to do, or to know.
    advice: Option<String>,
}

/// All of it, to be printed.
#[derive(Debug)]
pub(crate) struct Diagnosis {
    pub(crate) text: String,
    /// Whether nothing is to be done.
    pub(crate) is_well: bool,
}

/// Everything that is printed as JSON.
#[derive(Debug, Serialize)]
struct Findings<'a> {
    is_well: bool,
    points: &'a [Point],
    machine: &'a machine::Machine,
}

/// Looks at the machine.
pub(crate) fn run(args: &DoctorArgs) -> Result<Diagnosis, Failure> {
    let machine = looking::look();
    let points = judging::judge(&machine);
    let is_well = points.iter().all(|point| point.verdict != Verdict::ToDo);
    let text =
        if args.is_json { as_json(&Findings { is_well, points: &points, machine: &machine })? } else { lines(&points) };
    Ok(Diagnosis { text, is_well })
}

fn lines(points: &[Point]) -> String {
    let mut out = String::new();
    for Point { name, verdict, found, advice } in points {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{:<5}  {name:<20}  {found}", verdict.name());
        if let Some(advice) = advice {
            let _ = writeln!(out, "{:<27}  -> {advice}", "");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_point_is_a_line_and_what_to_do_is_below_it() {
        let points = [
            Point { name: "processes", verdict: Verdict::Well, found: "/proc is there".to_owned(), advice: None },
            Point {
                name: "room",
                verdict: Verdict::ToDo,
                found: "none".to_owned(),
                advice: Some("make some".to_owned()),
            },
        ];
        let text = lines(&points);
        let expected = "well   processes             /proc is there\n\
                        TO DO  room                  none\n\
                        \x20                            -> make some\n";
        assert_eq!(text, expected);
    }
}
