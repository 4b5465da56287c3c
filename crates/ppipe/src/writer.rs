//! The writing end.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use shm_ring::Side;
use shm_ring::audit::Audit;
use shm_ring::writer_end::Kind;
use shm_ring::{Segment, Waiting, WriterEnd};

use crate::blocking::Limit;
use crate::builder::Builder;
use crate::busy::Busy;
use crate::descriptor;
use crate::flags::Flags;
use crate::joining::{Parts, join, join_beside};
use crate::loan::{Room, WriteLoan};
use crate::message;
use crate::name::Name;
use crate::reader::{Reader, close};
use crate::readiness::{self, Readiness};
use crate::size;
use crate::stream;
use crate::watch::WatchCell;

/// The writing end of a pipe. It can be moved to another thread; for several threads at once, clone it.
///
/// Dropping the last writer of a pipe, or its process's death by whatever cause, is the end of file for its readers.
pub struct Writer {
    /// `None` only while it is being handed over or dropped.
    end: Option<RefCell<WriterEnd>>,
    pub(crate) flags: Flags,
    pub(crate) waiting: Waiting,
    pub(crate) name: Option<Arc<Name>>,
    pub(crate) watch: WatchCell,
    /// The user of the C library wants a signal, and the library has not sent it yet.
    is_signal_due: Cell<bool>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("name", &self.name.as_deref().map(Name::as_str))
            .field("is_nonblocking", &self.flags.is_nonblocking())
            .field("is_packet_mode", &self.flags.is_packet_mode())
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn new(end: WriterEnd, flags: Flags, waiting: Waiting, name: Option<Arc<Name>>) -> Self {
        Self::with(end, flags, waiting, name, WatchCell::default())
    }

    pub(crate) fn of(parts: Parts) -> Self {
        let Parts { participant, flags, waiting, name, watch } = parts;
        Self::with(WriterEnd::new(participant), flags, waiting, name, watch)
    }

    fn with(end: WriterEnd, flags: Flags, waiting: Waiting, name: Option<Arc<Name>>, watch: WatchCell) -> Self {
        Self { end: Some(RefCell::new(end)), flags, waiting, name, watch, is_signal_due: Cell::new(false) }
    }

    pub(crate) fn into_parts(mut self) -> Parts {
        let end = self.end.take().expect("a writer has its end until it is consumed").into_inner();
        let (flags, name, watch) = (self.flags.clone(), self.name.take(), self.watch.clone());
        Parts { participant: end.into_participant(), flags, waiting: self.waiting, name, watch }
    }

    /// Opens the writing end of the pipe `name`, and makes the pipe if there is none. Waits until a reader has it open too.
    /// Mirrors `open(O_WRONLY)` of a FIFO.
    ///
    /// A name is as for `shm_open`: 1 to 200 bytes without a slash, but for one at the start. It belongs to the user, and is
    /// gone when the last end is. After the last one was killed, the directory `/dev/shm/ppipe-NAME` stays until the name is
    /// opened next, and can be removed by hand.
    ///
    /// # Errors
    /// As [`Builder::open_writer`].
    pub fn open(name: &str) -> io::Result<Self> {
        Builder::new().open_writer(name)
    }

    /// Another writer of the same pipe, for another thread, with the same flags: setting one sets both. Never waits. Mirrors `dup`.
    ///
    /// # Errors
    /// `QuotaExceeded` if there are as many writers as there can be; otherwise what the system says.
    pub fn try_clone(&self) -> io::Result<Self> {
        let mut participant = join_beside(self.borrow_end().participant())?;
        participant.set_waiting(self.waiting);
        let (flags, name) = (self.flags.clone(), self.name.clone());
        Ok(Self::with(WriterEnd::new(participant), flags, self.waiting, name, self.watch.clone()))
    }

    /// Whether writes make packets. Mirrors `fcntl(F_GETFL) & O_DIRECT`.
    #[must_use]
    pub fn is_packet_mode(&self) -> bool {
        self.flags.is_packet_mode()
    }

    /// Makes writes packets, or a stream again. Mirrors `fcntl(F_SETFL, O_DIRECT)`.
    pub fn set_packet_mode(&self, is_on: bool) {
        self.flags.set_packet_mode(is_on);
    }

