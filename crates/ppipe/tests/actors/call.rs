//! What actors are told and what they say: lines of text.

use std::fmt::Display;
use std::io::ErrorKind;
use std::str::FromStr;

/// What an actor says begins so; the test harness says other things.
pub(crate) const SAYS: &str = "actor: ";
/// What one says whose signal handler has run.
pub(crate) const HANDLED: &str = "handled";
pub(crate) const BEGINS: &str = "begins";
pub(crate) const DONE: &str = "done";
pub(crate) const FAILED: &str = "failed";

/// What an actor is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// `read`, with so much room.
    Read(usize),
    /// `write`, so many bytes of this kind.
    Write(u8, usize),
    /// `poll` of its end, named so often, without a limit.
    Poll(usize),
    /// `read_timeout` with a limit that is never reached. Ours only.
    ReadWithin(usize),
    /// `recv`, with so much room. Ours only.
    Receive(usize),
    /// `send`, so many bytes. Ours only.
    Send(usize),
    /// Opens the end anew by the pipe's name, and waits for the other side.
    Open,
    /// Closes the end.
    Close,
    /// `read` of one byte and `write` of it to the same pipe by its name, so often.
    PassOn(usize),
}

/// What an actor is told while it may be asleep in a call: of a flag of its end, which it has twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    Packets,
    Nonblocking,
    /// Ours only.
    Sigpipe,
}

const KINDS: [ErrorKind; 6] = [
    ErrorKind::BrokenPipe,
    ErrorKind::WouldBlock,
    ErrorKind::Interrupted,
    ErrorKind::UnexpectedEof,
    ErrorKind::TimedOut,
    ErrorKind::NotFound,
];

impl Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Read(room) => write!(f, "read 0 {room}"),
            Self::Write(letter, len) => write!(f, "write {letter} {len}"),
            Self::Poll(times) => write!(f, "poll 0 {times}"),
            Self::ReadWithin(room) => write!(f, "read-within 0 {room}"),
            Self::Receive(room) => write!(f, "receive 0 {room}"),
            Self::Send(len) => write!(f, "send 0 {len}"),
            Self::Open => write!(f, "open 0 0"),
            Self::Close => write!(f, "close 0 0"),
            Self::PassOn(times) => write!(f, "pass-on 0 {times}"),
        }
    }
}

impl FromStr for Call {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [verb, letter, number] = words[..] else { return Err(line.to_owned()) };
        let (letter, number) = (letter.parse().expect("a letter"), number.parse().expect("a number"));
        Ok(match verb {
            "read" => Self::Read(number),
            "write" => Self::Write(letter, number),
            "poll" => Self::Poll(number),
            "read-within" => Self::ReadWithin(number),
            "receive" => Self::Receive(number),
            "send" => Self::Send(number),
            "open" => Self::Open,
            "close" => Self::Close,
            "pass-on" => Self::PassOn(number),
            _ => return Err(line.to_owned()),
        })
    }
}

/// What came of a call: a number, and the first byte of what was read.
pub(crate) type Outcome = Result<(usize, u8), ErrorKind>;

/// What came of a call, as an actor says it.
pub(crate) fn outcome_that_is(said: &str) -> Outcome {
    let words: Vec<&str> = said.split_whitespace().collect();
    match words[..] {
        [DONE, number, letter] => {
            Ok((number.parse().expect("a number"), letter.parse().expect("the number of a letter")))
        }
        [FAILED, kind] => Err(kind_of(kind)),
        _ => panic!("{said}"),
    }
}

fn kind_of(word: &str) -> ErrorKind {
    KINDS.into_iter().find(|kind| format!("{kind:?}") == word).unwrap_or_else(|| panic!("{word}"))
}
