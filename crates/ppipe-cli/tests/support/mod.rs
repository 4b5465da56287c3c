//! Processes and names that a test never leaves behind, whether it passes or fails.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;

/// Nothing in these tests takes so long, on whatever machine; only a failure does.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// What became of a process.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// A running `ppipe`; killed by its id when dropped, and ended by the kernel when the thread that started it is gone.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stdout: File,
    stderr: File,
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a running process");
    }

    /// Bytes of standard output so far.
    pub(crate) fn output_len(&self) -> u64 {
        self.stdout.metadata().expect("the output's length").len()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("its status").is_some()
    }

    /// Whether its first thread sleeps.
    pub(crate) fn is_asleep(&self) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", self.id())).is_ok_and(|stat| stat.contains(") S "))
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let mut status = None;
        until("the process ends", || {
            status = self.child.try_wait().expect("its status");
            status.is_some()
        });
        let status = status.expect("a status");
        let mut stdout = Vec::new();
        let mut stderr = String::new();
        self.stdout.rewind().expect("the output");
        self.stdout.read_to_end(&mut stdout).expect("the output");
        self.stderr.rewind().expect("the errors");
        self.stderr.read_to_string(&mut stderr).expect("the errors");
        Ended { code: status.code(), signal: status.signal(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program with these arguments; its output is kept in files.
pub(crate) fn start<const N: usize>(arguments: [&str; N]) -> Running {
    start_with(arguments, |command| {
        command.stdin(Stdio::null());
    })
}

/// The same, changed by `change`, which can also put something else at its standard output.
pub(crate) fn start_with<const N: usize>(arguments: [&str; N], change: impl FnOnce(&mut Command)) -> Running {
    start_program(env!("CARGO_BIN_EXE_ppipe"), arguments, change)
}

/// The same with another program, which becomes ours.
pub(crate) fn start_program<const N: usize>(
    program: &str,
    arguments: [&str; N],
    change: impl FnOnce(&mut Command),
) -> Running {
    begin_with_signals_that_end();
    let file = || tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).expect("a file");
    let (stdout, stderr) = (file(), file());
    let mut command = Command::new(program);
    // If this test is killed the program ends too.
    command.args(arguments).env("PPIPE_STARTER", std::process::id().to_string());
    command.stdout(stdout.try_clone().expect("a file")).stderr(stderr.try_clone().expect("a file"));
    change(&mut command);
    Running { child: command.spawn().expect("the program starts"), stdout, stderr }
}

/// Whoever started the tests may ignore a signal, as shells do for what runs in the background, and what is started would go
/// on ignoring it. One that has a handler here, which does what the system does without, is as usual there.
fn begin_with_signals_that_end() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in [SIGINT, SIGTERM] {
            register_conditional_default(signal, Arc::new(AtomicBool::new(true))).expect("a handler");
        }
    });
}

pub(crate) fn run<const N: usize>(arguments: [&str; N]) -> Ended {
    start(arguments).end()
}

/// A terminal, and everything that is written to it.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// The side for programs.
    device: File,
    screen: thread::JoinHandle<Vec<u8>>,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).expect("a terminal");
        unlockpt(&master).expect("a terminal");
        let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).expect("a terminal");
        let path = ptsname(&master, Vec::new()).expect("a terminal");
        let device = File::options().read(true).write(true).open(path.to_str().expect("a path")).expect("a terminal");
        let mut master = File::from(master);
        let screen = thread::spawn(move || {
            let mut all = Vec::new();
            // The end is an error: nobody has the other side any more.
            let _ = master.read_to_end(&mut all);
            all
        });
        Self { device, screen }
    }

    pub(crate) fn device(&self) -> Stdio {
        self.device.try_clone().expect("a descriptor").into()
    }

    /// Everything that was written to it, once nobody has it any more.
    pub(crate) fn written(self) -> String {
        drop(self.device);
        String::from_utf8(self.screen.join().expect("no panic")).expect("text")
    }
}

/// Looks until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < DEADLINE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The child of process `parent` with `command` among its arguments, once there is one.
pub(crate) fn child_of(parent: u32, command: &str) -> u32 {
    let mut found = None;
    until("the child is there", || {
        found = processes().into_iter().find(|&id| {
            parent_of(id) == Some(parent)
                && fs::read(format!("/proc/{id}/cmdline"))
                    .is_ok_and(|line| line.split(|&byte| byte == 0).any(|argument| argument == command.as_bytes()))
        });
        found.is_some()
    });
    found.expect("a child")
}

/// Whether process `id` runs, as a child of anybody.
pub(crate) fn is_running(id: u32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Whether process `id` is stopped.
pub(crate) fn is_stopped(id: u32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| stat.contains(") T "))
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("the processes");
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn parent_of(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

pub(crate) fn kill(id: u32, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(id).expect("an id")).expect("an id");
    kill_process(id, signal).expect("a running process");
}

/// A pipe's name that nobody else uses; gone when dropped.
#[derive(Debug)]
pub(crate) struct Name(pub(crate) String);

impl Name {
    pub(crate) fn new(what: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(format!("cli-test-{what}-{}-{number}", std::process::id()))
    }

    pub(crate) fn path(&self) -> PathBuf {
        format!("/dev/shm/ppipe-{}", self.0).into()
    }

    pub(crate) fn is_there(&self) -> bool {
        self.path().exists()
    }

    /// Everything in shared memory that has to do with it.
    pub(crate) fn leavings(&self) -> Vec<String> {
        let entries = fs::read_dir("/dev/shm").expect("shared memory").flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|file| file.contains(&self.0))
            .collect()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.path());
    }
}
