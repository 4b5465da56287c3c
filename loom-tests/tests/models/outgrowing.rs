//! A pipe that outgrows its ring: nothing is lost, doubled or put out of order on the way to a larger one, whoever dies.

use std::rc::Rc;

use loom::thread;

use crate::check::{Check, at_every_step};
use crate::machine::death::killed_at_step;
use crate::moving::Refusal;
use crate::ring::Miss;
use crate::slot::Span;
use crate::world::{Shape, World};

/// A ring of one slot that can grow to two.
fn small() -> Rc<World> {
    Shape { max_ring_size: 2, ..Shape::new(1, 3) }.build()
}

fn received(world: &Rc<World>) -> Vec<u8> {
    world.reader(2).drain().concat()
}

#[test]
fn what_is_published_while_the_pipe_moves_arrives_once_and_in_order() {
    Check::at_least(1400, 8000).newest_preemptions(3).stale_preemptions(2).run(|| {
        let world = Shape { max_ring_size: 4, ..Shape::new(2, 3) }.build();
        let (mut writer, mut grower) = (world.writer(0), world.reader(1));
        writer.send(&[1]).expect("there is room");
        let writer = thread::spawn(move || {
            writer.send(&[2]).expect("there is room in either ring");
            writer.send(&[3])
        });
        grower.resize(4).expect("a larger ring");
        let sent = writer.join().expect("the writer ends");
        assert!(matches!(sent, Ok(()) | Err(Miss::Full)), "{sent:?}");
        world.audit();
        assert_eq!(received(&world), if sent.is_ok() { vec![1, 2, 3] } else { vec![1, 2] });
        world.audit();
    });
}

#[test]
fn what_is_taken_while_the_pipe_moves_is_taken_once() {
    Check::at_least(550, 3000).newest_preemptions(3).stale_preemptions(2).run(|| {
        let world = small();
        let (mut writer, mut taker) = (world.writer(0), world.reader(1));
        writer.send(&[1]).expect("there is room");
        let taker = thread::spawn(move || taker.receive().ok());
        writer.resize(2).expect("a larger ring");
        writer.send(&[2]).expect("two fit now");
        let mut taken = taker.join().expect("the taker ends").expect("there was something all the time");
        taken.extend(received(&world));
        assert_eq!(taken, [1, 2]);
        world.audit();
    });
}

#[test]
fn who_follows_sees_the_bytes_of_what_was_published_before() {
    Check::at_least(1800, 5300).newest_preemptions(3).stale_preemptions(2).run(|| {
        let world = small();
        let (mut writer, mut grower, mut reader) = (world.writer(0), world.writer(1), world.reader(2));
        let writer = thread::spawn(move || writer.send(&[1]).expect("there is room"));
        let grower = thread::spawn(move || grower.resize(2).expect("a larger ring"));
        let early = reader.receive();
        assert!(matches!(early.as_deref(), Ok([1]) | Err(Miss::Empty)), "{early:?}");
        writer.join().expect("the writer ends");
        grower.join().expect("the grower ends");
        assert_eq!([early.unwrap_or_default(), received(&world)].concat(), [1]);
        world.audit();
    });
}

#[test]
fn a_confirmed_look_at_a_ring_that_is_left_never_sees_what_the_page_held_later() {
    Check::at_least(25, 36).newest_preemptions(3).stale_preemptions(2).run(|| {
        let world = small();
        let (mut writer, mut reader) = (world.writer(0), world.reader(1));
        writer.publish_stream(&[1, 2]).expect("there is room");
        let seen = reader.front().expect("there is something");
        let mover = thread::spawn(move || {
            writer.resize(2).expect("a larger ring");
            // The page comes out of the new ring, and another packet is written over it.
            writer.write_stream(&[3]).expect("the last slot has room");
            writer.send(&[9, 9, 9]).expect("there is room");
        });
        let (bytes, peek) = reader.peek(&seen, Span { start: 0, end: 2 });
        if reader.confirm(&seen, peek).is_ok() {
            assert_eq!(bytes, [1, 2]);
        }
        mover.join().expect("the mover ends");
        assert_eq!(received(&world), [1, 2, 3, 9, 9, 9]);
        world.audit();
    });
}

