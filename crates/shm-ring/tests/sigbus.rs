#![allow(unsafe_code)]
//! Whose SIGBUS is whose. Unsafe because a test brings about signals, and handles them.
//!
//! Each case is a child process: this program again, told by a variable what to do. How it ends tells what became of the signal.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::process::{Resource, Rlimit, set_parent_process_death_signal, setrlimit};
use shm_ring::lost::Lost;
use shm_ring::sigbus::leave_alone;
use shm_ring::{Geometry, ReaderEnd, Segment, WriterEnd};

const CASE: &str = "PPIPE_SIGBUS_CASE";
/// What a child says that has come to its end.
const LIVES: i32 = 40;
/// What a child says whose own handler was called.
const HANDLED: i32 = 41;

fn run(case: &str) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().expect("our own program"));
    command.args(["child_process", "--exact", "--nocapture", "--test-threads=1"]).env(CASE, case);
    command.stdout(Stdio::null());
    command.status().expect("a child")
}

#[test]
fn child_process() {
    let Ok(case) = std::env::var(CASE) else { return };
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).expect("a signal");
    // What it ends by is told by how it ends.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).expect("no core");
    play(&case);
    std::process::exit(LIVES);
}

/// A pipe whose file is shortened under it, and what a look at it finds.
fn lose_a_pipe() -> Result<(), Lost> {
    let (segment, _writer, mut reader) = named();
    ftruncate(segment.file(), 0).expect("nobody has sealed it");
    let _ = reader.front();
    segment.check_memory()
}

/// A pipe in a file that can be shortened.
fn named() -> (Arc<Segment>, WriterEnd, ReaderEnd) {
    let file = File::from(memfd_create("segment", MemfdFlags::CLOEXEC).expect("memory"));
    let segment = Arc::new(Segment::in_file(file, Geometry::default()).expect("a segment"));
    let writer = WriterEnd::join(Arc::clone(&segment)).expect("an entry");
    let reader = ReaderEnd::join(Arc::clone(&segment)).expect("an entry");
    (segment, writer, reader)
}

/// An access that no memory is there for, in a mapping that has nothing to do with pipes.
fn fault_elsewhere() {
    fault_at(0, MapFlags::empty());
}

/// Where the largest mapping of a segment starts.
fn place_of_a_pipe() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("it is there");
    let range = |line: &str| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
    };
    let ranges = maps.lines().filter(|line| line.contains("/memfd:segment")).filter_map(range);
    ranges.max_by_key(|(start, end)| end - start).expect("a pipe").0
}

fn fault_at(place: usize, how: MapFlags) {
    let file = memfd_create("foreign", MemfdFlags::CLOEXEC).expect("memory");
    let place = std::ptr::without_provenance_mut(place);
    // SAFETY: a new mapping, where there is room.
    let start = unsafe { mmap(place, 4096, ProtFlags::READ, MapFlags::SHARED | how, &file, 0) };
    let start: *const u8 = start.expect("a mapping").cast_const().cast();
    // SAFETY: mapped, and nobody writes to it; the signal is what this is for.
    unsafe { start.read_volatile() };
}

fn set(handler: SigHandler) {
    let flags = if matches!(handler, SigHandler::SigAction(_)) { SaFlags::SA_SIGINFO } else { SaFlags::empty() };
    // SAFETY: the handlers of this file do nothing but end the process.
    unsafe { sigaction(Signal::SIGBUS, &SigAction::new(handler, flags, SigSet::empty())) }.expect("an action");
}

extern "C" fn plain(_: libc::c_int) {
    // SAFETY: it ends the process, and nothing else.
    unsafe { libc::_exit(HANDLED) };
}

extern "C" fn told(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel has told what happened.
    let is_told = unsafe { (*info).si_code } == libc::BUS_ADRERR;
    // SAFETY: it ends the process, and nothing else.
    unsafe { libc::_exit(if is_told { HANDLED } else { 1 }) };
}

