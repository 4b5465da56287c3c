//! The figures as a table for people.

use std::fmt::Write;

use crate::figures::{Figures, Latency, Throughput};
use crate::units::{self, byte_rate, bytes, packet_rate, ratio, things, time};

/// All of it, as lines.
pub(crate) fn table(figures: &Figures) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_all(&mut out, figures);
    out
}

fn write_all(out: &mut String, figures: &Figures) -> std::fmt::Result {
    let Figures { input, .. } = figures;
    let (len, files) = (bytes(input.bytes), things(input.files, "file"));
    write!(out, "Input    {len} in {files}, CRC-32 {:08x}", input.checksum)?;
    writeln!(out, "{}", if input.is_cut { ", and no more because of --limit" } else { "" })?;
    if let Some(first) = &input.first_skipped {
        let more = if input.skipped > 1 { ", for one" } else { "" };
        writeln!(out, "Skipped  {}: {first}{more}", units::count(input.skipped))?;
    }
    writeln!(
        out,
        "Moved    from process to process, in {} of both pipes by turns; capacity {}",
        things(figures.rounds.into(), "round"),
        bytes(figures.capacity as u64),
    )?;
    writeln!(
        out,
        "Checked  {} received, every checksum and every packet's length as sent",
        bytes(figures.bytes_verified)
    )?;
    writeln!(out, "Machine  {}, {}", figures.system, things(figures.cpus as u64, "CPU"))?;

    writeln!(out)?;
    writeln!(out, "{:<26}{:>22}{:>22}{:>10}   range", "Throughput (medians)", "ppipe", "kernel pipe", "ratio")?;
    for row in &figures.throughput {
        write_throughput(out, row)?;
    }
    if figures.throughput.iter().any(|row| row.is_framed_on_kernel) {
        writeln!(out, "  * the kernel's pipe has no such packets: each goes as a stream, its length before it")?;
    }

    writeln!(out)?;
    write!(out, "{:<26}", "Latency (one way)")?;
    writeln!(out, "{:>11}{:>11}{:>11}{:>11}{:>11}", "p50", "p90", "p99", "p99.9", "max")?;
    for row in &figures.latency {
        write_latency(out, row)?;
    }
    if let Some(ns) = figures.cache_line_limit_ns() {
        writeln!(out, "  {:<24}{:>11}", "one cache line, the limit", time(ns))?;
    }
    writeln!(out, "  half of a round trip of 64-byte packets")?;
    writeln!(out, "\nOn both pipes every byte was made, checked and summed up, by processes that ran where the")?;
    writeln!(out, "system let them. benches/README.md says how to measure the pipes alone.")?;
    if figures.cpus == 1 {
        writeln!(
            out,
            "\nWith one CPU the two sides take turns: with one each they work at once, and this pipe gains most."
        )?;
    } else if figures.is_slow {
        writeln!(
            out,
            "\nThe latency of ppipe is far above what two CPUs can do. Probably they were busy with something"
        )?;
        writeln!(out, "else; then these figures say little about either pipe.")?;
    }
    Ok(())
}

fn write_throughput(out: &mut String, row: &Throughput) -> std::fmt::Result {
    let name = if row.is_framed_on_kernel { format!("{} *", row.name) } else { row.name.clone() };
    write!(out, "  {name:<24}")?;
    for side in [&row.ours, &row.kernel] {
        let packets = side.packets_per_second.map(packet_rate).unwrap_or_default();
        write!(out, "{packets:>11}{:>11}", byte_rate(side.bytes_per_second))?;
    }
    let range = format!("{:.1} to {:.1}", row.lowest_ratio, row.highest_ratio);
    writeln!(out, "{:>10}   {range}", ratio(row.ratio))
}

fn write_latency(out: &mut String, row: &Latency) -> std::fmt::Result {
    write!(out, "  {:<24}", row.name)?;
    for ns in [row.p50_ns, row.p90_ns, row.p99_ns, row.p99_9_ns, row.max_ns] {
        write!(out, "{:>11}", time(ns))?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Pings, Rounds};
    use crate::input::Summary;
    use crate::workload::{PingWay, Way, Workload};

    fn figures(is_slow: bool) -> Figures {
        let rounds = Workload::standard(256 << 20).map(|workload| {
            let mut rounds = Rounds::of(workload);
            rounds.add(Way::Ours, 1 << 22, 300_000_000);
            rounds.add(Way::Kernel, 1 << 22, 5_300_000_000);
            rounds.throughput()
        });
        let mut pings = Pings::of(PingWay::KernelPolled);
        pings.add(&[(150, 100), (40_000_000, 1)]);
        Figures {
            system: "Linux 6.18.0".to_owned(),
            cpus: 128,
            input: Summary {
                files: 1234,
                bytes: 64 << 20,
                skipped: 2,
                first_skipped: Some("x: no".into()),
                checksum: 1,
                is_cut: true,
            },
            capacity: 65536,
            rounds: 5,
            bytes_verified: 20 << 30,
            throughput: rounds.into(),
            latency: vec![pings.latency()],
            cache_line_one_way_ns: 40.5,
            is_slow,
        }
    }

    #[test]
    fn the_table_fits_a_terminal_and_its_columns_are_aligned() {
        let table = table(&figures(false));
        let lines: Vec<&str> = table.lines().collect();
        for line in &lines {
            assert!(line.chars().count() <= 100, "{line}");
            assert_eq!(line.trim_end(), *line);
        }
        let end_of = |line: &&str, text: &str| line.rfind(text).map(|at| line[..at + text.len()].chars().count());
        let end_in_head = end_of(lines.iter().find(|line| line.contains("p99.9")).expect("a head"), "max");
        let end_in_row = end_of(lines.iter().find(|line| line.contains("polled")).expect("a row"), "20.0 ms");
        assert_eq!(end_in_head, end_in_row);
        assert!(end_in_head.is_some());
    }

    #[test]
    fn slow_figures_come_with_a_guess_and_none_is_hidden() {
        let (calm, slow) = (table(&figures(false)), table(&figures(true)));
        assert!(!calm.contains("Probably"), "{calm}");
        assert!(slow.contains("Probably"), "{slow}");
        assert!(slow.starts_with(&calm), "{slow}");
        let alone = table(&Figures { cpus: 1, ..figures(true) });
        assert!(alone.contains("With one CPU") && !alone.contains("Probably"), "{alone}");
    }

    #[test]
    fn what_a_pipe_has_beaten_is_not_called_a_limit() {
        assert!(table(&figures(false)).contains("one cache line, the limit"));
        let beaten = table(&Figures { cache_line_one_way_ns: 31_000.0, ..figures(false) });
        assert!(!beaten.contains("cache line"), "{beaten}");
    }
}
