//! What `/proc` says of the processes that have a pipe open: who they are, whether they run, sleep or stand.
//!
//! A participant's own number is one of its own namespace of processes, and may be anybody's by now. So it is looked for among those who have the
//! segment's file open, by the number that each of them has at home.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

/// The thread that does nothing but to be marked at the death of its process: it says nothing of what the others do.
const KEEPER: &str = "ppipe-keeper";

/// A process that has a file open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Process {
    /// Its number here.
    pub(crate) id: u32,
    /// Its number in its own namespace.
    pub(crate) id_at_home: u32,
    pub(crate) command: String,
    pub(crate) state: State,
    /// Seconds since it began.
    pub(crate) age: Option<u64>,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// At least one thread runs.
    Running,
    /// All threads sleep.
    Asleep,
    /// A thread waits in the kernel for a device, or for memory.
    Blocked,
    /// By a signal, until SIGCONT.
    Stopped,
    /// By a debugger.
    Traced,
    /// It has ended.
    Dead,
    /// `/proc` says something else.
    Unknown,
}

impl State {
    /// How it is said of somebody.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running => "runs",
            Self::Asleep => "asleep",
            Self::Blocked => "blocked",
            Self::Stopped => "stopped",
            Self::Traced => "traced",
            Self::Dead => "dead",
            Self::Unknown => "?",
        }
    }

    /// Whether it does nothing until somebody else lets it.
    pub(crate) fn is_held_up(self) -> bool {
        matches!(self, Self::Stopped | Self::Traced)
    }
}

/// Who has a file open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holders {
    pub(crate) processes: Vec<Process>,
    /// So many could not be looked at: they are other users', or have ended just then.
    pub(crate) unseen: usize,
}

/// Who has the file `path` open.
///
/// # Errors
/// If there is no `/proc` or no such file.
pub(crate) fn holders_of(path: &Path) -> io::Result<Holders> {
    let file = fs::metadata(path)?;
    let uptime = fs::read_to_string("/proc/uptime").ok().and_then(|text| text.split('.').next()?.parse().ok());
    let mut holders = Holders::default();
    for id in fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        match has_open(id, (file.dev(), file.ino())) {
            Ok(true) => holders.processes.extend(process(id, uptime)),
            Ok(false) => {}
            Err(_) => holders.unseen += 1,
        }
    }
    holders.processes.sort_unstable_by_key(|process| process.id);
    Ok(holders)
}

fn has_open(id: u32, file: (u64, u64)) -> io::Result<bool> {
    let descriptors = fs::read_dir(format!("/proc/{id}/fd"))?;
    let is_it = |path: &Path| fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == file);
    Ok(descriptors.flatten().any(|entry| is_it(&entry.path())))
}

/// `None` if it has just ended.
fn process(id: u32, uptime: Option<u64>) -> Option<Process> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{id}/{file}"));
    let own = Stat::parse(&read("stat").ok()?)?;
    let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let threads: Vec<Stat> =
        threads.filter_map(|entry| Stat::parse(&fs::read_to_string(entry.path().join("stat")).ok()?)).collect();
    let id_at_home = read("status").ok().and_then(|status| id_at_home(&status)).unwrap_or(id);
    let ticks = rustix::param::clock_ticks_per_second();
    let age = uptime.map(|uptime| uptime.saturating_sub(own.begin / ticks));
    let state = state_of(&threads, own.state);
    Some(Process { id, id_at_home, command: own.command, state, age })
}

/// What there is of `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stat {
    command: String,
    state: char,
    /// Ticks after the machine's.
    begin: u64,
}

impl Stat {
    /// The command may have anything in it, parentheses too.
    fn parse(text: &str) -> Option<Self> {
        let (front, rest) = text.rsplit_once(") ")?;
        let (_, command) = front.split_once('(')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        // `starttime` is the 22nd field, the state the third.
        let begin = fields.nth(18)?.parse().ok()?;
        Some(Self { command: command.to_owned(), state, begin })
    }
}

/// Its number in the innermost of its namespaces.
fn id_at_home(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_ascii_whitespace().last()?.parse().ok()
}

/// What a process with these threads does; `own` is what is said of it as a whole.
fn state_of(threads: &[Stat], own: char) -> State {
    let has = |states: &str| {
        let mut seen = threads.iter().filter(|thread| thread.command != KEEPER).map(|thread| thread.state);
        seen.any(|state| states.contains(state))
    };
    match own {
        'Z' | 'X' if !has("RSDTt") => State::Dead,
        _ if has("t") => State::Traced,
        _ if has("T") => State::Stopped,
        _ if has("R") => State::Running,
        _ if has("D") => State::Blocked,
        _ if has("SI") => State::Asleep,
        _ => State::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(command: &str, state: char) -> Stat {
        Stat { command: command.to_owned(), state, begin: 0 }
    }

    #[test]
    fn a_command_may_have_anything_in_it() {
        let text = "42 (a) R (b) S 1 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1";
        assert_eq!(Stat::parse(text), Some(Stat { command: "a) R (b".to_owned(), state: 'S', begin: 12345 }));
        for wrong in ["", "42", "42 (a)", "42 (a) S 1"] {
            assert_eq!(Stat::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_process_does_what_its_threads_do_but_for_the_one_that_never_does_anything() {
        let all = |states: &str| states.chars().map(|state| thread("a", state)).collect::<Vec<_>>();
        assert_eq!(state_of(&all("SS"), 'S'), State::Asleep);
        assert_eq!(state_of(&all("SR"), 'S'), State::Running);
        assert_eq!(state_of(&all("SD"), 'S'), State::Blocked);
        assert_eq!(state_of(&all("TT"), 'T'), State::Stopped);
        assert_eq!(state_of(&all("St"), 'S'), State::Traced);
        assert_eq!(state_of(&all("ZS"), 'Z'), State::Asleep);
        assert_eq!(state_of(&all("Z"), 'Z'), State::Dead);
        assert_eq!(state_of(&[], 'Z'), State::Dead);
        assert_eq!(state_of(&[thread("a", 'R'), thread(KEEPER, 'S')], 'R'), State::Running);
        assert_eq!(state_of(&[thread(KEEPER, 'S')], 'S'), State::Unknown);
    }

    #[test]
    fn the_number_at_home_is_that_of_the_innermost_namespace() {
        assert_eq!(id_at_home("Name:\ta\nNSpid:\t4242\t17\nNSpgid:\t1\n"), Some(17));
        assert_eq!(id_at_home("NSpid:\t4242\n"), Some(4242));
        assert_eq!(id_at_home("Name:\ta\n"), None);
    }

    #[test]
    fn this_process_is_among_those_who_have_its_file_open() {
        let file = tempfile::NamedTempFile::new_in(std::env::temp_dir()).expect("a file");
        let holders = holders_of(file.path()).expect("/proc");
        let found: Vec<_> = holders.processes.iter().map(|process| process.id).collect();
        assert_eq!(found, [std::process::id()]);
        let (path, closed) = (file.path().to_owned(), file.into_temp_path());
        assert_eq!(holders_of(&path).expect("/proc").processes, []);
        drop(closed);
    }
}
