//! Calls that wait, on a kernel pipe and on ours: what they return when others have let them go on.
//!
//! Nothing sleeps here: who waits for a call to block looks at the pipe and at what the kernel says of the thread.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::thread;

use ppipe::Builder;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::ioctl_fionread;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use shm_ring::rely_on_wakes;

mod party;

use party::Party;

const SLOT: usize = 4096;

type Reading = Box<dyn Read + Send>;
type Writing = Box<dyn Write + Send>;

/// What pipe a case needs, and how many ends.
#[derive(Clone, Copy)]
struct Shape {
    slots: usize,
    is_packet: bool,
    writers: usize,
    readers: usize,
}

const TWO_SLOTS: Shape = Shape { slots: 2, is_packet: false, writers: 1, readers: 1 };

/// The kernel's or ours.
struct Pipe {
    whose: &'static str,
    writers: Vec<Writing>,
    readers: Vec<Reading>,
    /// Whether no slot is empty.
    is_full: Box<dyn Fn() -> bool>,
    /// Sets a flag that all the writers share.
    set: Box<dyn Fn(Flag)>,
}

/// A flag of a writing handle.
#[derive(Clone, Copy)]
enum Flag {
    Packets,
    Nonblocking,
}

impl Shape {
    fn of_kernel(self) -> Pipe {
        let direct = if self.is_packet { PipeFlags::DIRECT } else { PipeFlags::empty() };
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | direct).expect("a pipe");
        fcntl_setpipe_size(&writer, self.slots * SLOT).expect("its size");
        let (reader, writer) = (File::from(reader), File::from(writer));
        let a_writer = |_| Box::new(writer.try_clone().expect("a descriptor")) as Writing;
        let a_reader = |_| Box::new(reader.try_clone().expect("a descriptor")) as Reading;
        Pipe {
            whose: "the kernel's",
            writers: (0..self.writers).map(a_writer).collect(),
            readers: (0..self.readers).map(a_reader).collect(),
            set: Box::new({
                let writer = writer.try_clone().expect("a descriptor");
                move |flag| {
                    let flag = match flag {
                        Flag::Packets => OFlags::DIRECT,
                        Flag::Nonblocking => OFlags::NONBLOCK,
                    };
                    fcntl_setfl(&writer, fcntl_getfl(&writer).expect("flags") | flag).expect("a flag of pipes");
                }
            }),
            is_full: Box::new(move || ioctl_fionread(&writer).expect("a number") == (self.slots * SLOT) as u64),
        }
    }

    fn of_ours(self) -> Pipe {
        let builder = Builder::new().slots(self.slots as u32).packet_mode(self.is_packet);
        let (reader, writer) = builder.pipe().expect("a pipe");
        let a_writer = |_| Box::new(writer.try_clone().expect("an entry")) as Writing;
        let a_reader = |_| Box::new(reader.try_clone().expect("an entry")) as Reading;
        Pipe {
            whose: "ours",
            writers: (0..self.writers).map(a_writer).collect(),
            readers: (0..self.readers).map(a_reader).collect(),
            set: Box::new({
                let writer = writer.try_clone().expect("an entry");
                move |flag| match flag {
                    Flag::Packets => writer.set_packet_mode(true),
                    Flag::Nonblocking => writer.set_nonblocking(true),
                }
            }),
            is_full: Box::new(move || writer.audit().expect("an audit").full_slots() == self.slots),
        }
    }

    /// The case holds on both.
    fn on_both(self, case: impl Fn(Pipe)) {
        case(self.of_kernel());
        case(self.of_ours());
    }
}

#[test]
fn a_blocked_write_of_three_packets_goes_on_though_each_is_read_only_in_part() {
    rely_on_wakes();
    Shape { slots: 1, is_packet: true, ..TWO_SLOTS }.on_both(
        |Pipe { whose, mut writers, mut readers, is_full, .. }| {
            let party = &Party::default();
            thread::scope(|scope| {
                let writer = scope.spawn(move || party.act(|| writers[0].write(&[7; 9000])));
                party.wait_until_blocked(is_full);
                for _ in 0..3 {
                    assert_eq!(readers[0].read(&mut [0; 5]).expect("a packet"), 5, "{whose}");
                }
                assert_eq!(writer.join().expect("no panic").expect("a reader"), 9000, "{whose}");
            });
        },
    );
}

#[test]
fn a_blocked_write_returns_all_of_it_when_there_is_room_for_its_rest() {
    rely_on_wakes();
    TWO_SLOTS.on_both(|Pipe { whose, mut writers, mut readers, is_full, .. }| {
        assert_eq!(writers[0].write(&[1; SLOT]).expect("room"), SLOT, "{whose}");
        let party = &Party::default();
        thread::scope(|scope| {
            let writer = scope.spawn(move || party.act(|| writers[0].write(&[2; 2 * SLOT])));
            party.wait_until_blocked(is_full);
            let mut bytes = [0; 2 * SLOT];
            assert_eq!(readers[0].read(&mut bytes).expect("two slots"), 2 * SLOT, "{whose}");
            assert_eq!((bytes[SLOT - 1], bytes[SLOT]), (1, 2), "{whose}");
            assert_eq!(writer.join().expect("no panic").expect("a reader"), 2 * SLOT, "{whose}");
            assert_eq!(readers[0].read(&mut bytes).expect("the rest"), SLOT, "{whose}");
        });
    });
}

