//! The status of a pipe as lines for people.

use std::fmt::Write;

use super::{Participant, Status};
use crate::listing::or_unknown;
use crate::pipes::Accounts;
use crate::processes::Process;
use crate::units;

/// All of it, as lines.
pub(super) fn table(status: &Status) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_all(&mut out, status);
    out
}

fn write_all(out: &mut String, status: &Status) -> std::fmt::Result {
    let Status { pipe, participants, others, unseen, is_steady, damage, advice } = status;
    write!(out, "pipe {}: ", pipe.name)?;
    if let Some(Accounts { slots, full_slots, unread, writers, readers }) = &pipe.accounts {
        let unread = unread.map_or("?".to_owned(), units::bytes);
        write!(out, "{full_slots} of {} slots full, {unread} to read", or_unknown(*slots))?;
        for (people, one) in [(writers, "writer"), (readers, "reader")] {
            let asleep = if people.is_any_asleep { ", asleep" } else { "" };
            write!(out, "; {} of {} {one}s{asleep}", people.present, people.limit)?;
        }
        writeln!(out)?;
    }
    let memory = pipe.memory.map_or("?".to_owned(), units::bytes);
    writeln!(out, "{}: of user {}, mode {}, {memory} of memory", pipe.path.display(), pipe.user, pipe.mode)?;
    if !is_steady {
        writeln!(out, "others were active meanwhile, so this is not one moment")?;
    }
    if !participants.is_empty() {
        writeln!(out, "\n{:<6} {:>8}  {:<16} {:<8} {:>6}  IS", "SIDE", "PID", "COMMAND", "PROCESS", "AGE")?;
    }
    for participant in participants {
        write_participant(out, participant)?;
    }
    for process in others {
        write_process(out, "-", process)?;
        writeln!(out, "no participant: has a copy of a descriptor, or looks")?;
    }
    if *unseen > 0 && participants.iter().any(|participant| participant.process.is_none()) {
        writeln!(out, "processes that could not be looked at: {unseen}; root sees all")?;
    }
    for damage in damage {
        writeln!(out, "{}: {damage}", if *is_steady { "damaged" } else { "perhaps" })?;
    }
    if !advice.is_empty() {
        writeln!(out)?;
    }
    advice.iter().try_for_each(|advice| writeln!(out, "* {advice}"))
}

fn write_participant(out: &mut String, participant: &Participant) -> std::fmt::Result {
    let Participant { side, pid, process, activity, page, exchange, extents, stands_for, entry: _ } = participant;
    match process {
        Some(process) => write_process(out, side.name(), process)?,
        None => write!(out, "{:<6} {:>8}  {:<16} {:<8} {:>6}  ", side.name(), format!("({pid})"), "?", "?", "?")?,
    }
    write!(out, "{}", activity.name())?;
    if let Some(seconds) = stands_for {
        write!(out, " for at least {seconds:.1} s")?;
    }
    match (page, exchange) {
        (Some(page), None) => write!(out, ", page {page}")?,
        (Some(page), Some([own, slots])) => write!(out, ", page {page} of {own} and {slots}")?,
        (None, Some([own, slots])) => write!(out, ", page {own} or {slots}")?,
        (None, None) => {}
    }
    if !extents.is_empty() {
        let extents: Vec<_> = extents.iter().map(u32::to_string).collect();
        write!(out, ", a large packet (extent {})", extents.join(", "))?;
    }
    writeln!(out)
}

fn write_process(out: &mut String, side: &str, process: &Process) -> std::fmt::Result {
    let Process { id, command, state, age, id_at_home: _ } = process;
    write!(
        out,
        "{side:<6} {id:>8}  {command:<16} {:<8} {:>6}  ",
        state.name(),
        age.map_or("?".to_owned(), age_in_words)
    )
}

fn age_in_words(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use ppipe::{EntryAccount, Holding, Side};

    use super::super::tests::{accounts, entry, participants, process};
    use super::*;
    use crate::pipes::{Condition, Pipe};
    use crate::processes::State;

    #[test]
    fn each_participant_is_a_line_with_its_process_and_what_it_holds() {
        let pending = EntryAccount {
            is_pending: true,
            holding: Holding::Pending { offered: 17, expected: 3 },
            page: Some(17),
            ..entry(128, Side::Reader, 9)
        };
        let mut participants = participants(
            &[entry(0, Side::Writer, 7), pending, entry(1, Side::Writer, 0)],
            &[process(7, State::Asleep), process(9, State::Stopped)],
        );
        participants[0].extents = vec![2, 5];
        let pipe = Pipe {
            name: "jobs".to_owned(),
            path: "/dev/shm/ppipe-jobs".into(),
            condition: Condition::InUse,
            problem: None,
            user: 7,
            mode: "700".to_owned(),
            memory: Some(4096),
            accounts: Some(accounts(3)),
        };
        let status = Status {
            pipe,
            participants,
            others: vec![process(11, State::Running)],
            unseen: 2,
            is_steady: true,
            damage: vec!["nobody holds page 5".to_owned()],
            advice: vec!["do this".to_owned()],
        };
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = table(&status);
        let lines: Vec<_> = text.lines().map(words).collect();
        assert_eq!(
            lines,
            [
                "pipe jobs: 3 of 16 slots full, 12 B to read; 1 of 128 writers; 1 of 128 readers",
                "/dev/shm/ppipe-jobs: of user 7, mode 700, 4 KiB of memory",
                "",
                "SIDE PID COMMAND PROCESS AGE IS",
                "writer 7 worker asleep 2 h idle, page 40, a large packet (extent 2, 5)",
                "reader 9 worker stopped 2 h in the midst of an exchange for at least 0.3 s, page 17 of 17 and 3",
                "writer (0) ? ? ? idle, page 41",
                "- 11 worker runs 2 h no participant: has a copy of a descriptor, or looks",
                "processes that could not be looked at: 2; root sees all",
                "damaged: nobody holds page 5",
                "",
                "* do this",
            ]
        );
    }
}
