//! Waiting for several handles.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::libc::{self, c_int, c_short, nfds_t};
use ppipe_rs::{PollEnd, Reader, Readiness, Writer};
use rustix::process::Resource;
use smallvec::SmallVec;

use crate::cancel::Uncancelled;
use crate::error::{number, of};
use crate::pool::Borrowed;
use crate::ppipe;
use crate::table::{self, Handle};

/// What to wait for with one handle, and what was found. A null handle is passed over.
#[allow(non_camel_case_types, reason = "C's name for it")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ppipe_pollfd {
    /// The handle.
    pub pipe: *mut ppipe,
    /// POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM.
    pub events: c_short,
    /// Those of them that are so, and POLLHUP, POLLERR, POLLNVAL.
    pub revents: c_short,
}

/// Waits until one of the handles is ready, for so long at most; a negative number is no limit. Returns how many are. As poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_poll(fds: *mut ppipe_pollfd, nfds: nfds_t, timeout_ms: c_int) -> c_int {
    let wait = || {
        let _uncancelled = Uncancelled::begin();
        let count = checked(nfds)?;
        if count > 0 && (fds.is_null() || !fds.is_aligned()) {
            return Err(of(libc::EFAULT));
        }
        // SAFETY: not null if there are any; there are so many, as the caller promises.
        let polled = if count == 0 { &mut [][..] } else { unsafe { core::slice::from_raw_parts_mut(fds, count) } };
        poll(polled, u64::try_from(timeout_ms).ok().map(Duration::from_millis))
    };
    number(wait())
}

/// So few are not worth the question how many there can be.
const FEW: nfds_t = 20;

/// As the kernel: no more than there can be descriptors.
fn checked(nfds: nfds_t) -> io::Result<usize> {
    if nfds > FEW && rustix::process::getrlimit(Resource::Nofile).current.is_some_and(|most| nfds > most) {
        return Err(of(libc::EINVAL));
    }
    usize::try_from(nfds).map_err(|_| of(libc::EINVAL))
}

/// So many of anything lie on the stack.
const ON_STACK: usize = 32;
type Several<T> = SmallVec<[T; ON_STACK]>;

/// A handle, and what is asked of it, however often it is in the list.
struct Asked {
    pipe: *mut ppipe,
    events: c_short,
    /// It lives on in here if it is closed meanwhile. `None`: it is none.
    handle: Option<Arc<Handle>>,
}

fn poll(polled: &mut [ppipe_pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let asked = all_asked(polled)?;
    let mut borrowed = room_for(asked.len())?;
    for asked in &asked {
        borrowed.push(asked.handle.as_deref().map(borrow).transpose()?);
    }
    let count = borrowed.iter().flatten().map(|(reader, writer)| reader.iter().count() + writer.iter().count()).sum();
    let mut ends = room_for(count)?;
    // Which of the handles each of them is of.
    let mut places = room_for(count)?;
    for (place, (asked, both)) in asked.iter().zip(&borrowed).enumerate() {
        let Some((reader, writer)) = both else { continue };
        let wants =
            |events: c_short, readiness| if asked.events & events != 0 { readiness } else { Readiness::empty() };
        if let Some(reader) = reader {
            ends.push(PollEnd::reader(reader, wants(libc::POLLIN | libc::POLLRDNORM, Readiness::READABLE)));
            places.push(place);
        }
        if let Some(writer) = writer {
            ends.push(PollEnd::writer(writer, wants(libc::POLLOUT | libc::POLLWRNORM, Readiness::WRITABLE)));
            places.push(place);
        }
    }
    let is_wrong = asked.iter().any(|asked| asked.handle.is_none());
    ppipe_rs::poll(&mut ends, if is_wrong { Some(Duration::ZERO) } else { timeout })?;
    let mut found = room_for(asked.len())?;
    found.resize(asked.len(), Readiness::empty());
    for (end, &place) in ends.iter().zip(&places) {
        found[place] |= end.ready();
    }
    for entry in polled.iter_mut() {
        entry.revents = match asked.binary_search_by_key(&entry.pipe, |asked| asked.pipe) {
            Ok(place) if asked[place].handle.is_some() => events_of(found[place], entry.events),
            Ok(_) => libc::POLLNVAL,
            // A null handle.
            Err(_) => 0,
        };
    }
    Ok(polled.iter().filter(|entry| entry.revents != 0).count())
}

/// Each handle once, in the order of their numbers.
fn all_asked(polled: &[ppipe_pollfd]) -> io::Result<Several<Asked>> {
    let mut asked = room_for(polled.len())?;
    let named = polled.iter().filter(|entry| !entry.pipe.is_null());
    asked.extend(named.map(|entry| Asked { pipe: entry.pipe, events: entry.events, handle: None }));
    asked.sort_unstable_by_key(|asked| asked.pipe);
    asked.dedup_by(|next, first| {
        let is_same = next.pipe == first.pipe;
        if is_same {
            first.events |= next.events;
        }
        is_same
    });
    for asked in &mut asked {
        asked.handle = table::get(asked.pipe);
    }
    Ok(asked)
}

fn room_for<T>(count: usize) -> io::Result<Several<T>> {
    let mut room = Several::new();
    room.try_reserve_exact(count).map_err(|_| of(libc::ENOMEM))?;
    Ok(room)
}

type Ends<'a> = (Option<Borrowed<'a, Reader>>, Option<Borrowed<'a, Writer>>);

fn borrow(handle: &Handle) -> io::Result<Ends<'_>> {
    let reader = if handle.is_reader() { Some(handle.reader()?) } else { None };
    let writer = if handle.is_writer() { Some(handle.writer()?) } else { None };
    Ok((reader, writer))
}

fn events_of(ready: Readiness, wanted: c_short) -> c_short {
    let mut events = 0;
    if ready.contains(Readiness::READABLE) {
        events |= wanted & (libc::POLLIN | libc::POLLRDNORM);
    }
    if ready.contains(Readiness::WRITABLE) {
        events |= wanted & (libc::POLLOUT | libc::POLLWRNORM);
    }
    if ready.contains(Readiness::HUNG_UP) {
        events |= libc::POLLHUP;
    }
    if ready.contains(Readiness::BROKEN) {
        events |= libc::POLLERR;
    }
    events
}
