//! What is in shared memory, what each process has to itself, and whose each page truly is.
//!
//! Pages have no order: two states that differ only in their pages' names are one, see [`State::with_names_in_order`].

use crate::account::{Account, Breach};

/// So many at most.
pub(crate) const MAX_SLOTS: usize = 2;
pub(crate) const MAX_ENTRIES: usize = 3;
pub(crate) const MAX_PAGES: usize = MAX_SLOTS + MAX_ENTRIES;
pub(crate) const MAX_PROCESSES: usize = 6;
pub(crate) const MAX_EXTENTS: usize = 2;
pub(crate) const MAX_OPERATIONS: usize = 3;
/// Bytes in a page.
pub(crate) const PAGE_SIZE: usize = 3;
/// Bytes of a packet, in a page or in an extent.
pub(crate) const PACKET_SIZE: usize = 2;
/// What is in a page that nobody has written to.
pub(crate) const NOTHING: u8 = 0;
/// Not the name of a page.
pub(crate) const NO_PAGE: u8 = u8::MAX;

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    Empty,
    Stream {
        start: u8,
        end: u8,
    },
    Packet,
    Large,
    /// Only where that is the mistake.
    Reserved,
}

/// A slot's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Word {
    pub(crate) lap: u8,
    pub(crate) page: u8,
    pub(crate) content: Content,
}

/// A participant's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Record {
    Settled(u8),
    Pending { offered: u8, expected: u8 },
}

/// One thing that somebody does. The number is the message's, or the byte's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    /// Sends a packet.
    Send(u8),
    /// Sends a packet in an extent.
    SendLarge(u8),
    /// Writes a stream byte.
    Append(u8),
    /// Takes what is at tail.
    Receive,
    /// Reads one stream byte.
    Consume,
    /// Takes the place of somebody who has died.
    Join,
}

/// Where a process stands in its operation: the access that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    /// Between operations.
    Idle,
    ClaimExtent(u8),
    WriteExtent(u8),
    Fill(u8),
    LookAtHead,
    LookBeforeHead,
    LookAtLast,
    CopyByte(u8),
    AddByte,
    LookAtTail,
    LookBeforeTail,
    PeekByte,
    ConsumeByte,
    Intend,
    Exchange,
    Settle,
    FillLate(u8),
    Commit,
    ReadByte(u8),
    ReadHeader,
    ReadExtent(u8),
    ReleaseExtent,
    DropExtent,
    ReadRecordOfDead,
    SightSlot(u8),
    SightRecord(u8),
    SettleDead,
    FreeExtents(u8),
    Scribble(u8),
}

/// What a writer remembers of its spare page after a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Copied {
    pub(crate) position: u8,
    pub(crate) published: u8,
    pub(crate) start: u8,
    pub(crate) end: u8,
}

/// What a process has to itself. What is of no use any more is [`Process::forgotten`], so that fewer states differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) lives: bool,
    pub(crate) at: At,
    pub(crate) operations: [Option<Operation>; MAX_OPERATIONS],
    /// Whose place in the table it has, or is cleaning up.
    pub(crate) entry: Option<u8>,
    pub(crate) spare: u8,
    pub(crate) cursor: u8,
    pub(crate) seen: Word,
    /// Position of what was seen.
    pub(crate) position: u8,
    pub(crate) is_merging: bool,
    pub(crate) has_won: bool,
    pub(crate) copied: Option<Copied>,
    pub(crate) extent: u8,
    /// The bytes that were read.
    pub(crate) got: [u8; PAGE_SIZE],
    /// Both pages of a pending record.
    pub(crate) pair: [u8; 2],
    /// Entries that it has looked at in vain, and nothing has changed since then.
    pub(crate) in_vain: [bool; MAX_ENTRIES],
    pub(crate) has_stirred: bool,
    /// For the account: what came out with its last exchange, and what was true at some time in its operation.
    pub(crate) came_out: [u8; PAGE_SIZE],
    pub(crate) was_empty: bool,
    pub(crate) was_full: bool,
    /// For the account: where head was when the operation began.
    pub(crate) first_head: u8,
    /// For the account: the page that it truly owns.
    pub(crate) owns: Option<u8>,
}

const NO_WORD: Word = Word { lap: 0, page: NO_PAGE, content: Content::Empty };

impl Process {
    /// One that has nothing to do.
    pub(crate) const IDLE: Self = Self {
        lives: true,
        at: At::Idle,
        operations: [None; MAX_OPERATIONS],
        entry: None,
        spare: NO_PAGE,
        cursor: 0,
        seen: NO_WORD,
        position: 0,
        is_merging: false,
        has_won: false,
        copied: None,
        extent: 0,
        got: [NOTHING; PAGE_SIZE],
        pair: [NO_PAGE; 2],
        in_vain: [false; MAX_ENTRIES],
        has_stirred: false,
        came_out: [NOTHING; PAGE_SIZE],
        was_empty: false,
        was_full: false,
        first_head: 0,
        owns: None,
    };

