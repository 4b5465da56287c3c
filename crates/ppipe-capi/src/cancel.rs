#![allow(unsafe_code)]
//! No call ends in its midst because its thread is cancelled. Unsafe because the C library is told so.
//!
//! A cancelled thread is unwound from where it is: by a function of the C library that is called deep in ours, to close a descriptor, say. What our
//! call has borrowed would be given back by nobody. So a cancellation that is asked for during a call waits until its end, and none of our functions is
//! a cancellation point.
//!
//! To say so takes 6 ns. Whoever moves a message does not: what reads, writes, and sleeps makes system calls, but calls no function of the C library
//! that is a cancellation point, closing its own descriptors included. Those say so that make, open or close an end, wait at several ones, or have to
//! do with descriptors of others.

use nix::libc::c_int;

/// As `<pthread.h>` has it.
const PTHREAD_CANCEL_DISABLE: c_int = 1;

unsafe extern "C" {
    safe fn pthread_setcancelstate(state: c_int, before: &mut c_int) -> c_int;
}

/// The thread is not cancelled as long as this lives.
pub(crate) struct Uncancelled(c_int);

impl Uncancelled {
    #[inline]
    pub(crate) fn begin() -> Self {
        let mut before = 0;
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mut before);
        Self(before)
    }
}

impl Drop for Uncancelled {
    #[inline]
    fn drop(&mut self) {
        let before = self.0;
        if before != PTHREAD_CANCEL_DISABLE {
            pthread_setcancelstate(before, &mut 0);
        }
    }
}
