//! Stream bytes that are merged into the last slot arrive once and in order, whatever happens to that slot meanwhile.

use loom::thread;

use crate::check::Check;
use crate::participant::Participant;
use crate::ring::Miss;
use crate::world::Shape;

fn write(writer: &mut Participant, bytes: &[u8]) {
    for &byte in bytes {
        writer.write_stream(&[byte]).expect("there is room");
    }
}

/// Takes whole slots, so many times at most.
fn take(reader: &mut Participant, tries: usize) -> Vec<u8> {
    bytes_of(tries, || reader.receive())
}

/// Reads single bytes, so many times at most.
fn consume(reader: &mut Participant, tries: usize) -> Vec<u8> {
    bytes_of(tries, || reader.consume_one().map(|byte| vec![byte]))
}

fn bytes_of(tries: usize, mut read: impl FnMut() -> Result<Vec<u8>, Miss>) -> Vec<u8> {
    let read_one = |_| match read() {
        Ok(bytes) => bytes,
        Err(Miss::Empty) => Vec::new(),
        Err(miss) => panic!("{miss:?}"),
    };
    (0..tries).flat_map(read_one).collect()
}

#[test]
fn a_merge_against_a_take_loses_nothing() {
    Check::at_least(370, 270).run(|| {
        let world = Shape::new(2, 2).build();
        let mut writer = world.writer(0);
        writer.publish_stream(&[1, 2]).expect("there is room");
        let merger = thread::spawn(move || write(&mut writer, &[3, 4]));
        let mut read = take(&mut world.reader(1), 2);
        merger.join().expect("the writer ends");
        read.extend(world.reader(1).drain().concat());
        assert_eq!(read, [1, 2, 3, 4]);
        world.audit();
    });
}

#[test]
fn a_merge_against_a_partial_read_loses_nothing() {
    Check::at_least(680, 1900).newest_preemptions(4).run(|| {
        let world = Shape::new(2, 2).build();
        let mut writer = world.writer(0);
        writer.publish_stream(&[1, 2]).expect("there is room");
        let merger = thread::spawn(move || write(&mut writer, &[3, 4]));
        let mut read = consume(&mut world.reader(1), 3);
        merger.join().expect("the writer ends");
        read.extend(world.reader(1).drain().concat());
        assert_eq!(read, [1, 2, 3, 4]);
        world.audit();
    });
}

#[test]
fn two_merges_into_one_slot_both_arrive() {
    Check::at_least(320, 6900).newest_preemptions(3).run(|| {
        let world = Shape::new(2, 3).build();
        let (mut one, mut two) = (world.writer(0), world.writer(1));
        one.publish_stream(&[1]).expect("there is room");
        let other = thread::spawn(move || write(&mut two, &[20, 21]));
        write(&mut one, &[10, 11]);
        other.join().expect("the other writer ends");
        let read = world.reader(2).drain().concat();
        let of = |first: u8| read.iter().copied().filter(|byte| byte / 10 == first).collect::<Vec<_>>();
        assert_eq!((read[0], read.len(), of(1), of(2)), (1, 5, vec![10, 11], vec![20, 21]));
        world.audit();
    });
}

#[test]
fn two_merges_and_a_partial_read_lose_nothing() {
    Check::at_least(1900, 11_400).newest_preemptions(3).stale_preemptions(2).run(|| {
        let world = Shape::new(2, 3).build();
        let (mut one, mut two) = (world.writer(0), world.writer(1));
        one.publish_stream(&[1, 2]).expect("there is room");
        let one = thread::spawn(move || write(&mut one, &[3]));
        let two = thread::spawn(move || write(&mut two, &[4]));
        let mut read = consume(&mut world.reader(2), 2);
        one.join().expect("writer 1 ends");
        two.join().expect("writer 2 ends");
        read.extend(world.reader(2).drain().concat());
        assert!(read == [1, 2, 3, 4] || read == [1, 2, 4, 3], "{read:?}");
        world.audit();
    });
}

#[test]
fn a_later_merge_continues_the_prefix_that_it_finds_in_the_own_page() {
    Check::at_least(360, 1100).newest_preemptions(4).run(|| {
        let world = Shape::new(2, 2).build();
        let mut writer = world.writer(0);
        writer.publish_stream(&[1]).expect("there is room");
        // The third merge is into the page of the first, which holds a part of what it needs.
        let merger = thread::spawn(move || write(&mut writer, &[2, 3, 4]));
        let mut read = consume(&mut world.reader(1), 2);
        merger.join().expect("the writer ends");
        read.extend(world.reader(1).drain().concat());
        assert_eq!(read, [1, 2, 3, 4]);
        world.audit();
    });
}

#[test]
fn a_copied_prefix_is_used_for_the_slot_that_it_came_from_only() {
    Check::at_least(47, 360).newest_preemptions(3).run(|| {
        let world = Shape::new(2, 3).build();
        let (mut one, mut two) = (world.writer(0), world.writer(1));
        write(&mut one, &[1, 2]);
        let merger = thread::spawn(move || write(&mut one, &[3]));
        let mut read = take(&mut world.reader(2), 1);
        two.publish_stream(&[41, 42]).expect("there is room");
        merger.join().expect("the writer ends");
        read.extend(world.reader(2).drain().concat());
        assert!(read == [1, 2, 3, 41, 42] || read == [1, 2, 41, 42, 3], "{read:?}");
        world.audit();
    });
}

#[test]
fn a_page_that_was_filled_in_vain_holds_no_prefix() {
    Check::at_least(16, 42).run(|| {
        let world = Shape::new(1, 2).build();
        let mut writer = world.writer(0);
        write(&mut writer, &[1, 2]);
        // The ring is full: the packet goes no further than the own page, which held the prefix from the last merge.
        assert_eq!(writer.send(&[9]), Err(Miss::Full));
        let merger = thread::spawn(move || writer.try_merge(&[3]));
        let mut read = take(&mut world.reader(1), 1);
        if merger.join().expect("the writer ends") == Some(Ok(())) {
            read.extend(world.reader(1).drain().concat());
            assert_eq!(read, [1, 2, 3]);
        }
        world.audit();
    });
}
