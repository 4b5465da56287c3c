//! What a fork does to descriptors, told by a process that plays its own child: it closes what its parent had, and goes on.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::{TryRecvError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::fs::fstat;
use shm_ring::forking::{Fork, NoFork, prepare};
use shm_ring::own_descriptor::OwnFd;

/// What is tested is one for the process.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    prepare();
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open() -> OwnFd {
    OwnedFd::from(File::open("/dev/null").expect("it is always there")).into()
}

/// Whether the number means a device, such as that one.
fn is_open(number: i32) -> bool {
    std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|path| path.as_os_str() == "/dev/null")
}

#[test]
fn a_child_closes_what_is_its_parents_and_keeps_what_was_opened_for_it() {
    let _one = one_at_a_time();
    let (of_parent, given_away) = (open(), OwnedFd::from(open()));
    let fork = Fork::begin().expect("nobody forks here");
    let of_child = open();
    fork.close_the_parents();
    assert!(!is_open(of_parent.as_raw_fd()));
    assert!(is_open(of_child.as_raw_fd()));
    assert!(is_open(given_away.as_raw_fd()), "it is not one that a child closes any more");
    drop(fork);
    drop(of_parent);
    let number = of_child.as_raw_fd();
    drop(of_child);
    assert!(!is_open(number));
}

#[test]
fn what_a_child_has_closed_is_not_closed_again_whoever_has_its_number() {
    let _one = one_at_a_time();
    let of_parent = open();
    let number = of_parent.as_raw_fd();
    let fork = Fork::begin().expect("nobody forks here");
    fork.close_the_parents();
    drop(fork);
    // The lowest number that is free, or one that is lower.
    let others: Vec<_> = (0..=number).map(|_| File::open("/dev/null").expect("it is always there")).collect();
    assert!(others.iter().any(|other| other.as_raw_fd() == number));
    drop(of_parent);
    assert!(others.iter().all(|other| fstat(other).is_ok()));
    // The same where the number has been registered again.
    drop(others);
    let of_parent = open();
    let fork = Fork::begin().expect("nobody forks here");
    fork.close_the_parents();
    let again: Vec<_> = (0..=of_parent.as_raw_fd()).map(|_| open()).collect();
    assert!(again.iter().any(|other| other.as_raw_fd() == of_parent.as_raw_fd()));
    drop(of_parent);
    assert!(again.iter().all(|other| fstat(other).is_ok()));
}

#[test]
fn nobody_forks_while_somebody_opens_and_nobody_opens_while_somebody_forks() {
    let _one = one_at_a_time();
    let held = NoFork::hold();
    // Twice by one and the same thread.
    let again = NoFork::hold();
    let (says, hears) = channel();
    let (goes_on, waits) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let fork = Fork::begin().expect("this thread holds nothing");
            says.send(()).expect("it is heard");
            let _ = waits.recv();
            says.send(()).expect("it is heard");
            drop(fork);
        });
        drop(again);
        thread::yield_now();
        assert_eq!(hears.try_recv(), Err(TryRecvError::Empty));
        drop(held);
        hears.recv().expect("it has begun");
        let opens = scope.spawn(open);
        thread::yield_now();
        assert!(!opens.is_finished());
        goes_on.send(()).expect("it waits");
        hears.recv().expect("it is over");
        opens.join().expect("it opens something");
    });
}

#[test]
fn a_thread_that_forks_does_not_wait_for_itself() {
    let _one = one_at_a_time();
    let held = NoFork::hold();
    assert!(Fork::begin().is_none(), "as when a signal handler forks");
    drop(held);
    let fork = Fork::begin().expect("nobody forks here");
    drop((NoFork::hold(), open()));
    assert!(Fork::begin().is_none());
    drop(fork);
    drop(Fork::begin().expect("nobody forks here"));
}
