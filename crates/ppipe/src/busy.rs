//! An end while a call uses it, and what comes of that for whoever polls its descriptor.

use std::cell::RefMut;
use std::ops::{Deref, DerefMut};

use shm_ring::{ReaderEnd, Side, WriterEnd};

use crate::watch::WatchCell;

/// An end of one side.
pub(crate) trait End {
    const SIDE: Side;

    /// Whether there is something to read, or room.
    fn is_ready(&mut self) -> bool;
}

impl End for ReaderEnd {
    const SIDE: Side = Side::Reader;

    fn is_ready(&mut self) -> bool {
        !self.is_empty()
    }
}

impl End for WriterEnd {
    const SIDE: Side = Side::Writer;

    fn is_ready(&mut self) -> bool {
        !self.is_full()
    }
}

/// An end for one call. After it the descriptor shows what the call has left.
pub(crate) struct Busy<'a, E: End> {
    end: RefMut<'a, E>,
    watch: &'a WatchCell,
    fell_short: bool,
}

impl<'a, E: End> Busy<'a, E> {
    #[inline(always)]
    pub(crate) fn new(end: RefMut<'a, E>, watch: &'a WatchCell) -> Self {
        Self { end, watch, fell_short: false }
    }

    /// Says whether the call has done less than it was to do. Then its user is going to wait, and is told if there is more, though
    /// it may have come before this call returns.
    #[inline(always)]
    pub(crate) fn set_short(&mut self, fell_short: bool) {
        self.fell_short = fell_short;
    }
}

impl<E: End> Deref for Busy<'_, E> {
    type Target = E;

    #[inline(always)]
    fn deref(&self) -> &E {
        &self.end
    }
}

impl<E: End> DerefMut for Busy<'_, E> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut E {
        &mut self.end
    }
}

impl<E: End> Drop for Busy<'_, E> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(watch) = self.watch.get() {
            watch.after_use(E::SIDE, self.fell_short, || self.end.is_ready());
        }
    }
}
