//! Names: how two programs that know nothing of each other but a name come to the same segment.
//!
//! ```text
//!   /dev/shm/ppipe-NAME/segment, readable, writable            in use
//!   /dev/shm/.ppipe-NAME.RANDOM/segment, readable, writable    whole, about to be renamed to the above
//! ```
//!
//! A name is a directory with a segment's file in it, and with the FIFOs that are its bells. What always holds:
//! * A segment's file appears (by `linkat`) when it is whole and its maker has joined, so that one that nobody has locked
//!   is abandoned.
//! * The bells appear after it, made by the same one, and are removed before it: where no segment is, nothing is.
//! * The directory appears (by `rename`) with all of them in it, and nobody ever puts a file into a directory that has its
//!   name, so that one with nothing in it is finished, for ever.
//! * A segment is closed before anything is removed, and nobody joins a closed one; or its name is taken away from those who have it. So who
//!   has joined finds the bells, or takes the rest of the name away, and looks again.
//!
//! # Why there is never more than one live segment of a name
//! The rename succeeds only if there is no directory of the name or an empty, so finished one.
//!
//! # Why removing never hits somebody else's segment
//! The files are removed through a descriptor of their own directory, whatever that one's name is by now, and are the only
//! ones that will ever be there. Then the name is removed only if the directory that has it *now* is empty; the kernel
//! decides that. Both can be done by anybody, at any time, twice. So a process that is stopped or killed in the midst of
//! it holds up nobody: the next one does it again. What was left half made is closed like any other segment before it is
//! removed: closing fails if its maker lives, or if it has been finished and somebody has joined meanwhile.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, fstat, linkat, mkdir, open, openat, rename, rmdir, statat, unlinkat,
};
use rustix::io::Errno;
use shm_ring::audit::Audit;
use shm_ring::bell_pipe::{READABLE, WRITABLE};
use shm_ring::closing::{self, close_if_abandoned};
use shm_ring::participant::{JoinError, Participant};
use shm_ring::segment::{self, Size};
use shm_ring::{Bells, Geometry, Segment, Side};

use crate::builder::Making;
use crate::joining::{from_create, from_join, short_of_memory};
use crate::names;

pub(crate) const ROOT: &str = "/dev/shm";
const FILE: &str = "segment";
const SEGMENT: &CStr = c"segment";
/// A longer name would not fit into a directory's name with what is put around it.
const LONGEST: usize = 200;
/// Each try fails only because somebody else has just come, gone, or died.
const MOST_TRIES: u32 = 10_000;

/// The name of a segment that this process uses.
#[derive(Debug)]
pub(crate) struct Name {
    name: String,
    /// The directory that held the segment when we joined, whatever has become of it.
    directory: OwnedFd,
}

impl Name {
    /// Joins the segment of this name as a participant of `side`, and makes it first if there is none.
    ///
    /// # Errors
    /// `InvalidInput` for a name that cannot be one; `QuotaExceeded`; what the system says.
    pub(crate) fn join(
        name: &str,
        geometry: Geometry,
        side: Side,
        making: Making,
    ) -> io::Result<(Participant, Arc<Self>)> {
        let name = checked(name)?;
        for _ in 0..MOST_TRIES {
            let joined = match open_directory(&path_of(name)) {
                // If it is one that everybody has left it is swept away, and the next look finds none.
                Ok(directory) if making == Making::New && !sweep_if_abandoned(name, &directory)? => {
                    return Err(in_name(name, io::ErrorKind::AlreadyExists, "there is one"));
                }
                Ok(_) if making == Making::New => None,
                Ok(directory) => join_existing(name, directory, side).map_err(|error| named_if_short(name, error))?,
                Err(Errno::NOENT) if making == Making::Never => {
                    return Err(in_name(name, io::ErrorKind::NotFound, "there is none"));
                }
                Err(Errno::NOENT) => make(name, geometry, side).map_err(|error| named_if_short(name, error))?,
                Err(error) => return Err(not_a_pipe(name, &path_of(name), "a directory with a segment", error)),
            };
            match joined {
                Some((participant, directory)) => {
                    return Ok((participant, Arc::new(Self { name: name.to_owned(), directory })));
                }
                None => thread::yield_now(),
            }
        }
        Err(io::Error::other(format!("the pipe {name:?} comes and goes too fast to be joined")))
    }

