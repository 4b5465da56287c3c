//! Making, opening, duplicating and closing handles, and their flags.

use std::io;

use nix::libc::{self, c_char, c_int, mode_t};
use ppipe_rs::{Builder, Reader, Writer};

use crate::cancel::Uncancelled;
use crate::error::{done, number, of, tell};
use crate::pointers::text;
use crate::{ppipe, table};

/// With ppipe_setfl: a call that finds the pipe broken sends SIGPIPE besides.
pub const PPIPE_SIGPIPE: c_int = 0x4000_0000;

const FLAGS_OF_PIPE: c_int = libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_DIRECT;
/// What a description keeps, and shows, of what it was opened with, though it means nothing to a pipe.
const KEPT_OF_OPEN: c_int =
    libc::O_APPEND | libc::O_ASYNC | libc::O_NOATIME | libc::O_SYNC | libc::O_DSYNC | libc::O_NOFOLLOW;
/// Those of them that can be set later. No signal comes of O_ASYNC, since nobody can say to whom.
const KEPT_OF_SETFL: c_int = libc::O_APPEND | libc::O_ASYNC | libc::O_NOATIME;
/// It was opened with O_ASYNC, which the kernel does not take away then. Beside the flags, and of none of them.
const OPENED_ASYNC: c_int = 1 << 26;

/// cbindgen:ptrs-as-arrays=[[end;2]]
/// Makes a pipe; the first end reads, the second one writes. Flags: O_NONBLOCK, O_CLOEXEC, O_DIRECT. As pipe2(2).
#[allow(rustdoc::broken_intra_doc_links, reason = "the first line is for cbindgen")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_pipe2(end: *mut *mut ppipe, flags: c_int) -> c_int {
    let make = || {
        let _uncancelled = Uncancelled::begin();
        if flags & !FLAGS_OF_PIPE != 0 {
            return Err(of(libc::EINVAL));
        }
        if end.is_null() {
            return Err(of(libc::EFAULT));
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
/// is made if there is none, with O_EXCL besides it must not be there. Flags that mean nothing to a FIFO, as O_TRUNC, mean nothing here. Only its
/// user can open it, whatever the mode says. The name is gone with its last handle, be it closed by exit(3). Null and errno if that fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_open(name: *const c_char, oflags: c_int, mode: mode_t) -> *mut ppipe {
    let _ = mode;
    let _uncancelled = Uncancelled::begin();
    // SAFETY: as the caller promises.
    let opened = unsafe { text(name) }.and_then(|name| open(name, oflags));
    pointer(opened)
}

fn open(name: &str, oflags: c_int) -> io::Result<*mut ppipe> {
    check_open(oflags)?;
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
        libc::O_RDONLY => add(Some(builder(is_nonblocking).open_reader(name)?), None, oflags),
        libc::O_WRONLY => add(None, Some(builder(is_nonblocking).open_writer(name)?), oflags),
        libc::O_RDWR => {
            let reader = builder(true).open_reader(name)?;
            // Of the very same pipe, whatever the name has come to mean.
            both(reader, oflags)
        }
        _ => Err(of(libc::EINVAL)),
    }
}

/// As the kernel: flags that it does not know it passes over. A descriptor of a place only (O_PATH) has no relative here.
fn check_open(oflags: c_int) -> io::Result<()> {
    let has = |flags| oflags & flags == flags;
    let is_readable = oflags & libc::O_ACCMODE == libc::O_RDONLY;
    if oflags & (libc::O_DIRECT | libc::O_PATH) != 0 {
        return Err(of(libc::EINVAL));
    }
    if has(libc::O_DIRECTORY) {
        let is_nonsense = has(libc::O_CREAT) || (has(libc::O_TMPFILE) && is_readable);
        return Err(of(if is_nonsense { libc::EINVAL } else { libc::ENOTDIR }));
    }
    Ok(())
}

