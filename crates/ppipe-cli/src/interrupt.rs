//! Signals that ask to end: noticed, so that a name is not left behind.
//!
//! The first SIGINT, SIGTERM or SIGHUP is noticed by whoever waits with [`Interrupt::wait_for`] or asks
//! [`Interrupt::check`], who then drops what it has. A later one ends the process at once. A signal that was ignored when
//! the process started stays ignored, as under `nohup`.
//!
//! # Why a signal that is sent twice counts once
//! `timeout` signals its child and then its whole group, so one wish to end arrives twice. What comes within
//! [`REPEAT_TIME`] of the first signal changes nothing; only after that has the user lost patience.

use std::fs;
use std::io::{self, PipeReader};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::Failure;

const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
/// For so long after the first signal others are the same wish.
const REPEAT_TIME: Duration = Duration::from_millis(500);

/// Whether a signal has come.
#[derive(Debug)]
pub(crate) struct Interrupt {
    /// 0: none.
    signal: Arc<AtomicI32>,
    /// Hung up when a signal has come.
    hang_up: PipeReader,
    listener: JoinHandle<()>,
}

impl Interrupt {
    /// Starts to listen. When the first signal has come, and been made known, `on_signal` runs in a thread of its own, with the
    /// signal's number.
    pub(crate) fn listen(on_signal: impl FnOnce(i32) + Send + 'static) -> io::Result<Self> {
        let is_impatient = Arc::new(AtomicBool::new(false));
        let ignored = ignored_signals();
        let signals = SIGNALS.into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0).collect::<Vec<_>>();
        for &signal in &signals {
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&is_impatient))?;
        }
        let mut signals = Signals::new(signals)?;
        let (hang_up, waker) = io::pipe()?;
        let seen = Arc::new(AtomicI32::new(0));
        let signal = Arc::clone(&seen);
        let listener = thread::spawn(move || {
            if let Some(number) = signals.forever().next() {
                // Release: pairs with the Acquire in `check`. Nothing but the number is passed on by it.
                seen.store(number, Ordering::Release);
                thread::spawn(move || {
                    thread::sleep(REPEAT_TIME);
                    is_impatient.store(true, Ordering::Release);
                });
                drop(waker);
                on_signal(number);
            }
        });
        Ok(Self { signal, hang_up, listener })
    }

    /// Fails if a signal has come.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.signal.load(Ordering::Acquire) {
            0 => Ok(()),
            signal => Err(Failure::Interrupted { signal }),
        }
    }

    /// Waits until `file` can be read. Fails if a signal comes.
    pub(crate) fn wait_for(&self, file: impl AsFd) -> Result<(), Failure> {
        loop {
            let mut polled = [PollFd::new(&file, PollFlags::IN), PollFd::new(&self.hang_up, PollFlags::IN)];
            let result = poll(&mut polled, None);
            self.check()?;
            match result {
                Ok(_) if !polled[0].revents().is_empty() => return Ok(()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Failure::new("standard input", error)),
            }
        }
    }

    /// Waits until what runs on a signal has done so, if there was one.
    pub(crate) fn finish(self) {
        if self.check().is_err() {
            // If it panicked it has said so, and there is nothing left to wait for.
            let _ = self.listener.join();
        }
    }
}

/// The signals that whoever started us has had ignored, one bit each; none if the kernel does not tell.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
