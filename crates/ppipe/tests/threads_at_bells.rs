//! The crowd, whose sleepers sleep at bells.

mod crowd;
mod party;

/// How all of this process sleep.
fn sleep_so() {
    shm_ring::rely_on_wakes();
    shm_ring::sleep_at_bells();
}
