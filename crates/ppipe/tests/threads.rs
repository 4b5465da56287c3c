//! The crowd, whose sleepers are woken one by one.

mod crowd;
mod party;

/// How all of this process sleep.
fn sleep_so() {
    shm_ring::rely_on_wakes();
}
