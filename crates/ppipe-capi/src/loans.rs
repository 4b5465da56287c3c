//! Loans: a packet is filled where it will lie, or looked at where it lies. The library copies nothing.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use nix::libc::{self, c_int, c_void, size_t, ssize_t};
use ppipe_rs::{Message, ReadLender, SharedBytes, WriteLender};

use crate::error::{count, done, of};
use crate::lent::{self, Lender, Loan};
use crate::messages::{check, inform, ppipe_info};
use crate::table::Handle;
use crate::{ppipe, table};

/// Memory of a pipe that is lent: to be filled and committed, or to be looked at and returned.
#[allow(non_camel_case_types, reason = "C's name for it")]
#[derive(Debug)]
pub struct ppipe_loan;

/// Lends room for a packet of n bytes, to be filled and committed, or abandoned. *bytes is where it is; what it holds is not defined. Waits only for a
/// packet above 4096 bytes, if too many of them are under way. Flags: MSG_DONTWAIT. If it fails both pointers are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_reserve(
    p: *mut ppipe,
    n: size_t,
    loan: *mut *mut ppipe_loan,
    bytes: *mut *mut c_void,
    flags: c_int,
) -> c_int {
    let mut is_signal_due = false;
    let reserve = || {
        check(flags, libc::MSG_DONTWAIT)?;
        let handle = table::get(p).ok_or_else(|| of(libc::EBADF))?;
        let pool = handle.pools().1.ok_or_else(|| of(libc::EBADF))?;
        lend(&handle, Lender::Write(WriteLender::new(pool.take()?)), |lender| match lender {
            Lender::Write(lender) => {
                let reserved = lender.reserve(n, flags & libc::MSG_DONTWAIT != 0);
                is_signal_due = lender.take_due_signal();
                reserved?;
                Ok(start_of(lender.bytes()))
            }
            Lender::Read(_) => Err(of(libc::EBADF)),
        })
    };
    // SAFETY: as the caller promises.
    let result = unsafe { written_down(loan, bytes, reserve) };
    done(table::signalled(result, is_signal_due))
}

/// Sends the first n of the bytes that were lent as one packet; waits for room. The loan is over then. If it fails the loan is still there, at most n bytes
/// long: commit it again, or abandon it. With n 0 nothing is sent. Flags: MSG_DONTWAIT.
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_commit(loan: *mut ppipe_loan, n: size_t, flags: c_int) -> c_int {
    let mut is_signal_due = false;
    let mut commit = || {
        check(flags, libc::MSG_DONTWAIT)?;
        let mut taken = lent::take(loan, Lender::is_write)?;
        let Lender::Write(lender) = &mut taken.lender else { return Err(of(libc::EBADF)) };
        match lender.commit(n, flags & libc::MSG_DONTWAIT != 0) {
            Ok(()) => lent::end(loan, taken),
            Err(error) => {
                is_signal_due = lender.take_due_signal();
                lent::put(loan, taken);
                return Err(error);
            }
        }
        Ok(())
    };
    let result = commit();
    done(table::signalled(result, is_signal_due))
}

/// Gives room back without sending anything.
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_abandon(loan: *mut ppipe_loan) -> c_int {
    done(lent::take(loan, Lender::is_write).map(|taken| lent::end(loan, taken)))
}

/// Receives the next packet, or up to 4096 bytes of a stream, where it lies, to be looked at and returned. *bytes is where that is. Returns how many
/// there are; 0 at the end of file. Flags: MSG_DONTWAIT. Where it lends nothing both pointers are null. Others who have the pipe can change what is
/// lent, by mistake or worse: copy what you check, then check the copy.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppipe_recv_loan(
    p: *mut ppipe,
    loan: *mut *mut ppipe_loan,
    bytes: *mut *const c_void,
    info: *mut ppipe_info,
    flags: c_int,
) -> ssize_t {
    let mut received = (Message::default(), None);
    let receive = || {
        check(flags, libc::MSG_DONTWAIT)?;
        let handle = table::get(p).ok_or_else(|| of(libc::EBADF))?;
        let pool = handle.pools().0.ok_or_else(|| of(libc::EBADF))?;
        lend(&handle, Lender::Read(ReadLender::new(pool.take()?)), |lender| match lender {
            Lender::Read(lender) => {
                let message = lender.recv(flags & libc::MSG_DONTWAIT != 0)?;
                received = (message, lender.last_sender().filter(|_| !message.is_stream));
                Ok(start_of(lender.bytes()))
            }
            Lender::Write(_) => Err(of(libc::EBADF)),
        })
    };
    // SAFETY: as the caller promises.
    let lent = unsafe { written_down(loan, bytes.cast(), receive) };
    match lent {
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => return count(Err(error)),
        _ => {}
    }
    let (message, sender) = received;
    // SAFETY: as the caller promises.
    unsafe { inform(info, message, sender) };
    count(Ok(message.len))
}

/// Gives back what was received. The bytes must not be looked at any more.
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_return(loan: *mut ppipe_loan) -> c_int {
    done(lent::take(loan, |lender| !lender.is_write()).map(|taken| lent::end(loan, taken)))
}

/// Makes a loan of what `lender` lends when `call` is done, which says where it is.
fn lend(
    handle: &Arc<Handle>,
    lender: Lender,
    call: impl FnOnce(&mut Lender) -> io::Result<*mut c_void>,
) -> io::Result<(*mut ppipe_loan, *mut c_void)> {
    let place = lent::new_place()?;
    let mut loan = Loan { lender, handle: Arc::downgrade(handle) };
    match call(&mut loan.lender) {
        Ok(start) => {
            lent::put(place, loan);
            Ok((place, start))
        }
        Err(error) => {
            lent::end(place, loan);
            Err(error)
        }
    }
}

/// Writes down what is lent and where it is; null and null if it is nothing.
///
/// # Safety
/// Both pointers are null or have room for one.
unsafe fn written_down(
    loan: *mut *mut ppipe_loan,
    bytes: *mut *mut c_void,
    lend: impl FnOnce() -> io::Result<(*mut ppipe_loan, *mut c_void)>,
) -> io::Result<()> {
    if loan.is_null() || bytes.is_null() {
        return Err(of(libc::EFAULT));
    }
    let lent = lend();
    let (pointer, start) = *lent.as_ref().unwrap_or(&(core::ptr::null_mut(), core::ptr::null_mut()));
    // SAFETY: not null, and the caller has promised the rest.
    unsafe { loan.write(pointer) };
    // SAFETY: as above.
    unsafe { bytes.write(start) };
    lent.map(|_| ())
}

fn start_of(bytes: Option<SharedBytes<'_>>) -> *mut c_void {
    bytes.map_or(core::ptr::null_mut(), |bytes| bytes.cells().as_ptr().cast_mut().cast())
}
