#![allow(unsafe_code)]
//! A place of the table: a handle, and how many calls are using it. Unsafe because what the one puts there others look at without a lock.
//!
//! ```text
//!  63          32   31     30     29       0
//! +--------------+------+-------+----------+
//! | generation   | open | taken | users    |
//! +--------------+------+-------+----------+
//!
//!   vacant ── put ──> open, taken ── close ──> taken ── the last user leaves, or there is none ──> vacant
//! ```
//!
//! Nothing here waits, and nothing asks for memory, also not in a thread that has never called anything.
//!
//! # Why nobody uses a handle that is gone
//! A call counts itself as a user and is told in the same exchange whether the place is open, and in which generation. Whoever has counted itself too late
//! or for another one leaves again. A handle is taken out by the one whose exchange finds the place closed and no user: who comes later finds it closed.
//!
//! # Why a child that is forked in the midst of others' calls can use the place
//! Those who were counted do not leave it, in the child. So there its own handle is put in the place of its parent's whoever uses that,
//! and this is left as it is.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::table::Handle;

const GENERATION_SHIFT: u32 = 32;
const OPEN: u64 = 1 << 31;
const TAKEN: u64 = 1 << 30;
const USERS: u64 = TAKEN - 1;

/// A place for a handle, of which a pointer says the generation.
pub(crate) struct Place {
    state: AtomicU64,
    handle: UnsafeCell<Option<Arc<Handle>>>,
}

// SAFETY: what is in the cell changes hands by the state, see the module, and can be used by several threads.
unsafe impl Sync for Place {}

const _: () = {
    const fn can_be_used_by_several_threads<T: Send + Sync>() {}
    can_be_used_by_several_threads::<Handle>();
};

/// A call that is using the handle of a place.
pub(crate) struct User<'a> {
    place: &'a Place,
    handle: &'a Arc<Handle>,
    /// Gives the place back once it is vacant.
    give_back: fn(&'a Place) -> Option<Arc<Handle>>,
}

impl Place {
    pub(crate) const fn vacant() -> Self {
        Self { state: AtomicU64::new(0), handle: UnsafeCell::new(None) }
    }

    /// Puts a handle into a vacant place that its caller alone has. Returns its generation.
    pub(crate) fn put(&self, handle: Arc<Handle>) -> u32 {
        // SAFETY: it is vacant, so nobody looks into it, and the caller alone may fill it.
        unsafe { *self.handle.get() = Some(handle) };
        // Release: pairs with the Acquire in `enter`, so whoever finds it open sees the handle. It adds, since others may be counting themselves.
        let before = self.state.fetch_add((1 << GENERATION_SHIFT) + OPEN + TAKEN, Ordering::Release);
        generation_of(before).wrapping_add(1)
    }

    /// In a forked child: puts a handle of its own in the place of its parent's.
    pub(crate) fn replace(&self, handle: Arc<Handle>) {
        // Relaxed, here and below: there is no other thread yet.
        let before = self.state.fetch_and(!USERS, Ordering::Relaxed);
        // SAFETY: there is no other thread, and this one is in no call that it returns to.
        let parents = unsafe { (*self.handle.get()).replace(handle) };
        if before & USERS > 0 {
            // It is as some thread of the parent has it just now.
            core::mem::forget(parents);
        }
    }

    /// The handle, if it is of this generation, for as long as it is being used.
    #[inline]
    pub(crate) fn enter<'a>(
        &'a self,
        generation: u32,
        give_back: fn(&'a Self) -> Option<Arc<Handle>>,
    ) -> Option<User<'a>> {
        // Acquire: pairs with the Release in `put`.
        let before = self.state.fetch_add(1, Ordering::Acquire);
        if generation_of(before) == generation && before & OPEN != 0 {
            // SAFETY: it was put there before the place was open, and stays as long as there is a user.
            if let Some(handle) = unsafe { (*self.handle.get()).as_ref() } {
                return Some(User { place: self, handle, give_back });
            }
        }
        drop(self.leave(give_back));
        None
    }

    /// The generation, if the place is open. A look.
    pub(crate) fn open_generation(&self) -> Option<u32> {
        let state = self.state.load(Ordering::Relaxed);
        (state & OPEN != 0).then(|| generation_of(state))
    }

    #[inline]
    fn leave<'a>(&'a self, give_back: fn(&'a Self) -> Option<Arc<Handle>>) -> Option<Arc<Handle>> {
        // Release: pairs with the Acquire in `take_out`, so what was done with the handle comes before its end.
        let before = self.state.fetch_sub(1, Ordering::Release);
        if before & (USERS | OPEN | TAKEN) == TAKEN | 1 { give_back(self) } else { None }
    }

    /// Takes the handle out of a place that is closed and that nobody uses. Of several who try, one has it.
    pub(crate) fn take_out(&self) -> Option<Arc<Handle>> {
        let before = self.state.load(Ordering::Relaxed);
        if before & (USERS | OPEN | TAKEN) != TAKEN {
            return None;
        }
        // Acquire: pairs with the Release in `leave`, of all who were there.
        self.state.compare_exchange(before, before & !TAKEN, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // SAFETY: nobody looks into it any more, and nobody puts anything there before the caller says that it is vacant.
        unsafe { (*self.handle.get()).take() }
    }
}

impl<'a> User<'a> {
    pub(crate) fn handle(&self) -> &'a Arc<Handle> {
        self.handle
    }

    /// Closes the place. Whether nobody else has.
    pub(crate) fn close(&self) -> bool {
        // Relaxed: whoever takes the handle out comes after this user has left.
        self.place.state.fetch_and(!OPEN, Ordering::Relaxed) & OPEN != 0
    }
}

impl Drop for User<'_> {
    #[inline]
    fn drop(&mut self) {
        drop(self.place.leave(self.give_back));
    }
}

fn generation_of(state: u64) -> u32 {
    (state >> GENERATION_SHIFT) as u32
}
