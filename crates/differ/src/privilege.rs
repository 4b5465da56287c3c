//! Who we are to the kernel: an ordinary user, as far as the size of pipes goes. One with `CAP_SYS_RESOURCE` may have pipes of any size.

use std::sync::LazyLock;
use std::{fs, thread_local};

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

thread_local! {
    static IS_ORDINARY: bool = {
        let is_ordinary = drop_privilege();
        if !is_ordinary {
            eprintln!("differ: CAP_SYS_RESOURCE cannot be dropped here: sizes above {} are left out", most_bytes());
        }
        is_ordinary
    };
}

/// Drops the privilege of this thread, once and for ever. Whether it is gone.
pub fn is_ordinary() -> bool {
    IS_ORDINARY.with(|&is_ordinary| is_ordinary)
}

/// What an ordinary user's pipe can grow to.
#[must_use]
pub fn most_bytes() -> usize {
    static MOST: LazyLock<usize> = LazyLock::new(|| {
        let text = fs::read_to_string("/proc/sys/fs/pipe-max-size").ok();
        text.and_then(|text| text.trim().parse().ok()).unwrap_or(1 << 20)
    });
    *MOST
}

fn drop_privilege() -> bool {
    let Ok(mut sets) = capabilities(None) else { return false };
    sets.effective.remove(CapabilitySet::SYS_RESOURCE);
    // What it comes to is what counts.
    _ = set_capabilities(None, sets);
    capabilities(None).is_ok_and(|sets| !sets.effective.contains(CapabilitySet::SYS_RESOURCE))
}
