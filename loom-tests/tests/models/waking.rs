//! Nobody sleeps while there is something to do.
//!
//! There are no time-outs in the models, so that a lost wake-up ends as a deadlock.

use loom::thread;

use crate::check::Check;
use crate::participant::Participant;
use crate::ring::Miss;
use crate::world::Shape;

fn send_waiting(writer: &mut Participant, message: &[u8]) {
    loop {
        match writer.send(message) {
            Ok(()) => break,
            Err(Miss::Full) => writer.sleep_until_room(),
            Err(miss) => panic!("{miss:?}"),
        }
    }
    writer.wake_one_reader();
}

fn receive_waiting(reader: &mut Participant) -> Vec<u8> {
    let message = loop {
        match reader.receive() {
            Ok(message) => break message,
            Err(Miss::Empty) => reader.sleep_until_data(),
            Err(miss) => panic!("{miss:?}"),
        }
    };
    reader.wake_one_writer();
    message
}

#[test]
fn a_sleeping_reader_wakes_for_each_message() {
    Check::at_least(570, 3000).newest_preemptions(4).run(|| {
        let world = Shape::new(2, 2).build();
        let (mut writer, mut reader) = (world.writer(0), world.reader(1));
        let sender = thread::spawn(move || {
            send_waiting(&mut writer, &[1]);
            send_waiting(&mut writer, &[2]);
        });
        assert_eq!([receive_waiting(&mut reader), receive_waiting(&mut reader)], [[1], [2]]);
        sender.join().expect("the writer ends");
        world.audit();
    });
}

#[test]
fn a_reader_that_sleeps_wakes_whatever_the_writer_did_last() {
    Check::at_least(70, 300).run(|| {
        let world = Shape::new(2, 2).build();
        let (mut writer, mut reader) = (world.writer(0), world.reader(1));
        let sender = thread::spawn(move || {
            writer.send(&[1]).expect("there is room");
            writer.wake_one_reader_later();
        });
        assert_eq!(receive_waiting(&mut reader), [1]);
        sender.join().expect("the writer ends");
        world.audit();
    });
}

#[test]
fn a_sleeping_writer_wakes_when_there_is_room() {
    Check::at_least(2100, 1600).newest_preemptions(4).stale_preemptions(2).run(|| {
        let world = Shape::new(1, 2).build();
        let (mut writer, mut reader) = (world.writer(0), world.reader(1));
        let sender = thread::spawn(move || {
            send_waiting(&mut writer, &[1]);
            send_waiting(&mut writer, &[2]);
        });
        assert_eq!([receive_waiting(&mut reader), receive_waiting(&mut reader)], [[1], [2]]);
        sender.join().expect("the writer ends");
        world.audit();
    });
}

#[test]
fn two_messages_wake_two_sleeping_readers() {
    Check::at_least(1900, 9100).newest_preemptions(3).stale_preemptions(2).run(|| {
        let world = Shape::new(2, 3).build();
        let (mut writer, mut one, mut two) = (world.writer(0), world.reader(1), world.reader(2));
        let one = thread::spawn(move || receive_waiting(&mut one));
        let two = thread::spawn(move || receive_waiting(&mut two));
        send_waiting(&mut writer, &[1]);
        send_waiting(&mut writer, &[2]);
        let mut received = [one.join().expect("reader 1 ends"), two.join().expect("reader 2 ends")];
        received.sort();
        assert_eq!(received, [[1], [2]]);
        world.audit();
    });
}

#[test]
fn two_who_go_to_sleep_late_are_both_woken() {
    Check::at_least(2500, 9900).newest_preemptions(3).stale_preemptions(2).run(|| {
        let world = Shape::new(2, 3).build();
        let (mut writer, mut one, mut two) = (world.writer(0), world.reader(1), world.reader(2));
        let (one_armed, two_armed) = (one.arm_and_look(), two.arm_and_look());
        let (Some(one_armed), Some(two_armed)) = (one_armed, two_armed) else { panic!("nothing was sent yet") };
        let one = thread::spawn(move || {
            one.sleep(one_armed);
            receive_waiting(&mut one)
        });
        let two = thread::spawn(move || {
            two.sleep(two_armed);
            receive_waiting(&mut two)
        });
        send_waiting(&mut writer, &[1]);
        send_waiting(&mut writer, &[2]);
        let mut received = [one.join().expect("reader 1 ends"), two.join().expect("reader 2 ends")];
        received.sort();
        assert_eq!(received, [[1], [2]]);
    });
}

#[test]
fn messages_of_two_writers_wake_two_sleeping_readers() {
    Check::at_least(1200, 2800).newest_preemptions(2).stale_preemptions(1).run(|| {
        let world = Shape::new(2, 4).build();
        let (mut first, mut second) = (world.writer(0), world.writer(1));
        let (mut one, mut two) = (world.reader(2), world.reader(3));
        let one = thread::spawn(move || receive_waiting(&mut one));
        let two = thread::spawn(move || receive_waiting(&mut two));
        let sender = thread::spawn(move || send_waiting(&mut first, &[1]));
        send_waiting(&mut second, &[2]);
        sender.join().expect("the other writer ends");
        let mut received = [one.join().expect("reader 1 ends"), two.join().expect("reader 2 ends")];
        received.sort();
        assert_eq!(received, [[1], [2]]);
        world.audit();
    });
}

/// A sleeper that does not look again after it has said that it sleeps; what the model must find.
#[test]
#[should_panic(expected = "deadlock")]
fn who_does_not_look_again_may_sleep_for_ever() {
    Check::at_least(1, 1).run(|| {
        let world = Shape::new(2, 2).build();
        let (mut writer, mut reader) = (world.writer(0), world.reader(1));
        let sender = thread::spawn(move || send_waiting(&mut writer, &[1]));
        while reader.receive().is_err() {
            reader.sleep_without_another_look();
        }
        sender.join().expect("the writer ends");
    });
}
