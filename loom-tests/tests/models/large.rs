//! Packets above a page: their extents go with the page, and nobody writes to one that is still being read.

use loom::thread;

use crate::check::Check;
use crate::participant::Participant;
use crate::ring::Miss;
use crate::world::Shape;

fn packet(number: u8) -> Vec<u8> {
    vec![number; 10]
}

/// Sends packets until there is no room or no extent. How many were sent.
fn send(writer: &mut Participant, numbers: core::ops::Range<u8>) -> u8 {
    let first = numbers.start;
    let mut is_sent = |number: u8| match writer.send_large(&packet(number)) {
        Some(Ok(())) => true,
        Some(Err(Miss::Full)) | None => false,
        Some(Err(miss)) => panic!("{miss:?}"),
    };
    let sent = numbers.map_while(|number| is_sent(number).then_some(number)).last();
    sent.map_or(0, |last| last + 1 - first)
}

#[test]
fn an_extent_is_not_written_to_under_its_reader() {
    Check::at_least(27, 42).run(|| {
        // One extent only: the second packet needs the first one's.
        let world = Shape { extents: 1, ..Shape::new(2, 2) }.build();
        let (mut writer, mut reader) = (world.writer(0), world.reader(1));
        assert!(world.extents().has_free());
        assert_eq!(send(&mut writer, 0..2), 1);
        assert!(!world.extents().has_free());
        // It tries more often than it can succeed.
        let sender = thread::spawn(move || {
            let first = send(&mut writer, 1..3);
            first + send(&mut writer, 1 + first..3)
        });
        let mut received: Vec<_> = (0..2).filter_map(|_| reader.receive().ok()).collect();
        let sent = sender.join().expect("the writer ends");
        received.extend(reader.drain());
        let expected: Vec<_> = (0..=sent).map(packet).collect();
        assert_eq!(received, expected);
        assert!(world.extents().has_free());
        world.audit();
    });
}

#[test]
fn two_writers_never_get_the_same_extent() {
    Check::at_least(17, 80).newest_preemptions(3).run(|| {
        let world = Shape { extents: 2, ..Shape::new(2, 3) }.build();
        let (mut one, mut two, mut reader) = (world.writer(0), world.writer(1), world.reader(2));
        let other = thread::spawn(move || send(&mut one, 1..2));
        assert_eq!(send(&mut two, 2..3), 1);
        assert_eq!(other.join().expect("the other writer ends"), 1);
        let mut received = reader.drain();
        received.sort();
        assert_eq!(received, [packet(1), packet(2)]);
        world.audit();
    });
}

#[test]
fn a_part_that_was_read_in_the_slot_is_read_before_the_extent_is_used_again() {
    Check::at_least(34, 270).newest_preemptions(3).run(|| {
        let world = Shape { extents: 1, ..Shape::new(1, 3) }.build();
        let (mut writer, mut one, mut two) = (world.writer(0), world.reader(1), world.reader(2));
        assert_eq!(send(&mut writer, 1..2), 1);
        let other = thread::spawn(move || {
            let rest = two.receive().expect("a packet is there until somebody takes it");
            let sent = send(&mut writer, 2..3);
            assert_eq!(sent, 1, "the slot and the extent are free");
            rest
        });
        let part = one.consume_of_large(4);
        let rest = other.join().expect("the others end");
        match part {
            Ok(bytes) if bytes == [1; 4] => assert!(rest.len() == 6 || rest.len() == 10),
            Ok(bytes) => assert_eq!(bytes, [2; 4]),
            Err(miss) => assert!(matches!(miss, Miss::Empty | Miss::Lost)),
        }
        world.audit();
    });
}

#[test]
fn a_confirmed_look_into_an_extent_never_sees_a_later_packet() {
    Check::at_least(320, 1900).newest_preemptions(3).run(|| {
        let world = Shape { extents: 1, ..Shape::new(1, 3) }.build();
        let (mut writer, mut taker, mut reader) = (world.writer(0), world.reader(1), world.reader(2));
        assert_eq!(send(&mut writer, 1..2), 1);
        let taker = thread::spawn(move || assert_eq!(taker.receive(), Ok(packet(1))));
        let sender = thread::spawn(move || send(&mut writer, 2..3));
        match reader.look_into_large() {
            Ok(bytes) => assert!(bytes == packet(1) || bytes == packet(2), "{bytes:?}"),
            Err(miss) => assert!(matches!(miss, Miss::Empty | Miss::Lost)),
        }
        taker.join().expect("the taker ends");
        sender.join().expect("the writer ends");
        world.audit();
    });
}
