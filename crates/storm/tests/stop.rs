//! Whoever is stopped at whatever instant stops nobody else.
//!
//! No clock decides: while one stands stopped the others have to pass a thousand messages. Then it goes on, or it is
//! killed as it stands. Or several stand for a microsecond to two seconds, and whoever stands for more than ten milliseconds does not
//! go on before the others have passed a message.

mod one_at_a_time;

use std::time::{Duration, Instant};

use one_at_a_time::{plan, say, turn};
use storm::Trouble;
use storm::plan::{SCENARIOS, Total, of_seed};

const STOPS_PER_PIPE: u32 = 20;
/// So often all scenarios, each time on a new pipe; more often only until somebody stood in the midst of an exchange, which
/// depends on the pipe's shape.
const ROUNDS: u32 = 2;
const PIPES: u32 = 6;
const PAUSES_PER_PIPE: u32 = 25;
const TIME: Duration = Duration::from_secs(60);

fn survive(is_silent: bool) {
    let _turn = turn();
    let plan = plan(0);
    let until = Instant::now() + TIME;
    let mut total = Total::default();
    let mut round = 0;
    while round < ROUNDS || is_silent && total.tally.aimed == 0 && Instant::now() < until {
        round += 1;
        for (what, scenario) in SCENARIOS.into_iter().filter(|(_, scenario)| scenario.is_silent == is_silent) {
            let seed = plan.seed.wrapping_add(u64::from(total.pipes));
            let tally = plan.storm(scenario, seed, Trouble::Stop(STOPS_PER_PIPE), until).run();
            total.add(tally.unwrap_or_else(|failure| panic!("{what}: {}", of_seed(seed, &failure))));
        }
    }
    say(&format!("stopped: {total}; seed {}", plan.seed));
    assert!(total.tally.stops > 0, "nobody was stopped");
    assert!(!is_silent || total.tally.aimed > 0, "nobody was stopped in the midst of an exchange; seed {}", plan.seed);
}

#[test]
fn the_others_go_on_while_anybody_stands_stopped() {
    survive(false);
}

#[test]
fn the_others_go_on_while_anybody_stands_stopped_in_the_midst_of_an_exchange() {
    survive(true);
}

#[test]
fn nothing_is_lost_or_repeated_or_held_up_by_those_who_stand_for_a_while_and_go_on() {
    let _turn = turn();
    let plan = plan(0);
    let until = Instant::now() + TIME;
    let mut total = Total::default();
    for number in 0..PIPES {
        let (what, storm) = plan.long_storm(number, Trouble::Pause(PAUSES_PER_PIPE), until);
        let tally = storm.run();
        total.add(tally.unwrap_or_else(|failure| panic!("{what}: {}", of_seed(storm.seed, &failure))));
    }
    say(&format!("paused: {total}; seed {}", plan.seed));
    assert_eq!(total.tally.stops, PIPES * PAUSES_PER_PIPE);
    assert!(total.tally.passed > 0 && total.tally.passed < total.tally.stops, "{total}");
}
