//! A peer that writes nonsense into the segment can spoil the pipe, but nobody waits for it for ever.

mod name;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use name::Name;
use ppipe::{Builder, Reader, Writer};
use shm_ring::segment::Size;
use shm_ring::slot::Slot;
use shm_ring::sync::Ordering;
use shm_ring::{Content, Segment};

/// Nothing here takes so long; what takes longer has failed.
const WATCHDOG: Duration = Duration::from_secs(30);

fn ends(name: &Name) -> (Reader, Writer, Segment) {
    let reader = Builder::new().nonblocking(true).open_reader(&name.0).expect("a pipe");
    let writer = Builder::new().nonblocking(true).open_writer(&name.0).expect("a pipe");
    reader.set_nonblocking(false);
    writer.set_nonblocking(false);
    let file = File::options().read(true).write(true).open(name.path().join("segment")).expect("its file");
    (reader, writer, Segment::attach(file, Size::Trusted).expect("a segment"))
}

/// Laps that go round in equal steps: whichever slot a search looks at, the next one seems to be further on.
fn make_laps_climb(segment: &Segment, content: Content) {
    let (slots, fields) = (segment.ring(0).slots, segment.layout().fields);
    let step = (1 << fields.lap_bits()) / slots.len() as u64;
    for (index, slot) in (0..).zip(slots) {
        slot.store(fields.encode(Slot { lap: index * step, page: index as u32, content }), Ordering::Relaxed);
    }
}

/// What `act` returns, in a thread of its own that may hang.
fn within_reason<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, is_done) = channel();
    thread::spawn(move || done.send(act()));
    is_done.recv_timeout(WATCHDOG).expect("it returns")
}

#[test]
fn who_finds_no_place_in_a_ring_that_stands_still_is_told_that_it_is_damaged() {
    for content in [Content::Empty, Content::Stream(shm_ring::slot::Span { start: 0, end: 1 })] {
        let name = Name::new("climbing");
        let (mut reader, mut writer, segment) = ends(&name);
        make_laps_climb(&segment, content);
        let (reader, read) = within_reason(move || {
            let read = reader.read(&mut [0; 9]).expect_err("nothing to read").kind();
            (reader, read)
        });
        assert_eq!(read, ErrorKind::InvalidData);
        assert_eq!(within_reason(move || writer.write(&[1; 9])).expect_err("no room").kind(), ErrorKind::InvalidData);
        // Nobody writes any more: the end of the file, or an error, but an end.
        let kind = within_reason(move || reader.recv(&mut [0; 9])).expect_err("nothing to receive").kind();
        assert_eq!(kind, ErrorKind::InvalidData);
    }
}

#[test]
fn who_never_waits_is_told_so_too() {
    let name = Name::new("climbing-try");
    let (reader, writer, segment) = ends(&name);
    make_laps_climb(&segment, Content::Empty);
    assert_eq!(reader.try_recv(&mut [0; 9]).expect_err("nothing to receive").kind(), ErrorKind::InvalidData);
    assert_eq!(writer.try_send(&[1; 9]).expect_err("no room").kind(), ErrorKind::InvalidData);
}

/// What is in the pipe, but none of the memory of its pages.
fn without_pages(name: &Name) -> (Reader, Writer) {
    let (reader, writer, segment) = ends(name);
    writer.send(b"hello").expect("room");
    let file = File::options().write(true).open(name.path().join("segment")).expect("its file");
    file.set_len(segment.layout().pages_at as u64).expect("it is ours");
    (reader, writer)
}

#[test]
fn a_packet_whose_memory_is_gone_is_an_error_and_no_zeros() {
    type Verb = fn(&mut Reader) -> std::io::Result<usize>;
    let verbs: [(&str, Verb); 6] = [
        ("recv", |reader| reader.recv(&mut [0; 9]).map(|message| message.len)),
        ("read", |reader| reader.read(&mut [0; 9])),
        ("a part", |reader| reader.read(&mut [0; 2])),
        ("peek", |reader| reader.peek(&mut [0; 9]).map(|message| message.len)),
        ("batch", |reader| reader.recv_batch(&mut [[0; 9]; 2], &mut [ppipe::Message::default(); 2])),
        ("splice", |reader| ppipe::splice(reader, &ppipe::pipe()?.1, 9)),
    ];
    for (what, verb) in verbs {
        let name = Name::new(&format!("gone-{}", what.replace(' ', "-")));
        let (mut reader, _writer) = without_pages(&name);
        let error = verb(&mut reader).expect_err("there is no memory");
        let says = error.to_string();
        assert!(error.kind() == ErrorKind::InvalidData && says.contains("memory is gone"), "{what}: {says}");
    }
}

#[test]
fn what_is_sent_where_no_memory_is_is_an_error() {
    let name = Name::new("gone-send");
    let (_reader, mut writer) = without_pages(&name);
    let says = writer.send(b"again").expect_err("there is no memory").to_string();
    assert!(says.contains("memory is gone"), "{says}");
    let name = Name::new("gone-commit");
    let (_reader, mut other) = without_pages(&name);
    let loan = other.reserve(5).expect("no look at it yet");
    loan.bytes().copy_from(0, b"again");
    let says = loan.commit().expect_err("there is no memory").to_string();
    assert!(says.contains("memory is gone"), "{says}");
    assert!(writer.write(b"again").is_err() && writer.resize(1 << 18).is_err() && writer.unread().is_err());
}
