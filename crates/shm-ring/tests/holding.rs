//! Finding out which page a dead participant owned, case by case.

use shm_ring::holding::{Holding, Record, page_of_the_dead};
use shm_ring::slot::{Content, Fields, Slot};
use shm_ring::sync::AtomicU64;

fn page_of(dead: Holding, slot_page: u32, other: Holding) -> Option<u32> {
    let fields = Fields::new(64, 1, 4).expect("room for a lap");
    let slots = [AtomicU64::new(fields.encode(Slot { lap: 0, page: slot_page, content: Content::Empty }))];
    let (dead, other) = (AtomicU64::new(dead.encode()), AtomicU64::new(other.encode()));
    page_of_the_dead(Record(&dead), &slots, fields, [Record(&other)].into_iter())
}

#[test]
fn one_sighting_of_either_page_tells_which_one_is_owned() {
    let pending = Holding::Pending { offered: 1, expected: 2 };
    assert_eq!(page_of(Holding::Settled(3), 0, Holding::Settled(1)), Some(3));
    assert_eq!(page_of(pending, 1, Holding::Settled(0)), Some(2), "offered page is in the slot");
    assert_eq!(page_of(pending, 2, Holding::Settled(0)), Some(1), "expected page is still in the slot");
    assert_eq!(page_of(pending, 0, Holding::Settled(1)), Some(2), "somebody took the offered page");
    assert_eq!(page_of(pending, 0, Holding::Settled(2)), Some(1), "somebody took the expected page");
    assert_eq!(page_of(pending, 0, Holding::Pending { offered: 3, expected: 1 }), None, "on its way");
}
