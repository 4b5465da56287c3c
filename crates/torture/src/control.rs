//! The same deaths and stops on rings as they are mostly built: what this harness finds there.
//!
//! A victim sends or receives one message on a ring with three messages in it, is led to each place of that, and is killed or stopped. The others then
//! send some and receive all that is there, without ever waiting for anybody.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rivals::{Locked, Message, PLACES, Refused, Reserving, Ring, Shared};

use crate::stepping::{At, Victim, be_traced, mark};

/// The variable in which a victim finds what it is to do.
const ORDERS: &str = "PPIPE_TORTURE_RIVAL";
/// What is in the ring, what the victim sends, what the others send.
const THERE: [u64; 3] = [1, 2, 3];
const VICTIMS: u64 = 100;
const OTHERS: std::ops::Range<u64> = 200..200 + 3 * PLACES;
/// So often one tries before it says that it is held up. There is nobody else who does anything meanwhile.
const MOST_TRIES: u32 = 3;

/// A ring that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    /// [`Reserving`].
    Reserving,
    /// [`Locked`].
    Locked,
}

/// What a victim does there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Sends.
    Send,
    /// Receives.
    Recv,
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// SIGKILL.
    Killed,
    /// SIGSTOP, for as long as the others take.
    Stopped,
}

/// At how many places what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Places in all.
    pub places: u32,
    /// The others could not send, or did not get what they had sent.
    pub held_up: u32,
    /// They got messages that are lost, doubled, torn, or out of order.
    pub wrong: u32,
}

impl Rival {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Reserving, Self::Locked];

    fn open(self, memory: Shared) -> Box<dyn Ring> {
        match self {
            Self::Reserving => Box::new(Reserving::in_memory(memory)),
            Self::Locked => Box::new(Locked::in_memory(memory)),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} places, held up at {}, wrong messages at {}", self.places, self.held_up, self.wrong)
    }
}

/// Runs as a victim if this process was started as one; returns whether it was.
///
/// # Errors
/// What the system says.
pub fn run_if_told() -> io::Result<bool> {
    let Ok(orders) = std::env::var(ORDERS) else { return Ok(false) };
    let rival = Rival::ALL.into_iter().find(|rival| orders.starts_with(&format!("{rival:?}")));
    let memory = Shared::of(File::from(io::stdin().as_fd().try_clone_to_owned()?))?;
    let ring = rival.ok_or_else(|| io::Error::other("no such ring"))?.open(memory);
    let (message, sends) = (Message::new(VICTIMS), orders.ends_with("Send"));
    let (mut sent, mut received) = (Ok(()), Ok(message));
    be_traced()?;
    mark()?;
    if sends {
        sent = ring.try_send(message);
    } else {
        received = ring.try_recv();
    }
    mark()?;
    sent.and(received).map_err(|refused| io::Error::other(format!("{refused:?}"))).map(|_| true)
}

/// Leads victims to every so-manieth place, and counts what the others find.
///
/// # Errors
/// What the system says.
pub fn count(rival: Rival, deed: Deed, fate: Fate, every: usize, program: &Path) -> io::Result<Count> {
    let mut count = Count::default();
    for steps in (0..).step_by(every.max(1)) {
        let memory = Shared::new()?;
        let file = memory.file()?;
        let ring = rival.open(memory);
        for number in THERE {
            ring.try_send(Message::new(number)).map_err(|refused| io::Error::other(format!("{refused:?}")))?;
        }
        let mut command = Command::new(program);
        command.env(ORDERS, format!("{rival:?}:{deed:?}")).stdin(Stdio::from(file));
        let mut victim = Victim::start(&mut command)?;
        drop(command);
        for _ in 0..steps {
            match victim.step()? {
                At::Stands => {}
                At::Mark => return Ok(count),
                at => return Err(io::Error::other(format!("the victim does not come to its second mark: {at:?}"))),
            }
        }
        match fate {
            Fate::Killed => victim.kill(),
            Fate::Stopped => victim.stop()?,
        }
        count.places += 1;
        match judge(&*ring, deed) {
            Verdict::Fine => {}
            Verdict::HeldUp => count.held_up += 1,
            Verdict::Wrong => count.wrong += 1,
        }
    }
    Ok(count)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    HeldUp,
    Wrong,
}

fn judge(ring: &dyn Ring, deed: Deed) -> Verdict {
    let mut found = Vec::new();
    for number in OTHERS {
        if insist(|| ring.try_send(Message::new(number))).is_none() {
            return Verdict::HeldUp;
        }
        while let Some(message) = insist(|| ring.try_recv()) {
            match message.number() {
                Some(number) if found.len() <= 2 * OTHERS.count() => found.push(number),
                _ => return Verdict::Wrong,
            }
        }
    }
    let others: Vec<_> = OTHERS.collect();
    let with = |front: &[u64], own: &[u64]| [front, own, &others].concat();
    // What the victim sends comes before anything that the others send.
    let allowed = match deed {
        Deed::Send => [with(&THERE, &[]), with(&THERE, &[VICTIMS])],
        Deed::Recv => [with(&THERE, &[]), with(&THERE[1..], &[])],
    };
    match found.last() {
        _ if allowed.contains(&found) => Verdict::Fine,
        Some(last) if Some(last) == others.last() => Verdict::Wrong,
        _ => Verdict::HeldUp,
    }
}

fn insist<T>(attempt: impl Fn() -> Result<T, Refused>) -> Option<T> {
    (0..MOST_TRIES).find_map(|_| attempt().ok())
}
