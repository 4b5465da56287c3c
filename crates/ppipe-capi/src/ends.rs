//! Making, opening, duplicating and closing handles, and their flags.

use std::io;

use nix::libc::{self, c_char, c_int, mode_t};
use ppipe_rs::{Builder, Reader};

use crate::cancel::Uncancelled;
use crate::error::{done, number, of, tell};
use crate::pointers::text;
use crate::{ppipe, table};

/// With ppipe_setfl: a call that finds the pipe broken sends SIGPIPE besides.
pub const PPIPE_SIGPIPE: c_int = 0x4000_0000;

const FLAGS_OF_PIPE: c_int = libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_DIRECT;
const FLAGS_OF_OPEN: c_int =
    libc::O_ACCMODE | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_CREAT | libc::O_EXCL | libc::O_NOCTTY;

/// Makes a pipe; the first end reads, the second one writes. Flags: O_NONBLOCK, O_CLOEXEC, O_DIRECT. As pipe2(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_pipe2(end: *mut *mut ppipe, flags: c_int) -> c_int {
    let make = || {
        let _uncancelled = Uncancelled::begin();
        if end.is_null() {
            return Err(of(libc::EFAULT));
        }
        if flags & !FLAGS_OF_PIPE != 0 {
            return Err(of(libc::EINVAL));
        }
        let builder = Builder::new()
            .senders(true)
            .nonblocking(flags & libc::O_NONBLOCK != 0)
            .packet_mode(flags & libc::O_DIRECT != 0);
        let (reader, writer) = builder.pipe()?;
        let reader = table::add(Some(reader), None)?;
        let writer = table::add(None, Some(writer)).inspect_err(|_| _ = table::remove(reader))?;
        // SAFETY: not null; there is room for two, as the caller promises.
        unsafe { end.write(reader) };
        // SAFETY: as above.
        unsafe { end.wrapping_add(1).write(writer) };
        Ok(())
    };
    done(make())
}

/// Opens the pipe of this name, as open(2) a FIFO: O_RDONLY and O_WRONLY wait for the other side, unless O_NONBLOCK; O_RDWR does not. With O_CREAT it
/// is made if there is none, with O_EXCL besides it must not be there. Only its user can open it, whatever the mode says. The name is gone with
/// its last handle, be it closed by exit(3). Null and errno if that fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_open(name: *const c_char, oflags: c_int, mode: mode_t) -> *mut ppipe {
    let _ = mode;
    let _uncancelled = Uncancelled::begin();
    // SAFETY: as the caller promises.
    let opened = unsafe { text(name) }.and_then(|name| open(name, oflags));
    pointer(opened)
}

fn open(name: &str, oflags: c_int) -> io::Result<*mut ppipe> {
    if oflags & !FLAGS_OF_OPEN != 0 {
        return Err(of(libc::EINVAL));
    }
    let is_nonblocking = oflags & libc::O_NONBLOCK != 0;
    let builder = |is_nonblocking| {
        let builder = Builder::new().senders(true).nonblocking(is_nonblocking);
        match oflags & (libc::O_CREAT | libc::O_EXCL) {
            libc::O_CREAT => builder,
            both if both == libc::O_CREAT | libc::O_EXCL => builder.create_new(),
            _ => builder.must_exist(),
        }
    };
    match oflags & libc::O_ACCMODE {
        libc::O_RDONLY => table::add(Some(builder(is_nonblocking).open_reader(name)?), None),
        libc::O_WRONLY => table::add(None, Some(builder(is_nonblocking).open_writer(name)?)),
        libc::O_RDWR => {
            let reader = builder(true).open_reader(name)?;
            // Of the very same pipe, whatever the name has come to mean.
            both(reader, is_nonblocking)
        }
        _ => Err(of(libc::EINVAL)),
    }
}

/// One description that is open to read and to write.
fn both(mut reader: Reader, is_nonblocking: bool) -> io::Result<*mut ppipe> {
    let writer = reader.reopen_writer(is_nonblocking)?;
    reader.share_flags(&writer);
    table::add(Some(reader), Some(writer))
}

