//! Storms take all CPUs: one test runs at a time, and says what it did also when it passes.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use storm::plan::Plan;

static TURN: Mutex<()> = Mutex::new(());

/// Held by the test whose turn it is.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    // A test that failed has cleaned up all the same.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the environment asks for, otherwise `kills`.
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) fn plan(kills: u32) -> Plan {
    Plan::from_environment(env!("CARGO_BIN_EXE_storm").into(), kills).unwrap_or_else(|error| panic!("{error}"))
}

/// Says it on the terminal, whether or not the test passes.
pub(crate) fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}
