//! Three on two CPUs: two writers and one reader, or one writer and two readers. How fast together, and how fair?
//!
//! A share is a participant's part of what both of its side got, divided by one half: 1 is fair, 0 is nothing. It is looked
//! at over the whole second, and over each of its ten windows.

use std::io::{self, Read};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ppipe::Reader;

use crate::ends::{Bytes, Packets, Sink, Tap, kernel_pipe, standard_input};
use crate::figures::{Sample, median};
use crate::peer::{Assignment, Contender, IN, OUT, Role, finished};

const SIZE: usize = 64;
const WINDOWS: usize = 10;
const WINDOW: Duration = Duration::from_millis(100);
/// From the start of the others to the first window.
const WARM_UP: Duration = Duration::from_millis(40);
const PER_LOOK: usize = 64;

/// What one participant got in each window.
type Counts = [u64; WINDOWS];

/// Millions of packets a second of two writers together, and their shares.
pub(crate) fn two_writers(contender: Contender) -> io::Result<Sample> {
    match contender {
        Contender::Ours => {
            let (reader, writer) = ppipe::pipe()?;
            let mut peers = Vec::new();
            for (id, writer) in [(0, writer.try_clone()?), (1, writer)] {
                let mut command = Assignment { id, ..Assignment::new(Role::Writer) }.command()?;
                writer.hand_to(&mut command, OUT);
                peers.push(command.spawn()?);
            }
            read_from_two(Packets(reader), peers)
        }
        Contender::Kernel => {
            let (reader, writer) = kernel_pipe(true)?;
            let mut peers = Vec::new();
            for (id, writer) in [(0, writer.try_clone()?), (1, writer)] {
                let assignment = Assignment { id, contender, ..Assignment::new(Role::Writer) };
                peers.push(assignment.command()?.stdout(Stdio::from(writer)).spawn()?);
            }
            read_from_two(Bytes(reader), peers)
        }
    }
}

fn read_from_two(mut tap: impl Tap, peers: Vec<Child>) -> io::Result<Sample> {
    let mut counts = [[0; WINDOWS]; 2];
    let mut expected = [0_u64; 2];
    let mut buffer = [0; SIZE];
    // Both have to be there before the clock runs.
    let start = loop {
        read_one(&mut tap, &mut buffer, &mut expected)?;
        if expected.iter().all(|&number| number > 0) {
            break Instant::now() + WARM_UP;
        }
    };
    let mut now = Instant::now();
    while now < start + WINDOW * WINDOWS as u32 {
        let window = now.checked_duration_since(start).map(|since| (since.as_nanos() / WINDOW.as_nanos()) as usize);
        for _ in 0..PER_LOOK {
            let id = read_one(&mut tap, &mut buffer, &mut expected)?;
            if let Some(window) = window {
                counts[id][window] += 1;
            }
        }
        now = Instant::now();
    }
    drop(tap);
    peers.into_iter().try_for_each(finished)?;
    Ok(judged(&counts))
}

/// Which of the two writers it came from.
fn read_one(tap: &mut impl Tap, buffer: &mut [u8; SIZE], expected: &mut [u64; 2]) -> io::Result<usize> {
    let len = tap.take(buffer)?;
    let number = number_of(buffer);
    let (id, number) = ((number >> 56) as usize, number & ((1 << 56) - 1));
    if len != SIZE || id > 1 || number != expected[id] {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{len} bytes, number {number} of writer {id}")));
    }
    expected[id] += 1;
    Ok(id)
}

/// Millions of packets a second that two readers get together, and their shares.
pub(crate) fn two_readers(contender: Contender) -> io::Result<Sample> {
    // Time enough for both to start.
    let start = SystemTime::now() + 2 * WARM_UP;
    let nanos = start.duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_nanos() as u64;
    let assignment = Assignment { contender, start: nanos, ..Assignment::new(Role::Counter) };
    match contender {
        Contender::Ours => {
            let (reader, writer) = ppipe::pipe()?;
            let mut peers = Vec::new();
            for reader in [reader.try_clone()?, reader] {
                let mut command = assignment.command()?;
                reader.hand_to(&mut command, IN);
                peers.push(command.stdout(Stdio::piped()).spawn()?);
            }
            write_to_two(Packets(writer), peers, start)
        }
        Contender::Kernel => {
            let (reader, writer) = kernel_pipe(true)?;
            let mut peers = Vec::new();
            for reader in [reader.try_clone()?, reader] {
                let mut command = assignment.command()?;
                peers.push(command.stdin(Stdio::from(reader)).stdout(Stdio::piped()).spawn()?);
            }
            write_to_two(Bytes(writer), peers, start)
        }
    }
}

