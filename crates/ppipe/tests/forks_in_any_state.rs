#![allow(unsafe_code)]
//! A process that forks while its ends are in whatever state: what the child does with its copies, and how it ends, takes nothing from its parent. Unsafe
//! because it forks; children do nothing but drop what they have, and end. (One test that forks, so that no other thread but those it starts
//! has a lock at that moment.)
//!
//! What a forked child may do with an end is to drop it. What it may not do nobody tells it; for the C library see `crates/ppipe-capi/c/forks.c`.

use std::io::{self, ErrorKind, Read};
use std::mem;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, pause, read};
use ppipe::{Reader, Writer};

mod again;
mod party;

use again::{Ward, command, role};
use party::Party;

const END: &str = "PPIPE_TEST_END";
const SLOT: usize = 4096;
/// Larger than a slot.
const LARGE: usize = 3 * SLOT;
const FORKS: u32 = 50;

/// What becomes of a child.
#[derive(Clone, Copy, Debug)]
enum Childhood {
    Drops,
    Leaves,
    IsKilled,
}

const CHILDHOODS: [Childhood; 3] = [Childhood::Drops, Childhood::Leaves, Childhood::IsKilled];

/// Brings a pipe into a state, and has a child forked then.
type ComeTo = fn(Childhood) -> (Reader, Writer);

/// Returns in the parent, when a child that had a copy of `values` is no more.
fn beside_a_child<T>(values: T, childhood: Childhood) -> T {
    // SAFETY: the child does nothing but drop what it has, which takes no lock that another thread could have, and ends.
    match unsafe { fork() }.expect("a child") {
        ForkResult::Child => {
            match childhood {
                Childhood::Drops => drop(values),
                Childhood::Leaves => mem::forget(values),
                Childhood::IsKilled => loop {
                    pause();
                },
            }
            // SAFETY: ends this process at once.
            unsafe { nix::libc::_exit(7) }
        }
        ForkResult::Parent { child } => {
            let expected = match childhood {
                Childhood::IsKilled => {
                    kill(child, Signal::SIGKILL).expect("it is ours");
                    WaitStatus::Signaled(child, Signal::SIGKILL, false)
                }
                _ => WaitStatus::Exited(child, 7),
            };
            assert_eq!(waitpid(child, None), Ok(expected));
            values
        }
    }
}

/// All of it can be used, nothing is missing, and its end comes when the last writer leaves.
fn is_whole(reader: Reader, writer: Writer, state: &str) {
    let mut buffer = vec![0; LARGE];
    assert_eq!(reader.try_recv(&mut buffer).expect_err("it is empty").kind(), ErrorKind::WouldBlock, "{state}");
    for len in [1, SLOT, LARGE] {
        writer.try_send(&vec![len as u8; len]).unwrap_or_else(|error| panic!("{state}: {error}"));
        assert_eq!(reader.try_recv(&mut buffer).expect("it was sent").len, len, "{state}");
    }
    let audit = reader.audit().expect("the accounts");
    let is_in_order = audit.is_sound() && audit.is_steady && audit.held().count() == 2 && audit.extents.is_empty();
    assert!(is_in_order, "{state}: {audit}");
    drop(writer);
    assert_eq!(reader.try_recv(&mut buffer).expect_err("nobody writes").kind(), ErrorKind::UnexpectedEof, "{state}");
}

fn fresh(childhood: Childhood) -> (Reader, Writer) {
    beside_a_child(ppipe::pipe().expect("a pipe"), childhood)
}

fn after_a_send(childhood: Childhood) -> (Reader, Writer) {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    writer.send(b"news").expect("room");
    let (reader, writer) = beside_a_child((reader, writer), childhood);
    assert_eq!(reader.try_recv(&mut [0; 8]).expect("it was sent").len, 4);
    (reader, writer)
}

fn with_a_loan_to_write(childhood: Childhood) -> (Reader, Writer) {
    let (reader, mut writer) = ppipe::pipe().expect("a pipe");
    let other = writer.try_clone().expect("a clone");
    for len in [SLOT, LARGE] {
        let loan = writer.reserve(len).expect("room");
        loan.bytes().copy_from(0, &vec![1; len]);
        let loan = beside_a_child(loan, childhood);
        other.send(&vec![2; len]).expect("room");
        loan.commit().expect("room");
        let mut buffer = vec![0; len];
        for byte in [2, 1] {
            assert_eq!(reader.try_recv(&mut buffer).expect("it was sent").len, len, "{childhood:?}");
            assert!(buffer.iter().all(|&found| found == byte), "{childhood:?}: somebody else's bytes");
        }
    }
    (reader, writer)
}

