//! What each process does next: one access to shared memory a step.
//!
//! ```text
//!   send     fill ─────────────> look at head, and before it ─> intend ─> exchange ─> settle
//!   append   look at head, and before it, and at the last one ─> copy, add ─> intend ─> exchange ─> settle
//!   receive  look at tail, and before it ─> intend ─> exchange ─> settle ─> read
//!   consume  look at tail, and before it ─> peek ─> exchange
//! ```

use crate::account::Breach;
use crate::mistake::Mistake;
use crate::state::{
    At, Content, Copied, NO_PAGE, NOTHING, Operation, PACKET_SIZE, PAGE_SIZE, Process, Record, State, Word,
};

/// One process about to make one access.
pub(crate) struct Step<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) who: usize,
    pub(crate) mistake: Mistake,
}

impl State {
    /// The state after the next access of process `who`. `None` if it has nothing to do.
    pub(crate) fn after_step(mut self, who: usize, mistake: Mistake) -> Option<Self> {
        let process = &self.processes[who];
        let is_waiting = matches!((process.operation(), process.at), (None, _) | (Some(Operation::Join), At::Idle));
        if !process.lives || is_waiting {
            return None;
        }
        let mut step = Step { state: &mut self, who, mistake };
        if step.me().at == At::Idle {
            step.begin();
        }
        step.take();
        Some(self)
    }

    /// The state after a death.
    pub(crate) fn after_death(mut self, who: usize) -> Self {
        self.deaths_left -= 1;
        for lock in self.locks.iter_mut().filter(|lock| **lock == Some(who as u8)) {
            *lock = None;
        }
        let owns = self.processes[who].owns;
        self.processes[who] = Process { lives: false, owns, ..Process::IDLE };
        self
    }
}

