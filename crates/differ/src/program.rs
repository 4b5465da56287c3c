//! How programs are made from a seed.

use fastrand::Rng;
use rustix::event::PollFlags;

use crate::bytes::SOURCE_BYTES;
use crate::other::MOST_FOR_SOCKET;
use crate::step::{Access, Lens, Manner, Other, SLOT, Side, Step, Transfer, Verb, Who};

/// A program of `len` steps. It begins with open ends, most often of a small pipe, since interesting things happen when it is full.
#[must_use]
pub fn random(seed: u64, len: usize) -> Vec<Step> {
    let mut random = Rng::with_seed(seed);
    let mut steps = Vec::with_capacity(len + 6);
    for pipe in 0..2 {
        steps.push(Step::Open(pipe, Access::Reads));
        steps.push(Step::Open(pipe, Access::Writes));
        if random.u8(..4) > 0 {
            let who = Who { pipe, by: Side::Writer, handle: 0 };
            steps.push(Step::Resize(who, (SLOT as u32) << random.u32(..5)));
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
    let handle = random.usize(..6);
    let reader = Who { pipe, by: Side::Reader, handle };
    let writer = Who { pipe, by: Side::Writer, handle };
    let any = if random.bool() { reader } else { writer };
    let others = 56;
    match random.u32(..taste.writes + taste.reads + others) {
        0..=3 => {
            let who = if random.u8(..8) == 0 { reader } else { writer };
            Step::PacketMode(who, random.u8(..4) < if taste.packets { 3 } else { 1 })
        }
        4..=5 => Step::Nonblocking(any, random.bool()),
        6..=7 => Step::Flags(any),
        8..=11 => Step::Resize(any, random_size(random)),
        12..=14 => Step::Unread(any),
        15..=19 => Step::Poll(any, random_events(random)),
        20..=23 => Step::Open(pipe, random_access(random)),
        24..=25 => Step::Reopen(any, random_access(random)),
        26..=27 => Step::Duplicate(any),
        28..=34 => Step::Close(any),
        35..=44 => {
            let other = if random.u8(..20) == 0 { pipe } else { 1 - pipe };
            let to = Who { pipe: other, by: Side::Writer, handle: random.usize(..6) };
            let verb = if random.bool() { Verb::Splice } else { Verb::Tee };
            Step::Transfer(Transfer { verb, from: reader, to, len: random_most(random), manner: random_manner(random) })
        }
        45..=47 => {
            let place = (random.u8(..4) == 0).then(|| random.u64(..SOURCE_BYTES as u64 + 100));
            Step::FromFile(writer, random_most(random), random_manner(random), place)
        }
        48..=50 => {
            let place = [0, 100, SLOT as u64, 9000, 12_345][random.usize(..5)];
            Step::ToFile(reader, random_most(random), random_manner(random), place)
        }
        51..=52 => Step::FromPipe(writer, random_most(random), random_manner(random), random.usize(..5)),
        53..=55 => {
            let other = [Other::Socket, Other::EmptyPipe, Other::FullPipe][random.usize(..3)];
            let most = if other == Other::Socket { MOST_FOR_SOCKET } else { usize::MAX };
            Step::ToOther(reader, random_most(random).min(most), random_manner(random), other)
        }
        n if n < others + taste.writes => Step::Write(writer, Lens(random_lens(random))),
        _ => Step::Read(reader, Lens(random_lens(random))),
    }
}

fn random_access(random: &mut Rng) -> Access {
    match random.u8(..10) {
        0 => Access::Both,
        1..=5 => Access::Reads,
        _ => Access::Writes,
    }
}

fn random_manner(random: &mut Rng) -> Manner {
    if random.u8(..4) == 0 { Manner::Nonblock } else { Manner::AsTheHandles }
}

fn random_events(random: &mut Rng) -> PollFlags {
    let both = PollFlags::IN | PollFlags::OUT;
    [both, both, PollFlags::IN, PollFlags::OUT, PollFlags::empty()][random.usize(..5)]
}

fn random_lens(random: &mut Rng) -> Vec<usize> {
    match random.u16(..400) {
        0 => Vec::new(),
        // As many as a call can take.
        1 => vec![1; random.usize(1020..=1024)],
        2 => vec![SLOT * random.usize(200..=260)],
        3..=300 => vec![random_len(random)],
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

/// How many bytes to splice at most.
fn random_most(random: &mut Rng) -> usize {
    let much = [1 << 31, 1 << 40, isize::MAX as usize - 5000, isize::MAX as usize, usize::MAX];
    if random.u8(..30) == 0 { much[random.usize(..much.len())] } else { random_len(random) }
}

fn random_size(random: &mut Rng) -> u32 {
    match random.u8(..20) {
        0 => 0,
        1 => random.u32(1..SLOT as u32),
        // A negative number.
        2 => u32::MAX - random.u32(..100),
        3 => random.u32(..),
        // More than an ordinary user may have, up to more than there can be.
        4 => (1 << random.u32(20..=31)) + random.u32(..2),
        5 => 1 << random.u32(16..=20),
        6 => (SLOT as u32) * random.u32(1..20) + 1,
        _ => (SLOT as u32) << random.u32(..6),
    }
}
