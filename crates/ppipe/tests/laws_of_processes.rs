//! What Linux does with pipes between processes, on a kernel pipe and on ours: what several write at once stays whole, and who runs
//! another program has left.

use std::fmt::Display;
use std::io::{self, BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ppipe::Readiness;
use shm_ring::rely_on_wakes;

mod again;
mod both;
mod name;
mod party;
mod record;

use again::{ROLE, Ward, command, role};
use both::{BOTH, Opening, Reading, SLOT, System, Writing, system};
use party::Party;
use record::{HEADER, Record, account, all_of};

const WHOSE: &str = "PPIPE_TEST_WHOSE";
const NAME: &str = "PPIPE_TEST_NAME";
const SLOTS: &str = "PPIPE_TEST_SLOTS";
const ID: &str = "PPIPE_TEST_ID";
const EACH: &str = "PPIPE_TEST_EACH";
const LENGTHS: &str = "PPIPE_TEST_LENGTHS";
const OPENING: &str = "PPIPE_TEST_OPENING";
/// What a child says when it has its end.
const HERE: &str = "here";
/// How a child begins to say what it has read.
const GOT: &str = "got";

/// How long the records of a writer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lengths {
    UpToASlot,
    UpTo3005,
    All4090,
    All5000,
}

const LENGTHS_OF_RECORDS: [Lengths; 4] = [Lengths::UpToASlot, Lengths::UpTo3005, Lengths::All4090, Lengths::All5000];

impl Lengths {
    /// The record that this writer writes after `number` others.
    fn record(self, writer: u8, number: u32) -> Record {
        let most = match self {
            Self::UpToASlot => SLOT,
            Self::UpTo3005 => 3005,
            Self::All4090 => return Record { writer, number, len: 4090 },
            Self::All5000 => return Record { writer, number, len: 5000 },
        };
        let seed = u64::from(number) << 8 | u64::from(writer);
        Record { writer, number, len: fastrand::Rng::with_seed(seed).usize(HEADER..=most) }
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).expect("a variable")
}

fn number(name: &str) -> u32 {
    variable(name).parse().expect("a number")
}

#[test]
fn child_process() {
    let Some(role) = role() else { return };
    let is_told = |name, choice: &dyn std::fmt::Debug| variable(name) == format!("{choice:?}");
    let opening = || if is_told(OPENING, &Opening::Nonblocking) { Opening::Nonblocking } else { Opening::Waits };
    let reader = || system(&variable(WHOSE)).open_reader(&variable(NAME), number(SLOTS) as usize, opening());
    let writer = || system(&variable(WHOSE)).open_writer(&variable(NAME), number(SLOTS) as usize, opening());
    match role.as_str() {
        "writes" | "writes packets" => {
            rely_on_wakes();
            let writer = writer().expect("a pipe");
            writer.set_packet_mode(role == "writes packets");
            let lengths = LENGTHS_OF_RECORDS.into_iter().find(|lengths| is_told(LENGTHS, lengths)).expect("a choice");
            write_records(here(writer), lengths, opening());
        }
        "reads packets" => {
            rely_on_wakes();
            read_packets(here(reader().expect("a pipe")));
        }
        "reads, and runs another program" => run_another_program(here(reader().expect("a pipe"))),
        "writes, and runs another program" => run_another_program(here(writer().expect("a pipe"))),
        "grows" => {
            let (_reader, writer) = system(&variable(WHOSE)).pipe_of_default_size();
            for bytes in SIZES {
                say(match writer.resize(bytes) {
                    Ok(bytes) => format!("{GOT} {bytes}"),
                    Err(error) => format!("{GOT} {:?}", error.kind()),
                });
            }
        }
        "is another program" => {
            say(HERE);
            loop {
                thread::park();
            }
        }
        _ => panic!("no such part: {role}"),
    }
}

/// Who has an end says so, and goes on when all are there.
fn here<T>(end: T) -> T {
    say(HERE);
    assert_eq!(io::stdin().read(&mut [0]).expect("the gate"), 0);
    end
}

/// In a line of its own, whatever the test harness has said before.
fn say(what: impl Display) {
    println!("\n{what}");
}

