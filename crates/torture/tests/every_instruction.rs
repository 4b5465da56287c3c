//! Processes that are killed or stopped at instructions of every operation, chosen at random; `just torture` goes through all of them.
//!
//! `PPIPE_SEED` repeats a run. Unoptimized operations have ten times as many instructions as a release build.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use torture::act::{Act, Filling, Scenario};
use torture::stepping::Place;
use torture::walk::{Failure, Led, Survey, count_calls, kill_at, stop_at};

/// One test at a time: a child that another thread is just starting has copies of every descriptor until it runs its program, and so
/// keeps alive for a moment who is dead.
static TURN: Mutex<()> = Mutex::new(());

/// So many places of each scenario.
const PLACES: u32 = 4;
/// Instructions behind a system call are chosen from 0 to a power of two up to this.
const MOST_STEPS: u32 = 1 << 13;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_torture"))
}

fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    std::env::var("PPIPE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(now)
}

fn some_place(rng: &mut Rng, calls: u32) -> Place {
    let most = 1 << rng.u32(0..=MOST_STEPS.trailing_zeros());
    Place { calls: rng.u32(0..=calls), steps: rng.u32(0..most), is_asleep: false }
}

/// Does `act` at some places of each scenario; at how many of them the victim stood in the midst of its operation.
fn at_some_places(
    scenarios: impl Iterator<Item = Scenario>,
    act: impl Fn(Scenario, Place, &Path) -> Result<Led, Failure>,
) -> (u32, u32) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let (mut there, mut all) = (0, 0);
    for scenario in scenarios {
        let calls = count_calls(scenario, program()).unwrap_or_else(|failure| panic!("{failure}"));
        for _ in 0..PLACES {
            let led = act(scenario, some_place(&mut rng, calls), program());
            let led = led.unwrap_or_else(|failure| panic!("{failure}; PPIPE_SEED={seed}"));
            there += u32::from(led == Led::There);
            all += 1;
        }
    }
    eprintln!("{there} of {all} in the midst of an operation; PPIPE_SEED={seed}");
    (there, all)
}

#[test]
fn whoever_is_killed_at_whatever_instruction_hurts_nobody() {
    let kill = |scenario, place, program: &Path| kill_at(scenario, place, program).map(|killed| killed.led);
    let (there, all) = at_some_places(Scenario::all(), kill);
    assert!(there >= all / 3, "most were done already");
}

#[test]
fn whoever_is_stopped_at_whatever_instruction_holds_up_nobody_and_goes_on_as_if_nothing_had_been() {
    let (there, all) = at_some_places(Scenario::all().filter(|scenario| scenario.outlasts_others()), stop_at);
    assert!(there >= all / 3, "most were done already");
}

/// Whoever dies there has said which page it is about to give away, and for which.
#[test]
fn some_of_those_who_are_killed_stand_in_the_midst_of_an_exchange() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let scenario = Scenario { act: Act::TrySend, filling: Filling::Empty };
    let survey = Survey::new(scenario, program()).unwrap_or_else(|failure| panic!("{failure}"));
    let kill = |place| kill_at(scenario, place, program()).unwrap_or_else(|failure| panic!("{failure}"));
    // Odd steps, so that audits clean up behind them. An exchange is some dozens of instructions.
    let places = survey.places().filter(|place| place.steps % 2 == 1).step_by(12);
    let (in_the_midst, all) = places
        .fold((0, 0), |(in_the_midst, all), place| (in_the_midst + u32::from(kill(place).was_in_the_midst), all + 1));
    assert!(in_the_midst > 0, "none of {all}");
}
