//! The message verbs: one send is one packet, whole or not at all, up to the pipe's capacity.

use std::io::{self, ErrorKind};

use nix::libc::{self, c_int, c_void, iovec, pid_t, size_t, ssize_t};
use ppipe_rs::{Excess, Message, Reader};

use crate::bytes::duration;
use crate::error::{count, of};
use crate::pointers::{Buffers, Rooms, all_there, bytes, gather, room, scatter};
use crate::{ppipe, table};

/// With ppipe_recv: what does not fit stays in the pipe, a packet of its own.
pub const PPIPE_KEEP: c_int = 0x1000_0000;
/// With ppipe_recv: a packet that does not fit stays in the pipe, and the call fails with EMSGSIZE.
pub const PPIPE_EXACT: c_int = 0x2000_0000;

/// What was received.
#[allow(non_camel_case_types, reason = "C's name for it")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ppipe_info {
    /// Bytes that the packet had.
    pub length: size_t,
    /// Not 0: more than fitted.
    pub truncated: c_int,
    /// The process that sent it; 0 where it has not left the pipe.
    pub sender: pid_t,
}

/// Sends n bytes as one packet. Flags: MSG_DONTWAIT. EMSGSIZE if it is larger than the pipe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_send(p: *mut ppipe, buf: *const c_void, n: size_t, flags: c_int) -> ssize_t {
    count(table::with_writer(p, |end| {
        check(flags, libc::MSG_DONTWAIT)?;
        // SAFETY: as the caller promises.
        let packet = unsafe { bytes(buf, n) }?;
        if flags & libc::MSG_DONTWAIT != 0 { end.try_send(packet) } else { end.send(packet) }?;
        Ok(n)
    }))
}

/// Sends what is in up to 1024 buffers as one packet. Flags: MSG_DONTWAIT. Returns its length. As sendmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_sendv(p: *mut ppipe, iov: *const iovec, iovcnt: c_int, flags: c_int) -> ssize_t {
    count(table::with_writer(p, |end| {
        check(flags, libc::MSG_DONTWAIT)?;
        let mut packet = Buffers::new();
        // SAFETY: as the caller promises.
        all_there(unsafe { gather(iov, iovcnt, &mut packet) }?)?;
        let is_try = flags & libc::MSG_DONTWAIT != 0;
        if is_try { end.try_send_vectored(&packet) } else { end.send_vectored(&packet) }?;
        Ok(packet.iter().map(|buffer| buffer.len()).sum())
    }))
}

/// Receives the next packet into up to 1024 buffers; what does not fit is dropped. Flags: MSG_DONTWAIT. info as with ppipe_recv. As recvmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_recvv(
    p: *mut ppipe,
    iov: *const iovec,
    iovcnt: c_int,
    info: *mut ppipe_info,
    flags: c_int,
) -> ssize_t {
    let received = table::with(p, |handle| {
        let end = handle.reader()?;
        check(flags, libc::MSG_DONTWAIT)?;
        let mut rooms = Rooms::new();
        // SAFETY: as the caller promises.
        all_there(unsafe { scatter(iov, iovcnt, &mut rooms) }?)?;
        let is_try = flags & libc::MSG_DONTWAIT != 0;
        let message = if is_try { end.try_recv_vectored(&mut rooms) } else { end.recv_vectored(&mut rooms) }?;
        Ok((message, if message.is_stream { None } else { end.last_sender() }))
    });
    // SAFETY: as the caller promises.
    unsafe { told(received, info) }
}

/// As ppipe_send, but waits no longer than that, also if nonblocking; then ETIMEDOUT. A negative number is no limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_send_timeout(
    p: *mut ppipe,
    buf: *const c_void,
    n: size_t,
    milliseconds: c_int,
) -> ssize_t {
    count(table::with_writer(p, |end| {
        // SAFETY: as the caller promises.
        end.send_timeout(unsafe { bytes(buf, n) }?, duration(milliseconds)).map(|()| n)
    }))
}

