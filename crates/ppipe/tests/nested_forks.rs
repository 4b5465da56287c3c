#![allow(unsafe_code)]
//! A parent that is process 1 of its PID namespace, and a forked child that is process 1 of another one: numbers do not tell them apart. Unsafe because
//! they are forked. (One test, so that no other thread holds a lock at that moment.)

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

/// What the first process of a namespace says when there can be no namespaces.
const NO_NAMESPACES: i32 = 77;

/// The exit code of a child that runs `part`.
fn in_child(part: impl FnOnce() -> i32) -> i32 {
    // SAFETY: there is one thread but for those of ours, and the child ends without coming back.
    match unsafe { fork() }.expect("a child") {
        ForkResult::Child => {
            // The thread of a test that panics here would be the last one, and a process that ends so has ended well.
            let code = catch_unwind(AssertUnwindSafe(part)).unwrap_or(101);
            // SAFETY: ends this process at once.
            unsafe { nix::libc::_exit(code) }
        }
        ForkResult::Parent { child } => match waitpid(child, None).expect("it is ours") {
            WaitStatus::Exited(_, code) => code,
            status => panic!("{status:?}"),
        },
    }
}

/// Its child drops a copy of its reader, and the reader is still there.
fn first_of_a_namespace() -> i32 {
    assert_eq!(std::process::id(), 1);
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let mut reader = Some(reader);
    unshare(CloneFlags::CLONE_NEWPID).expect("another one within");
    let code = in_child(|| {
        assert_eq!(std::process::id(), 1, "in a namespace of its own");
        // A copy: the memory in which it is taken away is the child's.
        drop(reader.take());
        0
    });
    assert_eq!(code, 0);
    assert!(reader.is_some());
    match writer.try_send(b"news") {
        Ok(()) => 0,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => 1,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_child_that_has_the_number_of_its_parent_leaves_its_parents_ends_alone() {
    let code = in_child(|| {
        // As root of a namespace of its own anybody may make others.
        if unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID).is_err() {
            return NO_NAMESPACES;
        }
        in_child(first_of_a_namespace)
    });
    if code == NO_NAMESPACES {
        eprintln!("skipped: there can be no namespaces here");
        return;
    }
    assert_eq!(code, 0, "its reader is gone");
}
