//! `ppipe write NAME` and `ppipe read NAME`: two strangers meet by a name.
//!
//! # Why an interrupted one leaves no name behind
//! The end is dropped before the process ends, and the last end takes the name with it. Data is moved in calls that time
//! out now and then and look whether they are to end. Opening cannot be timed out, since that would close the end under
//! the feet of a stranger who has just come; so on a signal a second thread opens the *other* end for a moment, which
//! is what the first one waits for.

use std::any::Any;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ppipe::{Builder, Reader, Writer};

use crate::args::{ReadArgs, WriteArgs};
use crate::failure::{At, Failure, from_output};
use crate::interrupt::Interrupt;
use crate::units;

/// So long after a signal a blocked call may still go on.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Pause before the other end is opened again.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// Who cannot be let go in this time by one who opens the other end ends without, and leaves the name to whoever opens it next.
const LONGEST_MEETING: Duration = Duration::from_secs(1);
/// Bytes moved at once.
const BUFFER_LEN: usize = 65536;
/// The longest packet that can be read here; more than fits into a pipe that was made here.
const PACKET_MAX: usize = 1 << 20;

/// Copies standard input to the pipe.
pub(crate) fn write(args: &WriteArgs) -> Result<(), Failure> {
    let name = args.name.clone();
    let open_other = move || -> io::Result<Box<dyn Any>> { Ok(Box::new(nonblocking().open_reader(&name)?)) };
    with_end(
        || Writer::open(&args.name),
        open_other,
        &args.name,
        |writer, interrupt| {
            let input = File::from(io::stdin().as_fd().try_clone_to_owned().at("standard input")?);
            match (args.is_packets, args.packet_size) {
                (true, _) => write_lines(&writer, input, interrupt, &args.name),
                (false, Some(size)) => write_packets(&writer, input, size, interrupt, &args.name),
                (false, None) => write_stream(&writer, input, interrupt, &args.name),
            }
        },
    )
}

/// Copies the pipe to standard output.
pub(crate) fn read(args: &ReadArgs) -> Result<(), Failure> {
    let name = args.name.clone();
    let open_other = move || -> io::Result<Box<dyn Any>> { Ok(Box::new(nonblocking().open_writer(&name)?)) };
    with_end(
        || Reader::open(&args.name),
        open_other,
        &args.name,
        |reader, interrupt| {
            let mut output = File::from(io::stdout().as_fd().try_clone_to_owned().at("standard output")?);
            // One more for the end of a line.
            let mut buffer = vec![0; PACKET_MAX + 1];
            loop {
                interrupt.check()?;
                let message = match reader.recv_timeout(&mut buffer[..PACKET_MAX], LOOK_INTERVAL) {
                    Ok(message) => message,
                    Err(error) if error.kind() == ErrorKind::TimedOut => continue,
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                    Err(error) => return Err(pipe_failure(&args.name, &error)),
                };
                if message.is_truncated() {
                    let size = units::bytes(message.packet_len as u64);
                    return Err(Failure::new(format!("pipe {}", args.name), format!("a packet of {size} is too long")));
                }
                let mut len = message.len;
                if args.is_packets && !message.is_stream {
                    buffer[len] = b'\n';
                    len += 1;
                }
                output.write_all(&buffer[..len]).map_err(|error| from_output(&error))?;
            }
        },
    )
}

/// Opens an end with `open`, works with it, and closes it, whatever happens.
fn with_end<E>(
    open: impl FnOnce() -> io::Result<E>,
    open_other: impl Fn() -> io::Result<Box<dyn Any>> + Send + 'static,
    name: &str,
    work: impl FnOnce(E, &Interrupt) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let is_open = Arc::new(AtomicBool::new(false));
    let has_opened = Arc::clone(&is_open);
    let interrupt = Interrupt::listen(move |signal| {
        let (start, mut held) = (Instant::now(), None);
        // Acquire: pairs with the Release below. Nothing but the fact is passed on by it.
        while !has_opened.load(Ordering::Acquire) {
            if start.elapsed() > LONGEST_MEETING {
                // The name is damaged, or has come to mean something else, or descriptors are short.
                std::process::exit(128 + signal);
            }
            // A failure means that the end is not there yet.
            held = held.or_else(|| open_other().ok());
            thread::sleep(RETRY_INTERVAL);
        }
    })
    .at("signals")?;
    let opened = open();
    is_open.store(true, Ordering::Release);
    let result = opened.map_err(|error| pipe_failure(name, &error)).and_then(|end| {
        interrupt.check()?;
        work(end, &interrupt)
    });
    interrupt.finish();
    result
}

