//! Every operation against every other one: whatever two participants do at once, each byte is read once, and every page has its place; also
//! if one of them is killed before any of its accesses to shared memory, but for what that one was doing.
//!
//! What a pair has to fear in particular has models of its own, in the other files; `docs/pairs.md` says which. Here is that no pair was forgotten.

use loom::thread;

use crate::check::{Check, at_every_step};
use crate::machine::death::killed_at_step;
use crate::participant::Participant;
use crate::ring::Miss;
use crate::slot::Content;
use crate::world::Shape;

/// What one participant does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Send,
    SendLarge,
    Append,
    Take,
    Consume,
    Look,
    Count,
    Resize,
}

const DEEDS: [Deed; 8] =
    [Deed::Send, Deed::SendLarge, Deed::Append, Deed::Take, Deed::Consume, Deed::Look, Deed::Count, Deed::Resize];

/// What is in the pipe when they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    StreamBytes,
    LargePacket,
}

const LARGE: usize = 10;

/// What came of it: bytes that were written for certain, and bytes that were read.
#[derive(Default)]
struct Outcome {
    written: Vec<u8>,
    read: Vec<u8>,
}

fn wrote(bytes: Vec<u8>, result: Result<(), Miss>) -> Outcome {
    match result {
        Ok(()) => Outcome { written: bytes, ..Outcome::default() },
        Err(Miss::Full) => Outcome::default(),
        Err(miss) => panic!("{miss:?}"),
    }
}

fn read(result: Result<Vec<u8>, Miss>) -> Outcome {
    match result {
        Ok(read) => Outcome { read, ..Outcome::default() },
        Err(Miss::Empty) => Outcome::default(),
        Err(miss) => panic!("{miss:?}"),
    }
}

/// Does it once, with bytes that are `own`.
fn act(deed: Deed, one: &mut Participant, own: u8, before: Before) -> Outcome {
    match deed {
        Deed::Send => wrote(vec![own; 3], one.send(&[own; 3])),
        Deed::SendLarge => wrote(vec![own; LARGE], one.send_large(&[own; LARGE]).expect("a free extent")),
        Deed::Append => wrote(vec![own], one.write_stream(&[own])),
        Deed::Take => read(one.receive()),
        Deed::Consume if before == Before::StreamBytes => read(one.consume_one().map(|byte| vec![byte])),
        Deed::Consume => read(consume_of_large(one)),
        Deed::Look => {
            look(one);
            Outcome::default()
        }
        Deed::Count => {
            // Others may change it all the time.
            let most = 2 * LARGE as u64;
            assert!(one.unread().is_none_or(|count| count <= most));
            Outcome::default()
        }
        Deed::Resize => {
            assert_eq!(one.resize(2), Ok(()));
            Outcome::default()
        }
    }
}

fn consume_of_large(one: &mut Participant) -> Result<Vec<u8>, Miss> {
    loop {
        match one.front()?.content() {
            Content::Large { .. } => match one.consume_of_large(3) {
                Err(Miss::Lost | Miss::Moved) => {}
                done => return done,
            },
            _ => return Ok(Vec::new()),
        }
    }
}

/// Looks at what is at tail; where that has not changed it is what was written.
fn look(one: &mut Participant) {
    let Ok(seen) = one.front() else { return };
    let (Content::Stream(span) | Content::Packet(span)) = seen.content() else { return };
    let (bytes, peek) = one.peek(&seen, span);
    if one.confirm(&seen, peek).is_ok() {
        assert!(bytes.iter().all(|&byte| byte > 0), "{bytes:?} was never written");
    }
}

/// So far that nobody gets there.
const NEVER: u32 = u32::MAX;

/// Runs both at once, the first one until its doom, and reads what is left. Whether somebody was killed.
fn both(deeds: [Deed; 2], before: Before, doom: u32) -> bool {
    let moves = deeds.contains(&Deed::Resize);
    let (ring_size, max_ring_size) = if moves { (1, 2) } else { (2, 2) };
    let world = Shape { max_ring_size, extents: 4, ..Shape::new(ring_size, 3) }.build();
    let mut expected = match before {
        Before::StreamBytes => {
            world.writer(2).publish_stream(&[1, 2]).expect("room");
            vec![1, 2]
        }
        Before::LargePacket => {
            world.writer(2).send_large(&[1; LARGE]).expect("an extent").expect("room");
            vec![1; LARGE]
        }
    };
    let [mut one, mut two] = [0, 1].map(|entry| {
        let is_writer = matches!(deeds[entry], Deed::Send | Deed::SendLarge | Deed::Append);
        if is_writer { world.writer(entry as u32) } else { world.reader(entry as u32) }
    });
    let other = thread::spawn(move || act(deeds[1], &mut two, 20, before));
    let outcome = killed_at_step(doom, || act(deeds[0], &mut one, 10, before));
    let of_other = other.join().expect("it ends");
    let was_killed = outcome.is_none();
    if was_killed {
        assert!(world.reap(0).is_some(), "all is quiet, and still nobody knows what the dead one owned: {deeds:?}");
    }
    // What was there and is missing may have been read by the dead one; what is there too many it may have written.
    let may_have_read = was_killed && matches!(deeds[0], Deed::Take | Deed::Consume);
    let outcome = outcome.unwrap_or_default();
    let mut arrived = [outcome.read, of_other.read, world.reader(2).drain().concat()].concat();
    arrived.retain(|&byte| !(was_killed && byte == 10));
    expected.extend(outcome.written);
    expected.extend(of_other.written);
    arrived.sort_unstable();
    expected.sort_unstable();
    if may_have_read {
        for byte in arrived {
            let at = expected.iter().position(|&other| other == byte);
            expected.remove(at.unwrap_or_else(|| panic!("{byte} was read twice: {deeds:?}")));
        }
    } else {
        assert_eq!(arrived, expected, "{deeds:?}");
    }
    world.audit();
    assert!((0..4).all(|_| world.extents().claim(7).is_some()), "an extent is lost: {deeds:?}");
    was_killed
}

fn every_pair(before: Before) {
    let pairs = DEEDS.iter().enumerate().flat_map(|(index, &one)| DEEDS[index..].iter().map(move |&two| [one, two]));
    for deeds in pairs {
        Check::at_least(1, 1).newest_preemptions(3).stale_preemptions(2).run(move || _ = both(deeds, before, NEVER));
    }
}

/// Those who look change nothing, and so it is nothing to the others where they die.
fn every_pair_with_a_death(before: Before) {
    for one in DEEDS.into_iter().filter(|deed| !matches!(deed, Deed::Look | Deed::Count)) {
        let executions: usize =
            DEEDS.iter().map(|&two| at_every_step(2, move |doom| both([one, two], before, doom))).sum();
        assert!(executions >= 50, "only {executions} executions with a death in {one:?}");
    }
}

#[test]
fn whatever_two_do_at_once_in_a_stream_every_byte_is_read_once() {
    every_pair(Before::StreamBytes);
}

#[test]
fn whatever_two_do_at_once_at_a_large_packet_every_byte_is_read_once() {
    every_pair(Before::LargePacket);
}

#[test]
fn whoever_is_killed_in_a_stream_beside_whatever_another_one_does_costs_its_own_operation_alone() {
    every_pair_with_a_death(Before::StreamBytes);
}

#[test]
fn whoever_is_killed_at_a_large_packet_beside_whatever_another_one_does_costs_its_own_operation_alone() {
    every_pair_with_a_death(Before::LargePacket);
}