    /// The name of `segment`, which was handed over with it; `None` if the name has come to mean something else.
    pub(crate) fn of_segment(name: &str, segment: &Segment) -> Option<Arc<Self>> {
        let name = checked(name).ok()?;
        let directory = open_directory(&path_of(name)).ok()?;
        let there = statat(&directory, FILE, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let ours = fstat(segment.file()).ok()?;
        let is_same = (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino);
        is_same.then(|| Arc::new(Self { name: name.to_owned(), directory }))
    }

    /// The name as it was given, without a leading slash.
    pub(crate) fn as_str(&self) -> &str {
        &self.name
    }

    /// Removes the name; the segment has been closed.
    pub(crate) fn remove(&self) {
        remove(&self.directory, &path_of(&self.name));
    }
}

/// Who holds what of the pipe `name`; see [`crate::Reader::audit`]. Joins nothing.
///
/// # Errors
/// `NotFound` if there is no such pipe, `InvalidData` if something else has the name; what the system says.
pub fn audit(name: &str) -> io::Result<Audit> {
    let name = checked(name)?;
    let gone = || in_name(name, io::ErrorKind::NotFound, "there is none");
    let directory = directory_of(name, &path_of(name))?.ok_or_else(gone)?;
    shm_ring::audit::audit(&attach(name, &directory)?.ok_or_else(gone)?)
}

/// Takes the name away from the pipe `name`. Who has it open goes on using it; who opens the name from now on gets another pipe. Also that of a
/// pipe whose last user was killed, or that is damaged or of another version. Mirrors `unlink`. Never waits.
///
/// # Errors
/// `NotFound` if there is no such pipe, `InvalidData` if something else has the name, `DirectoryNotEmpty` if there are other files in its
/// directory; `PermissionDenied` if it is another user's; what the system says.
pub fn unlink(name: &str) -> io::Result<()> {
    let name = checked(name)?;
    let path = path_of(name);
    let Some(directory) = directory_of(name, &path)? else {
        return Err(in_name(name, io::ErrorKind::NotFound, "there is none"));
    };
    if let Ok(Some(segment)) = attach(name, &directory) {
        // Who is just opening it, and has not joined yet, finds another one instead of one without a name.
        close_if_abandoned(&segment)?;
    }
    remove(&directory, &path);
    if is_gone(&directory)? {
        Ok(())
    } else {
        Err(not_a_pipe(name, &path, "a directory with a segment", Errno::NOTEMPTY))
    }
}

/// Whether everybody has left the pipe `name` in the directory `path`, be it half made: of one moment, and changes nothing. `None`: it is not there.
pub(crate) fn looks_abandoned(name: &str, path: &Path) -> io::Result<Option<bool>> {
    let Some(directory) = directory_of(name, path)? else { return Ok(None) };
    attach(name, &directory)?.map_or(Ok(true), |segment| closing::looks_abandoned(&segment)).map(Some)
}

/// Removes the directory `path` of the pipe `name`, be it half made, if everybody has left it. Whether that was so; not if somebody else did.
pub(crate) fn sweep_path(name: &str, path: &Path) -> io::Result<bool> {
    let Some(directory) = directory_of(name, path)? else { return Ok(false) };
    match attach(name, &directory)? {
        Some(segment) if close_if_abandoned(&segment)? => remove(&directory, path),
        Some(_) => return Ok(false),
        // Nothing else is in it either. A maker that has got no further, and lives, finds it gone and starts over; one that has put its segment
        // there meanwhile keeps it.
        None => drop(rmdir(path)),
    }
    if is_gone(&directory)? {
        return Ok(true);
    }
    // Either somebody has finished it meanwhile, or there is something in it that is no pipe's.
    let is_finished = attach(name, &directory)?.is_some();
    if is_finished { Ok(false) } else { Err(not_a_pipe(name, path, "a directory with a segment", Errno::NOTEMPTY)) }
}

/// The directory `path` of the pipe `name`; `None` if it is not there.
fn directory_of(name: &str, path: &Path) -> io::Result<Option<OwnedFd>> {
    let directory = match open_directory(path) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(not_a_pipe(name, path, "a directory with a segment", error)),
    };
    check_owner_and_mode(&directory, name)?;
    Ok(Some(directory))
}

