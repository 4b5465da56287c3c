//! Short sequences whose outcome on Linux is known, on a kernel pipe and on ours, step by step; where there is no such call here, what takes its
//! place. `docs/semantics.md` says which test has which of them. (No child is started: it would have copies of descriptors for a while.)

use std::fs::File;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read};
use std::os::fd::OwnedFd;
use std::thread;

use ppipe::{Builder, Readiness};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use shm_ring::rely_on_wakes;

mod both;
mod name;

use both::steps::{kind, nonblocking, number, of_packets, read, write};
use both::{BOTH, Opening, Reading, SLOT, Writing};

#[test]
fn of_no_buffers_nothing_is_written_and_of_too_many_the_first_1024() {
    const TOO_MANY: usize = 1025;
    for system in BOTH {
        let whose = system.whose();
        let (mut reader, mut writer) = nonblocking(system, 2);
        assert_eq!(kind(writer.write_vectored(&[])), Ok(0), "{whose}");
        assert_eq!(kind(writer.write_vectored(&[IoSlice::new(b"")])), Ok(0), "{whose}");
        let three = [b"a".as_slice(), b"", b"b"].map(IoSlice::new);
        assert_eq!(kind(writer.write_vectored(&three)), Ok(2), "{whose}");
        assert_eq!(kind(reader.read_vectored(&mut [])), Ok(0), "{whose}");
        assert_eq!(kind(writer.write_vectored(&[IoSlice::new(b"x"); TOO_MANY])), Ok(1024), "{whose}");
        let mut bytes = [[0]; TOO_MANY];
        let mut buffers: Vec<_> = bytes.iter_mut().map(|byte| IoSliceMut::new(byte)).collect();
        assert_eq!(kind(reader.read_vectored(&mut buffers)), Ok(1024), "{whose}");
        assert_eq!(reader.unread(), 2, "{whose}");
    }
    // That is the standard library's doing. The kernel itself refuses, and so do we in C.
    let (_reader, writer) = rustix::pipe::pipe().expect("a pipe");
    let refused = nix::sys::uio::writev(&writer, &[IoSlice::new(b"x"); TOO_MANY]);
    assert_eq!(refused, Err(nix::errno::Errno::EINVAL));
}

#[test]
fn of_more_than_0x7ffff000_bytes_that_many_are_written() {
    rely_on_wakes();
    const MOST: usize = 0x7fff_f000;
    // The same bytes in every buffer, so that there is memory for them.
    let bytes = vec![7; (MOST + 1).div_ceil(1024).next_multiple_of(SLOT)];
    let buffers = vec![IoSlice::new(&bytes); 1024];
    for system in BOTH {
        let (mut reader, mut writer) = system.pipe(256);
        let written = thread::scope(|scope| {
            scope.spawn(move || {
                let mut buffer = vec![0; 256 * SLOT];
                while reader.read(&mut buffer).expect("a writer") > 0 {}
            });
            let written = writer.write_vectored(&buffers);
            drop(writer);
            written
        });
        assert_eq!(kind(written), Ok(MOST), "{}", system.whose());
    }
}

#[test]
fn the_packet_flag_is_the_writing_ends_and_its_duplicates() {
    for system in BOTH {
        let whose = system.whose();
        let (_reader, writer) = of_packets(system, 16);
        let duplicate = writer.duplicate();
        assert!(writer.is_packet_mode() && duplicate.is_packet_mode(), "{whose}");
        duplicate.set_packet_mode(false);
        assert!(!writer.is_packet_mode(), "{whose}: cleared by the duplicate");
    }
    let (reader, writer) = pipe_with(PipeFlags::DIRECT).expect("a pipe");
    let is_packet_mode = |end: &OwnedFd| fcntl_getfl(end).expect("flags").contains(OFlags::DIRECT);
    assert_eq!([&reader, &writer].map(is_packet_mode), [false, true], "our reading ends have no such flag");
}

#[test]
fn a_packet_flag_on_a_reading_end_means_nothing_and_ours_has_none() {
    for system in BOTH {
        let (mut reader, mut writer) = nonblocking(system, 16);
        assert_eq!((write(&mut writer, 5), write(&mut writer, 5)), (Ok(5), Ok(5)));
        assert_eq!((read(&mut reader, 3), read(&mut reader, 99)), (Ok(3), Ok(7)), "{}", system.whose());
    }
    let (reader, writer) = pipe_with(PipeFlags::NONBLOCK).expect("a pipe");
    fcntl_setfl(&reader, OFlags::NONBLOCK | OFlags::DIRECT).expect("the kernel takes it");
    let (mut reader, mut writer): (Reading, Writing) = (Box::new(File::from(reader)), Box::new(File::from(writer)));
    assert_eq!((write(&mut writer, 5), write(&mut writer, 5)), (Ok(5), Ok(5)));
    assert_eq!((read(&mut reader, 3), read(&mut reader, 99)), (Ok(3), Ok(7)));
}

