//! Whoever dies, at whatever step, takes its own unfinished operation with it and nothing else.
//!
//! Each law is tried for a death before every single access to shared memory. The reaper knows of a death as from the
//! kernel's lock: everything that the dead one did comes before.

use core::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::sync::atomic as simulated;
use loom::thread;

use crate::check::at_every_step;
use crate::machine::death::killed_at_step;
use crate::participant::Participant;
use crate::world::{Shape, World};

const VICTIM: u32 = 0;
const OTHER: u32 = 1;
const SURVIVOR: u32 = 2;
/// As many as three participants allow.
const PREEMPTIONS: usize = 3;

/// What somebody has done for certain, in bytes; one who is killed may have done one thing more.
type Diary = Rc<RefCell<Vec<u8>>>;

/// What one participant does; it notes each thing when it is done.
type Life = fn(&mut Participant, &Diary);

/// A harness that checks nothing passes, so count.
fn not_for_nothing(executions: usize, at_least: usize) {
    assert!(executions >= at_least, "only {executions} executions, expected {at_least}");
}

/// How the kernel tells of a death.
#[derive(Clone)]
struct Lock(Rc<simulated::AtomicBool>);

impl Lock {
    fn new() -> Self {
        Self(Rc::new(simulated::AtomicBool::new(false)))
    }

    fn released_by_death(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_free(&self) -> bool {
        self.0.fetch_or(false, Ordering::Acquire)
    }
}

/// What became of everybody.
struct Aftermath {
    by_victim: Vec<u8>,
    by_other: Vec<u8>,
    left: Vec<u8>,
    was_killed: bool,
}

/// The victim lives until its doom, the other one all through, and a third one cleans up behind the victim as soon as it
/// knows, and takes its place.
fn after_a_death(world: &Rc<World>, victim: (Participant, Life), other: (Participant, Life), doom: u32) -> Aftermath {
    let (lock, diaries) = (Lock::new(), [Diary::default(), Diary::default()]);
    let (told, [by_victim, by_other]) = (lock.clone(), diaries.clone());
    let victim = thread::spawn(move || {
        let (mut participant, life) = victim;
        let was_killed = killed_at_step(doom, || life(&mut participant, &by_victim)).is_none();
        if was_killed {
            told.released_by_death();
        }
        was_killed
    });
    let other = thread::spawn(move || {
        let (mut participant, life) = other;
        life(&mut participant, &by_other);
    });
    // Somebody's page may be between two hands at this moment; later it is not.
    let mut is_reaped = lock.is_free() && inherit(world, VICTIM);
    let was_killed = victim.join().expect("the victim ends");
    other.join().expect("the other one ends");
    if was_killed && !is_reaped {
        is_reaped = inherit(world, VICTIM);
        assert!(is_reaped, "all is quiet, and still nobody knows what the dead one owned");
    }
    world.audit();
    let left = world.reader(SURVIVOR).drain().concat();
    world.audit();
    let [by_victim, by_other] = diaries.map(|diary| diary.take());
    Aftermath { by_victim, by_other, left, was_killed }
}

/// Cleans up behind the dead one and writes to the page that is found, as the next owner of the entry will.
fn inherit(world: &Rc<World>, entry: u32) -> bool {
    let is_found = world.reap(entry).is_some();
    if is_found {
        world.writer(entry).scribble();
    }
    is_found
}

impl Aftermath {
    /// The victim wrote 1, 2, ...: they arrive in order, each once, as many as it knows of, and one more at most.
    fn everything_written_arrived(&self) {
        let read = [&self.by_other[..], &self.left].concat();
        let expected: Vec<u8> = (1..=read.len() as u8).collect();
        assert_eq!(read, expected, "whole and in order");
        let known = self.by_victim.len();
        let at_most = known + usize::from(self.was_killed);
        assert!((known..=at_most).contains(&read.len()), "{read:?} arrived, {known} were written");
    }