/// Receives the next packet; what does not fit is dropped, or what PPIPE_KEEP or PPIPE_EXACT says. Flags besides: MSG_PEEK, which takes nothing,
/// MSG_DONTWAIT. 0 at the end of file. info, if not null, tells the packet's length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_recv(
    p: *mut ppipe,
    buf: *mut c_void,
    n: size_t,
    info: *mut ppipe_info,
    flags: c_int,
) -> ssize_t {
    let received = table::with(p, |handle| {
        let end = handle.reader()?;
        check(flags, libc::MSG_PEEK | libc::MSG_DONTWAIT | PPIPE_KEEP | PPIPE_EXACT)?;
        let excess = excess_of(flags)?;
        // SAFETY: as the caller promises.
        let buffer = unsafe { room(buf, n) }?;
        let is_try = flags & libc::MSG_DONTWAIT != 0;
        if flags & libc::MSG_PEEK != 0 {
            let message = if is_try { end.try_peek(buffer) } else { end.peek(buffer) }?;
            let is_refused = excess == Excess::Refuse && message.is_truncated();
            return if is_refused { Err(of(libc::EMSGSIZE)) } else { Ok((message, None)) };
        }
        receive(&end, buffer, excess, is_try)
    });
    // SAFETY: as the caller promises.
    unsafe { told(received, info) }
}

/// As ppipe_recv without flags, but waits no longer than that, also if nonblocking; then ETIMEDOUT. A negative number is no limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_recv_timeout(
    p: *mut ppipe,
    buf: *mut c_void,
    n: size_t,
    info: *mut ppipe_info,
    milliseconds: c_int,
) -> ssize_t {
    let received = table::with(p, |handle| {
        let end = handle.reader()?;
        // SAFETY: as the caller promises.
        let message = end.recv_timeout(unsafe { room(buf, n) }?, duration(milliseconds))?;
        Ok((message, if message.is_stream { None } else { end.last_sender() }))
    });
    // SAFETY: as the caller promises.
    unsafe { told(received, info) }
}

/// What becomes of what does not fit.
pub(crate) fn excess_of(flags: c_int) -> io::Result<Excess> {
    match flags & (PPIPE_KEEP | PPIPE_EXACT) {
        0 => Ok(Excess::Discard),
        PPIPE_KEEP => Ok(Excess::Keep),
        PPIPE_EXACT => Ok(Excess::Refuse),
        _ => Err(of(libc::EINVAL)),
    }
}

/// The next message, and who has sent it.
pub(crate) fn receive(end: &Reader, buffer: &mut [u8], excess: Excess, is_try: bool) -> io::Result<Received> {
    let message = if is_try { end.try_recv_with(buffer, excess) } else { end.recv_with(buffer, excess) }?;
    let stays = message.is_truncated() && excess == Excess::Keep;
    Ok((message, if stays || message.is_stream { None } else { end.last_sender() }))
}

/// A message, and who has sent it, where that is known.
pub(crate) type Received = (Message, Option<u32>);

/// # Safety
/// `info` is null or has room for one.
unsafe fn told(received: io::Result<Received>, info: *mut ppipe_info) -> isize {
    let (message, sender) = match received {
        Ok(received) => received,
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => (Message::default(), None),
        Err(error) => return count(Err(error)),
    };
    // SAFETY: as promised by the caller.
    unsafe { inform(info, message, sender) };
    count(Ok(message.len))
}

/// # Safety
/// `info` is null or has room for one.
pub(crate) unsafe fn inform(info: *mut ppipe_info, message: Message, sender: Option<u32>) {
    if info.is_null() {
        return;
    }
    let (length, truncated) = (message.packet_len, c_int::from(message.is_truncated()));
    let sender = sender.and_then(|sender| pid_t::try_from(sender).ok()).unwrap_or(0);
    // SAFETY: not null, and the caller has promised the rest.
    unsafe { info.write(ppipe_info { length, truncated, sender }) };
}

/// Refuses flags that mean nothing.
pub(crate) fn check(flags: c_int, possible: c_int) -> io::Result<()> {
    if flags & !possible == 0 { Ok(()) } else { Err(of(libc::EINVAL)) }
}
