//! Sequences of calls that never wait, and what comes of them on Linux: run on a pipe of the kernel, which has to give exactly that, and on
//! ours, which has to give the same numbers and the same bytes.
//!
//! ```text
//!   w5    write of 5 bytes          d+ d-   packet flag on, off           f g    unread bytes, by the reader, by the writer
//!   v5,6  write of two buffers      cr cw   close the reader, the writer  pr pw  what is ready: I in, O out, H hung up, E broken, - nothing
//!   r5    read with room for 5      s4096   size                          x*16   x 16 times, each time with the same outcome
//!   u5,6  read into two buffers
//! ```

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};

use ppipe::Readiness;

mod both;
mod name;

use both::{BOTH, Opening, Reading, System, Writing};

/// How the pipe is made; all are nonblocking.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Setup {
    /// A stream in so many slots.
    P(usize),
    /// Packets in so many slots.
    PK(usize),
    /// The same stream in 16 slots, by a name.
    Fifo,
}

use Setup::{Fifo, P, PK};

/// Which case, how it is set up, what is done, what comes of it.
const SEQUENCES: &[(&str, Setup, &str, &str)] = &[
    ("A02", P(1), "w4000 w96 w1", "4000 96 EAGAIN"),
    ("A03", P(1), "w4000 w97 w96", "4000 EAGAIN 96"),
    ("A04", P(2), "w4000 w97 w3999 w1 f", "4000 97 3999 EAGAIN 8096"),
    ("A05", P(2), "w100 w4146 f w1", "100 4146 4246 EAGAIN"),
    ("A08", P(1), "w100 w4096", "100 EAGAIN"),
    ("A11", P(16), "w65636", "65536"),
    ("A12", P(16), "w1 w65536", "1 61440"),
    ("A14", P(16), "w1*65536 w1 f", "1 EAGAIN 65536"),
    ("A15", P(16), "w3000*16 w3000 f", "3000 EAGAIN 48000"),
    ("A16", P(2), "w4096 w10 r4096 w20 f r9999", "4096 10 4096 20 30 30"),
    ("A17", P(2), "w100 w4146 r9999", "100 4146 4246"),
    ("A19", P(2), "v v0 v1,0,1 u", "0 0 2 0"),
    ("B01", PK(16), "w10 w20 w30 f r100 r100 r100 r100", "10 20 30 60 10 20 30 EAGAIN"),
    ("B02", PK(16), "w10 w20 r5 f r100", "10 20 5 20 20"),
    ("B03", PK(16), "w0 f pr r10", "0 0 - EAGAIN"),
    ("B04", PK(16), "w10 r0 f r100", "10 0 10 10"),
    ("B05", PK(16), "w4097 r9999 r9999", "4097 4096 1"),
    ("B06", PK(16), "w10000 r9999 r9999 r9999", "10000 4096 4096 1808"),
    ("B07", PK(16), "w69632 r99999", "65536 4096"),
    ("B09", PK(16), "w10 d- w10 w10 r100 r100", "10 10 10 10 20"),
    ("B14", P(16), "w4000 d+ w200 r4000 r9999", "4000 200 4000 200"),
    ("B16", PK(16), "w20 u4,4,4 r9", "20 12 EAGAIN"),
    ("B17", PK(16), "v10,10,10 r99 r99", "30 30 EAGAIN"),
    ("B18", PK(16), "v3000,3000 r9999 r9999", "6000 4096 1904"),
    ("B23", PK(16), "w1*16 w1 f pw r1 pw w1", "1 EAGAIN 16 - 1 O 1"),
    ("B24", PK(16), "w4096 r1 pw r1", "4096 1 O EAGAIN"),
    ("B26", Fifo, "d+ w3 w4 r99 r99", "3 4 3 4"),
    ("B32", PK(16), "v0,1,0 r99 r99", "1 1 EAGAIN"),
    ("C01", P(2), "pr w1 pr cw pr r9 pr r9 r9", "- 1 I IH 1 H 0 0"),
    ("C02", P(1), "pw w4096 pw cr pw", "O 4096 - E"),
    ("C02", P(1), "cr pw", "OE"),
    ("F05", P(2), "w4000 s16384 w96 w1 f s8192 w1", "4000 16384 96 1 4097 8192 1"),
    ("F05", P(4), "w4096*3 s4096 s8192 s16384", "4096 EBUSY EBUSY 16384"),
    ("F08", P(2), "w5 f g cw f", "5 5 5 5"),
];

/// A pipe, and what has been written to it: every byte tells its place.
struct Player {
    reader: Option<Reading>,
    writer: Option<Writing>,
    next: u8,
    /// Everything that was read.
    read: Vec<u8>,
}

impl Player {
    fn new(system: &dyn System, setup: Setup) -> Self {
        let (reader, writer) = match setup {
            P(slots) | PK(slots) => system.pipe(slots),
            Fifo => {
                let name = system.new_name("sequence");
                let reader = system.open_reader(&name.0, 16, Opening::Nonblocking).expect("it needs nobody");
                (reader, system.open_writer(&name.0, 16, Opening::Nonblocking).expect("somebody reads"))
            }
        };
        reader.set_nonblocking(true);
        writer.set_nonblocking(true);
        writer.set_packet_mode(matches!(setup, PK(_)));
        Self { reader: Some(reader), writer: Some(writer), next: 0, read: Vec::new() }
    }

