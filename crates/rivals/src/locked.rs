//! A ring under a robust mutex, whose three numbers change one after the other.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Message, PLACES, Refused, Ring, Shared, WORDS};

/// See the top. Words: a mark that there is a mutex, head, tail, count, and behind them the places.
#[derive(Debug)]
pub struct Locked(Shared);

impl Locked {
    /// A ring in memory that is zero, or has been a ring already.
    #[must_use]
    pub fn in_memory(memory: Shared) -> Self {
        if memory.words()[0].swap(1, Ordering::Relaxed) == 0 {
            memory.make_mutex();
        }
        Self(memory)
    }

    /// The memory.
    #[must_use]
    pub fn memory(&self) -> &Shared {
        &self.0
    }

    fn numbers(&self) -> [&AtomicU64; 3] {
        let words = self.0.words();
        [&words[1], &words[2], &words[3]]
    }

    fn bytes(&self, position: u64) -> &[AtomicU64] {
        &self.0.words()[4 + (position % PLACES) as usize * WORDS..][..WORDS]
    }

    /// Does it under the mutex.
    fn under_lock<T>(&self, act: impl FnOnce(&Self) -> Result<T, Refused>) -> Result<T, Refused> {
        if !self.0.try_lock() {
            return Err(Refused::Busy);
        }
        let done = act(self);
        self.0.unlock();
        done
    }
}

/// Relaxed, here and below: the mutex orders it.
fn add(number: &AtomicU64, amount: u64) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

impl Ring for Locked {
    fn try_send(&self, message: Message) -> Result<(), Refused> {
        self.under_lock(|ring| {
            let [head, _, count] = ring.numbers();
            if count.load(Ordering::Relaxed) >= PLACES {
                return Err(Refused::Full);
            }
            for (place, word) in ring.bytes(head.load(Ordering::Relaxed)).iter().zip(message.0) {
                place.store(word, Ordering::Relaxed);
            }
            add(head, 1);
            add(count, 1);
            Ok(())
        })
    }

    fn try_recv(&self) -> Result<Message, Refused> {
        self.under_lock(|ring| {
            let [_, tail, count] = ring.numbers();
            if count.load(Ordering::Relaxed) == 0 {
                return Err(Refused::Empty);
            }
            let mut message = Message([0; WORDS]);
            for (word, place) in message.0.iter_mut().zip(ring.bytes(tail.load(Ordering::Relaxed))) {
                *word = place.load(Ordering::Relaxed);
            }
            add(tail, 1);
            add(count, u64::MAX);
            Ok(message)
        })
    }
}
