//! What was found, judged: each thing that a pipe needs is a point.
//!
//! `noexec`, `nosuid` and `nodev` of `/dev/shm` are no matter: nothing there is run, and the bells are FIFOs.

use super::machine::{
    Elsewhere, FileSystem, Group, Leavings, Limits, Logout, Machine, Outcome, Processes, Share, SharedMemory, Use,
};
use super::{Point, Verdict};
use crate::units::{bytes, things};

/// Memory of a pipe of usual size, with an end of each side.
const PIPE_MEMORY: u64 = 256 << 10;
/// What one can take that grows and has some large packets under way.
const PIPE_MEMORY_GROWN: u64 = 4 << 20;
/// Its file's size and so its address space, which is reserved and not used.
const PIPE_SIZE: u64 = 280 << 20;
/// The directory, the segment, two bells, and those that it takes while it is made.
const PIPE_FILES: u64 = 8;
/// An end has four with a name, and needs some more while it is made and while it waits.
const PIPE_DESCRIPTORS: u64 = 16;

/// All points, the more important ones first.
pub(super) fn judge(machine: &Machine) -> Vec<Point> {
    let mut points = vec![processes(machine.processes)];
    points.extend(shared_memory(machine.shared_memory));
    points.extend(trials(machine));
    points.extend(limits(machine.limits));
    points.push(groups(&machine.groups));
    points.push(promises(machine.promises_left));
    points.push(elsewhere(machine.elsewhere));
    points.push(logout(machine.logout));
    points.push(leavings(machine.leavings));
    points
}

fn well(name: &'static str, found: impl Into<String>) -> Point {
    Point { name, verdict: Verdict::Well, found: found.into(), advice: None }
}

fn note(name: &'static str, found: impl Into<String>, advice: &str) -> Point {
    Point { name, verdict: Verdict::Note, found: found.into(), advice: Some(advice.to_owned()) }
}

fn to_do(name: &'static str, found: impl Into<String>, advice: &str) -> Point {
    Point { name, verdict: Verdict::ToDo, found: found.into(), advice: Some(advice.to_owned()) }
}

fn processes(processes: Processes) -> Point {
    const NAME: &str = "/proc";
    const MOUNT: &str = "mount that of this one: `mount -t proc proc /proc`; no end can be made without";
    match processes {
        Processes::Own => well(NAME, "there, and of this namespace of processes"),
        Processes::Missing => to_do(NAME, "not there", MOUNT),
        Processes::Foreign => to_do(NAME, "that of another namespace of processes, in which we are not", MOUNT),
        Processes::Outer => note(
            NAME,
            "that of a namespace of processes around this one",
            "pipes work; `ppipe stat` says by which number a process is known there",
        ),
    }
}

fn shared_memory(found: SharedMemory) -> Vec<Point> {
    const NAME: &str = "/dev/shm";
    const MOUNT: &str =
        "mount a tmpfs there: `mount -t tmpfs -o mode=1777 tmpfs /dev/shm`; pipes without a name work all the same";
    let FileSystem { is_tmpfs, is_read_only, is_writable, room, files } = match found {
        SharedMemory::There(system) => system,
        SharedMemory::Missing => return vec![to_do(NAME, "not there", MOUNT)],
        SharedMemory::NoDirectory => return vec![to_do(NAME, "not a directory", MOUNT)],
    };
    let kind = match (is_tmpfs, is_read_only, is_writable) {
        (_, true, _) => to_do(NAME, "cannot be written to: it is mounted so", "`mount -o remount,rw /dev/shm`"),
        (_, _, false) => to_do(NAME, "this user may not make files there", "`chmod 1777 /dev/shm`, as root"),
        (false, ..) => to_do(NAME, "no tmpfs: what is in a pipe would be written to a disk", MOUNT),
        (true, ..) => well(NAME, "a tmpfs that can be written to"),
    };
    vec![kind, room_of(room), files_of(files)]
}

fn room_of(room: Option<Share>) -> Point {
    const NAME: &str = "room in /dev/shm";
    let Some(Share { all, free }) = room else { return well(NAME, "as much as there is memory") };
    let found = format!("{} free of {}", bytes(free), bytes(all));
    match free {
        _ if all < PIPE_MEMORY_GROWN => {
            to_do(NAME, found, "make it larger: `mount -o remount,size=64M /dev/shm`, or `--shm-size` of the container")
        }
        0..PIPE_MEMORY => to_do(
            NAME,
            found,
            "remove what nobody uses (`ppipe gc`, `du -a /dev/shm`), or make it larger: `mount -o remount,size=... /dev/shm`",
        ),
        PIPE_MEMORY..PIPE_MEMORY_GROWN => note(
            NAME,
            found,
            "enough for a pipe, and not for it to grow or for large packets: `ppipe gc`, or make it larger",
        ),
        _ => well(NAME, found),
    }
}

