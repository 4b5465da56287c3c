//! A participant for models: uses the ring, the extents and the wait words as the ends of `shm-ring` do.

use crate::bell::{Heard, is_announced};
use crate::extent::{HEADER_BYTES, LargeHeader};
use crate::machine::locks::Locks;
use crate::machine::simulator::Shared;
use crate::moving::Refusal;
use crate::place::Cursor;
use crate::ring::{Merge, Miss, Seen, Spare};
use crate::slot::{Content, Span};
use crate::sync::Peek;
use crate::waiting::Armed;
use crate::world::{Bell, SLOT_SIZE, World};

/// One participant, with what it has in private memory.
pub(crate) struct Participant {
    world: Shared<World>,
    entry: u32,
    cursor: Cursor,
    /// Index of the ring in which it stands.
    in_ring: usize,
    spare: Spare,
    /// Of the readers' bell and of the writers'.
    heard: [Heard; 2],
}

/// What came of it that somebody wanted to sleep for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Long {
    /// There was a reason not to: it sleeps with a bound, or looks again.
    NotNow,
    /// It has slept and was woken.
    Slept,
}

impl Participant {
    /// Participant `entry`, who owns `page` and believes to be at `cursor`.
    pub(crate) fn new(world: Shared<World>, entry: u32, page: u32, cursor: Cursor) -> Self {
        Self { world, entry, cursor, in_ring: 0, spare: Spare::new(page), heard: [Heard::nothing(false); 2] }
    }

