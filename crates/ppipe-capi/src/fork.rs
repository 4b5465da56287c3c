//! What makes a forked child have all handles of its parent.
//!
//! ```text
//!   before the fork   nobody else forks, nor makes or closes a handle, from here on;
//!                     for each handle, an end for the child: alive from now on
//!   parent            closes its copies of the descriptors of those
//!   child             takes them up in place of its parent's ends, and closes its copies of the descriptors of these, and of all others that
//!                     its parent has: of ends that threads are using, making or giving up
//! ```
//!
//! What is lent stays the parent's: in the child these loans are over. A handle for which there is no further end (as many as there can
//! be, or no descriptors) is closed in the child, whole.
//!
//! Signals wait meanwhile, so that no handler forks in the midst of it. One that interrupts a thread that is just making or closing a handle can
//! fork, and nothing is prepared: its child has no use of its handles.

use std::cell::Cell;
use std::io;
use std::mem::ManuallyDrop;

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use ppipe_rs::{Fork, Forked, Reader, ShownAt, Writer};

use crate::table::{self, Handle, Key};
use crate::{hooks, lent};

/// What the thread that forks has prepared; in the child it is the same thread.
struct Prepared {
    /// By their keys.
    ends: Vec<(Key, ForChild)>,
    // In this order: what was meant for the child and is not needed is closed before somebody else can fork.
    fork: Fork,
    _undisturbed: Undisturbed,
}

/// What the child is to have of a handle.
struct ForChild {
    reader: Option<Forked>,
    writer: Option<Forked>,
    shown: Option<ShownAt>,
}

thread_local! {
    /// Nothing in here is dropped at the end of the thread, so that it is there as long as the thread is: handlers of `atexit` can fork.
    static PREPARED: Cell<Option<ManuallyDrop<Prepared>>> = const { Cell::new(None) };
}

pub(crate) fn prepare() {
    let undisturbed = Undisturbed::begin();
    let Some(fork) = Fork::begin() else { return };
    // Without memory the child has no handles.
    let handles = table::all().unwrap_or_default();
    let mut ends = Vec::new();
    if ends.try_reserve_exact(handles.len()).is_ok() {
        for (key, handle) in &handles {
            let prepared = for_child(handle, ends.iter().filter_map(|(_, ends): &(Key, ForChild)| ends.shown.as_ref()));
            ends.extend(prepared.map(|prepared| (*key, prepared)));
        }
    }
    let prepared = Prepared { ends, fork, _undisturbed: undisturbed };
    PREPARED.set(Some(ManuallyDrop::new(prepared)));
}

/// All ends of a handle, and what shows them to `poll`, or nothing.
fn for_child<'a>(handle: &Handle, shown: impl Iterator<Item = &'a ShownAt>) -> Option<ForChild> {
    let (reader, writer) = handle.pools();
    let shown = ShownAt::new(handle.pattern().ok()?, handle.is_reader(), handle.is_writer(), shown).ok()?;
    let reader = reader.map(|pool| pool.pattern().for_forked_child()).transpose().ok()?;
    let writer = writer.map(|pool| pool.pattern().for_forked_child()).transpose().ok()?;
    Some(ForChild { reader, writer, shown })
}

impl ForChild {
    /// In the child.
    fn take_up(self) -> io::Result<(Option<Reader>, Option<Writer>)> {
        let mut reader = self.reader.map(Forked::reader).transpose()?;
        let mut writer = self.writer.map(Forked::writer).transpose()?;
        if let (Some(reader), Some(writer)) = (&mut reader, &writer) {
            reader.share_flags(writer);
        }
        if let Some(shown) = self.shown {
            // If no thread can be made, it shows nothing any more.
            let _ = shown.show(reader.as_mut(), writer.as_mut());
        }
        Ok((reader, writer))
    }
}

pub(crate) fn go_on_in_parent() {
    drop(PREPARED.take().map(ManuallyDrop::into_inner));
}

pub(crate) fn go_on_in_child() {
    let Some(prepared) = PREPARED.take() else { return ppipe_rs::give_up_forks() };
    let Prepared { mut ends, fork, _undisturbed } = ManuallyDrop::into_inner(prepared);
    hooks::belong_to_this_process();
    // Before anything is dropped: what is the parent's closes nothing from now on.
    fork.close_the_parents();
    // As long as they are free.
    ends.iter_mut().filter_map(|(_, ends)| ends.shown.as_mut()).for_each(ShownAt::take_number);
    lent::forget_all();
    // There is no other thread yet; the one that keeps up what is shown begins below, and opens descriptors while it is waited for.
    drop(fork);
    table::forget_all_but(|key| ends.binary_search_by_key(&key, |(key, _)| *key).is_ok());
    for (key, ends) in ends {
        match ends.take_up() {
            Ok((reader, writer)) => table::replace(key, reader, writer),
            Err(_) => table::forget(key),
        }
    }
}

/// No signal handler runs on this thread as long as it lives.
struct Undisturbed(SigSet);

impl Undisturbed {
    fn begin() -> Self {
        let mut before = SigSet::empty();
        // It does not fail: how and which are right.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before));
        Self(before)
    }
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.0), None);
    }
}
