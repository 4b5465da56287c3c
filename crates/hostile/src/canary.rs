//! Buffers that show what was written beside them.
//!
//! ```text
//!   | canary, 64 bytes | the caller's room | canary, 64 bytes |
//! ```

const CANARY: usize = 64;

fn canary(at: usize) -> u8 {
    0xa5 ^ at as u8
}

/// A buffer between two canaries.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
}

impl Buffer {
    /// Room for `len` bytes, zeroed.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let mut bytes = vec![0; len + 2 * CANARY];
        for at in (0..CANARY).chain(len + CANARY..len + 2 * CANARY) {
            bytes[at] = canary(at);
        }
        Self { bytes }
    }

    /// The room.
    pub fn room(&mut self) -> &mut [u8] {
        let end = self.bytes.len() - CANARY;
        &mut self.bytes[CANARY..end]
    }

    /// Spoils a canary, as one would who writes a byte too much.
    pub fn overrun(&mut self) {
        let end = self.bytes.len() - CANARY;
        self.bytes[end] ^= 1;
    }

    /// Whether nothing was written beside the room.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        let len = self.bytes.len();
        (0..CANARY).chain(len - CANARY..len).all(|at| self.bytes[at] == canary(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_beside_the_room_is_seen_and_none_in_it() {
        let mut buffer = Buffer::new(10);
        buffer.room().fill(7);
        assert!(buffer.room().len() == 10 && buffer.is_intact());
        for at in [0, CANARY - 1, CANARY + 10, 2 * CANARY + 9] {
            let mut buffer = Buffer::new(10);
            buffer.bytes[at] = !buffer.bytes[at];
            assert!(!buffer.is_intact(), "{at}");
        }
        buffer.overrun();
        assert!(!buffer.is_intact());
    }
}
