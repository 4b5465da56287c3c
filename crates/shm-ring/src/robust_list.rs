#![allow(unsafe_code)]
//! Words in shared memory that the kernel marks when this process dies, before anybody can be told that it is dead. Unsafe because the kernel
//! follows addresses that it is given.
//!
//! ```text
//!   this process's memory     the segment's memory                 one mapping for each participant
//!   | node ─┐             |   | owner word of its entry   |
//!   └───────│─ one page ──┘───└── page of the table ──────┘
//!           v
//!         next node, ..., the list's head: known to the kernel, belongs to a thread that does nothing
//! ```
//!
//! A thread can have a *robust list* (`set_robust_list`, made for mutexes whose owners die). When the thread ends, by whatever end of its process,
//! the kernel goes through it: in each word whose number is the thread's it sets `FUTEX_OWNER_DIED`, and wakes one who sleeps there. So a
//! process has one thread that owns the words of all of its participants and never ends by itself.
//!
//! # Why nothing that others write leads the kernel astray
//! The nodes, and with them every address, are in memory of this process alone, one page in front of the words. What others have is the words: who
//! writes nonsense there is not told of a death, and asks the kernel more often, or less.
//!
//! # Why the list is there when the kernel needs it
//! Memory that is short is taken back from one who is being killed before its threads have ended (`process_mrelease`, the OOM reaper), but for what
//! is mapped as shared. So the list is, though nobody shares it: a forked child does not get it, but for the page of the table, which is guarded
//! (`sigbus`) as long as it is mapped.
//!
//! # Why the list can be changed while the kernel may go through it
//! It does so when this process is being killed, at any instant. A node is made before it is put in front, by one store, and taken out by one
//! store to the node in front of it. A death between that and the word's having its number is not marked, but for `pending`, which is set
//! all the while.

use core::ffi::c_void;
use core::mem::size_of;
use core::ptr;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::libc;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

use crate::bell_pipe::page_size;
use crate::forking::NoFork;
use crate::hidden_thread::{self, outlive_the_program, wait_until};
use crate::owner::{Owner, WAITERS};
use crate::process::{self, Process};
use crate::sigbus::Guard;

/// The kernel goes no further: `ROBUST_LIST_LIMIT`.
const MOST_WORDS: usize = 2048;
/// In place of the thread's number, until it has one, and if it has no list.
const NOT_YET: u32 = 0;
const REFUSED: u32 = u32::MAX;
/// So long one sleeps each time while another one starts the thread.
const BETWEEN_LOOKS: Duration = Duration::from_micros(200);

static LEAVES_DEATHS_UNMARKED: AtomicBool = AtomicBool::new(false);

/// For tests: from now on this process has no robust list for its ends, as where the system forbids it.
#[doc(hidden)]
pub fn leave_deaths_unmarked() {
    // Relaxed: asked by whoever makes an end later.
    LEAVES_DEATHS_UNMARKED.store(true, Ordering::Relaxed);
}

/// What `join` makes in this thread is not marked.
#[cfg(test)]
pub(crate) fn unmarked<T>(join: impl FnOnce() -> T) -> T {
    tests::IS_UNMARKED.set(true);
    let joined = join();
    tests::IS_UNMARKED.set(false);
    joined
}

/// `struct robust_list`.
#[repr(C)]
struct Node {
    next: AtomicPtr<Node>,
}

/// `struct robust_list_head`.
#[repr(C)]
struct Head {
    first: Node,
    /// From a node to its word.
    futex_offset: libc::c_long,
    pending: AtomicPtr<Node>,
}

/// The thread that owns this process's words.
struct Keeper {
    process: Process,
    /// `None` if the system lets it have no list; then there is no such thread.
    thread: Option<u32>,
    head: &'static Head,
    /// The nodes, the first one last.
    nodes: Mutex<Vec<Address>>,
}

/// Of a node.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Address(*const Node);

// SAFETY: an address; what is there consists of atomics.
unsafe impl Send for Address {}

