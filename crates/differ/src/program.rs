//! Programs: what they consist of, and how they are made from a seed.

use std::fmt;

use fastrand::Rng;

/// Bytes of a slot, the kernel's page.
pub const SLOT: usize = 4096;

/// Lengths of buffers.
#[derive(Clone, PartialEq, Eq)]
pub struct Lens(pub Vec<usize>);

impl fmt::Debug for Lens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            lens if lens.len() <= 8 => write!(f, "{lens:?}"),
            lens => write!(f, "[{}; {}]", lens[0], lens.len()),
        }
    }
}

/// One call. Handles are counted modulo those that are open, and a call on none is left out: so any part of a program is a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `write` or, if there is not exactly one length, `writev`.
    Write {
        /// On which pipe, 0 or 1, here and below.
        pipe: usize,
        /// Which of its writing handles.
        handle: usize,
        /// Of how many bytes, for each buffer.
        lens: Lens,
    },
    /// `read` or `readv`.
    Read {
        /// On which pipe.
        pipe: usize,
        /// Which of its reading handles.
        handle: usize,
        /// Into how many bytes, for each buffer.
        lens: Lens,
    },
    /// `fcntl(F_SETFL)` with or without `O_DIRECT` on a writing handle.
    PacketMode {
        /// On which pipe.
        pipe: usize,
        /// Which of its writing handles.
        handle: usize,
        /// With it.
        is_on: bool,
    },
    /// `fcntl(F_SETPIPE_SZ)`, and then `F_GETPIPE_SZ` on a handle of the other side.
    Resize {
        /// On which pipe.
        pipe: usize,
        /// By a handle of which side.
        by: Side,
        /// Which of them.
        handle: usize,
        /// To so many bytes.
        bytes: u32,
    },
    /// `ioctl(FIONREAD)`.
    Unread {
        /// On which pipe.
        pipe: usize,
        /// By a handle of which side.
        by: Side,
        /// Which of them.
        handle: usize,
    },
    /// `poll` without waiting.
    Poll {
        /// On which pipe.
        pipe: usize,
        /// A handle of which side.
        by: Side,
        /// Which of them.
        handle: usize,
    },
    /// `splice` or `tee` of two pipes, or of one and itself.
    Transfer {
        /// Which of the two.
        verb: Verb,
        /// From which pipe.
        from: usize,
        /// By which of its reading handles.
        reader: usize,
        /// To which pipe.
        to: usize,
        /// By which of its writing handles.
        writer: usize,
        /// How many bytes at most.
        len: usize,
    },
    /// `splice` from a file of numbered bytes, which goes on where the last one ended.
    FromFile {
        /// To which pipe.
        pipe: usize,
        /// By which of its writing handles.
        handle: usize,
        /// How many bytes at most.
        len: usize,
    },
    /// `splice` to a file.
    ToFile {
        /// From which pipe.
        pipe: usize,
        /// By which of its reading handles.
        handle: usize,
        /// How many bytes at most.
        len: usize,
    },
    /// `open` of the name, with a description of its own.
    Open {
        /// Which pipe.
        pipe: usize,
        /// To read or to write.
        side: Side,
    },
    /// `dup`.
    Duplicate {
        /// On which pipe.
        pipe: usize,
        /// A handle of which side.
        side: Side,
        /// Which of them.
        handle: usize,
    },
    /// `close`.
    Close {
        /// On which pipe.
        pipe: usize,
        /// A handle of which side.
        side: Side,
        /// Which of them.
        handle: usize,
    },
}

/// What a transfer leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Nothing.
    Splice,
    /// Everything.
    Tee,
}

/// One end or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Reading.
    Reader,
    /// Writing.
    Writer,
}

/// A program of `len` steps. It begins with open ends, most often of a small pipe, since interesting things happen when it is full.
#[must_use]
pub fn random(seed: u64, len: usize) -> Vec<Step> {
    let mut random = Rng::with_seed(seed);
    let mut steps = Vec::with_capacity(len + 6);
    for pipe in 0..2 {
        steps.push(Step::Open { pipe, side: Side::Reader });
        steps.push(Step::Open { pipe, side: Side::Writer });
        if random.u8(..4) > 0 {
            let bytes = (SLOT as u32) << random.u32(..5);
            steps.push(Step::Resize { pipe, by: Side::Writer, handle: 0, bytes });
        }
    }
    // What a program likes to do, so that some fill pipes and some empty them.
    let taste = Taste { writes: random.u32(10..30), reads: random.u32(10..30), packets: random.bool() };
    steps.extend((0..len).map(|_| random_step(&mut random, taste)));
    steps
}

#[derive(Clone, Copy)]
struct Taste {
    writes: u32,
    reads: u32,
    packets: bool,
}

fn random_step(random: &mut Rng, taste: Taste) -> Step {
    // One pipe is used more than the other one.
    let pipe = usize::from(random.u8(..4) == 0);
    let handle = random.usize(..4);
    let side = if random.bool() { Side::Reader } else { Side::Writer };
    let others = 50;
    match random.u32(..taste.writes + taste.reads + others) {
        0..=3 => Step::PacketMode { pipe, handle, is_on: random.u8(..4) < if taste.packets { 3 } else { 1 } },
        4..=7 => Step::Resize { pipe, by: side, handle, bytes: random_size(random) },
        8..=13 => Step::Unread { pipe, by: side, handle },
        14..=21 => Step::Poll { pipe, by: side, handle },
        22..=26 => Step::Open { pipe, side },
        27..=28 => Step::Duplicate { pipe, side, handle },
        29..=33 => Step::Close { pipe, side, handle },
        44..=46 => Step::FromFile { pipe, handle, len: random_len(random) },
        47..=49 => Step::ToFile { pipe, handle, len: random_len(random) },
        34..=43 => Step::Transfer {
            verb: if random.bool() { Verb::Splice } else { Verb::Tee },
            from: pipe,
            reader: handle,
            to: if random.u8(..20) == 0 { pipe } else { 1 - pipe },
            writer: random.usize(..4),
            len: random_len(random),
        },
        n if n < others + taste.writes => Step::Write { pipe, handle, lens: Lens(random_lens(random)) },
        _ => Step::Read { pipe, handle, lens: Lens(random_lens(random)) },
    }
}

fn random_lens(random: &mut Rng) -> Vec<usize> {
    match random.u16(..400) {
        0 => Vec::new(),
        // More than a call can take.
        1 => vec![1; random.usize(1023..1027)],
        2..=300 => vec![random_len(random)],
        _ => (0..random.usize(2..5)).map(|_| random_len(random)).collect(),
    }
}

fn random_len(random: &mut Rng) -> usize {
    match random.u8(..10) {
        0 => 0,
        1..=3 => random.usize(1..200),
        4 => SLOT,
        5 => SLOT * random.usize(1..=18) + random.usize(0..3),
        6 => SLOT - random.usize(1..100),
        7 => random.usize(1..SLOT * 3),
        _ => random.usize(1..SLOT),
    }
}

fn random_size(random: &mut Rng) -> u32 {
    match random.u8(..16) {
        0 => 0,
        1 => random.u32(1..SLOT as u32),
        2 => u32::MAX,
        3 => (1 << 31) + 1,
        4 => 1 << random.u32(16..=20),
        5 => (SLOT as u32) * random.u32(1..20) + 1,
        _ => (SLOT as u32) << random.u32(..6),
    }
}
