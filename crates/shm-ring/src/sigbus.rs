#![allow(unsafe_code)]
//! Memory that has gone from under a mapping: a lost pipe, and not the end of the process. Unsafe because it handles a signal, and maps over what
//! is mapped.
//!
//! ```text
//!   an access to a page without memory (the file was shortened, or a hole has been punched and there is no memory for it)
//!     ──> SIGBUS ──> in one of the places listed here?  ── no ──> whoever handled it before us, as if we were not there
//!                      │ yes
//!                    marked as lost ──> zeroed private memory over the whole mapping ──> the access is made again, there
//!                      └──> what the call then returns is an error: see `lost`
//! ```
//!
//! What always holds: a place is listed from before the first access to it until before it is unmapped, so a fault in a listed place is ours, and no
//! fault of anybody else's is in one. A place that is lost stays lost, and shows nobody's memory but this process's own.
//!
//! # Why nobody takes zeros for what was sent
//! A place is marked before its memory is replaced. So who has read a zero that nobody wrote, be it another thread, finds the mark when it looks
//! behind that, and every call looks at its end.
//!
//! # Why the handler waits for nobody
//! It takes no lock and asks for no memory but by `mmap`, which it calls as a system call and not as a function of the C library, so that `errno`
//! stays as it is. A list that is being changed is not waited for: a place that is being listed or struck out is not in use. Two threads
//! that fault in one place both replace it; what the one of them wrote there is worth nothing.
//!
//! # Whose handler it is
//! Once in the life of a process, for its first mapping, the handler is put before the one that was there; see [`leave_alone`] for those who do not
//! want that. It is never put back: whoever installs another one later has seen to what becomes of ours, and what is not ours has always gone to the
//! one before us. A forked child has all of it, and a new program none.

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering, fence};

use nix::libc::{self, c_int};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use crate::bell_pipe::page_size;

/// A place as the handler finds it. Never freed, but used again.
#[derive(Debug)]
struct Place {
    /// Whether it is anybody's.
    is_taken: AtomicU32,
    /// Odd while start and length do not belong together.
    version: AtomicU32,
    start: AtomicUsize,
    /// Whole pages; 0 where nothing is.
    len: AtomicUsize,
    /// 1 and the offset of the first access that found no memory; 0 as long as all did.
    lost: AtomicUsize,
    next: Option<&'static Place>,
}

static FIRST: AtomicPtr<Place> = AtomicPtr::new(ptr::null_mut());
/// So many places are nobody's, or about so many.
static FREE: AtomicUsize = AtomicUsize::new(0);
/// The system's page, which the handler does not ask for.
static PAGE: AtomicUsize = AtomicUsize::new(0);

