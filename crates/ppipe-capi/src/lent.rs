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
//! found out. The list is never locked while anything waits. Once there are as many places and ends as loans
//! are out at a time, nothing is allocated.

use std::array;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use nix::libc;
use ppipe_rs::{ReadLender, WriteLender};

use crate::error::of;
use crate::loans::ppipe_loan;
use crate::table::{self, Handle};

const MARK: usize = 2;

/// Descriptors of an end: two bells and a lock.
type Numbers = [Option<RawFd>; 3];

static LENT: Mutex<Lent> = Mutex::new(Lent { places: Vec::new(), vacant: Vec::new() });

/// All loans of this process.
pub(crate) struct Lent {
    places: Vec<Place>,
    vacant: Vec<u32>,
}

struct Place {
    generation: u32,
    /// `None` while a call has it, and when it is vacant.
    loan: Option<Loan>,
    /// What a forked child has copies of, also while a call has the loan. None if it is vacant.
    numbers: Numbers,
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

    fn numbers(&self) -> Numbers {
        fn all(mut numbers: impl Iterator<Item = RawFd>) -> Numbers {
            array::from_fn(|_| numbers.next())
        }
        match self {
            Self::Write(lender) => all(lender.numbers()),
            Self::Read(lender) => all(lender.numbers()),
        }
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

/// A place for what a call is going to lend, which is in that call's hands until it is put there. So a child that is forked while the call waits
/// knows of it.
///
/// # Errors
/// EMFILE if there are as many as there can be.
pub(crate) fn place_for(lender: &Lender) -> io::Result<*mut ppipe_loan> {
    let numbers = lender.numbers();
    let mut lent = lent();
    let index = match lent.vacant.pop() {
        Some(index) => index as usize,
        None if lent.places.len() == table::MOST_PLACES => return Err(of(libc::EMFILE)),
        None => {
            lent.places.push(Place { generation: 1, loan: None, numbers });
            lent.places.len() - 1
        }
    };
    let place = &mut lent.places[index];
    place.numbers = numbers;
    Ok(table::pointer::<ppipe_loan, MARK>(index as u32, place.generation))
}

/// Takes the loan for a call that ends it, or puts it back if it cannot.
///
/// # Errors
/// EBADF if there is none, another call has it, or it is not one that is wanted.
pub(crate) fn take(pointer: *mut ppipe_loan, is_wanted: impl FnOnce(&Lender) -> bool) -> io::Result<Loan> {
    let mut lent = lent();
    let loan = lent.place(pointer).and_then(|place| place.loan.take_if(|loan| is_wanted(&loan.lender)));
    loan.ok_or_else(|| of(libc::EBADF))
}

/// Puts a loan where it can be found.
pub(crate) fn put(pointer: *mut ppipe_loan, loan: Loan) {
    if let Some(place) = lent().place(pointer) {
        place.loan = Some(loan);
    }
}

/// Ends a loan that was taken, or never put. In one go with giving the end back, so that a fork finds the end here or there.
pub(crate) fn end(pointer: *mut ppipe_loan, loan: Loan) {
    let mut lent = lent();
    loan.give_back();
    let Some(place) = lent.place(pointer) else { return };
    place.make_vacant();
    if let Some((index, _)) = table::parts::<ppipe_loan, MARK>(pointer) {
        lent.vacant.push(index);
    }
}

/// The list. Held over a fork, so that the child finds it whole.
pub(crate) fn lent() -> MutexGuard<'static, Lent> {
    LENT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lent {
    fn place(&mut self, pointer: *mut ppipe_loan) -> Option<&mut Place> {
        let (index, generation) = table::parts::<ppipe_loan, MARK>(pointer)?;
        self.places.get_mut(index as usize).filter(|place| place.generation == generation)
    }

    /// In a forked child: ends all loans, which are the parent's, and closes the copies of their descriptors.
    pub(crate) fn forget_all(&mut self) {
        for place in &mut self.places {
            let is_in_a_call = place.loan.is_none();
            // Dropping an end in a process that is not its own closes descriptors and does nothing else.
            drop(place.loan.take());
            for number in place.numbers.into_iter().flatten().filter(|_| is_in_a_call) {
                // SAFETY: the child's own copy, which nobody uses: who did was a thread of the parent.
                unsafe { libc::close(number) };
            }
            place.make_vacant();
        }
        self.vacant = (0..self.places.len() as u32).collect();
    }
}

impl Place {
    fn make_vacant(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.numbers = [None; 3];
    }
}
