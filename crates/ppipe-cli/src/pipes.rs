//! What is there of a pipe that has a name: its directory, its memory, and what the accounts of its segment say.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use ppipe::{Audit, EntryAccount, Found, Side};
use serde::Serialize;

use crate::owners::as_owner_of;

/// What has become of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Condition {
    /// Somebody has it open.
    InUse,
    /// Everybody has left it, and the last one could not take the name along.
    LeftBehind,
    /// Its maker is at work.
    BeingMade,
    /// Its maker has died at it.
    LeftHalfMade,
    /// It cannot be looked at.
    Unknown,
}

/// A pipe, as a line of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Pipe {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) condition: Condition,
    /// Why it cannot be looked at.
    pub(crate) problem: Option<String>,
    /// Who owns it.
    pub(crate) user: u32,
    /// Of its directory, as `chmod` has it.
    pub(crate) mode: String,
    /// Bytes of memory that its segment takes.
    pub(crate) memory: Option<u64>,
    pub(crate) accounts: Option<Accounts>,
}

/// What a segment's accounts come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Accounts {
    /// How many slots may be occupied, if that can be told.
    pub(crate) slots: Option<u32>,
    pub(crate) full_slots: usize,
    /// Bytes that can be read, if that can be told.
    pub(crate) unread: Option<u64>,
    pub(crate) writers: People,
    pub(crate) readers: People,
}

/// One side of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct People {
    pub(crate) present: usize,
    pub(crate) limit: usize,
    /// Whether one of them sleeps, or has since something last happened.
    pub(crate) is_any_asleep: bool,
}

impl Pipe {
    /// What is there of it now; `None` if it is gone.
    pub(crate) fn of(found: &Found) -> Option<Self> {
        as_owner_of(&found.path, || Self::seen(found))
    }

    fn seen(found: &Found) -> Option<Self> {
        let directory = fs::symlink_metadata(&found.path).ok()?;
        let memory = fs::symlink_metadata(segment_of(found)).ok().map(|segment| segment.blocks() * 512);
        let (condition, problem) = match found.looks_abandoned() {
            Ok(None) => return None,
            Ok(Some(is_abandoned)) => (condition(is_abandoned, found.is_finished), None),
            Err(error) => (Condition::Unknown, Some(error.to_string())),
        };
        // One without a name cannot be asked for by it.
        let is_open = condition == Condition::InUse || condition == Condition::LeftBehind;
        let accounts = if is_open { ppipe::audit(&found.name).ok().map(|audit| Accounts::of(&audit)) } else { None };
        Some(Self {
            name: found.name.clone(),
            path: found.path.clone(),
            condition,
            problem,
            user: directory.uid(),
            mode: format!("{:o}", directory.mode() & 0o7777),
            memory,
            accounts,
        })
    }
}

fn condition(is_abandoned: bool, is_finished: bool) -> Condition {
    match (is_finished, is_abandoned) {
        (true, false) => Condition::InUse,
        (true, true) => Condition::LeftBehind,
        (false, false) => Condition::BeingMade,
        (false, true) => Condition::LeftHalfMade,
    }
}

impl Accounts {
    pub(crate) fn of(audit: &Audit) -> Self {
        let side = |side, is_any_asleep| {
            let of_side = || audit.entries.iter().filter(move |entry: &&EntryAccount| entry.side == side);
            People { present: of_side().filter(|entry| entry.is_held).count(), limit: of_side().count(), is_any_asleep }
        };
        Self {
            slots: audit.usage,
            full_slots: audit.full_slots(),
            unread: audit.unread,
            writers: side(Side::Writer, audit.writers_wait),
            readers: side(Side::Reader, audit.readers_wait),
        }
    }
}

/// The file of its segment.
pub(crate) fn segment_of(found: &Found) -> PathBuf {
    found.path.join("segment")
}

/// The pipe of that name, in use or left behind.
pub(crate) fn find(name: &str) -> io::Result<Found> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let found = ppipe::names()?.into_iter().find(|found| found.is_finished && found.name == bare);
    found.ok_or_else(|| io::Error::new(ErrorKind::NotFound, "there is none"))
}
