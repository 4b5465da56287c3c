//! Which pipes have names: what is in `/dev/shm` of pipes, in use, left behind, or half made. What is done with one of them, and why that hits nobody
//! who lives, is `name`'s affair.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags, open};

use crate::name::{ROOT, looks_abandoned, sweep_path};

/// So many digits are behind the name of one that is being made.
const RANDOM_DIGITS: usize = 16;

/// A directory of a pipe, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The pipe's name.
    pub name: String,
    /// Its directory, with a slash in front.
    pub path: PathBuf,
    /// Whether it has its name, so that it can be opened; else its maker is at work, or has died at it.
    pub is_finished: bool,
}

/// All pipes' directories in `/dev/shm`, of whatever user, in the order of their names. Opens none of them.
///
/// # Errors
/// If there is no `/dev/shm`, or it cannot be read.
pub fn names() -> io::Result<Vec<Found>> {
    let mut all: Vec<Found> = all()?.collect();
    all.sort_unstable_by(|a, b| (&a.name, &a.path).cmp(&(&b.name, &b.path)));
    Ok(all)
}

impl Found {
    /// Whether everybody has left it, so that [`Found::sweep`] would remove it; `None` if it is gone. Of one moment; changes nothing.
    ///
    /// # Errors
    /// `InvalidData` if it is damaged, of another version or no pipe; `PermissionDenied` if it is another user's; what the system says.
    pub fn looks_abandoned(&self) -> io::Result<Option<bool>> {
        looks_abandoned(&self.name, &self.path)
    }

    /// Removes it if everybody has left it, for ever and whoever is opening or making a pipe of that name: they come to another one. Returns whether
    /// it did. What anybody has open stays. Never waits.
    ///
    /// # Errors
    /// As [`Found::looks_abandoned`]; `DirectoryNotEmpty` if there are other files in its directory.
    pub fn sweep(&self) -> io::Result<bool> {
        sweep_path(&self.name, &self.path)
    }
}

/// The directory's name of the pipe `name`.
pub(crate) fn finished(name: &str) -> String {
    format!("ppipe-{name}")
}

/// The directory's name of one that is being made.
pub(crate) fn unfinished(name: &str, random: u64) -> String {
    format!(".{}.{random:0RANDOM_DIGITS$x}", finished(name))
}

/// As [`names`], in any order.
pub(crate) fn all() -> io::Result<impl Iterator<Item = Found>> {
    let root = open(ROOT, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).and_then(Dir::new);
    let root = root.map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("{ROOT}: {error}"))
    })?;
    // A name that is no text cannot be a pipe's, nor be opened by anybody.
    Ok(root.flatten().filter_map(|entry| parse(entry.file_name().to_str().ok()?)))
}

fn parse(file_name: &str) -> Option<Found> {
    let path = Path::new(ROOT).join(file_name);
    let found = |name: &str, is_finished| Found { name: name.to_owned(), path, is_finished };
    if let Some(name) = file_name.strip_prefix("ppipe-") {
        return (!name.is_empty()).then(|| found(name, true));
    }
    let (name, random) = file_name.strip_prefix(".ppipe-")?.rsplit_once('.')?;
    let is_random = random.len() == RANDOM_DIGITS && random.bytes().all(|digit| digit.is_ascii_hexdigit());
    (is_random && !name.is_empty()).then(|| found(name, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_shared_memory_of_a_pipe_says_its_name() {
        for name in ["a", "a.b", ".a", "a.0123456789abcdef", "ppipe-a", "\u{e9}"] {
            let (done, half_done) = (parse(&finished(name)), parse(&unfinished(name, 7)));
            let done = done.expect("a pipe's");
            assert_eq!((done.name.as_str(), done.is_finished), (name, true));
            assert_eq!(done.path, Path::new(ROOT).join(finished(name)));
            let half_done = half_done.expect("a pipe's");
            assert_eq!((half_done.name.as_str(), half_done.is_finished), (name, false));
        }
    }

    #[test]
    fn what_is_no_pipes_is_not_taken_for_one() {
        for other in [
            "",
            "ppipe",
            "ppipe-",
            "sem.a",
            ".ppipe-a",
            ".ppipe-a.b",
            ".ppipe-.0123456789abcdef",
            ".ppipe-a.0123456789abcdeg",
        ] {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }
}