/// Takes the name away from its pipe. Handles go on; who opens the name from now on gets another pipe. As unlink(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_unlink(name: *const c_char) -> c_int {
    let _uncancelled = Uncancelled::begin();
    // SAFETY: as the caller promises.
    done(unsafe { text(name) }.and_then(ppipe_rs::unlink))
}

/// Another handle of the same description: its flags are the same, for ever. As dup(2).
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_dup(p: *mut ppipe) -> *mut ppipe {
    let _uncancelled = Uncancelled::begin();
    let duplicate = table::with(p, |handle| {
        let (reader, writer) = handle.pools();
        let reader = reader.map(|pool| pool.pattern().reader()).transpose()?;
        let writer = writer.map(|pool| pool.pattern().writer()).transpose()?;
        table::add(reader, writer)
    });
    pointer(duplicate)
}

/// Another handle of the same pipe with a description, and flags, of its own: O_RDONLY, O_WRONLY or O_RDWR, and O_NONBLOCK. If
/// the pipe has a name it waits as ppipe_open does, else never. As opening /proc/self/fd/N.
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_reopen(p: *mut ppipe, oflags: c_int) -> *mut ppipe {
    if oflags & !FLAGS_OF_OPEN != 0 || oflags & libc::O_EXCL != 0 {
        return pointer(Err(of(libc::EINVAL)));
    }
    let _uncancelled = Uncancelled::begin();
    let is_nonblocking = oflags & libc::O_NONBLOCK != 0;
    let reopened = table::with(p, |handle| {
        let reader = |is_nonblocking| match handle.reader() {
            Ok(reader) => reader.reopen_reader(is_nonblocking),
            Err(_) => handle.writer()?.reopen_reader(is_nonblocking),
        };
        let writer = || match handle.reader() {
            Ok(reader) => reader.reopen_writer(is_nonblocking),
            Err(_) => handle.writer()?.reopen_writer(is_nonblocking),
        };
        match oflags & libc::O_ACCMODE {
            libc::O_RDONLY => table::add(Some(reader(is_nonblocking)?), None),
            libc::O_WRONLY => table::add(None, Some(writer()?)),
            libc::O_RDWR => both(reader(true)?, is_nonblocking),
            _ => Err(of(libc::EINVAL)),
        }
    });
    pointer(reopened)
}

/// Closes the handle. Whoever is in the midst of a call with it in another thread goes on to the end of that call. As close(2).
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_close(p: *mut ppipe) -> c_int {
    done(table::remove(p))
}

/// The flags: how it was opened, O_NONBLOCK, O_DIRECT, PPIPE_SIGPIPE. As fcntl(F_GETFL).
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_getfl(p: *mut ppipe) -> c_int {
    number(table::with(p, |handle| {
        let access = match (handle.is_reader(), handle.is_writer()) {
            (true, true) => libc::O_RDWR,
            (true, false) => libc::O_RDONLY,
            _ => libc::O_WRONLY,
        };
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let pattern = handle.pattern()?;
        let flags = flag(pattern.is_nonblocking(), libc::O_NONBLOCK)
            | flag(pattern.is_packet_mode(), libc::O_DIRECT)
            | flag(pattern.is_signal_wanted(), PPIPE_SIGPIPE);
        Ok((access | flags) as usize)
    }))
}

/// Sets O_NONBLOCK, O_DIRECT (writes make packets) and PPIPE_SIGPIPE as flags says; others are ignored. As fcntl(F_SETFL).
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_setfl(p: *mut ppipe, flags: c_int) -> c_int {
    done(table::with(p, |handle| {
        let pattern = handle.pattern()?;
        pattern.set_nonblocking(flags & libc::O_NONBLOCK != 0);
        pattern.set_packet_mode(flags & libc::O_DIRECT != 0);
        pattern.want_signal(flags & PPIPE_SIGPIPE != 0);
        Ok(())
    }))
}

pub(crate) fn pointer(result: io::Result<*mut ppipe>) -> *mut ppipe {
    result.unwrap_or_else(|error| {
        tell(&error);
        core::ptr::null_mut()
    })
}
