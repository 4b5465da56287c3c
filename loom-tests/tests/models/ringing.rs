//! Nobody sleeps at a bell while there is something to do, whoever dies or is stopped at whatever step.
//!
//! Here nobody has a bound to his sleep, and nobody is woken by anything but a ring: a sleeper that is left alone ends the model as
//! a deadlock. One who is stopped for ever and one who is dead are the same to a sleeper.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use loom::thread;

use crate::check::{Check, at_every_step};
use crate::machine::death::killed_at_step;
use crate::machine::locks::Locks;
use crate::participant::{Long, Participant};
use crate::ring::Miss;
use crate::sync::AtomicU32;
use crate::world::{Shape, World};

/// Entries of those who may write, more than there are in most of the models.
const WRITERS: &[u32] = &[0, 1];

fn with_bells(ring_size: u32, participants: u32, rung: usize) -> Rc<World> {
    Shape { rung: Some(rung), ..Shape::new(ring_size, participants) }.build()
}

/// Looks for a message, and sleeps if there is none; so many times. Returns whether it has got one. If not it would go on with
/// sleeps that have a bound.
fn look_or_sleep_long(reader: &mut Participant, times: usize, locks: &Locks) -> bool {
    for _ in 0..times {
        match reader.receive() {
            Ok(_) => return true,
            Err(Miss::Empty) => {}
            Err(miss) => panic!("{miss:?}"),
        }
        if reader.sleep_long_until_data_or(locks, WRITERS, || false) == Long::NotNow {
            return false;
        }
    }
    false
}

/// Runs `story` with every doom; at least so many executions, or it was for nothing.
fn tried_at_every_step(at_least: usize, preemptions: usize, story: impl Fn(u32) -> bool + Send + Sync + 'static) {
    let executions = at_every_step(preemptions, story);
    assert!(executions >= at_least, "only {executions} executions, expected {at_least}");
}

#[test]
fn a_writer_stopped_at_any_step_leaves_no_reader_asleep_with_a_message() {
    tried_at_every_step(300, 4, |doom| {
        let world = with_bells(2, 4, 0);
        let (mut writer, mut reader) = (world.writer(0), world.reader(2));
        let victim = thread::spawn(move || killed_at_step(doom, || writer.send(&[7])).is_none());
        let sleeper = thread::spawn(move || {
            look_or_sleep_long(&mut reader, 1, &Locks::new(4));
        });
        let was_killed = victim.join().expect("the writer ends");
        // Nobody but a ring wakes the reader if there is something to read.
        if world.reader(3).front().is_err() {
            world.readers_bell().expect("it has bells").pipe.hang_up();
        }
        sleeper.join().expect("the reader is not left asleep");
        was_killed
    });
}

#[test]
fn a_reader_stopped_at_any_step_leaves_no_writer_asleep_with_room() {
    tried_at_every_step(300, 4, |doom| {
        let world = with_bells(1, 2, 0);
        let (mut writer, mut reader) = (world.writer(0), world.reader(1));
        writer.send(&[1]).expect("room");
        let victim = thread::spawn(move || killed_at_step(doom, || reader.receive()).is_none());
        let sleeper = thread::spawn(move || {
            if writer.is_full() {
                writer.sleep_long_until_room(&Locks::new(2), &[1]);
            }
        });
        let was_killed = victim.join().expect("the reader ends");
        if world.writer(0).is_full() {
            world.writers_bell().expect("it has bells").pipe.hang_up();
        }
        sleeper.join().expect("the writer is not left asleep");
        was_killed
    });
}

