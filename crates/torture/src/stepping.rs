//! A process that does one instruction at a time, because this thread traces it.
//!
//! ```text
//!   start ──> prepares ──> first mark ──> the operation ──> second mark ──> reports, ends
//!             at full speed     │   system call, some instructions, system call, ...  │
//!                               └── here every instruction is a place to stand ───────┘
//! ```
//!
//! A *mark* is a SIGSTOP that the victim sends to itself. From the first one on it can be led to any *place*: so many system
//! calls done, and so many instructions after the last of them. Led by calls it runs at full speed between them, so that a
//! place behind many thousand instructions costs some hundred steps.
//!
//! Only the thread that has started a process may lead it.

use std::io;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// So long a victim that neither stops nor sleeps is waited for: it hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// A victim that is found asleep in so many looks in a row sleeps until somebody wakes it.
const SLEEPING_LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_micros(300);

/// A place in an operation: where the next instruction has not been done yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// System calls that have been done.
    pub calls: u32,
    /// Instructions since then.
    pub steps: u32,
    /// Whether it sleeps in the next system call, and has been left there.
    pub is_asleep: bool,
}

/// Where a victim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// It has just done what was asked.
    Stands,
    /// It is asleep in a system call, and will be until something happens.
    Asleep,
    /// It has come to its next mark.
    Mark,
    /// It has ended, with this status or by this signal.
    Ended(i32),
}

/// A traced process. Dropping it kills it and waits until nothing is left of it.
#[derive(Debug)]
pub struct Victim {
    /// Only for what it has of pipes to the child.
    child: Child,
    pid: Pid,
    /// Whether it is inside a system call, seen to begin.
    is_in_call: bool,
    is_gone: bool,
}

/// What a child does first: from now on its parent traces it.
///
/// # Errors
/// If the system forbids it.
pub fn be_traced() -> io::Result<()> {
    Ok(ptrace::traceme()?)
}

/// Stops until the one who traces lets this process go on.
///
/// # Errors
/// What the system says.
#[inline(always)]
pub fn mark() -> io::Result<()> {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)?;
    Ok(())
}

impl Victim {
    /// Starts a victim and returns when it stands at its first mark. The handles of `command` that went with it are the caller's to drop.
    ///
    /// # Errors
    /// If it cannot be started, or ends before that.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn()?;
        let pid = Pid::from_raw(child.id() as i32);
        let mut victim = Self { child, pid, is_in_call: false, is_gone: false };
        match victim.wait()? {
            At::Mark => {}
            at => return Err(io::Error::other(format!("the victim is not at its mark but {at:?}"))),
        }
        ptrace::setoptions(pid, Options::PTRACE_O_EXITKILL | Options::PTRACE_O_TRACESYSGOOD)?;
        Ok(victim)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to its standard output, once it has ended.
    pub fn output(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Does one instruction; a system call with all that it does.
    ///
    /// # Errors
    /// What the system says, or that it hangs.
    pub fn step(&mut self) -> io::Result<At> {
        ptrace::step(self.pid, None)?;
        self.wait()
    }

    /// Goes on to the end of the next system call.
    ///
    /// # Errors
    /// As [`Victim::step`].
    pub fn finish_call(&mut self) -> io::Result<At> {
        if !self.is_in_call {
            ptrace::syscall(self.pid, None)?;
            let at = self.wait()?;
            if at != At::Stands {
                return Ok(at);
            }
            self.is_in_call = true;
        }
        ptrace::syscall(self.pid, None)?;
        self.end_call()
    }

    fn end_call(&mut self) -> io::Result<At> {
        let at = self.wait()?;
        if at != At::Asleep {
            self.is_in_call = false;
        }
        Ok(at)
    }

    /// Something has happened that lets one that slept go on: waits until the call is done.
    ///
    /// # Errors
    /// As [`Victim::step`].
    pub fn wake_up(&mut self) -> io::Result<At> {
        self.end_call()
    }

    /// Whether the next instruction is a system call.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_before_call(&self) -> io::Result<bool> {
        const SYSCALL: i64 = 0x050f;
        let at = ptrace::getregs(self.pid)?.rip;
        Ok(ptrace::read(self.pid, at as ptrace::AddressType)? & 0xffff == SYSCALL)
    }

