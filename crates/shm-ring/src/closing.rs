//! Closing a segment for ever when nobody is there any more, so that its name can be given to another one.
//!
//! Who is there is what the kernel's list of locks says; in which order that is asked, and why: see `tenure`.

use std::io;

use crate::own_descriptor::OwnFd;
use crate::segment::Segment;
use crate::sys;
use crate::tenure::Tenure;

/// Closes the segment if nobody is there. To be asked by one who has just given up its lock: one who joined and left while it
/// was still held has left the closing to this one.
pub(crate) fn close_if_last(segment: &Segment, asker: &OwnFd) -> bool {
    let tenure = tenure_of(segment);
    tenure.count().is_some_and(|count| is_abandoned(segment, asker) && tenure.close(count))
}

/// Closes the segment for ever if nobody is there: everybody was killed, and nobody could close it. Returns whether it is
/// closed now.
///
/// # Errors
/// If the kernel does not tell who is there.
pub fn close_if_abandoned(segment: &Segment) -> io::Result<bool> {
    let tenure = tenure_of(segment);
    let Some(count) = tenure.count() else { return Ok(true) };
    let asker = segment.reopen()?;
    Ok(is_abandoned(segment, &asker) && tenure.close(count))
}

/// Whether nobody is there, or the segment is closed: of one moment, and changes nothing.
///
/// # Errors
/// As [`close_if_abandoned`].
pub fn looks_abandoned(segment: &Segment) -> io::Result<bool> {
    Ok(tenure_of(segment).count().is_none() || is_abandoned(segment, &segment.reopen()?))
}

pub(crate) fn tenure_of(segment: &Segment) -> Tenure<'_> {
    Tenure(&segment.header().membership.0.tenure)
}

fn is_abandoned(segment: &Segment, asker: &OwnFd) -> bool {
    sys::is_locked_elsewhere(asker, 0, segment.layout().participants()).is_ok_and(|is_locked| !is_locked)
}