#[test]
fn who_makes_the_pipe_larger_and_is_stopped_at_any_step_leaves_no_writer_asleep_with_room() {
    tried_at_every_step(300, 3, |doom| {
        let world = Shape { max_ring_size: 2, rung: Some(0), ..Shape::new(1, 2) }.build();
        let (mut writer, mut grower) = (world.writer(0), world.reader(1));
        writer.send(&[1]).expect("room");
        let victim = thread::spawn(move || killed_at_step(doom, || grower.announce_and_resize(2)).is_none());
        let sleeper = thread::spawn(move || {
            if writer.is_full() {
                writer.sleep_long_until_room(&Locks::new(2), &[1]);
            }
        });
        let was_killed = victim.join().expect("the grower ends");
        // If the pipe is as small as it was, nobody has to wake the writer.
        if world.usage() == 1 {
            world.writers_bell().expect("it has bells").pipe.hang_up();
        }
        sleeper.join().expect("the writer is not left asleep");
        was_killed
    });
}

#[test]
fn a_ring_that_somebody_died_before_giving_is_given_by_the_next() {
    tried_at_every_step(300, 4, |doom| {
        let world = with_bells(4, 3, 0);
        let (mut victim, mut next, mut reader) = (world.writer(0), world.writer(1), world.reader(2));
        let writers = thread::spawn(move || {
            let was_killed = killed_at_step(doom, || victim.send(&[7])).is_none();
            next.send(&[8]).expect("room");
            was_killed
        });
        look_or_sleep_long(&mut reader, 1, &Locks::new(4));
        writers.join().expect("the writers end")
    });
}

#[test]
fn who_arms_the_bell_again_is_rung_for_again() {
    Check::at_least(100, 100).newest_preemptions(4).run(|| {
        let world = with_bells(2, 3, 0);
        let (mut writer, mut reader) = (world.writer(0), world.reader(2));
        let sender = thread::spawn(move || writer.send(&[7]).expect("room"));
        look_or_sleep_long(&mut reader, 3, &Locks::new(4));
        sender.join().expect("the writer ends");
    });
}

/// Two who go to sleep at a bell that has rung before, and a writer.
fn two_at_a_bell(locks: Locks) {
    let world = with_bells(2, 4, 1);
    let (mut writer, locks) = (world.writer(0), Rc::new(locks));
    let sleepers = [2, 3].map(|entry| {
        let (mut reader, locks, world) = (world.reader(entry), Rc::clone(&locks), Rc::clone(&world));
        thread::spawn(move || {
            if look_or_sleep_long(&mut reader, 1, &locks) {
                // There is nothing to do any more: the other one sleeps for good reason.
                world.readers_bell().expect("it has bells").pipe.hang_up();
            }
        })
    });
    writer.send(&[7]).expect("room");
    for sleeper in sleepers {
        sleeper.join().expect("a reader is not left asleep");
    }
}

#[test]
fn of_two_at_a_bell_that_has_rung_none_takes_a_ring_from_the_other() {
    Check::at_least(1000, 1000).newest_preemptions(3).stale_preemptions(2).run(|| two_at_a_bell(Locks::new(4)));
}

#[test]
#[should_panic(expected = "deadlock")]
fn two_who_make_it_silent_at_once_take_rings_from_each_other() {
    let locks = || Locks::new(4).without_sleepers();
    Check::at_least(1, 1).newest_preemptions(3).stale_preemptions(2).run(move || two_at_a_bell(locks()));
}

#[test]
fn who_has_counted_rings_that_another_one_took_takes_no_later_ones() {
    Check::at_least(1000, 1000).newest_preemptions(4).stale_preemptions(2).run(|| {
        let world = with_bells(2, 4, 1);
        let (mut writer, mut one, mut other) = (world.writer(0), world.reader(2), world.reader(3));
        let locks = Rc::new(Locks::new(4));
        let (of_one, of_other) = (Rc::clone(&locks), Rc::clone(&locks));
        let one = thread::spawn(move || {
            one.sleep_long_until_data_or(&of_one, WRITERS, || false);
        });
        let other = thread::spawn(move || other.nearly_sleep_long(&of_other, WRITERS));
        // Nobody takes it out, so that nobody has a reason to sleep.
        writer.send(&[7]).expect("room");
        one.join().expect("a reader is not left asleep");
        other.join().expect("the other one ends");
    });
}

