//! Processes that are killed or stopped at instructions of every operation, chosen at random; `just torture` goes through all of them.
//!
//! `PPIPE_SEED` repeats a run. Unoptimized operations have ten times as many instructions as a release build.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use torture::act::{Act, Entries, Filling, Scenario};
use torture::control::{Deed, Fate, Rival, count};
use torture::pairs::Pair;
use torture::pipe::Broken;
use torture::stepping::{At, Place};
use torture::walk::{Failure, Led, Survey, count_calls, end, kill_at, some_place, stop_at};
use torture::world::World;

/// One test at a time: a child that another thread is just starting has copies of every descriptor until it runs its program, and so
/// keeps alive for a moment who is dead.
static TURN: Mutex<()> = Mutex::new(());

/// So many places of each scenario.
const PLACES: u32 = 4;
/// So many pairs of victims.
const PAIRS: u64 = 150;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_torture"))
}

fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    std::env::var("PPIPE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(now)
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

/// The second one begins when the first one stands, or is dead.
#[test]
fn of_two_who_are_killed_at_whatever_instructions_neither_hurts_anybody() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = seed();
    let mut calls = HashMap::new();
    let mut some_place = |scenario, rng: &mut Rng| {
        let calls = match calls.entry(scenario) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => *unknown.insert(count_calls(scenario, program())?),
        };
        Ok::<_, Failure>(some_place(rng, calls))
    };
    let mut there = 0;
    for number in 0..PAIRS {
        let pair = Pair::new(number, seed, &mut some_place).unwrap_or_else(|failure| panic!("{failure}"));
        let outcome = pair.kill(number % 2 == 1, program());
        there += outcome.unwrap_or_else(|failure| panic!("{failure}; pair {number}, PPIPE_SEED={seed}")).there;
    }
    eprintln!("{there} of {} in the midst of an operation; PPIPE_SEED={seed}", 2 * PAIRS);
    assert!(u64::from(there) >= PAIRS / 2, "most were done already");
}

/// Where the survivors sleep as if they had waited for long, the victim rings before it acts.
#[test]
fn whoever_is_killed_or_stopped_before_sleepers_at_bells_hurts_nobody() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = seed().to_string();
    for stop in [None, Some("--stop")] {
        let mut command = std::process::Command::new(program());
        let output = command
            .args(["--bells", "--only", "wake-", "--sample", "30", "--seed", &seed])
            .args(stop)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("places of 2 scenarios"), "{said}");
    }
}

/// One that sends or receives once more than it was told to, and dies when it has done so, or is stopped before and goes on then.
#[test]
fn victims_that_lie_are_found_out() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for act in [Act::Send, Act::Recv, Act::AppendOwn, Act::ReadPart] {
        let scenario = Scenario { act, filling: Filling::Wrapped };
        let led = |is_stopped: bool| {
            let mut world = World::new(scenario, program()).expect("a pipe");
            world.let_victims_lie();
            let mut victim = world.start().expect("it starts");
            if is_stopped {
                victim.stop().expect("it stands");
                return world.judge_stopped(|| end(&mut victim));
            }
            assert_eq!(victim.go_on().expect("it goes on"), At::Mark);
            victim.kill();
            world.judge(&[true], false).map(drop)
        };
        for is_stopped in [false, true] {
            let judged = led(is_stopped);
            assert!(matches!(judged, Err(Broken::Content { .. })), "{scenario}, {is_stopped}: {judged:?}");
        }
    }
    // The first one of two, and then both.
    let scenarios = [Act::Send, Act::TrySend].map(|act| Scenario { act, filling: Filling::Empty });
    let mut world = World::for_two(scenarios, Entries { writers: 3, readers: 1 }, program()).expect("a pipe");
    world.let_victims_lie();
    for mut victim in world.start_two().expect("they start") {
        assert_eq!(victim.go_on().expect("it goes on"), At::Mark);
        victim.kill();
    }
    let judged = world.judge(&[true, true], false);
    assert!(matches!(judged, Err(Broken::Content { .. })), "{judged:?}");
}

/// On rings as they are mostly built the same deaths and stops hold up the others, or leave them wrong messages.
#[test]
fn a_ring_with_reservations_and_one_under_a_robust_mutex_are_found_out() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let find = |rival, deed, fate, every| {
        let count = count(rival, deed, fate, every, program()).unwrap_or_else(|error| panic!("{rival:?}: {error}"));
        assert!(count.places > 20, "{count}");
        count
    };
    for deed in [Deed::Send, Deed::Recv] {
        for fate in [Fate::Killed, Fate::Stopped] {
            assert!(find(Rival::Reserving, deed, fate, 3).held_up > 0);
        }
        assert!(find(Rival::Locked, deed, Fate::Stopped, 9).held_up > 0);
    }
    // The kernel gives the lock to the next one, whatever its owner was at.
    let killed = find(Rival::Locked, Deed::Recv, Fate::Killed, 1);
    assert!(killed.held_up + killed.wrong > 0, "{killed}");
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
