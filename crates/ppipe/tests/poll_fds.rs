//! What the descriptor of an end shows, and to whom. (No child is started here: it would have copies of the kernel's pipes for a while.)

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use fastrand::Rng;
use ppipe::Builder;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

mod both;
mod name;
mod party;

use both::{BOTH, Opening, Reading, SLOT, Writing};
use name::Name;
use party::WATCHDOG;

fn shown(fd: BorrowedFd<'_>) -> PollFlags {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::IN | PollFlags::OUT)];
    poll(&mut polled, Some(&Timespec::default())).expect("poll works");
    polled[0].revents()
}

/// Returns when `fd` shows one of `flags`, which it does sooner or later.
fn wait_for(fd: BorrowedFd<'_>, flags: PollFlags) -> PollFlags {
    let mut polled = [PollFd::from_borrowed_fd(fd, flags)];
    let limit = Timespec { tv_sec: WATCHDOG.as_secs() as i64, tv_nsec: 0 };
    assert_eq!(poll(&mut polled, Some(&limit)), Ok(1), "it never shows {flags:?}");
    polled[0].revents()
}

fn wait_until_shown(fd: BorrowedFd<'_>, flags: PollFlags, context: &str) {
    let start = Instant::now();
    while shown(fd) != flags {
        assert!(start.elapsed() < WATCHDOG, "{context}: it shows {:?} for ever, and not {flags:?}", shown(fd));
        thread::yield_now();
    }
}

/// One pipe with a name, of the kernel or of ours, as a random program uses it.
struct Used<'a> {
    system: &'a dyn both::System,
    name: Name,
    slots: usize,
    readers: Vec<Reading>,
    writers: Vec<Writing>,
}

impl Used<'_> {
    fn open_reader(&self) -> Reading {
        let reader = self.system.open_reader(&self.name.0, self.slots, Opening::Nonblocking).expect("an end");
        // The kernel's has been made so large now, ours only if it is new.
        reader.resize(self.slots * SLOT).expect("no more is in it");
        reader
    }

    fn open_writer(&self) -> Writing {
        let writer = self.system.open_writer(&self.name.0, self.slots, Opening::Nonblocking).expect("somebody reads");
        writer.resize(self.slots * SLOT).expect("no more is in it");
        writer
    }

    fn step(&mut self, rng: &mut Rng) -> Option<usize> {
        let mut bytes = vec![7; rng.usize(1..3 * SLOT)];
        match rng.u32(0..12) {
            0..4 => self.writers.first_mut()?.write(&bytes).ok(),
            4..8 => self.readers.first_mut()?.read(&mut bytes).ok(),
            8 => {
                let writer = self.writers.first()?;
                writer.set_packet_mode(rng.bool());
                writer.resize(SLOT << rng.u32(0..5)).ok()
            }
            9 if self.readers.len() < 2 => {
                let reader = match self.readers.first() {
                    Some(reader) => reader.duplicate(),
                    None => self.open_reader(),
                };
                self.readers.push(reader);
                None
            }
            10 if self.writers.len() < 2 && !self.readers.is_empty() => {
                let writer = match self.writers.first() {
                    Some(writer) => writer.duplicate(),
                    None => self.open_writer(),
                };
                self.writers.push(writer);
                None
            }
            // The pipe is to live on.
            _ if self.readers.len() + self.writers.len() > 1 => {
                if rng.bool() {
                    self.readers.pop().map(|_| 0)
                } else {
                    self.writers.pop().map(|_| 0)
                }
            }
            _ => None,
        }
    }

    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let readers = self.readers.iter().map(|reader| reader.poll_fd());
        readers.chain(self.writers.iter().map(|writer| writer.poll_fd()))
    }
}

#[test]
fn after_every_step_of_a_random_program_the_descriptors_show_what_those_of_a_pipe_show() {
    for seed in 0..40 {
        let mut pipes = BOTH.map(|system| {
            let name = system.new_name(&format!("shown-{seed}"));
            let mut used = Used { system, name, slots: 16, readers: Vec::new(), writers: Vec::new() };
            used.readers.push(used.open_reader());
            used
        });
        let mut rng = Rng::with_seed(seed);
        for step in 0..60 {
            let mut same = rng.clone();
            let results = [pipes[0].step(&mut rng), pipes[1].step(&mut same)];
            assert_eq!(results[0], results[1], "seed {seed}, step {step}");
            for (theirs, ours) in pipes[0].descriptors().zip(pipes[1].descriptors()) {
                wait_until_shown(ours, shown(theirs), &format!("seed {seed}, step {step}"));
            }
        }
    }
}

