//! What coordinators that were killed left in `/dev/shm`: their pipes' names, which say whose they were.

use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Removes every name of a storm whose coordinator is no more.
pub(crate) fn sweep() -> io::Result<()> {
    for entry in fs::read_dir("/dev/shm")? {
        let entry = entry?;
        let coordinator = entry.file_name().to_str().and_then(coordinator_of);
        if coordinator.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH)) {
            // Another storm may be sweeping too, and what somebody else owns stays.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

/// Something in `/dev/shm` that has to do with `name`, if that is one.
pub(crate) fn remains_of(name: &str) -> io::Result<Option<String>> {
    if name.is_empty() {
        return Ok(None);
    }
    for entry in fs::read_dir("/dev/shm")? {
        let file_name = entry?.file_name().to_string_lossy().into_owned();
        if file_name.contains(name) {
            return Ok(Some(file_name));
        }
    }
    Ok(None)
}

/// Whose a name is, finished or not, if it is a storm's.
fn coordinator_of(file_name: &str) -> Option<Pid> {
    let name = file_name.strip_prefix('.').unwrap_or(file_name).strip_prefix("ppipe-storm-")?;
    let (pid, _) = name.split_once('-')?;
    Pid::from_raw(pid.parse().ok().filter(|&pid: &i32| pid > 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_dead_are_swept_and_all_others_stay() {
        let mut child = std::process::Command::new("true").spawn().expect("a child");
        child.wait().expect("it ends");
        let (dead, alive) = (child.id(), std::process::id());
        let place = |name: String| {
            let path = std::path::Path::new("/dev/shm").join(name);
            fs::create_dir(&path).expect("a directory");
            path
        };
        let left = [place(format!("ppipe-storm-{dead}-5-a")), place(format!(".ppipe-storm-{dead}-5-b.1"))];
        let kept = [place(format!("ppipe-storm-{alive}-5-a")), place(format!("ppipe-storms-{dead}-5"))];
        sweep().expect("shared memory");
        let are_kept = kept.each_ref().map(|path| path.exists());
        for path in &kept {
            fs::remove_dir(path).expect("it is ours");
        }
        assert_eq!((left.map(|path| path.exists()), are_kept), ([false; 2], [true; 2]));
    }
}