    /// The victim and the other one read 1, 2, ... `count`: each byte is read once, and one may have died with the victim.
    fn nothing_was_read_twice(&self, count: u8) {
        let by_others = [&self.by_other[..], &self.left].concat();
        assert!(self.by_victim.is_sorted() && by_others.is_sorted(), "{:?}, {by_others:?}", self.by_victim);
        let mut read = [&self.by_victim[..], &by_others].concat();
        read.sort_unstable();
        let mut missing: Vec<u8> = (1..=count).collect();
        missing.retain(|byte| !read.contains(byte));
        read.dedup();
        assert_eq!(read.len() + missing.len(), usize::from(count), "no byte twice and none invented");
        assert!(missing.len() <= usize::from(self.was_killed), "{missing:?} are lost");
    }
}

fn send_1_2(writer: &mut Participant, done: &Diary) {
    for byte in 1..=2 {
        writer.send(&[byte]).expect("there is room");
        done.borrow_mut().push(byte);
    }
}

fn append_3_4(writer: &mut Participant, done: &Diary) {
    for byte in 3..=4 {
        writer.write_stream(&[byte]).expect("there is room");
        done.borrow_mut().push(byte);
    }
}

fn take_twice(reader: &mut Participant, done: &Diary) {
    for _ in 0..2 {
        done.borrow_mut().extend(reader.receive_packet().unwrap_or_default());
    }
}

fn consume_twice(reader: &mut Participant, done: &Diary) {
    for _ in 0..2 {
        done.borrow_mut().extend(reader.consume_one());
    }
}

#[test]
fn a_writer_killed_while_it_publishes_loses_at_most_its_last_message() {
    let executions = at_every_step(PREEMPTIONS, |doom| {
        let world = Shape::new(2, 3).build();
        let (victim, other) = (world.writer(VICTIM), world.reader(OTHER));
        let aftermath = after_a_death(&world, (victim, send_1_2), (other, take_twice), doom);
        aftermath.everything_written_arrived();
        aftermath.was_killed
    });
    not_for_nothing(executions, 900);
}

#[test]
fn a_writer_killed_while_it_merges_loses_at_most_its_last_bytes() {
    let mut executions = 0;
    for reads in [take_twice as Life, consume_twice as Life] {
        executions += at_every_step(PREEMPTIONS, move |doom| {
            let world = Shape::new(2, 3).build();
            let (mut victim, other) = (world.writer(VICTIM), world.reader(OTHER));
            victim.publish_stream(&[1, 2]).expect("there is room");
            let mut aftermath = after_a_death(&world, (victim, append_3_4), (other, reads), doom);
            aftermath.by_victim.splice(0..0, [1, 2]);
            aftermath.everything_written_arrived();
            aftermath.was_killed
        });
    }
    not_for_nothing(executions, 20_000);
}

#[test]
fn a_reader_killed_while_it_takes_loses_at_most_what_it_took() {
    let executions = at_every_step(PREEMPTIONS, |doom| {
        let world = Shape::new(2, 3).build();
        send_1_2(&mut world.writer(SURVIVOR), &Diary::default());
        let (victim, other) = (world.reader(VICTIM), world.reader(OTHER));
        let aftermath = after_a_death(&world, (victim, take_twice), (other, take_twice), doom);
        aftermath.nothing_was_read_twice(2);
        aftermath.was_killed
    });
    not_for_nothing(executions, 2200);
}

#[test]
fn a_reader_killed_while_it_consumes_loses_at_most_what_it_read() {
    let mut executions = 0;
    for (others, count) in [(consume_twice as Life, 2), (append_3_4_quietly as Life, 4)] {
        executions += at_every_step(PREEMPTIONS, move |doom| {
            let world = Shape::new(2, 3).build();
            world.writer(SURVIVOR).publish_stream(&[1, 2]).expect("there is room");
            let (victim, other) = (world.reader(VICTIM), world.participant(OTHER, world.ring().head_hint()));
            let aftermath = after_a_death(&world, (victim, consume_twice), (other, others), doom);
            aftermath.nothing_was_read_twice(count);
            aftermath.was_killed
        });
    }
    not_for_nothing(executions, 8900);
}

/// As [`append_3_4`], by one whose diary is about reading.
fn append_3_4_quietly(writer: &mut Participant, _: &Diary) {
    append_3_4(writer, &Diary::default());
}

#[test]
fn who_is_killed_with_an_extent_leaves_it_to_be_freed() {
    fn send_large(writer: &mut Participant, done: &Diary) {
        writer.send_large(&[1; 10]).expect("a free extent").expect("there is room");
        done.borrow_mut().push(1);
    }
    fn take_large(reader: &mut Participant, done: &Diary) {
        if reader.receive().is_ok_and(|bytes| bytes == [1; 10]) {
            done.borrow_mut().push(1);
        }
    }
    let mut executions = at_every_step(PREEMPTIONS, |doom| {
        let world = Shape { extents: 1, ..Shape::new(1, 3) }.build();
        let (victim, other) = (world.writer(VICTIM), world.reader(OTHER));
        let aftermath = after_a_death(&world, (victim, send_large), (other, take_large), doom);
        assert!(aftermath.left.is_empty() || aftermath.left == [1; 10]);
        assert!(world.extents().has_free(), "the only extent is lost");
        aftermath.was_killed
    });
    executions += at_every_step(PREEMPTIONS, |doom| {
        let world = Shape { extents: 1, ..Shape::new(1, 3) }.build();
        send_large(&mut world.writer(SURVIVOR), &Diary::default());
        let (victim, other) = (world.reader(VICTIM), world.reader(OTHER));
        let aftermath = after_a_death(&world, (victim, take_large), (other, take_large), doom);
        assert!(aftermath.by_victim.len() + aftermath.by_other.len() <= 1);
        assert!(world.extents().has_free(), "the only extent is lost");
        aftermath.was_killed
    });
    not_for_nothing(executions, 670);
}

#[test]
fn who_reaps_after_a_killed_reaper_finds_the_same() {
    let mut executions = 0;
    for doom_of_victim in 0..12 {
        executions += at_every_step(PREEMPTIONS, move |doom| {
            let world = Shape::new(2, 3).build();
            let (mut victim, mut other) = (world.writer(VICTIM), world.reader(OTHER));
            let other = thread::spawn(move || take_twice(&mut other, &Diary::default()));
            let lives = killed_at_step(doom_of_victim, || send_1_2(&mut victim, &Diary::default())).is_some();
            if lives {
                other.join().expect("the other one ends");
                return false;
            }
            // Each attempt is by somebody else who has got the lock.
            let first = killed_at_step(doom, || world.reap(VICTIM));
            let second = world.reap(VICTIM);
            if let (Some(Some(first)), Some(second)) = (first, second) {
                assert_eq!(first, second);
            }
            other.join().expect("the other one ends");
            assert!(inherit(&world, VICTIM));
            world.audit();
            first.is_none()
        });
    }
    not_for_nothing(executions, 980);
}

#[test]
fn two_who_die_in_each_others_way_are_both_cleaned_up() {
    let second_looks = Arc::new(AtomicUsize::new(0));
    let mut executions = 0;
    for doom_of_reader in 0..16 {
        let second_looks = Arc::clone(&second_looks);
        executions += at_every_step(PREEMPTIONS, move |doom| {
            let world = Shape::new(1, 3).build();
            let (mut writer, mut reader) = (world.writer(VICTIM), world.reader(OTHER));
            let writer = thread::spawn(move || {
                killed_at_step(doom, || {
                    for _ in 0..2 {
                        _ = writer.send(&[1]);
                    }
                })
                .is_none()
            });
            let reader_killed = killed_at_step(doom_of_reader, || take_twice(&mut reader, &Diary::default())).is_none();
            let writer_killed = writer.join().expect("the writer ends");
            // What one of them owns may be known only when the other's page is known; never the other way round too.
            let mut is_reaped = [!writer_killed, !reader_killed];
            for round in 0..2 {
                second_looks.fetch_add(usize::from(round == 1 && is_reaped != [true; 2]), Ordering::Relaxed);
                for (entry, is_reaped) in [VICTIM, OTHER].into_iter().zip(&mut is_reaped) {
                    *is_reaped = *is_reaped || inherit(&world, entry);
                }
            }
            assert_eq!(is_reaped, [true; 2]);
            world.audit();
            let left = world.reader(SURVIVOR).drain().concat();
            assert!(left.len() <= 1);
            world.audit();
            writer_killed
        });
    }
    not_for_nothing(executions, 1500);
    assert!(second_looks.load(Ordering::Relaxed) > 0, "none of the dead was in the other one's way");
}

#[test]
fn a_reader_killed_before_it_sleeps_keeps_nobody_else_asleep() {
    // Two messages for two readers, of which one is killed before it goes to sleep, at any step. What is left to the bound on
    // sleeping is its death after it was woken.
    let executions = at_every_step(PREEMPTIONS, |doom| {
        let world = Shape::new(2, 3).build();
        let (mut victim, mut other, mut writer) = (world.reader(VICTIM), world.reader(OTHER), world.writer(SURVIVOR));
        let victim = thread::spawn(move || {
            killed_at_step(doom, || {
                if victim.receive().is_err() {
                    _ = victim.arm_and_look();
                }
            })
            .is_none()
        });
        let other = thread::spawn(move || {
            while other.receive().is_err() {
                other.sleep_until_data();
            }
        });
        for message in 1..=2 {
            writer.send(&[message]).expect("there is room");
            writer.wake_one_reader();
        }
        other.join().expect("the other reader ends");
        victim.join().expect("the victim ends")
    });
    not_for_nothing(executions, 8500);
}
