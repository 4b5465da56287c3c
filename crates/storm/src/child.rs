//! What a child does: sends or receives and says so, until it is over, it is killed, or, if told so, it lies.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use ppipe::{Builder, Reader, Waiting, Writer};
use rustix::process::{Signal, getpid, getppid, kill_process, set_parent_process_death_signal};
use shm_ring::holding::Holding;
use shm_ring::segment::Size;
use shm_ring::sync::Ordering;
use shm_ring::writer_end::Kind;
use shm_ring::{Segment, WriterEnd};

use crate::journal::{Arrival, Voice};
use crate::message::{MOST, RECORD};
use crate::orders::{END, Lie, Orders, Role, VARIABLE};

/// A lie is told once in so many messages.
const LIE_EVERY: u32 = 100;
/// A writer asks whether it is over once in so many messages.
const ASK_EVERY: u32 = 16;
/// One that is silent says something once in so many messages.
const SAY_EVERY: u32 = 1024;
/// Every other one that knows the pipe's name joins anew once in so many messages.
const JOIN_EVERY: u32 = 64;
/// Records that are written to a stream at once: one, some that may fit into a slot, and more than any slot has room for.
const WRITES: [u32; 3] = [1, 5, 150];
/// Records of the largest reads of a stream.
const READS: [usize; 3] = [1, 3, 16];

/// Runs as a child if this process was started as one; returns whether it was.
///
/// # Errors
/// What a pipe says when it should not.
pub fn run_if_told() -> io::Result<bool> {
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(false) };
    let orders: Orders = text.parse().map_err(|()| io::Error::other(format!("orders that say nothing: {text:?}")))?;
    if !die_with(orders.coordinator)? {
        return Ok(true);
    }
    if orders.sleeps_at_bells {
        shm_ring::sleep_at_bells();
    }
    let voice = Voice::open(&orders)?;
    match orders.role {
        Role::Writer => write(&orders, &voice)?,
        Role::Reader => read(&orders, voice)?,
    }
    Ok(true)
}

/// Asks the kernel to kill this process with its parent; returns whether the parent is still there.
pub(crate) fn die_with(parent: i32) -> io::Result<bool> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // If it died before that, somebody else is our parent now.
    Ok(getppid().is_some_and(|pid| pid.as_raw_nonzero().get() == parent))
}

fn builder(orders: &Orders) -> Builder {
    let waiting = match orders.incarnation % 4 {
        0 => Waiting::Sleeping,
        1 => Waiting::Spinning,
        _ => Waiting::Adaptive,
    };
    Builder::new().waiting(waiting)
}

fn write(orders: &Orders, voice: &Voice) -> io::Result<()> {
    let mut writer =
        if orders.name.is_empty() { Writer::inherited(END)? } else { builder(orders).open_writer(&orders.name)? };
    let mut liar = orders.lie.map(|lie| Liar::new(lie, orders)).transpose()?;
    let mut buffer = vec![0; MOST];
    // Lies are told of single messages.
    let at_once = if liar.is_some() { 1 } else { most_sent(orders.incarnation, orders.sizes.is_stream) };
    for round in 0.. {
        let number = round * at_once;
        let is_said = !orders.is_silent || round % SAY_EVERY == 0;
        if is_said && round % ASK_EVERY == 0 && voice.is_over()? {
            if orders.lie == Some(Lie::Invent) {
                let len = orders.sizes.make(orders.id(number + 1), &mut buffer);
                send(&mut writer, orders, &buffer[..len])?;
            }
            break;
        }
        if joins_anew(orders, round) {
            writer = builder(orders).open_writer(&orders.name)?;
        }
        let reserves = orders.lie == Some(Lie::Reserve);
        if reserves {
            voice.lock()?;
        }
        match &mut liar {
            Some(liar) if number % LIE_EVERY >= LIE_EVERY - 2 => {
                liar.send(&mut writer, orders, number, &mut buffer)?;
            }
            _ => {
                let mut len = 0;
                for number in number..number + at_once {
                    len += orders.sizes.make(orders.id(number), &mut buffer[len..]);
                }
                send(&mut writer, orders, &buffer[..len])?;
            }
        }
        if reserves {
            voice.unlock()?;
        }
        if is_said {
            voice.say_sent(number + at_once)?;
        }
    }
    Ok(())
}

fn joins_anew(orders: &Orders, count: u32) -> bool {
    orders.is_restless && orders.incarnation % 2 == 1 && count % JOIN_EVERY == JOIN_EVERY - 1
}

/// Sends by one of the verbs, which one depends on who sends.
fn send(writer: &mut Writer, orders: &Orders, message: &[u8]) -> io::Result<()> {
    if orders.sizes.is_stream {
        // Two buffers that meet somewhere within a record.
        let (head, body) = message.split_at(message.len() / 2 + 1);
        let buffers = [IoSlice::new(head), IoSlice::new(body)];
        return match orders.incarnation % 2 {
            0 => writer.write_all(message),
            _ if writer.write_vectored(&buffers)? == message.len() => Ok(()),
            _ => Err(io::Error::other("a write that may wait has not written everything")),
        };
    }
    match orders.incarnation % 3 {
        0 => writer.send(message),
        1 => {
            let (head, body) = message.split_at(message.len() / 2);
            writer.send_vectored(&[IoSlice::new(head), IoSlice::new(body)])
        }
        _ => {
            let loan = writer.reserve(message.len())?;
            loan.bytes().copy_from(0, message);
            loan.commit()
        }
    }
}

