//! The reading end.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use shm_ring::audit::Audit;
use shm_ring::participant::Participant;
use shm_ring::{ReaderEnd, Segment, Side, Waiting};

use crate::blocking::Limit;
use crate::builder::Builder;
use crate::busy::Busy;
use crate::descriptor;
use crate::flags::Flags;
use crate::joining::{Parts, join, join_beside};
use crate::loan::{Held, ReadLoan};
use crate::message::{self, Excess, Message};
use crate::name::Name;
use crate::readiness::{self, Readiness};
use crate::size;
use crate::stream;
use crate::watch::WatchCell;
use crate::writer::{Writer, closed};

/// The reading end of a pipe. It can be moved to another thread; for several threads at once, clone it. Of several readers
/// each byte and each packet goes to one.
///
/// Dropping the last reader of a pipe, or its process's death by whatever cause, breaks the pipe for its writers.
pub struct Reader {
    /// `None` only while it is being handed over or dropped.
    end: Option<RefCell<ReaderEnd>>,
    pub(crate) flags: Flags,
    pub(crate) waiting: Waiting,
    pub(crate) name: Option<Arc<Name>>,
    pub(crate) watch: WatchCell,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("name", &self.name.as_deref().map(Name::as_str))
            .field("is_nonblocking", &self.flags.is_nonblocking())
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn new(end: ReaderEnd, flags: Flags, waiting: Waiting, name: Option<Arc<Name>>) -> Self {
        Self { end: Some(RefCell::new(end)), flags, waiting, name, watch: WatchCell::default() }
    }

    pub(crate) fn of(parts: Parts) -> Self {
        let Parts { participant, flags, waiting, name, watch } = parts;
        let end = Some(RefCell::new(ReaderEnd::new(participant)));
        Self { end, flags, waiting, name, watch }
    }

    pub(crate) fn into_parts(mut self) -> Parts {
        let end = self.end.take().expect("a reader has its end until it is consumed").into_inner();
        let (flags, name, watch) = (self.flags.clone(), self.name.take(), self.watch.clone());
        Parts { participant: end.into_participant(), flags, waiting: self.waiting, name, watch }
    }

    /// Opens the reading end of the pipe `name`, and makes the pipe if there is none. Waits until a writer has it open too.
    /// Mirrors `open(O_RDONLY)` of a FIFO. For names, see [`crate::Writer::open`].
    ///
    /// # Errors
    /// As [`Builder::open_reader`].
    pub fn open(name: &str) -> io::Result<Self> {
        Builder::new().open_reader(name)
    }