#[test]
fn what_is_counted_was_there_at_one_moment() {
    Check::at_least(850, 2700).newest_preemptions(3).stale_preemptions(2).run(|| {
        let world = Shape { extents: 1, max_ring_size: 4, ..Shape::new(2, 3) }.build();
        let (mut writer, mut taker, mut counter) = (world.writer(0), world.reader(1), world.reader(2));
        writer.send(&[1]).expect("there is room");
        let others = thread::spawn(move || {
            taker.receive().expect("there is something");
            writer.send(&[1, 2, 3]).expect("there is room");
            writer.resize(4).expect("a larger ring");
            writer.send_large(&[7; 10]).expect("an extent").expect("there is room");
        });
        let counted = counter.unread();
        assert!(counted.is_none() || [1, 0, 3, 13].map(Some).contains(&counted), "{counted:?}");
        others.join().expect("the others end");
        assert_eq!(counter.unread(), Some(13));
    });
}

#[test]
fn bytes_that_are_merged_while_the_pipe_moves_arrive_once() {
    Check::at_least(550, 4500).newest_preemptions(3).stale_preemptions(2).run(|| {
        let world = small();
        let (mut writer, mut grower) = (world.writer(0), world.reader(1));
        writer.publish_stream(&[1]).expect("there is room");
        let writer = thread::spawn(move || {
            for byte in 2..=3 {
                writer.write_stream(&[byte]).expect("the last slot has room");
            }
        });
        grower.resize(2).expect("a larger ring");
        writer.join().expect("the writer ends");
        world.audit();
        assert_eq!(received(&world), [1, 2, 3]);
        world.audit();
    });
}

#[test]
fn two_who_make_the_pipe_larger_at_once_both_can_and_others_follow_the_last() {
    Check::at_least(9500, 500).newest_preemptions(3).stale_preemptions(1).run(|| {
        let world = Shape { max_ring_size: 4, ..Shape::new(1, 3) }.build();
        let (mut writer, mut one, mut other) = (world.writer(0), world.reader(1), world.reader(2));
        writer.send(&[1]).expect("there is room");
        let one = thread::spawn(move || one.resize(2));
        let other = thread::spawn(move || other.resize(4));
        let is_sent = writer.send(&[2]) == Ok(());
        let done = [one, other].map(|thread| thread.join().expect("it ends"));
        assert_eq!(done, [Ok(()); 2]);
        world.audit();
        let first = if is_sent { 3 } else { 2 };
        let room = (first..=4).take_while(|&byte| writer.send(&[byte]).is_ok()).count() + usize::from(first) - 1;
        assert!(room == 2 || room == 4, "who came last is obeyed: {room}");
        assert_eq!(received(&world), (1..=room as u8).collect::<Vec<_>>());
        world.audit();
    });
}

#[test]
fn whoever_dies_while_the_pipe_moves_leaves_nothing_undone() {
    let executions = at_every_step(3, |doom| {
        let world = small();
        let (mut victim, mut writer) = (world.reader(0), world.writer(1));
        writer.send(&[1]).expect("there is room");
        let victim = thread::spawn(move || killed_at_step(doom, || victim.resize(2)).is_none());
        let is_sent = writer.send(&[2]) == Ok(());
        let was_killed = victim.join().expect("the victim ends");
        let has_said_so = world.usage() == 2;
        let is_sent_now = is_sent || writer.send(&[2]) == Ok(());
        assert_eq!(is_sent_now, has_said_so, "whatever it got as far as is what holds");
        assert!(has_said_so || was_killed, "it lived, and has done nothing");
        world.reap(0).expect("it exchanged nothing");
        world.audit();
        assert_eq!(received(&world), if is_sent_now { vec![1, 2] } else { vec![1] });
        world.audit();
        was_killed
    });
    assert!(executions > 1000, "only {executions}");
}

