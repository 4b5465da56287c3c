//! Passing an end on: to any process over a Unix socket, and to a program that is started.
//!
//! Here a handle is a duplicate of what goes away, as a descriptor is of what `SCM_RIGHTS` passes: a further end is made for the one who gets it.

use std::io;
use std::os::fd::IntoRawFd;

use nix::libc::{self, c_char, c_int};
use ppipe_rs::{End, Pattern};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::cancel::Uncancelled;
use crate::ends::pointer;
use crate::error::{done, of};
use crate::messages::check;
use crate::pointers::{descriptor, text};
use crate::table::Handle;
use crate::{ppipe, table};

/// Room for the name of the variable and what it says, with the null byte.
const TEXT: usize = 512;

/// An end on its way to a program that is about to be started.
#[allow(non_camel_case_types, reason = "C's name for it")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ppipe_exported {
    /// What its environment is to have: VARIABLE=...
    pub text: [c_char; 512],
    /// The descriptors that it is to have, with these very numbers.
    pub fd: [c_int; 3],
}

/// Sends a duplicate of the handle over a Unix socket of any kind, as sendmsg(2) with SCM_RIGHTS sends one of a descriptor. Flags: MSG_DONTWAIT. EINVAL if
/// it is open both ways, or the socket is no Unix socket.
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_send_end(p: *mut ppipe, socket: c_int, flags: c_int) -> c_int {
    let _uncancelled = Uncancelled::begin();
    done(table::with(p, |handle| {
        check(flags, libc::MSG_DONTWAIT)?;
        let (socket, is_try) = (descriptor(socket)?, flags & libc::MSG_DONTWAIT != 0);
        // What comes back if that fails is the duplicate.
        match handle.pools() {
            (Some(reader), None) => {
                let end = reader.pattern().reader()?;
                if is_try { end.try_pass_to(socket) } else { end.pass_to(socket) }?;
            }
            (None, Some(writer)) => {
                let end = writer.pattern().writer()?;
                if is_try { end.try_pass_to(socket) } else { end.pass_to(socket) }?;
            }
            _ => return Err(of(libc::EINVAL)),
        }
        Ok(())
    }))
}

/// Receives an end, of whichever side, that ppipe_send_end or its relatives in Rust have sent. Flags: MSG_DONTWAIT. Null and errno if that fails: ENODATA
/// if none will come, EBADMSG if what came is something else, ENOENT if somebody else has it already.
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_recv_end(socket: c_int, flags: c_int) -> *mut ppipe {
    let _uncancelled = Uncancelled::begin();
    let receive = || {
        check(flags, libc::MSG_DONTWAIT)?;
        let socket = descriptor(socket)?;
        let is_try = flags & libc::MSG_DONTWAIT != 0;
        add(if is_try { End::try_receive_from(socket) } else { End::receive_from(socket) }?)
    };
    pointer(receive())
}

/// Prepares a duplicate of the handle for a program that is about to be started, which gets it with ppipe_inherit: its environment has to have text, and
/// it has to inherit the three descriptors. They are closed by exec if flags is O_CLOEXEC, and not if it is 0. EINVAL if the handle is open both
/// ways.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_export(
    p: *mut ppipe,
    variable: *const c_char,
    exported: *mut ppipe_exported,
    flags: c_int,
) -> c_int {
    let _uncancelled = Uncancelled::begin();
    done(table::with(p, |handle| {
        check(flags, libc::O_CLOEXEC)?;
        if exported.is_null() {
            return Err(of(libc::EFAULT));
        }
        // SAFETY: as the caller promises.
        let variable = unsafe { text(variable) }?;
        if variable.is_empty() || variable.contains('=') {
            return Err(of(libc::EINVAL));
        }
        let value = pattern(handle)?.exported()?;
        let line = format!("{variable}={}", value.value());
        let mut text = [0; TEXT];
        if line.len() >= TEXT {
            return Err(of(libc::ENAMETOOLONG));
        }
        for (place, byte) in text.iter_mut().zip(line.bytes()) {
            *place = byte as c_char;
        }
        let descriptors = value.into_descriptors();
        if flags & libc::O_CLOEXEC == 0 {
            for descriptor in &descriptors {
                fcntl_setfd(descriptor, FdFlags::empty())?;
            }
        }
        let fd = descriptors.map(IntoRawFd::into_raw_fd);
        // SAFETY: not null, and the caller has promised the rest.
        unsafe { exported.write(ppipe_exported { text, fd }) };
        Ok(())
    }))
}

/// Closes the descriptors of what was exported, which have to be as they were. To be called when the program has been started, or will not be: until
/// then, and until it closes its own, the end counts as open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_unexport(exported: *mut ppipe_exported) -> c_int {
    let _uncancelled = Uncancelled::begin();
    if exported.is_null() {
        return done(Err(of(libc::EFAULT)));
    }
    // SAFETY: not null, and the caller has promised the rest.
    let exported = unsafe { &mut *exported };
    let mut closed = Ok(());
    // In their order, in which the lock is the last one.
    for number in &mut exported.fd {
        // SAFETY: the caller's, who says that nobody uses it any more.
        if unsafe { libc::close(*number) } == -1 {
            closed = Err(io::Error::last_os_error());
        }
        *number = -1;
    }
    done(closed)
}

/// In a program that was started: the end of whichever side that ppipe_export, or hand_to in Rust, has put into this environment variable. Can be done once.
/// Null and errno if that fails: ENOENT if there is none, or it has been done already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_inherit(variable: *const c_char) -> *mut ppipe {
    let _uncancelled = Uncancelled::begin();
    // SAFETY: as the caller promises.
    pointer(unsafe { text(variable) }.and_then(End::inherited).and_then(add))
}

fn add(end: End) -> io::Result<*mut ppipe> {
    match end {
        End::Reader(reader) => table::add(Some(reader), None),
        End::Writer(writer) => table::add(None, Some(writer)),
    }
}

/// What a further end is made from.
fn pattern(handle: &Handle) -> io::Result<&Pattern> {
    match handle.pools() {
        (Some(reader), None) => Ok(reader.pattern()),
        (None, Some(writer)) => Ok(writer.pattern()),
        _ => Err(of(libc::EINVAL)),
    }
}
