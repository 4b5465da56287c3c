//! The demonstration's writing process: reads the input, and then pours it into one pipe or the other as ordered.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use crc32fast::Hasher;
use hdrhistogram::Histogram;
use ppipe::{Reader, Writer};

use crate::control::{ChildsEnd, Failed, Loaded, Moved, Order, Report, ends, now_ns};
use crate::failure::Failure;
use crate::input::Input;
use crate::kernel_pipe::{KernelReader, KernelWriter};
use crate::workload::{Cut, PING_SIZE, PingWay, Shape, Way, Workload, warm_up_of};

/// Times are kept to 1 %, so that all of them fit into one report.
const SIGNIFICANT_DIGITS: u8 = 2;

/// Runs until there are no more orders.
pub(crate) fn run(paths: &[PathBuf], limit: u64) -> Result<(), Failure> {
    let parent = ChildsEnd::inherited()?;
    serve(&parent, paths, limit).map_err(|failed| {
        // If the parent is gone there is nobody to tell.
        let _ = parent.report(&Report::Failed(failed));
        Failure::Reported
    })
}

fn serve(parent: &ChildsEnd, paths: &[PathBuf], limit: u64) -> Result<(), Failed> {
    let ours = |error| Failed::at("our pipe", &error);
    let mut writing = Writing {
        ours: Writer::inherited(ends::FORWARD).map_err(ours)?,
        ours_back: Reader::inherited(ends::BACK).map_err(ours)?,
        kernels: KernelWriter::at(io::stdout()).map_err(|error| Failed::at("the kernel's pipe", &error))?,
        kernels_back: KernelReader::at(io::stdin()).map_err(|error| Failed::at("the kernel's pipe", &error))?,
    };
    let input = Input::read(paths, limit)?;
    let mut checksums = HashMap::new();
    let loaded = Loaded { summary: input.summary, input_len: input.bytes.len() };
    let parents = |error| Failed::at("the conversation with the parent", &error);
    parent.report(&Report::Ready(Some(loaded))).map_err(parents)?;
    while let Some(order) = parent.next_order().map_err(parents)? {
        let report = match order {
            Order::Move { workload, way, .. } => {
                let checksum = *checksums.entry(workload.amount).or_insert_with(|| checksum_of(&input.bytes, workload));
                let moved = writing.pour(&input.bytes, workload, way).map_err(|error| Failed::at(pipe(way), &error))?;
                Report::Moved(Moved { checksum, ..moved })
            }
            Order::Ping { way, round_trips } => {
                let times = writing.ping(way, round_trips).map_err(|error| Failed::at("the ping-pong", &error))?;
                Report::Timed(times)
            }
        };
        parent.report(&report).map_err(parents)?;
    }
    Ok(())
}

fn pipe(way: Way) -> &'static str {
    match way {
        Way::Ours => "our pipe",
        Way::Kernel => "the kernel's pipe",
    }
}

/// Of everything that a workload moves, in its order, however it is cut.
fn checksum_of(input: &[u8], workload: Workload) -> u32 {
    let mut hasher = Hasher::new();
    for piece in (Workload { size: 65536, ..workload }).cut(input.len()) {
        hasher.update(&input[piece]);
    }
    hasher.finalize()
}

/// The ends of the writing process.
struct Writing {
    ours: Writer,
    ours_back: Reader,
    kernels: KernelWriter,
    kernels_back: KernelReader,
}

impl Writing {
    fn pour(&mut self, input: &[u8], workload: Workload, way: Way) -> io::Result<Moved> {
        let cut = workload.cut(input.len());
        let kernels = &mut self.kernels;
        let is_packet_mode = workload.shape == Shape::Packets && !workload.is_framed_on_kernel();
        kernels.set_packet_mode(is_packet_mode)?;
        let at_ns = now_ns();
        let pieces = match (way, workload.shape) {
            (Way::Ours, Shape::Stream) => pour(input, cut, |piece| (&self.ours).write_all(piece)),
            (Way::Ours, Shape::Packets) => pour(input, cut, |piece| self.ours.send(piece)),
            (Way::Kernel, _) if workload.is_framed_on_kernel() => pour(input, cut, |piece| kernels.write_framed(piece)),
            (Way::Kernel, _) => pour(input, cut, |piece| kernels.write_all(piece)),
        }?;
        Ok(Moved { at_ns, pieces, checksum: 0 })
    }

    /// Sends packets and waits for each to come back. Returns how long the round trips took.
    fn ping(&mut self, way: PingWay, round_trips: u32) -> io::Result<Vec<(u64, u64)>> {
        let (writer, reader) = (&mut self.kernels, &mut self.kernels_back);
        writer.set_packet_mode(true)?;
        reader.set_nonblocking(way == PingWay::KernelPolled)?;
        match way {
            PingWay::Ours => time_each(round_trips, |packet| {
                self.ours.send(packet)?;
                self.ours_back.recv(packet).map(|message| message.packet_len)
            }),
            PingWay::KernelSleeping => time_each(round_trips, |packet| {
                writer.write_all(packet)?;
                reader.read_some(packet)
            }),
            PingWay::KernelPolled => time_each(round_trips, |packet| {
                writer.write_all(packet)?;
                reader.poll_some(packet)
            }),
        }
    }
}

#[inline]
fn pour(input: &[u8], cut: Cut, mut put: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let mut pieces = 0;
    for piece in cut {
        put(&input[piece])?;
        pieces += 1;
    }
    Ok(pieces)
}

fn time_each(
    round_trips: u32,
    mut there_and_back: impl FnMut(&mut [u8; PING_SIZE]) -> io::Result<usize>,
) -> io::Result<Vec<(u64, u64)>> {
    let warm_up = warm_up_of(round_trips);
    let mut times = Vec::with_capacity(round_trips as usize);
    let mut packet = [0; PING_SIZE];
    for number in 0..warm_up + round_trips {
        packet[..4].copy_from_slice(&number.to_le_bytes());
        let start = Instant::now();
        let len = there_and_back(&mut packet)?;
        let time = start.elapsed();
        if len != PING_SIZE || packet[..4] != number.to_le_bytes() {
            let problem = format!("ping {number} came back as something else");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        if number >= warm_up {
            times.push(time.as_nanos() as u64);
        }
    }
    let mut histogram = Histogram::<u64>::new(SIGNIFICANT_DIGITS).map_err(io::Error::other)?;
    for time in times {
        histogram.record(time).map_err(io::Error::other)?;
    }
    Ok(histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_of_the_bytes_and_not_of_the_cut() {
        let input: Vec<u8> = (0..=255).collect();
        let workload = |size| Workload { shape: Shape::Packets, size, amount: 1000 };
        let bytes: Vec<u8> = input.iter().copied().cycle().take(1000).collect();
        assert_eq!(checksum_of(&input, workload(64)), crc32fast::hash(&bytes));
        assert_eq!(checksum_of(&input, workload(7)), crc32fast::hash(&bytes));
    }

    #[test]
    fn a_pong_that_is_not_the_ping_is_noticed() {
        time_each(10, |packet| {
            packet[0] ^= 1;
            Ok(packet.len())
        })
        .expect_err("another number");
        time_each(10, |_| Ok(63)).expect_err("another length");
        let times = time_each(10, |packet| Ok(packet.len())).expect("pongs");
        assert_eq!(times.iter().map(|(_, count)| count).sum::<u64>(), 10);
    }
}
