//! Batches: many packets in one call, each a packet of its own.

use std::io::{self, ErrorKind};

use nix::libc::{self, c_int, iovec};
use ppipe_rs::Reader;

use crate::error::number;
use crate::messages::{PPIPE_EXACT, PPIPE_KEEP, check, excess_of, inform, ppipe_info, receive};
use crate::pointers::{packets, places, room};
use crate::{ppipe, table};

/// Sends each of up to 1024 packets as one packet, in this order; waits for room for all of them. Returns how many it has sent, which are
/// fewer only if an error ended it early: -1 if it has sent none. Flags: MSG_DONTWAIT. As sendmmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_send_batch(p: *mut ppipe, packet: *const iovec, count: c_int, flags: c_int) -> c_int {
    number(table::with_writer(p, |end| {
        check(flags, libc::MSG_DONTWAIT)?;
        // SAFETY: as the caller promises.
        let packets = unsafe { packets(packet, count) }?;
        if flags & libc::MSG_DONTWAIT != 0 { end.try_send_batch(packets) } else { end.send_batch(packets) }
    }))
}

/// Receives up to 1024 packets, each into a buffer of its own; waits for the first one and takes of the others what is there. Returns how many; 0 at
/// the end of file. info, if not null, has as many places and tells each packet's length. Flags: MSG_DONTWAIT, PPIPE_KEEP, PPIPE_EXACT. As
/// recvmmsg(2) with MSG_WAITFORONE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_recv_batch(
    p: *mut ppipe,
    buffer: *const iovec,
    info: *mut ppipe_info,
    count: c_int,
    flags: c_int,
) -> c_int {
    let received = table::with(p, |handle| {
        let end = handle.reader()?;
        check(flags, libc::MSG_DONTWAIT | PPIPE_KEEP | PPIPE_EXACT)?;
        // SAFETY: as the caller promises.
        let places = unsafe { places(buffer, count) }?;
        // SAFETY: as the caller promises.
        unsafe { receive_what_is_there(&end, places, info, flags) }
    });
    number(match received {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
        received => received,
    })
}

/// # Safety
/// There is what `places` say, and `info` is null or has as many.
unsafe fn receive_what_is_there(
    end: &Reader,
    places: &[iovec],
    info: *mut ppipe_info,
    flags: c_int,
) -> io::Result<usize> {
    let excess = excess_of(flags)?;
    let mut is_try = flags & libc::MSG_DONTWAIT != 0;
    for (at, place) in places.iter().enumerate() {
        // SAFETY: as the caller promises.
        let buffer = unsafe { room(place.iov_base, place.iov_len) }?;
        let (message, sender) = match receive(end, buffer, excess, is_try) {
            Err(error) if at == 0 => return Err(error),
            Err(_) => return Ok(at),
            Ok(received) => received,
        };
        let info = if info.is_null() { info } else { info.wrapping_add(at) };
        // SAFETY: as the caller promises.
        unsafe { inform(info, message, sender) };
        is_try = true;
    }
    Ok(places.len())
}
