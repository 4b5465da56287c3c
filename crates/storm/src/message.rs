//! What is sent: a message of a size and with bytes that follow from who sends it and which number it has.
//!
//! ```text
//!  0      2          6      8                                        len
//! +------+----------+------+-----------------------------------------+
//! |writer| number   |check | bytes of a fixed table, from a place that |
//! | u16  | u32      | u16  | follows from writer and number            |
//! +------+----------+------+-----------------------------------------+
//! ```
//! So that the reader knows every byte and the length of what it should have received, and half of one message with half
//! of another one is never whole.

use std::fmt::{self, Display};
use std::sync::OnceLock;

/// Bytes of the smallest message.
pub const HEAD: usize = 8;
/// Bytes of a record in a stream. All of them are equally long, and slots hold whole ones.
pub const RECORD: usize = 64;
/// Bytes of the largest message that can be made.
pub const MOST: usize = 1 << 16;

/// Which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// Which writer, counted over the whole storm: one that is started in the place of a killed one is another one.
    pub writer: u16,
    /// Which of its messages, from 0.
    pub number: u32,
}

/// What sizes messages have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes in a slot.
    pub slot: usize,
    /// Bytes of the largest message.
    pub capacity: usize,
    /// Whether all are [`RECORD`] bytes long.
    pub is_stream: bool,
}

/// In what way a message is not what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// It does not even say which one it is.
    Head,
    /// Too long or too short.
    Length,
    /// Some byte is another one.
    Body,
}

impl Id {
    /// A number that depends on all of it.
    fn mixed(self) -> u64 {
        let word = u64::from(self.writer) << 32 | u64::from(self.number);
        let word = (word ^ word >> 29).wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ word >> 32).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 29
    }

    fn head(self) -> [u8; HEAD] {
        let check = (self.mixed() >> 48) as u16;
        (u64::from(self.writer) | u64::from(self.number) << 16 | u64::from(check) << 48).to_le_bytes()
    }

    fn of_head(head: [u8; HEAD]) -> Option<Self> {
        let word = u64::from_le_bytes(head);
        let id = Self { writer: word as u16, number: (word >> 16) as u32 };
        (id.head() == head).then_some(id)
    }

    fn body(self, len: usize) -> &'static [u8] {
        let at = (self.mixed() & 0xffff) as usize;
        &table()[at..at + len - HEAD]
    }
}

impl Sizes {
    /// How long message `id` is: six of ten are short, three fit into a slot, one needs an extent.
    #[must_use]
    pub fn len_of(&self, id: Id) -> usize {
        if self.is_stream {
            return RECORD;
        }
        let random = id.mixed();
        let (kind, random) = (random % 10, (random >> 8) as usize);
        match kind {
            0..6 => HEAD + random % (self.slot.min(64) - HEAD + 1),
            6..9 => HEAD + random % (self.slot - HEAD + 1),
            _ if self.capacity > self.slot => self.slot + 1 + random % (self.capacity - self.slot),
            _ => self.slot,
        }
    }

    /// Writes message `id` into `buffer`, and returns how long it is.
    pub fn make(&self, id: Id, buffer: &mut [u8]) -> usize {
        let len = self.len_of(id);
        buffer[..HEAD].copy_from_slice(&id.head());
        buffer[HEAD..len].copy_from_slice(id.body(len));
        len
    }

    /// Which message `bytes` are.
    ///
    /// # Errors
    /// How they are torn, and which one they say that they are.
    pub fn check(&self, bytes: &[u8]) -> Result<Id, (Tear, Option<Id>)> {
        let head = bytes.first_chunk().copied().ok_or((Tear::Head, None))?;
        let id = Id::of_head(head).ok_or((Tear::Head, None))?;
        if bytes.len() != self.len_of(id) {
            return Err((Tear::Length, Some(id)));
        }
        if bytes[HEAD..] != *id.body(bytes.len()) { Err((Tear::Body, Some(id))) } else { Ok(id) }
    }
}

fn table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut random = fastrand::Rng::with_seed(1);
        (0..2 * MOST / 8).flat_map(|_| random.u64(..).to_le_bytes()).collect()
    })
}

impl Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of writer {}", self.number, self.writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_whole_and_nothing_else_is() {
        let sizes = Sizes { slot: 256, capacity: 1024, is_stream: false };
        let mut lens = [0; 3];
        for number in 0..2000 {
            let id = Id { writer: 7, number };
            let mut bytes = vec![0; MOST];
            let len = sizes.make(id, &mut bytes);
            bytes.truncate(len);
            lens[usize::from(len > 64) + usize::from(len > 256)] += 1;
            assert_eq!(sizes.check(&bytes), Ok(id));
            assert_eq!(sizes.check(&bytes[..len - 1]).map_err(|(tear, _)| tear == Tear::Body), Err(false));
            bytes[number as usize % len] ^= 1;
            assert!(sizes.check(&bytes).is_err());
        }
        assert!(lens.iter().all(|&count| count > 100), "{lens:?}");
    }
}