fn write_records(mut writer: Writing, lengths: Lengths, opening: Opening) {
    for number in 0..number(EACH) {
        let bytes = lengths.record(self::number(ID) as u8, number).bytes();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match writer.write(rest) {
                Ok(len) => {
                    let can_be_parted = opening == Opening::Nonblocking && rest.len() > SLOT;
                    assert!(len == rest.len() || can_be_parted, "{len} of {}", rest.len());
                    rest = &rest[len..];
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock && opening == Opening::Nonblocking => {
                    thread::yield_now();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn read_packets(mut reader: Reading) {
    let (mut records, mut buffer) = (Vec::new(), [0; SLOT]);
    loop {
        match reader.read(&mut buffer).expect("a packet") {
            0 => break,
            len => records.push(Record::that_is(&buffer[..len]).expect("a whole packet")),
        }
    }
    for Record { writer, number, len } in records {
        say(format!("{GOT} {writer} {number} {len}"));
    }
}

/// This very one, in another part: what it says and hears goes on, and all else is closed by the kernel.
fn run_another_program<T>(_end: T) {
    let program = std::env::current_exe().expect("our own program");
    let error = Command::new(program).args(std::env::args_os().skip(1)).env(ROLE, "is another program").exec();
    panic!("{error}");
}

/// Children that have their ends and wait before a gate.
struct Crowd {
    children: Vec<Child>,
    gate: PipeWriter,
}

struct Child {
    ward: Ward,
    says: BufReader<PipeReader>,
}

impl Crowd {
    /// Starts them, and returns when all of them are there.
    fn gathered(commands: Vec<Command>) -> Self {
        let (gate, opener) = io::pipe().expect("a pipe of the kernel");
        let start = |mut command: Command| {
            let (says, output) = io::pipe().expect("a pipe of the kernel");
            command.stdin(gate.try_clone().expect("a descriptor")).stdout(output);
            Child { ward: Ward::start(command), says: BufReader::new(says) }
        };
        let mut children: Vec<Child> = commands.into_iter().map(start).collect();
        children.iter_mut().for_each(Child::is_here);
        Self { children, gate: opener }
    }

    /// Lets them go on.
    fn let_go(self) -> Vec<Child> {
        drop(self.gate);
        self.children
    }
}

impl Child {
    /// Returns when it says so.
    fn is_here(&mut self) {
        let is_here = (&mut self.says).lines().any(|line| line.is_ok_and(|line| line == HERE));
        assert!(is_here, "the child has ended");
    }

    /// What it says it has read, until its good end.
    fn records(mut self) -> Vec<Record> {
        let record = |line: String| {
            let numbers =
                line.strip_prefix(GOT)?.split_whitespace().map(|number| number.parse::<u32>().expect("a number"));
            let [writer, number, len] = numbers.collect::<Vec<_>>().try_into().expect("three numbers");
            Some(Record { writer: writer as u8, number, len: len as usize })
        };
        let records = (&mut self.says).lines().filter_map(|line| record(line.expect("text"))).collect();
        self.has_succeeded();
        records
    }

    fn has_succeeded(mut self) {
        assert!(self.ward.has_succeeded(), "a child has failed");
    }
}

/// A command for a child that comes to the pipe `name`.
fn comer(role: &str, system: &dyn System, name: &str, slots: usize, opening: Opening) -> Command {
    let mut command = command(role);
    command.env(WHOSE, system.whose()).env(NAME, name).env(SLOTS, slots.to_string());
    command.env(OPENING, format!("{opening:?}"));
    command
}

/// What `writers` processes write, who each write `each` records; read so many bytes at a time as `room` says.
fn written_by_many(
    system: &dyn System,
    (writers, each): (u8, u32),
    lengths: Lengths,
    opening: Opening,
    mut room: impl FnMut() -> usize,
) -> Vec<u8> {
    let name = system.new_name(&format!("{lengths:?}-{opening:?}"));
    let mut reader = system.open_reader(&name.0, 16, Opening::Nonblocking).expect("a pipe");
    let writer = system.open_writer(&name.0, 16, Opening::Nonblocking).expect("a reader");
    reader.set_nonblocking(false);
    let writes = |id: u8| {
        let mut command = comer("writes", system, &name.0, 16, opening);
        command.env(ID, id.to_string()).env(EACH, each.to_string()).env(LENGTHS, format!("{lengths:?}"));
        command
    };
    let crowd = Crowd::gathered((0..writers).map(writes).collect());
    drop(writer);
    let children = crowd.let_go();
    let (mut all, mut buffer) = (Vec::new(), vec![0; 20_000]);
    loop {
        let room = room();
        match reader.read(&mut buffer[..room]).expect("writers") {
            0 => break,
            len => all.extend_from_slice(&buffer[..len]),
        }
    }
    children.into_iter().for_each(Child::has_succeeded);
    all
}

#[test]
fn records_up_to_a_slot_stay_whole_and_in_order_among_many_processes() {
    for system in BOTH {
        let mut random = fastrand::Rng::with_seed(1);
        let room = || random.usize(1..20_000);
        let stream = written_by_many(system, (4, 5000), Lengths::UpToASlot, Opening::Waits, room);
        let records = all_of(&stream).unwrap_or_else(|fault| panic!("{}: {fault}", system.whose()));
        assert_eq!(account(&[records], 4, 5000), Ok(()), "{}", system.whose());
    }
}

#[test]
fn writes_of_4090_bytes_are_never_mixed_whether_they_wait_or_not() {
    for system in BOTH {
        for opening in [Opening::Waits, Opening::Nonblocking] {
            let stream = written_by_many(system, (5, 500), Lengths::All4090, opening, || 4090);
            let what = format!("{}, {opening:?}", system.whose());
            let records = all_of(&stream).unwrap_or_else(|fault| panic!("{what}: {fault}"));
            assert_eq!(account(&[records], 5, 500), Ok(()), "{what}");
        }
    }
}

/// How often each byte is there.
fn histogram(bytes: &[u8]) -> [usize; 256] {
    let mut counts = [0; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    counts
}

#[test]
fn writes_of_5000_bytes_can_be_mixed_and_no_byte_is_lost_whether_they_wait_or_not() {
    let records = (0..5).flat_map(|writer| (0..500).map(move |number| Lengths::All5000.record(writer, number)));
    let written = histogram(&records.flat_map(Record::bytes).collect::<Vec<_>>());
    for system in BOTH {
        for opening in [Opening::Waits, Opening::Nonblocking] {
            let stream = written_by_many(system, (5, 500), Lengths::All5000, opening, || 5000);
            assert!(histogram(&stream) == written, "{}, {opening:?}", system.whose());
        }
    }
}

/// Says so when it goes, also if something has failed.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        // Relaxed: nothing else is to be seen by it.
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Resizes the pipe of `end` without a pause while `others` act.
fn while_it_is_resized<T>(end: Reading, others: impl FnOnce() -> T) -> T {
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _done = Done(&is_done);
        scope.spawn(|| {
            let (end, mut random) = (end, fastrand::Rng::with_seed(1));
            while !is_done.load(Ordering::Relaxed) {
                if let Err(error) = end.resize(SLOT << random.u32(..9)) {
                    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
                }
                thread::yield_now();
            }
        });
        others()
    })
}

#[test]
fn each_packet_goes_whole_to_one_of_many_processes_whatever_size_the_pipe_is_given_meanwhile() {
    const EACH_OF_PACKETS: u32 = 700;
    for system in BOTH {
        let name = system.new_name("packets");
        let reader = system.open_reader(&name.0, 16, Opening::Nonblocking).expect("a pipe");
        let writer = system.open_writer(&name.0, 16, Opening::Nonblocking).expect("a reader");
        let writes = |id: u8| {
            let mut command = comer("writes packets", system, &name.0, 16, Opening::Waits);
            command.env(ID, id.to_string()).env(EACH, EACH_OF_PACKETS.to_string());
            command.env(LENGTHS, format!("{:?}", Lengths::UpTo3005));
            command
        };
        let reads = || comer("reads packets", system, &name.0, 16, Opening::Waits);
        let crowd = Crowd::gathered((0..3).map(writes).chain((0..3).map(|_| reads())).collect());
        drop(writer);
        let mut writers = crowd.let_go();
        let readers = writers.split_off(3);
        let records: Vec<_> = while_it_is_resized(reader, || readers.into_iter().map(Child::records).collect());
        writers.into_iter().for_each(Child::has_succeeded);
        let is_as_written = |record: &Record| *record == Lengths::UpTo3005.record(record.writer, record.number);
        assert!(records.iter().flatten().all(is_as_written), "{}", system.whose());
        assert_eq!(account(&records, 3, EACH_OF_PACKETS), Ok(()), "{}", system.whose());
    }
}

/// What `act` gives, which sleeps when the only process on the other side begins to run another program. That one runs it still.
fn asleep_until_it_runs_another_program<T: Send>(crowd: Crowd, act: impl FnOnce() -> T + Send) -> T {
    let party = &Party::default();
    let (result, children) = thread::scope(|scope| {
        let acting = scope.spawn(|| party.act(act));
        party.wait_until_blocked(|| true);
        let children = crowd.let_go();
        (acting.join().expect("no panic"), children)
    });
    for mut child in children {
        child.is_here();
        assert_eq!(child.ward.ended(), None);
    }
    result
}

#[test]
fn the_last_writer_that_runs_another_program_is_the_end_of_file() {
    for system in BOTH {
        let name = system.new_name("writer-execs");
        let mut reader = system.open_reader(&name.0, 1, Opening::Nonblocking).expect("a pipe");
        reader.set_nonblocking(false);
        let writes = comer("writes, and runs another program", system, &name.0, 1, Opening::Waits);
        let crowd = Crowd::gathered(vec![writes]);
        let (len, ready) = asleep_until_it_runs_another_program(crowd, move || {
            (reader.read(&mut [0]).expect("the end of file"), reader.readiness())
        });
        assert_eq!((len, ready), (0, Readiness::HUNG_UP), "{}", system.whose());
    }
}

#[test]
fn the_last_reader_that_runs_another_program_breaks_the_pipe() {
    for system in BOTH {
        let name = system.new_name("reader-execs");
        let reader = system.open_reader(&name.0, 1, Opening::Nonblocking).expect("a pipe");
        let mut writer = system.open_writer(&name.0, 1, Opening::Waits).expect("a reader");
        let reads = comer("reads, and runs another program", system, &name.0, 1, Opening::Waits);
        let crowd = Crowd::gathered(vec![reads]);
        drop(reader);
        assert_eq!(writer.write(&[0; SLOT]).expect("room"), SLOT);
        let (error, ready) = asleep_until_it_runs_another_program(crowd, move || {
            (writer.write(&[1]).expect_err("nobody reads"), writer.readiness())
        });
        assert_eq!((error.kind(), ready), (ErrorKind::BrokenPipe, Readiness::BROKEN), "{}", system.whose());
    }
}

const SIZES: [usize; 4] = [2 << 20, (1 << 20) + 1, 1 << 20, 4096];

#[test]
fn an_ordinary_user_cannot_make_a_pipe_larger_than_1_mib() {
    let limit = std::fs::read_to_string("/proc/sys/fs/pipe-max-size").expect("a limit");
    if limit.trim() != "1048576" {
        eprintln!("skipped: the limit of this machine is {}", limit.trim());
        return;
    }
    for system in BOTH {
        let (says, output) = io::pipe().expect("a pipe of the kernel");
        let mut command = command("grows");
        command.env(WHOSE, system.whose()).stdout(output);
        if rustix::process::geteuid().is_root() {
            command.uid(65_534);
        }
        let mut ward = match Ward::try_to_start(&mut command) {
            Ok(ward) => ward,
            Err(error) => return eprintln!("skipped: that user cannot start the test program: {error}"),
        };
        drop(command);
        let lines = BufReader::new(says).lines().map(|line| line.expect("text"));
        let said: Vec<_> = lines.filter_map(|line| Some(line.strip_prefix(GOT)?.trim().to_owned())).collect();
        assert_eq!(said, ["PermissionDenied", "PermissionDenied", "1048576", "4096"], "{}", system.whose());
        assert!(ward.has_succeeded());
    }
}

#[test]
fn records_that_are_torn_lost_doubled_or_out_of_order_are_seen() {
    let records: Vec<_> = (0..3).map(|number| Lengths::UpToASlot.record(1, number)).collect();
    let bytes: Vec<_> = records.iter().map(|record| record.bytes()).collect();
    assert_eq!(all_of(&bytes.concat()), Ok(records.clone()));
    let mut torn = bytes.concat();
    torn[bytes[0].len() + HEADER + 3] ^= 1;
    assert!(all_of(&torn).is_err(), "one byte is another one's");
    let [first, second, _] = &bytes[..] else { panic!("three") };
    let mixed = [&first[..HEADER + 1], second, &first[HEADER + 1..]].concat();
    assert!(all_of(&mixed).is_err(), "one in the midst of another one");
    assert!(all_of(&bytes.concat()[..bytes.concat().len() - 1]).is_err(), "the last byte is lost");
    assert!(all_of(&bytes.concat()[1..]).is_err(), "the first byte is lost");
    let account = |numbers: &[&[usize]]| {
        let readers: Vec<Vec<Record>> = numbers
            .iter()
            .map(|numbers| numbers.iter().map(|&number| Record { writer: 0, ..records[number] }).collect())
            .collect();
        account(&readers, 1, 3)
    };
    assert_eq!(account(&[&[0, 2], &[1]]), Ok(()));
    for wrong in [&[&[0, 2][..], &[][..]][..], &[&[0, 1, 2], &[2]], &[&[1, 0], &[2]]] {
        assert!(account(wrong).is_err(), "{wrong:?}");
    }
}