/// Whether the directory has no name any more. Asked of it, and not of its path, which may be another pipe's already.
fn is_gone(directory: &OwnedFd) -> io::Result<bool> {
    Ok(fstat(directory)?.st_nlink == 0)
}

/// Removes the name of a pipe that everybody has left. Whether it was one.
fn sweep_if_abandoned(name: &str, directory: &OwnedFd) -> io::Result<bool> {
    check_owner_and_mode(directory, name)?;
    let is_abandoned = match attach(name, directory)? {
        Some(segment) => close_if_abandoned(&segment)?,
        None => true,
    };
    if is_abandoned {
        remove(directory, &path_of(name));
    }
    Ok(is_abandoned)
}

/// As for `shm_open`: one leading slash is allowed and means nothing.
fn checked(name: &str) -> io::Result<&str> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let problem = match bare {
        "" => "it is empty",
        _ if bare.len() > LONGEST => "it is longer than 200 bytes",
        _ if bare.contains(['/', '\0']) => "it contains a slash or a null byte",
        _ => return Ok(bare),
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} cannot be a pipe's name: {problem}")))
}

fn path_of(name: &str) -> PathBuf {
    Path::new(ROOT).join(names::finished(name))
}

fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    open(path, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// A participant and the directory of its segment; `None`: look again.
type Joined = Option<(Participant, OwnedFd)>;

fn join_existing(name: &str, directory: OwnedFd, side: Side) -> io::Result<Joined> {
    let path = path_of(name);
    check_owner_and_mode(&directory, name)?;
    let Some(segment) = attach(name, &directory)? else {
        check_empty(&directory, name)?;
        remove(&directory, &path);
        return Ok(None);
    };
    if close_if_abandoned(&segment)? {
        remove(&directory, &path);
        return Ok(None);
    }
    let segment = Arc::new(segment);
    match Participant::join(Arc::clone(&segment), side) {
        Ok(mut participant) => {
            let bells = Bells::open(&directory, side).and_then(|bells| participant.hold_bells(bells));
            if let Err(error) = bells {
                let is_taken_away = error.kind() == io::ErrorKind::NotFound;
                // It may be the last one there by now. And whoever takes the name away may have been killed at it.
                if participant.leave_and_close_if_last() || is_taken_away {
                    remove(&directory, &path);
                }
                if is_taken_away {
                    return Ok(None);
                }
                return Err(in_name(name, error.kind(), format!("its bells: {error}")));
            }
            Ok(Some((participant, directory)))
        }
        Err(JoinError::Closed) => {
            remove(&directory, &path);
            Ok(None)
        }
        Err(error) => {
            // Whoever left meanwhile may have taken us for somebody who stays.
            if close_if_abandoned(&segment).is_ok_and(|is_closed| is_closed) {
                remove(&directory, &path);
            }
            Err(from_join(error))
        }
    }
}

/// The segment in a directory that has a name; `None` if it has been removed.
fn attach(name: &str, directory: &OwnedFd) -> io::Result<Option<Segment>> {
    // Whatever it is, opening it does not wait.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(directory, FILE, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(not_a_pipe(name, &path_of(name).join(FILE), "a segment", error)),
    };
    let attached = Segment::attach(file, Size::Trusted);
    attached.map(Some).map_err(|error| in_name(name, io::ErrorKind::InvalidData, error))
}

