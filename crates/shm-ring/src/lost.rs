//! What becomes of an end whose memory has gone from under it: each call says so, and the others are told.
//!
//! ```text
//!   a call ──> an access without memory ──> the mapping is lost (sigbus) ──> the call ends as it may, on zeros ──> Lost
//!                                                                             others who sleep: one ring, and they find out themselves
//! ```
//!
//! Nobody who keeps the rules ever sees this: memory is taken before it is used, and files of segments are not shortened.

use std::io;
use std::os::fd::AsFd;

use crate::participant::Participant;
use crate::segment::Segment;

/// Memory of a segment that is not there any more: what was found, and what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the pipe's memory is gone: none at byte {at} of {expected}; its file has {found} bytes now, and memory for {backed}"
)]
pub struct Lost {
    /// Where an access found none.
    pub at: u64,
    /// How long the segment is.
    pub expected: u64,
    /// How long its file is now.
    pub found: u64,
    /// For how many bytes of the file there is memory.
    pub backed: u64,
}

impl From<Lost> for io::Error {
    fn from(lost: Lost) -> Self {
        Self::new(io::ErrorKind::InvalidData, lost)
    }
}

impl Lost {
    /// Nothing was there at byte `at` of a mapping of `file`, of which `expected` bytes were to be there.
    pub(crate) fn at(at: usize, file: impl AsFd, expected: u64) -> Self {
        let (found, backed) = rustix::fs::fstat(file)
            .map(|file| (file.st_size.cast_unsigned(), file.st_blocks.cast_unsigned() * 512))
            .unwrap_or_default();
        Self { at: at as u64, expected, found, backed }
    }
}

impl Segment {
    /// Whether what was read may be zeros that nobody has written.
    #[inline(always)]
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.guard().is_lost()
    }

    /// What is missing, if something is.
    ///
    /// # Errors
    /// [`Lost`].
    #[cold]
    pub fn check_memory(&self) -> Result<(), Lost> {
        match self.guard().lost_at() {
            Some(at) => Err(Lost::at(at, self.file(), self.layout().size)),
            None => Ok(()),
        }
    }
}

impl Participant {
    /// What comes of a call, if there was memory for it.
    ///
    /// # Errors
    /// [`Lost`], whatever `result` is, or that of `result`.
    pub fn unless_lost<T>(&self, result: io::Result<T>) -> io::Result<T> {
        self.loss().map_or(result, Err)
    }

    /// The error of a call that there was no memory for: [`Lost`].
    #[inline(always)]
    #[must_use]
    pub fn loss(&self) -> Option<io::Error> {
        if self.segment.is_lost() { self.tell_of_loss() } else { None }
    }

    #[cold]
    fn tell_of_loss(&self) -> Option<io::Error> {
        self.ring_for_peers();
        self.segment.check_memory().err().map(io::Error::from)
    }
}
