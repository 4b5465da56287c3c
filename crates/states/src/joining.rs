//! Cleaning up behind one who has died, and taking its place.
//!
//! ```text
//!   lock ─> read its record ─> sight one of its two pages ─> settle its record ─> free the page's extents ─> write to the page
//! ```
//!
//! Where neither page is sighted the lock is given back, and the next attempt waits until something has changed.

use crate::mistake::Mistake;
use crate::state::{At, NO_PAGE, Operation, PAGE_SIZE, Process, Record, State};
use crate::step::Step;

/// What the next owner of a page writes to it.
const SCRIBBLE: u8 = 0xff;

impl State {
    /// Whether process `who` can begin to clean up behind the last one who had `entry`.
    pub(crate) fn may_join(&self, who: usize, entry: u8, mistake: Mistake) -> bool {
        let process = &self.processes[who];
        let is_waiting = process.lives && process.operation() == Some(Operation::Join) && process.at == At::Idle;
        let is_free = match self.locks[usize::from(entry)] {
            None => true,
            Some(other) => {
                mistake == Mistake::CleansUpWithoutLock
                    && self.processes[usize::from(other)].operation() == Some(Operation::Join)
            }
        };
        is_waiting && is_free && !process.in_vain[usize::from(entry)]
    }

    /// The state after `who` has got the lock of `entry` from the kernel.
    pub(crate) fn after_lock(mut self, who: usize, entry: u8) -> Self {
        self.locks[usize::from(entry)] = Some(who as u8);
        let process = &mut self.processes[who];
        process.entry = Some(entry);
        process.at = At::ReadRecordOfDead;
        process.has_stirred = false;
        self
    }
}

impl Step<'_> {
    fn entry_of_dead(&mut self) -> usize {
        self.me().entry.expect("who joins has chosen an entry").into()
    }

    pub(crate) fn take_joining(&mut self, at: At) -> Option<At> {
        match at {
            At::ReadRecordOfDead => self.read_record_of_dead(),
            At::SightSlot(index) => self.sight_slot(index),
            At::SightRecord(index) => self.sight_record(index),
            At::SettleDead => self.settle_dead(),
            At::FreeExtents(index) => self.free_extents(index),
            At::Scribble(at) => self.scribble(at),
            other => unreachable!("{other:?} is not a step of one who joins"),
        }
    }

    fn read_record_of_dead(&mut self) -> Option<At> {
        let entry = self.entry_of_dead();
        let (offered, expected) = match self.state.records[entry] {
            Record::Settled(page) => return self.found(page),
            Record::Pending { offered, expected } => (offered, expected),
        };
        self.me().pair = [offered, expected];
        match self.mistake {
            Mistake::BelievesNotExchanged => self.found(offered),
            Mistake::BelievesExchanged => self.found(expected),
            _ => Some(At::SightSlot(0)),
        }
    }

    /// The page that it owns if `page` was seen elsewhere.
    fn owned_if_elsewhere(&mut self, page: u8) -> Option<u8> {
        match self.me().pair {
            [offered, expected] if page == offered => Some(expected),
            [offered, expected] if page == expected => Some(offered),
            _ => None,
        }
    }

    fn found(&mut self, page: u8) -> Option<At> {
        self.me().spare = page;
        Some(At::SettleDead)
    }

    fn sight_slot(&mut self, index: u8) -> Option<At> {
        let page = self.state.slots[usize::from(index)].page;
        if let Some(owned) = self.owned_if_elsewhere(page) {
            return self.found(owned);
        }
        Some(if index + 1 < self.state.slot_count { At::SightSlot(index + 1) } else { At::SightRecord(0) })
    }

    fn sight_record(&mut self, index: u8) -> Option<At> {
        let entry = self.entry_of_dead();
        let page = match self.state.records[usize::from(index)] {
            Record::Settled(page) => page,
            Record::Pending { expected, .. }
                if self.mistake == Mistake::SightsInPendingRecords && usize::from(index) != entry =>
            {
                expected
            }
            Record::Pending { .. } => NO_PAGE,
        };
        if let Some(owned) = self.owned_if_elsewhere(page) {
            return self.found(owned);
        }
        if index + 1 < self.state.entry_count {
            return Some(At::SightRecord(index + 1));
        }
        self.give_back(entry)
    }

    /// The page is not known at this moment: everything is as it was.
    fn give_back(&mut self, entry: usize) -> Option<At> {
        if self.mistake == Mistake::KeepsTheLockInVain {
            self.me().operations = Process::IDLE.operations;
            return None;
        }
        self.state.locks[entry] = None;
        let me = self.me();
        me.entry = None;
        me.in_vain[entry] = !me.has_stirred;
        *me = me.forgotten();
        Some(At::Idle)
    }

    fn settle_dead(&mut self) -> Option<At> {
        let (entry, page) = (self.entry_of_dead(), self.me().spare);
        self.state.write_record(entry as u8, Record::Settled(page));
        let before = usize::from(self.state.predecessors[entry]);
        self.state.processes[before].owns = None;
        self.state.predecessors[entry] = self.who as u8;
        self.me().owns = Some(page);
        Some(if self.mistake == Mistake::ForgetsExtents { At::Scribble(0) } else { At::FreeExtents(0) })
    }

    fn free_extents(&mut self, index: u8) -> Option<At> {
        if index == self.state.extent_count {
            return self.scribble(0);
        }
        let page = self.me().spare;
        let owner = &mut self.state.extents[usize::from(index)];
        if *owner == page + 1 {
            *owner = 0;
        }
        Some(At::FreeExtents(index + 1))
    }

    fn scribble(&mut self, at: u8) -> Option<At> {
        let page = self.me().spare;
        self.state.write_byte(self.who, page, at.into(), SCRIBBLE);
        if self.mistake == Mistake::KeepsBothPages && self.me().pair[0] != NO_PAGE {
            let [offered, expected] = self.me().pair;
            let other = if page == offered { expected } else { offered };
            self.state.write_byte(self.who, other, at.into(), SCRIBBLE);
        }
        (usize::from(at) + 1 < PAGE_SIZE).then_some(At::Scribble(at + 1))
    }
}