    /// Another reading end of the same pipe, with flags of its own, nonblocking or not, for another thread. If the pipe has a name this waits
    /// for the other side as [`Builder::open_reader`] and [`Builder::open_writer`] do, else never. Mirrors opening `/proc/self/fd/N`,
    /// by the rules of `fifo_open` in `fs/pipe.c`.
    ///
    /// # Errors
    /// As [`Reader::try_clone`]; of a pipe with a name as [`Builder::open_reader`] and [`Builder::open_writer`].
    pub fn reopen_reader(&self, is_nonblocking: bool) -> io::Result<Reader> {
        let participant = join(self.borrow_end().participant(), Side::Reader)?;
        let builder = Builder::new().nonblocking(is_nonblocking).waiting(self.waiting);
        builder.reopen_reader(participant, self.name.clone())
    }

    /// Another writing end of the same pipe; see [`Writer::reopen_reader`].
    ///
    /// # Errors
    /// As [`Writer::reopen_reader`].
    pub fn reopen_writer(&self, is_nonblocking: bool) -> io::Result<Writer> {
        let participant = join(self.borrow_end().participant(), Side::Writer)?;
        let builder = Builder::new().nonblocking(is_nonblocking).waiting(self.waiting);
        builder.reopen_writer(participant, self.name.clone())
    }

    /// Makes this end share the flags of `other`, as two ends of one open file description do.
    #[doc(hidden)]
    pub fn share_flags(&mut self, other: &Reader) {
        self.flags = other.flags.clone();
        self.watch = other.watch.clone();
        self.watch.set_of_both();
    }

    /// Lets a call that finds the pipe broken send SIGPIPE to its thread besides, also where it has written a part and says how much. Without this
    /// no call does. Shared by clones. Never waits.
    ///
    /// Mirrors what `anon_pipe_write` in `fs/pipe.c` always does, and what `MSG_NOSIGNAL` turns off on a socket: here it is off to begin with. The signal
    /// comes before the call returns, with what the thread has chosen for it: by default the process ends. (Rust programs ignore it from their start.)
    pub fn set_sigpipe(&self, is_on: bool) {
        self.flags.set_sigpipe(is_on);
    }

    /// Whether a call that finds the pipe broken sends SIGPIPE, see [`Writer::set_sigpipe`].
    #[must_use]
    pub fn is_sigpipe(&self) -> bool {
        self.flags.is_sigpipe()
    }

