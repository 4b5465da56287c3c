//! How a process comes to an end of its own: a participant, and what it holds of the bells.

use std::io;
use std::sync::Arc;

use shm_ring::participant::{JoinError, Participant};
use shm_ring::segment::{AttachError, CreateError};
use shm_ring::{Bells, Geometry, Segment, Side, Waiting};

use crate::flags::Flags;
use crate::name::Name;
use crate::watch::WatchCell;

/// What an end consists of, whichever side it is of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) participant: Participant,
    pub(crate) flags: Flags,
    pub(crate) waiting: Waiting,
    pub(crate) name: Option<Arc<Name>>,
    pub(crate) watch: WatchCell,
}

/// The first reader and the first writer of a new segment without a name.
pub(crate) fn join_new(geometry: Geometry) -> io::Result<(Participant, Participant)> {
    let segment = Arc::new(Segment::anonymous(geometry).map_err(from_create)?);
    let mut reader = Participant::join(Arc::clone(&segment), Side::Reader).map_err(from_join)?;
    let mut writer = Participant::join(segment, Side::Writer).map_err(from_join)?;
    // After the locks, here and below: whoever gets copies of the bells by a fork has copies of the locks then, which say so.
    let (bells_of_reader, bells_of_writer) = Bells::of_two()?;
    reader.hold_bells(bells_of_reader)?;
    writer.hold_bells(bells_of_writer)?;
    Ok((reader, writer))
}

/// Another participant of the same side, which has met whomever this one has.
pub(crate) fn join_beside(participant: &Participant) -> io::Result<Participant> {
    let mut other = join(participant, participant.side())?;
    other.count_from(participant.before());
    Ok(other)
}

/// Another participant of the same segment, of `side`.
pub(crate) fn join(participant: &Participant, side: Side) -> io::Result<Participant> {
    let joined = Participant::join(Arc::clone(participant.segment()), side).map_err(from_join);
    let mut other = participant.unless_lost(joined)?;
    if let Some(bells) = participant.bells_of(side)? {
        other.hold_bells(bells)?;
    }
    Ok(other)
}

/// The system's error for one who has been given no memory: what is short, and where to look. Others as they are.
pub(crate) fn short_of_memory(error: io::Error) -> io::Error {
    if error.raw_os_error().is_none() {
        return error;
    }
    let advice = match error.kind() {
        io::ErrorKind::StorageFull => {
            "no room for the pipe's memory: /dev/shm is full, or nothing is left that the machine could promise"
        }
        io::ErrorKind::OutOfMemory => {
            "no memory for the pipe: a limit of this process, of its control group or of the machine is reached"
        }
        io::ErrorKind::FileTooLarge => "RLIMIT_FSIZE (`ulimit -f`) of this process is less than the pipe's memory",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{advice}; `ppipe doctor` says which, and what to do"))
}

pub(crate) fn from_create(error: CreateError) -> io::Error {
    match error {
        CreateError::System(error) => short_of_memory(error),
        CreateError::Geometry(error) => io::Error::new(io::ErrorKind::InvalidInput, error),
    }
}

pub(crate) fn from_attach(error: AttachError) -> io::Error {
    match error {
        AttachError::System(error) => error,
        AttachError::Lost(lost) => lost.into(),
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

pub(crate) fn from_join(error: JoinError) -> io::Error {
    let kind = match error {
        JoinError::System(error) => return short_of_memory(error),
        JoinError::NoEntry { .. } => io::ErrorKind::QuotaExceeded,
        JoinError::Garbled => io::ErrorKind::InvalidData,
        JoinError::Closed | JoinError::NotHandedOver => io::ErrorKind::NotFound,
    };
    io::Error::new(kind, error)
}
