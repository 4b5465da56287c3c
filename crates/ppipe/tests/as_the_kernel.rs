//! The POSIX verbs against the judge: random programs run step by step on a kernel pipe and on ours, and every result and
//! every byte has to be the same. There are two writing handles, each with flags of its own. A failure prints the seed and the
//! program up to the difference; `PPIPE_SEED` runs one.

mod name;

use std::fs::File;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use name::Name;
use ppipe::{Builder, Reader, Writer};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;

const SLOT: usize = 4096;

/// One step of a program.
#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    WriteVectored(Vec<usize>),
    Read(usize),
    ReadVectored(Vec<usize>),
    /// The handle that writes from now on, and whose packet flag is set.
    Use(usize),
    PacketMode(bool),
    CloseWriter,
    CloseReader,
}

/// What a step gave: a number, bytes, or an error.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Count(usize),
    Bytes(Vec<u8>),
    Error(ErrorKind),
    Done,
}

trait Pipe {
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> std::io::Result<usize>;
    fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> std::io::Result<usize>;
    fn use_writer(&mut self, which: usize);
    fn set_packet_mode(&mut self, is_on: bool);
    fn close_writer(&mut self);
    fn close_reader(&mut self);
}

/// The ends of one pipe, and which of its two writing handles is used.
struct Ends<R, W> {
    reader: Option<R>,
    writers: Option<[W; 2]>,
    used: usize,
}

impl<R, W> Ends<R, W> {
    fn new(reader: R, writers: [W; 2]) -> Self {
        Self { reader: Some(reader), writers: Some(writers), used: 0 }
    }

    fn reader(&mut self) -> &mut R {
        self.reader.as_mut().expect("open")
    }

    fn writer(&mut self) -> &mut W {
        &mut self.writers.as_mut().expect("open")[self.used]
    }

    fn close_writer(&mut self) {
        self.writers = None;
    }

    fn close_reader(&mut self) {
        self.reader = None;
    }
}

struct Kernel(Ends<File, File>);

impl Kernel {
    fn new(slots: usize) -> Self {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("a pipe");
        rustix::pipe::fcntl_setpipe_size(&writer, slots * SLOT).expect("its size");
        // Opened anew it has flags of its own, which a duplicate would not have.
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let other = rustix::fs::open(path, flags, Mode::empty()).expect("the same pipe");
        Self(Ends::new(reader.into(), [writer.into(), other.into()]))
    }
}

impl Pipe for Kernel {
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> std::io::Result<usize> {
        self.0.writer().write_vectored(buffers)
    }

    fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> std::io::Result<usize> {
        self.0.reader().read_vectored(buffers)
    }

    fn use_writer(&mut self, which: usize) {
        self.0.used = which;
    }

    fn set_packet_mode(&mut self, is_on: bool) {
        let direct = if is_on { OFlags::DIRECT } else { OFlags::empty() };
        rustix::fs::fcntl_setfl(self.0.writer(), OFlags::NONBLOCK | direct).expect("flags");
    }

    fn close_writer(&mut self) {
        self.0.close_writer();
    }

    fn close_reader(&mut self) {
        self.0.close_reader();
    }
}

