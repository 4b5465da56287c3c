//! The thread that keeps what ends show up to date: one a process, from the first descriptor on that somebody asks for.
//!
//! ```text
//!   epoll: bells of all that is watched, a kick ──> which of them rang? whose time has come? ──> each looks, shows, and asks to be told
//! ```
//!
//! It sleeps as long as nobody has news, and has nothing to do with data: an end that is busy shows that it is ready, and
//! nobody rings for it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use shm_ring::forking::NoFork;
use shm_ring::own_descriptor::OwnFd;

use crate::watch::Watch;

/// Whoever gets it from a fork has no such thread: it makes another one.
static WATCHER: ArcSwapOption<Watcher> = ArcSwapOption::const_empty();

/// Enough for a few function calls that are not deep.
const STACK_SIZE: usize = 128 * 1024;
const KICK: u64 = u64::MAX;
/// So many bells at once.
const EVENTS: usize = 64;

/// What the thread and those who ask it for something share.
#[derive(Debug)]
pub(crate) struct Watcher {
    process: u32,
    epoll: OwnFd,
    kick: OwnFd,
    watches: Mutex<Watches>,
}

#[derive(Debug, Default)]
struct Watches {
    all: BTreeMap<u64, Weak<Watch>>,
    next: u64,
    /// Who is to look again, and when: once.
    appointments: BTreeMap<u64, Instant>,
}

impl Watcher {
    /// That of this process.
    ///
    /// # Errors
    /// If descriptors are short, or no thread can be made.
    pub(crate) fn of_this_process() -> io::Result<Arc<Self>> {
        if let Some(watcher) = Self::known() {
            return Ok(watcher);
        }
        // Taken only while nobody forks.
        static STARTING: Mutex<()> = Mutex::new(());
        let _no_fork = NoFork::hold();
        let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watcher) = Self::known() {
            return Ok(watcher);
        }
        let watcher = Arc::new(Self::new()?);
        watcher.start()?;
        WATCHER.store(Some(Arc::clone(&watcher)));
        Ok(watcher)
    }

    fn known() -> Option<Arc<Self>> {
        WATCHER.load_full().filter(|watcher| watcher.process == process::id())
    }

    fn new() -> io::Result<Self> {
        let epoll = OwnFd::open(|| epoll::create(epoll::CreateFlags::CLOEXEC))?;
        let kick = OwnFd::open(|| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK))?;
        epoll::add(&epoll, &kick, epoll::EventData::new_u64(KICK), epoll::EventFlags::IN)?;
        Ok(Self { process: process::id(), epoll, kick, watches: Mutex::default() })
    }

    fn start(self: &Arc<Self>) -> io::Result<()> {
        let watcher = Arc::clone(self);
        // It takes no signals from anybody, but for the one that says that the memory it looks at is gone.
        let (mut others, mut before) = (SigSet::all(), SigSet::empty());
        others.remove(Signal::SIGBUS);
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&others), Some(&mut before))?;
        let thread = thread::Builder::new().name("ppipe-watcher".to_owned()).stack_size(STACK_SIZE);
        let started = thread.spawn(move || watcher.run());
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
        started.map(drop)
    }

    /// Watches from now on; `bells` are those of `watch`.
    pub(crate) fn add<'a>(&self, bells: impl Iterator<Item = BorrowedFd<'a>>, watch: &Weak<Watch>) -> io::Result<u64> {
        let mut watches = self.watches();
        let key = watches.next;
        watches.next += 1;
        for bell in bells {
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&self.epoll, bell, epoll::EventData::new_u64(key), flags)?;
        }
        watches.all.insert(key, Weak::clone(watch));
        Ok(key)
    }

    /// Watches no more.
    pub(crate) fn remove<'a>(&self, bells: impl Iterator<Item = BorrowedFd<'a>>, key: u64) {
        if self.process != process::id() {
            // What a forked child has is a copy.
            return;
        }
        {
            let mut watches = self.watches();
            watches.all.remove(&key);
            watches.appointments.remove(&key);
        }
        for bell in bells {
            let _ = epoll::delete(&self.epoll, bell);
        }
    }

    /// Makes it look at that one again, in a while.
    pub(crate) fn look_again(&self, key: u64, after: Duration) {
        let at = Instant::now() + after;
        let mut watches = self.watches();
        let appointment = watches.appointments.entry(key).or_insert(at);
        if *appointment < at {
            // It is going to look before that.
            return;
        }
        *appointment = at;
        drop(watches);
        // It cannot be full: the thread takes it out.
        let _ = rustix::io::write(&self.kick, &1_u64.to_ne_bytes());
    }

    fn run(&self) {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let next = self.watches().appointments.values().min().copied();
            let timeout = next.map(|at| timespec(at.saturating_duration_since(Instant::now())));
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                // Somebody has closed our descriptor.
                Err(_) => return,
            }
            for event in events.drain(..) {
                let key = event.data.u64();
                if key == KICK {
                    let _ = rustix::io::read(&self.kick, &mut [0; 8]);
                } else if let Some(watch) = self.watch(key) {
                    watch.look();
                }
            }
            for key in self.due() {
                if let Some(watch) = self.watch(key) {
                    watch.look();
                }
            }
        }
    }

    fn due(&self) -> Vec<u64> {
        let now = Instant::now();
        let mut watches = self.watches();
        let due: Vec<_> = watches.appointments.iter().filter(|&(_, &at)| at <= now).map(|(&key, _)| key).collect();
        for key in &due {
            watches.appointments.remove(key);
        }
        due
    }

    fn watch(&self, key: u64) -> Option<Arc<Watch>> {
        self.watches().all.get(&key)?.upgrade()
    }

    fn watches(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_often_one_is_to_look_again_it_does_so_once_and_at_the_first_of_these_times() {
        let watcher = Watcher::new().expect("descriptors");
        for seconds in [20, 10, 30] {
            watcher.look_again(7, Duration::from_secs(seconds));
        }
        let soon = Instant::now() + Duration::from_secs(15);
        assert!(watcher.watches().appointments.iter().all(|(&key, &at)| key == 7 && at < soon));
        assert!(watcher.due().is_empty());
        watcher.look_again(7, Duration::ZERO);
        assert_eq!((watcher.due(), watcher.watches().appointments.len()), (vec![7], 0));
    }
}