#[test]
fn a_fifo_cannot_be_opened_with_the_packet_flag_and_ours_can() {
    let [kernel, ours] = BOTH;
    let name = kernel.new_name("packets");
    let _reader = kernel.open_reader(&name.0, 16, Opening::Nonblocking).expect("it needs nobody");
    let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::NONBLOCK | OFlags::CLOEXEC;
    assert_eq!(open(name.path(), flags, Mode::empty()).err(), Some(Errno::INVAL));
    assert_eq!(pipe_with(PipeFlags::from_bits_retain(OFlags::APPEND.bits())).err(), Some(Errno::INVAL));
    // The named difference.
    let name = ours.new_name("packets");
    let _reader = ours.open_reader(&name.0, 16, Opening::Nonblocking).expect("it needs nobody");
    let writer = Builder::new().packet_mode(true).nonblocking(true).open_writer(&name.0).expect("somebody reads");
    assert!(writer.is_packet_mode());
}

#[test]
fn a_read_without_room_does_not_wait() {
    for system in BOTH {
        let (mut reader, _writer) = system.pipe(1);
        assert_eq!(read(&mut reader, 0), Ok(0), "{}", system.whose());
    }
}

#[test]
fn after_the_end_of_file_a_writer_that_comes_makes_it_readable_again() {
    for system in BOTH {
        let whose = system.whose();
        let name = system.new_name("latch");
        let mut reader = system.open_reader(&name.0, 16, Opening::Nonblocking).expect("it needs nobody");
        for _ in 0..3 {
            let mut writer = system.open_writer(&name.0, 16, Opening::Nonblocking).expect("somebody reads");
            assert_eq!((reader.readiness(), read(&mut reader, 9)), (Readiness::empty(), Err(ErrorKind::WouldBlock)));
            assert_eq!(write(&mut writer, 3), Ok(3));
            drop(writer);
            assert_eq!(reader.readiness(), Readiness::READABLE | Readiness::HUNG_UP, "{whose}");
            let reads = [9, 9, 9].map(|room| read(&mut reader, room));
            assert_eq!(reads, [Ok(3), Ok(0), Ok(0)], "{whose}");
            assert_eq!(reader.readiness(), Readiness::HUNG_UP, "{whose}");
        }
    }
}

#[test]
fn after_the_last_reader_has_gone_one_who_comes_makes_it_writable_again() {
    for system in BOTH {
        let whose = system.whose();
        let name = system.new_name("latch-of-writer");
        let reader = system.open_reader(&name.0, 16, Opening::Nonblocking).expect("it needs nobody");
        let mut writer = system.open_writer(&name.0, 16, Opening::Nonblocking).expect("somebody reads");
        drop(reader);
        assert_eq!(write(&mut writer, 3), Err(ErrorKind::BrokenPipe), "{whose}");
        let mut reader = system.open_reader(&name.0, 16, Opening::Nonblocking).expect("it needs nobody");
        assert_eq!((write(&mut writer, 3), read(&mut reader, 9)), (Ok(3), Ok(3)), "{whose}");
    }
}

#[test]
fn sizes_are_rounded_up_to_a_power_of_two_and_both_ends_see_them() {
    for system in BOTH {
        let whose = system.whose();
        let (reader, writer) = system.pipe_of_default_size();
        assert_eq!(reader.capacity(), 65_536, "{whose}");
        let sizes = [0, 1, 4096, 4097, 12_288, 65_537].map(|bytes| kind(writer.resize(bytes)));
        assert_eq!(sizes, [4096, 4096, 4096, 8192, 16_384, 131_072].map(Ok), "{whose}");
        assert_eq!(reader.capacity(), 131_072, "{whose}");
    }
}

#[test]
fn a_size_above_2_gib_is_none_and_the_kernel_takes_32_bits_of_it_and_we_take_all() {
    use nix::fcntl::{FcntlArg, fcntl};

    let (_reader, writer) = rustix::pipe::pipe().expect("a pipe");
    // As the kernel's unsigned int.
    let resize = |bytes: u64| fcntl(&writer, FcntlArg::F_SETPIPE_SZ(bytes as i32));
    let refused = Err(nix::errno::Errno::EINVAL);
    let of_kernel = [u64::MAX, (1 << 31) + 1, (1 << 32) + 4096].map(resize);
    assert_eq!(of_kernel, [refused, refused, Ok(4096)]);
    let (_reader, writer) = ppipe::pipe().expect("a pipe");
    for bytes in [usize::MAX, (1 << 31) + 1, (1 << 32) + 4096] {
        assert_eq!(number(writer.resize(bytes)), Some(Errno::INVAL), "{bytes}");
    }
}