struct Ours(Ends<Reader, Writer>, #[expect(dead_code, reason = "removes what is left when dropped")] Name);

impl Ours {
    fn new(slots: usize) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = Name::new(&format!("as-the-kernel-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let builder = Builder::new().slots(slots as u32).nonblocking(true);
        let reader = builder.open_reader(&name.0).expect("a pipe");
        let writer = || builder.open_writer(&name.0).expect("a reader is there");
        Self(Ends::new(reader, [writer(), writer()]), name)
    }
}

impl Pipe for Ours {
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> std::io::Result<usize> {
        self.0.writer().write_vectored(buffers)
    }

    fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> std::io::Result<usize> {
        self.0.reader().read_vectored(buffers)
    }

    fn use_writer(&mut self, which: usize) {
        self.0.used = which;
    }

    fn set_packet_mode(&mut self, is_on: bool) {
        self.0.writer().set_packet_mode(is_on);
    }

    fn close_writer(&mut self) {
        self.0.close_writer();
    }

    fn close_reader(&mut self) {
        self.0.close_reader();
    }
}

/// Runs one step; written bytes continue the sequence at `written`, so that every byte tells where it belongs.
fn run(pipe: &mut dyn Pipe, step: &Step, written: usize) -> Outcome {
    let write = |pipe: &mut dyn Pipe, lens: &[usize]| {
        let total: usize = lens.iter().sum();
        let bytes: Vec<u8> = (written..written + total).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect();
        let mut rest = &bytes[..];
        let slices: Vec<IoSlice<'_>> = lens
            .iter()
            .map(|&len| {
                let (piece, others) = rest.split_at(len);
                rest = others;
                IoSlice::new(piece)
            })
            .collect();
        pipe.write(&slices).map_or_else(|error| Outcome::Error(error.kind()), Outcome::Count)
    };
    let read = |pipe: &mut dyn Pipe, lens: &[usize]| {
        let mut buffers: Vec<Vec<u8>> = lens.iter().map(|&len| vec![0; len]).collect();
        let mut slices: Vec<IoSliceMut<'_>> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        match pipe.read(&mut slices) {
            Ok(len) => {
                let mut bytes = buffers.concat();
                bytes.truncate(len);
                Outcome::Bytes(bytes)
            }
            Err(error) => Outcome::Error(error.kind()),
        }
    };
    match step {
        Step::Write(len) => write(pipe, &[*len]),
        Step::WriteVectored(lens) => write(pipe, lens),
        Step::Read(len) => read(pipe, &[*len]),
        Step::ReadVectored(lens) => read(pipe, lens),
        Step::Use(which) => {
            pipe.use_writer(*which);
            Outcome::Done
        }
        Step::PacketMode(is_on) => {
            pipe.set_packet_mode(*is_on);
            Outcome::Done
        }
        Step::CloseWriter => {
            pipe.close_writer();
            Outcome::Done
        }
        Step::CloseReader => {
            pipe.close_reader();
            Outcome::Done
        }
    }
}

fn random_len(random: &mut fastrand::Rng, slots: usize) -> usize {
    match random.u8(0..10) {
        0 => 0,
        1..=3 => random.usize(1..200),
        4 => SLOT,
        5 => SLOT * random.usize(1..=slots + 1) + random.usize(0..3),
        6 => SLOT - random.usize(1..100),
        7 => random.usize(1..SLOT * 3),
        _ => random.usize(1..SLOT),
    }
}

fn random_step(random: &mut fastrand::Rng, slots: usize, is_writing: bool, is_reading: bool) -> Step {
    let lens = |random: &mut fastrand::Rng| (0..random.usize(1..4)).map(|_| random_len(random, slots)).collect();
    loop {
        let step = match random.u8(0..44) {
            0..=14 => Step::Write(random_len(random, slots)),
            15..=18 => Step::WriteVectored(lens(random)),
            19..=31 => Step::Read(random_len(random, slots)),
            32..=35 => Step::ReadVectored(lens(random)),
            36..=38 => Step::PacketMode(random.bool()),
            39..=42 => Step::Use(random.usize(0..2)),
            _ if random.u8(0..20) > 0 => continue,
            _ if random.bool() => Step::CloseWriter,
            _ => Step::CloseReader,
        };
        let is_possible = match step {
            Step::Read(_) | Step::ReadVectored(_) | Step::CloseReader => is_reading,
            _ => is_writing,
        };
        if is_possible {
            return step;
        }
    }
}

/// Runs a random program on `ours` and on a kernel pipe; the differences found, as text.
fn first_difference(seed: u64, steps: usize, ours: impl FnOnce(usize) -> Box<dyn Pipe>) -> Option<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let slots = 1 << random.usize(0..=4);
    let (mut kernel, mut ours) = (Kernel::new(slots), ours(slots));
    let (mut is_writing, mut is_reading) = (true, true);
    let mut written = 0;
    let mut program = Vec::new();
    for _ in 0..steps {
        if !is_writing && !is_reading {
            break;
        }
        let step = random_step(&mut random, slots, is_writing, is_reading);
        program.push(step.clone());
        is_writing &= !matches!(step, Step::CloseWriter);
        is_reading &= !matches!(step, Step::CloseReader);
        let expected = run(&mut kernel, &step, written);
        let found = run(&mut *ours, &step, written);
        if found != expected {
            let last: Vec<_> = program.iter().rev().take(12).rev().collect();
            return Some(format!("seed {seed}, {slots} slots, kernel {expected:?}, ours {found:?}, after {last:?}"));
        }
        if let Outcome::Count(count) = expected {
            written += count;
        }
    }
    None
}

