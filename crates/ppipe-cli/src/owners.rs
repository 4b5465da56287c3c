//! What root does with the pipes of others: it acts as their owner, and so comes to nothing that the owner could not do.
//!
//! The library opens only pipes of the same user or of root, since whoever owns one can do to its memory what he likes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use rustix::process::{Uid, geteuid};
use rustix::thread::set_thread_res_uid;

/// Does `act` as the owner of `path` if this process is root's, else as it is.
pub(crate) fn as_owner_of<T: Send>(path: &Path, act: impl FnOnce() -> T + Send) -> T {
    let owner = fs::symlink_metadata(path).ok().map(|metadata| Uid::from_raw(metadata.uid()));
    let Some(owner) = owner.filter(|owner| geteuid().is_root() && !owner.is_root()) else { return act() };
    let act_as_owner = || {
        // Of this thread alone. If it fails the library says whose it is.
        let _ = set_thread_res_uid(owner, owner, owner);
        act()
    };
    thread::scope(|scope| scope.spawn(act_as_owner).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}