/// A handle of these ends, which share their flags; it keeps what it was opened with.
fn add(reader: Option<Reader>, writer: Option<Writer>, oflags: c_int) -> io::Result<*mut ppipe> {
    let pattern = writer.as_ref().map(Writer::pattern).or_else(|| reader.as_ref().map(Reader::pattern));
    if let Some(pattern) = pattern {
        let is_async = if oflags & libc::O_ASYNC != 0 { OPENED_ASYNC } else { 0 };
        pattern.keep_flags((oflags & KEPT_OF_OPEN | is_async) as u32, (KEPT_OF_OPEN | OPENED_ASYNC) as u32);
    }
    table::add(reader, writer)
}

/// One description that is open to read and to write.
fn both(mut reader: Reader, oflags: c_int) -> io::Result<*mut ppipe> {
    let writer = reader.reopen_writer(oflags & libc::O_NONBLOCK != 0)?;
    reader.share_flags(&writer);
    add(Some(reader), Some(writer), oflags)
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

/// Another handle of the same pipe with a description, and flags, of its own: as ppipe_open, O_RDONLY, O_WRONLY or O_RDWR, and O_NONBLOCK. If
/// the pipe has a name it waits as ppipe_open does, else never. As opening /proc/self/fd/N.
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_reopen(p: *mut ppipe, oflags: c_int) -> *mut ppipe {
    let _uncancelled = Uncancelled::begin();
    let is_nonblocking = oflags & libc::O_NONBLOCK != 0;
    let reopened = table::with(p, |handle| {
        check_open(oflags)?;
        if oflags & libc::O_NOFOLLOW != 0 {
            return Err(of(libc::ELOOP));
        }
        if oflags & libc::O_CREAT != 0 && oflags & libc::O_EXCL != 0 {
            return Err(of(libc::EEXIST));
        }
        let reader = |is_nonblocking| match handle.reader() {
            Ok(reader) => reader.reopen_reader(is_nonblocking),
            Err(_) => handle.writer()?.reopen_reader(is_nonblocking),
        };
        let writer = || match handle.reader() {
            Ok(reader) => reader.reopen_writer(is_nonblocking),
            Err(_) => handle.writer()?.reopen_writer(is_nonblocking),
        };
        match oflags & libc::O_ACCMODE {
            libc::O_RDONLY => add(Some(reader(is_nonblocking)?), None, oflags),
            libc::O_WRONLY => add(None, Some(writer()?), oflags),
            libc::O_RDWR => both(reader(true)?, oflags),
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

/// The flags: how it was opened, O_NONBLOCK, O_DIRECT, PPIPE_SIGPIPE, and those that are only kept. As fcntl(F_GETFL).
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
            | flag(pattern.is_signal_wanted(), PPIPE_SIGPIPE)
            | pattern.kept_flags() as c_int & !OPENED_ASYNC;
        Ok((access | flags) as usize)
    }))
}

/// Sets O_NONBLOCK, O_DIRECT (writes make packets) and PPIPE_SIGPIPE as flags says; keeps O_APPEND, O_ASYNC and O_NOATIME, which have no effect; others are
/// ignored. As fcntl(F_SETFL).
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_setfl(p: *mut ppipe, flags: c_int) -> c_int {
    done(table::with(p, |handle| {
        let pattern = handle.pattern()?;
        pattern.set_nonblocking(flags & libc::O_NONBLOCK != 0);
        pattern.set_packet_mode(flags & libc::O_DIRECT != 0);
        pattern.want_signal(flags & PPIPE_SIGPIPE != 0);
        let is_opened_async = pattern.kept_flags() as c_int & OPENED_ASYNC != 0;
        let mask = if is_opened_async { KEPT_OF_SETFL & !libc::O_ASYNC } else { KEPT_OF_SETFL };
        pattern.keep_flags(flags as u32, mask as u32);
        Ok(())
    }))
}

pub(crate) fn pointer(result: io::Result<*mut ppipe>) -> *mut ppipe {
    result.unwrap_or_else(|error| {
        tell(&error);
        core::ptr::null_mut()
    })
}