fn make(name: &str, geometry: Geometry, side: Side) -> io::Result<Joined> {
    sweep(name);
    let unfinished = Path::new(ROOT).join(names::unfinished(name, random()?));
    mkdir(&unfinished, Mode::RWXU).map_err(|error| match io::Error::from(error) {
        error if error.kind() == io::ErrorKind::StorageFull => error,
        error => in_name(name, error.kind(), format!("cannot be made in {ROOT}: {error}")),
    })?;
    let made = make_in(&unfinished, geometry, side);
    let path = path_of(name);
    let renamed = match &made {
        Ok(Some(_)) => rename(&unfinished, &path),
        _ => Err(Errno::NOENT),
    };
    match (made, renamed) {
        (Ok(joined), Ok(())) => Ok(joined),
        (Ok(Some((participant, directory))), Err(error)) => {
            drop(participant);
            remove(&directory, &unfinished);
            // Another one was faster.
            if matches!(error, Errno::EXIST | Errno::NOTEMPTY) { Ok(None) } else { Err(error.into()) }
        }
        (made, _) => {
            // Nothing was joined.
            if let Ok(directory) = open_directory(&unfinished) {
                remove(&directory, &unfinished);
            }
            made
        }
    }
}

fn make_in(path: &Path, geometry: Geometry, side: Side) -> io::Result<Joined> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let made = open_directory(path)
        .and_then(|directory| Ok((openat(&directory, ".", flags, Mode::RUSR | Mode::WUSR)?, directory)));
    let (file, directory) = match made {
        Ok(made) => made,
        // Swept away already.
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let segment = Arc::new(Segment::in_file(file.into(), geometry).map_err(from_create)?);
    let mut participant = Participant::join(Arc::clone(&segment), side).map_err(from_join)?;
    let unnamed = format!("/proc/self/fd/{}", segment.file().as_raw_fd());
    match linkat(CWD, unnamed, &directory, FILE, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // From here on nobody sweeps it away, since we have locked it.
    Bells::make(&directory)?;
    participant.hold_bells(Bells::open(&directory, side)?)?;
    Ok(Some((participant, directory)))
}

/// Removes what makers of this name left behind that were killed half-way.
fn sweep(name: &str) {
    for found in names::all().into_iter().flatten().filter(|found| !found.is_finished && found.name == name) {
        // What lives, or is somebody else's, stays.
        let _ = sweep_path(name, &found.path);
    }
}

/// Removes everything from the directory of a closed segment, the segment last, and the name if the directory that has it is
/// empty.
fn remove(directory: &OwnedFd, path: &Path) {
    // Each may have been done already by somebody else.
    for file in [READABLE, WRITABLE, FILE] {
        let _ = unlinkat(directory, file, AtFlags::empty());
    }
    let _ = rmdir(path);
}

fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Whoever owns the directory, or may write to it, can do to the segment what he likes: that has to be us, or the system's
/// administrator, and nobody else.
fn check_owner_and_mode(directory: &OwnedFd, name: &str) -> io::Result<()> {
    let found = fstat(directory)?;
    let (owner, mode) = (found.st_uid, Mode::from_raw_mode(found.st_mode));
    let us = rustix::process::geteuid().as_raw();
    let problem = if owner != us && owner != 0 {
        format!("its owner is user {owner}, expected {us}")
    } else if mode.intersects(Mode::WGRP | Mode::WOTH) {
        format!("others may write to it: its mode is {:o}, expected 700", mode.bits() & 0o7777)
    } else {
        return Ok(());
    };
    Err(in_name(name, io::ErrorKind::PermissionDenied, problem))
}

/// A directory without a segment is one that has been used up, and then there is nothing else in it.
fn check_empty(directory: &OwnedFd, name: &str) -> io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let found = entry.file_name();
        if ![c".", c"..", SEGMENT].contains(&found) {
            let found = format!("found a directory with {found:?} in it, expected one with a segment");
            return Err(in_name(name, io::ErrorKind::InvalidData, found));
        }
    }
    Ok(())
}

