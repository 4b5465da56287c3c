//! Limits of memory of control groups, `cgroups(7)`, of either version. A group's limit counts for all below it.

use std::fs;
use std::path::{Path, PathBuf};

use super::machine::{Group, Use};

/// The first version's way to say that there is no limit is a number near this.
const NO_LIMIT: u64 = 1 << 62;
/// In a group's folder: the limit, and what is used.
const FILES: [[&str; 2]; 2] = [["memory.max", "memory.current"], ["memory.limit_in_bytes", "memory.usage_in_bytes"]];

pub(super) fn look() -> Vec<Group> {
    let read = |file: &str| fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    folders(&read("cgroup"), &read("mountinfo")).iter().filter_map(|folder| group(folder)).collect()
}

fn group(folder: &Path) -> Option<Group> {
    let read = |file: &str| fs::read_to_string(folder.join(file)).ok();
    let memory = FILES.iter().find_map(|[most, used]| memory(&read(most)?, &read(used)?))?;
    Some(Group { path: folder.display().to_string(), memory })
}

fn memory(most: &str, used: &str) -> Option<Use> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let most = number(most).filter(|&most| most < NO_LIMIT)?;
    Some(Use { most, used: number(used)? })
}

/// The folders of our groups that can limit memory, and of those above them, the lowest first; by `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn folders(cgroup: &str, mounts: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let is_second = controllers.is_empty();
        if !is_second && !controllers.split(',').any(|controller| controller == "memory") {
            continue;
        }
        let mounted = mounts.lines().filter_map(|line| mount(line, is_second));
        for (root, point) in mounted {
            // What is mounted may be a part of the tree; a group outside of that cannot be seen.
            let below = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(""));
            let lowest: PathBuf = point.components().chain(below.components()).collect();
            folders.extend(lowest.ancestors().take_while(|folder| folder.starts_with(&point)).map(Path::to_owned));
        }
    }
    folders
}

/// The root and the place of a mounted tree of groups of that version which can limit memory.
fn mount(line: &str, is_second: bool) -> Option<(PathBuf, PathBuf)> {
    let (front, back) = line.split_once(" - ")?;
    let mut back = back.split(' ');
    let (kind, options) = (back.next()?, back.nth(1)?);
    let is_it = match kind {
        "cgroup2" => is_second,
        "cgroup" => !is_second && options.split(',').any(|option| option == "memory"),
        _ => false,
    };
    let mut front = front.split(' ').skip(3);
    let (root, point) = (front.next()?, front.next()?);
    is_it.then(|| (root.into(), point.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: &str = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n\
                          22 27 0:21 / /proc rw - proc proc rw\n";
    const FIRST: &str = "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                         35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";

    fn found(cgroup: &str, mounts: &str) -> Vec<String> {
        folders(cgroup, mounts).iter().map(|folder| folder.display().to_string()).collect()
    }

    #[test]
    fn a_group_of_the_second_version_is_limited_by_all_above_it() {
        let folders = found("0::/user.slice/a.scope\n", SECOND);
        assert_eq!(
            folders,
            ["/sys/fs/cgroup/user.slice/a.scope", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup"].map(str::to_owned)
        );
    }

    #[test]
    fn a_group_of_the_first_version_is_found_below_the_part_that_is_mounted() {
        let cgroup = "3:cpu:/x\n4:memory:/docker/abc/d\n";
        assert_eq!(found(cgroup, FIRST), ["/sys/fs/cgroup/memory/d", "/sys/fs/cgroup/memory"].map(str::to_owned));
        assert_eq!(found("4:memory:/elsewhere\n", FIRST), ["/sys/fs/cgroup/memory"].map(str::to_owned));
        assert_eq!(found("3:cpu:/x\n", FIRST), [""; 0]);
        assert_eq!(found("", SECOND), [""; 0]);
    }

    #[test]
    fn a_limit_is_a_number_and_a_huge_one_is_none() {
        assert_eq!(memory("1048576\n", "4096\n"), Some(Use { most: 1_048_576, used: 4096 }));
        assert_eq!(memory("max\n", "4096\n"), None);
        assert_eq!(memory("9223372036854771712\n", "4096\n"), None);
    }
}
