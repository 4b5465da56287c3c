//! The demonstration's reading process: takes what comes out of one pipe or the other, and computes its checksum.

use std::io::{self, ErrorKind, Read};

use crc32fast::Hasher;
use ppipe::{Reader, Writer};

use crate::control::{ChildsEnd, Failed, Moved, Order, Report, ends, now_ns};
use crate::failure::Failure;
use crate::kernel_pipe::{KernelReader, KernelWriter};
use crate::workload::{PING_SIZE, PingWay, Shape, Way, Workload, warm_up_of};

/// Bytes taken from a stream at once.
const STREAM_BUFFER_LEN: usize = 65536;
/// Packets are gathered in this before their checksum is computed, or one by one if they are larger.
const PACKET_BUFFER_LEN: usize = 32768;
/// There is always so much more room than the packet should need, so that one that is too long is seen.
const SPARE_ROOM: usize = 64;

/// Runs until there are no more orders.
pub(crate) fn run() -> Result<(), Failure> {
    let parent = ChildsEnd::inherited()?;
    serve(&parent).map_err(|failed| {
        // If the parent is gone there is nobody to tell.
        let _ = parent.report(&Report::Failed(failed));
        Failure::Reported
    })
}

fn serve(parent: &ChildsEnd) -> Result<(), Failed> {
    let ours = |error| Failed::at("our pipe", &error);
    let mut reading = Reading {
        ours: Reader::inherited(ends::FORWARD).map_err(ours)?,
        ours_back: Writer::inherited(ends::BACK).map_err(ours)?,
        kernels: KernelReader::at(io::stdin()).map_err(|error| Failed::at("the kernel's pipe", &error))?,
        kernels_back: KernelWriter::at(io::stdout()).map_err(|error| Failed::at("the kernel's pipe", &error))?,
    };
    let parents = |error| Failed::at("the conversation with the parent", &error);
    parent.report(&Report::Ready(None)).map_err(parents)?;
    while let Some(order) = parent.next_order().map_err(parents)? {
        let report = match order {
            Order::Move { workload, way, input_len, is_falsified } => {
                let moved = reading.drain(workload, way, input_len, is_falsified);
                let what = match way {
                    Way::Ours => "our pipe",
                    Way::Kernel => "the kernel's pipe",
                };
                Report::Moved(moved.map_err(|error| Failed::at(what, &error))?)
            }
            Order::Ping { way, round_trips } => {
                reading.answer(way, round_trips).map_err(|error| Failed::at("the ping-pong", &error))?;
                Report::Answered
            }
        };
        parent.report(&report).map_err(parents)?;
    }
    Ok(())
}

/// The ends of the reading process.
struct Reading {
    ours: Reader,
    ours_back: Writer,
    kernels: KernelReader,
    kernels_back: KernelWriter,
}

impl Reading {
    fn drain(&mut self, workload: Workload, way: Way, input_len: usize, is_falsified: bool) -> io::Result<Moved> {
        let (ours, kernels) = (&mut self.ours, &mut self.kernels);
        kernels.set_nonblocking(false)?;
        let check = Check { hasher: Hasher::new(), pieces: 0, is_falsified };
        let check = match (way, workload.shape) {
            (Way::Ours, Shape::Stream) => drain_stream(workload, check, |buffer| match ours.read(buffer)? {
                0 => Err(ErrorKind::UnexpectedEof.into()),
                len => Ok(len),
            }),
            (Way::Kernel, Shape::Stream) => drain_stream(workload, check, |buffer| kernels.read_some(buffer)),
            (Way::Ours, Shape::Packets) => {
                drain_packets(workload, input_len, check, |buffer| ours.recv(buffer).map(|message| message.packet_len))
            }
            (Way::Kernel, Shape::Packets) if workload.is_framed_on_kernel() => {
                drain_packets(workload, input_len, check, |buffer| kernels.read_framed(buffer))
            }
            (Way::Kernel, Shape::Packets) => {
                drain_packets(workload, input_len, check, |buffer| kernels.read_some(buffer))
            }
        }?;
        Ok(Moved { at_ns: now_ns(), pieces: check.pieces, checksum: check.hasher.finalize() })
    }

