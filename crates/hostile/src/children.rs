//! Children that are ended with whoever has started them, and lines that they say.

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};

/// Nothing here takes so long; it only makes a failure of what hangs.
pub const WATCHDOG: Duration = Duration::from_secs(300);

/// A child, killed when this is dropped. Its standard input ends then, and what it says is read by its parent.
#[derive(Debug)]
pub struct Ward {
    child: Child,
    said: Option<BufReader<ChildStdout>>,
}

impl Ward {
    /// Starts it.
    ///
    /// # Errors
    /// The system's.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let said = child.stdout.take().map(BufReader::new);
        Ok(Self { child, said })
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it is told by.
    pub fn orders(&mut self) -> Option<&mut ChildStdin> {
        self.child.stdin.as_mut()
    }

    /// The next line that it says; empty if it says no more.
    ///
    /// # Errors
    /// The system's.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if let Some(said) = &mut self.said {
            said.read_line(&mut line)?;
        }
        Ok(line.trim_end().to_owned())
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// What it says to its end, and how it ends, once it has been told that nothing more comes.
    ///
    /// # Errors
    /// The system's; `TimedOut` if it does not end.
    pub fn end(mut self) -> io::Result<(ExitStatus, String)> {
        drop(self.child.stdin.take());
        let said = self.said.take();
        // Read beside, so that it never waits for us.
        let reading = thread::spawn(move || {
            let mut text = String::new();
            said.map_or(Ok(0), |mut said| said.read_to_string(&mut text)).map(|_| text)
        });
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if start.elapsed() > WATCHDOG {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(5));
        };
        let text = reading.join().map_err(|_| io::Error::other("the reading thread panicked"))??;
        Ok((status, text))
    }
}

impl Drop for Ward {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// For a child: it dies with its parent, and leaves no core file.
///
/// # Errors
/// The system's; `NotFound` if the parent is dead already.
pub fn be_a_child(parent: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    let is_there = getppid().is_some_and(|pid| pid.as_raw_nonzero().get().cast_unsigned() == parent);
    if is_there { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}
