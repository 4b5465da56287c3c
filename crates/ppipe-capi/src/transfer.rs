//! From pipe to pipe, and between a pipe and a descriptor.

use std::io;

use nix::libc::{self, c_int, c_uint, size_t, ssize_t};

use crate::cancel::Uncancelled;
use crate::error::{count, of};
use crate::pointers::descriptor;
use crate::{ppipe, table};

const NONBLOCK: c_uint = 2;
/// SPLICE_F_MOVE, SPLICE_F_NONBLOCK, SPLICE_F_MORE, SPLICE_F_GIFT.
const ALL: c_uint = 0xf;

/// Copies up to len bytes from one pipe to another one, and leaves them where they are. Flags, here and below: SPLICE_F_NONBLOCK; SPLICE_F_MOVE, SPLICE_F_MORE
/// and SPLICE_F_GIFT are without effect. As tee(2).
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_tee(r#in: *mut ppipe, out: *mut ppipe, len: size_t, flags: c_uint) -> ssize_t {
    let copy = || {
        check(flags)?;
        if len == 0 {
            return Ok(0);
        }
        let verb = if flags & NONBLOCK != 0 { ppipe_rs::try_tee } else { ppipe_rs::tee };
        table::with_both(r#in, out, |from, to| verb(from, to, len))
    };
    count(copy())
}

/// Moves up to len bytes from one pipe to another one. As splice(2).
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_splice(r#in: *mut ppipe, out: *mut ppipe, len: size_t, flags: c_uint) -> ssize_t {
    let transfer = || {
        if len == 0 {
            return Ok(0);
        }
        check(flags)?;
        let verb = if flags & NONBLOCK != 0 { ppipe_rs::try_splice } else { ppipe_rs::splice };
        table::with_both(r#in, out, |from, to| verb(from, to, len))
    };
    count(transfer())
}

/// Moves up to len bytes from a pipe to a descriptor. As splice(2).
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_splice_to_fd(r#in: *mut ppipe, fd: c_int, len: size_t, flags: c_uint) -> ssize_t {
    let transfer = || {
        if len == 0 {
            return Ok(0);
        }
        check(flags)?;
        let _uncancelled = Uncancelled::begin();
        table::with(r#in, |from| {
            let (end, fd) = (from.reader()?, descriptor(fd)?);
            if flags & NONBLOCK != 0 { end.try_splice_to(fd, len) } else { end.splice_to(fd, len) }
        })
    };
    count(transfer())
}

/// Moves up to len bytes from a descriptor to a pipe. As splice(2).
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_splice_from_fd(fd: c_int, out: *mut ppipe, len: size_t, flags: c_uint) -> ssize_t {
    let transfer = || {
        if len == 0 {
            return Ok(0);
        }
        check(flags)?;
        let _uncancelled = Uncancelled::begin();
        table::with_writer(out, |end| {
            let fd = descriptor(fd)?;
            if flags & NONBLOCK != 0 { end.try_splice_from(fd, len) } else { end.splice_from(fd, len) }
        })
    };
    count(transfer())
}

fn check(flags: c_uint) -> io::Result<()> {
    if flags & !ALL == 0 { Ok(()) } else { Err(of(libc::EINVAL)) }
}
