#![allow(unsafe_code)]
//! A child that is forked and goes on without another program, on a kernel pipe and on ours. Unsafe because it is forked; it closes its copies and
//! ends. (One test, so that no other thread holds a lock at that moment.)

use std::io::{ErrorKind, Read, Write};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

mod both;
mod name;

use both::{BOTH, Reading, Writing};

/// Returns in the parent only, when the child has closed its copies of them.
fn fork_one_that_closes(reader: Reading, writer: Writing) -> (Reading, Writing) {
    // SAFETY: the child does nothing but close two ends, which takes no lock, and end.
    match unsafe { fork() }.expect("a child") {
        ForkResult::Child => {
            drop((reader, writer));
            // SAFETY: ends this process at once.
            unsafe { nix::libc::_exit(7) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 7)));
            (reader, writer)
        }
    }
}

#[test]
fn what_a_forked_child_closes_is_still_its_parents() {
    for system in BOTH {
        let whose = system.whose();
        let (reader, writer) = system.pipe(1);
        reader.set_nonblocking(true);
        let (mut reader, mut writer) = fork_one_that_closes(reader, writer);
        let mut read = || reader.read(&mut [0; 9]).map_err(|error| error.kind());
        assert_eq!(read(), Err(ErrorKind::WouldBlock), "{whose}: somebody writes");
        assert_eq!(writer.write(b"news").expect("somebody reads"), 4, "{whose}");
        assert_eq!(read(), Ok(4), "{whose}");
        drop(writer);
        assert_eq!(read(), Ok(0), "{whose}: the last one has gone, once");
    }
}