#[test]
fn what_an_end_has_done_itself_is_shown_when_its_call_returns() {
    let (mut reader, mut writer) = Builder::new().slots(2).pipe().expect("a pipe");
    let (in_fd, out_fd) = (reader.poll_fd().expect("one").as_raw_fd(), writer.poll_fd().expect("one").as_raw_fd());
    for round in 0..300 {
        writer.write_all(&[1; SLOT]).expect("room");
        if round % 3 > 0 {
            writer.send(&[1; SLOT]).expect("room");
            assert_eq!(shown(writer.poll_fd().expect("one")), PollFlags::empty(), "it is full");
        }
        wait_for(reader.poll_fd().expect("one"), PollFlags::IN);
        reader.read_exact(&mut [0; SLOT]).expect("bytes");
        if round % 3 > 0 {
            assert_eq!(reader.recv_loan().expect("a packet").bytes().len(), SLOT);
        }
        assert_eq!(shown(reader.poll_fd().expect("one")), PollFlags::empty(), "it is empty");
        wait_for(writer.poll_fd().expect("one"), PollFlags::OUT);
    }
    assert_eq!(reader.poll_fd().expect("one").as_raw_fd(), in_fd, "it stays the same");
    assert_eq!(writer.try_clone().expect("a clone").poll_fd().expect("one").as_raw_fd(), out_fd, "clones share it");
}

#[test]
fn a_call_that_falls_short_tells_those_who_wait_for_edges_of_what_there_is_all_the_same() {
    let (mut reader, writer) = Builder::new().nonblocking(true).pipe().expect("a pipe");
    let (mut wait, mut buffer) = (Loop::Edges.on(reader.poll_fd().expect("one"), PollFlags::IN), [0; 10]);
    for _ in 0..2 {
        writer.send(b"short").expect("room");
    }
    for _ in 0..2 {
        wait();
        assert_eq!(reader.read(&mut buffer).expect("a packet"), 5);
    }
}

/// The descriptor, to be looked at while the end is used.
fn looked_at(fd: BorrowedFd<'_>) -> OwnedFd {
    fd.try_clone_to_owned().expect("a descriptor")
}

#[test]
fn loans_and_changes_of_the_size_are_shown_when_their_calls_return() {
    let (mut reader, mut writer) = Builder::new().slots(2).nonblocking(true).pipe().expect("a pipe");
    let (input, output) = (looked_at(reader.poll_fd().expect("one")), looked_at(writer.poll_fd().expect("one")));
    for _ in 0..100 {
        for left in [1, 0] {
            writer.reserve(4).expect("room").commit().expect("room");
            assert_eq!(shown(output.as_fd()), if left > 0 { PollFlags::OUT } else { PollFlags::empty() });
        }
        assert_eq!(writer.reserve(4).expect("room").commit().expect_err("full").kind(), ErrorKind::WouldBlock);
        wait_for(input.as_fd(), PollFlags::IN);
        for left in [1, 0] {
            drop(reader.recv_loan().expect("a packet"));
            assert_eq!(shown(input.as_fd()), if left > 0 { PollFlags::IN } else { PollFlags::empty() });
        }
        wait_for(output.as_fd(), PollFlags::OUT);
    }
    for _ in 0..2 {
        writer.send(b"full").expect("room");
    }
    assert_eq!(shown(output.as_fd()), PollFlags::empty());
    writer.resize(4 * SLOT).expect("a larger size");
    assert_eq!(shown(output.as_fd()), PollFlags::OUT);
}

#[test]
fn the_last_one_out_is_shown_though_somebody_else_has_the_bells_open() {
    let name = Name::new("copies");
    let reader = Builder::new().nonblocking(true).open_reader(&name.0).expect("an end");
    let writer = Builder::new().nonblocking(true).open_writer(&name.0).expect("somebody reads");
    let open = |bell| File::options().read(true).write(true).open(name.path().join(bell)).expect("a bell");
    let _copies = [open("readable"), open("writable")];
    let (input, output) = (looked_at(reader.poll_fd().expect("one")), looked_at(writer.poll_fd().expect("one")));
    assert_eq!((shown(input.as_fd()), shown(output.as_fd())), (PollFlags::empty(), PollFlags::OUT));
    let other = reader.reopen_reader(true).expect("somebody writes");
    drop(other);
    drop(reader);
    assert_eq!(wait_for(output.as_fd(), PollFlags::empty()), PollFlags::ERR);
    let reader = Builder::new().nonblocking(true).open_reader(&name.0).expect("an end");
    let input = looked_at(reader.poll_fd().expect("one"));
    writer.send(b"unread").expect("somebody reads again");
    wait_for(input.as_fd(), PollFlags::IN);
    drop(writer);
    assert_eq!(wait_for(input.as_fd(), PollFlags::empty()), PollFlags::HUP);
}

