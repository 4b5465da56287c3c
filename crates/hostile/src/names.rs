//! Names of pipes that nobody else has, and that are gone with whatever has them when this is dropped, or, after a kill, with the next one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

const ROOT: &str = "/dev/shm";
const PREFIX: &str = "ppipe-test-";

/// A name.
#[derive(Debug)]
pub struct Name(String);

impl Name {
    /// One of this process's. Sweeps up behind those that are no more.
    #[must_use]
    pub fn new(what: &str) -> Self {
        sweep();
        Self(format!("test-{}-{what}", process::id()))
    }

    /// As it is given to the pipe.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The file of the pipe's memory.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        Path::new(ROOT).join(format!("ppipe-{}/segment", self.0))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // It may be gone.
        let _ = fs::remove_dir_all(Path::new(ROOT).join(format!("ppipe-{}", self.0)));
    }
}

fn sweep() {
    let Ok(entries) = fs::read_dir(ROOT) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner =
            name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).and_then(|(pid, _)| pid.parse().ok());
        let is_left = owner.and_then(Pid::from_raw).is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH));
        if is_left {
            // Another one may be sweeping too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
