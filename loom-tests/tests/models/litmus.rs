//! Why the simulated machine does not use loom's atomics as they are.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use loom::sync::atomic as simulated;

use crate::check::Check;
use crate::sync::{AtomicU64, Ordering};

/// One thread loads a word while another one loads it and then exchanges 0 for 1. What the first one saw, in all executions.
fn seen_by_a_load<W: 'static>(
    check: impl FnOnce(Box<dyn Fn() + Send + Sync>),
    word: fn() -> W,
    load: fn(&W) -> u64,
    exchange: fn(&W),
) -> BTreeSet<u64> {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let values = Arc::clone(&seen);
    check(Box::new(move || {
        let word = Rc::new(word());
        let other = Rc::clone(&word);
        let exchanger = loom::thread::spawn(move || {
            if load(&other) == 0 {
                exchange(&other);
            }
        });
        values.lock().expect("no thread panicked").insert(load(&word));
        exchanger.join().expect("the exchanger ends");
    }));
    let values = seen.lock().expect("no thread panicked");
    values.clone()
}

#[test]
fn loom_alone_loses_the_interleavings_of_a_load_before_an_exchange() {
    let seen = seen_by_a_load(
        loom::model,
        || simulated::AtomicU64::new(0),
        |word| word.load(Ordering::Acquire),
        |word| _ = word.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed),
    );
    assert_eq!(seen, BTreeSet::from([0]), "loom has learned to see both values: the cures are not needed any more");
}

#[test]
fn both_forms_find_the_interleavings_that_loom_alone_loses() {
    let seen = seen_by_a_load(
        |model| Check::at_least(1, 1).run(model),
        || AtomicU64::new(0),
        |word| word.load(Ordering::Acquire),
        |word| _ = word.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed),
    );
    assert_eq!(seen, BTreeSet::from([0, 1]));
}
