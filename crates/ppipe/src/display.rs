//! A pipe of the kernel that nothing passes through: it shows to `poll`, `select` and `epoll` what an end is ready for.
//!
//! ```text
//!                    the user has          so many of its buffers are occupied          the other end is closed
//!   reading end      its reading end       of one: 1 readable, 0 not                    hung up
//!   writing end      its writing end       of one: 0 writable, 1 not                    broken
//!   both             one that is both      of two: 0 writable, 1 both, 2 readable       never
//! ```
//!
//! It is this process's own, so nobody else can harm it, and whatever is to be shown can be taken back.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use shm_ring::bell_pipe::page_size;
use shm_ring::forking::NoFork;
use shm_ring::own_descriptor::OwnFd;

use crate::readiness::Readiness;

/// Which end of the pipe of the kernel the user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Reading,
    Writing,
    Both,
}

/// What one description of an end shows.
#[derive(Debug)]
pub(crate) struct Display {
    kind: Kind,
    user: Arc<OwnFd>,
    /// `None` while the end is shown as hung up or broken.
    other: Option<OwnFd>,
    occupied: usize,
}

impl Display {
    /// For an end that reads, or writes, or both. It shows that nothing can be read, and that something can be written.
    ///
    /// # Errors
    /// If descriptors are short.
    pub(crate) fn new(reads: bool, writes: bool) -> io::Result<Self> {
        // O_DIRECT: each byte occupies a buffer of its own.
        let _no_fork = NoFork::hold();
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK | PipeFlags::DIRECT)?;
        let (read, write) = (OwnFd::from(read), OwnFd::from(write));
        let (kind, buffers) = match (reads, writes) {
            (true, true) => (Kind::Both, 2),
            (true, false) => (Kind::Reading, 1),
            _ => (Kind::Writing, 1),
        };
        fcntl_setpipe_size(&write, buffers * page_size())?;
        let (user, other) = match kind {
            Kind::Reading => (read, write),
            Kind::Writing => (write, read),
            Kind::Both => (reopen(&read, OFlags::RDWR)?, write),
        };
        Ok(Self { kind, user: Arc::new(user), other: Some(other), occupied: 0 })
    }

    /// The user's end.
    pub(crate) fn descriptor(&self) -> &Arc<OwnFd> {
        &self.user
    }

    /// Gives the user's end the number `number`, if that is free now.
    pub(crate) fn move_to(&mut self, number: RawFd) -> io::Result<()> {
        self.user = Arc::new(OwnFd::open(|| fcntl_dupfd_cloexec(&self.user, number))?);
        if self.user.as_raw_fd() == number { Ok(()) } else { Err(io::ErrorKind::AddrInUse.into()) }
    }

    /// Shows `ready`. Whether it could: not if descriptors are short. Then it shows something of before.
    #[must_use]
    pub(crate) fn show(&mut self, ready: Readiness) -> bool {
        let (readable, writable) = (ready.contains(Readiness::READABLE), ready.contains(Readiness::WRITABLE));
        let (occupied, is_over) = match self.kind {
            Kind::Reading => (usize::from(readable), ready.contains(Readiness::HUNG_UP)),
            Kind::Writing => (usize::from(!writable), ready.contains(Readiness::BROKEN)),
            Kind::Both => (if !readable { 0 } else { 1 + usize::from(!writable) }, false),
        };
        if (occupied != self.occupied || !is_over) && !self.open_other() {
            return false;
        }
        while self.occupied < occupied {
            self.put();
        }
        while self.occupied > occupied {
            self.take();
        }
        if is_over {
            self.other = None;
        }
        true
    }

    /// Makes an edge of what is shown already: something to read, or room. Nothing if one end is closed; there is an edge then anyway.
    pub(crate) fn make_edge(&mut self) {
        match self.kind {
            _ if self.other.is_none() => {}
            Kind::Reading if self.occupied == 1 => {
                self.take();
                self.put();
            }
            Kind::Writing if self.occupied == 0 => {
                self.put();
                self.take();
            }
            Kind::Both if self.occupied == 1 => {
                self.put();
                self.take();
                self.take();
                self.put();
            }
            _ => {}
        }
    }

    /// Whether both ends are open now.
    fn open_other(&mut self) -> bool {
        let access = if self.kind == Kind::Reading { OFlags::WRONLY } else { OFlags::RDONLY };
        if self.other.is_none() {
            self.other = reopen(&self.user, access).ok();
        }
        self.other.is_some()
    }

    /// Occupies one more. Both ends are open: there is no signal.
    fn put(&mut self) {
        let end = if self.kind == Kind::Writing { Some(&*self.user) } else { self.other.as_ref() };
        // If the user has written to it, it is as full as it has to be.
        let _ = end.map(|end| rustix::io::write(end, &[0]));
        self.occupied += 1;
    }

    /// Frees one.
    fn take(&mut self) {
        let end = if self.kind == Kind::Writing { self.other.as_ref() } else { Some(&*self.user) };
        // If the user has read from it, it is as empty as it has to be.
        let _ = end.map(|end| rustix::io::read(end, &mut [0; 1]));
        self.occupied -= 1;
    }
}

fn reopen(fd: &OwnFd, access: OFlags) -> io::Result<OwnFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let open = || openat(CWD, path, access | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
    Ok(OwnFd::open(open)?)
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn shown(display: &Display) -> PollFlags {
        let mut polled = [PollFd::new(&**display.descriptor(), PollFlags::IN | PollFlags::OUT)];
        poll(&mut polled, Some(&Timespec::default())).expect("poll works");
        polled[0].revents()
    }

    #[test]
    fn it_shows_whatever_it_is_told_to_whatever_it_showed_before() {
        let readings = [
            (Readiness::empty(), PollFlags::empty()),
            (Readiness::READABLE, PollFlags::IN),
            (Readiness::READABLE | Readiness::HUNG_UP, PollFlags::IN | PollFlags::HUP),
            (Readiness::HUNG_UP, PollFlags::HUP),
        ];
        let writings = [
            (Readiness::empty(), PollFlags::empty()),
            (Readiness::WRITABLE, PollFlags::OUT),
            (Readiness::WRITABLE | Readiness::BROKEN, PollFlags::OUT | PollFlags::ERR),
            (Readiness::BROKEN, PollFlags::ERR),
        ];
        let both = [
            (Readiness::WRITABLE, PollFlags::OUT),
            (Readiness::READABLE, PollFlags::IN),
            (Readiness::READABLE | Readiness::WRITABLE, PollFlags::IN | PollFlags::OUT),
        ];
        for (reads, writes, states) in
            [(true, false, &readings[..]), (false, true, &writings[..]), (true, true, &both[..])]
        {
            let mut display = Display::new(reads, writes).expect("descriptors");
            for (first, shows_first) in states {
                for (then, shows_then) in states {
                    assert!(display.show(*first));
                    assert_eq!(shown(&display), *shows_first, "{first:?}");
                    assert!(display.show(*then));
                    assert_eq!(shown(&display), *shows_then, "{first:?}, then {then:?}");
                }
            }
        }
    }

    #[test]
    fn it_has_the_number_that_it_is_given() {
        let mut display = Display::new(true, false).expect("descriptors");
        let (number, _) = {
            let taken = fcntl_dupfd_cloexec(&display.user, 100).expect("a number");
            (taken.as_raw_fd(), taken)
        };
        display.move_to(number).expect("it is free");
        assert!(display.show(Readiness::READABLE));
        assert_eq!((display.descriptor().as_raw_fd(), shown(&display)), (number, PollFlags::IN));
    }
}
