//! Death at a chosen step.
//!
//! A doomed thread counts its accesses to shared words and unwinds before the one that its doom names. What it did before is
//! in shared memory, what it would have done is not, exactly as if it had been killed there. (Unwinding runs destructors and
//! SIGKILL does not: the algorithm files hold nothing whose destructor acts.)

use core::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::simulator::thread_local;

/// What a thread unwinds with when its doom is come.
struct Died;

thread_local! {
    static STEPS_LEFT: Cell<Option<u32>> = Cell::new(None);
}

/// One access to shared memory. Unwinds if the thread is doomed to die here.
pub(crate) fn step() {
    STEPS_LEFT.with(|left| match left.get() {
        None => {}
        Some(0) => {
            left.set(None);
            resume_unwind(Box::new(Died));
        }
        Some(more) => left.set(Some(more - 1)),
    });
}

/// Runs `life`, which ends before its access number `doom` (from 0), if it gets so far. `None` if it was killed.
pub(crate) fn killed_at_step<R>(doom: u32, life: impl FnOnce() -> R) -> Option<R> {
    STEPS_LEFT.with(|left| left.set(Some(doom)));
    let outcome = catch_unwind(AssertUnwindSafe(life));
    STEPS_LEFT.with(|left| left.set(None));
    match outcome {
        Ok(result) => Some(result),
        Err(cause) if cause.is::<Died>() => None,
        Err(cause) => resume_unwind(cause),
    }
}
