#![allow(unsafe_code)]
//! Where memory is short: a `/dev/shm` that is full, and limits of a process. Making, opening, growing and sending are errors then, nothing is left half
//! made, and what was there before goes on. Unsafe because handlers of signals are installed.
//!
//! A child has a `/dev/shm` of its own, of a few MiB, in which a file, the *ballast*, leaves as much room as is wanted. Where the system lets nobody have one
//! the test says so.

mod again;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use again::{Complaints, Ward, command, role};
use nix::sys::signal::{SaFlags, SigAction, SigEvent, SigHandler, SigSet, SigevNotify, Signal as Handled, sigaction};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use ppipe::{Builder, Reader, Writer};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::process::{Resource, Rlimit, Signal, geteuid, getrlimit, setrlimit};

const PAGE: u64 = 4096;
/// Pages of the child's `/dev/shm`: more than a pipe of [`small`] ever needs.
const PAGES: u64 = 512;
const BALLAST: &str = "/dev/shm/ballast";
const NAME: &str = "full";
/// Nothing here takes so long; what takes longer has failed.
const WATCHDOG: Duration = Duration::from_secs(120);
const SEED: &str = "PPIPE_SEED";
const SIGNALS: &str = "PPIPE_SIGNALS";
const FEW_SIGNALS: u32 = 2000;

/// A pipe of 64 KiB that can become one of 256 KiB, for few.
fn small() -> Builder {
    Builder::new().nonblocking(true).max_readers(2).max_writers(2).max_capacity(1 << 18)
}

#[test]
fn child_process() {
    let Some(role) = role() else { return };
    match role.as_str() {
        "every room" => in_every_room(),
        "signals" => under_signals(),
        "size of files" => with_small_files(),
        "address space" => with_little_address_space(),
        "descriptors" => with_few_descriptors(),
        "ticks" => while_a_timer_ticks(),
        other => panic!("what is {other}?"),
    }
}

/// What came of each kind of step: how often it was done, and how often there was no room.
#[derive(Debug, Default)]
struct Outcomes(BTreeMap<&'static str, [u32; 2]>);

impl Outcomes {
    /// The value, if there was room for it.
    fn of<T>(&mut self, step: &'static str, result: io::Result<T>) -> Option<T> {
        let counts = self.0.entry(step).or_default();
        match result {
            Ok(value) => {
                counts[0] += 1;
                Some(value)
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{step}: {error}");
                counts[1] += 1;
                None
            }
        }
    }
}

/// The file that leaves so much room.
struct Ballast(File);

impl Ballast {
    fn new() -> Self {
        Self(File::create(BALLAST).expect("an own /dev/shm"))
    }

    /// Leaves so many pages. How many there are then.
    fn leave(&self, pages: u64) {
        self.0.set_len(0).expect("an empty file");
        let len = (free_pages() - pages) * PAGE;
        if len > 0 {
            fallocate(&self.0, FallocateFlags::empty(), 0, len).expect("there is so much");
        }
        assert_eq!(free_pages(), pages, "nobody else is here");
    }
}

fn free_pages() -> u64 {
    statvfs("/dev/shm").expect("an own /dev/shm").f_bfree
}

/// What is there but the ballast.
fn remains() -> Vec<String> {
    let entries = fs::read_dir("/dev/shm").expect("an own /dev/shm").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|name| name != "ballast").collect()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc").count()
}

/// Makes, opens, fills, grows and empties a pipe, as far as there is room.
fn go_through(outcomes: &mut Outcomes) {
    let Some(mut reader) = outcomes.of("make", small().open_reader(NAME)) else { return };
    let Some(mut writer) = outcomes.of("open", small().open_writer(NAME)) else { return };
    fill_and_empty(&mut writer, &mut reader);
    if outcomes.of("grow", writer.resize(1 << 18)).is_some() {
        assert_eq!(writer.capacity(), 1 << 18);
    }
    fill_and_empty(&mut writer, &mut reader);
    let large = vec![7; writer.capacity()];
    if outcomes.of("large", writer.try_send(&large)).is_some() {
        let mut buffer = vec![0; large.len()];
        assert_eq!(reader.try_recv(&mut buffer).expect("a packet").len, large.len());
        assert!(buffer == large);
    }
    let other = outcomes.of("another", reader.try_clone());
    fill_and_empty(&mut writer, &mut reader);
    drop(other);
}

