//! Threads that block, and whoever waits until they do.
#![allow(dead_code, reason = "not every test file needs all of it")]

use std::fs;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::gettid;

/// Nothing takes so long; what takes longer has failed.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(20);

/// A thread that is about to do something that blocks.
#[derive(Default)]
pub(crate) struct Party(AtomicI32);

impl Party {
    /// Does it, and says before who does.
    pub(crate) fn act<T>(&self, act: impl FnOnce() -> T) -> T {
        // Relaxed: the number is all there is to see.
        self.0.store(gettid().as_raw_nonzero().get(), Ordering::Relaxed);
        act()
    }

    /// Returns when it sleeps and `is_there` says that it has got as far as it can.
    pub(crate) fn wait_until_blocked(&self, is_there: impl Fn() -> bool) {
        let start = Instant::now();
        while !(is_there() && self.is_asleep()) {
            assert!(start.elapsed() < WATCHDOG, "it never blocked");
            thread::yield_now();
        }
    }

    /// The number of the thread that does it.
    pub(crate) fn thread(&self) -> i32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether it sleeps at this moment.
    pub(crate) fn is_asleep(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/self/task/{}/stat", self.thread()));
        // "tid (name) state ...", and the name can contain anything.
        stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')))
    }
}
