//! Changing the size of the pipe, and what can be told of it.
//!
//! ```text
//!   take memory ──> say so in the own entry ──> ring for writers at their bell ──> resize (moving) ──> take it back ──> wake writers
//! ```
//!
//! A writer that waits for room may get it by a larger size, and so who is about to change the size does as one who is about to
//! exchange a slot: it announces itself and rings first, see `bell`. It may be a writer itself; so those who go to sleep look for this
//! announcement on their own side too.

use std::io;

use crate::listening::{announcement_of, bell_word};
use crate::moving::{Refusal, Size};
use crate::participant::Participant;
use crate::ring::Miss;
use crate::sleeping::News;
use crate::sync::Ordering;

/// Why a pipe cannot have the size that is wanted. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ResizeError {
    /// It was made so that it can never be so large.
    #[error("the pipe can have {limit} slots at most")]
    TooLarge {
        /// How many slots it can have.
        limit: u32,
    },
    /// More slots are occupied.
    #[error("more slots are occupied")]
    Busy,
    /// Shared memory says what nobody who keeps the rules has written.
    #[error("the pipe's shared memory is damaged")]
    Garbled,
    /// The system refused: no memory, no descriptor.
    #[error("cannot change the pipe's size: {0}")]
    System(#[from] io::Error),
}

impl Participant {
    /// How many slots may be occupied.
    #[must_use]
    pub fn usage(&self) -> u32 {
        // Relaxed: whoever changes it meanwhile could have done so before or after.
        let size = Size::decode(self.segment.header().size.0.load(Ordering::Relaxed));
        size.usage.clamp(1, self.segment.layout().geometry.max_ring_size)
    }

    /// Bytes of the largest packet that can be sent now.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.usage() as usize * self.segment.layout().geometry.slot_size as usize
    }

    /// Lets `slots`, rounded up to a power of two, be occupied. Returns how many that are. Whoever waits for room looks again. Memory that was
    /// taken for more is kept.
    ///
    /// # Errors
    /// [`ResizeError`].
    pub fn resize(&mut self, slots: u32) -> Result<u32, ResizeError> {
        let limit = self.segment.layout().geometry.max_ring_size;
        let first = self.segment.layout().geometry.ring_size;
        if slots > limit {
            return Err(ResizeError::TooLarge { limit });
        }
        let slots = slots.max(1).next_power_of_two();
        if slots > first {
            self.segment.take_memory_of_slots(first, slots)?;
        }
        self.announce_resizing()?;
        let resized = self.segment.rings().resize(slots);
        announcement_of(&self.segment, self.entry).end_resizing();
        match resized {
            Ok(()) => {
                self.wake_all(News::Room);
                Ok(slots)
            }
            Err(Refusal::Busy) => Err(ResizeError::Busy),
            Err(Refusal::Lost) => Err(io::Error::from(io::ErrorKind::WouldBlock).into()),
            Err(Refusal::Garbled) => Err(ResizeError::Garbled),
        }
    }

    fn announce_resizing(&self) -> io::Result<()> {
        let bell = self.ringable_bell_of_writers()?;
        announcement_of(&self.segment, self.entry).resize();
        if let Some(bell) = bell {
            bell_word(&self.segment, crate::Side::Writer).ring_for_all(&bell);
        }
        Ok(())
    }

    /// Bytes that are in the pipe and can be read: of one moment, but for times when others write or read without a pause. Mirrors
    /// `ioctl(FIONREAD)`.
    ///
    /// # Errors
    /// [`Miss::Garbled`].
    pub fn unread(&mut self) -> Result<u64, Miss> {
        let mut last = 0;
        for _ in 0..MOST_COUNTS {
            let tally = self.ring().tally(self.segment.extents());
            match tally.map_err(|miss| self.follow(miss)) {
                Ok(tally) => return Ok(tally.bytes),
                Err(Miss::Lost) => {
                    // What changes all the time is as good as any other number of about now.
                    let about = self.ring().look_over(self.segment.extents());
                    last = about.map_or(last, |tally| tally.bytes);
                }
                Err(miss) => return Err(miss),
            }
        }
        Ok(last)
    }
}

/// So often it is counted at most, while others change what there is.
const MOST_COUNTS: usize = 64;
