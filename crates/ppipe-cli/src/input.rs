//! The data to move: real files, read once into the writer's memory before anything is measured.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::failure::{At, Failure};
use crate::units;

/// So much is looked for when the user names nothing.
const DEFAULT_LEN: u64 = 64 << 20;
/// A smaller input is repeated in memory up to this, so that its end does not come with every piece.
const REPEATED_LEN: usize = 4 << 20;

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Files with something in them.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Entries of directories that could not be read, or are neither files nor directories.
    pub(crate) skipped: u64,
    /// The first of those, and why.
    pub(crate) first_skipped: Option<String>,
    /// CRC-32 of these bytes.
    pub(crate) checksum: u32,
    /// Whether there was more than was asked for.
    pub(crate) is_cut: bool,
}

/// The data, and where it came from.
#[derive(Debug)]
pub(crate) struct Input {
    /// Not empty.
    pub(crate) bytes: Vec<u8>,
    pub(crate) summary: Summary,
}

impl Input {
    /// Reads `paths`, directories with everything below them, up to `limit` bytes; or, without paths, this program and
    /// shared libraries and programs of the system.
    ///
    /// # Errors
    /// If a path cannot be read, or there is not a single byte in all of them.
    pub(crate) fn read(paths: &[PathBuf], limit: u64) -> Result<Self, Failure> {
        let mut collector = Collector { bytes: Vec::new(), summary: Summary::default(), limit };
        if paths.is_empty() {
            collector.limit = limit.min(DEFAULT_LEN);
            collector.add_system()?;
            // That there is more of it in the system goes without saying.
            collector.summary.is_cut = false;
            collector.summary.skipped = 0;
            collector.summary.first_skipped = None;
        } else {
            for path in paths {
                collector.add_path(path)?;
            }
        }
        collector.finish(paths)
    }
}

struct Collector {
    bytes: Vec<u8>,
    summary: Summary,
    limit: u64,
}

impl Collector {
    fn add_path(&mut self, path: &Path) -> Result<(), Failure> {
        let kind = path.metadata().at(path.display())?;
        if kind.is_dir() {
            // A directory that the user named has to be readable; what is in it need not.
            path.read_dir().at(path.display())?;
            self.add_below(path, |_| true);
            Ok(())
        } else if kind.is_file() {
            self.add_file(path).at(path.display())
        } else {
            Err(Failure::new(path.display(), "it is neither a file nor a directory"))
        }
    }

    /// Adds all files below `directory` that are `wanted`, until there is enough. Symbolic links are not followed.
    fn add_below(&mut self, directory: &Path, wanted: impl Fn(&Path) -> bool) {
        for entry in WalkDir::new(directory).sort_by_file_name() {
            if self.is_enough() {
                self.summary.is_cut = true;
                return;
            }
            match entry {
                Ok(entry) if entry.file_type().is_file() && wanted(entry.path()) => {
                    if let Err(error) = self.add_file(entry.path()) {
                        self.skip(&format!("{}: {error}", entry.path().display()));
                    }
                }
                Ok(entry) if entry.file_type().is_file() || entry.file_type().is_dir() => {}
                Ok(entry) if entry.file_type().is_symlink() => {}
                Ok(entry) => self.skip(&format!("{}: it is neither a file nor a directory", entry.path().display())),
                Err(error) => {
                    let path = error.path().unwrap_or(directory).display().to_string();
                    let why = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                    self.skip(&format!("{path}: {why}"));
                }
            }
        }
    }

    /// Something large that every machine has.
    fn add_system(&mut self) -> Result<(), Failure> {
        self.add_file(Path::new("/proc/self/exe")).at("this program's own file")?;
        let is_library = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"));
        self.add_below(Path::new("/usr/lib"), is_library);
        self.add_below(Path::new("/usr/bin"), |_| true);
        Ok(())
    }