/// The owner word of one participant's entry, as long as the participant is this process's. Dropping it takes the number out of the word.
#[derive(Debug)]
pub(crate) struct RobustWord {
    keeper: &'static Keeper,
    /// Of two pages: a private one, and the one with the word.
    mapping: *mut c_void,
    /// Of the word within its page.
    at: usize,
    /// Of the second page. Taken out before it is unmapped.
    guard: Option<Guard>,
}

// SAFETY: it owns its mapping, in which there are nothing but atomics.
unsafe impl Send for RobustWord {}
// SAFETY: as above; nothing can be done through a shared reference.
unsafe impl Sync for RobustWord {}

impl core::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Keeper").field("process", &self.process).field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl RobustWord {
    /// Makes the word at offset `at` of `file`, a multiple of 8, this process's. `None` if the system does not let it: then nobody is told of its death.
    pub(crate) fn new(file: BorrowedFd<'_>, at: u64) -> Option<Self> {
        // Relaxed: set by the test before it has an end.
        if LEAVES_DEATHS_UNMARKED.load(Ordering::Relaxed) {
            return None;
        }
        #[cfg(test)]
        if tests::IS_UNMARKED.get() {
            return None;
        }
        let keeper = Keeper::of_this_process();
        keeper.thread?;
        let (page, within) = (at / page_size() as u64 * page_size() as u64, (at % page_size() as u64) as usize);
        let mapping = map(file, page).ok()?;
        let guard = Some(Guard::over(mapping.wrapping_byte_add(page_size()), page_size()));
        let word = Self { keeper, mapping, at: within, guard };
        keeper.put_in(&word).then_some(word)
    }

    fn node(&self) -> &Node {
        let node: *const Node = self.mapping.wrapping_byte_add(self.at).cast_const().cast();
        // SAFETY: within the private page, which is zeroed and lives as long as this; aligned as the word is.
        unsafe { &*node }
    }

    fn word(&self) -> &AtomicU32 {
        let word: *const AtomicU32 = self.mapping.wrapping_byte_add(page_size() + self.at).cast_const().cast();
        // SAFETY: within the page of the file, which is as long as its layout says; aligned, and lives as long as this.
        unsafe { &*word }
    }

    /// The participant leaves: until its lock is free the others are in doubt. Else a word that is given up says nothing of anybody.
    pub(crate) fn leave(self) {
        self.give_up(Owner::LEAVING);
    }

    /// Takes the word out of the list; it says `owner` then.
    fn give_up(&self, owner: Owner) {
        if self.keeper.process.is_this() {
            self.keeper.take_out(self, owner);
        }
    }
}

impl Drop for RobustWord {
    fn drop(&mut self) {
        // Once more, if it has left, which finds nothing to do.
        self.give_up(Owner::NOBODY);
        self.guard = None;
        let page = page_size();
        if self.keeper.process.is_this() {
            // SAFETY: nobody has an address of what is in it any more: the node is in no list.
            let _ = unsafe { munmap(self.mapping, 2 * page) };
        } else if !self.keeper.process.is_not_forked() {
            // A forked child has no copy of the first page; something else may be in its place. (Who goes on in its parent's memory leaves both alone.)
            // SAFETY: as above, of its own copy of the second one.
            let _ = unsafe { munmap(self.mapping.wrapping_byte_add(page), page) };
        }
    }
}

/// A page of this process's, and behind it that of `file` at `at`.
fn map(file: BorrowedFd<'_>, at: u64) -> io::Result<*mut c_void> {
    let (access, page) = (ProtFlags::READ | ProtFlags::WRITE, page_size());
    let mapping = own_memory(2 * page)?;
    let second = mapping.wrapping_byte_add(page);
    // SAFETY: in place of the second page of the mapping that has just been made, to which nobody has a reference.
    let mapped = unsafe { mmap(second, page, access, MapFlags::SHARED | MapFlags::FIXED, file, at) };
    if let Err(error) = mapped {
        // SAFETY: the mapping that has just been made.
        let _ = unsafe { munmap(mapping, 2 * page) };
        return Err(error.into());
    }
    Ok(mapping)
}

