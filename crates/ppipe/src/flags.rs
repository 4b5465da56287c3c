//! The flags of an end, shared by its clones as `dup` shares those of an open file description, and with forked children.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use shm_ring::shared_word::SharedWord;

const NONBLOCKING: u32 = 1;
const PACKET_MODE: u32 = 2;
const SIGPIPE: u32 = 4;
/// The C library sends the signal: when it holds nothing any more that its handler could jump away from.
const SIGPIPE_BY_CALLER: u32 = 8;
/// Flags of a descriptor that mean nothing to a pipe and are kept, as C has them, from this bit on.
const KEPT_SHIFT: u32 = 4;

/// Flags of a writer or a reader. Clones share them, and so do forked children; another process does not.
#[derive(Clone, Debug)]
pub(crate) struct Flags(Arc<SharedWord>);

// Relaxed everywhere: a flag orders nothing but itself.
impl Flags {
    pub(crate) fn new(nonblocking: bool, packet_mode: bool) -> io::Result<Self> {
        let flag = |is_set, bit| if is_set { bit } else { 0 };
        let flags = flag(nonblocking, NONBLOCKING) | flag(packet_mode, PACKET_MODE);
        Ok(Self(Arc::new(SharedWord::new(flags)?)))
    }

    #[inline]
    pub(crate) fn is_nonblocking(&self) -> bool {
        self.has(NONBLOCKING)
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        self.set(NONBLOCKING, nonblocking);
    }

    #[inline]
    pub(crate) fn is_packet_mode(&self) -> bool {
        self.has(PACKET_MODE)
    }

    pub(crate) fn set_packet_mode(&self, packet_mode: bool) {
        self.set(PACKET_MODE, packet_mode);
    }

    pub(crate) fn is_sigpipe(&self) -> bool {
        self.has(SIGPIPE)
    }

    pub(crate) fn set_sigpipe(&self, is_on: bool) {
        self.set(SIGPIPE, is_on);
    }

    pub(crate) fn is_sigpipe_by_caller(&self) -> bool {
        self.has(SIGPIPE_BY_CALLER)
    }

    pub(crate) fn set_sigpipe_by_caller(&self, is_on: bool) {
        self.set(SIGPIPE_BY_CALLER, is_on);
    }

    /// What is kept of C's flags.
    pub(crate) fn kept(&self) -> u32 {
        self.0.get().load(Ordering::Relaxed) >> KEPT_SHIFT
    }

    /// Keeps those of C's flags that are in `mask` as `flags` has them.
    pub(crate) fn keep(&self, flags: u32, mask: u32) {
        self.set(mask << KEPT_SHIFT & !(flags << KEPT_SHIFT), false);
        self.set((flags & mask) << KEPT_SHIFT, true);
    }

    #[inline]
    fn has(&self, flag: u32) -> bool {
        self.0.get().load(Ordering::Relaxed) & flag != 0
    }

    fn set(&self, flag: u32, is_on: bool) {
        if is_on {
            self.0.get().fetch_or(flag, Ordering::Relaxed);
        } else {
            self.0.get().fetch_and(!flag, Ordering::Relaxed);
        }
    }
}
