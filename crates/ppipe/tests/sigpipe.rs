#![allow(unsafe_code)]
//! The signal of a broken pipe, which comes where it is asked for, and where the kernel sends it. Unsafe because a handler is installed; it counts.
//!
//! The same on a pipe of the kernel is in `ppipe-capi/c/same.c`.

use std::io::{ErrorKind, IoSlice, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use ppipe::{Builder, Writer};

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: nix::libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// What a call gives that waits for room when the last reader goes, and how many signals it sends.
fn broken_off<T: Send + 'static>(is_on: bool, call: impl FnOnce(&Writer) -> T + Send + 'static) -> (T, usize) {
    let before = SIGNALS.load(Ordering::Relaxed);
    let (reader, writer) = Builder::new().slots(1).pipe().expect("a pipe");
    writer.set_sigpipe(is_on);
    let thread = thread::spawn(move || call(&writer));
    while reader.unread().expect("a number") < 4096 {
        thread::sleep(Duration::from_millis(1));
    }
    drop(reader);
    (thread.join().expect("it ends"), SIGNALS.load(Ordering::Relaxed) - before)
}

#[test]
fn what_finds_the_pipe_broken_sends_a_signal_if_asked_for_also_where_it_has_done_a_part() {
    let action = SigAction::new(SigHandler::Handler(count), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing that it must not do.
    unsafe { sigaction(Signal::SIGPIPE, &action) }.expect("a handler");
    for is_on in [true, false] {
        let expected = usize::from(is_on);
        let (written, signals) = broken_off(is_on, |mut writer| writer.write(&[1; 8192]).expect("a part"));
        assert_eq!((written, signals), (4096, expected));
        let parts = || [IoSlice::new(&[1; 5000]), IoSlice::new(&[2; 3192])];
        let (written, signals) = broken_off(is_on, move |mut writer| writer.write_vectored(&parts()).expect("a part"));
        assert_eq!((written, signals), (4096, expected));
        let hour = Duration::from_secs(3600);
        let (written, signals) =
            broken_off(is_on, move |writer| writer.write_timeout(&[1; 8192], hour).expect("a part"));
        assert_eq!((written, signals), (4096, expected));
        let packets = [vec![1; 4096], vec![2; 10]];
        let (sent, signals) = broken_off(is_on, move |writer| writer.send_batch(&packets).expect("a part"));
        assert_eq!((sent, signals), (1, expected));
        let (error, signals) = broken_off(is_on, |writer| {
            writer.send(&[1; 4096]).expect("room");
            writer.send(b"more").expect_err("nobody reads").kind()
        });
        assert_eq!((error, signals), (ErrorKind::BrokenPipe, expected));
    }
}
