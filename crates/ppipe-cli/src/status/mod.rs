//! `ppipe stat NAME`: who holds what of a pipe, for an operator who has a process that is stuck.
//!
//! ```text
//!   audit ─┐                                      ┌─> table: a line each, and what that means
//!   audit ─┴─> participants <── processes (/proc) ┴─> JSON
//! ```
//!
//! Two audits, some time apart: an exchange that is the same in both has stood still for that long at least. Nothing else tells for how long.

mod table;

use std::thread;
use std::time::{Duration, Instant};

use ppipe::{Audit, EntryAccount, Found, Holder, Holding, Side};
use serde::Serialize;

use crate::args::StatusArgs;
use crate::failure::{At, Failure};
use crate::listing::as_json;
use crate::owners::as_owner_of;
use crate::pipes::{Accounts, Pipe, find, segment_of};
use crate::processes::{Holders, Process, State, holders_of};

/// Everything that is said of a pipe.
#[derive(Debug, Serialize)]
struct Status {
    pipe: Pipe,
    participants: Vec<Participant>,
    /// Those who have the segment open and are no participants: they have copies of descriptors, or look.
    others: Vec<Process>,
    /// So many processes could not be looked at.
    unseen: usize,
    /// Whether the accounts are of one moment.
    is_steady: bool,
    /// What must not be.
    damage: Vec<String>,
    /// What it means, and what to do.
    advice: Vec<String>,
}

/// A writer or a reader.
#[derive(Debug, Serialize)]
struct Participant {
    /// Its place in the pipe's table.
    entry: u32,
    side: Word,
    /// Its number at home, as it has said itself; 0 while the end is being handed over.
    pid: u32,
    /// The process here, if it can be told.
    process: Option<Process>,
    activity: Activity,
    /// The page that it holds, if that can be told.
    page: Option<u32>,
    /// The two pages of the exchange that it is in the midst of, of which it holds one: its own, and the slot's.
    exchange: Option<[u32; 2]>,
    /// Extents that it holds: memory for large packets that it is writing or reading, or has lent.
    extents: Vec<u32>,
    /// Seconds for which it has been in the midst of this at least; `None` if it has moved meanwhile.
    stands_for: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Writer,
    Reader,
}

/// What a participant is in the midst of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Activity {
    /// Of nothing.
    Idle,
    /// Of putting something into a slot or taking it out.
    Exchanging,
    /// Of changing the pipe's size.
    Resizing,
    /// Of leaving.
    Leaving,
}

impl Activity {
    fn of(entry: &EntryAccount) -> Self {
        match entry {
            EntryAccount { is_leaving: true, .. } => Self::Leaving,
            EntryAccount { is_resizing: true, .. } => Self::Resizing,
            EntryAccount { is_pending: true, .. } => Self::Exchanging,
            _ => Self::Idle,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Exchanging => "in the midst of an exchange",
            Self::Resizing => "in the midst of a change of the size",
            Self::Leaving => "about to leave",
        }
    }
}

impl Word {
    fn of(side: Side) -> Self {
        match side {
            Side::Writer => Self::Writer,
            Side::Reader => Self::Reader,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Reader => "reader",
        }
    }
}

/// The status, as it is to be printed.
pub(crate) fn run(args: &StatusArgs) -> Result<String, Failure> {
    let status = look(args)?;
    Ok(if args.is_json { as_json(&status)? } else { table::table(&status) })
}

fn look(args: &StatusArgs) -> Result<Status, Failure> {
    let at = || format!("pipe {:?}", args.name);
    let found = find(&args.name).at(at())?;
    let audit = || as_owner_of(&found.path, || ppipe::audit(&found.name)).map_err(told);
    let (first, begin) = (audit()?, Instant::now());
    thread::sleep(Duration::from_secs_f64(args.seconds));
    let (second, between) = (audit()?, begin.elapsed());
    let holders = holders_of(&segment_of(&found)).at(at())?;
    put_together(&found, [&first, &second], between, holders).at(at())
}

/// The library's errors say which pipe it is.
fn told(error: std::io::Error) -> Failure {
    let text = error.to_string();
    let (what, why) = text.rsplit_once(": ").unwrap_or(("pipe", &text));
    Failure::new(what, why)
}

