//! Which handle a pointer from C means.
//!
//! ```text
//!  63          32 31                 4 3      0
//! +--------------+--------------------+--------+
//! | generation   | place in the table | 1      |    as a pointer, which nobody follows
//! +--------------+--------------------+--------+
//! ```
//!
//! A place is used again after its handle was closed, in another generation: so a pointer that was closed is known for that. Who is in the
//! midst of a call when the handle is closed goes on to its end, as with a descriptor.
//!
//! Handles come and go only while nobody forks; so a child finds the table as it was when its parent prepared for it, and no lock held.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nix::libc;
use ppipe_rs::{NoFork, Pattern, Reader, Writer};

use crate::cancel::Uncancelled;
use crate::error::of;
use crate::pool::{Borrowed, Pool};
use crate::users::{Place, User};
use crate::{hooks, ppipe};

/// Places that are made at a time, and how many times.
const CHUNK: usize = 1024;
const CHUNKS: usize = 1024;

const PLACE_SHIFT: u32 = 4;
const MARK: usize = 1;
const GENERATION_SHIFT: u32 = 32;
/// A number has no more places than this.
pub(crate) const MOST_PLACES: usize = 1 << (GENERATION_SHIFT - PLACE_SHIFT);

static TABLE: [OnceLock<Box<[Place]>>; CHUNKS] = [const { OnceLock::new() }; CHUNKS];
/// Taken only while nobody forks.
static VACANT: Mutex<Vacant> = Mutex::new(Vacant { places: Vec::new(), made: 0 });

/// The places that no handle has.
struct Vacant {
    places: Vec<u32>,
    made: u32,
}

/// What a handle is.
#[derive(Debug)]
pub(crate) struct Handle {
    reader: Option<Pool<Reader>>,
    writer: Option<Pool<Writer>>,
}

impl Handle {
    /// An end for this thread.
    ///
    /// # Errors
    /// EBADF if the handle is not open to read.
    pub(crate) fn reader(&self) -> io::Result<Borrowed<'_, Reader>> {
        self.reader.as_ref().ok_or_else(|| of(libc::EBADF))?.borrow()
    }

    /// An end for this thread.
    ///
    /// # Errors
    /// EBADF if the handle is not open to write.
    pub(crate) fn writer(&self) -> io::Result<Borrowed<'_, Writer>> {
        self.writer.as_ref().ok_or_else(|| of(libc::EBADF))?.borrow()
    }

    pub(crate) fn is_reader(&self) -> bool {
        self.reader.is_some()
    }

    pub(crate) fn is_writer(&self) -> bool {
        self.writer.is_some()
    }

    /// What has its flags, which all its ends share.
    pub(crate) fn pattern(&self) -> io::Result<&Pattern> {
        let (reader, writer) = self.pools();
        writer.map(Pool::pattern).or(reader.map(Pool::pattern)).ok_or_else(|| of(libc::EBADF))
    }

    pub(crate) fn pools(&self) -> (Option<&Pool<Reader>>, Option<&Pool<Writer>>) {
        (self.reader.as_ref(), self.writer.as_ref())
    }
}

/// Which handle, of all that there ever are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

/// Gives C a handle of these ends.
///
/// # Errors
/// EMFILE if there are as many as there can be.
pub(crate) fn add(reader: Option<Reader>, writer: Option<Writer>) -> io::Result<*mut ppipe> {
    hooks::check()?;
    let _no_fork = NoFork::hold();
    let mut vacant = vacant();
    let index = match vacant.places.pop() {
        Some(index) => index,
        None => {
            make_place(vacant.made)?;
            vacant.made += 1;
            vacant.made - 1
        }
    };
    drop(vacant);
    let generation = existing(index)?.put(handle(reader, writer));
    Ok(pointer::<ppipe, MARK>(index, generation))
}

impl Drop for Handle {
    fn drop(&mut self) {
        let _uncancelled = Uncancelled::begin();
        (self.reader, self.writer) = (None, None);
    }
}

fn handle(reader: Option<Reader>, writer: Option<Writer>) -> Arc<Handle> {
    Arc::new(Handle { reader: reader.map(Pool::new), writer: writer.map(Pool::new) })
}

/// Runs a call on the handle that `pointer` means.
///
/// # Errors
/// EBADF if it means none; what the call says.
#[inline]
pub(crate) fn with<T>(pointer: *mut ppipe, call: impl FnOnce(&Handle) -> io::Result<T>) -> io::Result<T> {
    let user = enter(key_of(pointer)?).ok_or_else(|| of(libc::EBADF))?;
    call(user.handle())
}

#[inline]
fn enter(key: Key) -> Option<User<'static>> {
    existing(key.index).ok()?.enter(key.generation, give_back)
}

/// Of a place that is closed and that nobody uses any more: its handle, and somebody else can have it.
#[cold]
fn give_back(place: &'static Place) -> Option<Arc<Handle>> {
    let _uncancelled = Uncancelled::begin();
    let _no_fork = NoFork::hold();
    let handle = place.take_out()?;
    vacant().places.extend(index_of(place));
    Some(handle)
}

fn index_of(place: &'static Place) -> Option<u32> {
    let made = TABLE.iter().map_while(OnceLock::get);
    let found = made.enumerate().find_map(|(chunk, places)| Some(chunk * CHUNK + places.element_offset(place)?));
    found.map(|index| index as u32)
}

/// Runs a call on an end to write of the handle that `pointer` means, and sends the signal that it asks for.
///
/// # Errors
/// EBADF if it means none, or none to write; what the call says.
#[inline]
pub(crate) fn with_writer<T>(pointer: *mut ppipe, call: impl FnOnce(&Writer) -> io::Result<T>) -> io::Result<T> {
    let mut is_signal_due = false;
    let result = with(pointer, |handle| {
        let end = handle.writer()?;
        let result = call(&end);
        is_signal_due = end.take_due_signal();
        result
    });
    signalled(result, is_signal_due)
}

