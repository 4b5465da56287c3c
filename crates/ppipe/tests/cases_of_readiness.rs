//! Short sequences about what `poll`, `select` and `epoll` tell, on a kernel pipe and on ours; see `cases.rs`.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread;
use std::time::Instant;

use ppipe::{PollEnd, Readiness};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fs::{Mode, OFlags, open};

mod both;
mod name;
mod party;

use both::steps::{nonblocking, of_packets, read, write};
use both::{BOTH, Opening, Reading, SLOT, System, Writing};
use party::WATCHDOG;

/// What `poll` says of a descriptor at this moment.
fn polled(fd: BorrowedFd<'_>, interest: PollFlags) -> PollFlags {
    let mut polled = [PollFd::from_borrowed_fd(fd, interest)];
    poll(&mut polled, Some(&Timespec::default())).expect("an answer");
    polled[0].revents()
}

/// Returns when a descriptor shows exactly this.
fn wait_until_shown(fd: BorrowedFd<'_>, interest: PollFlags, flags: PollFlags) {
    let start = Instant::now();
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