#[test]
fn room_wakes_every_writer_that_sleeps_at_a_bell_that_has_rung_before() {
    Check::at_least(1000, 1000).newest_preemptions(3).stale_preemptions(2).run(|| {
        let world = with_bells(1, 3, 1);
        let locks = Rc::new(Locks::new(3));
        let mut reader = world.reader(2);
        world.writer(0).send(&[1]).expect("room");
        let sleepers = [0, 1].map(|entry| {
            let (mut writer, locks) = (world.writer(entry), Rc::clone(&locks));
            thread::spawn(move || {
                if writer.is_full() {
                    writer.sleep_long_until_room(&locks, &[2]);
                }
            })
        });
        // The slot stays empty, so that neither has a reason to sleep.
        reader.receive().expect("a message");
        for sleeper in sleepers {
            sleeper.join().expect("a writer is not left asleep");
        }
    });
}

#[test]
fn who_dies_while_it_goes_to_sleep_takes_no_ring_along() {
    tried_at_every_step(1000, 3, |doom| {
        let world = with_bells(2, 4, 1);
        let (mut writer, mut victim, mut other) = (world.writer(0), world.reader(2), world.reader(3));
        let locks = Rc::new(Locks::new(4));
        let (of_victim, of_other) = (Rc::clone(&locks), Rc::clone(&locks));
        let victim = thread::spawn(move || {
            let lives = killed_at_step(doom, || victim.sleep_long_until_data_or(&of_victim, WRITERS, || false));
            if lives.is_none() {
                // The kernel takes its lock back.
                of_victim.say_awake(2);
            }
            lives.is_none()
        });
        let other = thread::spawn(move || {
            other.sleep_long_until_data_or(&of_other, WRITERS, || false);
        });
        // Nobody takes it out, so that nobody has a reason to sleep.
        writer.send(&[7]).expect("room");
        other.join().expect("the other one is not left asleep");
        victim.join().expect("the victim ends")
    });
}

#[test]
fn who_is_stopped_while_it_leaves_leaves_nobody_asleep_that_has_nobody_any_more() {
    tried_at_every_step(10, 4, |doom| {
        let world = with_bells(2, 3, 0);
        let mut reader = world.reader(2);
        let is_gone = Rc::new(AtomicU32::new(0));
        let (told, of_writer) = (Rc::clone(&is_gone), Rc::clone(&world));
        let seen = Rc::clone(&is_gone);
        let victim = thread::spawn(move || {
            let leave = || {
                let bell = of_writer.readers_bell().expect("it has bells");
                of_writer.announcement(0).leave();
                bell.word().ring_for_all(&bell.pipe);
                // Gives up its lock.
                told.fetch_add(1, Ordering::AcqRel);
                // What else it does nobody relies on.
                told.fetch_add(0, Ordering::AcqRel);
            };
            killed_at_step(doom, leave).is_none()
        });
        let sleeper = thread::spawn(move || {
            reader.sleep_long_until_data_or(&Locks::new(4), WRITERS, || seen.load(Ordering::Acquire) == 1);
        });
        let was_killed = victim.join().expect("the writer ends");
        if is_gone.load(Ordering::Acquire) == 0 {
            // It is there, or it is dead and the kernel rings.
            world.readers_bell().expect("it has bells").pipe.hang_up();
        }
        sleeper.join().expect("the reader is not left asleep");
        was_killed
    });
}

/// One who waits for the end, and one who waits for something else, at one bell.
fn two_with_different_looks(locks: Locks) {
    let world = with_bells(2, 4, 0);
    let (mut reader, mut stranger) = (world.reader(2), world.reader(3));
    let (is_gone, locks) = (Rc::new(AtomicU32::new(0)), Rc::new(locks));
    let (told, of_writer, of_stranger) = (Rc::clone(&is_gone), Rc::clone(&world), Rc::clone(&locks));
    let writer = thread::spawn(move || {
        let bell = of_writer.readers_bell().expect("it has bells");
        of_writer.announcement(0).leave();
        bell.word().ring_for_all(&bell.pipe);
        told.fetch_add(1, Ordering::AcqRel);
    });
    let stranger = thread::spawn(move || {
        stranger.sleep_long_until_data_or(&of_stranger, &[], || false);
    });
    reader.sleep_long_until_data_or(&locks, WRITERS, || is_gone.load(Ordering::Acquire) == 1);
    writer.join().expect("the writer ends");
    // The other one has nothing to do.
    world.readers_bell().expect("it has bells").pipe.hang_up();
    stranger.join().expect("the other one ends");
}