    fn add_file(&mut self, path: &Path) -> io::Result<()> {
        // Nonblocking: some files of the system would keep us waiting for ever.
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        let file: File = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
        let room = self.limit - self.bytes.len() as u64;
        let before = self.bytes.len();
        let result = file.take(room.saturating_add(1)).read_to_end(&mut self.bytes);
        let is_cut = self.bytes.len() as u64 > self.limit;
        match result {
            Ok(_) => {}
            Err(error) => {
                self.bytes.truncate(before);
                return Err(error);
            }
        }
        if is_cut {
            self.bytes.pop();
            self.summary.is_cut = true;
        }
        self.summary.files += u64::from(self.bytes.len() > before);
        Ok(())
    }

    fn is_enough(&self) -> bool {
        self.bytes.len() as u64 >= self.limit
    }

    fn skip(&mut self, why: &str) {
        self.summary.skipped += 1;
        self.summary.first_skipped.get_or_insert_with(|| why.to_owned());
    }

    fn finish(mut self, paths: &[PathBuf]) -> Result<Input, Failure> {
        let len = self.bytes.len();
        if len == 0 {
            let what = match paths {
                [path] => path.display().to_string(),
                _ => units::things(paths.len() as u64, "path"),
            };
            let why = match &self.summary.first_skipped {
                Some(skipped) => format!("nothing to move: no file in it can be read ({skipped})"),
                None => "nothing to move: there is not a single byte in it".to_owned(),
            };
            return Err(Failure::new(what, why));
        }
        self.summary.bytes = len as u64;
        self.summary.checksum = crc32fast::hash(&self.bytes);
        while self.bytes.len() < REPEATED_LEN {
            self.bytes.extend_from_within(..len);
        }
        Ok(Input { bytes: self.bytes, summary: self.summary })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    #[test]
    fn directories_are_read_with_everything_below_in_order() {
        let root = directory();
        fs::create_dir(root.path().join("b")).expect("a directory");
        fs::write(root.path().join("a"), "first").expect("a file");
        fs::write(root.path().join("b/c"), "second").expect("a file");
        fs::write(root.path().join("d"), "").expect("a file");
        std::os::unix::fs::symlink("/etc", root.path().join("link")).expect("a link");
        let input = Input::read(&[root.path().to_owned()], u64::MAX).expect("the input");
        assert!(input.bytes.starts_with(b"firstsecondfirstsecond"));
        assert!(input.bytes.len() >= REPEATED_LEN);
        assert_eq!((input.summary.files, input.summary.bytes, input.summary.skipped), (2, 11, 0));
    }

    #[test]
    fn an_entry_that_is_no_file_is_skipped_and_counted() {
        let root = directory();
        fs::write(root.path().join("a"), "data").expect("a file");
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("s")).expect("a socket");
        let input = Input::read(&[root.path().to_owned()], u64::MAX).expect("the input");
        assert_eq!((input.summary.files, input.summary.skipped), (1, 1));
        assert!(input.summary.first_skipped.is_some_and(|why| why.contains("neither")));
    }

    #[test]
    fn no_more_is_read_than_the_limit() {
        let root = directory();
        fs::write(root.path().join("a"), "12345").expect("a file");
        fs::write(root.path().join("b"), "67890").expect("a file");
        let paths = [root.path().to_owned()];
        for (limit, is_cut) in [(3, true), (5, true), (7, true), (10, false), (11, false)] {
            let summary = Input::read(&paths, limit).expect("the input").summary;
            assert_eq!((summary.bytes, summary.is_cut), (limit.min(10), is_cut), "limit {limit}");
        }
    }

    #[test]
    fn an_input_without_a_byte_is_refused() {
        let root = directory();
        let paths = [root.path().to_owned()];
        let failure = Input::read(&paths, u64::MAX).expect_err("empty");
        assert!(failure.to_string().ends_with("there is not a single byte in it"), "{failure}");
        fs::write(root.path().join("a"), "").expect("a file");
        Input::read(&[root.path().join("a")], u64::MAX).expect_err("empty");
        Input::read(&[root.path().join("none")], u64::MAX).expect_err("not there");
    }

    #[test]
    fn without_a_path_there_is_always_something_to_move() {
        let input = Input::read(&[], 1 << 20).expect("the input");
        assert_eq!(input.summary.bytes, 1 << 20);
    }
}