/// Memory that is there until the last thread has ended, and that no forked child has.
fn own_memory(bytes: usize) -> io::Result<*mut c_void> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, wherever there is room.
    let mapping = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::SHARED) }?;
    // SAFETY: the mapping that has just been made; what this does is done to children.
    if let Err(error) = unsafe { madvise(mapping, bytes, Advice::LinuxDontFork) } {
        // SAFETY: as above.
        let _ = unsafe { munmap(mapping, bytes) };
        return Err(error.into());
    }
    Ok(mapping)
}

impl Head {
    /// An empty list, for as long as the process lives.
    fn new() -> io::Result<&'static Self> {
        let head: *const Self = own_memory(size_of::<Self>())?.cast_const().cast();
        let first = head.cast_mut().cast();
        let empty = Self {
            first: Node { next: AtomicPtr::new(first) },
            futex_offset: page_size() as libc::c_long,
            pending: AtomicPtr::new(ptr::null_mut()),
        };
        // SAFETY: a page of our own, to which nobody has a reference yet.
        unsafe { head.cast_mut().write(empty) };
        // SAFETY: it is initialised, and never unmapped.
        Ok(unsafe { &*head })
    }
}

/// Who is at something that is done once in a process: its generation. A forked child may find that of its parent, which nobody takes out.
struct Starting(AtomicU64);

