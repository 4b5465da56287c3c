//! What is tried: calls of the kernel, and two pipes for a moment. A number of a kernel says less, since a filter of calls may stand before it.

use std::fmt::Display;
use std::time::{SystemTime, UNIX_EPOCH};

use ppipe::{Audit, Builder, Reader, Writer};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::thread::futex::{self, Wait, WaitFlags, WaitPtr, WaitvFlags};
use rustix::thread::{MembarrierCommand, membarrier};

use super::machine::{Outcome, Trials};

const PACKET: &[u8] = b"well?";

pub(super) fn look() -> Trials {
    let (named_pipe, locks) = named_pipe();
    Trials {
        unnamed_pipe: outcome(unnamed_pipe()),
        named_pipe,
        locks,
        seals: outcome(seals()),
        waiting: outcome(waiting()),
        fences: outcome(membarrier(MembarrierCommand::RegisterGlobalExpedited)),
        marks: marks(),
    }
}

fn outcome<T, E: Display>(result: Result<T, E>) -> Outcome {
    result.map_or_else(|error| Outcome::Fails(error.to_string()), |_| Outcome::Works)
}

fn unnamed_pipe() -> Result<(), String> {
    let (reader, writer) = Builder::new().nonblocking(true).pipe().map_err(|error| error.to_string())?;
    passes(&reader, &writer)
}

fn passes(reader: &Reader, writer: &Writer) -> Result<(), String> {
    let mut buffer = [0; 16];
    writer.try_send(PACKET).map_err(|error| format!("a packet cannot be sent: {error}"))?;
    let message = reader.try_recv(&mut buffer).map_err(|error| format!("a packet does not arrive: {error}"))?;
    if &buffer[..message.len] == PACKET { Ok(()) } else { Err("a packet arrives as another one".to_owned()) }
}

/// Whether one with a name does what it should, and whether its locks do.
fn named_pipe() -> (Outcome, Outcome) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let name = format!("doctor-{}-{now}", std::process::id());
    let builder = Builder::new().nonblocking(true);
    let made =
        builder.clone().create_new().open_reader(&name).and_then(|reader| Ok((builder.open_writer(&name)?, reader)));
    let (writer, reader) = match made {
        Ok(made) => made,
        Err(error) => return (Outcome::Fails(error.to_string()), Outcome::Untried),
    };
    let passed = passes(&reader, &writer);
    let both = ppipe::audit(&name);
    drop(writer);
    let one = ppipe::audit(&name);
    drop(reader);
    let is_left = ppipe::names().is_ok_and(|all| all.iter().any(|found| found.name == name));
    let gone = if is_left { Err("its name stays when its last end is gone".to_owned()) } else { Ok(()) };
    let present =
        |audit: std::io::Result<Audit>| audit.map(|audit| audit.held().count()).map_err(|error| error.to_string());
    let locks = match (present(both), present(one)) {
        (Ok(2), Ok(1)) => Ok(()),
        (Ok(both), Ok(one)) => Err(format!("of two ends {both} are seen, and {one} when one is gone")),
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    (outcome(passed.and(gone)), outcome(locks))
}

fn seals() -> rustix::io::Result<()> {
    let memory = memfd_create("ppipe doctor", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
}

/// Waits for a word that has another value already.
fn waiting() -> rustix::io::Result<()> {
    let word = std::sync::atomic::AtomicU32::new(1);
    let mut wait = Wait::new();
    wait.val = 0;
    wait.uaddr = WaitPtr::new(word.as_ptr().cast());
    wait.flags = WaitFlags::SIZE_U32;
    match futex::waitv(&[wait], WaitvFlags::empty(), None, futex::ClockId::Monotonic) {
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether the kernel would mark the ends of this process at its death.
fn marks() -> Outcome {
    let Ok((reader, _writer)) = ppipe::pipe() else { return Outcome::Untried };
    match reader.audit() {
        Ok(audit) if audit.held().all(|entry| entry.is_marked_at_death) => Outcome::Works,
        Ok(_) => Outcome::Fails("the ends of this process are not marked".to_owned()),
        Err(error) => Outcome::Fails(error.to_string()),
    }
}
