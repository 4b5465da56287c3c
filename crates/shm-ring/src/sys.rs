//! Every system call of the crate, each as the smallest function that says what it is for.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};
use std::time::Duration;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use rustix::thread::{MembarrierCommand, futex, membarrier};

use crate::forking::NoFork;
use crate::own_descriptor::OwnFd;
use crate::process::{self, Process};
use crate::sync::Slept;

pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Duration) -> Slept {
    wait_for_change(&[wait_for(word, expected)], (word, expected), timeout)
}

pub(crate) fn futex_wait_both(first: (&AtomicU32, u32), second: (&AtomicU32, u32), timeout: Duration) -> Slept {
    wait_for_change(&[wait_for(first.0, first.1), wait_for(second.0, second.1)], first, timeout)
}

fn wait_for_change(waits: &[futex::Wait], (word, expected): (&AtomicU32, u32), timeout: Duration) -> Slept {
    match waitv(waits, timeout) {
        Err(Errno::TIMEDOUT) => Slept::TimedOut,
        Err(Errno::INTR) => Slept::Interrupted,
        // A kernel before 5.16, or a filter of system calls.
        Err(Errno::NOSYS | Errno::PERM) => futex_wait_whatever_handlers_say(word, expected, timeout),
        _ => Slept::Woken,
    }
}

/// A pipe that a byte is copied to and taken out of again, of this process's own.
fn copy_pipe() -> io::Result<(OwnFd, OwnFd)> {
    static COPY: Mutex<Option<(Process, OwnFd, OwnFd)>> = Mutex::new(None);
    let make = || -> io::Result<(OwnFd, OwnFd)> {
        let (read_end, write_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        Ok((read_end.into(), write_end.into()))
    };
    let _no_fork = NoFork::hold();
    let mut copy = match COPY.try_lock() {
        Ok(copy) => copy,
        Err(TryLockError::Poisoned(copy)) => copy.into_inner(),
        // Others are at it, or were when this process was forked.
        Err(TryLockError::WouldBlock) => return make(),
    };
    if copy.as_ref().is_none_or(|(owner, ..)| !owner.is_this()) {
        let (read_end, write_end) = make()?;
        // A forked child closes its copies of its parent's.
        *copy = Some((Process::this(), read_end, write_end));
    }
    let Some((_, read_end, write_end)) = copy.as_ref() else { return Err(io::ErrorKind::NotFound.into()) };
    Ok((read_end.try_clone()?, write_end.try_clone()?))
}

/// More words than this the kernel does not look at.
const MOST_WORDS: usize = 128;
/// So long at most one sleeps where it cannot look at all words at once.
const BLIND: Duration = Duration::from_millis(5);

/// As [`futex_wait`], on several words.
pub(crate) fn futex_wait_any<'a>(words: impl Iterator<Item = (&'a AtomicU32, u32)>, timeout: Duration) -> Slept {
    let mut waits = [const { futex::Wait::new() }; MOST_WORDS];
    let mut count = 0;
    let mut timeout = timeout;
    for (word, expected) in words {
        match waits.get_mut(count) {
            Some(wait) => *wait = wait_for(word, expected),
            None => {
                timeout = timeout.min(BLIND);
                break;
            }
        }
        count += 1;
    }
    if count == 0 {
        return sleep(timeout);
    }
    match waitv(&waits[..count], timeout) {
        Err(Errno::TIMEDOUT) => Slept::TimedOut,
        Err(Errno::INTR) => Slept::Interrupted,
        Err(Errno::NOSYS | Errno::PERM) => sleep(timeout.min(BLIND)),
        _ => Slept::Woken,
    }
}

fn sleep(timeout: Duration) -> Slept {
    match rustix::event::poll(&mut [], Some(&timespec(timeout))) {
        Err(Errno::INTR) => Slept::Interrupted,
        _ => Slept::TimedOut,
    }
}

fn wait_for(word: &AtomicU32, expected: u32) -> futex::Wait {
    let mut wait = futex::Wait::new();
    wait.val = expected.into();
    wait.uaddr = futex::WaitPtr::new(core::ptr::from_ref(word).cast_mut().cast());
    wait.flags = futex::WaitFlags::SIZE_U32;
    wait
}

