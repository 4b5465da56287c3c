//! Waiting for several handles.

use std::io;
use std::time::Duration;

use nix::libc::{self, c_int, c_short, nfds_t};
use ppipe_rs::{PollEnd, Reader, Readiness, Writer};

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
        let count = usize::try_from(nfds).map_err(|_| of(libc::EINVAL))?;
        if count > 0 && fds.is_null() {
            return Err(of(libc::EFAULT));
        }
        // SAFETY: not null if there are any; there are so many, as the caller promises.
        let polled = if count == 0 { &mut [][..] } else { unsafe { core::slice::from_raw_parts_mut(fds, count) } };
        poll(polled, u64::try_from(timeout_ms).ok().map(Duration::from_millis))
    };
    number(wait())
}

fn poll(polled: &mut [ppipe_pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    // A handle that is closed meanwhile lives on in here.
    let mut handles = Vec::with_capacity(polled.len());
    let mut wrong = 0;
    for entry in polled.iter_mut() {
        entry.revents = 0;
        let handle = if entry.pipe.is_null() { None } else { table::get(entry.pipe) };
        if handle.is_none() && !entry.pipe.is_null() {
            entry.revents = libc::POLLNVAL;
            wrong += 1;
        }
        handles.push(handle);
    }
    let borrowed = handles.iter().map(|handle| handle.as_deref().map(borrow).transpose());
    let borrowed: Vec<_> = borrowed.collect::<io::Result<_>>()?;
    let mut ends = Vec::new();
    // Which entry each of them is of.
    let mut places = Vec::new();
    for (place, (entry, both)) in polled.iter().zip(&borrowed).enumerate() {
        let Some((reader, writer)) = both else { continue };
        let wants =
            |events: c_short, readiness| if entry.events & events != 0 { readiness } else { Readiness::empty() };
        if let Some(reader) = reader {
            ends.push(PollEnd::reader(reader, wants(libc::POLLIN | libc::POLLRDNORM, Readiness::READABLE)));
            places.push(place);
        }
        if let Some(writer) = writer {
            ends.push(PollEnd::writer(writer, wants(libc::POLLOUT | libc::POLLWRNORM, Readiness::WRITABLE)));
            places.push(place);
        }
    }
    ppipe_rs::poll(&mut ends, if wrong > 0 { Some(Duration::ZERO) } else { timeout })?;
    for (end, &place) in ends.iter().zip(&places) {
        polled[place].revents |= events_of(end.ready(), polled[place].events);
    }
    Ok(polled.iter().filter(|entry| entry.revents != 0).count())
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
