//! One pipe, the survivors' ends of it, and what they do with it.

use std::io;
use std::time::{Duration, Instant};

use ppipe::{Reader, Writer};

use crate::act::{Entries, SLOT, SLOTS, SMALL, builder};
use crate::content::{Content, bytes_of};
use crate::name::Name;

/// Who sends what survivors send, in the sense of [`bytes_of`].
pub(crate) const SURVIVOR: u8 = 1;
/// So long a call of a survivor may take: it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A law that was broken.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// What is in the pipe is none of what may be there.
    #[error("there is {found}, and not {expected}")]
    Content {
        /// What came out.
        found: String,
        /// What may have come out.
        expected: String,
    },
    /// Pages or extents are not where they must be.
    #[error("the accounts: {0}")]
    Accounts(String),
    /// Ends that the pipe has no room for, though it should.
    #[error("{joined} more {side} could join, and not {expected}: {error}")]
    Entries {
        /// How many could.
        joined: usize,
        /// How many had to.
        expected: usize,
        /// Of which side.
        side: &'static str,
        /// What the next one was told.
        error: io::Error,
    },
    /// A call of a survivor that had to succeed.
    #[error("a survivor's {what}: {error}")]
    Call {
        /// Which call.
        what: &'static str,
        /// What it said.
        error: io::Error,
    },
    /// What the system says, or the victim.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// One pipe, the survivors' ends of it, and what is in it.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) reader: Option<Reader>,
    pub(crate) writer: Option<Writer>,
    pub(crate) content: Content,
    entries: Entries,
    next: u32,
}

impl Pipe {
    pub(crate) fn new(entries: Entries) -> io::Result<Self> {
        let (reader, writer) = builder(entries).pipe()?;
        Ok(Self::of(reader, writer, entries))
    }

    /// The pipe of that name, which is made if there is none.
    pub(crate) fn of_name(name: &Name, entries: Entries) -> io::Result<Self> {
        let reader = builder(entries).nonblocking(true).open_reader(&name.0)?;
        reader.set_nonblocking(false);
        Ok(Self::of(reader, builder(entries).open_writer(&name.0)?, entries))
    }

    fn of(reader: Reader, writer: Writer, entries: Entries) -> Self {
        Self { reader: Some(reader), writer: Some(writer), content: Content::default(), entries, next: 0 }
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        self.next += 1;
        bytes_of(SURVIVOR, self.next, len)
    }

    pub(crate) fn writer(&self) -> Result<&Writer, Broken> {
        self.writer.as_ref().ok_or_else(|| io::Error::other("no survivor writes").into())
    }

    pub(crate) fn reader(&self) -> Result<&Reader, Broken> {
        self.reader.as_ref().ok_or_else(|| io::Error::other("no survivor reads").into())
    }

    pub(crate) fn put(&mut self, is_stream: bool, len: usize) -> Result<(), Broken> {
        let bytes = self.bytes(len);
        let writer = self.writer()?;
        if is_stream {
            use std::io::Write;
            let written = { writer }.write(&bytes).map_err(|error| Broken::Call { what: "write", error })?;
            assert_eq!(written, len, "it writes what fits a slot");
            self.content.push_stream(&bytes);
        } else {
            writer.send_timeout(&bytes, PATIENCE).map_err(|error| Broken::Call { what: "send", error })?;
            self.content.push_packet(bytes);
        }
        Ok(())
    }

    /// Receives the first packet and compares.
    pub(crate) fn get(&mut self) -> Result<(), Broken> {
        let mut buffer = vec![0; SLOTS as usize * 2 * SLOT];
        let received = self.reader()?.recv_timeout(&mut buffer, PATIENCE);
        let len = received.map_err(|error| Broken::Call { what: "recv", error })?.len;
        let mut found = Content::default();
        found.push_packet(buffer[..len].to_vec());
        let mut expected = Content::default();
        expected.push_some(&self.content, len);
        if found != expected {
            return Err(Broken::Content { found: found.to_string(), expected: expected.to_string() });
        }
        self.content.drop_front(len);
        Ok(())
    }

    /// Every place of the table can be had, that of the dead too.
    pub(crate) fn join_all(&self) -> Result<(), Broken> {
        let reader = self.reader()?;
        let writer = self.writer()?;
        join_all("readers", self.entries.readers, || reader.try_clone())?;
        join_all("writers", self.entries.writers, || writer.try_clone())
    }

    /// Returns how many of the dead had left an exchange pending.
    pub(crate) fn check_accounts(&self) -> Result<u32, Broken> {
        let audit = self.reader()?.audit()?;
        if !audit.is_steady || !audit.is_sound() || audit.held().count() != 2 {
            return Err(Broken::Accounts(audit.to_string()));
        }
        Ok(audit.settled)
    }

    pub(crate) fn pass(&mut self, count: u32) -> Result<(), Broken> {
        for _ in 0..count {
            self.put(false, SMALL)?;
            self.get()?;
        }
        Ok(())
    }

    /// The writer leaves, and the reader finds the end.
    pub(crate) fn end(&mut self) -> Result<(), Broken> {
        self.writer = None;
        match self.reader()?.recv_timeout(&mut [0; SMALL], PATIENCE) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(Broken::Call { what: "recv at the end", error }),
            Ok(message) => {
                let found = format!("{} bytes", message.len);
                Err(Broken::Content { found, expected: "the end".to_owned() })
            }
        }
    }
}

/// A survivor has one of the `places`.
fn join_all<T>(side: &'static str, places: u32, join: impl Fn() -> io::Result<T>) -> Result<(), Broken> {
    let mut all = Vec::new();
    let expected = places as usize - 1;
    let start = Instant::now();
    loop {
        match join() {
            Ok(end) => all.push(end),
            Err(_) if all.len() == expected => return Ok(()),
            // One who has just died counts until the kernel has taken it away.
            Err(_) if start.elapsed() < Duration::from_millis(200) => std::thread::yield_now(),
            Err(error) => return Err(Broken::Entries { joined: all.len(), expected, side, error }),
        }
    }
}
