//! Short sequences whose outcome on Linux is known, on a kernel pipe and on ours, step by step; where there is no such call here, what takes its
//! place. `docs/semantics.md` says which test has which of them. (No child is started: it would have copies of descriptors for a while.)

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use ppipe::{Builder, PollEnd, Readiness};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with};
use shm_ring::rely_on_wakes;

mod both;
mod name;
mod party;

use both::{BOTH, Opening, Reading, SLOT, System, Writing};
use party::{Party, WATCHDOG};

/// A pipe both of whose ends are nonblocking.
fn nonblocking(system: &dyn System, slots: usize) -> (Reading, Writing) {
    let (reader, writer) = system.pipe(slots);
    reader.set_nonblocking(true);
    writer.set_nonblocking(true);
    (reader, writer)
}

/// The same in packet mode.
fn of_packets(system: &dyn System, slots: usize) -> (Reading, Writing) {
    let (reader, writer) = nonblocking(system, slots);
    writer.set_packet_mode(true);
    (reader, writer)
}

fn kind<T>(result: io::Result<T>) -> Result<T, ErrorKind> {
    result.map_err(|error| error.kind())
}

fn number<T>(result: io::Result<T>) -> Option<Errno> {
    result.err().and_then(|error| Errno::from_io_error(&error))
}

fn write(writer: &mut Writing, len: usize) -> Result<usize, ErrorKind> {
    kind(writer.write(&vec![7; len]))
}

fn read(reader: &mut Reading, room: usize) -> Result<usize, ErrorKind> {
    kind(reader.read(&mut vec![0; room]))
}

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

/// What `poll` says of a descriptor at this moment.
fn polled(fd: BorrowedFd<'_>, interest: PollFlags) -> PollFlags {
    let mut polled = [PollFd::from_borrowed_fd(fd, interest)];
    poll(&mut polled, Some(&Timespec::default())).expect("an answer");
    polled[0].revents()
}

/// Returns when a descriptor shows exactly this.
fn wait_until_shown(fd: BorrowedFd<'_>, interest: PollFlags, flags: PollFlags) {
    let start = std::time::Instant::now();
    while polled(fd, interest) != flags {
        assert!(start.elapsed() < WATCHDOG, "it shows {:?} for ever, and not {flags:?}", polled(fd, interest));
        thread::yield_now();
    }
}

#[test]
fn the_end_of_file_is_readable_to_select_and_hung_up_to_a_poll_for_nothing() {
    use nix::sys::select::{FdSet, select};
    use nix::sys::time::{TimeVal, TimeValLike};

    for system in BOTH {
        let (reader, writer) = nonblocking(system, 1);
        let fd = reader.poll_fd();
        assert_eq!(polled(fd, PollFlags::empty()), PollFlags::empty(), "{}", system.whose());
        drop(writer);
        wait_until_shown(fd, PollFlags::empty(), PollFlags::HUP);
        let mut sets = [(); 3].map(|()| FdSet::new());
        sets.iter_mut().for_each(|set| set.insert(fd));
        let [readable, writable, exceptional] = &mut sets;
        let count = select(None, readable, writable, exceptional, &mut TimeVal::zero()).expect("an answer");
        let are_in = sets.map(|set| set.contains(fd));
        assert_eq!((count, are_in), (1, [true, false, false]), "{}", system.whose());
    }
}

#[test]
fn one_who_has_both_ends_is_never_hung_up_nor_broken() {
    let [kernel, _] = BOTH;
    let name = kernel.new_name("both-ways");
    // At once, and also blocking.
    let end =
        File::from(open(name.path(), OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).expect("it waits for nobody"));
    rustix::pipe::fcntl_setpipe_size(&end, SLOT).expect("one page");
    let (mut reader, mut writer): (Reading, Writing) =
        (Box::new(end.try_clone().expect("a descriptor")), Box::new(end.try_clone().expect("a descriptor")));
    let of_kernel = steps_of_both_ways(&mut reader, &mut writer);
    // From Rust an end reads or writes; two together are what comes next to it. (In C there are those that do both.)
    let (mut reader, mut writer) = BOTH[1].pipe(1);
    let of_ours = steps_of_both_ways(&mut reader, &mut writer);
    assert_eq!(of_kernel, of_ours);
    assert_eq!(of_kernel, [PollFlags::OUT, PollFlags::IN, PollFlags::OUT].map(|flags| flags.bits()));
}

