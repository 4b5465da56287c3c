//! What an owner word says: whose the entry is, and what has become of that process. Who writes it is `robust_list`'s affair, and the kernel's.
//!
//! ```text
//!   0                          nobody who would be marked
//!   number | WAITERS           the thread that owns this process's words; it lives
//!   WAITERS | DIED             it has died, says the kernel, and the others do not know yet
//!   DIED                       and one of those who know has told the others; or one is leaving, or has left
//! ```

/// What the kernel puts in place of nothing else, beside the owner's number: `FUTEX_OWNER_DIED` of `linux/futex.h`.
const DIED: u32 = 0x4000_0000;
/// Without it the kernel wakes nobody: `FUTEX_WAITERS`.
pub(crate) const WAITERS: u32 = 0x8000_0000;

/// What an owner word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(pub(crate) u32);

impl Owner {
    /// Nobody who would be marked.
    pub(crate) const NOBODY: Self = Self(0);
    /// One who is leaving: gone as soon as it has let go of its lock.
    pub(crate) const LEAVING: Self = Self(DIED);

    /// Whether it is one who will be marked when it dies, and has not been.
    pub(crate) fn is_marked_at_death(self) -> bool {
        self.0 & WAITERS != 0 && self.0 & DIED == 0
    }

    /// Whether its process has died, and nobody has told the others of it.
    pub(crate) fn is_untold(self) -> bool {
        self.has_died() && self.0 & WAITERS != 0
    }

    /// As this, when its process has died.
    #[cfg(test)]
    pub(crate) fn dead(self) -> Self {
        Self(self.0 & WAITERS | DIED)
    }

    /// As this, when somebody tells the others.
    pub(crate) fn told(self) -> Self {
        Self(self.0 & !WAITERS)
    }

    /// Whether its process has died, or has given way to another program.
    pub(crate) fn has_died(self) -> bool {
        self.0 & DIED != 0
    }
}
