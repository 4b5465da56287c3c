//! Messages arrive whole, once, and in each writer's order.

use std::rc::Rc;

use loom::thread;

use crate::check::Check;
use crate::participant::Participant;
use crate::ring::Miss;
use crate::world::{Shape, World};

/// Message number `number` of writer `writer`, its content in each of its bytes.
fn message(writer: u8, number: u8) -> Vec<u8> {
    vec![16 * writer + number; 2 + usize::from(number)]
}

/// Tries to send `count` messages, in order; gives up at the first that does not fit. How many were sent.
fn send(writer: &mut Participant, name: u8, count: u8) -> u8 {
    (0..count).take_while(|&number| sent(writer.send(&message(name, number)))).count() as u8
}

fn sent(result: Result<(), Miss>) -> bool {
    match result {
        Ok(()) => true,
        Err(Miss::Full) => false,
        Err(miss) => panic!("{miss:?}"),
    }
}

type Way = fn(&mut Participant) -> Result<Vec<u8>, Miss>;

/// Tries to receive, so many times, this way.
fn receive_by(way: Way, reader: &mut Participant, tries: usize) -> Vec<Vec<u8>> {
    (0..tries)
        .filter_map(|_| match way(reader) {
            Ok(message) => Some(message),
            Err(Miss::Empty) => None,
            Err(miss) => panic!("{miss:?}"),
        })
        .collect()
}

fn receive(reader: &mut Participant, tries: usize) -> Vec<Vec<u8>> {
    receive_by(Participant::receive, reader, tries)
}

/// Checks that `received` is exactly the first `sent` messages of `writer`, in order.
fn all_of(received: &[Vec<u8>], writer: u8, sent: u8) {
    let of_writer: Vec<_> = received.iter().filter(|message| message[0] / 16 == writer).cloned().collect();
    let expected: Vec<_> = (0..sent).map(|number| message(writer, number)).collect();
    assert_eq!(of_writer, expected, "what writer {writer} sent");
}

fn drained(world: &Rc<World>, entry: u32) -> Vec<Vec<u8>> {
    world.reader(entry).drain()
}

#[test]
fn one_reader_gets_whole_messages_in_order() {
    let (long, short): (Way, Way) = (Participant::receive, Participant::receive_packet);
    for (ring_size, way) in [(1, long), (2, long), (1, short), (2, short)] {
        Check::at_least(25, 44).run(move || {
            let world = Shape::new(ring_size, 3).build();
            let mut writer = world.writer(0);
            let sender = thread::spawn(move || send(&mut writer, 1, 3));
            let mut received = receive_by(way, &mut world.reader(1), 2);
            let sent = sender.join().expect("the writer ends");
            received.extend(drained(&world, 1));
            all_of(&received, 1, sent);
            assert!(sent >= 1);
            world.audit();
        });
    }
}

#[test]
fn messages_of_two_writers_arrive_in_the_order_of_each() {
    Check::at_least(380, 6500).newest_preemptions(3).run(|| {
        let world = Shape::new(2, 3).build();
        let (mut one, mut two) = (world.writer(0), world.writer(1));
        let one = thread::spawn(move || send(&mut one, 1, 2));
        let two = thread::spawn(move || send(&mut two, 2, 1));
        let mut received = receive(&mut world.reader(2), 2);
        let sent = (one.join().expect("writer 1 ends"), two.join().expect("writer 2 ends"));
        received.extend(drained(&world, 2));
        all_of(&received, 1, sent.0);
        all_of(&received, 2, sent.1);
        world.audit();
    });
}

#[test]
fn two_readers_share_messages_without_loss_or_repetition() {
    Check::at_least(680, 3200).newest_preemptions(3).stale_preemptions(2).run(|| {
        let world = Shape::new(2, 3).build();
        let mut writer = world.writer(0);
        let (mut one, mut two) = (world.reader(1), world.reader(2));
        let one = thread::spawn(move || receive(&mut one, 1));
        let two = thread::spawn(move || receive(&mut two, 2));
        let sent = send(&mut writer, 1, 3);
        let (one, two) = (one.join().expect("reader 1 ends"), two.join().expect("reader 2 ends"));
        assert!(two.is_sorted(), "each reader sees the writer's order");
        let mut received = [one, two, drained(&world, 1)].concat();
        received.sort();
        all_of(&received, 1, sent);
        world.audit();
    });
}
