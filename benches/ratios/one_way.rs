//! One way: the other process writes as fast as it can, this one reads and checks every message.
//!
//! Messages begin with their number. A stream carries the number of its piece at the start of every piece; a piece is as
//! long as a write, but no longer than 4096 bytes.

use std::io;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use ppipe::{Message, Reader, Writer};

use crate::ends::{Batches, Bytes, Loans, Packets, Sink, Tap, Whole, kernel_pipe, standard_output};
use crate::figures::Sample;
use crate::peer::{Assignment, Contender, Form, OUT, Role, finished, pin};
use crate::work::Conditions;

const WARM_UP: Duration = Duration::from_millis(5);
const LONGEST_PIECE: usize = 4096;
const MIN_READ: usize = 64 << 10;
/// Packets in a batch.
pub(crate) const BATCH: usize = 16;

/// Millions of messages a second, or gigabytes a second.
pub(crate) fn measure(form: Form, contender: Contender, size: usize, conditions: Conditions) -> io::Result<Sample> {
    let Conditions { sample, own_cpu, peer_cpu: cpu, .. } = conditions;
    let assignment = Assignment { contender, form, size, cpu, ..Assignment::new(Role::Writer) };
    let rate = match contender {
        Contender::Ours => {
            let (reader, writer) = ppipe::pipe()?;
            let mut command = assignment.command()?;
            writer.hand_to(&mut command, OUT);
            let peer = command.spawn()?;
            drop(command);
            pin(own_cpu)?;
            match form {
                Form::Packets | Form::Large => messages(Packets(reader), peer, size, sample),
                Form::Batches => batches(reader, peer, size, sample),
                Form::Loans => messages(Loans(reader), peer, size, sample),
                Form::Stream => stream(Bytes(reader), peer, size, sample),
            }
        }
        Contender::Kernel => {
            let (reader, writer) = kernel_pipe(matches!(form, Form::Packets | Form::Batches))?;
            let peer = assignment.command()?.stdout(Stdio::from(writer)).spawn()?;
            pin(own_cpu)?;
            match form {
                Form::Packets | Form::Batches => messages(Bytes(reader), peer, size, sample),
                Form::Large | Form::Loans => messages(Whole(reader), peer, size, sample),
                Form::Stream => stream(Bytes(reader), peer, size, sample),
            }
        }
    };
    Ok(Sample::of(rate?))
}

/// Millions of messages a second.
fn messages(mut tap: impl Tap, peer: Child, size: usize, sample: Duration) -> io::Result<f64> {
    let per_look = if size <= LONGEST_PIECE { 256 } else { 4 };
    let mut buffer = vec![0; size];
    let mut expected = 0_u64;
    let rate = over_time(sample, || {
        for _ in 0..per_look {
            let len = tap.take(&mut buffer)?;
            if len != size || number_at(&buffer, 0) != Some(expected) {
                return Err(wrong(len, expected));
            }
            expected += 1;
        }
        Ok(per_look)
    })? / 1e6;
    drop(tap);
    finished(peer)?;
    Ok(rate)
}

/// Millions of messages a second, as many as are there with each call.
fn batches(reader: Reader, peer: Child, size: usize, sample: Duration) -> io::Result<f64> {
    let mut bytes = vec![0; size * BATCH];
    let mut buffers: Vec<&mut [u8]> = bytes.chunks_mut(size).collect();
    let mut messages = [Message::default(); BATCH];
    let mut expected = 0_u64;
    let rate = over_time(sample, || {
        let mut count = 0;
        while count < 256 {
            let received = reader.recv_batch(&mut buffers, &mut messages)?;
            for (buffer, message) in buffers.iter().zip(&messages[..received]) {
                if message.len != size || number_at(buffer, 0) != Some(expected) {
                    return Err(wrong(message.len, expected));
                }
                expected += 1;
            }
            count += received;
        }
        Ok(count)
    })? / 1e6;
    drop(reader);
    finished(peer)?;
    Ok(rate)
}

/// Gigabytes a second.
fn stream(mut tap: impl Tap, peer: Child, size: usize, sample: Duration) -> io::Result<f64> {
    let piece = size.min(LONGEST_PIECE);
    let mut buffer = vec![0; size.max(MIN_READ)];
    let mut position = 0_usize;
    let mut unread = 0;
    let rate = over_time(sample, || {
        let mut bytes = 0;
        while bytes < MIN_READ {
            let len = tap.take(&mut buffer)?;
            if len == 0 {
                return Err(wrong(len, position as u64));
            }
            let mut at = position.next_multiple_of(piece) - position;
            while at < len {
                match number_at(&buffer[..len], at) {
                    None => unread += 1,
                    Some(number) if number == ((position + at) / piece) as u64 => {}
                    Some(_) => return Err(wrong(len, (position + at) as u64)),
                }
                at += piece;
            }
            position += len;
            bytes += len;
        }
        Ok(bytes)
    })? / 1e9;
    drop(tap);
    finished(peer)?;
    assert!(unread * 100 <= position / piece, "too many pieces went by unchecked");
    Ok(rate)
}

/// How many things a second `some` counts, after a warm-up.
fn over_time(sample: Duration, mut some: impl FnMut() -> io::Result<usize>) -> io::Result<f64> {
    some()?;
    let warm = Instant::now();
    while warm.elapsed() < WARM_UP {
        some()?;
    }
    let (mut count, start) = (0, Instant::now());
    loop {
        count += some()?;
        let elapsed = start.elapsed();
        if elapsed >= sample {
            return Ok(count as f64 / elapsed.as_secs_f64());
        }
    }
}

fn number_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn wrong(len: usize, at: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{len} bytes came that are not those of number {at}"))
}

/// The other process: writes numbered messages, the numbers counted on from `id << 56`, until nobody reads.
pub(crate) fn write(assignment: &Assignment) -> io::Result<()> {
    let Assignment { contender, form, .. } = *assignment;
    let end = match (contender, form) {
        (Contender::Ours, Form::Packets | Form::Large) => write_to(Packets(Writer::inherited(OUT)?), assignment),
        (Contender::Ours, Form::Batches) => write_to(Batches(Writer::inherited(OUT)?), assignment),
        (Contender::Ours, Form::Loans) => write_to(Loans(Writer::inherited(OUT)?), assignment),
        (Contender::Ours, Form::Stream) => write_to(Bytes(Writer::inherited(OUT)?), assignment),
        (Contender::Kernel, _) => write_to(Bytes(standard_output()?), assignment),
    };
    match end {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        end => end,
    }
}

fn write_to(mut sink: impl Sink, assignment: &Assignment) -> io::Result<()> {
    let Assignment { contender, form, size, cpu, id, .. } = *assignment;
    pin(cpu)?;
    let piece = if form == Form::Stream { size.min(LONGEST_PIECE) } else { size };
    let is_batch = form == Form::Batches && contender == Contender::Ours;
    let mut buffer = vec![0x5a; if is_batch { size * BATCH } else { size }];
    let mut number = id << 56;
    loop {
        for piece in buffer.chunks_mut(piece) {
            piece[..8].copy_from_slice(&number.to_le_bytes());
            number += 1;
        }
        sink.put(&buffer)?;
    }
}