/// The error of something at `path` that could not be opened as what it should be.
fn not_a_pipe(name: &str, path: &Path, expected: &str, error: Errno) -> io::Error {
    match path.symlink_metadata() {
        Ok(metadata) if matches!(error, Errno::NOTDIR | Errno::LOOP | Errno::ISDIR | Errno::NXIO) => {
            let found = segment::name_of(metadata.file_type());
            in_name(name, io::ErrorKind::InvalidData, format!("found {found}, expected {expected}"))
        }
        Ok(metadata) if error == Errno::ACCESS => {
            let owner = std::os::unix::fs::MetadataExt::uid(&metadata);
            in_name(
                name,
                io::ErrorKind::PermissionDenied,
                format!("its owner is user {owner}, and lets nobody else in"),
            )
        }
        _ => in_name(name, io::Error::from(error).kind(), io::Error::from(error)),
    }
}

/// The error of one for whom there was no memory, with the name of the pipe. Others as they are.
fn named_if_short(name: &str, error: io::Error) -> io::Error {
    let kind = error.kind();
    if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::OutOfMemory | io::ErrorKind::FileTooLarge) {
        in_name(name, kind, short_of_memory(error))
    } else {
        error
    }
}

fn in_name(name: &str, kind: io::ErrorKind, problem: impl std::fmt::Display) -> io::Error {
    io::Error::new(kind, format!("pipe {name:?}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_for(what: &str) -> String {
        format!("test-{}-{what}", std::process::id())
    }

    /// A directory as a maker of `name` has it just before the rename, and the maker's end.
    fn unfinished(name: &str) -> (PathBuf, OwnedFd, Participant) {
        let path = Path::new(ROOT).join(names::unfinished(name, 7));
        mkdir(&path, Mode::RWXU).expect("a directory");
        let (end, directory) = make_in(&path, Geometry::default(), Side::Writer).expect("made").expect("not swept");
        (path, directory, end)
    }

    #[test]
    fn what_is_being_made_is_not_swept_and_what_was_left_is() {
        let name = name_for("sweep");
        let (path, _directory, end) = unfinished(&name);
        sweep(&name);
        assert!(path.exists(), "it was swept from under its maker");
        drop(end);
        sweep(&name);
        assert!(!path.exists(), "it was left");
    }

    #[test]
    fn an_empty_directory_is_swept_and_its_maker_starts_over() {
        let name = name_for("empty");
        let path = Path::new(ROOT).join(names::unfinished(&name, 7));
        mkdir(&path, Mode::RWXU).expect("a directory");
        sweep(&name);
        assert!(!path.exists(), "it was left");
        let made = make_in(&path, Geometry::default(), Side::Writer).expect("no error");
        assert!(made.is_none(), "made in a directory that is gone");
    }

    #[test]
    fn what_was_finished_and_joined_while_a_sweeper_looked_at_it_stays() {
        let name = name_for("finish");
        let (path, directory, end) = unfinished(&name);
        // The sweeper has opened it, the maker finishes, another one joins, the maker leaves.
        let file = openat(&directory, FILE, OFlags::RDWR, Mode::empty()).expect("it is there");
        let seen = Segment::attach(file.into(), Size::Trusted).expect("whole");
        rename(&path, path_of(&name)).expect("nothing else has the name");
        let (other, other_name) =
            Name::join(&name, Geometry::default(), Side::Writer, Making::IfMissing).expect("it is there");
        drop(end);
        assert!(!close_if_abandoned(&seen).expect("an answer"), "somebody uses it");
        drop(other);
        assert!(close_if_abandoned(&seen).expect("an answer"), "nobody does");
        other_name.remove();
        assert!(!path_of(&name).exists());
    }

    #[test]
    fn nobody_joins_a_segment_that_was_closed_under_him() {
        let name = name_for("closed");
        let (path, directory, end) = unfinished(&name);
        let file = openat(&directory, FILE, OFlags::RDWR, Mode::empty()).expect("it is there");
        let segment = Arc::new(Segment::attach(file.into(), Size::Trusted).expect("whole"));
        drop(end);
        assert!(close_if_abandoned(&segment).expect("an answer"));
        assert!(matches!(Participant::join(segment, Side::Writer), Err(JoinError::Closed)));
        remove(&directory, &path);
    }
}
