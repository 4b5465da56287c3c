//! What reads the system. Whatever cannot be read is as if it were not there.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, StatVfsMountFlags, access, statfs, statvfs};
use rustix::process::{Resource, getrlimit};

use super::machine::{Elsewhere, FileSystem, Leavings, Limits, Machine, Processes, Share, SharedMemory, Use};
use super::{groups, logind, trials};
use crate::owners::as_owner_of;
use crate::pipes::segment_of;

const SHARED_MEMORY: &str = "/dev/shm";
/// What `statfs(2)` says of a tmpfs.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

pub(super) fn look() -> Machine {
    Machine {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        shared_memory: shared_memory(),
        logout: logind::look(),
        processes: processes(),
        elsewhere: elsewhere(),
        // What the dead left is looked at before something may be left by a trial.
        leavings: leavings(),
        trials: trials::look(),
        limits: limits(),
        groups: groups::look(),
        promises_left: promises_left(),
    }
}

fn shared_memory() -> SharedMemory {
    let Ok(metadata) = fs::metadata(SHARED_MEMORY) else { return SharedMemory::Missing };
    if !metadata.is_dir() {
        return SharedMemory::NoDirectory;
    }
    let (Ok(kind), Ok(state)) = (statfs(SHARED_MEMORY), statvfs(SHARED_MEMORY)) else { return SharedMemory::Missing };
    let share = |all, free| (all > 0).then_some(Share { all, free });
    SharedMemory::There(FileSystem {
        is_tmpfs: kind.f_type == TMPFS_MAGIC,
        is_read_only: state.f_flag.contains(StatVfsMountFlags::RDONLY),
        is_writable: access(SHARED_MEMORY, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
        room: share(state.f_blocks * state.f_frsize, state.f_bavail * state.f_frsize),
        files: share(state.f_files, state.f_favail),
    })
}

fn processes() -> Processes {
    let own = fs::read_link("/proc/self").ok().and_then(|id| id.to_str()?.parse::<u32>().ok());
    match own {
        Some(id) if id == std::process::id() => Processes::Own,
        Some(_) => Processes::Outer,
        None if Path::new("/proc/1").exists() => Processes::Foreign,
        None => Processes::Missing,
    }
}

fn elsewhere() -> Elsewhere {
    let identity = |path: &str| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let own = identity(SHARED_MEMORY);
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.parse::<u32>().ok()
    });
    let others: Vec<_> = numbers
        // The kernel's own threads have no program.
        .filter(|id| fs::read_link(format!("/proc/{id}/exe")).is_ok())
        .map(|id| identity(&format!("/proc/{id}/root{SHARED_MEMORY}")))
        .collect();
    let other_memory = others.iter().filter(|other| **other != own).count();
    Elsewhere { looked_at: others.len(), other_memory }
}

fn limits() -> Limits {
    let most = |resource| getrlimit(resource).current;
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').next()?.parse::<u64>().ok()).unwrap_or(0);
    let mapped = pages * rustix::param::page_size() as u64;
    let open = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    Limits {
        address_space: most(Resource::As).map(|most| Use { most, used: mapped }),
        file_size: most(Resource::Fsize),
        descriptors: most(Resource::Nofile).map(|most| Use { most, used: open }),
    }
}

fn promises_left() -> Option<u64> {
    let mode = fs::read_to_string("/proc/sys/vm/overcommit_memory").ok()?;
    left_of_promises(&mode, &fs::read_to_string("/proc/meminfo").ok()?)
}

/// Mode 2 of `proc_sys_vm(5)`: the kernel promises no more than it has.
fn left_of_promises(mode: &str, meminfo: &str) -> Option<u64> {
    let kib = |name: &str| -> Option<u64> {
        let value = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().strip_suffix(" kB")?.parse().ok()
    };
    let left = kib("CommitLimit")?.saturating_sub(kib("Committed_AS")?) * 1024;
    (mode.trim() == "2").then_some(left)
}

fn leavings() -> Leavings {
    let mut leavings = Leavings::default();
    for found in ppipe::names().unwrap_or_default() {
        let seen = as_owner_of(&found.path, || {
            let memory = fs::symlink_metadata(segment_of(&found)).map_or(0, |segment| segment.blocks() * 512);
            found.looks_abandoned().map(|is_abandoned| (is_abandoned == Some(true), memory))
        });
        match seen {
            Ok((true, memory)) => {
                leavings.abandoned += 1;
                leavings.memory += memory;
            }
            Ok((false, _)) => {}
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => leavings.unknown += 1,
            // Somebody else's.
            Err(_) => {}
        }
    }
    leavings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_promises_counts_only_where_they_are_kept() {
        let meminfo = "MemTotal:  100 kB\nCommitLimit:   300 kB\nCommitted_AS:  100 kB\n";
        assert_eq!(left_of_promises("2\n", meminfo), Some(200 * 1024));
        assert_eq!(left_of_promises("0\n", meminfo), None);
        assert_eq!(left_of_promises("2\n", "MemTotal: 100 kB\n"), None);
    }
}