fn files_of(files: Option<Share>) -> Point {
    const NAME: &str = "files in /dev/shm";
    match files {
        None => well(NAME, "as many as there is memory for"),
        Some(Share { all, free }) => {
            let found = format!("{free} more of {all}");
            if free < PIPE_FILES {
                to_do(NAME, found, "remove what nobody uses (`ppipe gc`), or `mount -o remount,nr_inodes=... /dev/shm`")
            } else {
                well(NAME, found)
            }
        }
    }
}

fn trials(machine: &Machine) -> Vec<Point> {
    let trials = &machine.trials;
    let judge = |name, outcome: &Outcome, works: &str, fails: &dyn Fn(String) -> Point| match outcome {
        Outcome::Works => well(name, works),
        Outcome::Fails(why) => fails(why.clone()),
        Outcome::Untried => note(name, "not tried", "no pipe could be made to try it with"),
    };
    let needed =
        |name, outcome, works: &str, advice: &str| judge(name, outcome, works, &|why| to_do(name, why, advice));
    let old = |why: String| format!("{why}; the kernel is {}, or a filter of system calls forbids it", machine.kernel);
    let better =
        |name, outcome, works: &str, advice: &str| judge(name, outcome, works, &|why| note(name, old(why), advice));
    const ELSEWHERE: &str = "the other points may say why";
    vec![
        needed("unnamed pipe", &trials.unnamed_pipe, "made, a packet passed", ELSEWHERE),
        needed("named pipe", &trials.named_pipe, "made, opened, a packet passed, and gone", ELSEWHERE),
        needed(
            "locks",
            &trials.locks,
            "an end is seen to be there, and to be gone",
            "locks of open file descriptions do not work here: nobody would be known to have died",
        ),
        needed(
            "sealed memory",
            &trials.seals,
            "memfd_create and its seals",
            "pipes without a name cannot be made: allow memfd_create, or take Linux 3.17",
        ),
        better(
            "sleeping",
            &trials.waiting,
            "futex_waitv",
            "futex is used instead: calls that wait look again after a signal handler with SA_RESTART, and long ones more often; allow it, or take Linux 5.16",
        ),
        better(
            "fences",
            &trials.fences,
            "membarrier",
            "nobody sleeps for more than 50 ms at a time, which takes some CPU: allow it, or take Linux 4.16",
        ),
        better(
            "marks of deaths",
            &trials.marks,
            "set_robust_list",
            "a death is found by asking the kernel now and then instead, and not by the next call: allow it",
        ),
    ]
}

fn limits(limits: Limits) -> Vec<Point> {
    let Limits { address_space, file_size, descriptors } = limits;
    vec![
        match address_space {
            None => well("address space", "no limit"),
            Some(limit) if limit.left() < PIPE_SIZE => to_do(
                "address space",
                format!("{} left of {}", bytes(limit.left()), bytes(limit.most)),
                "an end of a pipe of usual size reserves 266 MiB of it: raise RLIMIT_AS (`ulimit -v`), or make pipes for fewer participants",
            ),
            Some(limit) => well("address space", format!("{} left of {}", bytes(limit.left()), bytes(limit.most))),
        },
        match file_size {
            None => well("size of files", "no limit"),
            Some(most) if most < PIPE_SIZE => to_do(
                "size of files",
                format!("{} at most", bytes(most)),
                "a pipe of usual size is a file of 266 MiB, nearly all of it without memory: raise RLIMIT_FSIZE (`ulimit -f`)",
            ),
            Some(most) => well("size of files", format!("{} at most", bytes(most))),
        },
        match descriptors {
            None => well("descriptors", "no limit"),
            Some(Use { most, .. }) if most < 2 * PIPE_DESCRIPTORS => to_do(
                "descriptors",
                format!("{most} at most"),
                "each end needs four: raise RLIMIT_NOFILE (`ulimit -n`)",
            ),
            Some(Use { most, .. }) => well("descriptors", format!("{most} at most, for some {} ends", most / 4)),
        },
    ]
}

