//! Who does what.

use crate::account::Account;
use crate::mistake::Mistake;
use crate::state::{
    Content, MAX_ENTRIES, MAX_EXTENTS, MAX_OPERATIONS, MAX_PAGES, MAX_PROCESSES, MAX_SLOTS, NO_PAGE, NOTHING,
    Operation, PACKET_SIZE, PAGE_SIZE, Process, Record, State, Word,
};
use Operation::{Append, Consume, Join, Receive, Send, SendLarge};

/// Some processes, and how many of them may die.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    slots: u8,
    extents: u8,
    deaths: u8,
    /// What each participant does, one after the other.
    participants: &'static [&'static [Operation]],
    /// The same for those who clean up behind one of them and take its place.
    heirs: &'static [&'static [Operation]],
    /// Whether it is also tried in every state that everybody can go on if all others are stopped.
    pub(crate) stops_everybody: bool,
}

/// What ordinary tests explore.
pub const SHORT: &[Scenario] = &[
    Scenario {
        name: "two writers and a reader, one death",
        slots: 2,
        extents: 0,
        deaths: 1,
        participants: &[&[Send(1), Send(2)], &[Send(3)], &[Receive, Receive]],
        heirs: &[&[Join]],
        stops_everybody: false,
    },
    Scenario {
        name: "a writer and two readers, one death",
        slots: 2,
        extents: 0,
        deaths: 1,
        participants: &[&[Send(1), Send(2)], &[Receive], &[Receive]],
        heirs: &[&[Join]],
        stops_everybody: true,
    },
    Scenario {
        name: "one who appends, one who reads byte by byte, one death",
        slots: 2,
        extents: 0,
        deaths: 1,
        participants: &[&[Append(1), Append(2), Append(3)], &[Consume, Consume]],
        heirs: &[&[Join]],
        stops_everybody: true,
    },
    Scenario {
        name: "two who append and one who takes, one death",
        slots: 1,
        extents: 0,
        deaths: 1,
        participants: &[&[Append(1), Append(2)], &[Append(3)], &[Receive]],
        heirs: &[&[Join]],
        stops_everybody: false,
    },
    Scenario {
        name: "two deaths, also of those who clean up",
        slots: 1,
        extents: 0,
        deaths: 2,
        participants: &[&[Send(1), Send(2)], &[Receive, Receive]],
        heirs: &[&[Join], &[Join], &[Join]],
        stops_everybody: false,
    },
    Scenario {
        name: "two packets above a slot, one extent, one death",
        slots: 1,
        extents: 1,
        deaths: 1,
        participants: &[&[SendLarge(1), SendLarge(2)], &[SendLarge(3)], &[Receive, Receive]],
        heirs: &[&[Join]],
        stops_everybody: false,
    },
    Scenario {
        name: "two writers and a reader over one slot, one death",
        slots: 1,
        extents: 0,
        deaths: 1,
        participants: &[&[Send(1)], &[Send(2)], &[Receive, Receive]],
        heirs: &[&[Join, Receive]],
        stops_everybody: true,
    },
    Scenario {
        name: "one who appends again where others have written meanwhile",
        slots: 1,
        extents: 0,
        deaths: 0,
        participants: &[&[Append(1), Append(2), Append(3)], &[Append(4)], &[Receive, Receive]],
        heirs: &[],
        stops_everybody: false,
    },
    Scenario {
        name: "one who is slow while the laps go by",
        slots: 1,
        extents: 0,
        deaths: 0,
        participants: &[&[Send(1)], &[Send(2), Send(3), Send(4)], &[Receive, Receive, Receive]],
        heirs: &[],
        stops_everybody: false,
    },
];