fn put_together(
    found: &Found,
    [first, second]: [&Audit; 2],
    between: Duration,
    holders: Holders,
) -> Result<Status, &'static str> {
    let Holders { mut processes, unseen } = holders;
    // It is we ourselves who look.
    processes.retain(|process| process.id != std::process::id());
    let participants: Vec<_> =
        second.held().map(|entry| Participant::of(entry, [first, second], between, &processes)).collect();
    let is_participant = |process: &Process| participants.iter().any(|p| p.process.as_ref() == Some(process));
    let mut pipe = Pipe::of(found).ok_or("it has gone meanwhile")?;
    let accounts = Accounts::of(second);
    let damage: Vec<_> = second.findings.iter().map(ToString::to_string).collect();
    let mut advice = advice(&accounts, &participants, &found.name);
    if second.is_steady && !damage.is_empty() {
        advice.push(format!(
            "its memory is damaged: end its users, or give them another pipe with `ppipe rm {}`",
            found.name
        ));
    }
    pipe.accounts = Some(accounts);
    Ok(Status {
        pipe,
        others: processes.iter().filter(|process| !is_participant(process)).cloned().collect(),
        participants,
        unseen,
        is_steady: second.is_steady,
        damage,
        advice,
    })
}

impl Participant {
    fn of(entry: &EntryAccount, [first, second]: [&Audit; 2], between: Duration, processes: &[Process]) -> Self {
        let mut at_home = processes.iter().filter(|process| process.id_at_home == entry.pid);
        // Two of different namespaces may have the same number.
        let process = at_home.next().filter(|_| at_home.next().is_none()).cloned();
        let exchange = match entry.holding {
            Holding::Pending { offered, expected } => Some([offered, expected]),
            Holding::Settled(_) => None,
        };
        let activity = Activity::of(entry);
        let before = first.entries.iter().find(|before| before.index == entry.index);
        let is_same = before.is_some_and(|before| before == entry) && activity != Activity::Idle;
        let extents = second.extents.iter().filter(|extent| extent.holder == Some(Holder::Entry(entry.index)));
        Self {
            entry: entry.index,
            side: Word::of(entry.side),
            pid: entry.pid,
            process,
            activity,
            page: entry.page,
            exchange,
            extents: extents.map(|extent| extent.index).collect(),
            stands_for: is_same.then_some(between.as_secs_f64()),
        }
    }

    fn is_held_up(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.state.is_held_up())
    }

    /// Who it is, in few words.
    fn who(&self) -> String {
        match &self.process {
            Some(process) => format!("process {} ({})", process.id, process.command),
            None if self.pid == 0 => "an end that is being handed over".to_owned(),
            None => format!("process {} of another place", self.pid),
        }
    }
}