fn groups(groups: &[Group]) -> Point {
    const NAME: &str = "memory limit";
    let Some(tightest) = groups.iter().min_by_key(|group| group.memory.left()) else {
        return well(NAME, "none: no control group has one");
    };
    let Group { path, memory } = tightest;
    let found = format!("{} left of {} in {path}", bytes(memory.left()), bytes(memory.most));
    if memory.left() < PIPE_MEMORY_GROWN {
        to_do(NAME, found, "raise it (memory.max): the kernel ends a process of the group where a pipe needs more")
    } else {
        note(NAME, found, "where a pipe needs more the kernel ends a process of the group, and no call fails before")
    }
}

fn promises(left: Option<u64>) -> Point {
    const NAME: &str = "promised memory";
    match left {
        None => well(NAME, "the kernel promises more than it has, as usual"),
        Some(left) if left < PIPE_MEMORY_GROWN => to_do(
            NAME,
            format!("{} left of what the kernel promises", bytes(left)),
            "vm.overcommit_memory is 2: end something, or raise vm.overcommit_ratio",
        ),
        Some(left) => well(NAME, format!("{} left of what the kernel promises", bytes(left))),
    }
}

fn elsewhere(found: Elsewhere) -> Point {
    const NAME: &str = "others' /dev/shm";
    let Elsewhere { looked_at, other_memory } = found;
    match other_memory {
        0 => well(NAME, format!("the same for all that can be looked at, {looked_at}")),
        _ => note(
            NAME,
            format!("another one for {other_memory} of {looked_at} processes that can be looked at"),
            "in containers, and services of their own: no name of here is known there; bind-mount one /dev/shm for both, or pass ends over a socket",
        ),
    }
}

fn logout(logout: Logout) -> Point {
    const NAME: &str = "logout";
    let Logout { is_managed, removes, is_system_user, lingers } = logout;
    match () {
        () if !is_managed => well(NAME, "nobody removes files: there is no systemd-logind"),
        () if !removes => well(NAME, "files stay: RemoveIPC=no"),
        () if is_system_user => well(NAME, "files stay: those of root and of services do"),
        () if lingers => well(NAME, "files stay: this user lingers"),
        () => to_do(
            NAME,
            "systemd-logind removes this user's names, also of pipes in use, when the last session ends",
            "`loginctl enable-linger`, or RemoveIPC=no in /etc/systemd/logind.conf, or run services as a system user",
        ),
    }
}