impl Step<'_> {
    pub(crate) fn me(&mut self) -> &mut Process {
        &mut self.state.processes[self.who]
    }

    fn operation(&self) -> Operation {
        self.state.processes[self.who].operation().expect("who takes a step does something")
    }

    fn begin(&mut self) {
        let operation = self.operation();
        self.me().at = match operation {
            Operation::Send(_) if self.mistake == Mistake::FillsAfterPublishing => At::LookAtHead,
            Operation::Send(_) if self.mistake == Mistake::ReservesFirst => At::LookAtHead,
            Operation::Send(_) => At::Fill(0),
            Operation::SendLarge(_) => At::ClaimExtent(0),
            Operation::Append(_) => {
                self.me().is_merging = true;
                At::LookAtHead
            }
            Operation::Receive | Operation::Consume => At::LookAtTail,
            Operation::Join => At::ReadRecordOfDead,
        };
        self.me().first_head = self.state.account.head();
        self.state.witness();
    }

    /// Ends the operation.
    pub(crate) fn end(&mut self) {
        let me = self.me();
        me.operations.rotate_left(1);
        me.operations[me.operations.len() - 1] = None;
        *me = me.forgotten();
    }

    fn take(&mut self) {
        let next = match self.me().at {
            At::Idle => unreachable!("it has begun"),
            At::ClaimExtent(index) => self.claim_extent(index),
            At::WriteExtent(at) => self.write_extent(at),
            At::Fill(at) => self.fill(at),
            At::LookAtHead => self.look_at_head(),
            At::LookBeforeHead => self.look_before_head(),
            At::LookAtLast => self.look_at_last(),
            At::CopyByte(at) => self.copy_byte(at),
            At::AddByte => self.add_byte(),
            At::LookAtTail => self.look_at_tail(),
            At::LookBeforeTail => self.look_before_tail(),
            At::PeekByte => self.peek_byte(),
            At::ConsumeByte => self.consume_byte(),
            At::Intend => self.intend(),
            At::Exchange => self.exchange(),
            At::Settle => self.settle(),
            At::FillLate(at) => self.fill_late(at),
            At::Commit => self.commit(),
            At::ReadByte(at) => self.read_byte(at),
            At::ReadHeader => self.read_header(),
            At::ReadExtent(at) => self.read_extent(at),
            At::ReleaseExtent | At::DropExtent => self.release_extent(),
            joining => self.take_joining(joining),
        };
        match next {
            Some(at) => self.me().at = at,
            None => self.end(),
        }
    }

    fn claim_extent(&mut self, index: u8) -> Option<At> {
        let page = self.me().spare;
        let owner = &mut self.state.extents[usize::from(index)];
        if *owner == 0 {
            *owner = page + 1;
            self.me().extent = index;
            return Some(At::WriteExtent(0));
        }
        // All taken: it sends nothing.
        (index + 1 < self.state.extent_count).then_some(At::ClaimExtent(index + 1))
    }

    fn write_extent(&mut self, at: u8) -> Option<At> {
        let Operation::SendLarge(number) = self.operation() else { unreachable!("only large ones have extents") };
        let extent = self.me().extent;
        self.state.write_extent(self.who, extent, at.into(), number);
        Some(if usize::from(at) + 1 < PACKET_SIZE { At::WriteExtent(at + 1) } else { At::Fill(0) })
    }

    /// The byte that is filled in at `at`, and whether it is the last one.
    fn byte_to_fill(&mut self, at: u8) -> (u8, bool) {
        match self.operation() {
            Operation::Send(number) => (number, usize::from(at) + 1 == PACKET_SIZE),
            Operation::SendLarge(_) => (self.me().extent, true),
            Operation::Append(number) => (number, true),
            _ => unreachable!("only writers fill"),
        }
    }

    fn fill(&mut self, at: u8) -> Option<At> {
        let (byte, is_last) = self.byte_to_fill(at);
        self.me().copied = None;
        let page = self.me().spare;
        self.state.write_byte(self.who, page, at.into(), byte);
        Some(if is_last { At::LookAtHead } else { At::Fill(at + 1) })
    }

    fn look_at_head(&mut self) -> Option<At> {
        let head = self.me().cursor;
        let word = self.state.slots[self.state.index(head)];
        let lap = self.state.lap(head);
        let published = if word.content == Content::Empty { word.lap.checked_sub(1) } else { Some(word.lap) };
        if let Some(published) = published.filter(|&published| published >= lap) {
            self.me().cursor = published * self.state.slot_count + self.state.index(head) as u8 + 1;
            return Some(At::LookAtHead);
        }
        self.me().seen = word;
        self.me().position = head;
        Some(At::LookBeforeHead)
    }

    fn look_before_head(&mut self) -> Option<At> {
        let head = self.me().position;
        let is_filled = |word: Word, lap: u8| word.lap > lap || (word.lap == lap && word.content != Content::Empty);
        if head > 0 {
            let before = self.state.slots[self.state.index(head - 1)];
            if !is_filled(before, self.state.lap(head - 1)) {
                self.state.note(Breach::StandsAheadOfTheRing);
            }
        }
        if self.me().is_merging {
            return Some(if head == 0 { self.publish_instead() } else { At::LookAtLast });
        }
        if self.me().seen.content == Content::Empty {
            return Some(At::Intend);
        }
        if !self.me().was_full {
            self.state.note(Breach::SaidFullWhereItNeverWas);
        }
        matches!(self.operation(), Operation::SendLarge(_)).then_some(At::DropExtent)
    }

    fn publish_instead(&mut self) -> At {
        self.me().is_merging = false;
        At::Fill(0)
    }

    fn look_at_last(&mut self) -> Option<At> {
        let last = self.me().cursor - 1;
        let word = self.state.slots[self.state.index(last)];
        let Content::Stream { start, end } = word.content else { return Some(self.publish_instead()) };
        if word.lap != self.state.lap(last) || usize::from(end) == PAGE_SIZE {
            return Some(self.publish_instead());
        }
        let believes = self.mistake == Mistake::BelievesInPrefix;
        let me = self.me();
        (me.seen, me.position) = (word, last);
        let copied = me.copied.take();
        let is_prefix = |old: &Copied| {
            let is_it = old.position == last && old.published == word.page;
            (is_it || believes) && old.start <= start && old.end <= end
        };
        let from = copied.filter(is_prefix).map_or(start, |old| old.end.max(start));
        Some(self.copy_from(from))
    }

    fn copy_from(&mut self, at: u8) -> At {
        let Content::Stream { end, .. } = self.me().seen.content else { unreachable!("only streams are merged with") };
        if at < end { At::CopyByte(at) } else { At::AddByte }
    }

    fn copy_byte(&mut self, at: u8) -> Option<At> {
        let (from, to) = (self.me().seen.page, self.me().spare);
        if self.mistake != Mistake::AppendsInPlace {
            let byte = self.state.pages[usize::from(from)][usize::from(at)];
            self.state.write_byte(self.who, to, at.into(), byte);
        }
        Some(self.copy_from(at + 1))
    }

    fn add_byte(&mut self) -> Option<At> {
        let Operation::Append(number) = self.operation() else { unreachable!("only streams are merged with") };
        let Content::Stream { end, .. } = self.me().seen.content else { unreachable!("only streams are merged with") };
        if self.mistake == Mistake::AppendsInPlace {
            // Whose page it is nobody asks.
            let page = self.me().seen.page;
            self.state.pages[usize::from(page)][usize::from(end)] = number;
        } else {
            let page = self.me().spare;
            self.state.write_byte(self.who, page, end.into(), number);
        }
        Some(At::Intend)
    }

    fn look_at_tail(&mut self) -> Option<At> {
        let tail = self.me().cursor;
        let word = self.state.slots[self.state.index(tail)];
        let lap = self.state.lap(tail);
        if word.lap > lap {
            self.me().cursor = (word.lap - 1) * self.state.slot_count + self.state.index(tail) as u8 + 1;
            return Some(At::LookAtTail);
        }
        self.me().seen = word;
        self.me().position = tail;
        Some(At::LookBeforeTail)
    }

    fn look_before_tail(&mut self) -> Option<At> {
        let tail = self.me().position;
        let is_drained = tail == 0 || self.state.slots[self.state.index(tail - 1)].lap > self.state.lap(tail - 1);
        if !is_drained || self.me().seen.lap < self.state.lap(tail) {
            self.state.note(Breach::StandsAheadOfTheRing);
        }
        let content = self.me().seen.content;
        match content {
            Content::Empty => {
                if !self.me().was_empty {
                    self.state.note(Breach::SaidEmptyWhereItNeverWas);
                }
                None
            }
            // What else should it do than wait?
            Content::Reserved => Some(At::LookAtTail),
            Content::Stream { start, end } if self.operation() == Operation::Consume && end - start > 1 => {
                Some(At::PeekByte)
            }
            _ => Some(At::Intend),
        }
    }

    fn peek_byte(&mut self) -> Option<At> {
        let Content::Stream { start, .. } = self.me().seen.content else { unreachable!("a part of a stream") };
        let page = self.me().seen.page;
        self.me().got[0] = self.state.pages[usize::from(page)][usize::from(start)];
        Some(At::ConsumeByte)
    }

    fn consume_byte(&mut self) -> Option<At> {
        let Process { seen, position, .. } = *self.me();
        let Content::Stream { start, end } = seen.content else { unreachable!("a part of a stream") };
        let rest = Word { content: Content::Stream { start: start + 1, end }, ..seen };
        if self.state.exchange(self.who, position, seen, rest) || self.mistake == Mistake::KeepsWhatWasLost {
            return self.judge_bytes();
        }
        Some(At::LookAtTail)
    }

    /// Ends a read, which must have brought what was published.
    fn judge_bytes(&mut self) -> Option<At> {
        let Process { got, came_out, .. } = *self.me();
        if got != came_out {
            self.state.note(Breach::ReadOtherBytesThanWerePublished);
        }
        None
    }

    fn entry(&mut self) -> u8 {
        self.me().entry.expect("who exchanges pages has an entry")
    }

    fn intend(&mut self) -> Option<At> {
        let (entry, offered, expected) = (self.entry(), self.me().spare, self.me().seen.page);
        let record = match self.mistake {
            Mistake::SettlesBeforeExchange => Record::Settled(expected),
            Mistake::AnnouncesAfterExchange | Mistake::AnnouncesNothing => Record::Settled(offered),
            _ => Record::Pending { offered, expected },
        };
        if self.mistake == Mistake::AnnouncesAfterExchange {
            self.me().pair = [offered, expected];
        }
        self.state.write_record(entry, record);
        Some(At::Exchange)
    }

    fn exchange(&mut self) -> Option<At> {
        let Process { mut seen, position, spare, is_merging, .. } = *self.me();
        let becomes = |content| Word { content, ..seen };
        let word = match self.operation() {
            Operation::Send(_) if self.mistake == Mistake::ReservesFirst => becomes(Content::Reserved),
            Operation::Send(_) => becomes(Content::Packet),
            Operation::SendLarge(_) => becomes(Content::Large),
            Operation::Append(_) => match seen.content {
                Content::Stream { start, end } if is_merging => becomes(Content::Stream { start, end: end + 1 }),
                _ => becomes(Content::Stream { start: 0, end: 1 }),
            },
            _ => Word { lap: seen.lap + 1, content: Content::Empty, ..seen },
        };
        let keeps_page = self.mistake == Mistake::AppendsInPlace && is_merging;
        let offered = if keeps_page { seen.page } else { spare };
        if self.mistake == Mistake::ComparesNoLap {
            seen.lap = self.state.slots[self.state.index(position)].lap;
        }
        let has_won = self.state.exchange(self.who, position, seen, Word { page: offered, ..word });
        let me = self.me();
        me.has_won = has_won;
        me.copied = None;
        if has_won && !keeps_page {
            if is_merging && let Content::Stream { start, end } = seen.content {
                me.copied = Some(Copied { position, published: spare, start, end });
            }
            me.spare = seen.page;
        }
        Some(At::Settle)
    }

    fn settle(&mut self) -> Option<At> {
        let (entry, page) = (self.entry(), self.me().spare);
        let [offered, expected] = self.me().pair;
        if offered != NO_PAGE {
            // Only where that is the mistake: what is announced too late is settled with the next step.
            self.me().pair = Process::IDLE.pair;
            self.state.write_record(entry, Record::Pending { offered, expected });
            return Some(At::Settle);
        }
        self.state.write_record(entry, Record::Settled(page));
        let Process { has_won, seen, .. } = *self.me();
        match self.operation() {
            Operation::Send(_) if has_won => match self.mistake {
                Mistake::FillsAfterPublishing | Mistake::ReservesFirst => Some(At::FillLate(0)),
                _ => self.has_published(),
            },
            Operation::SendLarge(_) | Operation::Append(_) if has_won => self.has_published(),
            Operation::Send(_) | Operation::SendLarge(_) | Operation::Append(_) => Some(At::LookAtHead),
            _ if !has_won => Some(At::LookAtTail),
            _ => match seen.content {
                Content::Large => Some(At::ReadHeader),
                Content::Stream { start, .. } => Some(At::ReadByte(start)),
                _ => Some(At::ReadByte(0)),
            },
        }
    }

    fn has_published(&mut self) -> Option<At> {
        let me = self.me();
        me.cursor = me.position + 1;
        None
    }

    fn fill_late(&mut self, at: u8) -> Option<At> {
        let (byte, is_last) = self.byte_to_fill(at);
        let position = self.me().position;
        // The page is in the slot by now.
        let page = self.state.slots[self.state.index(position)].page;
        self.state.pages[usize::from(page)][usize::from(at)] = byte;
        match (is_last, self.mistake) {
            (false, _) => Some(At::FillLate(at + 1)),
            (true, Mistake::ReservesFirst) => Some(At::Commit),
            _ => self.has_published(),
        }
    }

    fn commit(&mut self) -> Option<At> {
        let position = self.me().position;
        let reserved = self.state.slots[self.state.index(position)];
        self.state.exchange(self.who, position, reserved, Word { content: Content::Packet, ..reserved });
        self.has_published()
    }

    fn read_byte(&mut self, at: u8) -> Option<At> {
        let Process { seen, spare, .. } = *self.me();
        let (start, end) = match seen.content {
            Content::Stream { start, end } => (start, end),
            _ => (0, PACKET_SIZE as u8),
        };
        self.me().got[usize::from(at - start)] = self.state.pages[usize::from(spare)][usize::from(at)];
        if at + 1 < end { Some(At::ReadByte(at + 1)) } else { self.has_received() }
    }

    fn read_header(&mut self) -> Option<At> {
        let page = self.me().spare;
        let extent = self.state.pages[usize::from(page)][0];
        self.me().extent = extent;
        if extent >= self.state.extent_count {
            self.state.note(Breach::ReadOtherBytesThanWerePublished);
            return None;
        }
        Some(if self.mistake == Mistake::FreesBeforeReading { At::ReleaseExtent } else { At::ReadExtent(0) })
    }

    fn read_extent(&mut self, at: u8) -> Option<At> {
        let extent = self.me().extent;
        self.me().got[usize::from(at)] = self.state.extent_bytes[usize::from(extent)][usize::from(at)];
        match usize::from(at) + 1 < PACKET_SIZE {
            true => Some(At::ReadExtent(at + 1)),
            false if self.mistake == Mistake::FreesBeforeReading => self.has_received(),
            false => Some(At::ReleaseExtent),
        }
    }

    fn release_extent(&mut self) -> Option<At> {
        let Process { extent, spare, at, .. } = *self.me();
        let owner = &mut self.state.extents[usize::from(extent)];
        if *owner == spare + 1 {
            *owner = 0;
        }
        match at {
            At::DropExtent => None,
            _ if self.mistake == Mistake::FreesBeforeReading => Some(At::ReadExtent(0)),
            _ => self.has_received(),
        }
    }

    fn has_received(&mut self) -> Option<At> {
        let me = self.me();
        me.cursor = me.position + 1;
        // What is in its page now matters to nobody.
        let page = me.spare;
        if me.owns == Some(page) {
            self.state.pages[usize::from(page)] = [NOTHING; PAGE_SIZE];
        }
        self.judge_bytes()
    }
}
