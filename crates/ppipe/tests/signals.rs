#![allow(unsafe_code)]
//! Signals end a call that waits as they do with a pipe of the kernel: side by side. Unsafe because handlers are installed; they do nothing.
//!
//! The kernel notices a signal at whatever moment it comes. We do where a thread sleeps, which it does nearly all of the time that it waits; so a
//! signal that is to end a call is sent until it has.

mod name;

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::thread::JoinHandleExt;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use name::Name;
use nix::sys::pthread::pthread_kill;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use ppipe::{Builder, Reader, Writer};

/// The handler is the whole process's, so one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Whoever waits is asleep after this, and after the longer one sleeps at a bell.
const ASLEEP: [Duration; 2] = [Duration::from_millis(150), Duration::from_millis(1500)];

extern "C" fn ignore(_: nix::libc::c_int) {}

/// Handles `SIGUSR1` by doing nothing, with these flags.
fn handle(flags: SaFlags) {
    let action = SigAction::new(SigHandler::Handler(ignore), flags, SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.expect("a handler");
}

fn signal<T>(thread: &JoinHandle<T>) {
    pthread_kill(thread.as_pthread_t(), Signal::SIGUSR1).expect("it has not been joined");
}

/// Sends signals until the call has ended.
fn interrupted<T>(thread: JoinHandle<T>) -> T {
    while !thread.is_finished() {
        signal(&thread);
        thread::sleep(Duration::from_millis(20));
    }
    thread.join().expect("it ends")
}

/// The two ends of a pipe of one slot.
trait Ends: Send + 'static {
    type Reader: Read + Send + 'static;
    type Writer: Write + Send + 'static;
    fn new() -> (Self::Reader, Self::Writer);
}

struct Kernel;

impl Ends for Kernel {
    type Reader = File;
    type Writer = File;

    fn new() -> (File, File) {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        rustix::pipe::fcntl_setpipe_size(&writer, 4096).expect("one page");
        (reader.into(), writer.into())
    }
}

struct Ours;

impl Ends for Ours {
    type Reader = Reader;
    type Writer = Writer;

    fn new() -> (Reader, Writer) {
        Builder::new().slots(1).pipe().expect("a pipe")
    }
}

fn kind<T>(result: io::Result<T>) -> Result<T, ErrorKind> {
    result.map_err(|error| error.kind())
}

fn a_writer_that_waits_is_interrupted<E: Ends>(asleep: Duration) {
    let (_reader, mut writer) = E::new();
    writer.write_all(&[0; 4096]).expect("room");
    let thread = thread::spawn(move || writer.write(&[1; 10]));
    thread::sleep(asleep);
    assert_eq!(kind(interrupted(thread)), Err(ErrorKind::Interrupted));
}

fn a_reader_that_waits_is_interrupted<E: Ends>(asleep: Duration) {
    let (mut reader, _writer) = E::new();
    let thread = thread::spawn(move || reader.read(&mut [0; 10]));
    thread::sleep(asleep);
    assert_eq!(kind(interrupted(thread)), Err(ErrorKind::Interrupted));
}

fn a_write_of_which_a_part_is_done_tells_how_much<E: Ends>(asleep: Duration) {
    let (_reader, mut writer) = E::new();
    let thread = thread::spawn(move || writer.write(&[1; 8192]));
    thread::sleep(asleep);
    assert_eq!(kind(interrupted(thread)), Ok(4096));
}

fn a_reader_goes_on_after_a_handler_that_wants_it<E: Ends>(asleep: Duration) {
    let (mut reader, mut writer) = E::new();
    let thread = thread::spawn(move || reader.read(&mut [0; 10]));
    thread::sleep(asleep);
    for _ in 0..5 {
        signal(&thread);
        thread::sleep(Duration::from_millis(20));
        assert!(!thread.is_finished());
    }
    writer.write_all(b"news").expect("a reader");
    assert_eq!(kind(thread.join().expect("it ends")), Ok(4));
}

fn a_writer_goes_on_after_a_handler_that_wants_it<E: Ends>(asleep: Duration) {
    let (mut reader, mut writer) = E::new();
    writer.write_all(&[0; 4096]).expect("room");
    let thread = thread::spawn(move || writer.write(&[1; 10]));
    thread::sleep(asleep);
    for _ in 0..5 {
        signal(&thread);
        thread::sleep(Duration::from_millis(20));
        assert!(!thread.is_finished());
    }
    reader.read_exact(&mut [0; 4096]).expect("bytes");
    assert_eq!(kind(thread.join().expect("it ends")), Ok(10));
}

/// Runs the laws at once, each with those who have slept for a while and those who have slept for long.
fn with_handler(flags: SaFlags, laws: &[fn(Duration)]) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    handle(flags);
    thread::scope(|scope| {
        for law in laws {
            for asleep in ASLEEP {
                scope.spawn(move || law(asleep));
            }
        }
    });
}

