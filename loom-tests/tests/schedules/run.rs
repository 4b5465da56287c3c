//! Runs a story under many schedules.

use std::time::Instant;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

/// So many schedules of each test and each scheduler, if nobody says otherwise.
const SCHEDULES: usize = 500;
/// Far more than any story needs; one that needs more does not end.
const MOST_STEPS: usize = 200_000;
/// So many times the one that goes first is another one, in the second kind of schedules.
const CHANGES: usize = 6;

/// Runs `story` at random, and then so that who goes first goes on until it changes, which it does a few times: such schedules
/// find what takes one to be stopped for long.
pub(crate) fn under_many_schedules(story: impl Fn() + Send + Sync + Clone + 'static) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let schedules = number("PPIPE_SCHEDULES").map_or(SCHEDULES, |count| count as usize);
    let seed = number("PPIPE_SEED").unwrap_or_else(seed_of_this_moment);
    println!("PPIPE_SEED={seed}, {schedules} schedules of each kind");
    run("at random", RandomScheduler::new_from_seed(seed, schedules), schedules, story.clone());
    run("by priority", PctScheduler::new_from_seed(seed, CHANGES, schedules), schedules, story);
}

/// Another one each time; what is printed takes it back.
fn seed_of_this_moment() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(1, |time| u64::from(time.subsec_nanos()))
}

fn run(kind: &str, scheduler: impl Scheduler + 'static, schedules: usize, story: impl Fn() + Send + Sync + 'static) {
    let start = Instant::now();
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(MOST_STEPS);
    config.silence_warnings = true;
    let count = Runner::new(scheduler, config).run(story);
    println!("{count} schedules {kind} in {:.2} s", start.elapsed().as_secs_f64());
    assert_eq!(count, schedules);
}
