//! The tables, and the same as JSON.

use std::fmt::{Display, Write};

use crate::figures::{median, quantile};
use crate::rounds::{Placement, Round};
use crate::work::Work;

/// A work and all its rounds.
pub(crate) struct Measured {
    pub(crate) work: Work,
    pub(crate) rounds: Vec<Round>,
}

impl Measured {
    fn kept(&self, placement: Placement) -> Vec<&Round> {
        self.rounds.iter().filter(|round| round.is_steady() && round.placement() == placement).collect()
    }

    fn dropped(&self) -> usize {
        self.rounds.iter().filter(|round| !round.is_steady()).count()
    }
}

/// The table of one placement, empty if no round saw it.
pub(crate) fn table(all: &[Measured], placement: Placement) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:4}  {:<18} {:>4} {:>9} {:>9}  {:>6} {:>13}  {:>6} {:>9} {:>6} {:>7}",
        placement.name(),
        "work",
        "unit",
        "ours",
        "kernel",
        "ratio",
        "quartiles",
        "limit",
        "ours/lim.",
        "rounds",
        "dropped"
    );
    let mut is_empty = true;
    for measured in all {
        let rounds = measured.kept(placement);
        if rounds.is_empty() {
            continue;
        }
        is_empty = false;
        let column = |of: &dyn Fn(&Round) -> f64| rounds.iter().map(|round| of(round)).collect::<Vec<_>>();
        let unit = measured.work.unit();
        let ratios = column(&|round| unit.times_better(round.ours.value, round.kernel.value));
        let to_limit = match measured.work.is_compared_with_the_limit() {
            true => format!("{:.2}", median(&column(&|round| round.ours.value / round.limit()))),
            false => String::new(),
        };
        let _ = writeln!(
            text,
            "      {:<18} {:>4} {:>9} {:>9}  {:>6.2} {:>6.2}-{:<6.2}  {:>6.0} {to_limit:>9} {:>6} {:>7}",
            measured.work.name,
            unit.name(),
            short(median(&column(&|round| round.ours.value))),
            short(median(&column(&|round| round.kernel.value))),
            median(&ratios),
            quantile(&ratios, 0.25),
            quantile(&ratios, 0.75),
            median(&column(&|round| round.limit())),
            rounds.len(),
            measured.dropped(),
        );
        text.push_str(&extras(&rounds));
    }
    if is_empty { String::new() } else { text }
}

/// The works of which no round was steady.
pub(crate) fn unsteady(all: &[Measured]) -> String {
    let names = all.iter().filter(|measured| measured.dropped() == measured.rounds.len()).map(|of| &of.work.name);
    joined(names, ", ")
}

/// Further figures: median and least of all rounds.
fn extras(rounds: &[&Round]) -> String {
    let mut text = String::new();
    for (index, (name, _)) in rounds[0].ours.extras.iter().enumerate() {
        let ours: Vec<f64> = rounds.iter().map(|round| round.ours.extras[index].1).collect();
        let kernel: Vec<f64> = rounds.iter().map(|round| round.kernel.extras[index].1).collect();
        let _ = writeln!(
            text,
            "        {name:<33} {:>9} (least {}), kernel {} (least {})",
            short(median(&ours)),
            short(quantile(&ours, 0.0)),
            short(median(&kernel)),
            short(quantile(&kernel, 0.0)),
        );
    }
    text
}

fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Every figure of every round, also of those that were dropped. Keys are what they are called in the tables.
pub(crate) fn json(all: &[Measured]) -> String {
    let works = all.iter().map(|measured| {
        let rounds = measured.rounds.iter().map(|round| {
            let side = |sample: &crate::figures::Sample| {
                let extras = sample.extras.iter().map(|(name, value)| format!("\"{name}\": {}", number(*value)));
                object(std::iter::once(format!("\"value\": {}", number(sample.value))).chain(extras))
            };
            object(
                [
                    format!("\"placement\": \"{}\"", round.placement().name()),
                    format!("\"steady\": {}", round.is_steady()),
                    format!("\"limit_before_ns\": {}", number(round.before)),
                    format!("\"limit_after_ns\": {}", number(round.after)),
                    format!("\"ours\": {}", side(&round.ours)),
                    format!("\"kernel\": {}", side(&round.kernel)),
                ]
                .into_iter(),
            )
        });
        object(
            [
                format!("\"work\": \"{}\"", measured.work.name),
                format!("\"unit\": \"{}\"", measured.work.unit().name()),
                format!("\"rounds\": [\n    {}\n  ]", joined(rounds, ",\n    ")),
            ]
            .into_iter(),
        )
    });
    format!("[\n  {}\n]\n", joined(works, ",\n  "))
}

fn object(members: impl Iterator<Item = String>) -> String {
    format!("{{{}}}", joined(members, ", "))
}

fn joined(parts: impl Iterator<Item = impl Display>, by: &str) -> String {
    parts.map(|part| part.to_string()).collect::<Vec<_>>().join(by)
}

/// JSON knows no infinity.
fn number(value: f64) -> String {
    if value.is_finite() { format!("{value}") } else { "null".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Sample;

    #[test]
    fn only_steady_rounds_of_the_placement_count() {
        let work = Work::all().into_iter().find(|work| work.name == "packets-64").expect("a work of that name");
        let round = |before, after, ours| Round {
            before,
            ours: Sample::of(ours),
            kernel: Sample::of(2.0),
            after,
            depends_on_placement: true,
        };
        let all = [Measured { work, rounds: vec![round(100.0, 101.0, 20.0), round(100.0, 380.0, 99.0)] }];
        let near = table(&all, Placement::Near);
        assert!(near.contains("10.00"), "{near}");
        assert_eq!(table(&all, Placement::Far), "");
        assert!(json(&all).contains("\"steady\": false"));
    }
}
