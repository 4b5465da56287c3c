//! Whether the ring is empty or full is decided right: who knows of a message finds it, who knows of room gets it.

use std::rc::Rc;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use crate::check::Check;
use crate::ring::Miss;
use crate::world::Shape;

/// News that reach another thread by another way than the ring.
#[derive(Clone)]
struct News(Rc<AtomicBool>);

impl News {
    fn new() -> Self {
        Self(Rc::new(AtomicBool::new(false)))
    }

    fn tell(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn heard(&self) -> bool {
        // A read-modify-write, for the reason that `machine::atomic` gives.
        self.0.fetch_or(false, Ordering::Acquire)
    }
}

#[test]
fn who_knows_of_a_message_does_not_find_the_ring_empty() {
    Check::at_least(220, 1000).newest_preemptions(3).run(|| {
        let world = Shape::new(2, 3).build();
        let news = News::new();
        let (mut one, mut two, told) = (world.writer(0), world.writer(1), news.clone());
        let one = thread::spawn(move || {
            one.send(&[1]).expect("there is room");
            told.tell();
        });
        let two = thread::spawn(move || two.send(&[2]).expect("there is room"));
        let is_known = news.heard();
        let received = world.reader(2).receive();
        assert!(received.is_ok() || !is_known, "{received:?}");
        one.join().expect("writer 1 ends");
        two.join().expect("writer 2 ends");
        assert_eq!(world.reader(2).drain().len() + usize::from(received.is_ok()), 2);
    });
}

#[test]
fn a_reader_whose_place_another_one_has_drained_finds_the_next_message() {
    Check::at_least(180, 700).newest_preemptions(3).run(|| {
        let world = Shape::new(2, 3).build();
        let news = News::new();
        let (mut writer, mut other, told) = (world.writer(0), world.reader(1), news.clone());
        let mut late = world.reader(2);
        writer.send(&[1]).expect("there is room");
        let other = thread::spawn(move || usize::from(other.receive_packet().is_ok()));
        let writer = thread::spawn(move || {
            writer.send(&[2]).expect("there is room");
            told.tell();
        });
        let is_known = news.heard();
        let received = late.receive_packet();
        assert!(received.is_ok() || !is_known, "two messages and two readers, but {received:?}");
        writer.join().expect("the writer ends");
        let taken = other.join().expect("the other reader ends");
        assert_eq!(late.drain().len() + usize::from(received.is_ok()) + taken, 2);
    });
}

#[test]
fn who_knows_of_room_does_not_find_the_ring_full() {
    for ring_size in [1, 2] {
        Check::at_least(16, 50).newest_preemptions(3).run(move || {
            let world = Shape::new(ring_size, 3).build();
            let news = News::new();
            let (mut one, mut two) = (world.writer(0), world.writer(1));
            for _ in 0..ring_size {
                one.send(&[1]).expect("there is room");
            }
            assert!(two.is_full());
            assert_eq!(two.send(&[2]), Err(Miss::Full));
            let (mut reader, told) = (world.reader(2), news.clone());
            let reader = thread::spawn(move || {
                for _ in 0..ring_size {
                    reader.receive().expect("the ring is full");
                }
                told.tell();
            });
            // With two slots another writer races for the room.
            let other = (ring_size == 2).then(|| thread::spawn(move || one.send(&[3])));
            let is_known = news.heard();
            let is_full = two.is_full();
            let sent = two.send(&[4]);
            assert!(!is_known || (sent.is_ok() && !is_full), "{sent:?}, is_full: {is_full}");
            reader.join().expect("the reader ends");
            if let Some(other) = other {
                let other = other.join().expect("the other writer ends");
                assert!(!is_known || other.is_ok() || sent.is_ok());
            }
            world.audit();
        });
    }
}

#[test]
fn of_two_readers_one_gets_the_only_message() {
    Check::at_least(11, 28).run(|| {
        let world = Shape::new(2, 3).build();
        world.writer(0).send(&[1]).expect("there is room");
        let (mut one, mut two) = (world.reader(1), world.reader(2));
        let other = thread::spawn(move || one.receive_packet());
        let results = [two.receive_packet(), other.join().expect("the other reader ends")];
        assert!(results.contains(&Ok(vec![1])) && results.contains(&Err(Miss::Empty)), "{results:?}");
        world.audit();
    });
}

#[test]
fn of_two_writers_one_gets_the_only_slot() {
    Check::at_least(11, 28).run(|| {
        let world = Shape::new(1, 3).build();
        let (mut one, mut two) = (world.writer(0), world.writer(1));
        let other = thread::spawn(move || one.send(&[1]));
        let results = [two.send(&[2]), other.join().expect("the other writer ends")];
        assert!(results.contains(&Ok(())) && results.contains(&Err(Miss::Full)), "{results:?}");
        assert_eq!(world.reader(2).drain().len(), 1);
        world.audit();
    });
}

#[test]
fn half_full_is_what_the_slots_say() {
    for (position, occupied) in (0..12).flat_map(|position| (0..=4).map(move |occupied| (position, occupied))) {
        Check::at_least(1, 1).run(move || {
            let world = Shape { position, ..Shape::new(4, 2) }.build();
            let mut writer = world.writer(0);
            for number in 0..occupied {
                writer.send(&[number]).expect("there is room");
            }
            assert_eq!(writer.is_less_than_half_full(), occupied < 2, "{occupied} of 4 slots at {position}");
            assert_eq!(world.reader(1).is_half_full(), occupied >= 2, "{occupied} of 4 slots at {position}");
            if occupied > 0 {
                world.reader(1).receive().expect("there is a message");
                assert_eq!(
                    writer.is_less_than_half_full(),
                    occupied - 1 < 2,
                    "{occupied} of 4 slots but one at {position}"
                );
            }
        });
    }
}