fn with_a_loan_to_read(childhood: Childhood) -> (Reader, Writer) {
    let (mut reader, writer) = ppipe::pipe().expect("a pipe");
    for len in [SLOT, LARGE] {
        writer.send(&vec![1; len]).expect("room");
        let loan = beside_a_child(reader.recv_loan().expect("it was sent"), childhood);
        writer.send(&vec![2; len]).expect("room");
        assert!(loan.to_vec().iter().all(|&found| found == 1), "{childhood:?}: somebody else's bytes");
        drop(loan);
        assert_eq!(reader.try_recv(&mut vec![0; len]).expect("it was sent").len, len);
    }
    (reader, writer)
}

fn asleep_in_another_thread(childhood: Childhood) -> (Reader, Writer) {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let party = Party::default();
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            let reader = reader;
            party.act(|| reader.recv(&mut [0; 8]).expect("it is sent").len);
            reader
        });
        party.wait_until_blocked(|| true);
        let writer = beside_a_child(writer, childhood);
        writer.send(b"news").expect("room");
        (sleeper.join().expect("it returns"), writer)
    })
}

fn in_the_midst_of_joining(childhood: Childhood) -> (Reader, Writer) {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let is_over = AtomicBool::new(false);
    let joiner = reader.try_clone().expect("a clone");
    thread::scope(|scope| {
        scope.spawn(|| {
            let joiner = joiner;
            while !is_over.load(Ordering::Relaxed) {
                joiner.try_clone().expect("a clone");
            }
        });
        let mut ends = (reader, writer);
        for _ in 0..FORKS {
            ends = beside_a_child(ends, childhood);
        }
        is_over.store(true, Ordering::Relaxed);
        ends
    })
}

#[test]
fn what_a_forked_child_does_with_its_copies_takes_nothing_from_its_parent_in_any_state() {
    if role().is_some() {
        return;
    }
    for childhood in CHILDHOODS {
        let states: [(&str, ComeTo); 6] = [
            ("fresh", fresh),
            ("after a send", after_a_send),
            ("with a loan to write", with_a_loan_to_write),
            ("with a loan to read", with_a_loan_to_read),
            ("asleep in another thread", asleep_in_another_thread),
            ("in the midst of joining", in_the_midst_of_joining),
        ];
        for (state, come_to) in states {
            let (reader, writer) = come_to(childhood);
            is_whole(reader, writer, &format!("{state}, the child {childhood:?}"));
        }
    }
    as_long_as_a_child_of_one_that_was_killed_has_copies_the_end_is_open();
}

/// As that of a pipe of the kernel is.
fn as_long_as_a_child_of_one_that_was_killed_has_copies_the_end_is_open() {
    let (reader, writer) = ppipe::pipe().expect("a pipe");
    let (says, output) = io::pipe().expect("a pipe of the kernel");
    let (input, keeps_child) = io::pipe().expect("a pipe of the kernel");
    let mut command = command("forks");
    writer.hand_to(&mut command, END);
    command.stdin(input).stdout(output).stderr(Stdio::inherit());
    let mut parent = Ward::start(command);
    let mut said = [0; 4];
    let mut says = says;
    while said != *b"here" {
        said.rotate_left(1);
        says.read_exact(&mut said[3..]).expect("it says that it has forked");
    }
    parent.kill();
    assert_eq!(reader.try_recv(&mut [0; 8]).expect_err("nothing is sent").kind(), ErrorKind::WouldBlock);
    drop(keeps_child);
    assert_eq!(reader.recv(&mut [0; 8]).expect_err("nobody is there").kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn child_process() {
    if role().is_none() {
        return;
    }
    let writer = Writer::inherited(END).expect("an end");
    // SAFETY: the child does nothing but wait for the end of its input, and end.
    match unsafe { fork() }.expect("a child") {
        ForkResult::Child => {
            let _ = read(io::stdin(), &mut [0]);
            // SAFETY: ends this process at once.
            unsafe { nix::libc::_exit(0) }
        }
        ForkResult::Parent { .. } => {
            println!("here");
            let _writer = writer;
            loop {
                thread::park();
            }
        }
    }
}
