//! What was published and has not been read, kept beside the ring: a queue such as a child would draw. Every access to shared memory goes
//! through here, and what a single one of them can do wrong is noted at once.

use crate::state::{Content, NOTHING, Operation, PACKET_SIZE, PAGE_SIZE, Process, Record, State, Word};

/// A law that was broken, by one access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Breach {
    WroteToThePageOfAnother,
    WroteToTheExtentOfAnother,
    PutIntoASlotThePageOfAnother,
    FilledOutOfOrder,
    DrainedOutOfOrder,
    AppendedToWhatWasNeverLast,
    ReadOtherBytesThanWerePublished,
    SaidEmptyWhereItNeverWas,
    SaidFullWhereItNeverWas,
    StandsAheadOfTheRing,
}

/// One slot's worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Item {
    pub(crate) bytes: [u8; PAGE_SIZE],
    pub(crate) len: u8,
}

const NO_ITEM: Item = Item { bytes: [NOTHING; PAGE_SIZE], len: 0 };

/// The queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Account {
    /// Position of the first one.
    pub(crate) tail: u8,
    pub(crate) len: u8,
    items: [Item; crate::state::MAX_SLOTS],
}

impl Account {
    pub(crate) const EMPTY: Self = Self { tail: 0, len: 0, items: [NO_ITEM; crate::state::MAX_SLOTS] };

    /// What is there, with positions.
    pub(crate) fn items(&self) -> impl Iterator<Item = (u8, &Item)> {
        (self.tail..).zip(&self.items[..self.len.into()])
    }

    /// The position behind the last one.
    pub(crate) fn head(&self) -> u8 {
        self.tail + self.len
    }

    fn push(&mut self, item: Item) {
        self.items[usize::from(self.len)] = item;
        self.len += 1;
    }

    fn pop(&mut self) -> [u8; PAGE_SIZE] {
        let first = self.items[0].bytes;
        self.items.rotate_left(1);
        self.items[self.items.len() - 1] = NO_ITEM;
        self.len -= 1;
        self.tail += 1;
        first
    }

    fn pop_byte(&mut self) -> [u8; PAGE_SIZE] {
        let first = &mut self.items[0];
        let mut came_out = [NOTHING; PAGE_SIZE];
        came_out[0] = first.bytes[0];
        first.bytes.rotate_left(1);
        first.bytes[PAGE_SIZE - 1] = NOTHING;
        first.len -= 1;
        came_out
    }

    fn append(&mut self, position: u8, byte: u8) {
        let item = &mut self.items[usize::from(position - self.tail)];
        item.bytes[usize::from(item.len)] = byte;
        item.len += 1;
    }
}

/// What an operation publishes.
fn item_of(operation: Option<Operation>) -> Item {
    let mut item = NO_ITEM;
    match operation {
        Some(Operation::Send(number) | Operation::SendLarge(number)) => {
            item.len = PACKET_SIZE as u8;
            item.bytes[..PACKET_SIZE].fill(number);
        }
        Some(Operation::Append(number)) => {
            item.len = 1;
            item.bytes[0] = number;
        }
        _ => {}
    }
    item
}

impl State {
    pub(crate) fn note(&mut self, breach: Breach) {
        self.breach.get_or_insert(breach);
    }

    /// Tells those who have looked in vain that something has changed.
    fn stir(&mut self) {
        for process in &mut self.processes {
            process.in_vain = Process::IDLE.in_vain;
            process.has_stirred = matches!(process.operation(), Some(Operation::Join));
        }
    }

    /// Tells everybody in the midst of an operation whether there is nothing, or no room.
    pub(crate) fn witness(&mut self) {
        let (is_empty, is_full) = (self.account.len == 0, self.account.len == self.slot_count);
        for process in self.processes.iter_mut().filter(|process| process.at != crate::state::At::Idle) {
            process.was_empty |= is_empty;
            process.was_full |= is_full;
        }
    }

    /// The compare-exchange of a slot's word: whether `position`'s has become `new`.
    pub(crate) fn exchange(&mut self, who: usize, position: u8, expected: Word, new: Word) -> bool {
        let index = self.index(position);
        if self.slots[index] != expected {
            return false;
        }
        self.slots[index] = new;
        if new.page != expected.page {
            if self.processes[who].owns != Some(new.page) {
                self.note(Breach::PutIntoASlotThePageOfAnother);
            }
            self.processes[who].owns = Some(expected.page);
        }
        self.keep_account(who, position, expected, new);
        self.witness();
        self.stir();
        true
    }

    fn keep_account(&mut self, who: usize, position: u8, old: Word, new: Word) {
        let (tail, head) = (self.account.tail, self.account.head());
        let operation = self.processes[who].operation();
        match (old.content, new.content) {
            (Content::Empty, Content::Reserved) => {}
            (Content::Empty | Content::Reserved, _) => {
                if position != head || new.lap != self.lap(position) || old.lap != new.lap {
                    return self.note(Breach::FilledOutOfOrder);
                }
                self.account.push(item_of(operation));
            }
            (_, Content::Empty) => {
                if position != tail || head == tail || new.lap != self.lap(position) + 1 {
                    return self.note(Breach::DrainedOutOfOrder);
                }
                self.processes[who].came_out = self.account.pop();
            }
            (Content::Stream { start, .. }, Content::Stream { start: later, .. }) if later > start => {
                if position != tail || head == tail {
                    return self.note(Breach::DrainedOutOfOrder);
                }
                self.processes[who].came_out = self.account.pop_byte();
            }
            (Content::Stream { .. }, Content::Stream { .. }) => {
                // What was the last one at some time of the operation: then the bytes that others have published behind it since
                // count as written after these.
                let was_last = position + 1 >= self.processes[who].first_head;
                if !was_last || !(tail..head).contains(&position) {
                    return self.note(Breach::AppendedToWhatWasNeverLast);
                }
                self.account.append(position, item_of(operation).bytes[0]);
            }
            _ => self.note(Breach::AppendedToWhatWasNeverLast),
        }
    }

    pub(crate) fn write_record(&mut self, entry: u8, record: Record) {
        self.records[usize::from(entry)] = record;
        self.stir();
    }

    pub(crate) fn write_byte(&mut self, who: usize, page: u8, at: usize, byte: u8) {
        if self.processes[who].owns != Some(page) {
            self.note(Breach::WroteToThePageOfAnother);
        }
        self.pages[usize::from(page)][at] = byte;
    }

    pub(crate) fn write_extent(&mut self, who: usize, extent: u8, at: usize, byte: u8) {
        if self.extents[usize::from(extent)].checked_sub(1) != self.processes[who].owns {
            self.note(Breach::WroteToTheExtentOfAnother);
        }
        self.extent_bytes[usize::from(extent)][at] = byte;
    }
}
