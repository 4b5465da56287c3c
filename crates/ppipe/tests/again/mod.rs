//! Child processes of a test: the test's own program, started again to run [`ROLE`]'s part and nothing else.
//!
//! A test file that uses this has a test `child_process` that runs what the environment says; on its own it does nothing.
#![allow(dead_code, reason = "not every test file needs all of it")]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getppid, kill_process, set_parent_process_death_signal, waitid,
};

/// The variable that says what part a child plays.
pub(crate) const ROLE: &str = "PPIPE_TEST_ROLE";
const PARENT: &str = "PPIPE_TEST_PARENT";

/// Between its fork and the end of its exec a child has copies of all descriptors of this process, and what is closed then is not closed yet.
static STARTING: Mutex<()> = Mutex::new(());

/// Closes an end of which no child has a copy when this returns, whatever other tests of this process are starting.
pub(crate) fn close<T>(end: T) {
    let _none = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    drop(end);
}

/// The command that plays `role`.
pub(crate) fn command(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("our own program"));
    command.args(["child_process", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(PARENT, std::process::id().to_string()).stdout(Stdio::null()).stdin(Stdio::null());
    command
}

/// The part that this process plays, if it is a child. It dies with its parent.
pub(crate) fn role() -> Option<String> {
    let role = std::env::var(ROLE).ok()?;
    set_parent_process_death_signal(Some(Signal::KILL)).expect("a signal");
    // A parent that died before that sends nothing any more.
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get().to_string());
    if parent != std::env::var(PARENT).ok() {
        std::process::exit(0);
    }
    Some(role)
}

/// What children complain of: what they write to their standard error, kept also of one that is killed while it fails.
pub(crate) struct Complaints(File);

impl Complaints {
    /// None so far.
    pub(crate) fn new() -> Self {
        Self(memfd_create("complaints", MemfdFlags::CLOEXEC).expect("memory").into())
    }

    /// Where a child is to complain.
    pub(crate) fn place(&self) -> Stdio {
        self.0.try_clone().expect("a descriptor").into()
    }

    /// All of them; empty if all is well.
    pub(crate) fn text(&self) -> String {
        let mut bytes = vec![0; self.0.metadata().expect("its size").len() as usize];
        self.0.read_exact_at(&mut bytes, 0).expect("its bytes");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A child that is killed when the test ends, whatever way.
pub(crate) struct Ward(Child);

impl Ward {
    /// Starts it; the command's value is gone then, and with it the ends that it hands over.
    pub(crate) fn start(mut command: Command) -> Self {
        Self::started_by(&mut command)
    }

    /// Starts one, and perhaps another one later.
    pub(crate) fn started_by(command: &mut Command) -> Self {
        Self::try_to_start(command).expect("a child")
    }

    /// The same, where it may be that this cannot be.
    pub(crate) fn try_to_start(command: &mut Command) -> io::Result<Self> {
        let _one = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let ward = Self(command.spawn()?);
        ward.has_its_program();
        Ok(ward)
    }

    /// Returns when its exec is over. `posix_spawn` returns before: its parent goes on when the child has left the memory that they share, and
    /// only then are the copies of descriptors closed (`begin_new_exec` in the kernel's fs/exec.c). No signal stops a process within a call like
    /// that one, so a child that stands is past it.
    fn has_its_program(&self) {
        self.signal(Signal::STOP);
        let past = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&self.0)), past).expect("it is ours");
        self.signal(Signal::CONT);
    }

    /// Kills it, and returns when nothing is left of it.
    pub(crate) fn kill(&mut self) {
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it is ours");
    }

    /// Sends it a signal, if it still runs.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.0);
        // It stays ours to be waited for, so the number is nobody else's.
        let _ = kill_process(pid, signal);
    }

    /// Stops it, and returns when it stands.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let stopped = waitid(WaitId::Pid(Pid::from_child(&self.0)), WaitIdOptions::STOPPED).expect("it is ours");
        assert!(stopped.is_some_and(|status| status.stopped()), "it has ended");
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end; whether it was a good one.
    pub(crate) fn has_succeeded(&mut self) -> bool {
        self.0.wait().expect("it is ours").success()
    }

    /// Its exit code, once it has ended; `None` instead of a code if a signal ended it.
    pub(crate) fn code(&mut self) -> Option<Option<i32>> {
        self.0.try_wait().expect("it is ours").map(|status| status.code())
    }

    /// Whether it has ended by itself, and how.
    pub(crate) fn ended(&mut self) -> Option<bool> {
        self.0.try_wait().expect("it is ours").map(|status| status.success())
    }
}

impl Drop for Ward {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
