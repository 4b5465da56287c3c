//! What a reader sees of a page that it does not own is right if a load says so afterwards.

use loom::thread;

use crate::check::Check;
use crate::participant::Participant;
use crate::ring::Miss;
use crate::slot::{Content, Span};
use crate::world::Shape;

/// The bytes at tail, without taking them. `None` if somebody else was faster.
fn look(reader: &mut Participant) -> Option<Vec<u8>> {
    let seen = match reader.front() {
        Ok(seen) => seen,
        Err(Miss::Empty) => return None,
        Err(miss) => panic!("{miss:?}"),
    };
    let (Content::Stream(span) | Content::Packet(span)) = seen.content() else { panic!("neither stream nor packet") };
    let (bytes, peek) = reader.peek(&seen, Span { start: span.start, end: span.end });
    reader.confirm(&seen, peek).ok()?;
    Some(bytes)
}

#[test]
fn a_confirmed_look_never_sees_what_the_page_held_later() {
    Check::at_least(40, 82).run(|| {
        let world = Shape::new(2, 2).build();
        let (mut writer, mut reader) = (world.writer(0), world.reader(1));
        writer.publish_stream(&[1, 2]).expect("there is room");
        // The merge gets the page back that the reader may be looking at, and the packet is written over it.
        let writer = thread::spawn(move || {
            writer.try_merge(&[3]).expect("a stream slot").expect("nobody takes");
            writer.send(&[9, 9, 9]).expect("there is room");
        });
        let seen = look(&mut reader);
        assert!(seen.is_none() || seen == Some(vec![1, 2]) || seen == Some(vec![1, 2, 3]), "{seen:?}");
        writer.join().expect("the writer ends");
        assert_eq!(look(&mut reader), Some(vec![1, 2, 3]));
        world.audit();
    });
}

#[test]
fn a_confirmed_look_sees_what_was_published() {
    Check::at_least(4, 4).run(|| {
        let world = Shape::new(1, 2).build();
        let (mut writer, mut reader) = (world.writer(0), world.reader(1));
        let writer = thread::spawn(move || writer.send(&[1, 2]).expect("there is room"));
        let seen = look(&mut reader);
        assert!(seen.is_none() || seen == Some(vec![1, 2]), "{seen:?}");
        writer.join().expect("the writer ends");
    });
}

#[test]
fn a_look_against_takes_and_reuse_sees_one_message_whole() {
    Check::at_least(60, 3100).newest_preemptions(3).run(|| {
        let world = Shape::new(1, 3).build();
        let (mut writer, mut taker, mut reader) = (world.writer(0), world.reader(1), world.reader(2));
        writer.send(&[1, 1]).expect("there is room");
        let other = thread::spawn(move || {
            // In a ring of one slot three pages take turns: the third message is written where the first one was.
            for number in 2..=4 {
                taker.receive().expect("a message");
                writer.send(&[number, number]).expect("there is room");
            }
        });
        if let Some(seen) = look(&mut reader) {
            assert!(seen[0] == seen[1] && (1..=4).contains(&seen[0]), "{seen:?}");
        }
        other.join().expect("the others end");
        assert_eq!(look(&mut reader), Some(vec![4, 4]));
        world.audit();
    });
}