#[test]
fn a_call_that_waits_is_ended_by_a_handler_as_in_the_kernel() {
    with_handler(
        SaFlags::empty(),
        &[
            a_writer_that_waits_is_interrupted::<Kernel>,
            a_writer_that_waits_is_interrupted::<Ours>,
            a_reader_that_waits_is_interrupted::<Kernel>,
            a_reader_that_waits_is_interrupted::<Ours>,
            a_write_of_which_a_part_is_done_tells_how_much::<Kernel>,
            a_write_of_which_a_part_is_done_tells_how_much::<Ours>,
        ],
    );
}

#[test]
fn a_call_that_waits_goes_on_after_a_handler_with_sa_restart_as_in_the_kernel() {
    with_handler(
        SaFlags::SA_RESTART,
        &[
            a_reader_goes_on_after_a_handler_that_wants_it::<Kernel>,
            a_reader_goes_on_after_a_handler_that_wants_it::<Ours>,
            a_writer_goes_on_after_a_handler_that_wants_it::<Kernel>,
            a_writer_goes_on_after_a_handler_that_wants_it::<Ours>,
            an_open_goes_on_after_a_handler_that_wants_it,
        ],
    );
}

#[test]
fn messages_calls_with_a_time_limit_and_opens_are_ended_too() {
    with_handler(
        SaFlags::empty(),
        &[a_poll_of_nothing_is_interrupted, a_message_is_interrupted, an_open_that_waits_is_ended_and_nobody_has_come],
    );
}

#[test]
fn one_wake_that_an_interrupted_reader_got_is_passed_on() {
    with_handler(SaFlags::empty(), &[a_wake_is_passed_on]);
}

fn a_poll_of_nothing_is_interrupted(asleep: Duration) {
    let thread = thread::spawn(|| ppipe::poll(&mut [], None));
    thread::sleep(asleep);
    assert_eq!(kind(interrupted(thread)), Err(ErrorKind::Interrupted));
}

fn a_message_is_interrupted(asleep: Duration) {
    let (reader, writer) = Builder::new().slots(1).pipe().expect("a pipe");
    let thread = thread::spawn(move || reader.recv_timeout(&mut [0; 8], Duration::from_secs(60)).map(|_| ()));
    thread::sleep(asleep);
    assert_eq!(kind(interrupted(thread)), Err(ErrorKind::Interrupted));
    drop(writer);
    let (_reader, writer) = Builder::new().slots(1).pipe().expect("a pipe");
    writer.send(b"full").expect("room");
    let thread = thread::spawn(move || writer.send(b"more"));
    thread::sleep(asleep);
    assert_eq!(kind(interrupted(thread)), Err(ErrorKind::Interrupted));
}

fn an_open_that_waits_is_ended_and_nobody_has_come(asleep: Duration) {
    let name = Name::new(&format!("interrupted-{}", asleep.as_millis()));
    let opens = name.0.clone();
    let thread = thread::spawn(move || Reader::open(&opens).map(|_| ()));
    thread::sleep(asleep);
    assert_eq!(kind(interrupted(thread)), Err(ErrorKind::Interrupted));
    let late = Builder::new().nonblocking(true).open_writer(&name.0);
    assert_eq!(late.expect_err("nobody reads").raw_os_error(), Some(nix::libc::ENXIO));
    assert!(name.remains().is_empty());
}

fn an_open_goes_on_after_a_handler_that_wants_it(asleep: Duration) {
    let name = Name::new(&format!("goes-on-{}", asleep.as_millis()));
    let opens = name.0.clone();
    let thread = thread::spawn(move || Writer::open(&opens).map(|_| ()));
    thread::sleep(asleep);
    for _ in 0..5 {
        signal(&thread);
        thread::sleep(Duration::from_millis(20));
        assert!(!thread.is_finished());
    }
    let _reader = Reader::open(&name.0).expect("somebody writes");
    assert_eq!(kind(thread.join().expect("it ends")), Ok(()));
}

fn a_wake_is_passed_on(asleep: Duration) {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let (other, _idle) = (reader.try_clone().expect("a reader"), reader.try_clone().expect("a reader"));
    let first = thread::spawn(move || reader.recv(&mut [0; 8]).map(|_| ()));
    let second = thread::spawn(move || other.recv(&mut [0; 8]).map(|_| ()));
    thread::sleep(asleep);
    signal(&first);
    writer.send(b"one").expect("readers");
    // The first one has got a message, or was interrupted; in neither case is one left for which nobody is woken.
    writer.send(b"two").expect("readers");
    let by_first = first.join().expect("it ends");
    assert!(by_first.is_ok() || kind(by_first) == Err(ErrorKind::Interrupted));
    assert!(second.join().expect("it ends").is_ok());
}
