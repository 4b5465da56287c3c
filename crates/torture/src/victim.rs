//! What the program does that was started as a victim.

use std::io::{self, Write};

use crate::act::{Ready, Scenario};
use crate::stepping::{be_traced, mark};
use crate::world::ORDERS;

/// Runs as a victim if this process was started as one; returns whether it was. It writes what it has received to its standard output.
///
/// # Errors
/// What the pipe says when it should not.
pub fn run_if_told() -> io::Result<bool> {
    let Ok(orders) = std::env::var(ORDERS) else { return Ok(false) };
    let scenario: Scenario = orders.parse().map_err(io::Error::other)?;
    be_traced()?;
    let mut ready = Ready::prepare(scenario)?;
    mark()?;
    let received = ready.act();
    mark()?;
    io::stdout().write_all(ready.received(received?))?;
    Ok(true)
}