fn waitv(waits: &[futex::Wait], timeout: Duration) -> Result<usize, Errno> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Absolute, so that the kernel can go on with it after a signal handler.
    let end = now.checked_add(timespec(timeout)).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
    futex::waitv(waits, futex::WaitvFlags::empty(), Some(&end), futex::ClockId::Monotonic)
}

/// As [`futex_wait`], but a handler with `SA_RESTART` ends the sleep too, and so none counts as an interruption.
fn futex_wait_whatever_handlers_say(word: &AtomicU32, expected: u32, timeout: Duration) -> Slept {
    match futex::wait(word, futex::Flags::empty(), expected, Some(&timespec(timeout))) {
        Err(Errno::TIMEDOUT) => Slept::TimedOut,
        _ => Slept::Woken,
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}

/// Sleeps until `pipe`, which is open to read and blocking, has something in it or nobody has it open to write; takes nothing out.
/// `Err(INTR)` after a signal handler without `SA_RESTART`; others let it go on, as they do with nothing else that waits so. Mirrors `tee`.
pub(crate) fn wait_for_pipe(pipe: impl AsFd) -> io::Result<()> {
    let (read_end, write_end) = copy_pipe()?;
    let copied = rustix::pipe::tee(pipe, &write_end, 1, rustix::pipe::SpliceFlags::empty())?;
    if copied > 0 {
        // Whichever byte it is: each who has put one in takes one out.
        rustix::io::read(&read_end, &mut [0])?;
    }
    Ok(())
}

pub(crate) fn futex_wake(word: &AtomicU32, count: u32) -> usize {
    // The kernel takes a signed number.
    futex::wake(word, futex::Flags::empty(), count.min(i32::MAX as u32)).unwrap_or(0)
}

/// Lets others fence this process. Whether they can.
///
/// Once in a process, which takes some milliseconds if it has several threads. Mirrors
/// `membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED)`.
pub(crate) fn let_others_fence() -> bool {
    /// The generation of the process that has been registered: a forked child has not.
    static REGISTERED: AtomicU64 = AtomicU64::new(0);
    let process = process::generation();
    // Relaxed: the kernel's answer orders what there is to order.
    if REGISTERED.load(Ordering::Relaxed) == process {
        return true;
    }
    let is_registered = membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok();
    if is_registered {
        REGISTERED.store(process, Ordering::Relaxed);
    }
    is_registered
}

/// A full fence in every running thread of every process that has registered for it. Mirrors
/// `membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED)`.
pub(crate) fn fence_everybody() -> bool {
    membarrier(MembarrierCommand::GlobalExpedited).is_ok()
}

/// An anonymous file of `size` bytes that can neither shrink nor grow any more.
pub(crate) fn sealed_memory(name: &str, size: u64) -> io::Result<File> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let file = File::from(fd);
    set_size(&file, size)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(required_seals()))?;
    Ok(file)
}

/// Makes an empty file so large. `FileTooLarge` where the kernel would send a SIGXFSZ too.
pub(crate) fn set_size(file: &File, size: u64) -> io::Result<()> {
    if getrlimit(Resource::Fsize).current.is_some_and(|most| size > most) {
        return Err(Errno::FBIG.into());
    }
    Ok(rustix::fs::ftruncate(file, size)?)
}

/// Whether `file` is anonymous memory of ordinary pages whose size is sealed.
pub(crate) fn has_required_seals(file: &File) -> bool {
    // Huge pages know seals too, but a hole in them is a signal where there are none left.
    let is_ordinary = rustix::fs::fstatfs(file).is_ok_and(|system| system.f_type == TMPFS_MAGIC);
    // A file that knows no seals answers with an error, not with an empty set.
    let has_seals = || {
        fcntl(file, FcntlArg::F_GET_SEALS)
            .is_ok_and(|seals| SealFlag::from_bits_truncate(seals).contains(required_seals()))
    };
    is_ordinary && has_seals()
}

/// What `statfs(2)` says of tmpfs, which memfds are in too.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

fn required_seals() -> SealFlag {
    SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL
}

