//! Many storms one after the other, each on a new pipe of another shape, so that the laws that hold at the end are checked
//! often.

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::orders::{Traffic, Way};
use crate::storm::{Failure, Storm, Tally, Trouble, Victims};

/// The variable that says how many are killed.
const KILLS: &str = "PPIPE_KILLS";
/// So many are killed on one pipe.
pub const KILLS_PER_PIPE: u32 = 100;
/// No message for so long is a hang. On a machine that is busy with other things, seconds pass without one.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Which storms.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Which verbs.
    pub traffic: Traffic,
    /// How children come to the pipe.
    pub way: Way,
    /// Who is killed.
    pub victims: Victims,
    /// Whether children say only a sample of what happens.
    pub is_silent: bool,
}

/// One of each sort that tells something of its own.
pub const SCENARIOS: [(&str, Scenario); 8] = [
    ("messages, ends inherited, all die", scenario(Traffic::Messages, Way::Inherited, Victims::All)),
    ("messages, opened by name, all die", scenario(Traffic::Messages, Way::Named, Victims::All)),
    ("messages, ends inherited, only writers die", scenario(Traffic::Messages, Way::Inherited, Victims::Writers)),
    ("messages, opened by name, only readers die", scenario(Traffic::Messages, Way::Named, Victims::Readers)),
    ("stream, ends inherited, all die", scenario(Traffic::Stream, Way::Inherited, Victims::All)),
    ("stream, opened by name, only writers die", scenario(Traffic::Stream, Way::Named, Victims::Writers)),
    ("messages in silence, ends inherited", Scenario { is_silent: true, ..MESSAGES }),
    ("stream in silence, ends inherited", Scenario { is_silent: true, traffic: Traffic::Stream, ..MESSAGES }),
];

const MESSAGES: Scenario = scenario(Traffic::Messages, Way::Inherited, Victims::All);

const fn scenario(traffic: Traffic, way: Way, victims: Victims) -> Scenario {
    Scenario { traffic, way, victims, is_silent: false }
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program that children are.
    pub program: PathBuf,
    /// What everything random follows from.
    pub seed: u64,
    /// How many are killed in all.
    pub kills: u32,
    /// Whether somebody asked for so many, so that fewer will not do.
    pub is_wanted: bool,
}

/// All tallies together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Total {
    /// How many pipes there were.
    pub pipes: u32,
    /// The sums.
    pub tally: Tally,
}

impl Plan {
    /// As `PPIPE_KILLS` and `PPIPE_SEED` have it, otherwise `kills` and a random seed.
    ///
    /// # Errors
    /// Which of them is not a number.
    pub fn from_environment(program: PathBuf, kills: u32) -> Result<Self, String> {
        let wanted = number(KILLS)?;
        Ok(Self {
            program,
            seed: number("PPIPE_SEED")?.unwrap_or_else(|| fastrand::u64(..)),
            kills: wanted.unwrap_or(kills),
            is_wanted: wanted.is_some(),
        })
    }

    /// How many are to be killed in each of the [`SCENARIOS`]: together no fewer than in all in those that account for every
    /// message; and as many again in each of those that are silent.
    #[must_use]
    pub fn kills_per_scenario(&self) -> u32 {
        let accounted = SCENARIOS.iter().filter(|(_, scenario)| !scenario.is_silent).count();
        self.kills.div_ceil(accounted as u32)
    }

    /// Storms of one scenario until so many have been killed, or it is late.
    ///
    /// # Errors
    /// Why one has failed, and with which seed.
    pub fn run(&self, scenario: Scenario, kills: u32, until: Instant) -> Result<Total, String> {
        let mut total = Total::default();
        while total.kills() < kills && Instant::now() < until {
            let seed = self.seed.wrapping_add(u64::from(total.pipes));
            let storm = self.storm(scenario, seed, Trouble::Kill(KILLS_PER_PIPE.min(kills - total.kills())), until);
            total.add(storm.run().map_err(|failure| of_seed(seed, &failure))?);
        }
        Ok(total)
    }

    /// Pipe `number` of the long form: those scenarios take turns that account for every message, and there are always four writers and four
    /// readers. What the scenario is called.
    #[must_use]
    pub fn long_storm(&self, number: u32, trouble: Trouble, until: Instant) -> (&'static str, Storm) {
        let accounted: Vec<_> = SCENARIOS.iter().filter(|(_, scenario)| !scenario.is_silent).collect();
        let (what, scenario) = accounted[number as usize % accounted.len()];
        let seed = self.seed.wrapping_add(number.into());
        (what, Storm { crowd: (4, 4), ..self.storm(*scenario, seed, trouble, until) })
    }

    /// One storm.
    #[must_use]
    pub fn storm(&self, scenario: Scenario, seed: u64, trouble: Trouble, until: Instant) -> Storm {
        let mut random = fastrand::Rng::with_seed(!seed);
        Storm {
            program: self.program.clone(),
            seed,
            traffic: scenario.traffic,
            way: scenario.way,
            crowd: (random.usize(2..=4), random.usize(2..=4)),
            trouble,
            victims: scenario.victims,
            is_silent: scenario.is_silent,
            lie: None,
            until,
            patience: PATIENCE,
        }
    }
}

/// The number that the environment gives; `None` if it says nothing.
fn number<T: FromStr>(variable: &str) -> Result<Option<T>, String> {
    let Some(text) = std::env::var_os(variable) else { return Ok(None) };
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| format!("{variable} is {text:?}, expected a number"))
}

/// A failure with what is needed to see it again.
#[must_use]
pub fn of_seed(seed: u64, failure: &Failure) -> String {
    format!("PPIPE_SEED={seed}: {failure}")
}

impl Total {
    /// How many were killed.
    #[must_use]
    pub fn kills(&self) -> u32 {
        self.tally.killed_writers + self.tally.killed_readers
    }

    /// Adds a storm.
    pub fn add(&mut self, tally: Tally) {
        self.pipes += 1;
        let sum = &mut self.tally;
        sum.killed_writers += tally.killed_writers;
        sum.killed_readers += tally.killed_readers;
        sum.stops += tally.stops;
        sum.passed += tally.passed;
        sum.ends += tally.ends;
        sum.arrived += tally.arrived;
        sum.taken_along += tally.taken_along;
        sum.unsaid += tally.unsaid;
        sum.looks += tally.looks;
        sum.pending += tally.pending;
        sum.extents += tally.extents;
        sum.aimed += tally.aimed;
        sum.silence = sum.silence.max(tally.silence);
        sum.time += tally.time;
    }
}

impl Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        write!(
            f,
            "{} writers and {} readers killed on {} pipes, {} stopped ({} for so long that the others had to go on \
             meanwhile), in {:.1} s; {} messages arrived, {} were taken along by killed readers, {} came from writers \
             killed before they said so; {} readers came to the end, each after the last writer had gone; {} looks \
             after a kill found {} exchanges pending and {} extents held; {} stood in the midst of an exchange; the \
             longest silence was {} ms",
            tally.killed_writers,
            tally.killed_readers,
            self.pipes,
            tally.stops,
            tally.passed,
            tally.time.as_secs_f64(),
            tally.arrived,
            tally.taken_along,
            tally.unsaid,
            tally.ends,
            tally.looks,
            tally.pending,
            tally.extents,
            tally.aimed,
            tally.silence.as_millis(),
        )
    }
}
