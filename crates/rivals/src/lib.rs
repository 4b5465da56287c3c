//! Two rings as they are mostly built, in memory that processes share: negative controls for the tests of deaths and stops.
//!
//! ```text
//!   reserving   [`Reserving`]   a writer takes a place by one exchange, fills it, and says that it is full; a reader likewise
//!   locked      [`Locked`]      everything under a robust mutex, which the kernel gives to the next one if its owner dies
//! ```
//!
//! They are right as long as nobody dies or stops. Nothing here is linked by users.

mod locked;
mod reserving;
mod shared;

pub use locked::Locked;
pub use reserving::Reserving;
pub use shared::Shared;

/// Places of a ring.
pub const PLACES: u64 = 8;
/// Words of a message.
pub const WORDS: usize = 5;

/// A message: every word follows from its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message(pub [u64; WORDS]);

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no room.
    Full,
    /// There is nothing.
    Empty,
    /// Somebody else is at it.
    Busy,
}

/// A ring of either kind, in memory that is zero to begin with.
pub trait Ring {
    /// Puts a message in. Never waits.
    ///
    /// # Errors
    /// [`Refused`].
    fn try_send(&self, message: Message) -> Result<(), Refused>;

    /// Takes the first message out. Never waits.
    ///
    /// # Errors
    /// [`Refused`].
    fn try_recv(&self) -> Result<Message, Refused>;
}

impl Message {
    /// The message of this number.
    #[must_use]
    pub fn new(number: u64) -> Self {
        let mut words = [number; WORDS];
        for (index, word) in words.iter_mut().enumerate() {
            *word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(index as u32 * 7);
        }
        words[0] = number;
        Self(words)
    }

    /// Its number; `None` if it is torn.
    #[must_use]
    pub fn number(self) -> Option<u64> {
        (self == Self::new(self.0[0])).then_some(self.0[0])
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn works(ring: &(impl Ring + Sync)) {
        const EACH: u64 = 2000;
        let insist = |attempt: &dyn Fn() -> bool| {
            while !attempt() {
                thread::yield_now();
            }
        };
        thread::scope(|scope| {
            for writer in 0..2 {
                scope.spawn(move || {
                    for number in 0..EACH {
                        insist(&|| ring.try_send(Message::new(2 * number + writer)).is_ok());
                    }
                });
            }
            let mut next = [0, 1];
            for _ in 0..2 * EACH {
                let message = loop {
                    match ring.try_recv() {
                        Ok(message) => break message,
                        Err(_) => thread::yield_now(),
                    }
                };
                let number = message.number().expect("it is whole");
                let next = &mut next[(number % 2) as usize];
                assert_eq!(number, *next, "in the order of its writer");
                *next += 2;
            }
        });
        assert_eq!(ring.try_recv(), Err(Refused::Empty));
        (0..PLACES).for_each(|number| ring.try_send(Message::new(number)).expect("room"));
        assert_eq!(ring.try_send(Message::new(9)), Err(Refused::Full));
    }

    #[test]
    fn they_are_right_as_long_as_nobody_dies() {
        works(&Reserving::in_memory(Shared::new().expect("memory")));
        works(&Locked::in_memory(Shared::new().expect("memory")));
    }
}