    /// Publishes `bytes` as one packet.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Miss> {
        self.fill_and_publish_wherever(bytes, Content::Packet(whole(bytes)))
    }

    /// Publishes `bytes` as stream bytes in a slot of their own.
    pub(crate) fn publish_stream(&mut self, bytes: &[u8]) -> Result<(), Miss> {
        self.fill_and_publish_wherever(bytes, Content::Stream(whole(bytes)))
    }

    fn fill_and_publish_wherever(&mut self, bytes: &[u8], content: Content) -> Result<(), Miss> {
        loop {
            match self.fill_and_publish(bytes, content) {
                Err(Miss::Moved) => {}
                done => return done,
            }
        }
    }

    fn fill_and_publish(&mut self, bytes: &[u8], content: Content) -> Result<(), Miss> {
        let page = self.spare.page_to_fill();
        self.world.ring_at(self.in_ring).pages.write(page, 0, bytes);
        self.publish(content)
    }

    fn publish(&mut self, content: Content) -> Result<(), Miss> {
        loop {
            let notice = self.world.notice_to_readers(self.entry, self.heard[0]);
            match self.world.ring_at(self.in_ring).publish(&mut self.cursor, &mut self.spare, notice, content) {
                Err(Miss::Unheard) => self.ring_for_readers(),
                Err(Miss::Moved) => {
                    self.follow();
                    return Err(Miss::Moved);
                }
                done => return done,
            }
        }
    }

    /// Follows the pipe to the ring that it has moved to, as `Participant::follow` does.
    fn follow(&mut self) {
        let in_use = self.world.in_use();
        assert!(in_use > self.in_ring, "it never moves back");
        self.in_ring = in_use;
        self.spare = Spare::new(self.spare.page());
    }

    /// Lets `slots` be occupied.
    pub(crate) fn resize(&mut self, slots: u32) -> Result<(), Refusal> {
        self.world.with_rings(|rings| rings.resize(slots))
    }

    /// The same where others may sleep at the writers' bell, in the order of `Participant::resize`.
    pub(crate) fn announce_and_resize(&mut self, slots: u32) -> Result<(), Refusal> {
        let announcement = self.world.announcement(self.entry);
        announcement.resize();
        let bell = self.world.writers_bell().expect("a world with bells");
        bell.word().ring_for_all(&bell.pipe);
        let resized = self.world.with_rings(|rings| rings.resize(slots));
        announcement.end_resizing();
        resized
    }

    /// Bytes that can be read. `None` if others change that meanwhile.
    pub(crate) fn unread(&mut self) -> Option<u64> {
        loop {
            match self.world.ring_at(self.in_ring).tally(&self.world.extents()) {
                Ok(tally) => return Some(tally.bytes),
                Err(Miss::Moved) => self.follow(),
                Err(Miss::Lost) => return None,
                Err(miss) => panic!("{miss:?}"),
            }
        }
    }

    /// What a writer does that has to ring first.
    fn ring_for_readers(&mut self) {
        let bell = self.world.readers_bell().expect("who was not heard has a bell");
        bell.word().answer(&mut self.heard[0], &bell.pipe);
    }

    /// What a reader does that has to ring first.
    fn ring_for_writers(&mut self) {
        let bell = self.world.writers_bell().expect("who was not heard has a bell");
        bell.word().answer(&mut self.heard[1], &bell.pipe);
    }

    /// Tries to merge `bytes` into the last slot. `None` if there is nothing to merge with.
    pub(crate) fn try_merge(&mut self, bytes: &[u8]) -> Option<Result<(), Miss>> {
        let merge = self.world.ring_at(self.in_ring).begin_merge(&mut self.cursor, &mut self.spare, bytes.len())?;
        Some(self.fill_and_merge(merge, bytes))
    }

    fn fill_and_merge(&mut self, merge: Merge, bytes: &[u8]) -> Result<(), Miss> {
        let page = self.spare.page();
        self.world.ring_at(self.in_ring).pages.write(page, merge.end() as usize, bytes);
        let notice = self.world.notice_to_readers(self.entry, self.heard[0]);
        let merged = self.world.ring_at(self.in_ring).merge(merge, bytes.len(), &mut self.spare, notice);
        if merged == Err(Miss::Unheard) {
            self.ring_for_readers();
        }
        merged
    }

    /// Writes stream bytes as a stream writer does: merges if that is possible, else publishes.
    pub(crate) fn write_stream(&mut self, bytes: &[u8]) -> Result<(), Miss> {
        loop {
            match self.try_merge(bytes) {
                Some(Ok(())) => return Ok(()),
                Some(Err(Miss::Lost | Miss::Unheard)) => {}
                Some(Err(miss)) => return Err(miss),
                None => match self.fill_and_publish(bytes, Content::Stream(whole(bytes))) {
                    Err(Miss::Moved) => {}
                    done => return done,
                },
            }
        }
    }

    /// Publishes `bytes` as one packet in an extent. `None` if there is no free one.
    pub(crate) fn send_large(&mut self, bytes: &[u8]) -> Option<Result<(), Miss>> {
        let extents = self.world.extents();
        let extent = extents.claim(self.spare.page())?;
        extents.bytes.write(extent, 0, bytes);
        let header = LargeHeader { extent, length: bytes.len() as u32 };
        let page = self.spare.page_to_fill();
        self.world.ring_at(self.in_ring).pages.write(page, 0, &header.to_bytes());
        let result = loop {
            match self.publish(Content::Large { consumed: 0 }) {
                Err(Miss::Moved) => {}
                done => break done,
            }
        };
        if result.is_err() {
            self.world.extents().release(extent, self.spare.page());
        }
        Some(result)
    }

    /// The full slot at tail.
    pub(crate) fn front(&mut self) -> Result<Seen, Miss> {
        loop {
            match self.world.ring_at(self.in_ring).front(&mut self.cursor) {
                Err(Miss::Moved) => self.follow(),
                seen => return seen,
            }
        }
    }

    /// Takes the slot's page, and reads what was in it.
    pub(crate) fn take(&mut self, seen: &Seen) -> Result<Vec<u8>, Miss> {
        loop {
            let notice = self.world.notice_to_writers(self.entry, self.heard[1]);
            match self.world.ring_at(self.in_ring).take(&mut self.cursor, seen, &mut self.spare, notice) {
                Err(Miss::Unheard) => self.ring_for_writers(),
                Err(miss) => return Err(miss),
                Ok(()) => return Ok(self.read_own(seen.content())),
            }
        }
    }

    fn read_own(&self, content: Content) -> Vec<u8> {
        let (pages, page) = (self.world.ring_at(self.in_ring).pages, self.spare.page());
        match content {
            Content::Empty => panic!("took an empty slot"),
            Content::Stream(span) | Content::Packet(span) => {
                assert!(!span.is_empty());
                let mut bytes = vec![0; span.len()];
                pages.read(page, span.start as usize, &mut bytes);
                bytes
            }
            Content::Large { consumed } => {
                let mut header = [0; HEADER_BYTES];
                pages.read(page, 0, &mut header);
                let header = self.world.extents().check(header).expect("a header as the writer wrote it");
                let mut bytes = vec![0; (header.length - consumed) as usize];
                self.world.extents().bytes.read(header.extent, consumed as usize, &mut bytes);
                self.world.extents().release(header.extent, page);
                bytes
            }
        }
    }

    /// Takes the packet at tail by the short way, if that leads there.
    fn take_packet(&mut self) -> Option<Vec<u8>> {
        let notice = self.world.notice_to_writers(self.entry, self.heard[1]);
        let len = self.world.ring_at(self.in_ring).take_packet(
            &mut self.cursor,
            &mut self.spare,
            notice,
            SLOT_SIZE as usize,
        )?;
        Some(self.read_own(Content::Packet(Span { start: 0, end: len as u32 })))
    }

    /// As [`Participant::receive`], but by the short way first, as `recv` does.
    pub(crate) fn receive_packet(&mut self) -> Result<Vec<u8>, Miss> {
        match self.take_packet() {
            Some(packet) => Ok(packet),
            None => self.receive(),
        }
    }

    /// Takes what is at tail: the next message or what is left of it.
    pub(crate) fn receive(&mut self) -> Result<Vec<u8>, Miss> {
        loop {
            let seen = self.front()?;
            match self.take(&seen) {
                Err(Miss::Lost) => {}
                done => return done,
            }
        }
    }

    /// Reads bytes of a slot's page without taking it.
    pub(crate) fn peek(&self, seen: &Seen, span: Span) -> (Vec<u8>, Peek) {
        let mut bytes = vec![0; span.len()];
        let peek = self.world.ring_at(self.in_ring).pages.peek(seen.page(), span.start as usize, &mut bytes);
        (bytes, peek)
    }

    /// Reads the first byte of the stream data at tail, and leaves the rest.
    pub(crate) fn consume_one(&mut self) -> Result<u8, Miss> {
        loop {
            let seen = self.front()?;
            let Content::Stream(span) = seen.content() else { panic!("only stream bytes are consumed one by one") };
            if span.len() == 1 {
                match self.take(&seen) {
                    Err(Miss::Lost) => continue,
                    done => return done.map(|bytes| bytes[0]),
                }
            }
            let (bytes, peek) = self.peek(&seen, Span { end: span.start + 1, ..span });
            let rest = Content::Stream(Span { start: span.start + 1, ..span });
            match self.world.ring_at(self.in_ring).consume(&seen, rest, peek) {
                Err(Miss::Lost) => {}
                done => return done.map(|()| bytes[0]),
            }
        }
    }

    /// Makes sure that the slot is as it was when it was read from.
    pub(crate) fn confirm(&self, seen: &Seen, peek: Peek) -> Result<(), Miss> {
        self.world.ring_at(self.in_ring).confirm(seen, peek)
    }

    /// The large packet at tail, without taking it.
    pub(crate) fn look_into_large(&mut self) -> Result<Vec<u8>, Miss> {
        let seen = self.front()?;
        let Content::Large { consumed } = seen.content() else { panic!("not a large packet") };
        let header = self.large_header_at(&seen)?;
        let (bytes, peek) = self.peek_extent(header, consumed, header.length - consumed);
        self.confirm(&seen, peek)?;
        Ok(bytes)
    }

    /// Reads `len` bytes of the large packet at tail, and leaves the rest.
    pub(crate) fn consume_of_large(&mut self, len: u32) -> Result<Vec<u8>, Miss> {
        let seen = self.front()?;
        let Content::Large { consumed } = seen.content() else { panic!("not a large packet") };
        let header = self.large_header_at(&seen)?;
        let (bytes, peek) = self.peek_extent(header, consumed, len);
        self.world.ring_at(self.in_ring).consume(&seen, Content::Large { consumed: consumed + len }, peek)?;
        Ok(bytes)
    }

    fn large_header_at(&self, seen: &Seen) -> Result<LargeHeader, Miss> {
        let mut header = [0; HEADER_BYTES];
        let peek = self.world.ring_at(self.in_ring).pages.peek(seen.page(), 0, &mut header);
        self.confirm(seen, peek)?;
        Ok(self.world.extents().check(header).expect("a header as the writer wrote it"))
    }

    fn peek_extent(&self, header: LargeHeader, at: u32, len: u32) -> (Vec<u8>, Peek) {
        let mut bytes = vec![0; len as usize];
        let peek = self.world.extents().bytes.peek(header.extent, at as usize, &mut bytes);
        (bytes, peek)
    }

    /// Writes to the own page, as somebody who has it all for itself.
    pub(crate) fn scribble(&mut self) {
        let page = self.spare.page_to_fill();
        self.world.ring_at(self.in_ring).pages.write(page, 0, &[0xff; SLOT_SIZE as usize]);
    }

    /// Takes everything there is, when nobody else is about.
    pub(crate) fn drain(&mut self) -> Vec<Vec<u8>> {
        core::iter::from_fn(|| match self.receive() {
            Ok(message) => Some(message),
            Err(Miss::Empty) => None,
            Err(miss) => panic!("{miss:?} although nobody else is about"),
        })
        .collect()
    }

    /// Sleeps until woken, unless there is something to read.
    pub(crate) fn sleep_until_data(&mut self) {
        self.sleep_until_data_or(|| false);
    }

    /// Sleeps until woken, unless there is something to read or `is_over`. In the order of `Participant::sleep_unless`.
    pub(crate) fn sleep_until_data_or(&mut self, is_over: impl Fn() -> bool) {
        let armed = self.world.readable().arm();
        if self.world.ring_at(self.in_ring).is_still_empty(self.cursor) && !is_over() {
            self.world.readable().0.wait(armed.expected());
        }
    }

    /// Says that it is about to sleep, and looks once more. `None` if there is something to read.
    pub(crate) fn arm_and_look(&mut self) -> Option<Armed> {
        let armed = self.world.readable().arm();
        self.world.ring_at(self.in_ring).is_still_empty(self.cursor).then_some(armed)
    }

    /// Goes to sleep at last.
    pub(crate) fn sleep(&self, armed: Armed) {
        self.world.readable().0.wait(armed.expected());
    }

    /// Sleeps until woken, unless there is room.
    pub(crate) fn sleep_until_room(&mut self) {
        let armed = self.world.writable().arm();
        if self.world.ring_at(self.in_ring).is_still_full(self.cursor) {
            self.world.writable().0.wait(armed.expected());
        }
    }

    /// Sleeps at the bell until it rings, unless there is something to read, `is_over`, or one of `writers` is about to write. In
    /// the order of `Participant::sleep_at_bell`.
    /// `is_over`: the writers are gone.
    pub(crate) fn sleep_long_until_data_or(
        &mut self,
        locks: &Locks,
        writers: &[u32],
        is_over: impl Fn() -> bool,
    ) -> Long {
        let bell = self.world.readers_bell().expect("a world with bells");
        let is_ready = || !self.world.ring_at(self.in_ring).is_still_empty(self.cursor) || is_over();
        self.sleep_at(bell, locks, writers, is_ready, || !is_over())
    }

    /// Goes to sleep at the readers' bell as the others do, and is ended at once by something else than a ring.
    pub(crate) fn nearly_sleep_long(&mut self, locks: &Locks, writers: &[u32]) {
        let bell = self.world.readers_bell().expect("a world with bells");
        let others = writers.iter().map(|&entry| (entry, self.world.announcement(entry)));
        locks.say_asleep(self.entry);
        let may_hush = || !locks.is_anybody_else_asleep(self.entry);
        let is_needless =
            || is_announced(others, |_| true) || !self.world.ring_at(self.in_ring).is_still_empty(self.cursor);
        bell.word().prepare_to_sleep(&bell.pipe, may_hush, is_needless);
        locks.say_awake(self.entry);
    }

    /// Watches the readers' bell until there is something to read, as one does who has a descriptor for `poll`. Returns whether there is; if not,
    /// it would look again after a while.
    pub(crate) fn watch_until_data(&mut self, locks: &Locks, writers: &[u32]) -> bool {
        let bell = self.world.readers_bell().expect("a world with bells");
        let is_empty = || self.world.ring_at(self.in_ring).is_still_empty(self.cursor);
        let mut rings = bell.pipe.rings();
        while is_empty() {
            locks.say_asleep(self.entry);
            let others = writers.iter().map(|&entry| (entry, self.world.announcement(entry)));
            let may_hush = || !locks.is_anybody_else_asleep(self.entry);
            let is_needless = || is_announced(others, |_| true) || !is_empty();
            let is_told = bell.word().prepare_to_watch(&bell.pipe, may_hush, is_needless);
            locks.say_awake(self.entry);
            if !is_told {
                return !is_empty();
            }
            let told = bell.pipe.watch(rings);
            if told == rings {
                return !is_empty();
            }
            rings = told;
        }
        true
    }

    /// Sleeps at the bell until it rings, unless there is room or one of `readers` is about to make some.
    pub(crate) fn sleep_long_until_room(&mut self, locks: &Locks, readers: &[u32]) -> Long {
        let bell = self.world.writers_bell().expect("a world with bells");
        self.sleep_at(bell, locks, readers, || !self.world.ring_at(self.in_ring).is_still_full(self.cursor), || true)
    }

    fn sleep_at(
        &self,
        bell: &Bell,
        locks: &Locks,
        others: &[u32],
        is_ready: impl Fn() -> bool,
        do_they_live: impl Fn() -> bool,
    ) -> Long {
        locks.say_asleep(self.entry);
        let others = others.iter().map(|&entry| (entry, self.world.announcement(entry)));
        let may_hush = || !locks.is_anybody_else_asleep(self.entry);
        let is_needless = || is_announced(others, |_| do_they_live()) || is_ready();
        let may_sleep = bell.word().prepare_to_sleep(&bell.pipe, may_hush, is_needless);
        if may_sleep {
            bell.pipe.sleep();
        }
        locks.say_awake(self.entry);
        if may_sleep { Long::Slept } else { Long::NotNow }
    }

    /// What nobody must do.
    pub(crate) fn sleep_without_another_look(&self) {
        let armed = self.world.readable().arm();
        self.world.readable().0.wait(armed.expected());
    }

    /// What a writer does after each exchange.
    pub(crate) fn wake_one_reader(&self) {
        self.world.readable().wake_one_after_exchange();
    }

    /// What a writer does that has done something else since its exchange.
    pub(crate) fn wake_one_reader_later(&self) {
        self.world.readable().wake_one_after_anything();
    }

    /// What a reader does after each exchange that made room.
    pub(crate) fn wake_one_writer(&self) {
        self.world.writable().wake_one_after_exchange();
    }

    /// What a writer does when it leaves.
    pub(crate) fn wake_all_readers(&self) {
        self.world.readable().wake_all();
    }

    /// Whether no slot is empty.
    pub(crate) fn is_full(&mut self) -> bool {
        self.world.ring_at(self.in_ring).has_room(&mut self.cursor) == Err(Miss::Full)
    }

    /// Whether at least half of the slots are occupied, as a reader at its place sees it.
    pub(crate) fn is_half_full(&self) -> bool {
        self.world.ring_at(self.in_ring).is_half_full(self.cursor)
    }

    /// Whether fewer than half of the slots are occupied, as a writer at its place sees it.
    pub(crate) fn is_less_than_half_full(&self) -> bool {
        self.world.ring_at(self.in_ring).is_less_than_half_full(self.cursor)
    }
}

fn whole(bytes: &[u8]) -> Span {
    Span { start: 0, end: bytes.len() as u32 }
}