/// What takes minutes, and some gigabytes of memory.
pub const LONG: &[Scenario] = &[
    Scenario {
        name: "long: a writer and a reader, two deaths, and those who come after them go on",
        slots: 2,
        extents: 0,
        deaths: 2,
        participants: &[&[Send(1), Send(2)], &[Receive, Receive]],
        heirs: &[&[Join, Send(3)], &[Join, Receive], &[Join]],
        stops_everybody: true,
    },
    Scenario {
        name: "long: two writers and a reader over one slot, two deaths",
        slots: 1,
        extents: 0,
        deaths: 2,
        participants: &[&[Send(1)], &[Send(2)], &[Receive, Receive]],
        heirs: &[&[Join], &[Join], &[Join]],
        stops_everybody: false,
    },
    Scenario {
        name: "long: two who append, one who reads byte by byte, one death",
        slots: 2,
        extents: 0,
        deaths: 1,
        participants: &[&[Append(1), Append(2)], &[Append(3), Append(4)], &[Consume, Consume]],
        heirs: &[&[Join]],
        stops_everybody: false,
    },
    Scenario {
        name: "long: packets above a slot and below, two deaths",
        slots: 2,
        extents: 2,
        deaths: 2,
        participants: &[&[SendLarge(1), Send(2)], &[Receive, Receive]],
        heirs: &[&[Join, SendLarge(3)], &[Join], &[Join]],
        stops_everybody: false,
    },
];

const NO_WORD: Word = Word { lap: 0, page: NO_PAGE, content: Content::Empty };

impl Scenario {
    /// Everything before anybody has done anything. Each participant owns a page, and so does each slot.
    pub(crate) fn beginning(&self) -> State {
        let entries = self.participants.len();
        let mut state = State {
            slot_count: self.slots,
            entry_count: entries as u8,
            process_count: (entries + self.heirs.len()) as u8,
            extent_count: self.extents,
            deaths_left: self.deaths,
            slots: [NO_WORD; MAX_SLOTS],
            pages: [[NOTHING; PAGE_SIZE]; MAX_PAGES],
            extents: [0; MAX_EXTENTS],
            extent_bytes: [[NOTHING; PACKET_SIZE]; MAX_EXTENTS],
            records: [Record::Settled(NO_PAGE); MAX_ENTRIES],
            locks: [None; MAX_ENTRIES],
            processes: [Process::IDLE; MAX_PROCESSES],
            account: Account::EMPTY,
            predecessors: [0; MAX_ENTRIES],
            breach: None,
        };
        for (page, word) in (0..self.slots).zip(&mut state.slots) {
            word.page = page;
        }
        for (entry, operations) in (0_u8..).zip(self.participants) {
            let (page, index) = (self.slots + entry, usize::from(entry));
            state.records[index] = Record::Settled(page);
            state.locks[index] = Some(entry);
            state.predecessors[index] = entry;
            let process = Process { entry: Some(entry), spare: page, owns: Some(page), ..one_who_does(operations) };
            state.processes[index] = process;
        }
        for (process, operations) in state.processes[entries..].iter_mut().zip(self.heirs) {
            *process = one_who_does(operations);
        }
        state
    }
}

fn one_who_does(operations: &[Operation]) -> Process {
    let mut all = [None; MAX_OPERATIONS];
    for (one, &operation) in all.iter_mut().zip(operations) {
        *one = Some(operation);
    }
    Process { operations: all, ..Process::IDLE }
}

/// One of [`SHORT`] in which each mistake is to be seen.
#[must_use]
pub fn that_shows(mistake: Mistake) -> Option<&'static Scenario> {
    let name = match mistake {
        Mistake::None => return None,
        Mistake::SettlesBeforeExchange
        | Mistake::AnnouncesAfterExchange
        | Mistake::AnnouncesNothing
        | Mistake::BelievesNotExchanged
        | Mistake::BelievesExchanged
        | Mistake::KeepsBothPages
        | Mistake::FillsAfterPublishing
        | Mistake::ReservesFirst => "a writer and two readers, one death",
        Mistake::SightsInPendingRecords | Mistake::KeepsTheLockInVain => {
            "two writers and a reader over one slot, one death"
        }
        Mistake::CleansUpWithoutLock => "two deaths, also of those who clean up",
        Mistake::AppendsInPlace => "two who append and one who takes, one death",
        Mistake::BelievesInPrefix => "one who appends again where others have written meanwhile",
        Mistake::KeepsWhatWasLost => "one who appends, one who reads byte by byte, one death",
        Mistake::ForgetsExtents | Mistake::FreesBeforeReading => "two packets above a slot, one extent, one death",
        Mistake::ComparesNoLap => "one who is slow while the laps go by",
    };
    SHORT.iter().find(|scenario| scenario.name == name)
}
