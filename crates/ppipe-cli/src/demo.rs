//! The demonstration: real data through both pipes by turns, checked and timed.
//!
//! ```text
//!   round 0   everything once, shortened, not counted        memory is touched, both sides are awake
//!   round 1   stream: ours, kernel; packets: ours, kernel; ...; pings
//!   round 2   stream: kernel, ours; packets: kernel, ours; ...; pings
//! ```
//!
//! The parent only says what is to be done, and compares. The writer's clock starts before its first write, the reader's
//! stops when it has everything and its checksum; both read the same clock.

use std::ffi::OsString;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use crate::args::DemoArgs;
use crate::cache_line;
use crate::children::Children;
use crate::control::{Loaded, Moved, Order, Report};
use crate::failure::Failure;
use crate::figures::{Figures, Pings, Rounds, is_slow};
use crate::table;
use crate::workload::{PingWay, Way, Workload};

/// The kernel's sleeping pings take so many times longer that there are fewer of them.
const SLEEPING_PINGS_DIVISOR: u32 = 10;
/// For so long a cache line is passed to and fro in each round.
const CACHE_LINE_TIME: Duration = Duration::from_millis(10);

/// Runs it, and returns what to print.
pub(crate) fn run(args: &DemoArgs) -> Result<String, Failure> {
    let mut demo = Demo::start(args)?;
    demo.all_rounds()?;
    let figures = demo.end()?;
    if args.is_json {
        let json = serde_json::to_string_pretty(&figures).map_err(|error| Failure::new("the figures", error))?;
        return Ok(json + "\n");
    }
    Ok(table::table(&figures))
}

struct Demo<'a> {
    args: &'a DemoArgs,
    children: Children,
    loaded: Loaded,
    rounds: Vec<Rounds>,
    pings: Vec<Pings>,
    /// The shortest of all rounds.
    cache_line_round_trip_ns: f64,
    rounds_done: u32,
    bytes_verified: u64,
    is_falsified: bool,
    progress: ProgressBar,
}

impl<'a> Demo<'a> {
    fn start(args: &'a DemoArgs) -> Result<Self, Failure> {
        let progress = progress_bar(args.rounds);
        progress.set_message("reading the input");
        let mut writer_arguments: Vec<OsString> = vec!["--limit".into(), args.limit.to_string().into(), "--".into()];
        writer_arguments.extend(args.paths.iter().map(Into::into));
        let mut children = Children::start(writer_arguments, args.capacity)?;
        let (Report::Ready(Some(loaded)), Report::Ready(None)) = children.reports()? else {
            return Err(out_of_order());
        };
        Ok(Self {
            args,
            children,
            loaded,
            rounds: Workload::standard(args.amount).map(Rounds::of).into(),
            pings: [PingWay::Ours, PingWay::KernelPolled, PingWay::KernelSleeping].map(Pings::of).into(),
            cache_line_round_trip_ns: f64::INFINITY,
            rounds_done: 0,
            bytes_verified: 0,
            is_falsified: args.is_falsified,
            progress,
        })
    }