fn leavings(found: Leavings) -> Point {
    const NAME: &str = "left behind";
    let Leavings { abandoned, memory, unknown } = found;
    match (abandoned, unknown) {
        (0, 0) => well(NAME, "nothing"),
        (0, _) => to_do(
            NAME,
            format!("{}, damaged or of another version", things(unknown as u64, "name")),
            "`ppipe ls` says which; `ppipe rm NAME` removes one",
        ),
        (_, 0) => to_do(
            NAME,
            format!("{} of the dead, {}", things(abandoned as u64, "name"), bytes(memory)),
            "`ppipe gc` removes them",
        ),
        _ => to_do(
            NAME,
            format!(
                "{} of the dead, {}; {unknown} damaged or of another version",
                things(abandoned as u64, "name"),
                bytes(memory)
            ),
            "`ppipe gc` removes the former, `ppipe ls` tells the latter, `ppipe rm NAME` removes one",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::Trials;
    use super::*;

    const MIB: u64 = 1 << 20;

    /// One that has all that a pipe needs.
    fn sound() -> Machine {
        Machine {
            kernel: "6.18.0".to_owned(),
            shared_memory: SharedMemory::There(tmpfs()),
            logout: Logout { is_managed: true, removes: true, is_system_user: true, lingers: false },
            processes: Processes::Own,
            elsewhere: Elsewhere { looked_at: 7, other_memory: 0 },
            trials: Trials {
                unnamed_pipe: Outcome::Works,
                named_pipe: Outcome::Works,
                locks: Outcome::Works,
                seals: Outcome::Works,
                waiting: Outcome::Works,
                fences: Outcome::Works,
                marks: Outcome::Works,
            },
            limits: Limits { address_space: None, file_size: None, descriptors: Some(Use { most: 1024, used: 5 }) },
            groups: Vec::new(),
            promises_left: None,
            leavings: Leavings::default(),
        }
    }

    fn fails(why: &str) -> Outcome {
        Outcome::Fails(why.to_owned())
    }

    fn tmpfs() -> FileSystem {
        FileSystem {
            is_tmpfs: true,
            is_read_only: false,
            is_writable: true,
            room: Some(Share { all: 64 * MIB, free: 60 * MIB }),
            files: Some(Share { all: 1000, free: 900 }),
        }
    }

    /// The points of a machine that is sound but for that, and not well, as `name: verdict`; and what is said of them.
    fn found(change: impl FnOnce(&mut Machine)) -> (Vec<String>, String) {
        let mut machine = sound();
        change(&mut machine);
        let points = judge(&machine);
        let wrong = points.iter().filter(|point| point.verdict != Verdict::Well);
        let text =
            wrong.clone().map(|point| format!("{} -> {}; ", point.found, point.advice.as_deref().expect("what to do")));
        (wrong.clone().map(|point| format!("{}: {}", point.name, point.verdict.name())).collect(), text.collect())
    }

    #[track_caller]
    fn is(change: impl FnOnce(&mut Machine), expected: &[&str], says: &[&str]) {
        let (points, text) = found(change);
        assert_eq!(points, expected);
        for words in says {
            assert!(text.contains(words), "no {words:?} in {text:?}");
        }
    }

    #[test]
    fn on_a_sound_machine_all_is_well() {
        is(|_| {}, &[], &[]);
        is(
            |machine| machine.shared_memory = SharedMemory::There(FileSystem { room: None, files: None, ..tmpfs() }),
            &[],
            &[],
        );
    }

    #[test]
    fn shared_memory_that_is_missing_or_something_else_is_to_be_mounted() {
        let system = |system| move |machine: &mut Machine| machine.shared_memory = system;
        let there = |file_system| system(SharedMemory::There(file_system));
        is(system(SharedMemory::Missing), &["/dev/shm: TO DO"], &["not there", "mount -t tmpfs"]);
        is(system(SharedMemory::NoDirectory), &["/dev/shm: TO DO"], &["not a directory"]);
        is(there(FileSystem { is_tmpfs: false, ..tmpfs() }), &["/dev/shm: TO DO"], &["no tmpfs"]);
        is(there(FileSystem { is_read_only: true, ..tmpfs() }), &["/dev/shm: TO DO"], &["remount,rw"]);
        is(there(FileSystem { is_writable: false, ..tmpfs() }), &["/dev/shm: TO DO"], &["chmod 1777"]);
    }

    #[test]
    fn a_tmpfs_that_is_too_small_or_full_is_told_and_so_is_one_with_too_few_files() {
        let room = |all, free| {
            move |machine: &mut Machine| {
                machine.shared_memory = SharedMemory::There(FileSystem { room: Some(Share { all, free }), ..tmpfs() });
            }
        };
        is(room(MIB, MIB), &["room in /dev/shm: TO DO"], &["1 MiB free of 1 MiB", "--shm-size"]);
        is(room(64 * MIB, 8192), &["room in /dev/shm: TO DO"], &["8 KiB free of 64 MiB", "ppipe gc"]);
        is(room(64 * MIB, MIB), &["room in /dev/shm: note"], &["not for it to grow"]);
        is(
            |machine| {
                machine.shared_memory =
                    SharedMemory::There(FileSystem { files: Some(Share { all: 9, free: 2 }), ..tmpfs() });
            },
            &["files in /dev/shm: TO DO"],
            &["2 more of 9", "nr_inodes"],
        );
    }

    #[test]
    fn without_a_proc_of_its_own_no_end_can_be_made() {
        is(|machine| machine.processes = Processes::Missing, &["/proc: TO DO"], &["not there"]);
        is(|machine| machine.processes = Processes::Foreign, &["/proc: TO DO"], &["in which we are not"]);
        is(|machine| machine.processes = Processes::Outer, &["/proc: note"], &["pipes work"]);
    }

    #[test]
    fn an_old_kernel_is_a_note_that_says_what_is_done_instead() {
        is(
            |machine| {
                machine.kernel = "5.10.0".to_owned();
                machine.trials.waiting = fails("Function not implemented (os error 38)");
            },
            &["sleeping: note"],
            &["the kernel is 5.10.0", "futex is used instead", "5.16"],
        );
        is(
            |machine| {
                machine.trials.fences = fails("Operation not permitted");
                machine.trials.marks = fails("no");
            },
            &["fences: note", "marks of deaths: note"],
            &["50 ms", "asking the kernel"],
        );
    }

    #[test]
    fn what_no_pipe_works_without_is_to_be_done() {
        is(|machine| machine.trials.seals = fails("no"), &["sealed memory: TO DO"], &["memfd_create"]);
        is(|machine| machine.trials.locks = fails("no"), &["locks: TO DO"], &["do not work here"]);
        is(
            |machine| {
                machine.trials.named_pipe = fails("it is full");
                machine.trials.unnamed_pipe = fails("no memory");
            },
            &["unnamed pipe: TO DO", "named pipe: TO DO"],
            &["it is full", "no memory"],
        );
        is(|machine| machine.trials.marks = Outcome::Untried, &["marks of deaths: note"], &["not tried"]);
    }

    #[test]
    fn limits_that_are_too_low_are_told_with_their_names() {
        let limit = |change: fn(&mut Limits)| move |machine: &mut Machine| change(&mut machine.limits);
        let small = limit(|limits| limits.address_space = Some(Use { most: 300 * MIB, used: 290 * MIB }));
        is(small, &["address space: TO DO"], &["10 MiB left of 300 MiB", "RLIMIT_AS"]);
        is(limit(|limits| limits.address_space = Some(Use { most: 900 * MIB, used: MIB })), &[], &[]);
        is(limit(|limits| limits.file_size = Some(MIB)), &["size of files: TO DO"], &["1 MiB at most", "RLIMIT_FSIZE"]);
        is(limit(|limits| limits.file_size = Some(500 * MIB)), &[], &[]);
        let few = limit(|limits| limits.descriptors = Some(Use { most: 16, used: 5 }));
        is(few, &["descriptors: TO DO"], &["RLIMIT_NOFILE"]);
    }

    #[test]
    fn the_tightest_limit_of_memory_counts_and_is_known_to_end_processes() {
        let group = |path: &str, most, used| Group { path: path.to_owned(), memory: Use { most, used } };
        let groups = |groups: Vec<Group>| move |machine: &mut Machine| machine.groups = groups;
        let loose = group("/a", 900 * MIB, 100 * MIB);
        is(groups(vec![loose.clone()]), &["memory limit: note"], &["800 MiB left of 900 MiB in /a", "ends a process"]);
        is(groups(vec![loose, group("/b", 50 * MIB, 49 * MIB)]), &["memory limit: TO DO"], &["in /b", "memory.max"]);
        is(|machine| machine.promises_left = Some(MIB), &["promised memory: TO DO"], &["overcommit"]);
        is(|machine| machine.promises_left = Some(100 * MIB), &[], &[]);
    }

    #[test]
    fn who_has_another_shared_memory_is_a_note() {
        is(
            |machine| machine.elsewhere = Elsewhere { looked_at: 7, other_memory: 2 },
            &["others' /dev/shm: note"],
            &["2 of 7", "bind-mount"],
        );
    }

    #[test]
    fn names_that_a_logout_removes_are_told_to_ordinary_users_alone() {
        let ordinary = Logout { is_managed: true, removes: true, is_system_user: false, lingers: false };
        let logout = |logout| move |machine: &mut Machine| machine.logout = logout;
        is(logout(ordinary), &["logout: TO DO"], &["also of pipes in use", "enable-linger"]);
        is(logout(Logout { lingers: true, ..ordinary }), &[], &[]);
        is(logout(Logout { removes: false, ..ordinary }), &[], &[]);
        is(logout(Logout { is_managed: false, ..ordinary }), &[], &[]);
    }

    #[test]
    fn what_the_dead_left_is_to_be_removed() {
        let left = |leavings| move |machine: &mut Machine| machine.leavings = leavings;
        is(
            left(Leavings { abandoned: 3, memory: 8192, unknown: 0 }),
            &["left behind: TO DO"],
            &["3 names of the dead, 8 KiB", "ppipe gc"],
        );
        is(
            left(Leavings { abandoned: 0, memory: 0, unknown: 1 }),
            &["left behind: TO DO"],
            &["1 name, damaged", "ppipe rm NAME"],
        );
        is(
            left(Leavings { abandoned: 1, memory: 0, unknown: 2 }),
            &["left behind: TO DO"],
            &["1 name of the dead, 0 B; 2 damaged"],
        );
    }
}