    /// Sends back each packet that comes.
    fn answer(&mut self, way: PingWay, round_trips: u32) -> io::Result<()> {
        let (reader, writer) = (&mut self.kernels, &mut self.kernels_back);
        writer.set_packet_mode(true)?;
        reader.set_nonblocking(way == PingWay::KernelPolled)?;
        let mut packet = [0; PING_SIZE];
        for _ in 0..warm_up_of(round_trips) + round_trips {
            match way {
                PingWay::Ours => {
                    self.ours.recv(&mut packet)?;
                    self.ours_back.send(&packet)?;
                }
                PingWay::KernelSleeping => {
                    reader.read_some(&mut packet)?;
                    writer.write_all(&packet)?;
                }
                PingWay::KernelPolled => {
                    reader.poll_some(&mut packet)?;
                    writer.write_all(&packet)?;
                }
            }
        }
        Ok(())
    }
}

/// What has been received so far.
struct Check {
    hasher: Hasher,
    pieces: u64,
    /// Whether a byte is still to be falsified.
    is_falsified: bool,
}

impl Check {
    #[inline]
    fn add(&mut self, bytes: &mut [u8]) {
        if self.is_falsified
            && let Some(first) = bytes.first_mut()
        {
            *first ^= 1;
            self.is_falsified = false;
        }
        self.hasher.update(bytes);
    }
}

#[inline]
fn drain_stream(
    workload: Workload,
    mut check: Check,
    mut get: impl FnMut(&mut [u8]) -> io::Result<usize>,
) -> io::Result<Check> {
    let mut buffer = vec![0; STREAM_BUFFER_LEN];
    let mut left = workload.amount;
    while left > 0 {
        let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let len = get(&mut buffer[..room])?;
        check.add(&mut buffer[..len]);
        left -= len as u64;
    }
    Ok(check)
}

#[inline]
fn drain_packets(
    workload: Workload,
    input_len: usize,
    mut check: Check,
    mut get: impl FnMut(&mut [u8]) -> io::Result<usize>,
) -> io::Result<Check> {
    let room = workload.size + SPARE_ROOM;
    let mut buffer = vec![0; PACKET_BUFFER_LEN.max(room)];
    let mut filled = 0;
    for piece in workload.cut(input_len) {
        let len = get(&mut buffer[filled..])?;
        if len != piece.len() {
            let problem = format!("packet {} has {len} bytes instead of {}", check.pieces, piece.len());
            return Err(io::Error::new(ErrorKind::InvalidData, problem));
        }
        check.pieces += 1;
        filled += len;
        if buffer.len() - filled < room {
            check.add(&mut buffer[..filled]);
            filled = 0;
        }
    }
    check.add(&mut buffer[..filled]);
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(is_falsified: bool) -> Check {
        Check { hasher: Hasher::new(), pieces: 0, is_falsified }
    }

    #[test]
    fn every_byte_counts_in_its_order() {
        let workload = Workload { shape: Shape::Packets, size: 64, amount: 1_000_000 };
        let input: Vec<u8> = (0..=255).collect();
        let all: Vec<u8> = input.iter().copied().cycle().take(1_000_000).collect();
        let mut pieces = workload.cut(input.len());
        let packets = drain_packets(workload, input.len(), check(false), |buffer| {
            let piece = pieces.next().expect("no more than there are");
            buffer[..piece.len()].copy_from_slice(&input[piece.clone()]);
            Ok(piece.len())
        });
        assert_eq!(packets.expect("packets").hasher.finalize(), crc32fast::hash(&all));
        let mut rest = &all[..];
        let stream = drain_stream(workload, check(false), |buffer| rest.read(&mut buffer[..100]));
        assert_eq!(stream.expect("a stream").hasher.finalize(), crc32fast::hash(&all));
        let mut rest = &all[..];
        let stream = drain_stream(workload, check(true), |buffer| rest.read(&mut buffer[..100]));
        assert_ne!(stream.expect("a stream").hasher.finalize(), crc32fast::hash(&all));
    }

    #[test]
    fn a_packet_of_another_length_is_noticed() {
        let workload = Workload { shape: Shape::Packets, size: 64, amount: 6400 };
        for wrong in [63, 65] {
            let mut lens = [64, 64, wrong].into_iter();
            let drained = drain_packets(workload, 6400, check(false), |_| Ok(lens.next().expect("no more")));
            assert!(drained.is_err(), "{wrong} bytes");
        }
    }
}