#[test]
fn what_is_short_and_is_not_room_is_not_shown_over_and_over_again() {
    let (reader, writer) =
        Builder::new().slots(64).max_readers(1).max_writers(1).nonblocking(true).pipe().expect("a pipe");
    let output = looked_at(writer.poll_fd().expect("one"));
    let mut sent = 0;
    while writer.send(&[7; 5000]).is_ok() {
        sent += 1;
    }
    assert!(sent < 64, "slots are free, and extents are not");
    // Whoever waits by level or by edges goes round a few times, and then as often as the clock lets it.
    let mut rounds = 0;
    while shown(output.as_fd()) == PollFlags::OUT {
        assert!(writer.send(&[7; 5000]).is_err());
        rounds += 1;
        assert!(rounds < 100, "it goes round without end");
    }
    for _ in 0..sent {
        reader.recv(&mut [0; 5000]).expect("a packet");
    }
    wait_for(output.as_fd(), PollFlags::OUT);
    writer.send(&[7; 5000]).expect("an extent");
}

/// How somebody waits for a descriptor.
#[derive(Clone, Copy, Debug)]
enum Loop {
    Poll,
    Edges,
}

impl Loop {
    /// What returns when `fd` is ready, or has become so.
    fn on(self, fd: BorrowedFd<'_>, flags: PollFlags) -> impl FnMut() + use<> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor");
        let edges = match self {
            Self::Poll => epoll::EventFlags::empty(),
            Self::Edges => epoll::EventFlags::ET,
        };
        let wanted = epoll::EventFlags::from_bits_retain(flags.bits().into()) | edges;
        epoll::add(&epoll, fd, epoll::EventData::new_u64(0), wanted).expect("it can be polled");
        move || {
            let mut events = Vec::with_capacity(1);
            let limit = Timespec { tv_sec: WATCHDOG.as_secs() as i64, tv_nsec: 0 };
            let ready = epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&limit));
            assert_eq!(ready, Ok(1), "it is never told");
        }
    }
}

/// Whoever reads and writes waits at descriptors and nowhere else.
fn everything_arrives(readers: usize, writers: usize, slots: u32, waits: [Loop; 2]) {
    const EACH: usize = 3000;
    let (reader, writer) = Builder::new().slots(slots).nonblocking(true).pipe().expect("a pipe");
    let sum = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..readers {
            let reader = reader.reopen_reader(true).expect("an entry");
            let sum = &sum;
            scope.spawn(move || {
                let mut wait = waits[number % 2].on(reader.poll_fd().expect("one"), PollFlags::IN);
                loop {
                    let mut message = [0; size_of::<usize>()];
                    match reader.recv(&mut message) {
                        Ok(_) => _ = sum.fetch_add(usize::from_ne_bytes(message), Ordering::Relaxed),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => wait(),
                        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        for number in 0..writers {
            let writer = writer.reopen_writer(true).expect("an entry");
            scope.spawn(move || {
                let mut wait = waits[number % 2].on(writer.poll_fd().expect("one"), PollFlags::OUT);
                for message in 1..=EACH {
                    while let Err(error) = writer.send(&message.to_ne_bytes()) {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        wait();
                    }
                }
            });
        }
        drop((reader, writer));
    });
    assert_eq!(sum.into_inner(), writers * (EACH * (EACH + 1) / 2));
}

#[test]
fn who_waits_at_descriptors_misses_nothing_whatever_the_crowd() {
    for (readers, writers, slots) in [(1, 1, 1), (1, 1, 16), (2, 1, 2), (1, 2, 1), (3, 3, 4)] {
        for waits in [[Loop::Poll, Loop::Poll], [Loop::Edges, Loop::Edges], [Loop::Edges, Loop::Poll]] {
            everything_arrives(readers, writers, slots, waits);
        }
    }
}

#[test]
fn who_polls_and_who_sleeps_in_a_call_share_what_comes() {
    let (reader, writer) = Builder::new().slots(1).pipe().expect("a pipe");
    let sleeper = reader.try_clone().expect("an entry");
    let poller = reader.reopen_reader(true).expect("an entry");
    drop(reader);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut wait = Loop::Poll.on(poller.poll_fd().expect("one"), PollFlags::IN);
            loop {
                match poller.recv(&mut [0; 8]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => wait(),
                    Err(_) => return,
                }
            }
        });
        scope.spawn(move || while sleeper.recv(&mut [0; 8]).is_ok() {});
        for _ in 0..2000 {
            writer.send(b"news").expect("room");
        }
        drop(writer);
    });
}
