//! Names for tests: no other test has them, and nothing is left of them, not even of those of a run that was killed.
#![allow(dead_code, reason = "not every test file needs all of it")]

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::{fs, process};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

const SHARED_MEMORY: &str = "/dev/shm";
static SWEPT: Once = Once::new();

/// A name that no other test uses, and that is gone with whatever has it when the test ends, passed or failed.
#[derive(Debug)]
pub(crate) struct Name(pub(crate) String);

impl Name {
    /// Sweeps up behind earlier runs first.
    pub(crate) fn new(what: &str) -> Self {
        SWEPT.call_once(sweep);
        Self(format!("test-{}-{what}", process::id()))
    }

    pub(crate) fn path(&self) -> PathBuf {
        Path::new(SHARED_MEMORY).join(format!("ppipe-{}", self.0))
    }

    /// Everything in `/dev/shm` that has to do with the name.
    pub(crate) fn remains(&self) -> Vec<String> {
        let (finished, unfinished) = (format!("ppipe-{}", self.0), format!(".ppipe-{}.", self.0));
        all().filter(|name| *name == finished || name.starts_with(&unfinished)).collect()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        self.remains().iter().for_each(|file_name| remove(file_name));
    }
}

fn all() -> impl Iterator<Item = String> {
    let entries = fs::read_dir(SHARED_MEMORY).expect("shared memory");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
}

fn remove(file_name: &str) {
    let path = Path::new(SHARED_MEMORY).join(file_name);
    // Another run may be sweeping too, and what somebody else owns stays.
    let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
}

/// Removes what tests left whose process is no more: names contain its number.
pub(crate) fn sweep() {
    let owner = |file_name: &str| {
        let name = file_name.strip_prefix('.').unwrap_or(file_name).strip_prefix("ppipe-test-")?;
        let (pid, _) = name.split_once('-')?;
        Pid::from_raw(pid.parse().ok().filter(|&pid: &i32| pid > 0)?)
    };
    let is_left = |name: &String| owner(name).is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH));
    all().filter(is_left).for_each(|file_name| remove(&file_name));
}