fn steps_of_both_ways(reader: &mut Reading, writer: &mut Writing) -> [u16; 3] {
    let readiness = |reader: &Reading, writer: &Writing| (reader.readiness() | writer.readiness()).bits();
    let before = readiness(reader, writer);
    assert_eq!(write(writer, SLOT), Ok(SLOT));
    let full = readiness(reader, writer);
    assert_eq!(read(reader, 9999), Ok(SLOT));
    [before, full, readiness(reader, writer)]
}

/// Who waits for edges of an end.
struct Edges(OwnedFd);

impl Edges {
    fn of(fd: BorrowedFd<'_>) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor");
        let wanted = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, fd, epoll::EventData::new_u64(0), wanted).expect("it can be polled");
        Self(epoll)
    }

    fn within(&self, limit: Timespec) -> Option<epoll::EventFlags> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(1);
        epoll::wait(&self.0, rustix::buffer::spare_capacity(&mut events), Some(&limit)).expect("an answer");
        events.first().map(|event| event.flags)
    }

    /// The edge that has come, if one has.
    fn now(&self) -> Option<epoll::EventFlags> {
        self.within(Timespec::default())
    }

    /// The edge that is to come.
    fn next(&self) -> epoll::EventFlags {
        self.within(Timespec { tv_sec: WATCHDOG.as_secs() as i64, tv_nsec: 0 }).expect("an edge")
    }
}

#[test]
fn there_is_an_edge_for_each_write_in_the_kernel_and_in_ours_for_what_comes_where_nothing_was() {
    use epoll::EventFlags as E;
    for system in BOTH {
        let is_kernel = system.whose() == "kernel";
        let (mut reader, mut writer) = nonblocking(system, 16);
        let edges = Edges::of(reader.poll_fd());
        assert_eq!(edges.now(), None);
        assert_eq!(write(&mut writer, 1), Ok(1));
        assert_eq!((edges.next(), edges.now()), (E::IN, None), "{}", system.whose());
        // The named difference.
        let expected = is_kernel.then_some(E::IN);
        assert_eq!(write(&mut writer, 1), Ok(1));
        assert_eq!(edges.now(), expected, "{}: where something was", system.whose());
        assert_eq!(read(&mut reader, 1), Ok(1));
        assert_eq!(edges.now(), None, "{}: a read is no edge", system.whose());
        assert_eq!(write(&mut writer, 1), Ok(1));
        assert_eq!(edges.now(), expected, "{}: where something was", system.whose());
        drop(writer);
        assert_eq!(edges.next(), E::IN | E::HUP, "{}", system.whose());
    }
}

#[test]
fn a_packet_that_is_left_is_no_edge() {
    for system in BOTH {
        let (mut reader, mut writer) = of_packets(system, 2);
        let edges = Edges::of(reader.poll_fd());
        assert_eq!((write(&mut writer, 10), write(&mut writer, 20)), (Ok(10), Ok(20)));
        assert_eq!(edges.next(), epoll::EventFlags::IN, "{}", system.whose());
        assert_eq!(read(&mut reader, 3), Ok(3));
        assert_eq!(edges.now(), None, "{}", system.whose());
        assert_eq!(read(&mut reader, 99), Ok(20), "{}", system.whose());
    }
}

