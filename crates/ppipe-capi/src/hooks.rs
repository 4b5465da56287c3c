#![allow(unsafe_code)]
//! What is done as the process begins and ends, and that it is told of forks. Unsafe because the linker and the C library are told so.
//!
//! ```text
//!   .init_array   before all other constructors   forks are prepared for from now on
//!   fork          last before it, first after it  see `fork`: handlers of the program's own come later, and find everything as it is to be
//!   .fini_array   after all other destructors     exit(3), and a return from main: all handles are closed
//! ```
//!
//! So a pipe is left orderly by a program that exits, as by one that closes: nobody takes it for killed, and a name goes with its last handle.
//! `_exit`, `exec` and signals say nothing to anybody.

use std::hint::black_box;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use nix::libc;
use ppipe_rs::Process;

use crate::{fork, lent, table};

// Numbers below 101 are the system's own.
#[used]
#[unsafe(link_section = ".init_array.00101")]
static AT_START: extern "C" fn() = at_start;
#[used]
#[unsafe(link_section = ".fini_array.00101")]
static AT_EXIT: extern "C" fn() = at_exit;

/// What came of `pthread_atfork`, or one of these.
static REGISTERED: AtomicI32 = AtomicI32::new(NOT_YET);
const NOT_YET: i32 = -1;
const UNDER_WAY: i32 = -2;

/// Whose handles are in the table: a process, in parts.
static OWNER: (AtomicU32, AtomicU64) = (AtomicU32::new(0), AtomicU64::new(0));

extern "C" fn at_start() {
    // Relaxed, here and below: threads that begin later, and children, come after it anyway.
    if REGISTERED.compare_exchange(NOT_YET, UNDER_WAY, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return;
    }
    belong_to_this_process();
    ppipe_rs::prepare_for_forks();
    // SAFETY: the three functions are such as it wants.
    let code = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    REGISTERED.store(code, Ordering::Relaxed);
}

/// To be asked by whoever makes a handle. From a static library the linker takes what is used, and so takes both of the above.
///
/// # Errors
/// If the process is not told of its forks.
pub(crate) fn check() -> io::Result<()> {
    black_box((&AT_START, &AT_EXIT));
    if REGISTERED.load(Ordering::Relaxed) == NOT_YET {
        // A constructor that runs even before ours.
        at_start();
    }
    let code = REGISTERED.load(Ordering::Relaxed);
    if code > 0 { Err(io::Error::from_raw_os_error(code)) } else { Ok(()) }
}

/// The handles in the table are this process's from now on.
pub(crate) fn belong_to_this_process() {
    let (number, generation) = Process::this().into_parts();
    OWNER.0.store(number, Ordering::Relaxed);
    OWNER.1.store(generation, Ordering::Relaxed);
}

extern "C" fn before() {
    go_on_whatever_happens(fork::prepare);
}

extern "C" fn in_parent() {
    go_on_whatever_happens(fork::go_on_in_parent);
}

extern "C" fn in_child() {
    go_on_whatever_happens(fork::go_on_in_child);
}

extern "C" fn at_exit() {
    // A child that knows nothing of it, by vfork or clone, has its parent's handles, maybe in its parent's very memory.
    let owner = Process::from_parts((OWNER.0.load(Ordering::Relaxed), OWNER.1.load(Ordering::Relaxed)));
    if owner.is_this() {
        go_on_whatever_happens(lent::end_all);
        go_on_whatever_happens(table::close_all);
    }
}

/// There is nobody to tell of a panic; a program that forks or exits is not to be ended for one.
fn go_on_whatever_happens(call: fn()) {
    let _ = catch_unwind(AssertUnwindSafe(call));
}
