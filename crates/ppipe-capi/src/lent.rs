//! Which loan a pointer from C means, and what it has: an end of its own, so that it lives on when its handle is closed.
//!
//! ```text
//!   vacant ── place_for ──> in the hands of a call ── end ──> vacant, in the next generation
//!                              │             ^
//!                             put           take
//!                              v             │
//!                               out, with C
//! ```
//!
//! Numbers as those of handles, with another mark: a loan that is over, one that another call is just ending, or any other number is
//! found out. The list is locked only while nobody forks, and never while anything waits. Once there are as many places and ends as loans
//! are out at a time, nothing is allocated.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use nix::libc;
use ppipe_rs::{NoFork, ReadLender, WriteLender};

use crate::error::of;
use crate::loans::ppipe_loan;
use crate::table::{self, Handle};

const MARK: usize = 2;

static LENT: Mutex<Lent> = Mutex::new(Lent { places: Vec::new(), vacant: Vec::new() });

/// All loans of this process.
struct Lent {
    places: Vec<Place>,
    vacant: Vec<u32>,
}

struct Place {
    generation: u32,
    /// `None` while a call has it, and when it is vacant.
    loan: Option<Loan>,
}

/// What is lent.
#[derive(Debug)]
pub(crate) struct Loan {
    pub(crate) lender: Lender,
    /// Where the end goes back to, if that is still open.
    pub(crate) handle: Weak<Handle>,
}

/// The end with what is lent of it.
#[derive(Debug)]
pub(crate) enum Lender {
    Write(WriteLender),
    Read(ReadLender),
}

impl Lender {
    pub(crate) fn is_write(&self) -> bool {
        matches!(self, Self::Write(_))
    }
}

impl Loan {
    /// Gives the end back to its handle; if that was closed, the end leaves the pipe.
    fn give_back(self) {
        let Some(handle) = self.handle.upgrade() else { return };
        match (self.lender, handle.pools()) {
            (Lender::Read(lender), (Some(pool), _)) => pool.give_back(lender.into_reader()),
            (Lender::Write(lender), (_, Some(pool))) => pool.give_back(lender.into_writer()),
            _ => {}
        }
    }
}

/// A place for what a call is going to lend, which is in that call's hands until it is put there.
///
/// # Errors
/// EMFILE if there are as many as there can be.
pub(crate) fn new_place() -> io::Result<*mut ppipe_loan> {
    let _no_fork = NoFork::hold();
    let mut lent = lent();
    let index = match lent.vacant.pop() {
        Some(index) => index as usize,
        None if lent.places.len() == table::MOST_PLACES => return Err(of(libc::EMFILE)),
        None => {
            lent.places.push(Place { generation: 1, loan: None });
            // So that ending a loan asks for no memory.
            let missing = lent.places.len() - lent.vacant.len();
            lent.vacant.reserve(missing);
            lent.places.len() - 1
        }
    };
    Ok(table::pointer::<ppipe_loan, MARK>(index as u32, lent.places[index].generation))
}

/// Takes the loan for a call that ends it, or puts it back if it cannot.
///
/// # Errors
/// EBADF if there is none, another call has it, or it is not one that is wanted.
pub(crate) fn take(pointer: *mut ppipe_loan, is_wanted: impl FnOnce(&Lender) -> bool) -> io::Result<Loan> {
    let _no_fork = NoFork::hold();
    let mut lent = lent();
    let loan = lent.place(pointer).and_then(|place| place.loan.take_if(|loan| is_wanted(&loan.lender)));
    loan.ok_or_else(|| of(libc::EBADF))
}

/// Puts a loan where it can be found.
pub(crate) fn put(pointer: *mut ppipe_loan, loan: Loan) {
    let _no_fork = NoFork::hold();
    if let Some(place) = lent().place(pointer) {
        place.loan = Some(loan);
    }
}

/// Ends a loan that was taken, or never put.
pub(crate) fn end(pointer: *mut ppipe_loan, loan: Loan) {
    loan.give_back();
    let _no_fork = NoFork::hold();
    let mut lent = lent();
    let Some(place) = lent.place(pointer) else { return };
    place.make_vacant();
    if let Some((index, _)) = table::parts::<ppipe_loan, MARK>(pointer) {
        lent.vacant.push(index);
    }
}

/// Ends all loans that are out: what they have leaves the pipe. One that is in the hands of a call stays there.
pub(crate) fn end_all() {
    let loans: Vec<_> = {
        let _no_fork = NoFork::hold();
        lent().places.iter_mut().filter_map(|place| place.loan.take()).collect()
    };
    drop(loans);
}

/// In a forked child: all loans are over. They are the parent's, and what they have is left as it is.
pub(crate) fn forget_all() {
    let mut lent = lent();
    for place in &mut lent.places {
        core::mem::forget(place.loan.take());
        place.make_vacant();
    }
    lent.vacant = (0..lent.places.len() as u32).collect();
}

/// The list. To be asked for only while nobody forks.
fn lent() -> MutexGuard<'static, Lent> {
    LENT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lent {
    fn place(&mut self, pointer: *mut ppipe_loan) -> Option<&mut Place> {
        let (index, generation) = table::parts::<ppipe_loan, MARK>(pointer)?;
        self.places.get_mut(index as usize).filter(|place| place.generation == generation)
    }
}

impl Place {
    fn make_vacant(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }
}