#[test]
fn what_others_have_taken_is_not_shown_in_the_kernel_and_in_ours_until_the_end_has_tried() {
    for system in BOTH {
        let name = system.new_name("taken");
        let open_reader = || system.open_reader(&name.0, 16, Opening::Nonblocking).expect("it needs nobody");
        let (mut reader, mut other) = (open_reader(), open_reader());
        let mut writer = system.open_writer(&name.0, 16, Opening::Nonblocking).expect("somebody reads");
        assert_eq!(write(&mut writer, 1), Ok(1));
        wait_until_shown(reader.poll_fd(), PollFlags::IN, PollFlags::IN);
        assert_eq!(read(&mut other, 1), Ok(1));
        // The named difference: nobody has to tell it, though somebody may.
        let is_shown = polled(reader.poll_fd(), PollFlags::IN) == PollFlags::IN;
        assert!(!is_shown || system.whose() == "ours", "{}", system.whose());
        assert_eq!(read(&mut reader, 1), Err(ErrorKind::WouldBlock), "{}", system.whose());
        assert_eq!(polled(reader.poll_fd(), PollFlags::IN), PollFlags::empty(), "{}", system.whose());
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

#[test]
fn nothing_is_spliced_to_a_descriptor_that_appends_or_is_not_open_to_write_or_is_full() {
    for system in BOTH {
        let whose = system.whose();
        let (reader, mut writer) = nonblocking(system, 16);
        writer.write_all(b"stays, and some goes").expect("room");
        let splice = |to: BorrowedFd<'_>, len: usize| match reader.as_ours() {
            Some(ours) => ours.splice_to(to, len),
            None => Ok(rustix::pipe::splice(reader.poll_fd(), None, to, None, len, SpliceFlags::NONBLOCK)?),
        };
        let appends = tempfile();
        fcntl_setfl(&appends, OFlags::APPEND).expect("a flag");
        assert_eq!(number(splice(appends.as_fd(), 5)), Some(Errno::INVAL), "{whose}");
        let read_only = File::open("/dev/null").expect("a file");
        assert_eq!(number(splice(read_only.as_fd(), 5)), Some(Errno::BADF), "{whose}");
        let (near, _far) = std::os::unix::net::UnixStream::pair().expect("sockets");
        near.set_nonblocking(true).expect("a flag");
        while (&near).write(&[0; SLOT]).is_ok() {}
        assert_eq!(kind(splice(near.as_fd(), 5)), Err(ErrorKind::WouldBlock), "{whose}");
        assert_eq!(reader.unread(), 20, "{whose}: all of it has stayed");
        assert_eq!(kind(splice(tempfile().as_fd(), 5)), Ok(5), "{whose}");
        assert_eq!(reader.unread(), 15, "{whose}");
    }
}

fn tempfile() -> File {
    File::from(rustix::fs::memfd_create("a file", rustix::fs::MemfdFlags::CLOEXEC).expect("memory"))
}

#[test]
fn who_splices_sleeps_until_there_is_something_to_move_and_room() {
    rely_on_wakes();
    for system in BOTH {
        let whose = system.whose();
        let ((input, mut sender), (mut output, mut writer)) = (system.pipe(16), system.pipe(1));
        sender.set_packet_mode(true);
        assert_eq!(write(&mut writer, SLOT), Ok(SLOT));
        let party = &Party::default();
        thread::scope(|scope| {
            let splicer = scope.spawn(move || {
                party.act(|| match (input.as_ours(), writer.as_ours()) {
                    (Some(input), Some(writer)) => ppipe::splice(input, writer, 100),
                    _ => Ok(rustix::pipe::splice(
                        input.poll_fd(),
                        None,
                        writer.poll_fd(),
                        None,
                        100,
                        SpliceFlags::empty(),
                    )?),
                })
            });
            party.wait_until_blocked(|| true);
            assert_eq!(write(&mut sender, 5), Ok(5), "{whose}");
            party.wait_until_blocked(|| true);
            assert!(!splicer.is_finished(), "{whose}: there is no room");
            assert_eq!(read(&mut output, SLOT), Ok(SLOT), "{whose}");
            assert_eq!(kind(splicer.join().expect("no panic")), Ok(5), "{whose}");
            assert_eq!(read(&mut output, SLOT), Ok(5), "{whose}");
        });
    }
}

/// Which of the ends are ready, and for what.
fn poll_of(readers: &[&Reading]) -> (usize, Vec<u16>) {
    let ours: Vec<_> = readers.iter().filter_map(|reader| reader.as_ours()).collect();
    if ours.len() < readers.len() {
        let mut ends: Vec<_> =
            readers.iter().map(|end| PollFd::from_borrowed_fd(end.poll_fd(), PollFlags::IN)).collect();
        let count = poll(&mut ends, None).expect("an answer");
        return (count, ends.iter().map(|end| end.revents().bits()).collect());
    }
    let mut ends: Vec<_> = ours.iter().map(|end| PollEnd::reader(end, Readiness::READABLE)).collect();
    let count = ppipe::poll(&mut ends, None).expect("an answer");
    (count, ends.iter().map(|end| end.ready().bits()).collect())
}

#[test]
fn a_poll_of_several_tells_which_are_ready_and_for_what() {
    let of = |system: &dyn System| {
        let (quiet, _writer) = nonblocking(system, 1);
        let (written, mut writer) = nonblocking(system, 1);
        let (left, _) = nonblocking(system, 1);
        let (both, mut last) = nonblocking(system, 1);
        assert_eq!((write(&mut writer, 1), write(&mut last, 1)), (Ok(1), Ok(1)));
        drop(last);
        poll_of(&[&quiet, &written, &left, &both])
    };
    assert_eq!(of(BOTH[1]), of(BOTH[0]));
    let flags = [PollFlags::empty(), PollFlags::IN, PollFlags::HUP, PollFlags::IN | PollFlags::HUP];
    assert_eq!(of(BOTH[0]), (3, flags.map(|flags| flags.bits()).to_vec()));
}

/// `splice`, or `tee`, of one pipe to another one.
fn transfer(is_tee: bool, from: &Reading, to: &Writing, len: usize) -> io::Result<usize> {
    match (from.as_ours(), to.as_ours()) {
        (Some(from), Some(to)) if is_tee => ppipe::tee(from, to, len),
        (Some(from), Some(to)) => ppipe::splice(from, to, len),
        _ if is_tee => Ok(rustix::pipe::tee(from.poll_fd(), to.poll_fd(), len, SpliceFlags::NONBLOCK)?),
        _ => Ok(rustix::pipe::splice(from.poll_fd(), None, to.poll_fd(), None, len, SpliceFlags::NONBLOCK)?),
    }
}

#[test]
fn a_tee_copies_packets_as_packets_and_takes_nothing() {
    for system in BOTH {
        let ((mut source, mut writer), (mut copy, to)) = (of_packets(system, 16), nonblocking(system, 16));
        assert_eq!((write(&mut writer, 10), write(&mut writer, 20)), (Ok(10), Ok(20)));
        assert_eq!(kind(transfer(true, &source, &to, 100)), Ok(30), "{}", system.whose());
        for reader in [&mut copy, &mut source] {
            assert_eq!([read(reader, 100), read(reader, 100)], [Ok(10), Ok(20)], "{}", system.whose());
        }
    }
}

#[test]
fn a_file_gets_no_borders_and_gives_none() {
    for system in BOTH {
        let whose = system.whose();
        let (mut reader, mut writer) = of_packets(system, 16);
        assert_eq!((write(&mut writer, 10), write(&mut writer, 20)), (Ok(10), Ok(20)));
        let file = tempfile();
        let mut moved = 0;
        while moved < 30 {
            moved += match reader.as_ours() {
                Some(ours) => ours.splice_to(&file, 100).expect("packets"),
                None => rustix::pipe::splice(reader.poll_fd(), None, &file, None, 100, SpliceFlags::NONBLOCK)
                    .expect("packets"),
            };
        }
        assert_eq!(moved, 30, "{whose}");
        let mut start = 0;
        let spliced = match writer.as_ours() {
            Some(ours) => {
                rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).expect("a file");
                ours.splice_from(&file, 30).expect("room")
            }
            None => {
                let (flags, offset) = (SpliceFlags::NONBLOCK, Some(&mut start));
                rustix::pipe::splice(&file, offset, writer.poll_fd(), None, 30, flags).expect("room")
            }
        };
        assert_eq!((spliced, write(&mut writer, 5)), (30, Ok(5)), "{whose}");
        assert_eq!(read(&mut reader, 99), Ok(35), "{whose}: bytes of a stream, and the packet behind them");
    }
}