/// Runs a call on an end to read of the one handle, and an end to write of the other one.
///
/// # Errors
/// As [`with_writer`].
pub(crate) fn with_both<T>(
    from: *mut ppipe,
    to: *mut ppipe,
    call: impl FnOnce(&Reader, &Writer) -> io::Result<T>,
) -> io::Result<T> {
    let mut is_signal_due = false;
    let result = with(from, |from| {
        let reader = from.reader()?;
        with(to, |to| {
            let writer = to.writer()?;
            let result = call(&reader, &writer);
            is_signal_due = writer.take_due_signal();
            result
        })
    });
    signalled(result, is_signal_due)
}

/// Sends SIGPIPE if it is due. By now the thread holds nothing of ours: a handler may jump out of the call.
#[inline]
pub(crate) fn signalled<T>(result: io::Result<T>, is_signal_due: bool) -> io::Result<T> {
    if is_signal_due {
        // What becomes of it is its handler's business.
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGPIPE);
    }
    result
}

/// The handle that `pointer` means, to be kept for a while.
pub(crate) fn get(pointer: *mut ppipe) -> Option<Arc<Handle>> {
    at(key_of(pointer).ok()?)
}

/// Takes the handle out of the table. It is closed when the last call that uses it has ended.
///
/// # Errors
/// EBADF if there is none.
pub(crate) fn remove(pointer: *mut ppipe) -> io::Result<()> {
    let _uncancelled = Uncancelled::begin();
    // Two who close at once: the first one has.
    if close(key_of(pointer)?) { Ok(()) } else { Err(of(libc::EBADF)) }
}

fn close(key: Key) -> bool {
    let Some(user) = enter(key) else { return false };
    // While nobody forks, so that a child has the handle or has it not, as its parent prepares for it.
    let _no_fork = NoFork::hold();
    user.close()
}

/// All handles, by their keys. `None` if there is no memory for that.
pub(crate) fn all() -> Option<Vec<(Key, Arc<Handle>)>> {
    let _no_fork = NoFork::hold();
    let made = vacant().made;
    let mut all = Vec::new();
    for index in 0..made {
        let Some(generation) = existing(index).ok().and_then(Place::open_generation) else { continue };
        let key = Key { index, generation };
        if let Some(handle) = at(key) {
            all.try_reserve(1).ok()?;
            all.push((key, handle));
        }
    }
    Some(all)
}

/// Takes out all handles. What is in use goes on to the end of the call.
pub(crate) fn close_all() {
    let _uncancelled = Uncancelled::begin();
    forget_all_but(|_| false);
}

/// Takes out all handles but some.
pub(crate) fn forget_all_but(is_kept: impl Fn(Key) -> bool) {
    let made = {
        let _no_fork = NoFork::hold();
        vacant().made
    };
    for index in 0..made {
        let generation = existing(index).ok().and_then(Place::open_generation);
        if let Some(key) = generation.map(|generation| Key { index, generation })
            && !is_kept(key)
        {
            forget(key);
        }
    }
}

/// Takes a handle out.
pub(crate) fn forget(key: Key) {
    close(key);
}

/// In a forked child: puts these ends in the place of those that are its parent's.
pub(crate) fn replace(key: Key, reader: Option<Reader>, writer: Option<Writer>) {
    if let (Some(_), Ok(place)) = (at(key), existing(key.index)) {
        place.replace(handle(reader, writer));
    }
}

fn vacant() -> MutexGuard<'static, Vacant> {
    VACANT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key_of(pointer: *mut ppipe) -> io::Result<Key> {
    let parts = parts::<ppipe, MARK>(pointer).filter(|(index, _)| (*index as usize) < CHUNK * CHUNKS);
    parts.map(|(index, generation)| Key { index, generation }).ok_or_else(|| of(libc::EBADF))
}

fn at(key: Key) -> Option<Arc<Handle>> {
    enter(key).map(|user| Arc::clone(user.handle()))
}

/// The number of a place in one of its generations, in the guise of a pointer. What it is of, the mark tells.
pub(crate) fn pointer<T, const MARK: usize>(index: u32, generation: u32) -> *mut T {
    let number = (generation as usize) << GENERATION_SHIFT | (index as usize) << PLACE_SHIFT | MARK;
    core::ptr::without_provenance_mut(number)
}

/// The place and its generation, if the pointer has this mark.
pub(crate) fn parts<T, const MARK: usize>(pointer: *mut T) -> Option<(u32, u32)> {
    let number = pointer.addr();
    let index = (number & u32::MAX as usize) >> PLACE_SHIFT;
    let is_ours = number & ((1 << PLACE_SHIFT) - 1) == MARK;
    is_ours.then_some((index as u32, (number >> GENERATION_SHIFT) as u32))
}

fn existing(index: u32) -> io::Result<&'static Place> {
    let chunk = TABLE[index as usize / CHUNK].get();
    chunk.map(|chunk| &chunk[index as usize % CHUNK]).ok_or_else(|| of(libc::EBADF))
}

/// Makes the place `index`, if it is not there yet; called by one at a time.
fn make_place(index: u32) -> io::Result<()> {
    let chunk = TABLE.get(index as usize / CHUNK).ok_or_else(|| of(libc::EMFILE))?;
    if chunk.get().is_none() {
        let mut places = Vec::new();
        places.try_reserve_exact(CHUNK).map_err(|_| of(libc::ENOMEM))?;
        places.extend((0..CHUNK).map(|_| Place::vacant()));
        let _ = chunk.set(places.into_boxed_slice());
    }
    Ok(())
}