/// What the state of the pipe means, and what to do.
fn advice(accounts: &Accounts, participants: &[Participant], name: &str) -> Vec<String> {
    let mut advice = Vec::new();
    let of = |side| participants.iter().filter(move |participant| participant.side == side);
    let all_stand = |side| of(side).next().is_some() && of(side).all(Participant::is_held_up);
    let (is_full, is_empty) = (accounts.slots == Some(accounts.full_slots as u32), accounts.full_slots == 0);
    for participant in participants.iter().filter(|participant| participant.is_held_up()) {
        let how = participant.process.as_ref().map_or("held up", |process| process.state.name());
        let midst = match participant.activity {
            Activity::Idle => String::new(),
            activity => {
                format!(", {}: nobody waits for that, but others use some CPU while they wait", activity.name())
            }
        };
        let go_on = match participant.process.as_ref() {
            Some(Process { state: State::Traced, .. }) => "a debugger has it".to_owned(),
            Some(process) => format!("`kill -CONT {}` lets it go on", process.id),
            None => String::new(),
        };
        advice.push(format!("{} is {how}{midst}; {go_on}", participant.who()));
    }
    if participants.is_empty() {
        advice.push(format!("nobody has it open: what is in it is lost; `ppipe gc` or `ppipe rm {name}` removes it"));
    } else if of(Word::Reader).next().is_none() {
        advice.push(
            "no reader has it open: a writer that has opened it gets a broken pipe, others wait for one".to_owned(),
        );
    } else if of(Word::Writer).next().is_none() {
        advice.push(
            "no writer has it open: a reader gets what is left and then the end of file, others wait for one"
                .to_owned(),
        );
    } else if is_full && all_stand(Word::Reader) {
        advice.push("it is full, and every reader stands: writers wait for them".to_owned());
    } else if is_full {
        advice.push("it is full: writers wait until a reader reads".to_owned());
    } else if is_empty && all_stand(Word::Writer) {
        advice.push("it is empty, and every writer stands: readers wait for them".to_owned());
    } else if is_empty {
        advice.push("it is empty: readers wait until a writer writes".to_owned());
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipes::People;

    pub(super) fn process(id: u32, state: State) -> Process {
        Process { id, id_at_home: id, command: "worker".to_owned(), state, age: Some(7300) }
    }

    pub(super) fn entry(index: u32, side: Side, pid: u32) -> EntryAccount {
        EntryAccount {
            index,
            side,
            pid,
            is_held: true,
            is_pending: false,
            page: Some(40 + index),
            holding: Holding::Settled(40 + index),
            is_leaving: false,
            is_resizing: false,
            is_marked_at_death: true,
        }
    }

    fn audit(entries: Vec<EntryAccount>) -> Audit {
        Audit {
            entries,
            usage: Some(16),
            unread: Some(0),
            slots: Vec::new(),
            extents: Vec::new(),
            readers_wait: false,
            writers_wait: false,
            findings: Vec::new(),
            is_steady: true,
            settled: 0,
            freed: 0,
        }
    }

    pub(super) fn accounts(full_slots: usize) -> Accounts {
        let people = People { present: 1, limit: 128, is_any_asleep: false };
        Accounts { slots: Some(16), full_slots, unread: Some(12), writers: people, readers: people }
    }

    pub(super) fn participants(entries: &[EntryAccount], processes: &[Process]) -> Vec<Participant> {
        let audit = audit(entries.to_vec());
        let of = |entry| Participant::of(entry, [&audit, &audit], Duration::from_millis(300), processes);
        audit.entries.iter().map(of).collect()
    }

    #[test]
    fn an_exchange_that_is_the_same_in_both_looks_has_stood_that_long_and_another_one_has_not() {
        let idle = entry(0, Side::Writer, 7);
        let of = |offered| EntryAccount {
            is_pending: true,
            holding: Holding::Pending { offered, expected: 3 },
            page: None,
            ..idle
        };
        let stands_for = |first, second: EntryAccount| {
            let (first, second) = (audit(vec![first]), audit(vec![second]));
            let looks = [&first, &second];
            Participant::of(&second.entries[0], looks, Duration::from_millis(300), &[]).stands_for
        };
        assert_eq!(stands_for(of(17), of(17)), Some(0.3));
        assert_eq!(stands_for(of(16), of(17)), None);
        assert_eq!(stands_for(idle, of(17)), None);
        assert_eq!(stands_for(idle, idle), None, "to hold a page and do nothing is no state that one is stuck in");
    }

    #[test]
    fn a_participant_is_the_process_that_has_its_number_at_home_and_none_if_two_have() {
        let of_container = Process { id: 4242, ..process(17, State::Running) };
        let found = |processes: &[Process]| participants(&[entry(0, Side::Writer, 17)], processes)[0].process.clone();
        assert_eq!(found(&[process(5, State::Running), of_container.clone()]), Some(of_container.clone()));
        assert_eq!(found(&[process(17, State::Running), of_container]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn who_stands_is_told_with_what_it_is_in_the_midst_of_and_how_to_let_it_go_on() {
        let pending = EntryAccount {
            is_pending: true,
            holding: Holding::Pending { offered: 17, expected: 3 },
            ..entry(128, Side::Reader, 9)
        };
        let all = [entry(0, Side::Writer, 7), pending];
        let people = participants(&all, &[process(7, State::Asleep), process(9, State::Stopped)]);
        let says = advice(&accounts(16), &people, "jobs");
        assert_eq!(
            says,
            [
                "process 9 (worker) is stopped, in the midst of an exchange: nobody waits for that, but others use some CPU \
                 while they wait; `kill -CONT 9` lets it go on",
                "it is full, and every reader stands: writers wait for them"
            ]
        );
    }

    #[test]
    fn it_is_told_who_waits_for_whom() {
        let (writer, reader) = (entry(0, Side::Writer, 7), entry(128, Side::Reader, 9));
        let both = [process(7, State::Asleep), process(9, State::Asleep)];
        let says =
            |full, entries: &[EntryAccount]| advice(&accounts(full), &participants(entries, &both), "jobs").join("; ");
        for (full, entries, expected) in [
            (0, &[][..], "nobody has it open: what is in it is lost; `ppipe gc` or `ppipe rm jobs` removes it"),
            (3, &[writer], "no reader has it open"),
            (3, &[reader], "no writer has it open"),
            (16, &[writer, reader], "it is full: writers wait until a reader reads"),
            (0, &[writer, reader], "it is empty: readers wait until a writer writes"),
            (3, &[writer, reader], ""),
        ] {
            let said = says(full, entries);
            assert!(said.starts_with(expected) && said.is_empty() == expected.is_empty(), "{said:?}, not {expected:?}");
        }
        let traced = [process(7, State::Traced), process(9, State::Asleep)];
        let said = advice(&accounts(0), &participants(&[writer, reader], &traced), "jobs");
        assert_eq!(said[0], "process 7 (worker) is traced; a debugger has it");
        assert_eq!(said[1], "it is empty, and every writer stands: readers wait for them");
    }
}