fn play(case: &str) {
    let [before, event] = case.split(", ").collect::<Vec<_>>()[..] else { panic!("{case:?}") };
    match before {
        "default" => set(SigHandler::SigDfl),
        "ignored" => set(SigHandler::SigIgn),
        "plain" => set(SigHandler::Handler(plain)),
        "told" => set(SigHandler::SigAction(told)),
        "left alone" => {
            set(SigHandler::SigDfl);
            assert!(leave_alone());
        }
        "later" => {
            let _pipe = named();
            set(SigHandler::Handler(plain));
        }
        "too late" => {
            let _pipe = named();
            assert!(!leave_alone());
        }
        _ => panic!("{before:?}"),
    }
    let (_segment, mut writer, _reader) = named();
    match event {
        "of a pipe" => {
            let lost = lose_a_pipe().expect_err("its memory is gone");
            assert_eq!((lost.found, lost.backed), (0, 0), "{lost}");
            // Of another one nothing is.
            writer.fill(0, b"here");
            writer.publish(shm_ring::writer_end::Kind::Packet, 4).expect("room");
        }
        "elsewhere" => fault_elsewhere(),
        "sent" => raise(Signal::SIGBUS).expect("a signal"),
        "where a pipe was" => {
            lose_a_pipe().expect_err("its memory is gone");
            let place = place_of_a_pipe();
            drop((_segment, writer, _reader));
            fault_at(place, MapFlags::FIXED_NOREPLACE);
        }
        _ => panic!("{event:?}"),
    }
}

#[test]
fn a_pipes_own_signal_is_an_error_and_every_other_one_goes_where_it_would_have_gone() {
    let (lives, handled, dies) = (Ok(LIVES), Ok(HANDLED), Err(libc::SIGBUS));
    let cases = [
        ("default, of a pipe", lives),
        ("ignored, of a pipe", lives),
        ("plain, of a pipe", lives),
        ("told, of a pipe", lives),
        ("too late, of a pipe", lives),
        ("default, elsewhere", dies),
        ("ignored, elsewhere", dies),
        ("plain, elsewhere", handled),
        ("told, elsewhere", handled),
        ("default, where a pipe was", dies),
        ("told, where a pipe was", handled),
        ("default, sent", dies),
        ("ignored, sent", lives),
        ("plain, sent", handled),
        // Whoever comes later has it all, and is left where he is.
        ("later, elsewhere", handled),
        ("later, of a pipe", handled),
        // And so it is without a guard.
        ("left alone, of a pipe", dies),
        ("left alone, elsewhere", dies),
    ];
    for (case, expected) in cases {
        let status = run(case);
        let ended = status.code().ok_or(status.signal().unwrap_or(0));
        assert_eq!(ended, expected, "{case}: {status}");
    }
}

#[test]
fn what_has_been_shortened_before_it_is_attached_is_an_error() {
    let (segment, ..) = named();
    let file = File::from(segment.file().try_clone_to_owned().expect("a descriptor"));
    ftruncate(segment.file(), 0).expect("nobody has sealed it");
    let error = Segment::attach(file, shm_ring::segment::Size::Trusted).expect_err("nothing is there");
    assert!(error.to_string().contains("size of the file is 0"), "{error}");
    let error: io::Error = lose_a_pipe().expect_err("its memory is gone").into();
    assert!(error.kind() == io::ErrorKind::InvalidData && error.to_string().contains("none at byte"), "{error}");
}

#[test]
fn what_is_shortened_while_it_is_attached_is_an_error() {
    let (segment, ..) = named();
    let (len, is_over) = (segment.layout().size, AtomicBool::new(false));
    ftruncate(segment.file(), 0).expect("nobody has sealed it");
    let attached = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                ftruncate(segment.file(), 0).expect("nobody has sealed it");
                ftruncate(segment.file(), len).expect("nobody has sealed it");
            }
        });
        let attach = || {
            let file = File::from(segment.file().try_clone_to_owned().expect("a descriptor"));
            Segment::attach(file, shm_ring::segment::Size::Trusted).is_ok()
        };
        let attached = (0..2000).filter(|_| attach()).count();
        is_over.store(true, Ordering::Relaxed);
        attached
    });
    assert_eq!(attached, 0, "there is nothing in it");
}

#[test]
fn threads_that_lose_a_pipe_at_once_all_go_on() {
    const THREADS: usize = 8;
    for _ in 0..20 {
        let (segment, writer, reader) = named();
        let gone = std::sync::Barrier::new(THREADS + 1);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    gone.wait();
                    let mut bytes = [0; 64];
                    for page in 0..segment.layout().pages {
                        segment.pages().write(page, 0, b"nowhere");
                        segment.pages().read(page, 0, &mut bytes);
                    }
                    segment.check_memory().expect_err("its memory is gone");
                });
            }
            ftruncate(segment.file(), 0).expect("nobody has sealed it");
            gone.wait();
        });
        drop((writer, reader));
    }
}
