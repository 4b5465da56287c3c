//! What a pipe costs beside the data: waiting on an idle one, making one, joining one, keeping one.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use ppipe::Reader;

use crate::ends::{Bytes, Packets, Sink, Tap, kernel_pipe, standard_input};
use crate::figures::Sample;
use crate::peer::{Assignment, Contender, IN, Role, finished};

/// An end that waits comes to rest in this time.
const SETTLES: Duration = Duration::from_secs(1);
const AT_REST: Duration = Duration::from_secs(2);
const PIPES: u32 = 50;
const BLOCK: u64 = 512;

/// Microseconds of CPU time that a reader uses while it waits for [`SETTLES`] and [`AT_REST`], and how often it slept; and what
/// of the time was in the latter.
pub(crate) fn idle(contender: Contender) -> io::Result<Sample> {
    let mut command = Assignment { contender, ..Assignment::new(Role::Idler) }.command()?;
    let mut at_rest = 0.0;
    let [cpu, sleeps] = match contender {
        Contender::Ours => {
            let (reader, writer) = ppipe::pipe()?;
            reader.hand_to(&mut command, IN);
            report_of(command, |peer| {
                at_rest = be_idle(Packets(writer), peer)?;
                Ok(())
            })?
        }
        Contender::Kernel => {
            let (reader, writer) = kernel_pipe(true)?;
            command.stdin(Stdio::from(reader));
            report_of(command, |peer| {
                at_rest = be_idle(Bytes(writer), peer)?;
                Ok(())
            })?
        }
    };
    Ok(Sample { value: cpu, extras: vec![("sleeps", sleeps), ("us in the last 2 of 3 s", at_rest)] })
}

/// Microseconds of CPU time that `peer` uses when it has settled.
fn be_idle(mut sink: impl Sink, peer: &Child) -> io::Result<f64> {
    sink.put(&[0; 8])?;
    thread::sleep(SETTLES);
    let before = time_on_cpu(peer)?;
    thread::sleep(AT_REST);
    Ok(time_on_cpu(peer)? - before)
}

/// Microseconds that the first thread of `peer` has run.
fn time_on_cpu(peer: &Child) -> io::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{}/schedstat", peer.id()))?;
    let nanoseconds: Option<f64> = text.split_whitespace().next().and_then(|word| word.parse().ok());
    nanoseconds.map(|time| time / 1e3).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The numbers that the peer prints, after `meanwhile`.
fn report_of<const N: usize>(
    mut command: Command,
    meanwhile: impl FnOnce(&Child) -> io::Result<()>,
) -> io::Result<[f64; N]> {
    let mut peer = command.stdout(Stdio::piped()).spawn()?;
    drop(command);
    meanwhile(&peer)?;
    let mut text = String::new();
    peer.stdout.as_mut().map_or(Ok(0), |out| out.read_to_string(&mut text))?;
    finished(peer)?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().map_err(|_| io::Error::other("the other process did not report"))
}

/// The other process: waits, and prints what that took.
pub(crate) fn wait_idle(assignment: &Assignment) -> io::Result<()> {
    let (before, after) = match assignment.contender {
        Contender::Ours => wait_for_end(Packets(Reader::inherited(IN)?)),
        Contender::Kernel => wait_for_end(Bytes(standard_input()?)),
    }?;
    let cpu = |usage: &Usage| usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    let sleeps = after.voluntary_context_switches() - before.voluntary_context_switches();
    println!("{} {sleeps}", cpu(&after) - cpu(&before));
    Ok(())
}

fn wait_for_end(mut tap: impl Tap) -> io::Result<(Usage, Usage)> {
    let mut buffer = [0; 8];
    tap.take(&mut buffer)?;
    let before = getrusage(UsageWho::RUSAGE_SELF)?;
    while tap.take(&mut buffer)? > 0 {}
    Ok((before, getrusage(UsageWho::RUSAGE_SELF)?))
}

/// Microseconds to make a pipe, copy its reader, and close all three ends.
pub(crate) fn create(contender: Contender) -> io::Result<Sample> {
    let start = Instant::now();
    for _ in 0..PIPES {
        match contender {
            Contender::Ours => {
                let (reader, writer) = ppipe::pipe()?;
                drop((reader.try_clone()?, reader, writer));
            }
            Contender::Kernel => {
                let (reader, writer) = kernel_pipe(false)?;
                drop((reader.try_clone()?, reader, writer));
            }
        }
    }
    Ok(Sample::of(micros(start.elapsed()) / f64::from(PIPES)))
}

/// Microseconds in which a process takes up an end that it was handed and receives the first packet.
pub(crate) fn attach(contender: Contender) -> io::Result<Sample> {
    let mut command = Assignment { contender, ..Assignment::new(Role::Attacher) }.command()?;
    let [time] = match contender {
        Contender::Ours => {
            let (reader, writer) = ppipe::pipe()?;
            writer.send(&[0; 8])?;
            reader.hand_to(&mut command, IN);
            report_of(command, |_| Ok(()))?
        }
        Contender::Kernel => {
            let (reader, writer) = kernel_pipe(true)?;
            Bytes(&writer).put(&[0; 8])?;
            command.stdin(Stdio::from(reader));
            report_of(command, |_| Ok(()))?
        }
    };
    Ok(Sample::of(time))
}

/// The other process: takes up the end, and prints how long that took.
pub(crate) fn take_up(assignment: &Assignment) -> io::Result<()> {
    let start = Instant::now();
    let len = match assignment.contender {
        Contender::Ours => Packets(Reader::inherited(IN)?).take(&mut [0; 8])?,
        Contender::Kernel => Bytes(standard_input()?).take(&mut [0; 8])?,
    };
    if len != 8 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    println!("{}", micros(start.elapsed()));
    Ok(())
}

/// KiB of memory behind a new pipe with both ends, and after every slot was filled once. The kernel does not tell what its
/// pipe takes; when full it is its capacity.
pub(crate) fn memory(contender: Contender) -> io::Result<Sample> {
    let (new, used) = match contender {
        Contender::Ours => {
            let (reader, writer) = ppipe::pipe()?;
            let new = memory_of_segments()?;
            let (mut sink, mut tap) = (Packets(writer), Packets(reader));
            fill_once(&mut sink, &mut tap)?;
            (new, memory_of_segments()?)
        }
        Contender::Kernel => {
            let (_reader, writer) = kernel_pipe(false)?;
            (0.0, rustix::pipe::fcntl_getpipe_size(&writer)? as f64 / 1024.0)
        }
    };
    Ok(Sample { value: used, extras: vec![("KiB when new", new)] })
}

fn fill_once(sink: &mut impl Sink, tap: &mut impl Tap) -> io::Result<()> {
    let mut page = [0; 4096];
    (0..16).try_for_each(|_| sink.put(&page))?;
    (0..16).try_for_each(|_| tap.take(&mut page).map(drop))
}

/// KiB behind the segments that this process has open; each is counted once, however many descriptors it has.
fn memory_of_segments() -> io::Result<f64> {
    let mut segments = std::collections::BTreeMap::new();
    for descriptor in fs::read_dir("/proc/self/fd")? {
        let path = descriptor?.path();
        let is_ours = fs::read_link(&path).is_ok_and(|target| target.to_string_lossy().contains("memfd:ppipe"));
        if is_ours && let Ok(metadata) = fs::metadata(&path) {
            segments.insert(metadata.ino(), metadata.blocks() * BLOCK);
        }
    }
    Ok(segments.values().sum::<u64>() as f64 / 1024.0)
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}
