//! There and back: this process sends a message and waits until the other one has sent it back, over two pipes.

use std::io;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use ppipe::{Builder, Reader, Writer};

use crate::ends::{Bytes, Packets, Sink, Tap, kernel_pipe, standard_input, standard_output};
use crate::figures::{Sample, median};
use crate::peer::{Assignment, Contender, IN, Manner, OUT, Role, finished, pin};
use crate::work::Conditions;

const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
const WARM_UP_TRIPS: u64 = 200;

/// Nanoseconds of a round trip, the median of what fits into `sample`.
pub(crate) fn measure(manner: Manner, contender: Contender, size: usize, conditions: Conditions) -> io::Result<Sample> {
    let Conditions { sample, own_cpu, peer_cpu: cpu, .. } = conditions;
    let mut assignment = Assignment { contender, manner, size, cpu, ..Assignment::new(Role::Echo) };
    let trips_per_look = if manner == Manner::Sleeping || contender == Contender::Kernel { 4 } else { 32 };
    let trip = match (contender, manner) {
        (Contender::Ours, Manner::Adaptive) => {
            let (ping_reader, ping) = ppipe::pipe()?;
            let (pong, pong_writer) = ppipe::pipe()?;
            let mut command = assignment.command()?;
            ping_reader.hand_to(&mut command, IN);
            pong_writer.hand_to(&mut command, OUT);
            let peer = command.spawn()?;
            drop(command);
            pin(own_cpu)?;
            trips(Packets(ping), Packets(pong), peer, size, trips_per_look, sample)
        }
        // How an end waits is chosen where it is opened, and does not travel with it: these are opened by name.
        (Contender::Ours, _) => {
            let name = format!("ratios-{}", std::process::id());
            let builder = opener(manner);
            let (ping, pong) = (format!("{name}-ping"), format!("{name}-pong"));
            assignment.name = Some(name);
            let peer = assignment.command()?.spawn()?;
            let ping = builder.open_writer(&ping)?;
            let pong = builder.open_reader(&pong)?;
            pin(own_cpu)?;
            trips(Packets(ping), Packets(pong), peer, size, trips_per_look, sample)
        }
        (Contender::Kernel, _) => {
            let (ping_reader, ping) = kernel_pipe(true)?;
            let (pong, pong_writer) = kernel_pipe(true)?;
            let mut command = assignment.command()?;
            let peer = command.stdin(Stdio::from(ping_reader)).stdout(Stdio::from(pong_writer)).spawn()?;
            drop(command);
            pin(own_cpu)?;
            trips(Bytes(ping), Bytes(pong), peer, size, trips_per_look, sample)
        }
    };
    Ok(Sample::of(trip?))
}

fn trips(
    mut ping: impl Sink,
    mut pong: impl Tap,
    peer: Child,
    size: usize,
    per_look: u64,
    sample: Duration,
) -> io::Result<f64> {
    let (mut sent, mut received) = (vec![0x5a; size], vec![0; size]);
    let mut number = 0_u64;
    let mut trip = || {
        number += 1;
        sent[..8].copy_from_slice(&number.to_le_bytes());
        ping.put(&sent)?;
        let len = pong.take(&mut received)?;
        if len != size || received[..8] != number.to_le_bytes() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("trip {number} came back as another one")));
        }
        Ok(())
    };
    for _ in 0..WARM_UP_TRIPS.min(16 * per_look) {
        trip()?;
    }
    let mut times = Vec::new();
    let start = Instant::now();
    let mut last = start;
    while last - start < sample {
        for _ in 0..per_look {
            trip()?;
        }
        let now = Instant::now();
        times.push((now - last).as_nanos() as f64 / per_look as f64);
        last = now;
    }
    drop((ping, pong));
    finished(peer)?;
    Ok(median(&times))
}

fn opener(manner: Manner) -> Builder {
    Builder::new().waiting(manner.into()).open_timeout(OPEN_TIMEOUT)
}

/// The other process.
pub(crate) fn echo(assignment: &Assignment) -> io::Result<()> {
    let Assignment { contender, manner, .. } = *assignment;
    let end = match (contender, &assignment.name) {
        (Contender::Ours, None) => {
            send_back(Packets(Reader::inherited(IN)?), Packets(Writer::inherited(OUT)?), assignment)
        }
        (Contender::Ours, Some(name)) => {
            let builder = opener(manner);
            let ping = builder.open_reader(&format!("{name}-ping"))?;
            let pong = builder.open_writer(&format!("{name}-pong"))?;
            send_back(Packets(ping), Packets(pong), assignment)
        }
        (Contender::Kernel, _) => send_back(Bytes(standard_input()?), Bytes(standard_output()?), assignment),
    };
    match end {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        end => end,
    }
}

fn send_back(mut ping: impl Tap, mut pong: impl Sink, assignment: &Assignment) -> io::Result<()> {
    pin(assignment.cpu)?;
    let mut buffer = vec![0; assignment.size];
    loop {
        match ping.take(&mut buffer)? {
            0 => return Ok(()),
            len => pong.put(&buffer[..len])?,
        }
    }
}
