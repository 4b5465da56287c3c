//! The size of a pipe that is in use: who waits, what there is memory for, and what the random programs do not reach.

mod name;

use std::io::{ErrorKind, Read, Write};
use std::thread;

use name::Name;
use ppipe::{Builder, Readiness};

#[test]
fn a_pipe_grows_up_to_what_it_was_made_for() {
    let (reader, writer) = Builder::new().max_capacity(100_000).pipe().expect("a pipe");
    assert_eq!(writer.resize(1 << 17).expect("it was made for that"), 1 << 17);
    assert_eq!(reader.resize((1 << 17) + 1).expect_err("it was not").kind(), ErrorKind::PermissionDenied);
    assert_eq!(reader.capacity(), 1 << 17);
    let (reader, _writer) = Builder::new().slot_size(64).slots(65_536).pipe().expect("a pipe");
    for bytes in [8 << 20, 1 << 31] {
        assert_eq!(reader.resize(bytes).expect_err("more").kind(), ErrorKind::PermissionDenied);
    }
    let (reader, _writer) = Builder::new().slots(1024).pipe().expect("a pipe");
    assert_eq!(reader.resize(4 << 20).expect("it has that"), 4 << 20);
    assert_eq!(reader.resize(8 << 20).expect_err("more").kind(), ErrorKind::PermissionDenied);
}

#[test]
fn packets_up_to_the_capacity_can_be_sent_when_it_has_changed() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let packet: Vec<u8> = (0..1 << 20).map(|n: u32| (n ^ n >> 8) as u8).collect();
    assert_eq!(writer.try_send(&packet).expect_err("too large").raw_os_error(), Some(90));
    writer.resize(1 << 20).expect("a larger size");
    writer.try_send(&packet).expect("room");
    writer.try_send(&packet[1..]).expect("room");
    writer.resize(8192).expect("two slots are enough for two packets");
    assert_eq!(reader.unread().expect("a number"), packet.len() * 2 - 1);
    let mut buffer = vec![0; packet.len()];
    assert_eq!(reader.recv(&mut buffer).expect("a packet").len, packet.len());
    assert!(buffer == packet, "it arrives as it was");
    assert_eq!(reader.recv(&mut buffer).expect("a packet").len, packet.len() - 1);
    assert_eq!(writer.try_send(&packet[..8193]).expect_err("too large").raw_os_error(), Some(90));
    writer.try_send(&packet[..8192]).expect("room");
}

#[test]
fn strangers_see_one_size() {
    let name = Name::new("size");
    let builder = Builder::new().nonblocking(true);
    let mut reader = builder.open_reader(&name.0).expect("a pipe");
    let mut one = builder.open_writer(&name.0).expect("a reader is there");
    one.write_all(b"before").expect("room");
    one.resize(1 << 20).expect("a larger size");
    let mut other = builder.open_writer(&name.0).expect("a reader is there");
    assert_eq!(other.capacity(), 1 << 20);
    other.write_all(b" and after").expect("room");
    let mut text = [0; 32];
    assert_eq!(reader.read(&mut text).expect("bytes"), 16);
    assert_eq!(&text[..16], b"before and after");
    assert_eq!(other.write(&vec![7; 2 << 20]).expect("some"), 1 << 20);
    assert_eq!(other.readiness(), Readiness::empty());
    assert!(reader.audit().expect("an audit").is_sound());
    assert_eq!(reader.audit().expect("an audit").usage, Some(256));
}

#[test]
fn the_size_changes_under_writers_and_readers_and_nothing_is_lost() {
    const PACKETS: u32 = 20_000;
    let (reader, writer) = Builder::new().slots(1).pipe().expect("a pipe");
    thread::scope(|scope| {
        for number in 0..2_u32 {
            let writer = writer.try_clone().expect("a writer");
            scope.spawn(move || {
                for packet in 0..PACKETS {
                    let len = if packet % 64 == 0 { 3000 } else { 8 };
                    let mut bytes = vec![0; len];
                    bytes[..4].copy_from_slice(&number.to_le_bytes());
                    bytes[4..8].copy_from_slice(&packet.to_le_bytes());
                    writer.send(&bytes).expect("a reader");
                }
            });
        }
        let sizer = reader.try_clone().expect("a reader");
        scope.spawn(move || {
            let mut random = fastrand::Rng::with_seed(7);
            let mut changes = 0;
            for _ in 0..3000 {
                match sizer.resize(4096 << random.u32(..9)) {
                    Ok(_) => changes += 1,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::ResourceBusy),
                }
                let _ = sizer.unread().expect("a number");
                thread::yield_now();
            }
            assert!(changes > 100, "{changes}");
        });
        drop(writer);
        let readers = [reader.try_clone().expect("a reader"), reader];
        let received = readers.map(|reader| {
            scope.spawn(move || {
                let mut last = [None; 2];
                let mut count = 0;
                let mut buffer = vec![0; 4096];
                while let Ok(message) = reader.recv(&mut buffer) {
                    let number = |at: usize| u32::from_le_bytes(buffer[at..at + 4].try_into().expect("four bytes"));
                    let (from, packet) = (number(0) as usize, number(4));
                    assert_eq!(message.len, if packet % 64 == 0 { 3000 } else { 8 });
                    assert!(last[from] < Some(packet), "{packet} after {:?}", last[from]);
                    last[from] = Some(packet);
                    count += 1;
                }
                count
            })
        });
        let count: u32 = received.map(|thread| thread.join().expect("it ends")).iter().sum();
        assert_eq!(count, 2 * PACKETS);
    });
}

#[test]
fn who_sees_a_pipe_for_the_first_time_is_not_hung_up_and_a_duplicate_is_what_it_is_a_duplicate_of() {
    let name = Name::new("hang-up");
    let builder = Builder::new().nonblocking(true);
    let reader = builder.open_reader(&name.0).expect("a pipe");
    assert_eq!(reader.readiness(), Readiness::empty());
    drop(builder.open_writer(&name.0).expect("a reader is there"));
    assert_eq!(reader.readiness(), Readiness::HUNG_UP);
    assert_eq!(reader.try_clone().expect("a reader").readiness(), Readiness::HUNG_UP);
    assert_eq!(builder.open_reader(&name.0).expect("a pipe").readiness(), Readiness::empty());
}
