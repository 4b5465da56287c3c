//! Negative controls: children that break the laws on purpose are caught, each for what it does.

mod one_at_a_time;

use std::time::{Duration, Instant};

use one_at_a_time::{plan, say, turn};
use storm::judge::Broken;
use storm::message::Tear;
use storm::plan::Scenario;
use storm::{Failure, Lie, Role, Storm, Traffic, Trouble, Victims, Way};

/// Enough for every lie to be told many times.
const MESSAGES: u64 = 20_000;
/// Storms with other seeds, for a lie that not every schedule shows.
const TRIES: u64 = 20;

fn storm(role: Role, lie: Lie, traffic: Traffic, way: Way, seed: u64) -> Storm {
    let until = Instant::now() + Duration::from_secs(60);
    let scenario = Scenario { traffic, way, victims: Victims::All, is_silent: false };
    Storm { lie: Some((role, lie)), ..plan(0).storm(scenario, seed, Trouble::None(MESSAGES), until) }
}

/// The storm fails, and for the right reason.
fn caught(role: Role, lie: Lie, traffic: Traffic, way: Way, is_it: impl Fn(&Failure) -> bool) {
    let _turn = turn();
    for seed in 0..TRIES {
        match storm(role, lie, traffic, way, seed).run() {
            Ok(_) => {}
            Err(failure) if is_it(&failure) => {
                let text = failure.to_string();
                return say(&format!("caught {lie:?}: {}", text.lines().next().unwrap_or("")));
            }
            Err(failure) => panic!("{lie:?} with seed {seed} was taken for: {failure}"),
        }
    }
    panic!("{lie:?} was not caught in {TRIES} storms");
}

fn caught_writer(lie: Lie, is_it: impl Fn(&Broken) -> bool + Copy) {
    for (traffic, way) in [(Traffic::Messages, Way::Inherited), (Traffic::Stream, Way::Named)] {
        caught(Role::Writer, lie, traffic, way, |failure| matches!(failure, Failure::Law(broken) if is_it(broken)));
    }
}

#[test]
fn a_message_that_is_sent_twice_is_caught() {
    caught_writer(Lie::SendTwice, |broken| matches!(broken, Broken::Duplicate { .. }));
}

#[test]
fn a_message_that_is_not_sent_is_caught() {
    caught_writer(Lie::SkipOne, |broken| matches!(broken, Broken::Lost { most: 0, .. }));
}

#[test]
fn a_message_that_is_not_reported_is_caught() {
    caught(Role::Reader, Lie::Swallow, Traffic::Messages, Way::Inherited, |failure| {
        matches!(failure, Failure::Law(Broken::Lost { most: 0, .. }))
    });
}

#[test]
fn a_message_of_which_one_bit_is_wrong_is_caught() {
    caught_writer(Lie::FlipByte, |broken| matches!(broken, Broken::Torn { tear: Tear::Head | Tear::Body, .. }));
}

#[test]
fn a_message_that_is_cut_short_is_caught() {
    caught(Role::Writer, Lie::CutShort, Traffic::Messages, Way::Named, |failure| {
        matches!(failure, Failure::Law(Broken::Torn { tear: Tear::Head | Tear::Length, .. }))
    });
}

#[test]
fn two_messages_in_the_wrong_order_are_caught() {
    caught_writer(Lie::SwapTwo, |broken| matches!(broken, Broken::Disorder { .. }));
}

#[test]
fn a_message_that_nobody_sent_is_caught() {
    caught_writer(Lie::Invent, |broken| matches!(broken, Broken::Invented(_)));
}

#[test]
fn a_slot_that_is_published_before_it_is_filled_is_caught() {
    caught(Role::Writer, Lie::FillAfterPublish, Traffic::Messages, Way::Named, |failure| {
        matches!(failure, Failure::Law(Broken::Torn { .. }))
    });
}

#[test]
fn a_page_that_somebody_claims_wrongly_is_caught() {
    caught(
        Role::Writer,
        Lie::WrongRecord,
        Traffic::Messages,
        Way::Named,
        |failure| matches!(failure, Failure::Accounts(audit) if audit.contains("must not be")),
    );
}

#[test]
fn a_child_that_gives_up_is_caught_with_what_it_says() {
    caught(
        Role::Writer,
        Lie::GiveUp,
        Traffic::Messages,
        Way::Inherited,
        |failure| matches!(failure, Failure::Child(what) if what.contains("I give up")),
    );
}

#[test]
fn a_writer_that_reserves_and_is_stopped_is_caught_by_those_whom_it_holds_up() {
    let _turn = turn();
    let reserve = storm(Role::Writer, Lie::Reserve, Traffic::Messages, Way::Inherited, 2);
    for trouble in [Trouble::Stop(1000), Trouble::Pause(1000)] {
        // Children that only start are not to be taken for some that wait.
        let patience = Duration::from_secs(4);
        let failure = Storm { trouble, patience, ..reserve.clone() }.run().expect_err("the others wait for it");
        assert!(matches!(failure, Failure::HeldUp(_)), "taken for: {failure}");
        say(&format!("caught Reserve: {}", failure.to_string().lines().next().unwrap_or("")));
    }
}

#[test]
fn readers_that_stand_still_are_caught_with_the_table_of_who_holds_what() {
    let _turn = turn();
    let stall = storm(Role::Reader, Lie::Stall, Traffic::Messages, Way::Inherited, 1);
    let failure = Storm { patience: Duration::from_secs(1), ..stall }.run().expect_err("all readers stand still");
    let Failure::Hang(audit) = &failure else { panic!("taken for: {failure}") };
    assert!(audit.contains("slots full") && audit.contains("Reader 0"), "{audit}");
}