#[test]
fn who_looks_for_something_else_takes_no_ring_from_one_who_sleeps() {
    Check::at_least(100, 100)
        .newest_preemptions(3)
        .stale_preemptions(2)
        .run(|| two_with_different_looks(Locks::new(4)));
}

#[test]
#[should_panic(expected = "deadlock")]
fn one_who_does_not_heed_sleepers_takes_rings_from_them() {
    let locks = || Locks::new(4).without_sleepers();
    Check::at_least(1, 1).newest_preemptions(3).stale_preemptions(2).run(move || two_with_different_looks(locks()));
}

#[test]
fn who_comes_rings_for_those_who_sleep_long() {
    Check::at_least(10, 10).run(|| {
        let world = with_bells(2, 2, 0);
        let mut reader = world.reader(1);
        let is_gone = Rc::new(AtomicU32::new(0));
        let (told, of_writer) = (Rc::clone(&is_gone), Rc::clone(&world));
        let writer = thread::spawn(move || {
            told.fetch_add(1, Ordering::AcqRel);
            let bell = of_writer.readers_bell().expect("it has bells");
            bell.word().ring_for_all(&bell.pipe);
        });
        reader.sleep_long_until_data_or(&Locks::new(4), &[0], || is_gone.load(Ordering::Acquire) == 1);
        writer.join().expect("the writer ends");
    });
}

#[test]
fn a_writer_stopped_at_any_step_leaves_nobody_who_watches_unaware_of_a_message() {
    tried_at_every_step(3000, 2, |doom| {
        let world = with_bells(2, 4, 1);
        let (mut writer, mut watcher) = (world.writer(0), world.reader(2));
        let victim = thread::spawn(move || killed_at_step(doom, || writer.send(&[7])).is_none());
        let watcher = thread::spawn(move || {
            watcher.watch_until_data(&Locks::new(4), WRITERS);
        });
        let was_killed = victim.join().expect("the writer ends");
        if world.reader(3).front().is_err() {
            world.readers_bell().expect("it has bells").pipe.hang_up();
        }
        watcher.join().expect("the one who watches is told");
        was_killed
    });
}

#[test]
fn all_who_watch_are_told_of_a_message_that_nobody_takes() {
    Check::at_least(1000, 1000).newest_preemptions(3).stale_preemptions(2).run(|| {
        let world = with_bells(2, 4, 1);
        let (mut writer, locks) = (world.writer(0), Rc::new(Locks::new(4)));
        let watchers = [2, 3].map(|entry| {
            let (mut reader, locks) = (world.reader(entry), Rc::clone(&locks));
            thread::spawn(move || {
                reader.watch_until_data(&locks, WRITERS);
            })
        });
        writer.send(&[7]).expect("room");
        for watcher in watchers {
            watcher.join().expect("each of them is told");
        }
    });
}

#[test]
fn who_watches_and_who_sleeps_at_one_bell_are_both_told() {
    Check::at_least(1000, 1000).newest_preemptions(3).stale_preemptions(2).run(|| {
        let world = with_bells(2, 4, 1);
        let (mut writer, locks) = (world.writer(0), Rc::new(Locks::new(4)));
        let (mut one, mut other) = (world.reader(2), world.reader(3));
        let of_other = Rc::clone(&locks);
        let watcher = thread::spawn(move || {
            one.watch_until_data(&locks, WRITERS);
        });
        let sleeper = thread::spawn(move || {
            other.sleep_long_until_data_or(&of_other, WRITERS, || false);
        });
        writer.send(&[7]).expect("room");
        watcher.join().expect("the one who watches is told");
        sleeper.join().expect("the one who sleeps is woken");
    });
}