fn write_to_two(mut sink: impl Sink, peers: Vec<Child>, start: SystemTime) -> io::Result<Sample> {
    let mut buffer = [0x5a; SIZE];
    let mut number = 0_u64;
    let end = start + WINDOW * WINDOWS as u32;
    while SystemTime::now() < end {
        for _ in 0..PER_LOOK {
            buffer[..8].copy_from_slice(&number.to_le_bytes());
            sink.put(&buffer)?;
            number += 1;
        }
    }
    drop(sink);
    let mut counts = [[0; WINDOWS]; 2];
    let (mut received, mut sum) = (0, 0_u64);
    for (peer, counts) in peers.into_iter().zip(&mut counts) {
        let [count, part, windows @ ..] = report_of(peer)?;
        (received, sum, *counts) = (received + count, sum.wrapping_add(part), windows);
    }
    // Each once: as many as were sent, and their numbers add up.
    let expected = (u128::from(number) * u128::from(number.saturating_sub(1)) / 2) as u64;
    if (received, sum) != (number, expected) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{received} of {number} packets came")));
    }
    Ok(judged(&counts))
}

fn report_of(mut peer: Child) -> io::Result<[u64; WINDOWS + 2]> {
    let mut text = String::new();
    peer.stdout.as_mut().map_or(Ok(0), |out: &mut ChildStdout| out.read_to_string(&mut text))?;
    finished(peer)?;
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().map_err(|_| io::Error::other("a reader did not report"))
}

/// The other process, if it reads: prints how many came, the sum of their numbers, and how many came in each window.
pub(crate) fn count(assignment: &Assignment) -> io::Result<()> {
    let start = UNIX_EPOCH + Duration::from_nanos(assignment.start);
    let counted = match assignment.contender {
        Contender::Ours => count_all(Packets(Reader::inherited(IN)?), start),
        Contender::Kernel => count_all(Bytes(standard_input()?), start),
    };
    println!("{}", counted?.map(|number| number.to_string()).join(" "));
    Ok(())
}

fn count_all(mut tap: impl Tap, start: SystemTime) -> io::Result<[u64; WINDOWS + 2]> {
    let mut report = [0_u64; WINDOWS + 2];
    let mut buffer = [0; SIZE];
    let mut next = 0;
    loop {
        let window = start.elapsed().ok().map(|since| (since.as_nanos() / WINDOW.as_nanos()) as usize);
        for _ in 0..PER_LOOK {
            if tap.take(&mut buffer)? == 0 {
                return Ok(report);
            }
            let number = number_of(&buffer);
            if number < next {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{number} came after {next}")));
            }
            next = number + 1;
            report[0] += 1;
            report[1] = report[1].wrapping_add(number);
            if let Some(window) = window.filter(|&window| window < WINDOWS) {
                report[2 + window] += 1;
            }
        }
    }
}

fn number_of(buffer: &[u8; SIZE]) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&buffer[..8]);
    u64::from_le_bytes(number)
}

fn judged(counts: &[Counts; 2]) -> Sample {
    let [a, b] = counts;
    let (sum_a, sum_b) = (a.iter().sum::<u64>(), b.iter().sum::<u64>());
    let seconds = (WINDOW * WINDOWS as u32).as_secs_f64();
    let windows: Vec<f64> = a.iter().zip(b).map(|(&a, &b)| share_of_the_lesser(a, b)).collect();
    let worst = windows.iter().copied().fold(f64::INFINITY, f64::min);
    Sample {
        value: (sum_a + sum_b) as f64 / seconds / 1e6,
        extras: vec![
            ("lesser share over 1 s", share_of_the_lesser(sum_a, sum_b)),
            ("lesser share over 100 ms, median", median(&windows)),
            ("lesser share over 100 ms, worst", worst),
        ],
    }
}

fn share_of_the_lesser(a: u64, b: u64) -> f64 {
    if a + b == 0 { 0.0 } else { 2.0 * a.min(b) as f64 / (a + b) as f64 }
}
