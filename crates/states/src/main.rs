//! Explores the protocol's states for longer than tests do.
//!
//! ```text
//! just states                # all scenarios, for an hour at most
//! just states --only large   # those whose names contain the word
//! ```

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use states::explore::explore;
use states::mistake::Mistake;
use states::scenario::{LONG, SHORT};

/// Explores all states of the ring's protocol in some scenarios.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only scenarios whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
    /// For how many seconds each scenario is explored at most.
    #[arg(long, default_value_t = 900)]
    seconds: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut code = ExitCode::SUCCESS;
    for scenario in SHORT.iter().chain(LONG).filter(|scenario| scenario.name.contains(&arguments.only)) {
        let outcome = explore(scenario, Mistake::None, Duration::from_secs(arguments.seconds));
        println!("{}: {outcome}", scenario.name);
        if let Some((_, way)) = outcome.broken {
            println!("  {}", way.join("\n  "));
            code = ExitCode::FAILURE;
        }
    }
    code
}
