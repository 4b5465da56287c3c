#![allow(unsafe_code)]
//! Threads of our own in other people's processes: they take no signals, and keep no process alive. Unsafe because the C library's word of a thread is
//! looked at.
//!
//! ```text
//!   the program's threads    end one after the other (pthread_exit), the first one too     ──>  the last one of them ends the process,
//!   ours                     would be left, and nobody would ever learn that all is over        says the C library: not if there is one of ours
//! ```
//!
//! So one of ours sees to it: it sleeps until the program's first thread has ended, which nearly never happens, and then until each of the others has. If
//! only ours are left it ends the process, as the C library does.
//!
//! That the first thread has ended no descriptor tells (a `pidfd` of it waits for all of them, since Linux 6.15). But the kernel clears a word of the C
//! library's then and wakes who sleeps there: that is what `pthread_join` waits for (`set_tid_address`). Where it is only that thread itself can ask.

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::fs;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::own_descriptor::OwnFd;
use crate::{process, sys};

/// Enough for a few function calls that are not deep.
const STACK_SIZE: usize = 128 * 1024;
/// So often one who waits for a thread to begin lets others run, and then sleeps so long each time.
const MOST_YIELDS: u32 = 1000;
const BETWEEN_LOOKS: Duration = Duration::from_micros(200);
/// By this the names of ours begin.
const PREFIX: &str = "ppipe-";
/// So often the first thread is looked at if it was not there to be asked for its word; and if it was, in case that somebody else has been woken
/// instead.
const SELDOM: Duration = Duration::from_secs(60);
const VERY_SELDOM: Duration = Duration::from_secs(600);
/// So often the others are, where the system does not say when a thread ends.
const OFTEN: Duration = Duration::from_millis(100);

/// How many threads of ours there are, below the lower half of the generation that they belong to.
static OURS: AtomicU64 = AtomicU64::new(0);

/// The word that the kernel clears when the first thread ends, and of which process.
static FIRST_THREADS_WORD: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
static FIRST_THREADS_PROCESS: AtomicU64 = AtomicU64::new(0);

/// To be called now and then: if this is the first thread, it is known from now on when it ends.
pub fn ask_first_thread() {
    if rustix::thread::gettid() != rustix::process::getpid() {
        return;
    }
    if let Ok(Some(word)) = rustix::thread::get_clear_child_tid_address() {
        let word: *mut AtomicU32 = word.as_ptr().cast();
        // SAFETY: the C library has said to the kernel that it may write a word there when this thread ends.
        let says = unsafe { &*word }.load(Ordering::Relaxed);
        // Some libraries have another word cleared (musl a lock), by which nothing can be told.
        if says != first_threads_number() {
            return;
        }
        FIRST_THREADS_WORD.store(word, Ordering::Relaxed);
        // Release: whoever sees it sees the word.
        FIRST_THREADS_PROCESS.store(process::generation(), Ordering::Release);
    }
}

fn first_threads_number() -> u32 {
    rustix::process::getpid().as_raw_nonzero().get().cast_unsigned()
}

fn first_threads_word() -> Option<&'static AtomicU32> {
    // Acquire: as above.
    let is_known = FIRST_THREADS_PROCESS.load(Ordering::Acquire) == process::generation();
    let word = FIRST_THREADS_WORD.load(Ordering::Relaxed).cast_const().cast::<AtomicU32>();
    if !is_known {
        return None;
    }
    // SAFETY: the C library has said to the kernel that it may write a word there when the first thread ends, whose memory is there as long as the process.
    unsafe { word.as_ref() }
}

/// Starts a thread; `name` begins with "ppipe-".
///
/// # Errors
/// What the system says.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    debug_assert!(name.starts_with(PREFIX), "it is known by that");
    ask_first_thread();
    // It takes no signals from anybody, but for the one that says that the memory it looks at is gone.
    let (mut others, mut before) = (SigSet::all(), SigSet::empty());
    others.remove(Signal::SIGBUS);
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&others), Some(&mut before))?;
    let is_counted = Arc::new(AtomicBool::new(false));
    let has_begun = Arc::clone(&is_counted);
    let started = thread::Builder::new().name(name.to_owned()).stack_size(STACK_SIZE).spawn(move || {
        let _counted = Counted::new();
        // Relaxed: whoever asks the kernel for its name comes after both.
        has_begun.store(true, Ordering::Relaxed);
        drop(has_begun);
        run();
    });
    if started.is_ok() {
        // Until it has its name, too, it looks like one of the program's.
        wait_until(|| is_counted.load(Ordering::Relaxed).then_some(()));
    }
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    started.map(drop)
}

/// Waits for a thread that has just been started. Not asleep to begin with: a signal that comes meanwhile is not one that comes in the sleep of a call.
pub(crate) fn wait_until<T>(look: impl Fn() -> Option<T>) -> T {
    for looks in 0_u32.. {
        if let Some(seen) = look() {
            return seen;
        }
        // Whoever waits may be of those who run before all others.
        if looks < MOST_YIELDS { thread::yield_now() } else { thread::sleep(BETWEEN_LOOKS) }
    }
    unreachable!("it looks until something is seen")
}

