//! An end while a call uses it, and what comes of that for whoever polls its descriptor.

use std::cell::RefMut;
use std::io;
use std::ops::{Deref, DerefMut};

use shm_ring::participant::Participant;
use shm_ring::{ReaderEnd, Side, WriterEnd};

use crate::watch::{Came, WatchCell};

/// An end of one side.
pub(crate) trait End {
    const SIDE: Side;

    /// Whether there is something to read, or room.
    fn is_ready(&mut self) -> bool;

    /// What both sides have in common.
    fn participant(&mut self) -> &mut Participant;
}

impl End for ReaderEnd {
    const SIDE: Side = Side::Reader;

    #[inline(always)]
    fn participant(&mut self) -> &mut Participant {
        self.participant()
    }

    fn is_ready(&mut self) -> bool {
        !self.is_empty()
    }
}

impl End for WriterEnd {
    const SIDE: Side = Side::Writer;

    #[inline(always)]
    fn participant(&mut self) -> &mut Participant {
        self.participant()
    }

    fn is_ready(&mut self) -> bool {
        !self.is_full()
    }
}

/// An end for one call. After it the descriptor shows what the call has left.
pub(crate) struct Busy<'a, E: End> {
    end: RefMut<'a, E>,
    watch: &'a WatchCell,
    came: Came,
}

impl<'a, E: End> Busy<'a, E> {
    #[inline(always)]
    pub(crate) fn new(end: RefMut<'a, E>, watch: &'a WatchCell) -> Self {
        Self { end, watch, came: Came::ToItsEnd }
    }

    /// Notes what a call came to, and makes that an error if there was no memory for it; `is_all`: whether it has done all that it was to do. One that has not makes its
    /// user wait, who is told if there is more, though it may have come before the call returns.
    #[inline(always)]
    pub(crate) fn note<T>(&mut self, result: &mut io::Result<T>, is_all: impl FnOnce(&T) -> bool) {
        // In place: a result that is handed on costs more than the question.
        if let Some(lost) = End::participant(&mut *self.end).loss() {
            *result = Err(lost);
        }
        self.came = Came::of(result, is_all);
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
            watch.after_use(E::SIDE, self.came, || self.end.is_ready());
        }
    }
}