#[test]
fn one_write_wakes_as_many_readers_as_it_has_bytes_for() {
    rely_on_wakes();
    Shape { slots: 1, readers: 5, ..TWO_SLOTS }.on_both(|Pipe { whose, mut writers, readers, .. }| {
        let parties = [(); 5].map(|()| Party::default());
        thread::scope(|scope| {
            let readers: Vec<_> = readers
                .into_iter()
                .zip(&parties)
                .map(|(mut reader, party)| {
                    scope.spawn(move || {
                        let mut byte = [0];
                        party.act(|| reader.read(&mut byte)).map(|len| (len, byte[0]))
                    })
                })
                .collect();
            parties.iter().for_each(|party| party.wait_until_blocked(|| true));
            assert_eq!(writers[0].write(b"abcde").expect("readers"), 5, "{whose}");
            let read = |reader: thread::ScopedJoinHandle<'_, _>| reader.join().expect("no panic");
            let mut all: Vec<(usize, u8)> = readers.into_iter().map(|reader| read(reader).expect("a byte")).collect();
            all.sort_unstable();
            assert_eq!(all, b"abcde".map(|letter| (1, letter)), "{whose}");
        });
    });
}

#[test]
fn all_bytes_of_writers_that_block_in_turn_arrive() {
    rely_on_wakes();
    const EACH: usize = 40_000;
    Shape { writers: 3, ..TWO_SLOTS }.on_both(|Pipe { whose, writers, mut readers, is_full, .. }| {
        let parties = [(); 3].map(|()| Party::default());
        thread::scope(|scope| {
            let writers: Vec<_> = writers
                .into_iter()
                .zip(&parties)
                .zip(b"abc")
                .map(|((mut writer, party), &letter)| scope.spawn(move || party.act(|| writer.write(&[letter; EACH]))))
                .collect();
            parties.iter().for_each(|party| party.wait_until_blocked(&is_full));
            let mut bytes = vec![0; 3 * EACH];
            readers[0].read_exact(&mut bytes).expect("writers");
            for letter in *b"abc" {
                assert_eq!(bytes.iter().filter(|&&byte| byte == letter).count(), EACH, "{whose}");
            }
            for writer in writers {
                assert_eq!(writer.join().expect("no panic").expect("a reader"), EACH, "{whose}");
            }
        });
    });
}

#[test]
fn a_write_that_is_broken_while_it_sleeps_returns_what_went_in() {
    rely_on_wakes();
    TWO_SLOTS.on_both(|Pipe { whose, mut writers, readers, is_full, .. }| {
        let party = &Party::default();
        thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let first = party.act(|| writers[0].write(&[3; 20_000]));
                (first, writers[0].write(&[3]))
            });
            party.wait_until_blocked(is_full);
            drop(readers);
            let (first, second) = writer.join().expect("no panic");
            assert_eq!(first.expect("a part"), 2 * SLOT, "{whose}");
            assert_eq!(second.expect_err("nobody reads").kind(), ErrorKind::BrokenPipe, "{whose}");
        });
    });
}

#[test]
fn a_packet_flag_that_is_set_while_a_write_sleeps_holds_for_the_rest_of_it() {
    rely_on_wakes();
    TWO_SLOTS.on_both(|Pipe { whose, mut writers, mut readers, is_full, set }| {
        let party = &Party::default();
        thread::scope(|scope| {
            let writer = scope.spawn(move || party.act(|| writers[0].write(&[4; 4 * SLOT])));
            party.wait_until_blocked(is_full);
            set(Flag::Packets);
            let mut bytes = [0; 4 * SLOT];
            assert_eq!(readers[0].read(&mut bytes[..2 * SLOT]).expect("stream"), 2 * SLOT, "{whose}");
            assert_eq!(writer.join().expect("no panic").expect("a reader"), 4 * SLOT, "{whose}");
            assert_eq!(readers[0].read(&mut bytes).expect("a packet"), SLOT, "{whose}");
            assert_eq!(readers[0].read(&mut bytes).expect("a packet"), SLOT, "{whose}");
        });
    });
}

#[test]
fn a_write_that_sleeps_does_not_sleep_again_after_it_has_been_made_nonblocking() {
    rely_on_wakes();
    TWO_SLOTS.on_both(|Pipe { whose, mut writers, mut readers, is_full, set }| {
        let party = &Party::default();
        thread::scope(|scope| {
            let writer = scope.spawn(move || party.act(|| writers[0].write(&[5; 5 * SLOT])));
            party.wait_until_blocked(is_full);
            set(Flag::Nonblocking);
            let mut bytes = [0; 2 * SLOT];
            assert_eq!(readers[0].read(&mut bytes).expect("two slots"), 2 * SLOT, "{whose}");
            // A kernel pipe is locked while it is read; from ours a slot at a time is freed, and the writer may find one only.
            let written = writer.join().expect("no panic").expect("a reader");
            assert!(written == 4 * SLOT || (whose == "ours" && written == 3 * SLOT), "{whose}: {written}");
        });
    });
}