fn write_stream(writer: &Writer, mut input: File, interrupt: &Interrupt, name: &str) -> Result<(), Failure> {
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let len = read_input(&mut input, &mut buffer, interrupt)?;
        let mut rest = &buffer[..len];
        if rest.is_empty() {
            return Ok(());
        }
        while !rest.is_empty() {
            interrupt.check()?;
            match writer.write_timeout(rest, LOOK_INTERVAL) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(error) => return Err(pipe_failure(name, &error)),
            }
        }
    }
}

fn write_packets(
    writer: &Writer,
    mut input: File,
    size: u64,
    interrupt: &Interrupt,
    name: &str,
) -> Result<(), Failure> {
    let capacity = writer.capacity();
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > capacity {
        return Err(too_long("--packet-size", &format!("{size} bytes"), capacity));
    }
    let mut packet = vec![0; size];
    loop {
        let mut filled = 0;
        while filled < size {
            match read_input(&mut input, &mut packet[filled..], interrupt)? {
                0 => break,
                len => filled += len,
            }
        }
        if filled == 0 {
            return Ok(());
        }
        send(writer, &packet[..filled], interrupt, name)?;
    }
}

fn write_lines(writer: &Writer, input: File, interrupt: &Interrupt, name: &str) -> Result<(), Failure> {
    let capacity = writer.capacity();
    let mut input = BufReader::with_capacity(BUFFER_LEN, Interruptible { input, interrupt });
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        // One more than can be sent, and the end of the line: enough to see that it is too long.
        let read = (&mut input).take(capacity as u64 + 2).read_until(b'\n', &mut line);
        interrupt.check()?;
        if read.at("standard input")? == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.len() > capacity {
            // Of a longer one no more has been read.
            let len = if line.len() > capacity + 1 {
                format!("more than {capacity} bytes")
            } else {
                format!("{} bytes", line.len())
            };
            return Err(too_long(&format!("line {number}"), &len, capacity));
        }
        // An empty line is no packet: there are none without a byte.
        send(writer, &line, interrupt, name)?;
    }
    Ok(())
}

fn send(writer: &Writer, packet: &[u8], interrupt: &Interrupt, name: &str) -> Result<(), Failure> {
    loop {
        interrupt.check()?;
        match writer.send_timeout(packet, LOOK_INTERVAL) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            Err(error) => return Err(pipe_failure(name, &error)),
        }
    }
}

/// Reads what there is of the input, 0 at its end.
fn read_input(input: &mut File, buffer: &mut [u8], interrupt: &Interrupt) -> Result<usize, Failure> {
    loop {
        interrupt.wait_for(&*input)?;
        match input.read(buffer) {
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            result => return result.at("standard input"),
        }
    }
}

/// The input for those who can only say that reading failed; the interrupt tells the rest.
struct Interruptible<'a> {
    input: File,
    interrupt: &'a Interrupt,
}

impl Read for Interruptible<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_input(&mut self.input, buffer, self.interrupt).map_err(|failure| io::Error::other(failure.to_string()))
    }
}

fn nonblocking() -> Builder {
    Builder::new().nonblocking(true)
}

fn too_long(what: &str, len: &str, capacity: usize) -> Failure {
    Failure::new(what, format!("{len}, and a packet has at most the pipe's capacity of {capacity}"))
}

fn pipe_failure(name: &str, error: &io::Error) -> Failure {
    let why = match error.kind() {
        ErrorKind::BrokenPipe => "nobody reads it any more".to_owned(),
        // It names the pipe itself.
        ErrorKind::InvalidInput => return Failure::new("NAME", error),
        _ => {
            // Some name the pipe themselves.
            let text = error.to_string();
            text.strip_prefix(&format!("pipe {name:?}: ")).map(str::to_owned).unwrap_or(text)
        }
    };
    Failure::new(format!("pipe {name}"), why)
}
