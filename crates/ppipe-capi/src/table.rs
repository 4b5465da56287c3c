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

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::{ArcSwapOption, Guard};
use nix::libc;
use ppipe_rs::{Reader, Writer};

use crate::error::of;
use crate::pool::{Borrowed, Pool};
use crate::{fork, ppipe};

/// Places that are made at a time, and how many times.
const CHUNK: usize = 1024;
const CHUNKS: usize = 1024;

const PLACE_SHIFT: u32 = 4;
const MARK: usize = 1;
const GENERATION_SHIFT: u32 = 32;
/// A number has no more places than this.
pub(crate) const MOST_PLACES: usize = 1 << (GENERATION_SHIFT - PLACE_SHIFT);

static TABLE: [OnceLock<Box<[Place]>>; CHUNKS] = [const { OnceLock::new() }; CHUNKS];
static VACANT: Mutex<Vacant> = Mutex::new(Vacant { places: Vec::new(), made: 0 });

struct Place {
    handle: ArcSwapOption<Handle>,
    generation: AtomicU32,
}

/// The places that no handle has.
pub(crate) struct Vacant {
    places: Vec<u32>,
    made: u32,
}

/// What a handle is.
#[derive(Debug)]
pub(crate) struct Handle {
    reader: Option<Pool<Reader>>,
    writer: Option<Pool<Writer>>,
    generation: u32,
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

    pub(crate) fn pools(&self) -> (Option<&Pool<Reader>>, Option<&Pool<Writer>>) {
        (self.reader.as_ref(), self.writer.as_ref())
    }
}

/// Gives C a handle of these ends.
///
/// # Errors
/// EMFILE if there are as many as there can be.
pub(crate) fn add(reader: Option<Reader>, writer: Option<Writer>) -> io::Result<*mut ppipe> {
    fork::prepare_once()?;
    let mut vacant = vacant();
    let index = match vacant.places.pop() {
        Some(index) => index,
        None => {
            if vacant.made as usize == CHUNK * CHUNKS {
                return Err(of(libc::EMFILE));
            }
            vacant.made += 1;
            vacant.made - 1
        }
    };
    drop(vacant);
    let place = place_of(index).ok_or_else(|| of(libc::EMFILE))?;
    // Relaxed, here and below: the handle itself says which generation it is of.
    let generation = place.generation.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    place.handle.store(Some(Arc::new(handle(reader, writer, generation))));
    Ok(pointer::<ppipe, MARK>(index, generation))
}

fn handle(reader: Option<Reader>, writer: Option<Writer>, generation: u32) -> Handle {
    Handle { reader: reader.map(Pool::new), writer: writer.map(Pool::new), generation }
}

/// Runs a call on the handle that `pointer` means.
///
/// # Errors
/// EBADF if it means none; what the call says.
#[inline]
pub(crate) fn with<T>(pointer: *mut ppipe, call: impl FnOnce(&Handle) -> io::Result<T>) -> io::Result<T> {
    let (index, generation) = handle_of(pointer)?;
    let guard: Guard<Option<Arc<Handle>>> = existing(index)?.handle.load();
    match &*guard {
        Some(handle) if handle.generation == generation => call(handle),
        _ => Err(of(libc::EBADF)),
    }
}

/// The handle that `pointer` means, to be kept for a while.
pub(crate) fn get(pointer: *mut ppipe) -> Option<Arc<Handle>> {
    let (index, generation) = handle_of(pointer).ok()?;
    existing(index).ok()?.handle.load_full().filter(|handle| handle.generation == generation)
}

/// Takes the handle out of the table. It is closed when the last call that uses it has ended.
///
/// # Errors
/// EBADF if there is none.
pub(crate) fn remove(pointer: *mut ppipe) -> io::Result<()> {
    let (index, generation) = handle_of(pointer)?;
    let place = existing(index)?;
    let current = place.handle.load_full();
    if current.as_ref().is_none_or(|handle| handle.generation != generation) {
        return Err(of(libc::EBADF));
    }
    let before = place.handle.compare_and_swap(&current, None);
    // Two who close at once: the first one has.
    let was_here = before.as_ref().map(Arc::as_ptr) == current.as_ref().map(Arc::as_ptr);
    if !was_here {
        return Err(of(libc::EBADF));
    }
    drop((before, current));
    vacant().places.push(index);
    Ok(())
}

/// All handles, with their places.
pub(crate) fn all() -> Vec<(u32, Arc<Handle>)> {
    let made = vacant().made;
    (0..made).filter_map(|index| Some((index, existing(index).ok()?.handle.load_full()?))).collect()
}

/// In a forked child: takes out a handle that is its parent's.
pub(crate) fn forget(index: u32) -> Option<Arc<Handle>> {
    existing(index).ok()?.handle.swap(None)
}

/// In a forked child: puts these ends in the place of those that are its parent's, which it returns.
pub(crate) fn replace(index: u32, reader: Option<Reader>, writer: Option<Writer>) -> Option<Arc<Handle>> {
    let place = existing(index).ok()?;
    let generation = place.handle.load().as_ref()?.generation;
    place.handle.swap(Some(Arc::new(handle(reader, writer, generation))))
}

/// Held over a fork, so that the child finds the list whole.
pub(crate) fn vacant() -> MutexGuard<'static, Vacant> {
    VACANT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn handle_of(pointer: *mut ppipe) -> io::Result<(u32, u32)> {
    parts::<ppipe, MARK>(pointer).filter(|(index, _)| (*index as usize) < CHUNK * CHUNKS).ok_or_else(|| of(libc::EBADF))
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

fn place_of(index: u32) -> Option<&'static Place> {
    let vacant = |_| Place { handle: ArcSwapOption::empty(), generation: AtomicU32::new(0) };
    let chunk = TABLE.get(index as usize / CHUNK)?.get_or_init(|| (0..CHUNK).map(vacant).collect());
    chunk.get(index as usize % CHUNK)
}