    /// What comes of a call, after the signal that its user has asked for.
    pub(crate) fn told<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                self.tell_of_broken_pipe();
            }
        })
    }

    #[cold]
    fn tell_of_broken_pipe(&self) {
        if self.is_sigpipe() {
            // What becomes of it is its handler's business.
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGPIPE);
        }
        if self.flags.is_sigpipe_by_caller() {
            self.is_signal_due.set(true);
        }
    }

    /// For the C library: whether a call has found the pipe broken, and a signal was asked for, since this was asked last.
    #[doc(hidden)]
    #[inline]
    #[must_use]
    pub fn take_due_signal(&self) -> bool {
        self.is_signal_due.take()
    }

    /// Changes how this end waits; its later clones wait so too. An end that was handed over begins with the default.
    pub fn set_waiting(&mut self, waiting: Waiting) {
        self.waiting = waiting;
        self.borrow_end().participant().set_waiting(waiting);
    }

    /// Makes calls fail with `WouldBlock` where they would wait. Mirrors `fcntl(F_SETFL, O_NONBLOCK)`.
    ///
    /// A call that waits already goes on with that, as in the kernel: a read until something comes; a write until there is room, and if it finds the pipe full
    /// again, it returns what went in.
    pub fn set_nonblocking(&self, is_on: bool) {
        self.flags.set_nonblocking(is_on);
    }

    /// Whether calls fail with `WouldBlock` where they would wait. Mirrors `fcntl(F_GETFL) & O_NONBLOCK`.
    #[must_use]
    pub fn is_nonblocking(&self) -> bool {
        self.flags.is_nonblocking()
    }

    /// Bytes that the pipe holds: its slots times their size. No packet can be larger. Mirrors `fcntl(F_GETPIPE_SZ)`.
    ///
    /// As in the kernel it is slots that count: a stream of writes that are not merged, or of packets, fills it with fewer bytes. Does not wait.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.borrow_end().capacity()
    }

    /// Gives the pipe another capacity, for all who use it: `bytes`, rounded up to a slot times a power of two. Returns the capacity
    /// that it has then. Does not wait; whoever waits for room looks again. Mirrors `fcntl(F_SETPIPE_SZ)`.
    ///
    /// ```
    /// let (mut reader, writer) = ppipe::pipe()?;
    /// assert_eq!(writer.resize(100_000)?, 131_072);
    /// assert_eq!(reader.capacity(), 131_072);
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// `ResourceBusy` if more slots are occupied; `PermissionDenied` above what the pipe was made for, see [`Builder::max_capacity`];
    /// `InvalidInput` above 2 GiB; `StorageFull` or `OutOfMemory` if there is no memory for it; `WouldBlock` if others changed the size, or
    /// filled and emptied the pipe, faster than this could be done: try again; `InvalidData` if the shared memory is damaged. The capacity is as
    /// before then.
    ///
    /// The rules are those of `round_pipe_size` and `pipe_set_size` in `fs/pipe.c`, with the slot in place of the page.
    pub fn resize(&self, bytes: usize) -> io::Result<usize> {
        let resized = size::resize(self.borrow_end().participant(), bytes);
        if let Some(watch) = self.watch.get() {
            watch.look();
        }
        resized
    }

    /// Bytes that are in the pipe, of packets and of the stream together. Does not wait. Mirrors `ioctl(FIONREAD)`, by
    /// the rules of `pipe_ioctl` in `fs/pipe.c`.
    ///
    /// They are those of one moment, unless others write and read all the time.
    ///
    /// # Errors
    /// `InvalidData` if the shared memory is damaged. (That others are faster than one can count is no error.)
    pub fn unread(&self) -> io::Result<usize> {
        size::unread(self.borrow_end().participant())
    }

    /// Says that its user is about to sleep until it is ready, and where.
    pub(crate) fn arm(&self) -> (Arc<Segment>, Side, u32) {
        let mut end = self.borrow_end();
        let participant = end.participant();
        (Arc::clone(participant.segment()), participant.side(), participant.arm())
    }

    /// A descriptor for `poll`, `select`, `epoll` and whatever is made of them, which shows what this end is ready for as that of a
    /// pipe does: writable, and an error when every reader is gone. It is good for nothing else: do not read from it or write to it. The first call starts a
    /// thread that keeps it true, one for all ends of the process. Clones share it, and it is open as long as one of them lives.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rustix::event::{PollFd, PollFlags, Timespec, poll};
    /// let (reader, writer) = ppipe::pipe()?;
    /// let mut polled = [PollFd::from_borrowed_fd(writer.poll_fd()?, PollFlags::OUT)];
    /// assert_eq!(poll(&mut polled, Some(&Timespec::default()))?, 1);
    /// while writer.try_send(b"more").is_ok() {}
    /// assert_eq!(poll(&mut polled, Some(&Timespec::default()))?, 0);
    /// drop(reader);
    /// assert_eq!(poll(&mut polled, None)?, 1);
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// What this end has left after a call is shown at once, what others do soon after. So where there are others who write from the same pipe
    /// it may show what is not so any more, until this end has tried: let it be nonblocking then. With `EPOLLET`, go on until `WouldBlock`:
    /// unlike a pipe it does not tell of each write. As long as a child lives that was forked and goes on without `exec`, it does not show that the other
    /// side is gone. Mirrors the descriptor of a pipe itself, in `poll` and what is like it; by the rules of `pipe_poll` in `fs/pipe.c`. Does not wait.
    ///
    /// # Errors
    /// If descriptors are short (it takes four), or no thread can be made.
    pub fn poll_fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.watch.get_or_watch(&[self.borrow_end().participant()])
    }

    /// What this end is ready for now. Does not wait. Mirrors `poll` with a timeout of 0, by the rules of `pipe_poll` in `fs/pipe.c`.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        readiness::of_writer(&mut self.borrow_end())
    }

    /// Sends `bytes` as one packet, whole or not at all; waits for room, unless nonblocking. No bytes, no packet.
    ///
    /// A packet takes one slot, however long it is. Mirrors `send` to a socket of packets (`SOCK_SEQPACKET`); a pipe of the kernel has packets of up to a
    /// page only.
    ///
    /// ```
    /// let (reader, writer) = ppipe::pipe()?;
    /// writer.send(b"one")?;
    /// writer.send(&[2; 40_000])?;
    /// let mut buffer = vec![0; reader.capacity()];
    /// assert_eq!(reader.recv(&mut buffer)?.len, 3);
    /// assert_eq!(reader.recv(&mut buffer)?.len, 40_000);
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// `EMSGSIZE` above [`Writer::capacity`], at once; `BrokenPipe` if nobody reads; `WouldBlock` if nonblocking and full; `Interrupted` if a
    /// signal handler ended the wait; `StorageFull` or `OutOfMemory` if there is no memory for a packet above a slot; `InvalidData` if the
    /// shared memory is damaged. Nothing has been sent then.
    #[inline]
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.send_within(self.limit(), &[IoSlice::new(bytes)])
    }

    /// As [`Writer::send`], of several buffers together. Mirrors `sendmsg`, and `writev` in that they are one.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub fn send_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        self.send_within(self.limit(), buffers)
    }

    /// As [`Writer::send_vectored`], but never waits. Mirrors `sendmsg(MSG_DONTWAIT)`.
    ///
    /// # Errors
    /// As [`Writer::send`]; `WouldBlock` if full.
    pub fn try_send_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        self.send_within(Limit::Try, buffers)
    }

    /// As [`Writer::send`], but never waits. Mirrors `send(MSG_DONTWAIT)`.
    ///
    /// # Errors
    /// As [`Writer::send`]; `WouldBlock` if full.
    #[inline]
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<()> {
        self.send_within(Limit::Try, &[IoSlice::new(bytes)])
    }

    /// As [`Writer::send`], but waits no longer than `timeout`, also if nonblocking. Mirrors `send` with `SO_SNDTIMEO`.
    ///
    /// # Errors
    /// As [`Writer::send`]; `TimedOut`.
    pub fn send_timeout(&self, bytes: &[u8], timeout: Duration) -> io::Result<()> {
        self.send_within(Limit::after(timeout), &[IoSlice::new(bytes)])
    }

    /// Room for a packet of `len` bytes, where it will lie, to be filled and committed. Waits only for a packet above a
    /// slot, if too many of them are under way.
    ///
    /// ```
    /// let (mut reader, mut writer) = ppipe::pipe()?;
    /// let loan = writer.reserve(5)?;
    /// loan.bytes().copy_from(0, b"hello");
    /// loan.commit()?;
    /// assert_eq!(reader.recv_loan()?.to_vec(), b"hello");
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub fn reserve(&mut self, len: usize) -> io::Result<WriteLoan<'_>> {
        let limit = self.limit();
        let room = self.told(self.with_end(|end| Ok(Room::reserve(end, limit, len)?), |_| true))?;
        let end = self.end.as_mut().ok_or_else(closed)?.get_mut();
        Ok(WriteLoan::of(end, &self.watch, limit, room))
    }

    /// As [`io::Write::write`], but waits no longer than `timeout`, also if nonblocking; returns what went in by then. Mirrors `write` after a `poll` with a
    /// time limit, without the race between the two.
    ///
    /// # Errors
    /// As [`io::Write::write`], but never `WouldBlock`; `TimedOut` if nothing was written by then.
    pub fn write_timeout(&self, bytes: &[u8], timeout: Duration) -> io::Result<usize> {
        let limit = Limit::after(timeout);
        self.write_within(|| limit, &[IoSlice::new(bytes)], 0)
    }

    /// For the C library: as [`io::Write::write_vectored`], or [`Writer::write_timeout`], where so many bytes more would follow that are nowhere.
    #[doc(hidden)]
    #[inline]
    pub fn write_missing(
        &self,
        buffers: &[IoSlice<'_>],
        missing: usize,
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        match timeout.map(Limit::after) {
            None => self.write_within(|| self.limit(), buffers, missing),
            Some(limit) => self.write_within(|| limit, buffers, missing),
        }
    }

    /// Moves up to `len` bytes from `fd` into the pipe, straight to where they will lie: bytes of a stream, also in packet mode, that
    /// later ones are not merged with. Returns how many; 0 where the descriptor has no more. Waits for room, unless
    /// nonblocking, and as long as the descriptor lets a read wait. Mirrors `splice` into a pipe, by the rules of `splice_file_to_pipe` in
    /// `fs/splice.c`.
    ///
    /// # Errors
    /// What a read from the descriptor says; `BrokenPipe` if nobody reads; `WouldBlock` if nonblocking and full.
    pub fn splice_from(&self, fd: impl AsFd, len: usize) -> io::Result<usize> {
        let result =
            self.with_end(|end| descriptor::from_descriptor(end, fd.as_fd(), self.limit(), len), |&moved| moved == len);
        self.told(result)
    }

    /// As [`Writer::splice_from`], but never waits for room.
    ///
    /// # Errors
    /// As [`Writer::splice_from`].
    pub fn try_splice_from(&self, fd: impl AsFd, len: usize) -> io::Result<usize> {
        let result =
            self.with_end(|end| descriptor::from_descriptor(end, fd.as_fd(), Limit::Try, len), |&moved| moved == len);
        self.told(result)
    }

    /// What comes of a call; `is_all`: whether it has done all that it was to do.
    #[inline]
    pub(crate) fn with_end<T>(
        &self,
        call: impl FnOnce(&mut WriterEnd) -> io::Result<T>,
        is_all: impl FnOnce(&T) -> bool,
    ) -> io::Result<T> {
        let mut end = self.borrow_end();
        let mut result = call(&mut end);
        end.note(&mut result, is_all);
        result
    }

    #[inline]
    fn send_within(&self, limit: Limit, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        let result = self.with_end(|end| message::send(end, limit, buffers), |()| true);
        self.told(result)
    }

    #[inline]
    fn write_within(&self, limit: impl Fn() -> Limit, buffers: &[IoSlice<'_>], missing: usize) -> io::Result<usize> {
        let kind = || if self.is_packet_mode() { Kind::Packet } else { Kind::Stream };
        let total = || buffers.iter().map(|buffer| buffer.len()).sum::<usize>();
        let write = |end: &mut WriterEnd| Ok(stream::write(end, kind, limit, buffers, missing)?);
        let written = self.told(self.with_end(write, |written| written.len == total()))?;
        if written.is_broken {
            self.tell_of_broken_pipe();
        }
        Ok(written.len)
    }

    /// Who holds what: every slot, participant and page of this pipe, and what must not be. For people and tests; it cleans
    /// up behind the dead on its way, and disturbs nobody.
    ///
    /// # Errors
    /// What the system says.
    pub fn audit(&self) -> io::Result<Audit> {
        shm_ring::audit::audit(self.borrow_end().participant().segment())
    }

    #[inline]
    pub(crate) fn limit(&self) -> Limit {
        Limit::of_flag(self.flags.is_nonblocking())
    }

    pub(crate) fn end_mut(&mut self) -> Option<&mut WriterEnd> {
        self.end.as_mut().map(RefCell::get_mut)
    }

    #[inline]
    pub(crate) fn borrow_end(&self) -> Busy<'_, WriterEnd> {
        // Taken only by functions that consume the writer, and borrowed only within one call.
        let end = self.end.as_ref().expect("a writer has its end until it is consumed").borrow_mut();
        Busy::new(end, &self.watch)
    }
}

