//! The lap comes round, and cursors lose their place.

use std::rc::Rc;

use loom::thread;

use crate::check::Check;
use crate::place::Cursor;
use crate::ring::Miss;
use crate::world::Shape;

#[test]
fn order_survives_the_wrap_of_a_two_bit_lap() {
    for ring_size in [1, 2] {
        Check::at_least(22, 100).newest_preemptions(3).run(move || {
            // The last positions before lap 4, which a lap of two bits calls 0.
            let position = u64::from(4 * ring_size - 1);
            let world = Shape { lap_bits: Some(2), position, ..Shape::new(ring_size, 2) }.build();
            let (mut writer, mut reader) = (world.writer(0), world.reader(1));
            let sender =
                thread::spawn(move || (0..4).take_while(|&number| writer.send(&[number]) != Err(Miss::Full)).count());
            let mut received: Vec<_> = (0..3).filter_map(|_| reader.receive_packet().ok()).collect();
            let sent = sender.join().expect("the writer ends") as u8;
            received.extend(reader.drain());
            assert_eq!(received.concat(), (0..sent).collect::<Vec<_>>());
            world.audit();
        });
    }
}

#[test]
fn a_writer_that_was_overtaken_by_a_lap_publishes_behind_everybody() {
    Check::at_least(190, 7800).newest_preemptions(3).run(|| {
        let world = Shape::new(2, 3).build();
        let (mut late, mut quick, mut reader) = (world.writer(0), world.writer(1), world.reader(2));
        let late = thread::spawn(move || late.send(&[9]));
        let mut received = Vec::new();
        for number in 1..=3 {
            if quick.send(&[number]) == Ok(()) {
                received.extend(reader.receive());
            }
        }
        let late = late.join().expect("the late writer ends");
        received.extend(world.reader(2).drain());
        let mut received = received.concat();
        assert_eq!(received.contains(&9), late == Ok(()));
        received.retain(|&byte| byte != 9);
        assert_eq!(received, [1, 2, 3]);
        world.audit();
    });
}

#[test]
fn a_cursor_that_is_nowhere_near_finds_its_place() {
    Check::at_least(120, 1100).newest_preemptions(3).run(|| {
        let world = Shape { position: 41, ..Shape::new(2, 3) }.build();
        // One comes from the past, one from the future.
        let mut writer = world.participant(0, Cursor(3));
        let mut reader = world.participant(1, Cursor(1000));
        let sender = thread::spawn(move || (0..3).take_while(|&number| writer.send(&[number]) == Ok(())).count());
        let mut received: Vec<_> = (0..2).filter_map(|_| reader.receive().ok()).collect();
        let sent = sender.join().expect("the writer ends") as u8;
        assert!(sent >= 2);
        received.extend(reader.drain());
        assert_eq!(received.concat(), (0..sent).collect::<Vec<_>>());
        world.audit();
    });
}

#[test]
fn a_newcomer_begins_where_the_hint_says_and_finds_its_place() {
    Check::at_least(200, 13_000).newest_preemptions(3).stale_preemptions(2).run(|| {
        let world = Shape::new(2, 3).build();
        let (mut writer, mut reader, place) = (world.writer(0), world.reader(1), Rc::clone(&world));
        // It reads the hint while the others move it.
        let newcomer = thread::spawn(move || place.reader(2).receive());
        let mut received = Vec::new();
        for number in 1..=3 {
            writer.send(&[number]).expect("the reader keeps up");
            received.extend(reader.receive());
        }
        let by_newcomer = newcomer.join().expect("the newcomer ends");
        assert!(by_newcomer.is_ok() || by_newcomer == Err(Miss::Empty));
        received.extend(by_newcomer);
        received.sort();
        assert_eq!(received.concat(), [1, 2, 3]);
        assert_eq!(world.writer(0).send(&[4]), Ok(()));
        assert_eq!(world.reader(1).drain(), [[4]]);
        world.audit();
    });
}

#[test]
fn from_every_wrong_place_the_right_one_is_found() {
    // Cursors lag, as far as they like; one that is laps ahead comes from another age.
    let cursors = |position: u64| (0..=position).chain(position + 8..position + 20);
    for (position, cursor) in (0..12).flat_map(|position| cursors(position).map(move |cursor| (position, cursor))) {
        Check::at_least(1, 1).run(move || {
            let world = Shape { position, ..Shape::new(4, 2) }.build();
            let mut writer = world.participant(0, Cursor(cursor));
            let mut reader = world.participant(1, Cursor(cursor));
            assert_eq!(reader.receive_packet(), Err(Miss::Empty));
            for number in 0..4 {
                assert_eq!(writer.send(&[number]), Ok(()), "at {position}, from {cursor}");
            }
            let mut other = world.participant(0, Cursor(cursor));
            assert_eq!(other.send(&[4]), Err(Miss::Full), "at {position}, from {cursor}");
            let mut reader = world.participant(1, Cursor(cursor));
            assert_eq!(reader.drain().concat(), [0, 1, 2, 3], "at {position}, from {cursor}");
            world.audit();
        });
    }
}

#[test]
fn who_was_idle_while_the_laps_came_round_finds_its_place() {
    // With laps of three bits and four slots, every place is one that an idle participant may stand at, also one that is a
    // little ahead, where its own slot looks as it should.
    for (position, cursor) in (32..64).flat_map(|position| (0..32).map(move |cursor| (position, cursor))) {
        Check::at_least(1, 1).run(move || {
            let world = Shape { position, lap_bits: Some(3), ..Shape::new(4, 2) }.build();
            let mut idle = world.participant(1, Cursor(cursor));
            assert_eq!(idle.receive_packet(), Err(Miss::Empty), "at {position}, from {cursor}");
            assert_eq!(world.participant(0, Cursor(position)).send(&[0]), Ok(()));
            // In the middle of the ring: neither full nor empty.
            let mut idle = world.participant(0, Cursor(cursor));
            assert_eq!(idle.send(&[1]), Ok(()), "at {position}, from {cursor}");
            assert_eq!(idle.send(&[2]), Ok(()), "at {position}, from {cursor}");
            let mut idle = world.participant(1, Cursor(cursor));
            assert_eq!(idle.receive_packet(), Ok(vec![0]), "at {position}, from {cursor}");
            assert_eq!(idle.drain().concat(), [1, 2], "at {position}, from {cursor}");
            world.audit();
        });
    }
}

#[test]
fn a_word_that_comes_back_after_all_laps_deceives_the_order_but_loses_no_page() {
    // What the width of the lap is for: with two bits and three pages on their rounds, the very same word is back after 12
    // messages, and who stopped between its look and its exchange cannot know.
    Check::at_least(1, 1).run(|| {
        let world = Shape { lap_bits: Some(2), ..Shape::new(1, 3) }.build();
        let (mut writer, mut reader, mut stopped) = (world.writer(0), world.reader(1), world.reader(2));
        writer.send(&[0]).expect("there is room");
        let seen = stopped.front().expect("a message");
        for number in 1..=12 {
            reader.receive().expect("a message");
            writer.send(&[number]).expect("there is room");
            let is_same = world.reader(1).front().expect("a message").page() == seen.page();
            assert!(!is_same || number % 3 == 0, "three pages take turns");
        }
        assert_eq!(stopped.take(&seen), Ok(vec![12]), "the word is as it was, 12 messages ago");
        world.audit();
    });
}