/// Takes the memory behind a part of the file now, so that a full file system is an error here and not a signal later. All of it or none; and
/// a file that somebody has shortened stays as short as it is: whoever uses it is to find out.
///
/// The kernel gives back what it has got so far when a signal comes, whatever its handler wants: with a timer that ticks faster than the memory
/// comes it would never be done. So no signal comes from the second try on.
pub(crate) fn take_memory(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let take = || rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, offset, len);
    match take() {
        Err(Errno::INTR) => {}
        result => return Ok(result?),
    }
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut before))?;
    let taken = loop {
        match take() {
            // Something else than a signal that wants this thread's attention, for once.
            Err(Errno::INTR) => {}
            result => break result,
        }
    };
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    Ok(taken?)
}

/// A new open file description of the same file, with locks of its own.
pub(crate) fn reopen(file: &File) -> io::Result<OwnFd> {
    reopen_number(file.as_raw_fd(), OFlags::RDWR)
}

/// A new open file description of what this process has by that number. Asks for no memory, since calls that wait do this.
pub(crate) fn reopen_number(number: RawFd, access: OFlags) -> io::Result<OwnFd> {
    let mut path = [0_u8; 32];
    let mut rest = &mut path[..];
    write!(rest, "/proc/self/fd/{number}")?;
    let left = rest.len();
    let path = &path[..path.len() - left];
    Ok(OwnFd::open(|| rustix::fs::open(path, access | OFlags::CLOEXEC, Mode::empty()))?)
}

/// Locks byte `at` for this open file description until it is unlocked or the last descriptor of it is closed, by
/// whatever end of its process. Returns whether it was free. Mirrors `fcntl(F_OFD_SETLK)`.
pub(crate) fn try_lock(fd: impl AsFd, at: u32) -> io::Result<bool> {
    match fcntl(fd, FcntlArg::F_OFD_SETLK(&byte_range(libc::F_WRLCK, at, 1))) {
        Ok(_) => Ok(true),
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// As [`try_lock`], but shared with others who lock so, and not seen by [`is_locked_elsewhere`]: keeps whoever would lock it
/// for itself out for a moment, without being taken for somebody.
pub(crate) fn try_lock_unseen(fd: impl AsFd, at: u32) -> io::Result<bool> {
    match fcntl(fd, FcntlArg::F_OFD_SETLK(&byte_range(libc::F_RDLCK, at, 1))) {
        Ok(_) => Ok(true),
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Unlocks byte `at`.
pub(crate) fn unlock(fd: impl AsFd, at: u32) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_OFD_SETLK(&byte_range(libc::F_UNLCK, at, 1)))?;
    Ok(())
}

/// Whether another open file description has locked one of `len` bytes from `at` for itself.
pub(crate) fn is_locked_elsewhere(fd: impl AsFd, at: u32, len: u32) -> io::Result<bool> {
    // Asked on behalf of a shared lock, which only exclusive ones stand in the way of.
    let mut found = byte_range(libc::F_RDLCK, at, len);
    fcntl(fd, FcntlArg::F_OFD_GETLK(&mut found))?;
    Ok(i32::from(found.l_type) != libc::F_UNLCK)
}

/// The first byte of a lock that another open file description has for itself among `len` bytes from `at`, if there is one; not of the first of them.
pub(crate) fn lock_elsewhere(fd: impl AsFd, at: u32, len: u32) -> io::Result<Option<u32>> {
    let mut found = byte_range(libc::F_RDLCK, at, len);
    fcntl(fd, FcntlArg::F_OFD_GETLK(&mut found))?;
    let is_locked = i32::from(found.l_type) != libc::F_UNLCK;
    Ok(is_locked.then(|| u32::try_from(found.l_start).unwrap_or(at).max(at)))
}

/// Whether another open file description has locked byte `at`, be it shared.
pub(crate) fn is_locked_even_unseen(fd: impl AsFd, at: u32) -> io::Result<bool> {
    // Asked on behalf of an exclusive lock, which any other one stands in the way of.
    let mut found = byte_range(libc::F_WRLCK, at, 1);
    fcntl(fd, FcntlArg::F_OFD_GETLK(&mut found))?;
    Ok(i32::from(found.l_type) != libc::F_UNLCK)
}

fn byte_range(kind: i32, at: u32, len: u32) -> libc::flock {
    libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: at.into(),
        l_len: len.into(),
        l_pid: 0,
    }
}

/// Whether exec closes the descriptor.
pub(crate) fn is_closed_on_exec(fd: impl AsFd) -> io::Result<bool> {
    Ok(rustix::io::fcntl_getfd(fd)?.contains(rustix::io::FdFlags::CLOEXEC))
}