/// Every slot is used, with all of its page.
fn fill_and_empty(writer: &mut Writer, reader: &mut Reader) {
    let all = vec![9; writer.capacity()];
    assert_eq!(writer.write(&all).expect("room in the pipe"), all.len());
    let mut read = vec![0; all.len()];
    reader.read_exact(&mut read).expect("all of it");
    assert!(read == all);
}

/// With each number of pages free from none to more than enough.
fn in_every_room() {
    let ballast = Ballast::new();
    let mut outcomes = Outcomes::default();
    let mut used = None;
    // The first pipe of a process leaves things for the others.
    go_through(&mut outcomes);
    for pages in 0..200 {
        ballast.leave(pages);
        go_through(&mut outcomes);
        assert_eq!((remains(), free_pages()), (Vec::new(), pages), "something is left");
        assert_eq!(descriptors(), *used.get_or_insert_with(descriptors), "a descriptor is left");
    }
    for (step, counts) in &outcomes.0 {
        assert!(counts.iter().all(|&count| count > 0), "{step}: both have to be seen, {counts:?}");
    }
    assert_eq!(outcomes.0.len(), 5);
    let text = {
        ballast.leave(3);
        small().open_reader(NAME).expect_err("no room").to_string()
    };
    assert!(text.contains("\"full\"") && text.contains("/dev/shm is full") && text.contains("ppipe doctor"), "{text}");
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: nix::libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

fn handle(signal: Handled, flags: SaFlags) {
    let action = SigAction::new(SigHandler::Handler(count), flags, SigSet::empty());
    // SAFETY: the handler only counts.
    unsafe { sigaction(signal, &action) }.expect("a handler");
}

fn handled() -> u32 {
    HANDLED.load(Ordering::Relaxed)
}

/// The same with any room, until so many signals have come.
fn under_signals() {
    let wanted = number_of(SIGNALS).expect("how many") as u32;
    let mut random = fastrand::Rng::with_seed(number_of(SEED).expect("a seed"));
    let ballast = Ballast::new();
    let mut outcomes = Outcomes::default();
    go_through(&mut outcomes);
    handle(Handled::SIGUSR1, SaFlags::empty());
    println!("ready");
    let (before, mut rounds) = (descriptors(), 0);
    while handled() < wanted {
        handle(Handled::SIGUSR1, if random.bool() { SaFlags::SA_RESTART } else { SaFlags::empty() });
        let pages = random.u64(0..200);
        ballast.leave(pages);
        go_through(&mut outcomes);
        assert_eq!((remains(), free_pages()), (Vec::new(), pages), "something is left");
        assert_eq!(descriptors(), before, "a descriptor is left");
        rounds += 1;
    }
    eprintln!("full_disk: {} signals in {rounds} rounds: {:?}", handled(), outcomes.0);
}

fn number_of(variable: &str) -> Option<u64> {
    Some(std::env::var(variable).ok()?.parse().expect("a number"))
}

fn limit(resource: Resource, most: u64) {
    setrlimit(resource, Rlimit { current: Some(most), ..getrlimit(resource) }).expect("a lower limit");
}

/// Whatever may come of it, it is an error, and nothing is left. Whether there was one.
fn is_refused(name: &str, kinds: &[ErrorKind]) -> bool {
    let before = descriptors();
    let both = || -> io::Result<()> {
        let reader = small().open_reader(name)?;
        let writer = small().open_writer(name)?;
        writer.try_send(b"named")?;
        assert_eq!(reader.try_recv(&mut [0; 8])?.len, 5);
        let (reader, writer) = small().pipe()?;
        writer.try_send(b"unnamed")?;
        assert_eq!(reader.try_recv(&mut [0; 8])?.len, 7);
        Ok(())
    };
    let result = both();
    if let Err(error) = &result {
        assert!(kinds.contains(&error.kind()), "{:?}: {error}", error.kind());
    }
    let left = fs::read_dir("/dev/shm").expect("shared memory").flatten();
    assert_eq!(left.filter(|entry| entry.file_name().to_string_lossy().contains(name)).count(), 0);
    assert_eq!(descriptors(), before, "a descriptor is left");
    result.is_err()
}

fn own_name() -> String {
    format!("test-{}-full-disk", std::process::id())
}

/// A file above the limit is SIGXFSZ for who does not ask before, and the end of the process.
fn with_small_files() {
    let name = own_name();
    assert!(!is_refused(&name, &[]));
    limit(Resource::Fsize, 1 << 16);
    assert!(is_refused(&name, &[ErrorKind::FileTooLarge]));
    let error = small().pipe().expect_err("too large a file");
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    assert!(error.to_string().contains("RLIMIT_FSIZE"), "{error}");
}

fn with_little_address_space() {
    let name = own_name();
    assert!(!is_refused(&name, &[]));
    let status = fs::read_to_string("/proc/self/statm").expect("/proc");
    let now = status.split(' ').next().and_then(|pages| pages.parse::<u64>().ok()).expect("pages") * PAGE;
    limit(Resource::As, now + (1 << 17));
    assert!(is_refused(&name, &[ErrorKind::OutOfMemory]));
}

/// With each number of descriptors from none to enough.
fn with_few_descriptors() {
    let name = own_name();
    assert!(!is_refused(&name, &[]));
    let all = getrlimit(Resource::Nofile);
    let next = File::open("/dev/null").map(|file| std::os::fd::AsRawFd::as_raw_fd(&file) as u64).expect("a descriptor");
    let mut refused = 0;
    for free in 0..30 {
        // What looks for leavings needs one itself.
        let (names, before) = (fs::read_dir("/dev/shm").expect("shared memory"), descriptors());
        limit(Resource::Nofile, next + 1 + free);
        let both = || -> io::Result<()> {
            let reader = small().open_reader(&name)?;
            small().open_writer(&name)?.try_send(b"named")?;
            reader.try_recv(&mut [0; 8])?;
            small().pipe().map(drop)
        };
        let result = both();
        setrlimit(Resource::Nofile, all).expect("the limit that was");
        if let Err(error) = &result {
            assert!(
                matches!(error.raw_os_error(), Some(nix::libc::EMFILE)) || error.to_string().contains("os error 24"),
                "{error}"
            );
            refused += 1;
        }
        let left = names.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let left: Vec<_> = left.filter(|left| left.contains(&name)).collect();
        assert_eq!(left, [""; 0], "with {free} descriptors, {result:?}");
        assert_eq!(descriptors(), before - 1, "with {free} descriptors, {result:?}");
    }
    assert!(refused > 3 && refused < 30, "{refused} refused: both have to be seen");
}

/// A timer that ticks faster than the kernel gets memory for a pipe: what it has got is lost with every tick.
fn while_a_timer_ticks() {
    handle(Handled::SIGUSR1, SaFlags::SA_RESTART);
    let at_tick = SigEvent::new(SigevNotify::SigevSignal { signal: Handled::SIGUSR1, si_value: 0 });
    let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, at_tick).expect("a timer");
    let tick = Expiration::Interval(TimeSpec::from_duration(Duration::from_micros(100)));
    timer.set(tick, TimerSetTimeFlags::empty()).expect("a timer");
    // 16,000 pages, which take longer than that.
    let large = Builder::new().slots(1 << 8).slot_size(1 << 18).max_readers(2).max_writers(2);
    let (mut reader, mut writer) = large.pipe().expect("memory");
    writer.write_all(b"hello").expect("room");
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("all of it");
    assert_eq!(text, "hello");
    assert!(handled() > 10, "it has not ticked");
}