    /// What it does now or next.
    pub(crate) fn operation(&self) -> Option<Operation> {
        self.operations[0]
    }

    /// The same without what only an operation needs.
    pub(crate) fn forgotten(self) -> Self {
        let Self { lives, operations, entry, spare, cursor, copied, in_vain, has_stirred, owns, .. } = self;
        Self { lives, operations, entry, spare, cursor, copied, in_vain, has_stirred, owns, ..Self::IDLE }
    }
}

/// Everything at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) slot_count: u8,
    pub(crate) entry_count: u8,
    pub(crate) process_count: u8,
    pub(crate) extent_count: u8,
    pub(crate) deaths_left: u8,
    pub(crate) slots: [Word; MAX_SLOTS],
    pub(crate) pages: [[u8; PAGE_SIZE]; MAX_PAGES],
    /// Page + 1, or 0.
    pub(crate) extents: [u8; MAX_EXTENTS],
    pub(crate) extent_bytes: [[u8; PACKET_SIZE]; MAX_EXTENTS],
    pub(crate) records: [Record; MAX_ENTRIES],
    /// The kernel's locks: which process has each entry.
    pub(crate) locks: [Option<u8>; MAX_ENTRIES],
    pub(crate) processes: [Process; MAX_PROCESSES],
    pub(crate) account: Account,
    /// For the account: who has had each entry last, and has died with its page if it is dead.
    pub(crate) predecessors: [u8; MAX_ENTRIES],
    pub(crate) breach: Option<Breach>,
}

impl State {
    pub(crate) fn slots(&self) -> &[Word] {
        &self.slots[..self.slot_count.into()]
    }

    pub(crate) fn processes(&self) -> &[Process] {
        &self.processes[..self.process_count.into()]
    }

    pub(crate) fn records(&self) -> &[Record] {
        &self.records[..self.entry_count.into()]
    }

    pub(crate) fn locks(&self) -> &[Option<u8>] {
        &self.locks[..self.entry_count.into()]
    }

    pub(crate) fn extents(&self) -> &[u8] {
        &self.extents[..self.extent_count.into()]
    }

    /// The slot of a position.
    pub(crate) fn index(&self, position: u8) -> usize {
        usize::from(position % self.slot_count)
    }

    /// The lap of a position.
    pub(crate) fn lap(&self, position: u8) -> u8 {
        position / self.slot_count
    }

    /// Whose each page truly is: those of the slots, and then those of the processes.
    pub(crate) fn held_pages(&self) -> impl Iterator<Item = u8> {
        self.slots().iter().map(|word| word.page).chain(self.processes().iter().filter_map(|process| process.owns))
    }

    /// Whether each page is in one place.
    pub(crate) fn holds_each_page_once(&self) -> bool {
        let mut times = [0; MAX_PAGES];
        self.held_pages().for_each(|page| times[usize::from(page)] += 1);
        times[..usize::from(self.slot_count + self.entry_count)].iter().all(|&times| times == 1)
    }

    /// The same state, with the pages named in the order of those who have them.
    pub(crate) fn with_names_in_order(self) -> Self {
        if !self.holds_each_page_once() {
            return self;
        }
        let mut names = [NO_PAGE; MAX_PAGES];
        let mut pages = [[NOTHING; PAGE_SIZE]; MAX_PAGES];
        for (name, page) in (0_u8..).zip(self.held_pages()) {
            names[usize::from(page)] = name;
            pages[usize::from(name)] = self.pages[usize::from(page)];
        }
        let named = |page: u8| names.get(usize::from(page)).copied().unwrap_or(NO_PAGE);
        let mut state = Self { pages, ..self };
        for word in &mut state.slots {
            word.page = named(word.page);
        }
        for record in &mut state.records {
            *record = match *record {
                Record::Settled(page) => Record::Settled(named(page)),
                Record::Pending { offered, expected } => {
                    Record::Pending { offered: named(offered), expected: named(expected) }
                }
            };
        }
        for owner in state.extents.iter_mut().filter(|owner| **owner > 0) {
            *owner = named(*owner - 1) + 1;
        }
        for process in &mut state.processes {
            process.spare = named(process.spare);
            process.seen.page = named(process.seen.page);
            process.pair = process.pair.map(named);
            process.owns = process.owns.map(named);
            if let Some(copied) = &mut process.copied {
                copied.published = named(copied.published);
            }
        }
        state
    }
}