    /// As many as were asked for, or as there is time for, but at least one that counts.
    fn all_rounds(&mut self) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut longest = Duration::ZERO;
        for round in 0..=self.args.rounds {
            let start = Instant::now();
            if round > 1 && (start - begin) + longest > Duration::from_secs(self.args.seconds.into()) {
                return Ok(());
            }
            self.round(round)?;
            self.rounds_done = round;
            longest = longest.max(start.elapsed());
        }
        Ok(())
    }

    /// Round 0 only warms up.
    fn round(&mut self, round: u32) -> Result<(), Failure> {
        let ways = if round.is_multiple_of(2) { [Way::Kernel, Way::Ours] } else { [Way::Ours, Way::Kernel] };
        let is_warm_up = round == 0;
        for index in 0..self.rounds.len() {
            let whole = self.rounds[index].workload();
            let workload = if is_warm_up { whole.shortened() } else { whole };
            for way in ways {
                self.show(round, &whole.name());
                let (pieces, elapsed_ns) = self.transfer(workload, way)?;
                if !is_warm_up {
                    self.rounds[index].add(way, pieces, elapsed_ns);
                }
            }
        }
        self.show(round, "pings");
        for index in 0..self.pings.len() {
            let times = self.ping(self.pings[index].way())?;
            if !is_warm_up {
                self.pings[index].add(&times);
            }
        }
        let round_trip_ns = cache_line::round_trip_ns(CACHE_LINE_TIME);
        if !is_warm_up {
            self.cache_line_round_trip_ns = self.cache_line_round_trip_ns.min(round_trip_ns);
        }
        Ok(())
    }

    /// Moves one workload and compares what came out with what went in. Returns pieces and nanoseconds.
    fn transfer(&mut self, workload: Workload, way: Way) -> Result<(u64, u64), Failure> {
        let is_falsified = self.is_falsified && way == Way::Ours;
        let order = Order::Move { workload, way, input_len: self.loaded.input_len, is_falsified };
        let (Report::Moved(sent), Report::Moved(received)) = self.children.order(&order)? else {
            return Err(out_of_order());
        };
        check(workload, way, sent, received)?;
        self.bytes_verified += workload.amount;
        Ok((sent.pieces, received.at_ns.saturating_sub(sent.at_ns)))
    }

    fn ping(&mut self, way: PingWay) -> Result<Vec<(u64, u64)>, Failure> {
        let divisor = if way == PingWay::KernelSleeping { SLEEPING_PINGS_DIVISOR } else { 1 };
        let round_trips = (self.args.pings / divisor).max(1);
        match self.children.order(&Order::Ping { way, round_trips })? {
            (Report::Timed(times), Report::Answered) => Ok(times),
            _ => Err(out_of_order()),
        }
    }

    fn end(self) -> Result<Figures, Failure> {
        self.children.end()?;
        let system = rustix::system::uname();
        let latency: Vec<_> = self.pings.iter().map(Pings::latency).collect();
        Ok(Figures {
            system: format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy()),
            cpus: thread::available_parallelism().map_or(1, usize::from),
            input: self.loaded.summary,
            capacity: self.args.capacity,
            rounds: self.rounds_done,
            bytes_verified: self.bytes_verified,
            throughput: self.rounds.iter().map(Rounds::throughput).collect(),
            is_slow: latency.first().is_some_and(is_slow),
            latency,
            cache_line_one_way_ns: self.cache_line_round_trip_ns / 2.0,
        })
    }

    /// Drawn between two steps only, so that nothing but the pipes runs while they are timed.
    fn show(&self, round: u32, what: &str) {
        let round = if round == 0 { "warm-up".to_owned() } else { format!("round {round} of {}", self.args.rounds) };
        self.progress.set_message(format!("{round}: {what}"));
        self.progress.inc(1);
    }
}

fn check(workload: Workload, way: Way, sent: Moved, received: Moved) -> Result<(), Failure> {
    if sent.checksum == received.checksum {
        return Ok(());
    }
    let pipe = match way {
        Way::Ours => "ppipe",
        Way::Kernel => "kernel pipe",
    };
    let problem = format!(
        "checksum error: {:08x} was written and {:08x} was read of {} bytes",
        sent.checksum, received.checksum, workload.amount
    );
    Err(Failure::new(format!("{pipe}, {}", workload.name()), problem))
}

fn out_of_order() -> Failure {
    Failure::new("demo", "a process reported what it was not asked for")
}

/// On standard error, and only if that is a terminal. It vanishes when it is dropped, so that a failure stands alone.
fn progress_bar(rounds: u32) -> ProgressBar {
    let steps_a_round = Workload::standard(1).len() as u64 * 2 + 1;
    let steps = u64::from(rounds + 1) * steps_a_round;
    let progress = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
    let progress = progress.with_finish(ProgressFinish::AndClear);
    // The template is a constant and valid; without it the bar has its own style.
    if let Ok(style) = ProgressStyle::with_template("{bar:30.cyan} {percent:>3} %  {msg}") {
        progress.set_style(style.progress_chars("━━─"));
    }
    progress
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Shape;

    #[test]
    fn another_checksum_is_an_error_that_says_where() {
        let workload = Workload { shape: Shape::Packets, size: 64, amount: 640 };
        let sent = Moved { at_ns: 0, pieces: 10, checksum: 1 };
        check(workload, Way::Ours, sent, sent).expect("the same");
        let failure = check(workload, Way::Ours, sent, Moved { checksum: 2, ..sent }).expect_err("another");
        assert!(failure.to_string().starts_with("ppipe, packets of 64 B: checksum error"), "{failure}");
    }
}