/// The child in a `/dev/shm` of its own, if the system lets it have one.
fn in_own_memory(role: &str) -> Option<Command> {
    let options: &[&str] = if geteuid().is_root() { &["-m"] } else { &["-U", "-r", "-m"] };
    let script = format!("mount -t tmpfs -o size={},mode=700 none /dev/shm && exec \"$@\"", PAGES * PAGE);
    let wrapped = |program: &[OsString]| {
        let mut command = Command::new("unshare");
        command.args(options).args(["sh", "-c", &script, "sh"]).args(program);
        command
    };
    if !wrapped(&["true".into()]).output().is_ok_and(|output| output.status.success()) {
        println!("skipped: this system lets nobody have a /dev/shm of its own");
        return None;
    }
    let inner = command(role);
    let program: Vec<_> = std::iter::once(inner.get_program()).chain(inner.get_args()).map(Into::into).collect();
    let mut command = wrapped(&program);
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    Some(command)
}

fn succeeds(mut command: Command) {
    let complaints = Complaints::new();
    command.stderr(complaints.place());
    let (mut child, begin) = (Ward::start(command), Instant::now());
    let is_well = loop {
        match child.ended() {
            Some(is_well) => break is_well,
            None => assert!(begin.elapsed() < WATCHDOG, "still at it"),
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    assert!(is_well, "the child has failed, or been ended by a signal: {}", complaints.text());
}

/// Sends it signals until it ends. Whether that was a good end, and how many.
fn pelt(child: &mut Ward) -> (bool, u32) {
    let (begin, mut sent) = (Instant::now(), 0);
    loop {
        if let Some(is_well) = child.ended() {
            return (is_well, sent);
        }
        assert!(begin.elapsed() < WATCHDOG, "still at it after {sent} signals");
        child.signal(Signal::USR1);
        sent += 1;
    }
}

/// Starts it, and returns when it handles signals, with what it says after that.
fn started_and_ready(mut command: Command) -> (Ward, io::PipeReader) {
    let (mut ready, stdout) = io::pipe().expect("a pipe");
    command.stdout(stdout);
    let child = Ward::start(command);
    let mut text = Vec::new();
    while !text.ends_with(b"ready\n") {
        let mut byte = [0];
        ready.read_exact(&mut byte).expect("it gets there");
        text.extend(byte);
    }
    (child, ready)
}

#[test]
fn a_full_dev_shm_is_an_error_and_nothing_is_left_half_made() {
    if let Some(command) = in_own_memory("every room") {
        succeeds(command);
    }
}

#[test]
fn signals_leave_nothing_half_made_where_memory_is_short() {
    let Some(mut command) = in_own_memory("signals") else { return };
    let seed = number_of(SEED).unwrap_or_else(|| fastrand::u64(..));
    let signals = number_of(SIGNALS).unwrap_or(FEW_SIGNALS.into());
    let complaints = Complaints::new();
    command.env(SEED, seed.to_string()).env(SIGNALS, signals.to_string()).stderr(complaints.place());
    let (mut child, _says) = started_and_ready(command);
    let (is_well, sent) = pelt(&mut child);
    assert!(is_well, "PPIPE_SEED={seed}: {}", complaints.text());
    println!("PPIPE_SEED={seed}: {sent} sent, {}", complaints.text());
}

#[test]
fn a_timer_that_ticks_does_not_keep_a_large_pipe_from_being_made() {
    succeeds(command("ticks"));
}

#[test]
fn a_limit_of_the_size_of_files_is_an_error_and_no_signal() {
    succeeds(command("size of files"));
}

#[test]
fn too_little_address_space_is_an_error_and_nothing_is_left() {
    succeeds(command("address space"));
}

#[test]
fn too_few_descriptors_are_an_error_and_nothing_is_left() {
    succeeds(command("descriptors"));
}