    fn reader(&mut self) -> &mut Reading {
        self.reader.as_mut().expect("it is open")
    }

    fn writer(&mut self) -> &mut Writing {
        self.writer.as_mut().expect("it is open")
    }

    /// What comes of one step, if it is one of which something comes.
    fn step(&mut self, step: &str) -> Option<String> {
        let (verb, rest) = step.split_at(1);
        let sizes: Vec<usize> = rest.split(',').filter_map(|size| size.parse().ok()).collect();
        let outcome = match (verb, rest) {
            ("d", sign) => {
                self.writer().set_packet_mode(sign == "+");
                return None;
            }
            ("c", side) => {
                if side == "r" {
                    self.reader = None
                } else {
                    self.writer = None
                }
                return None;
            }
            ("w" | "v", _) => self.write(&sizes),
            ("r" | "u", _) => self.read(&sizes),
            ("f", _) => Ok(self.reader().unread()),
            ("g", _) => Ok(self.writer().unread()),
            ("s", _) => self.writer().resize(sizes[0]),
            ("p", "r") => return Some(letters(self.reader().readiness())),
            ("p", _) => return Some(letters(self.writer().readiness())),
            _ => panic!("{step}"),
        };
        Some(match outcome {
            Ok(number) => number.to_string(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => "EAGAIN".to_owned(),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => "EPIPE".to_owned(),
            Err(error) if error.kind() == ErrorKind::ResourceBusy => "EBUSY".to_owned(),
            Err(error) => error.to_string(),
        })
    }

    fn write(&mut self, sizes: &[usize]) -> io::Result<usize> {
        let mut next = self.next;
        let buffers: Vec<Vec<u8>> = sizes
            .iter()
            .map(|&size| {
                (0..size)
                    .map(|_| {
                        next = next.wrapping_add(1) % 251;
                        next
                    })
                    .collect()
            })
            .collect();
        let buffers: Vec<_> = buffers.iter().map(|buffer| IoSlice::new(buffer)).collect();
        let written = if let [buffer] = &buffers[..] {
            self.writer().write(buffer)
        } else {
            self.writer().write_vectored(&buffers)
        };
        self.next = ((self.next as usize + *written.as_ref().unwrap_or(&0)) % 251) as u8;
        written
    }

    fn read(&mut self, sizes: &[usize]) -> io::Result<usize> {
        let mut buffers: Vec<Vec<u8>> = sizes.iter().map(|&size| vec![0; size]).collect();
        let mut targets: Vec<_> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        let read = if let [target] = &mut targets[..] {
            self.reader().read(target)
        } else {
            self.reader().read_vectored(&mut targets)
        };
        let all = buffers.concat();
        self.read.extend_from_slice(&all[..*read.as_ref().unwrap_or(&0)]);
        read
    }
}

fn letters(readiness: Readiness) -> String {
    let all =
        [(Readiness::READABLE, 'I'), (Readiness::WRITABLE, 'O'), (Readiness::BROKEN, 'E'), (Readiness::HUNG_UP, 'H')];
    let shown: String = all.iter().filter(|(bit, _)| readiness.contains(*bit)).map(|(_, letter)| letter).collect();
    if shown.is_empty() { "-".to_owned() } else { shown }
}

/// What comes of the steps, and all bytes that were read.
fn play(system: &dyn System, setup: Setup, steps: &str) -> (String, Vec<u8>) {
    let mut player = Player::new(system, setup);
    let mut outcomes = Vec::new();
    for step in steps.split(' ') {
        let (step, times) = step.split_once('*').unwrap_or((step, "1"));
        let all = (0..times.parse().expect("a number")).map(|_: u32| player.step(step));
        let mut all: Vec<_> = all.flatten().collect();
        all.dedup();
        outcomes.extend(all);
    }
    (outcomes.join(" "), player.read)
}

#[test]
fn each_sequence_gives_on_both_pipes_what_it_gives_on_linux() {
    let [kernel, ours] = BOTH;
    for &(case, setup, steps, expected) in SEQUENCES {
        let of_kernel = play(kernel, setup, steps);
        assert_eq!(of_kernel.0, expected, "{case}: {steps}: the kernel");
        assert!(play(ours, setup, steps) == of_kernel, "{case}: {steps}: {:?}", play(ours, setup, steps).0);
    }
}

#[test]
fn a_sequence_that_gives_something_else_is_seen() {
    let [kernel, ours] = BOTH;
    let in_order = play(kernel, P(16), "w5 w6 r99");
    assert_eq!(in_order.0, "5 6 11");
    assert_ne!(play(ours, PK(16), "w5 w6 r99"), in_order, "packets");
    assert_ne!(play(ours, P(16), "w6 w5 r99"), in_order, "other numbers");
    assert_ne!(play(ours, P(1), "w1*4096 w1*2").0, "1 1", "one that is refused among many");
}
