//! What a system has to offer: the calls that both have, under one name each.

use std::fmt::Debug;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::step::{Access, Manner, Verb};

/// What a call returned.
pub type Answer = Result<usize, Errno>;

/// Somebody's pipes. Handles are opened nonblocking; every error is the system's.
#[expect(clippy::missing_errors_doc, reason = "what may go wrong is what is compared")]
pub trait System {
    /// An open end, or both ends in one.
    type Handle: Debug;

    /// Opens pipe `pipe` by its name.
    fn open(&self, pipe: usize, access: Access) -> Result<Self::Handle, Errno>;
    /// Opens the pipe of `handle` anew, as `/proc/self/fd` does.
    fn reopen(&self, handle: &Self::Handle, access: Access) -> Result<Self::Handle, Errno>;
    /// `dup`.
    fn duplicate(&self, handle: &Self::Handle) -> Result<Self::Handle, Errno>;
    /// `readv`.
    fn read(&self, handle: &Self::Handle, buffers: &mut [IoSliceMut<'_>]) -> Answer;
    /// `writev`.
    fn write(&self, handle: &Self::Handle, buffers: &[IoSlice<'_>]) -> Answer;
    /// `fcntl(F_GETFL)`: how it was opened, `O_NONBLOCK`, `O_DIRECT`.
    fn flags(&self, handle: &Self::Handle) -> Result<OFlags, Errno>;
    /// `fcntl(F_SETFL)`, of `O_NONBLOCK` alone.
    fn set_nonblocking(&self, handle: &Self::Handle, is_on: bool) -> Result<(), Errno>;
    /// `fcntl(F_SETFL)`, of `O_DIRECT` alone.
    fn set_packet_mode(&self, handle: &Self::Handle, is_on: bool) -> Result<(), Errno>;
    /// `fcntl(F_SETPIPE_SZ)`.
    fn resize(&self, handle: &Self::Handle, bytes: u32) -> Answer;
    /// `fcntl(F_GETPIPE_SZ)`.
    fn size(&self, handle: &Self::Handle) -> Answer;
    /// `ioctl(FIONREAD)`.
    fn unread(&self, handle: &Self::Handle) -> Answer;
    /// `poll` without waiting: what it returns, and what it says of each.
    fn poll(&self, polled: &[(&Self::Handle, PollFlags)]) -> Result<(usize, Vec<PollFlags>), Errno>;
    /// `splice` or `tee` of two pipes.
    fn transfer(&self, verb: Verb, from: &Self::Handle, to: &Self::Handle, len: usize, manner: Manner) -> Answer;
    /// `splice` from a descriptor that is none of the two pipes.
    fn splice_from(&self, from: BorrowedFd<'_>, to: &Self::Handle, len: usize, manner: Manner) -> Answer;
    /// `splice` to a descriptor that is none of the two pipes.
    fn splice_to(&self, from: &Self::Handle, to: BorrowedFd<'_>, len: usize, manner: Manner) -> Answer;
    /// Whether the counters of the pipe have come round; `Err`: what is wrong with its accounts. Where neither can be told, they have not.
    fn has_come_round(&self, _: &Self::Handle) -> Result<bool, String> {
        Ok(false)
    }
}
