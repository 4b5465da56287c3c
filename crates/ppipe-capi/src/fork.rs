//! What makes a forked child have all handles of its parent.
//!
//! ```text
//!   before the fork   for each handle, an end for the child: alive from now on
//!   parent            closes its copies of the descriptors of those
//!   child             takes them up in place of its parent's ends, and closes its copies of the descriptors of these
//! ```
//!
//! What is lent stays the parent's: in the child these loans are over. A handle for which there is no further end (as many as there can
//! be, or no descriptors) is closed in the child.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, MutexGuard, OnceLock};

use nix::libc;
use ppipe_rs::Forked;

use crate::lent::{self, Lent};
use crate::table::{self, Handle, Vacant};

/// What the thread that forks has prepared; in the child it is the same thread.
struct Prepared {
    ends: Vec<(u32, Option<Forked>, Option<Forked>)>,
    vacant: MutexGuard<'static, Vacant>,
    lent: MutexGuard<'static, Lent>,
}

thread_local! {
    static PREPARED: RefCell<Option<Prepared>> = const { RefCell::new(None) };
}

/// Sees to it that forks are prepared for; once is enough.
pub(crate) fn prepare_once() -> io::Result<()> {
    static REGISTERED: OnceLock<libc::c_int> = OnceLock::new();
    let code = *REGISTERED.get_or_init(|| {
        // SAFETY: the three functions are such as it wants.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) }
    });
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

extern "C" fn before() {
    let ends = table::all().into_iter().map(|(index, handle)| {
        let (reader, writer) = handle.pools();
        let reader = reader.and_then(|pool| pool.pattern().for_forked_child().ok());
        let writer = writer.and_then(|pool| pool.pattern().for_forked_child().ok());
        (index, reader, writer)
    });
    let ends = ends.collect();
    ppipe_rs::before_fork();
    let prepared = Prepared { ends, vacant: table::vacant(), lent: lent::lent() };
    PREPARED.with(|place| *place.borrow_mut() = Some(prepared));
}

extern "C" fn in_parent() {
    drop(PREPARED.with(|place| place.borrow_mut().take()));
}

extern "C" fn in_child() {
    let Some(Prepared { ends, vacant, mut lent }) = PREPARED.with(|place| place.borrow_mut().take()) else { return };
    drop(vacant);
    lent.forget_all();
    drop(lent);
    // What another thread has made after the preparation is its parent's alone. (Its place is not used again.)
    let is_prepared = |index: u32| ends.iter().any(|(prepared, ..)| *prepared == index);
    for (index, handle) in table::all() {
        drop(handle);
        if !is_prepared(index)
            && let Some(parents) = table::forget(index)
        {
            close_copies(parents);
        }
    }
    for (index, reader, writer) in ends {
        let reader = reader.and_then(|forked| forked.reader().ok());
        let writer = writer.and_then(|forked| forked.writer().ok());
        if let Some(parents) = table::replace(index, reader, writer) {
            close_copies(parents);
        }
    }
}

/// Closes the child's copies of what its parent has.
fn close_copies(parents: Arc<Handle>) {
    // Dropping an end in a process that is not its own closes descriptors and does nothing else.
    let Err(parents) = Arc::try_unwrap(parents).map(drop) else { return };
    // A thread was in the midst of a call. It is not there any more, but what it held is held for ever: all that can be closed is what has
    // a number.
    let (reader, writer) = parents.pools();
    let numbers = reader.map(|pool| pool.pattern().numbers()).into_iter().flatten();
    let numbers = numbers.chain(writer.map(|pool| pool.pattern().numbers()).into_iter().flatten());
    for number in numbers {
        // SAFETY: the child's own copy, which nobody uses: who did was a thread of the parent.
        unsafe { libc::close(number) };
    }
    core::mem::forget(parents);
}
