//! A survivor who sleeps in a call while the victim acts, and is to be woken by what the victim does, or by the others.

use std::fs;
use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ppipe::{Reader, Waiting, Writer};

use crate::act::SMALL;
use crate::pipe::Broken;

/// So long its call may take, through all of which a victim may be led instruction by instruction.
const PATIENCE: Duration = Duration::from_secs(120);
/// In so many looks in a row it must be found asleep.
const LOOKS: u32 = 3;

/// Somebody asleep, in a thread with an end of its own, which is closed when the call has ended.
#[derive(Debug)]
pub(crate) enum Sleeper {
    /// In `recv`; it returns the packet.
    Reads(JoinHandle<io::Result<Vec<u8>>>),
    /// In `send`, of this packet.
    Writes(JoinHandle<io::Result<()>>, Vec<u8>),
}

impl Sleeper {
    /// Returns when it sleeps because nothing is there.
    pub(crate) fn in_recv(mut reader: Reader) -> Result<Self, Broken> {
        reader.set_waiting(Waiting::Sleeping);
        asleep(move || {
            let mut buffer = vec![0; SMALL];
            let len = reader.recv_timeout(&mut buffer, PATIENCE)?.len;
            buffer.truncate(len);
            Ok(buffer)
        })
        .map(Self::Reads)
    }

    /// Returns when it sleeps because there is no room.
    pub(crate) fn in_send(mut writer: Writer, packet: Vec<u8>) -> Result<Self, Broken> {
        writer.set_waiting(Waiting::Sleeping);
        let sent = packet.clone();
        Ok(Self::Writes(asleep(move || writer.send_timeout(&packet, PATIENCE))?, sent))
    }
}

/// What comes of a sleeper's call.
pub(crate) fn outcome<T>(what: &'static str, thread: JoinHandle<io::Result<T>>) -> Result<T, Broken> {
    let done = thread.join().unwrap_or_else(|_| Err(io::Error::other("it has panicked")));
    done.map_err(|error| Broken::Call { what, error })
}

/// Does `call` in a thread of its own, and returns when that sleeps in it.
fn asleep<T: Send + 'static>(
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<JoinHandle<io::Result<T>>, Broken> {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        let id = rustix::thread::gettid().as_raw_nonzero().get();
        // Whoever does not listen any more has failed already.
        let _ = tell.send(id);
        call()
    });
    let id = told.recv().map_err(io::Error::other)?;
    let stat = format!("/proc/self/task/{id}/stat");
    let (start, mut looks) = (Instant::now(), 0);
    while looks < LOOKS {
        if thread.is_finished() || start.elapsed() > PATIENCE {
            return Err(io::Error::other("it does not sleep").into());
        }
        // A thread that has just ended has no state any more.
        let is_asleep = fs::read_to_string(&stat)
            .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')));
        looks = if is_asleep { looks + 1 } else { 0 };
        thread::yield_now();
    }
    Ok(thread)
}