    /// Another reader of the same pipe, for another thread, with the same flags: setting one sets both. Never waits. Mirrors `dup`.
    ///
    /// # Errors
    /// `QuotaExceeded` if there are as many readers as there can be; otherwise what the system says.
    pub fn try_clone(&self) -> io::Result<Self> {
        let mut participant = join_beside(self.borrow_end().participant())?;
        participant.set_waiting(self.waiting);
        let (flags, name) = (self.flags.clone(), self.name.clone());
        let end = Some(RefCell::new(ReaderEnd::new(participant)));
        Ok(Self { end, flags, waiting: self.waiting, name, watch: self.watch.clone() })
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

    /// Another writing end of the same pipe; see [`Reader::reopen_reader`].
    ///
    /// # Errors
    /// As [`Reader::reopen_reader`]; `ENXIO` if the pipe has a name, this is nonblocking, and nobody reads any more.
    pub fn reopen_writer(&self, is_nonblocking: bool) -> io::Result<Writer> {
        let participant = join(self.borrow_end().participant(), Side::Writer)?;
        let builder = Builder::new().nonblocking(is_nonblocking).waiting(self.waiting);
        builder.reopen_writer(participant, self.name.clone())
    }

    /// Makes this end share the flags of `other`, as two ends of one open file description do.
    #[doc(hidden)]
    pub fn share_flags(&mut self, other: &Writer) {
        self.flags = other.flags.clone();
        self.watch = other.watch.clone();
        self.watch.set_of_both();
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
    /// pipe does: readable, and hung up when every writer is gone. It is good for nothing else: do not read from it or write to it. The first call starts a
    /// thread that keeps it true, one for all ends of the process. Clones share it, and it is open as long as one of them lives.
    ///
    /// ```
    /// use std::time::Duration;
    /// use rustix::event::{PollFd, PollFlags, Timespec, poll};
    /// let (reader, writer) = ppipe::pipe()?;
    /// let mut polled = [PollFd::from_borrowed_fd(reader.poll_fd()?, PollFlags::IN)];
    /// assert_eq!(poll(&mut polled, Some(&Timespec::default()))?, 0);
    /// writer.send(b"news")?;
    /// assert_eq!(poll(&mut polled, None)?, 1);
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// What this end has left after a call is shown at once, what others do soon after. So where there are others who read from the same pipe
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
        readiness::of_reader(&mut self.borrow_end())
    }

    /// Receives the next packet into `buffer`; waits for one, unless nonblocking. What does not fit is dropped, as on Linux;
    /// [`Message::packet_len`] tells. Where bytes of a stream stand first it receives those, as a read would, but none of the packet behind
    /// them; [`Message::is_stream`] tells. Mirrors `recv` from a socket of packets, with the true length as `MSG_TRUNC` has it, and in that the
    /// rest is dropped `anon_pipe_read` in `fs/pipe.c`.
    ///
    /// # Errors
    /// `UnexpectedEof` when every writer is gone and everything has been read; `WouldBlock` if nonblocking and empty; `Interrupted` if a signal
    /// handler ended the wait; `InvalidData` if the shared memory is damaged.
    #[inline]
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<Message> {
        self.recv_within(self.limit(), Excess::Discard, buffer)
    }

    /// As [`Reader::recv`], but `excess` says what becomes of what does not fit. Mirrors `recv`; no flag of it chooses so much.
    ///
    /// # Errors
    /// As [`Reader::recv`]; `EMSGSIZE` with [`Excess::Refuse`], and the packet stays in the pipe.
    pub fn recv_with(&self, buffer: &mut [u8], excess: Excess) -> io::Result<Message> {
        self.recv_within(self.limit(), excess, buffer)
    }

    /// As [`Reader::recv`], but never waits. Mirrors `recv(MSG_DONTWAIT)`.
    ///
    /// # Errors
    /// As [`Reader::recv`]; `WouldBlock` if empty.
    #[inline]
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<Message> {
        self.recv_within(Limit::Try, Excess::Discard, buffer)
    }

    /// As [`Reader::recv_with`], but never waits. Mirrors `recv(MSG_DONTWAIT)`.
    ///
    /// # Errors
    /// As [`Reader::recv_with`]; `WouldBlock` if empty.
    pub fn try_recv_with(&self, buffer: &mut [u8], excess: Excess) -> io::Result<Message> {
        self.recv_within(Limit::Try, excess, buffer)
    }

    /// As [`Reader::recv`], but waits no longer than `timeout`, also if nonblocking. Mirrors `recv` with `SO_RCVTIMEO`.
    ///
    /// # Errors
    /// As [`Reader::recv`], but never `WouldBlock`; `TimedOut`.
    pub fn recv_timeout(&self, buffer: &mut [u8], timeout: Duration) -> io::Result<Message> {
        self.recv_within(Limit::after(timeout), Excess::Discard, buffer)
    }

    /// The process that has sent what this end has received last, by its id in its own namespace. Good for people to read; whoever can write to the
    /// pipe can write anything here. What it says after a call that received nothing, or only a part of something, is not defined. `None` in a pipe
    /// that was made without [`Builder::senders`].
    ///
    /// ```
    /// let (reader, writer) = ppipe::Builder::new().senders(true).pipe()?;
    /// writer.send(b"mine")?;
    /// reader.recv(&mut [0; 8])?;
    /// assert_eq!(reader.last_sender(), Some(std::process::id()));
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn last_sender(&self) -> Option<u32> {
        self.borrow_end().sender()
    }

    /// Copies the next packet into `buffer` and leaves it in the pipe; waits for one, unless nonblocking. What does not fit is not
    /// copied; [`Message::packet_len`] tells how long it is, also with an empty buffer. Where bytes of a stream stand first it copies those
    /// of the first slot. Mirrors `recv(MSG_PEEK)`.
    ///
    /// Where others read too, the next `recv` may give something else.
    ///
    /// # Errors
    /// As [`Reader::recv`].
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<Message> {
        self.with_end(|end| message::peek(end, self.limit(), &mut [IoSliceMut::new(buffer)]), |_| true)
    }

    /// As [`Reader::peek`], but never waits.
    ///
    /// # Errors
    /// As [`Reader::recv`]; `WouldBlock` if empty.
    pub fn try_peek(&self, buffer: &mut [u8]) -> io::Result<Message> {
        self.with_end(|end| message::peek(end, Limit::Try, &mut [IoSliceMut::new(buffer)]), |_| true)
    }

    /// As [`Reader::recv`], into several buffers. Mirrors `recvmsg`.
    ///
    /// # Errors
    /// As [`Reader::recv`].
    pub fn recv_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<Message> {
        self.with_end(|end| message::recv(end, self.limit(), Excess::Discard, buffers), |_| true)
    }

    /// As [`Reader::recv_vectored`], but never waits. Mirrors `recvmsg(MSG_DONTWAIT)`.
    ///
    /// # Errors
    /// As [`Reader::recv`]; `WouldBlock` if empty.
    pub fn try_recv_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<Message> {
        self.with_end(|end| message::recv(end, Limit::Try, Excess::Discard, buffers), |_| true)
    }

    /// Receives the next packet where it lies, or the next buffer of a stream; waits for one, unless nonblocking. It has
    /// left the pipe; dropping the loan gives the memory back. Mirrors `recv`, without the copy.
    ///
    /// # Errors
    /// As [`Reader::recv`].
    pub fn recv_loan(&mut self) -> io::Result<ReadLoan<'_>> {
        let limit = self.limit();
        let held = self.with_end(|end| Ok(Held::take(end, limit)?), |_| true)?;
        Ok(ReadLoan::of(self.end_mut().ok_or_else(closed)?, held))
    }

