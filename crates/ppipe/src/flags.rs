//! The flags of an end, shared by its clones as `dup` shares those of an open file description.

use std::sync::atomic::{AtomicBool, Ordering};

/// Flags of a writer or a reader. Process-private: clones share them, another process does not.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    nonblocking: AtomicBool,
    packet_mode: AtomicBool,
}

// Relaxed everywhere: a flag orders nothing but itself.
impl Flags {
    pub(crate) fn new(nonblocking: bool, packet_mode: bool) -> Self {
        Self { nonblocking: AtomicBool::new(nonblocking), packet_mode: AtomicBool::new(packet_mode) }
    }

    #[inline]
    pub(crate) fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Ordering::Relaxed)
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_packet_mode(&self) -> bool {
        self.packet_mode.load(Ordering::Relaxed)
    }

    pub(crate) fn set_packet_mode(&self, packet_mode: bool) {
        self.packet_mode.store(packet_mode, Ordering::Relaxed);
    }
}