    /// Goes on at full speed, to the next mark or the end.
    ///
    /// # Errors
    /// As [`Victim::step`].
    pub fn go_on(&mut self) -> io::Result<At> {
        ptrace::cont(self.pid, None)?;
        self.wait()
    }

    /// Is not traced any more but stopped, as by SIGSTOP; returns when it stands.
    ///
    /// # Errors
    /// What the system says.
    pub fn stop(&mut self) -> io::Result<()> {
        ptrace::detach(self.pid, Signal::SIGSTOP)?;
        match self.wait()? {
            At::Mark => Ok(()),
            at => Err(io::Error::other(format!("the victim does not stop but is {at:?}"))),
        }
    }

    /// Continues one that was stopped, as by SIGCONT, and returns when it has ended, or at its next mark, where it is stopped.
    ///
    /// # Errors
    /// As [`Victim::step`].
    pub fn continue_stopped(&mut self) -> io::Result<At> {
        nix::sys::signal::kill(self.pid, Signal::SIGCONT)?;
        self.wait()
    }

    /// Kills it, wherever it is, and returns when nothing is left of it.
    pub fn kill(&mut self) {
        if core::mem::replace(&mut self.is_gone, true) {
            return;
        }
        // It may have ended already; there is nothing more to be done.
        let _ = nix::sys::signal::kill(self.pid, Signal::SIGKILL);
        while !matches!(
            waitpid(self.pid, Some(WaitPidFlag::__WALL)),
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::ECHILD)
        ) {}
    }

    /// Waits until it stops, or sleeps for something that is not going to happen by itself.
    fn wait(&mut self) -> io::Result<At> {
        let start = Instant::now();
        let mut asleep = 0;
        // Nearly all stops come at once.
        for look in 0_u32.. {
            let flags = WaitPidFlag::WNOHANG | WaitPidFlag::__WALL | WaitPidFlag::WUNTRACED;
            match waitpid(self.pid, Some(flags))? {
                WaitStatus::StillAlive if look < 200 => thread::yield_now(),
                WaitStatus::StillAlive => {
                    asleep = if self.is_sleeping() { asleep + 1 } else { 0 };
                    if asleep == SLEEPING_LOOKS {
                        return Ok(At::Asleep);
                    }
                    if start.elapsed() > PATIENCE {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "the victim neither stops nor sleeps"));
                    }
                    thread::sleep(BETWEEN_LOOKS);
                }
                WaitStatus::Stopped(_, Signal::SIGSTOP) => return Ok(At::Mark),
                WaitStatus::Stopped(_, Signal::SIGTRAP) | WaitStatus::PtraceSyscall(_) => return Ok(At::Stands),
                WaitStatus::Stopped(_, signal) => {
                    return Err(io::Error::other(format!("the victim received {signal}")));
                }
                WaitStatus::Exited(_, status) => {
                    self.is_gone = true;
                    return Ok(At::Ended(status));
                }
                WaitStatus::Signaled(_, signal, _) => {
                    self.is_gone = true;
                    return Ok(At::Ended(-(signal as i32)));
                }
                _ => {}
            }
        }
        unreachable!("it looks until something is seen")
    }

    /// Whether it sleeps for something, and not for a time alone.
    fn is_sleeping(&self) -> bool {
        let read = |what| std::fs::read_to_string(format!("/proc/{}/{what}", self.pid)).unwrap_or_default();
        let is_asleep = read("stat").rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'));
        let call = || read("syscall").split(' ').next().and_then(|number| number.parse().ok());
        is_asleep && !matches!(call(), Some(libc::SYS_nanosleep | libc::SYS_clock_nanosleep))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.kill();
    }
}