    /// As [`io::Read::read`], but waits no longer than `timeout`, also if nonblocking. Mirrors `read` after a `poll` with a time limit, without
    /// the race between the two.
    ///
    /// # Errors
    /// As [`io::Read::read`], but never `WouldBlock`; `TimedOut`.
    pub fn read_timeout(&self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        self.read_within(Limit::after(timeout), &mut [IoSliceMut::new(buffer)], 0)
    }

    /// For the C library: as [`io::Read::read_vectored`], or [`Reader::read_timeout`], where so many bytes more would follow for which there
    /// is no memory.
    #[doc(hidden)]
    #[inline]
    pub fn read_missing(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        missing: usize,
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        self.read_within(timeout.map_or_else(|| self.limit(), Limit::after), buffers, missing)
    }

    /// Moves up to `len` bytes from the pipe to `fd`, straight from where they lie; borders of packets are lost. Returns how many; 0 at
    /// the end of file. Waits for something to move, unless nonblocking, and as long as the descriptor lets a write wait. Mirrors
    /// `splice` from a pipe, by the rules of `iter_file_splice_write` in `fs/splice.c`.
    ///
    /// Where others read from the same pipe too, bytes that the descriptor refuses with an error are lost.
    ///
    /// # Errors
    /// What a write to the descriptor says; `WouldBlock` if nonblocking and empty; `InvalidInput` if the descriptor appends.
    pub fn splice_to(&self, fd: impl AsFd, len: usize) -> io::Result<usize> {
        self.with_end(|end| descriptor::to_descriptor(end, fd.as_fd(), self.limit(), len), |&moved| moved == len)
    }

    /// As [`Reader::splice_to`], but never waits for something to move.
    ///
    /// # Errors
    /// As [`Reader::splice_to`].
    pub fn try_splice_to(&self, fd: impl AsFd, len: usize) -> io::Result<usize> {
        self.with_end(|end| descriptor::to_descriptor(end, fd.as_fd(), Limit::Try, len), |&moved| moved == len)
    }

    /// What comes of a call; `is_all`: whether it has done all that it was to do.
    #[inline]
    pub(crate) fn with_end<T>(
        &self,
        call: impl FnOnce(&mut ReaderEnd) -> io::Result<T>,
        is_all: impl FnOnce(&T) -> bool,
    ) -> io::Result<T> {
        let mut end = self.borrow_end();
        let mut result = call(&mut end);
        end.note(&mut result, is_all);
        result
    }

    #[inline]
    fn recv_within(&self, limit: Limit, excess: Excess, buffer: &mut [u8]) -> io::Result<Message> {
        self.with_end(|end| message::recv(end, limit, excess, &mut [IoSliceMut::new(buffer)]), |_| true)
    }

    #[inline]
    fn read_within(&self, limit: Limit, buffers: &mut [IoSliceMut<'_>], missing: usize) -> io::Result<usize> {
        let room: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        self.with_end(|end| Ok(stream::read(end, limit, buffers, missing)?), |&read| read == room)
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

    pub(crate) fn end_mut(&mut self) -> Option<&mut ReaderEnd> {
        self.end.as_mut().map(RefCell::get_mut)
    }

    #[inline]
    pub(crate) fn borrow_end(&self) -> Busy<'_, ReaderEnd> {
        // Taken only by functions that consume the reader, and borrowed only within one call.
        let end = self.end.as_ref().expect("a reader has its end until it is consumed").borrow_mut();
        Busy::new(end, &self.watch)
    }
}

/// Leaves the pipe, and removes its name if this was its last participant.
pub(crate) fn close(mut participant: Participant, name: Option<&Name>) {
    if let Some(name) = name
        && participant.leave_and_close_if_last()
    {
        name.remove();
    }
}

/// Reads as `read(2)` from a pipe does, byte for byte and error for error. 0 is the end of file, or an empty buffer. Waits until there is
/// something, unless nonblocking, and not until the buffer is full. Mirrors `read` and `readv`, by the rules of `anon_pipe_read` in `fs/pipe.c`:
/// a read goes on over bytes of a stream; a packet ends it, and what of the packet does not fit is dropped. At most 1024 buffers and 0x7ffff000
/// bytes are read by one call.
///
/// # Errors
/// `WouldBlock` if nonblocking and empty, and somebody can still write; `Interrupted` if a signal handler ended the wait, see the crate's documentation;
/// `InvalidData` if the shared memory is damaged.
impl io::Read for &Reader {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_within(self.limit(), &mut [IoSliceMut::new(buffer)], 0)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_within(self.limit(), buffers, 0)
    }
}

/// As for `&Reader`: mirrors `read` and `readv`, by the rules of `anon_pipe_read` in `fs/pipe.c`, with the same errors.
impl io::Read for Reader {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            close(end.into_inner().into_participant(), self.name.as_deref());
        }
    }
}