#[test]
fn a_whole_buffer_that_is_moved_can_be_merged_with() {
    for system in BOTH {
        let ((source, mut writer), (mut reader, mut to)) = (nonblocking(system, 16), nonblocking(system, 1));
        assert_eq!(write(&mut writer, 10), Ok(10));
        assert_eq!(kind(transfer(false, &source, &to, 10)), Ok(10), "{}", system.whose());
        assert_eq!((write(&mut to, 5), read(&mut reader, 99)), (Ok(5), Ok(15)), "{}", system.whose());
    }
}

#[test]
fn what_cannot_be_moved_stays() {
    for system in BOTH {
        let whose = system.whose();
        let ((source, mut writer), (other, to)) = (nonblocking(system, 16), nonblocking(system, 16));
        assert_eq!(number(transfer(false, &source, &writer, 5)), Some(Errno::INVAL), "{whose}: the same pipe");
        assert_eq!(kind(transfer(false, &source, &to, 0)), Ok(0), "{whose}");
        assert_eq!(kind(transfer(false, &source, &to, 5)), Err(ErrorKind::WouldBlock), "{whose}: empty");
        assert_eq!(write(&mut writer, 5), Ok(5));
        drop(other);
        assert_eq!(kind(transfer(false, &source, &to, 5)), Err(ErrorKind::BrokenPipe), "{whose}: nobody reads");
        assert_eq!(source.unread(), 5, "{whose}");
        let (_output, to) = nonblocking(system, 16);
        drop(writer);
        assert_eq!([(); 2].map(|()| kind(transfer(false, &source, &to, 5))), [Ok(5), Ok(0)], "{whose}: and its end");
    }
}