/// A thread of ours, as long as it runs.
struct Counted;

impl Counted {
    fn new() -> Self {
        change(|count| count + 1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        change(|count| count.saturating_sub(1));
    }
}

/// A forked child has none, whatever was counted before.
fn count_in(packed: u64) -> u64 {
    let is_of_this_process = packed >> 32 == process::generation() & 0xffff_ffff;
    if is_of_this_process { packed & 0xffff_ffff } else { 0 }
}

fn change(change: impl Fn(u64) -> u64) {
    let generation = process::generation() << 32;
    // Relaxed: a number.
    let _ = OURS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |packed| {
        Some(generation | change(count_in(packed)) & 0xffff_ffff)
    });
}

/// Sleeps as long as the program has threads, and ends the process then: what one of ours does.
pub(crate) fn outlive_the_program() -> ! {
    // First, so that it opens nothing beside a program that counts its descriptors.
    wait_for_end_of_first();
    loop {
        match what_is_left() {
            Some(Left::Threads(thread)) => wait_for_end_of(thread),
            Some(Left::OnlyOurs) => end_the_process(),
            // Without /proc nobody can tell.
            None => thread::park(),
        }
    }
}

/// Who is there besides ours.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// Some; this is one of them, or one of them has just ended.
    Threads(Option<Pid>),
    OnlyOurs,
}

fn what_is_left() -> Option<Left> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let (has_first_ended, threads) = parse(&status)?;
    if !has_first_ended {
        return Some(Left::Threads(Some(rustix::process::getpid())));
    }
    // The first one, though it has ended, is counted as long as others are there. Relaxed: a number.
    if threads == count_in(OURS.load(Ordering::Relaxed)) + 1 {
        return Some(Left::OnlyOurs);
    }
    Some(Left::Threads(one_of_the_programs()))
}

/// Whether the first thread has ended, and how many there are, it included.
fn parse(status: &str) -> Option<(bool, u64)> {
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
    let (state, threads) = (field("State:")?.trim(), field("Threads:")?.trim());
    Some((state.starts_with(['Z', 'X']), threads.parse().ok()?))
}

/// A thread that is neither the first one nor ours.
fn one_of_the_programs() -> Option<Pid> {
    let first = std::process::id().to_string();
    let is_ours = |thread: &str| {
        fs::read_to_string(format!("/proc/self/task/{thread}/comm")).is_ok_and(|name| name.starts_with(PREFIX))
    };
    let threads =
        fs::read_dir("/proc/self/task").ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let thread = { threads }.find(|thread| *thread != first && !is_ours(thread))?;
    Pid::from_raw(thread.parse().ok()?)
}

fn wait_for_end_of(thread: Option<Pid>) {
    if thread == Some(rustix::process::getpid()) {
        return wait_for_end_of_first();
    }
    let seen = thread.and_then(|thread| {
        let descriptor = OwnFd::open(|| pidfd_open(thread, PidfdFlags::from_bits_retain(PIDFD_THREAD))).ok()?;
        poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&Timespec { tv_sec: 10, tv_nsec: 0 })).ok()
    });
    if seen.is_none() {
        thread::sleep(OFTEN);
    }
}

fn wait_for_end_of_first() {
    let Some(word) = first_threads_word() else { return thread::sleep(SELDOM) };
    // Not private: so the kernel wakes.
    sys::futex_wait(word, first_threads_number(), VERY_SELDOM);
    // It wakes one, and somebody may be waiting to join the thread.
    sys::futex_wake(word, u32::MAX);
    if word.load(Ordering::Relaxed) == 0 {
        // It is about to.
        while what_is_left().is_some_and(|left| left == Left::Threads(Some(rustix::process::getpid()))) {
            thread::sleep(OFTEN);
        }
    }
}

/// For a thread and not for its process; since Linux 6.9. `PIDFD_THREAD` of `linux/pidfd.h`.
const PIDFD_THREAD: u32 = rustix::fs::OFlags::EXCL.bits();

/// As the C library does when the last thread ends: what is to be done at exit needs more of a stack than this thread has.
fn end_the_process() -> ! {
    let exits = thread::Builder::new().name("ppipe-exit".to_owned()).spawn(|| std::process::exit(0));
    if exits.is_err() {
        std::process::exit(0);
    }
    loop {
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_whose_first_thread_lives_goes_on() {
        assert_eq!(what_is_left(), Some(Left::Threads(Some(rustix::process::getpid()))));
        assert_eq!(parse("Name:\ta\nState:\tS (sleeping)\nThreads:\t7\n"), Some((false, 7)));
        assert_eq!(parse("Name:\tState:\nState:\tZ (zombie)\nThreads:\t2\n"), Some((true, 2)));
        assert_eq!(parse("State:\tZ (zombie)\n"), None);
    }
}