/// A mapping whose loss is no signal, as long as this lives.
#[derive(Debug)]
pub(crate) struct Guard(&'static Place);

impl Guard {
    /// Of `len` bytes from `start`, which is where a page starts, and of what follows to the end of the last page. The caller has mapped them, and
    /// drops this before it unmaps them.
    pub(crate) fn over(start: *mut c_void, len: usize) -> Self {
        install();
        let page = page_size();
        // Relaxed, both: nobody accesses the place before this is over.
        PAGE.store(page, Ordering::Relaxed);
        let place = Place::free().unwrap_or_else(Place::new);
        place.lost.store(0, Ordering::Relaxed);
        place.set(start.addr(), len.next_multiple_of(page));
        Self(place)
    }

    /// Whether what was read there may be zeros that nobody wrote, and what was written may be seen by nobody.
    #[inline(always)]
    pub(crate) fn is_lost(&self) -> bool {
        self.lost_at().is_some()
    }

    /// The offset of an access that found no memory.
    #[inline(always)]
    pub(crate) fn lost_at(&self) -> Option<usize> {
        // Acquire: behind everything that was read there. Pairs with the mark's coming before the memory is replaced; argued by hand, since what lies
        // between is a change of the page tables.
        fence(Ordering::Acquire);
        self.0.lost.load(Ordering::Relaxed).checked_sub(1)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.set(0, 0);
        // Release: pairs with the Acquire in free.
        self.0.is_taken.store(0, Ordering::Release);
        FREE.fetch_add(1, Ordering::Relaxed);
    }
}

impl Place {
    /// One that is nobody's, ours now.
    fn free() -> Option<&'static Self> {
        // Relaxed: a hint whether to look.
        FREE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(1)).ok()?;
        // Acquire: pairs with the Release of the one whose it was.
        let take = |place: &&Self| place.is_taken.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok();
        all().find(take)
    }

    /// Another one.
    fn new() -> &'static Self {
        let number = AtomicUsize::default;
        let place = Self {
            is_taken: AtomicU32::new(1),
            version: AtomicU32::new(0),
            start: number(),
            len: number(),
            lost: number(),
            next: None,
        };
        let place = Box::leak(Box::new(place));
        let mut first = FIRST.load(Ordering::Acquire);
        loop {
            // SAFETY: what is in the list is never freed, and not changed but by atomics.
            place.next = unsafe { first.as_ref() };
            // Release: pairs with the Acquire in all. Acquire: for what is behind the place that is first now.
            match FIRST.compare_exchange(first, place, Ordering::Release, Ordering::Acquire) {
                Ok(_) => return place,
                Err(other) => first = other,
            }
        }
    }

    /// By the one whose it is.
    fn set(&self, start: usize, len: usize) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        // Release: pairs with the Acquire fence in range.
        fence(Ordering::Release);
        self.start.store(start, Ordering::Relaxed);
        self.len.store(len, Ordering::Relaxed);
        // Release: pairs with the Acquire load in range.
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// Where it is; `None` if that is changing, so that nobody uses it.
    fn range(&self) -> Option<(usize, usize)> {
        let version = self.version.load(Ordering::Acquire);
        let range = (self.start.load(Ordering::Relaxed), self.len.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let is_whole = version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        is_whole.then_some(range)
    }

    /// Whether there is memory now for an access at `address`.
    fn replace(&self, (start, len): (usize, usize), address: usize) -> bool {
        // Release: pairs with the fence in lost_at. Whoever was first is what is told.
        let _ = self.lost.compare_exchange(0, 1 + address - start, Ordering::Release, Ordering::Relaxed);
        // Relaxed: it has been the same all the time.
        let page = PAGE.load(Ordering::Relaxed);
        // Where there is no room for all of it (memory that is counted strictly), page by page.
        map_zeros(start, len) || map_zeros(address - address % page, page)
    }
}

fn all() -> impl Iterator<Item = &'static Place> {
    // Acquire: pairs with the Release in new.
    let first = FIRST.load(Ordering::Acquire);
    // SAFETY: what is in the list is never freed, and not changed but by atomics.
    let first = unsafe { first.cast_const().as_ref() };
    core::iter::successors(first, |place| place.next)
}

fn map_zeros(start: usize, len: usize) -> bool {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
    // SAFETY: in place of a part of a mapping that consists of atomics and bytes which anybody may change at any time, to be read and written as before.
    unsafe { mmap_anonymous(ptr::without_provenance_mut(start), len, access, flags) }.is_ok()
}

const UNDECIDED: u32 = 0;
const INSTALLING: u32 = 1;
const INSTALLED: u32 = 2;
const LEFT_ALONE: u32 = 3;
static STATE: AtomicU32 = AtomicU32::new(UNDECIDED);
/// What was there before; never freed.
static BEFORE: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// Leaves this process without a handler of SIGBUS: a pipe whose memory goes ends it. To be called before there is any pipe. Returns whether it is so;
/// if not, there has been a pipe.
pub fn leave_alone() -> bool {
    // Relaxed: nothing depends on when it was.
    match STATE.compare_exchange(UNDECIDED, LEFT_ALONE, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) | Err(LEFT_ALONE) => true,
        Err(_) => false,
    }
}

