//! What was found, and nothing of what that means.

use serde::Serialize;

/// A machine, as one process sees it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    /// The kernel's release.
    pub(super) kernel: String,
    pub(super) shared_memory: SharedMemory,
    pub(super) logout: Logout,
    pub(super) processes: Processes,
    /// Of those processes that can be looked at, how many have another `/dev/shm` than we.
    pub(super) elsewhere: Elsewhere,
    pub(super) trials: Trials,
    pub(super) limits: Limits,
    /// The limits of memory of this process's control group and of those above it that have one.
    pub(super) groups: Vec<Group>,
    /// How much the kernel promises, if it promises no more than it has: bytes that are left of that.
    pub(super) promises_left: Option<u64>,
    pub(super) leavings: Leavings,
}

/// `/dev/shm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SharedMemory {
    Missing,
    /// There is something else of that name.
    NoDirectory,
    There(FileSystem),
}

/// What a directory is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct FileSystem {
    /// Whether it is a tmpfs, and so nothing but memory.
    pub(super) is_tmpfs: bool,
    pub(super) is_read_only: bool,
    /// Whether this user may make files there.
    pub(super) is_writable: bool,
    /// `None`: as much as there is memory.
    pub(super) room: Option<Share>,
    /// Files and directories, as many as there can be; `None`: as there is memory.
    pub(super) files: Option<Share>,
}

/// How much there is of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Share {
    pub(super) all: u64,
    pub(super) free: u64,
}

/// What happens to files in `/dev/shm` when this user logs out for the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Logout {
    /// Whether there is somebody who sees to it: systemd-logind.
    pub(super) is_managed: bool,
    /// `RemoveIPC` as it is configured, or would be if it is not.
    pub(super) removes: bool,
    /// Whose files stay: root's, and those of the users of the system's own services.
    pub(super) is_system_user: bool,
    /// Whether this user counts as logged in for ever.
    pub(super) lingers: bool,
}

/// `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Processes {
    Missing,
    /// It is that of another namespace of processes, in which we are not.
    Foreign,
    /// It is that of a namespace around ours, in which we have another number.
    Outer,
    Own,
}

/// How many others have another `/dev/shm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Elsewhere {
    pub(super) looked_at: usize,
    pub(super) other_memory: usize,
}

/// What came of trying something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Works,
    /// Why it does not.
    Fails(String),
    /// There was no pipe to try it with.
    Untried,
}

/// What was tried.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Trials {
    /// A pipe without a name, a packet through it.
    pub(super) unnamed_pipe: Outcome,
    /// One with a name: made, opened, used, and gone with its last end.
    pub(super) named_pipe: Outcome,
    /// Whether an end is known to be gone as soon as it is: by its lock.
    pub(super) locks: Outcome,
    /// `memfd_create` and its seals.
    pub(super) seals: Outcome,
    /// `futex_waitv`.
    pub(super) waiting: Outcome,
    /// `membarrier`.
    pub(super) fences: Outcome,
    /// `set_robust_list`, as far as the ends of a pipe are marked by it.
    pub(super) marks: Outcome,
}

/// Limits of this process; `None`: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Limits {
    pub(super) address_space: Option<Use>,
    pub(super) file_size: Option<u64>,
    pub(super) descriptors: Option<Use>,
}

/// A limit, and what of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Use {
    pub(super) most: u64,
    pub(super) used: u64,
}

impl Use {
    pub(super) fn left(self) -> u64 {
        self.most.saturating_sub(self.used)
    }
}

/// A control group with a limit of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Group {
    pub(super) path: String,
    pub(super) memory: Use,
}

/// What the dead left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Leavings {
    /// Names and half-made directories that nobody has any more.
    pub(super) abandoned: usize,
    /// Bytes of memory that they take.
    pub(super) memory: u64,
    /// Names that cannot be told to be a pipe's: damaged, or of another version.
    pub(super) unknown: usize,
}
