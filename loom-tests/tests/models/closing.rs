//! The last writer leaves: whoever sees that it is gone sees all that it sent, and whoever sleeps is woken.
//!
//! Leaving is what `participant` does, with one word in place of the kernel's list of locks: an exchange that says so, and
//! a wake for all. And the end of the segment itself: of the last one out and the next one in, exactly one is first.

use std::rc::Rc;

use loom::thread;

use crate::check::Check;
use crate::participant::Participant;
use crate::ring::Miss;
use crate::sync::{AtomicU32, Ordering};
use crate::tenure::{Refused, Tenure};
use crate::world::Shape;

/// Everything until the end of the data.
fn read_to_the_end(reader: &mut Participant, gone: &AtomicU32) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        match reader.receive() {
            Ok(message) => received.extend(message),
            Err(Miss::Empty) if gone.load(Ordering::Acquire) != 0 => match reader.receive() {
                Ok(message) => received.extend(message),
                Err(Miss::Empty) => return received,
                Err(miss) => panic!("{miss:?}"),
            },
            Err(Miss::Empty) => reader.sleep_until_data_or(|| gone.load(Ordering::Acquire) != 0),
            Err(miss) => panic!("{miss:?}"),
        }
    }
}

fn leave(writer: &Participant, gone: &AtomicU32) {
    gone.fetch_add(1, Ordering::AcqRel);
    writer.wake_all_readers();
}

#[test]
fn the_end_comes_after_everything_that_was_sent() {
    Check::at_least(620, 5000).newest_preemptions(4).run(|| {
        let world = Shape::new(2, 2).build();
        let (mut writer, mut reader) = (world.writer(0), world.reader(1));
        let gone = Rc::new(AtomicU32::new(0));
        let said = Rc::clone(&gone);
        let writer = thread::spawn(move || {
            writer.send(&[1]).expect("there is room");
            writer.wake_one_reader();
            leave(&writer, &said);
        });
        assert_eq!(read_to_the_end(&mut reader, &gone), [1]);
        writer.join().expect("the writer ends");
    });
}

#[test]
fn the_end_wakes_every_sleeper() {
    Check::at_least(700, 1500).newest_preemptions(3).stale_preemptions(2).run(|| {
        let world = Shape::new(2, 3).build();
        let (writer, mut one, mut two) = (world.writer(0), world.reader(1), world.reader(2));
        let gone = Rc::new(AtomicU32::new(0));
        let (seen_by_one, seen_by_two) = (Rc::clone(&gone), Rc::clone(&gone));
        let one = thread::spawn(move || read_to_the_end(&mut one, &seen_by_one));
        let two = thread::spawn(move || read_to_the_end(&mut two, &seen_by_two));
        leave(&writer, &gone);
        assert!(one.join().expect("reader 1 ends").is_empty());
        assert!(two.join().expect("reader 2 ends").is_empty());
    });
}

/// A segment's tenure, and a word in place of the kernel's list of locks.
struct Gate {
    tenure: AtomicU32,
    locks: AtomicU32,
}

impl Gate {
    fn new(locks: u32) -> Rc<Self> {
        Rc::new(Self { tenure: AtomicU32::new(0), locks: AtomicU32::new(locks) })
    }

    /// As `Participant::join`: the lock first.
    fn join(&self) -> Result<(), Refused> {
        self.locks.fetch_add(1, Ordering::AcqRel);
        Tenure(&self.tenure).count_in().inspect_err(|_| self.unlock())
    }

    fn unlock(&self) {
        self.locks.fetch_add(u32::MAX, Ordering::AcqRel);
    }

    /// As `close_if_last` and `close_if_abandoned`: the count first. Whether the segment is closed now.
    fn close_if_abandoned(&self) -> bool {
        let tenure = Tenure(&self.tenure);
        let Some(count) = tenure.count() else { return true };
        self.locks.fetch_add(0, Ordering::AcqRel) == 0 && tenure.close(count)
    }
}

#[test]
fn nobody_is_in_a_segment_that_has_been_closed() {
    Check::at_least(10, 10).run(|| {
        let gate = Gate::new(1);
        let newcomer = Rc::clone(&gate);
        let newcomer = thread::spawn(move || newcomer.join().is_ok());
        // The last one out.
        gate.unlock();
        let is_closed = gate.close_if_abandoned();
        let is_in = newcomer.join().expect("it ends");
        assert!(!(is_closed && is_in), "closed under somebody");
        // Somebody who comes later finds out who was first.
        assert_eq!(gate.join(), if is_closed { Err(Refused::Closed) } else { Ok(()) });
    });
}

#[test]
fn who_came_and_went_while_a_segment_was_being_closed_leaves_it_to_be_closed() {
    Check::at_least(10, 10).run(|| {
        let gate = Gate::new(1);
        let visitor = Rc::clone(&gate);
        let visitor = thread::spawn(move || {
            visitor.join().is_err() || {
                visitor.unlock();
                visitor.close_if_abandoned()
            }
        });
        gate.unlock();
        let by_last = gate.close_if_abandoned();
        let by_visitor = visitor.join().expect("it ends");
        assert!(by_last || by_visitor, "both have gone, and nobody has closed");
    });
}