impl Starting {
    /// Whether it is this thread.
    fn claim(&self) -> bool {
        let (own, known) = (process::generation(), self.0.load(Ordering::Relaxed));
        // Acquire: pairs with the Release of the one before.
        known != own && self.0.compare_exchange(known, own, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn give_back(&self) {
        self.0.store(0, Ordering::Release);
    }
}

impl Keeper {
    fn of_this_process() -> &'static Self {
        /// A forked child has no such thread, and makes one of its own.
        static KEEPER: AtomicPtr<Keeper> = AtomicPtr::new(ptr::null_mut());
        static STARTING: Starting = Starting(AtomicU64::new(0));
        loop {
            // Acquire: pairs with the Release below.
            let known = KEEPER.load(Ordering::Acquire).cast_const();
            // SAFETY: it is null or was leaked below.
            if let Some(keeper) = unsafe { known.as_ref() }.filter(|keeper| keeper.process.is_this()) {
                return keeper;
            }
            // Nobody forks as long as it is started, if forks are prepared for.
            let no_fork = NoFork::hold();
            if !STARTING.claim() {
                // Not holding up who wants to fork: it is waited for.
                drop(no_fork);
                thread::sleep(BETWEEN_LOOKS);
                continue;
            }
            // Once more: it may have been made between.
            // SAFETY: as above.
            let again = unsafe { KEEPER.load(Ordering::Acquire).cast_const().as_ref() };
            if again.is_none_or(|keeper| !keeper.process.is_this()) {
                let keeper: &Self = Box::leak(Box::new(Self::start(own_list)));
                KEEPER.store(ptr::from_ref(keeper).cast_mut(), Ordering::Release);
            }
            STARTING.give_back();
        }
    }

    /// Starts the thread, which makes the list its own by `own_list`.
    fn start(own_list: fn(&'static Head) -> Option<u32>) -> Self {
        /// Never used: nothing is put into it.
        static NONE: Head = Head {
            first: Node { next: AtomicPtr::new(ptr::null_mut()) },
            futex_offset: 0,
            pending: AtomicPtr::new(ptr::null_mut()),
        };
        let head = Head::new();
        let thread = head.as_ref().ok().and_then(|head| start_thread(head, own_list));
        Self { process: Process::this(), thread, head: head.unwrap_or(&NONE), nodes: Mutex::default() }
    }

    /// Whether there was room.
    fn put_in(&self, word: &RobustWord) -> bool {
        let _no_fork = NoFork::hold();
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = self.thread.filter(|_| nodes.len() < MOST_WORDS) else { return false };
        let node = ptr::from_ref(word.node());
        // Release, each: who kills this process between two of them has the kernel see them in this order.
        self.head.pending.store(node.cast_mut(), Ordering::Release);
        word.word().store(thread | WAITERS, Ordering::Release);
        // Relaxed: nobody else changes it.
        word.node().next.store(self.head.first.next.load(Ordering::Relaxed), Ordering::Release);
        self.head.first.next.store(node.cast_mut(), Ordering::Release);
        self.head.pending.store(ptr::null_mut(), Ordering::Release);
        nodes.push(Address(node));
        true
    }

    /// It says `owner` from now on, if it still says that it is this process's.
    fn take_out(&self, word: &RobustWord, owner: Owner) {
        let _no_fork = NoFork::hold();
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let node = Address(ptr::from_ref(word.node()));
        let Some(index) = nodes.iter().rposition(|other| *other == node) else { return };
        // Relaxed: only a number. Another one if the segment is another one's, whose descriptor has the number of ours, which somebody has closed.
        let own = self.thread.unwrap_or(NOT_YET) | WAITERS;
        let _ = word.word().compare_exchange(own, owner.0, Ordering::Relaxed, Ordering::Relaxed);
        let next = word.node().next.load(Ordering::Relaxed);
        let before = match nodes.get(index + 1) {
            // SAFETY: it is in the list, so that its word lives, and with it the mapping.
            Some(Address(before)) => unsafe { &**before },
            None => &self.head.first,
        };
        before.next.store(next, Ordering::Release);
        nodes.remove(index);
    }
}

/// The number of a new thread that has `head` as its list; `None` if the system does not let it.
fn start_thread(head: &'static Head, own_list: fn(&'static Head) -> Option<u32>) -> Option<u32> {
    let number = Arc::new(AtomicU32::new(NOT_YET));
    let its_number = Arc::clone(&number);
    let run = move || {
        let own_number = own_list(head);
        // Release: pairs with the Acquire of the one who waits.
        its_number.store(own_number.unwrap_or(REFUSED), Ordering::Release);
        drop(its_number);
        if own_number.is_some() {
            outlive_the_program();
        }
    };
    hidden_thread::spawn("ppipe-keeper", run).ok()?;
    // Acquire: the kernel knows the list.
    let number = wait_until(|| Some(number.load(Ordering::Acquire)).filter(|number| *number != NOT_YET));
    (number != REFUSED).then_some(number)
}

/// Makes `head` the robust list of the calling thread, which must not end; returns the thread's number.
fn own_list(head: &'static Head) -> Option<u32> {
    // SAFETY: the list lives for ever, and every node in it as long as it is in there; nothing but this thread's end makes the kernel look. The list
    // that the C library gave to the thread is for mutexes that it does not have.
    let refused = unsafe { libc::syscall(libc::SYS_set_robust_list, ptr::from_ref(head), size_of::<Head>()) };
    (refused == 0).then(|| rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::layout::Geometry;
    use crate::life::Side;
    use crate::participant::Participant;
    use crate::segment::Segment;

    thread_local! {
        pub(super) static IS_UNMARKED: Cell<bool> = const { Cell::new(false) };
    }

    /// The nodes as the kernel would find them.
    fn listed(keeper: &Keeper) -> Vec<*const Node> {
        let _nodes = keeper.nodes.lock().expect("no panic");
        let start = ptr::from_ref(&keeper.head.first);
        let mut all = Vec::new();
        let mut node = keeper.head.first.next.load(Ordering::Relaxed).cast_const();
        while node != start {
            all.push(node);
            // SAFETY: it is in the list, from which nothing is taken as long as the lock is held.
            node = unsafe { &*node }.next.load(Ordering::Relaxed).cast_const();
        }
        all
    }

    fn is_listed(participant: &Participant) -> bool {
        let word = participant.robust.as_ref().expect("the system lets it");
        listed(word.keeper).contains(&ptr::from_ref(word.node()))
    }

    #[test]
    fn a_participant_is_in_the_list_and_its_word_says_so_until_it_leaves() {
        let segment = Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        let join = || Participant::join(Arc::clone(&segment), Side::Writer).expect("an entry");
        let asker = join();
        // Whichever of them leaves first: the first one of the list, the last one, and one between.
        for leaves in 0..3 {
            let mut all = [(); 3].map(|()| join());
            for participant in &all {
                let owner = asker.owner_of(participant.entry());
                assert!(owner.is_marked_at_death() && is_listed(participant), "{owner:?}");
            }
            let left = all[leaves].entry();
            assert!(all[leaves].robust.take().is_some());
            assert_eq!(asker.owner_of(left), Owner::NOBODY);
            for (index, participant) in all.iter().enumerate().filter(|&(index, _)| index != leaves) {
                assert!(is_listed(participant), "{index} went with {leaves}");
            }
        }
        let keeper = asker.robust.as_ref().expect("the system lets it").keeper;
        let nodes = listed(keeper);
        assert_eq!(nodes.iter().collect::<BTreeSet<_>>().len(), nodes.len(), "none is there twice");
        assert!(keeper.head.pending.load(Ordering::Relaxed).is_null());
    }

    #[test]
    fn what_a_thread_of_the_parent_was_at_holds_up_nobody_in_a_forked_child() {
        let starting = Starting(AtomicU64::new(process::generation() + 1));
        assert!(starting.claim(), "whoever was at it is not here");
        assert!(!starting.claim(), "one of ours is");
        starting.give_back();
        assert!(starting.claim());
    }

    #[test]
    fn the_list_is_in_memory_that_is_there_to_the_end_and_that_no_child_has() {
        let segment = Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        let writer = Participant::join(segment, Side::Writer).expect("an entry");
        let word = writer.robust.as_ref().expect("the system lets it");
        for address in [ptr::from_ref(word.node()).addr(), ptr::from_ref(word.keeper.head).addr()] {
            let flags = flags_of_mapping(address);
            // Shared; not copied to children. See proc(5).
            assert!(["sh", "dc"].iter().all(|flag| flags.contains(flag)), "{flags}");
        }
    }

    /// The kernel's flags of the mapping that has this address.
    fn flags_of_mapping(address: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("it is there");
        let mut is_it = false;
        for line in maps.lines() {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            let ends = range.map(|(start, end)| (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16)));
            if let Some((Ok(start), Ok(end))) = ends {
                is_it = (start..end).contains(&address);
            } else if is_it && let Some(flags) = line.strip_prefix("VmFlags: ") {
                return flags.to_owned();
            }
        }
        panic!("no mapping has {address:x}");
    }

    #[test]
    fn a_thread_that_may_have_no_list_does_not_stay() {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let refused = Keeper::start(|_| {
            NUMBER.store(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned(), Ordering::Relaxed);
            None
        });
        assert!(refused.thread.is_none());
        let thread = format!("/proc/self/task/{}", NUMBER.load(Ordering::Relaxed));
        let begin = Instant::now();
        while std::fs::exists(&thread).expect("an answer") {
            assert!(begin.elapsed() < Duration::from_secs(60), "it is still there");
            thread::yield_now();
        }
    }

    #[test]
    fn each_word_is_as_far_from_its_node_as_the_kernel_is_told() {
        let segment = Arc::new(Segment::anonymous(Geometry::default()).expect("a segment"));
        let writer = Participant::join(segment, Side::Writer).expect("an entry");
        let word = writer.robust.as_ref().expect("the system lets it");
        let distance = ptr::from_ref(word.word()).addr() - ptr::from_ref(word.node()).addr();
        assert_eq!(distance as libc::c_long, word.keeper.head.futex_offset);
        assert_eq!(Some(word.word().load(Ordering::Relaxed) & !WAITERS), word.keeper.thread);
    }
}
