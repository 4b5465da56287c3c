//! Whether the process has a handler of SIGBUS, for memory that is taken away.

use nix::libc::{self, c_int};

use crate::error::{done, of};

/// Leaves the process without the handler of SIGBUS that the first pipe brings: one whose memory is taken away ends it then. Before there is a pipe.
#[unsafe(no_mangle)]
pub extern "C" fn ppipe_leave_sigbus() -> c_int {
    done(if ppipe_rs::leave_sigbus_alone() { Ok(()) } else { Err(of(libc::EBUSY)) })
}
