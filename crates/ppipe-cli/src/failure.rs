//! What is said when something goes wrong: `ppipe: what: why`.

use std::fmt::{self, Display};
use std::io;

/// Why the program ends without having done what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something to tell the user.
    Told {
        /// What could not be done, or to what.
        what: String,
        /// Why not.
        why: String,
    },
    /// A signal asked us to end; whoever sent it knows.
    Interrupted {
        /// Its number.
        signal: i32,
    },
    /// Nobody reads our output any more, so there is nobody to tell.
    OutputClosed,
    /// The parent process has been told, and tells the user.
    Reported,
}

impl Failure {
    pub(crate) fn new(what: impl Display, why: impl Display) -> Self {
        Self::Told { what: what.to_string(), why: why.to_string() }
    }

    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Told { .. } | Self::Reported => 1,
            Self::Interrupted { signal } => u8::try_from(128 + signal).unwrap_or(1),
            Self::OutputClosed => 0,
        }
    }

    /// Whether there is anything to say about it.
    pub(crate) fn is_told(&self) -> bool {
        matches!(self, Self::Told { .. })
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told { what, why } => write!(f, "{what}: {why}"),
            Self::Interrupted { signal } => write!(f, "interrupted: signal {signal}"),
            Self::OutputClosed => write!(f, "standard output: closed"),
            Self::Reported => write!(f, "reported already"),
        }
    }
}

/// Says what an error was met at.
pub(crate) trait At<T> {
    /// The failure of `what`.
    fn at(self, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> At<T> for Result<T, E> {
    fn at(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(what, error))
    }
}

/// The failure of a write to standard output.
pub(crate) fn from_output(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::OutputClosed
    } else {
        Failure::new("standard output", error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_and_why() {
        let result: Result<(), _> = Err(io::Error::other("it is full"));
        let failure = result.at("/dev/shm").expect_err("an error");
        assert_eq!(failure.to_string(), "/dev/shm: it is full");
        assert_eq!(failure.exit_code(), 1);
        assert!(failure.is_told());
    }

    #[test]
    fn a_closed_output_is_nobodys_fault() {
        let failure = from_output(&io::ErrorKind::BrokenPipe.into());
        assert!(!failure.is_told());
        assert_eq!(failure.exit_code(), 0);
    }

    #[test]
    fn an_interrupted_program_ends_as_the_shell_would_say() {
        assert_eq!(Failure::Interrupted { signal: 2 }.exit_code(), 130);
    }
}