/// So often one looks whether another thread has installed it: that takes two system calls. In a child that was forked meanwhile nobody does.
const MOST_LOOKS: u32 = 1000;

fn install() {
    for _ in 0..MOST_LOOKS {
        // Acquire: pairs with the Release below.
        match STATE.compare_exchange(UNDECIDED, INSTALLING, Ordering::Relaxed, Ordering::Acquire) {
            Ok(_) => {
                put_before_the_others();
                return STATE.store(INSTALLED, Ordering::Release);
            }
            Err(INSTALLING) => std::thread::yield_now(),
            Err(_) => return,
        }
    }
}

fn put_before_the_others() {
    let Some(before) = change_action(None) else { return };
    let ours = libc::sigaction {
        sa_sigaction: (on_sigbus as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void)) as libc::sighandler_t,
        // What the one before us has asked for holds for it too when it is called by us.
        sa_flags: libc::SA_SIGINFO | libc::SA_ONSTACK | (before.sa_flags & (libc::SA_RESTART | libc::SA_NODEFER)),
        ..before
    };
    // Release: pairs with the Acquire in pass_on.
    BEFORE.store(Box::into_raw(Box::new(before)), Ordering::Release);
    change_action(Some(&ours));
}

/// What is done about the signal, and `new` from now on. `None` if the system says nothing, which it has no reason for.
fn change_action(new: Option<&libc::sigaction>) -> Option<libc::sigaction> {
    let mut before = core::mem::MaybeUninit::<libc::sigaction>::zeroed();
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: one of the two is null or an action whose handler is made for it, the other one has room for an action.
    let done = unsafe { libc::sigaction(libc::SIGBUS, new, before.as_mut_ptr()) };
    // SAFETY: numbers, all of which may be zero, and the system has filled them in.
    (done == 0).then(|| unsafe { before.assume_init() })
}

extern "C" fn on_sigbus(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel tells what happened, and does not change it while this runs.
    let told = unsafe { &*info };
    if told.si_code == libc::BUS_ADRERR {
        // SAFETY: a signal of that code has an address.
        let address = unsafe { told.si_addr() }.addr();
        let has = |place: &'static Place| {
            place.range().filter(|&(start, len)| address.wrapping_sub(start) < len).map(|range| (place, range))
        };
        if all().find_map(has).is_some_and(|(place, range)| place.replace(range, address)) {
            return;
        }
    }
    pass_on(signal, info, context);
}

/// As if we were not there.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // Acquire: pairs with the Release in put_before_the_others.
    let before = BEFORE.load(Ordering::Acquire).cast_const();
    // SAFETY: null, or never freed or changed.
    let before = unsafe { before.as_ref() };
    // SAFETY: as in on_sigbus.
    let was_sent = unsafe { (*info).si_code } <= 0;
    match before.map_or(libc::SIG_DFL, |before| before.sa_sigaction) {
        libc::SIG_IGN if was_sent => {}
        // What an access has caused cannot be ignored.
        libc::SIG_DFL | libc::SIG_IGN => end_by_it(was_sent),
        handler if before.is_some_and(|before| before.sa_flags & libc::SA_SIGINFO != 0) => {
            // SAFETY: whoever gave it with that flag has said that it is such a function.
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                unsafe { core::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: whoever gave it without that flag has said that it is such a function.
            let handler: extern "C" fn(c_int) = unsafe { core::mem::transmute(handler) };
            handler(signal);
        }
    }
}

/// Lets the signal end the process, as it would have without a handler: by the access that is made again, or, if somebody sent it, once more.
fn end_by_it(was_sent: bool) {
    // SAFETY: numbers, all of which may be zero: the default, and no flags.
    let default: libc::sigaction = unsafe { core::mem::zeroed() };
    change_action(Some(&default));
    if was_sent {
        // SAFETY: it takes a number.
        unsafe { libc::raise(libc::SIGBUS) };
    }
}
