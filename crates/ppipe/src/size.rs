//! The size of a pipe, and what is in it: `F_SETPIPE_SZ`, `F_GETPIPE_SZ` and `FIONREAD`.
//!
//! The rules are those of `round_pipe_size` and `pipe_set_size` in the Linux kernel's `fs/pipe.c` (6.18), with the slot size in place of
//! the page size, and the largest capacity that the pipe was made for in place of `/proc/sys/fs/pipe-max-size`.

use std::io;

use rustix::io::Errno;
use shm_ring::ResizeError;
use shm_ring::participant::Participant;

use crate::blocking::Stop;
use crate::joining::short_of_memory;

/// More bytes than this are no size of a pipe.
const MOST_BYTES: usize = 1 << 31;

/// Gives the pipe the capacity `bytes`, rounded up. Returns the capacity that it has then.
pub(crate) fn resize(participant: &mut Participant, bytes: usize) -> io::Result<usize> {
    let slot_size = participant.segment().layout().geometry.slot_size as usize;
    if bytes > MOST_BYTES {
        return Err(Errno::INVAL.into());
    }
    let slots = bytes.max(slot_size).next_power_of_two() / slot_size;
    // 2^31 bytes in slots of at least 64.
    let slots = slots as u32;
    let resized = match participant.resize(slots) {
        Ok(slots) => Ok(slots as usize * slot_size),
        Err(ResizeError::TooLarge { .. }) => Err(Errno::PERM.into()),
        Err(ResizeError::Busy) => Err(Errno::BUSY.into()),
        Err(ResizeError::Garbled) => Err(Stop::Damaged.into()),
        Err(ResizeError::System(error)) => Err(short_of_memory(error)),
    };
    participant.unless_lost(resized)
}

/// Bytes that can be read.
pub(crate) fn unread(participant: &mut Participant) -> io::Result<usize> {
    // Lost races it counts over.
    let unread = participant.unread().map(|bytes| bytes as usize).map_err(|_| Stop::Damaged.into());
    participant.unless_lost(unread)
}
