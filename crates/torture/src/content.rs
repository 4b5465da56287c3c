//! What is in a pipe: units that come out as they went in, packet by packet, stream bytes in one piece.

use std::io;

use ppipe::{Excess, Reader};

/// A packet, or stream bytes up to the next packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Whether it is a packet.
    pub is_packet: bool,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Everything that is in a pipe, from its front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content(Vec<Unit>);

/// `len` bytes that nobody else sends: `who` tells who, `number` the how-manieth.
#[must_use]
pub fn bytes_of(who: u8, number: u32, len: usize) -> Vec<u8> {
    let mut state = u64::from(who) << 32 | u64::from(number);
    let mut next = || {
        // splitmix64, by Sebastiano Vigna, in the public domain.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as u8
    };
    (0..len).map(|_| next()).collect()
}

impl Content {
    /// Adds a packet.
    pub fn push_packet(&mut self, bytes: Vec<u8>) {
        self.0.push(Unit { is_packet: true, bytes });
    }

    /// Adds stream bytes, which nothing divides from those before them.
    pub fn push_stream(&mut self, bytes: &[u8]) {
        match self.0.last_mut() {
            Some(last) if !last.is_packet => last.bytes.extend(bytes),
            _ => self.0.push(Unit { is_packet: false, bytes: bytes.to_vec() }),
        }
    }

    /// Adds the first `len` bytes of what is in `other`.
    pub fn push_some(&mut self, other: &Self, mut len: usize) {
        for unit in &other.0 {
            let taken = len.min(unit.bytes.len());
            len -= taken;
            match &unit.bytes[..taken] {
                [] => {}
                bytes if unit.is_packet => self.push_packet(bytes.to_vec()),
                bytes => self.push_stream(bytes),
            }
        }
    }

    /// Takes the first `len` bytes out. What is left of a packet stays one.
    pub fn drop_front(&mut self, mut len: usize) {
        while len > 0
            && let Some(first) = self.0.first_mut()
        {
            let taken = len.min(first.bytes.len());
            first.bytes.drain(..taken);
            len -= taken;
            if first.bytes.is_empty() {
                self.0.remove(0);
            }
        }
    }

    /// Takes the last packet out, if it is this one; whether it was.
    pub fn drop_last(&mut self, packet: &[u8]) -> bool {
        self.0.pop_if(|last| last.is_packet && last.bytes == packet).is_some()
    }

    /// Bytes of all of it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|unit| unit.bytes.len()).sum()
    }

    /// How many units there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Bytes of the first `count` units.
    #[must_use]
    pub fn len_of_first(&self, count: usize) -> usize {
        self.0.iter().take(count).map(|unit| unit.bytes.len()).sum()
    }

    /// Whether a packet comes first.
    #[must_use]
    pub fn begins_with_packet(&self) -> bool {
        self.0.first().is_some_and(|unit| unit.is_packet)
    }

    /// All of it, without borders.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|unit| unit.bytes.iter().copied()).collect()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes out of `reader` whatever is there, without waiting.
    ///
    /// # Errors
    /// What the pipe says when it should not.
    pub fn drain(reader: &Reader) -> io::Result<Self> {
        let mut content = Self::default();
        let mut buffer = vec![0; reader.capacity()];
        loop {
            match reader.try_recv_with(&mut buffer, Excess::Refuse) {
                Ok(message) if message.is_stream => content.push_stream(&buffer[..message.len]),
                Ok(message) => content.push_packet(buffer[..message.len].to_vec()),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::UnexpectedEof) => {
                    return Ok(content);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Lengths of the units, for one who compares two contents by eye.
impl std::fmt::Display for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[")?;
        for (index, unit) in self.0.iter().enumerate() {
            let kind = if unit.is_packet { "packet" } else { "stream" };
            let start = &unit.bytes[..unit.bytes.len().min(4)];
            write!(f, "{}{kind} {} {start:02x?}", if index > 0 { ", " } else { "" }, unit.bytes.len())?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_and_dropped_is_what_a_pipe_gives() {
        let mut content = Content::default();
        content.push_stream(b"abc");
        content.push_stream(b"def");
        content.push_packet(b"packet".to_vec());
        content.push_stream(b"ghi");
        content.drop_front(4);
        assert_eq!(content.to_string(), "[stream 2 [65, 66], packet 6 [70, 61, 63, 6b], stream 3 [67, 68, 69]]");
        content.drop_front(8);
        let mut some = Content::default();
        some.push_some(&content, 2);
        assert_eq!((content.len(), some.len(), some.is_empty()), (3, 2, false));
        assert_ne!(bytes_of(1, 2, 40), bytes_of(1, 3, 40));
    }
}