#[test]
fn a_helper_that_was_stopped_changes_nothing_when_it_goes_on() {
    // The helper is a writer that found the ring frozen; meanwhile the others move on, fill the new ring and empty it.
    let executions = at_every_step(3, |doom| {
        let world = small();
        let (mut grower, mut helper, mut reader) = (world.writer(0), world.writer(1), world.reader(2));
        grower.send(&[1]).expect("there is room");
        let helper = thread::spawn(move || killed_at_step(doom, || helper.resize(2)).is_none());
        let mut taken = Vec::new();
        if grower.resize(2).is_ok() {
            for byte in 2..=3 {
                grower.send(&[byte]).expect("there are two slots or more");
                taken.extend(reader.receive().expect("there is something"));
            }
        }
        let was_killed = helper.join().expect("the helper ends");
        taken.extend(world.reader(2).drain().concat());
        assert_eq!(taken, [1, 2, 3]);
        world.audit();
        was_killed
    });
    assert!(executions > 7000, "only {executions}");
}

#[test]
fn the_dead_are_cleaned_up_in_whatever_ring_the_pipe_is() {
    let executions = at_every_step(3, |doom| {
        let world = small();
        let (mut victim, mut grower) = (world.writer(0), world.reader(1));
        let victim = thread::spawn(move || killed_at_step(doom, || victim.send(&[1])).is_none());
        grower.resize(2).expect("a larger ring");
        let was_killed = victim.join().expect("the victim ends");
        world.reap(0).expect("all is quiet");
        world.audit();
        assert!(received(&world).len() <= 1);
        world.audit();
        was_killed
    });
    assert!(executions > 4000, "only {executions}");
}

#[test]
fn a_smaller_size_counts_where_the_ring_is_larger() {
    Check::at_least(1, 1).run(|| {
        let world = Shape { max_ring_size: 4, position: 3, ..Shape::new(2, 3) }.build();
        let (mut writer, mut reader) = (world.writer(0), world.reader(1));
        assert_eq!(writer.resize(1), Ok(()));
        for byte in 1..=7 {
            writer.send(&[byte]).expect("one slot is free");
            assert_eq!(writer.send(&[9]), Err(Miss::Full));
            if byte == 3 {
                assert_eq!(reader.resize(4), Ok(()));
                writer.send(&[8]).expect("there are four");
                assert_eq!(writer.resize(1), Err(Refusal::Busy));
                assert_eq!(reader.receive(), Ok(vec![byte]));
                assert_eq!(reader.receive(), Ok(vec![8]));
                assert_eq!(writer.resize(1), Ok(()));
                continue;
            }
            assert_eq!(reader.unread(), Some(1));
            assert_eq!(reader.receive(), Ok(vec![byte]));
        }
        world.audit();
    });
}

#[test]
fn the_pipe_moves_across_the_wrap_of_its_laps() {
    for position in 0..16 {
        Check::at_least(1, 1).run(move || {
            let world = Shape { max_ring_size: 4, position, lap_bits: Some(2), ..Shape::new(2, 3) }.build();
            let (mut writer, mut reader) = (world.writer(0), world.reader(1));
            let mut sent = 0;
            let mut received = Vec::new();
            for (slots, sends, receives) in [(2, 2, 1), (4, 3, 3), (4, 2, 2), (2, 1, 2), (4, 4, 4)] {
                writer.resize(slots).expect("it holds what there is");
                for _ in 0..sends {
                    writer.send(&[sent]).expect("there is room");
                    sent += 1;
                }
                for _ in 0..receives {
                    received.extend(reader.receive().expect("there is something"));
                }
                world.audit();
            }
            assert_eq!(received, (0..sent).collect::<Vec<_>>());
        });
    }
}