fn read(orders: &Orders, mut voice: Voice) -> io::Result<()> {
    let mut reader =
        if orders.name.is_empty() { Reader::inherited(END)? } else { builder(orders).open_reader(&orders.name)? };
    let mut buffer = vec![0; MOST];
    let mut arrivals = Vec::new();
    let mut count = 0_u32;
    loop {
        let unit = if orders.sizes.is_stream { RECORD } else { MOST };
        let Some(len) = receive(&mut reader, orders, &mut buffer)? else { return Ok(()) };
        arrivals.clear();
        let mut is_time = false;
        for message in buffer[..len].chunks(unit) {
            count += 1;
            is_time |= joins_anew(orders, count);
            if orders.lie == Some(Lie::Swallow) && count.is_multiple_of(LIE_EVERY) {
                continue;
            }
            let what = orders.sizes.check(message);
            if orders.is_silent && what.is_ok() && !count.is_multiple_of(SAY_EVERY) {
                continue;
            }
            arrivals.extend(Arrival { reader: orders.incarnation, what }.to_bytes());
        }
        if !arrivals.is_empty() {
            voice.say_arrived(&arrivals)?;
        }
        if is_time {
            // Without waiting: there may be no writer any more.
            reader = builder(orders).nonblocking(true).open_reader(&orders.name)?;
            reader.set_nonblocking(false);
        }
        if orders.lie == Some(Lie::Stall) && count >= LIE_EVERY {
            kill_process(getpid(), Signal::STOP)?;
        }
    }
}

/// How many messages this writer sends by one call: what can have arrived of one that is killed before it says so.
#[must_use]
pub fn most_sent(incarnation: u16, is_stream: bool) -> u32 {
    if is_stream { WRITES[usize::from(incarnation % 3)] } else { 1 }
}

/// How many messages this reader receives by one call at most: what it can take along when it is killed.
#[must_use]
pub fn most_received(incarnation: u16, is_stream: bool) -> usize {
    if is_stream { READS[usize::from(incarnation % 3)] } else { 1 }
}

/// Receives by one of the verbs; `None` at the end of file.
fn receive(reader: &mut Reader, orders: &Orders, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    if orders.sizes.is_stream {
        let most = most_received(orders.incarnation, true);
        let len = reader.read(&mut buffer[..most * RECORD])?;
        return Ok(Some(len).filter(|&len| len > 0));
    }
    let received = match orders.incarnation % 3 {
        0 => reader.recv(buffer).map(|message| message.len),
        1 => reader.recv_loan().map(|loan| {
            let bytes = loan.bytes();
            bytes.copy_to(0, &mut buffer[..bytes.len()]);
            bytes.len()
        }),
        _ => loop {
            match reader.recv_timeout(buffer, Duration::from_millis(3)) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                received => break received.map(|message| message.len),
            }
        },
    };
    match received {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        received => received.map(Some),
    }
}

/// A writer that does something wrong on purpose.
struct Liar {
    lie: Lie,
    /// For lies that are told below the pipe; only a named one can be reached.
    end: Option<(Arc<Segment>, WriterEnd)>,
}

impl Liar {
    fn new(lie: Lie, orders: &Orders) -> io::Result<Self> {
        let is_below = matches!(lie, Lie::FillAfterPublish | Lie::WrongRecord);
        Ok(Self { lie, end: if is_below { Some(below(orders)?) } else { None } })
    }

    fn send(&mut self, writer: &mut Writer, orders: &Orders, number: u32, buffer: &mut [u8]) -> io::Result<()> {
        let is_first = number % LIE_EVERY == LIE_EVERY - 2;
        let told = match self.lie {
            Lie::SwapTwo if is_first => number + 1,
            Lie::SwapTwo => number - 1,
            _ => number,
        };
        let len = orders.sizes.make(orders.id(told), buffer);
        let message = &mut buffer[..len];
        match self.lie {
            _ if is_first => {}
            Lie::SendTwice => send(writer, orders, message)?,
            Lie::SkipOne => return Ok(()),
            Lie::FlipByte => message[len - 1] ^= 0x10,
            Lie::CutShort => return send(writer, orders, &message[..len - 1]),
            Lie::FillAfterPublish => return self.fill_after_publish(message),
            Lie::WrongRecord => self.put_wrong_record(),
            Lie::GiveUp => return Err(io::Error::other("I give up")),
            Lie::SwapTwo | Lie::Invent | Lie::Reserve | Lie::Swallow | Lie::Stall => {}
        }
        send(writer, orders, message)
    }

    fn fill_after_publish(&mut self, message: &[u8]) -> io::Result<()> {
        let Some((segment, end)) = &mut self.end else { return Ok(()) };
        let message = &message[..message.len().min(end.slot_size())];
        let record = &segment.entry(end.participant().entry()).record;
        loop {
            let page = record.load(Ordering::Relaxed) as u32;
            end.fill(0, &vec![0; message.len()]);
            if end.publish(Kind::Packet, message.len()).is_ok() {
                std::thread::yield_now();
                segment.pages().write(page, 0, message);
                return Ok(());
            }
            std::thread::yield_now();
        }
    }

    fn put_wrong_record(&mut self) {
        if let Some((segment, end)) = &mut self.end {
            let wrong = Holding::Settled(segment.layout().first_page_of(0)).encode();
            segment.entry(end.participant().entry()).record.store(wrong, Ordering::Relaxed);
        }
    }
}

fn below(orders: &Orders) -> io::Result<(Arc<Segment>, WriterEnd)> {
    let path = format!("/dev/shm/ppipe-{}/segment", orders.name);
    let file = File::options().read(true).write(true).open(path)?;
    let segment = Arc::new(Segment::attach(file, Size::Trusted).map_err(io::Error::other)?);
    let end = WriterEnd::join(Arc::clone(&segment)).map_err(io::Error::other)?;
    Ok((segment, end))
}