/// The error of an end that has none any more; cannot happen, since whatever takes it consumes the handle.
pub(crate) fn closed() -> io::Error {
    io::Error::from(rustix::io::Errno::BADF)
}

/// Writes as `write(2)` to a pipe does, byte for byte and error for error, but raises no signal unless [`Writer::set_sigpipe`] asks for it.
/// Mirrors `write` and `writev`, by the rules of `anon_pipe_write` in `fs/pipe.c`: a write's size modulo the slot goes into the last slot, if
/// that holds bytes of a stream and has room for all of it, and the rest is cut into slots from there. At most 1024 buffers and 0x7ffff000 bytes
/// are written by one call. Waits until all is written, unless nonblocking: then it may be partial. Up to a slot's size (4096 bytes by default),
/// a write is atomic. In packet mode each slot's worth is a packet of its own, as in Linux; [`Writer::send`] makes one of the whole.
///
/// # Errors
/// `BrokenPipe` if nobody reads; `WouldBlock` if nonblocking and full; `Interrupted` if a signal handler ended the wait, see the crate's
/// documentation; `InvalidData` if the shared memory is damaged. Where something has been written already, that is returned, and the error by
/// the next call. No bytes are no error, ever.
impl io::Write for &Writer {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_within(|| self.limit(), &[IoSlice::new(bytes)], 0)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_within(|| self.limit(), buffers, 0)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As for `&Writer`: mirrors `write` and `writev`, by the rules of `anon_pipe_write` in `fs/pipe.c`, with the same errors.
impl io::Write for Writer {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            close(end.into_inner().into_participant(), self.name.as_deref());
        }
    }
}
