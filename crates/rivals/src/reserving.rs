//! A bounded queue in the way of Dmitry Vyukov's: by one exchange a place is taken, and only then filled or emptied.
//!
//! ```text
//!   place   turn: how far it is    position: free for its writer;  position + 1: full;  position + places: free for the next lap
//! ```
//!
//! Between the exchange and the turn's next value the place is the one's who took it, and everybody behind it waits for that one.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Message, PLACES, Refused, Ring, Shared, WORDS};

/// See the top.
#[derive(Debug)]
pub struct Reserving(Shared);

impl Reserving {
    /// A ring in memory that is zero, or has been a ring already.
    #[must_use]
    pub fn in_memory(memory: Shared) -> Self {
        let ring = Self(memory);
        for place in 1..PLACES {
            // Its first turn, unless somebody has had it.
            let _ = ring.turn(place).compare_exchange(0, place, Ordering::Relaxed, Ordering::Relaxed);
        }
        ring
    }

    /// The memory.
    #[must_use]
    pub fn memory(&self) -> &Shared {
        &self.0
    }

    fn turn(&self, position: u64) -> &AtomicU64 {
        &self.0.words()[2 + (position % PLACES) as usize * (1 + WORDS)]
    }

    fn bytes(&self, position: u64) -> &[AtomicU64] {
        &self.0.words()[3 + (position % PLACES) as usize * (1 + WORDS)..][..WORDS]
    }

    /// Takes the next place of `end` whose turn is `ahead` of its position.
    fn take(&self, end: &AtomicU64, ahead: u64, otherwise: Refused) -> Result<u64, Refused> {
        let mut position = end.load(Ordering::Relaxed);
        loop {
            let turn = self.turn(position).load(Ordering::Acquire);
            let wanted = position + ahead;
            if turn < wanted {
                return Err(otherwise);
            }
            if turn > wanted {
                position = end.load(Ordering::Relaxed);
                continue;
            }
            match end.compare_exchange_weak(position, position + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(position),
                Err(other) => position = other,
            }
        }
    }
}

impl Ring for Reserving {
    fn try_send(&self, message: Message) -> Result<(), Refused> {
        let position = self.take(&self.0.words()[0], 0, Refused::Full)?;
        for (place, word) in self.bytes(position).iter().zip(message.0) {
            place.store(word, Ordering::Relaxed);
        }
        self.turn(position).store(position + 1, Ordering::Release);
        Ok(())
    }

    fn try_recv(&self) -> Result<Message, Refused> {
        let position = self.take(&self.0.words()[1], 1, Refused::Empty)?;
        let mut message = Message([0; WORDS]);
        for (word, place) in message.0.iter_mut().zip(self.bytes(position)) {
            *word = place.load(Ordering::Relaxed);
        }
        self.turn(position).store(position + PLACES, Ordering::Release);
        Ok(message)
    }
}