#[test]
fn random_programs_give_what_the_kernel_gives() {
    let seeds = match std::env::var("PPIPE_SEED") {
        Ok(seed) => vec![seed.parse().expect("PPIPE_SEED is a number")],
        Err(_) => (0..500).collect(),
    };
    for seed in seeds {
        if let Some(difference) = first_difference(seed, 200, |slots| Box::new(Ours::new(slots))) {
            panic!("{difference}");
        }
    }
}

/// The negative control: pipes with one rule wrong each.
mod seeded_mistakes {
    use super::*;

    struct Wrong {
        ours: Ours,
        rule: fn(&mut Ours, Verb<'_, '_>) -> std::io::Result<usize>,
    }

    enum Verb<'a, 'b> {
        Write(&'a [IoSlice<'b>]),
        Read(&'a mut [IoSliceMut<'b>]),
        PacketMode(bool),
    }

    impl Pipe for Wrong {
        fn write(&mut self, buffers: &[IoSlice<'_>]) -> std::io::Result<usize> {
            (self.rule)(&mut self.ours, Verb::Write(buffers))
        }

        fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> std::io::Result<usize> {
            (self.rule)(&mut self.ours, Verb::Read(buffers))
        }

        fn use_writer(&mut self, which: usize) {
            self.ours.use_writer(which);
        }

        fn set_packet_mode(&mut self, is_on: bool) {
            (self.rule)(&mut self.ours, Verb::PacketMode(is_on)).expect("a flag");
        }

        fn close_writer(&mut self) {
            self.ours.close_writer();
        }

        fn close_reader(&mut self) {
            self.ours.close_reader();
        }
    }

    fn as_it_should(ours: &mut Ours, verb: Verb<'_, '_>) -> std::io::Result<usize> {
        match verb {
            Verb::Write(buffers) => ours.write(buffers),
            Verb::Read(buffers) => ours.read(buffers),
            Verb::PacketMode(is_on) => {
                ours.set_packet_mode(is_on);
                Ok(0)
            }
        }
    }

    fn finds(rule: fn(&mut Ours, Verb<'_, '_>) -> std::io::Result<usize>) -> bool {
        (0..500)
            .any(|seed| first_difference(seed, 200, |slots| Box::new(Wrong { ours: Ours::new(slots), rule })).is_some())
    }

    #[test]
    fn the_fuzzer_sees_a_write_that_never_merges() {
        assert!(finds(|ours, verb| match verb {
            Verb::Write(buffers) if !ours.0.writer().is_packet_mode() && total(buffers) < SLOT => {
                let all: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
                ours.0.writer().try_send(&all).map(|()| all.len())
            }
            verb => as_it_should(ours, verb),
        }));
    }

    #[test]
    fn the_fuzzer_sees_a_read_that_stops_at_each_slot() {
        assert!(finds(|ours, verb| match verb {
            Verb::Read(buffers) => {
                let len = buffers.iter().map(|buffer| buffer.len()).sum::<usize>().min(SLOT);
                let mut bytes = vec![0; len];
                let read = ours.0.reader().read(&mut bytes)?;
                let mut rest = &bytes[..read];
                for buffer in buffers {
                    let len = rest.len().min(buffer.len());
                    buffer[..len].copy_from_slice(&rest[..len]);
                    rest = &rest[len..];
                }
                Ok(read)
            }
            verb => as_it_should(ours, verb),
        }));
    }

    #[test]
    fn the_fuzzer_sees_a_packet_flag_that_is_the_pipes_and_not_the_handles() {
        assert!(finds(|ours, verb| match verb {
            Verb::PacketMode(is_on) => {
                ours.0.writers.iter().flatten().for_each(|writer| writer.set_packet_mode(is_on));
                Ok(0)
            }
            verb => as_it_should(ours, verb),
        }));
    }

    #[test]
    fn the_fuzzer_sees_a_wrong_error_and_sees_nothing_where_nothing_is_wrong() {
        assert!(finds(|ours, verb| as_it_should(ours, verb).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => ErrorKind::WouldBlock.into(),
            _ => error,
        })));
        assert!(!finds(as_it_should));
    }

    fn total(buffers: &[IoSlice<'_>]) -> usize {
        buffers.iter().map(|buffer| buffer.len()).sum()
    }
}
