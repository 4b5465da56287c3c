//! Which models are asked of which weakening, the quickest first, and of which it is known that none can see it.

/// The ledger's id, a part of the line, and the models.
pub(crate) const CANDIDATES: &[(&str, &str, &[&str])] = &[
    ("R2", "", &["merging::a_merge_against_a_take_loses_nothing"]),
    ("R3", "", &["peeking::a_confirmed_look_sees_what_was_published"]),
    ("R4", "", &["merging::a_merge_against_a_partial_read_loses_nothing"]),
    ("R5", "", &["peeking::a_confirmed_look_never_sees_what_the_page_held_later"]),
    ("R6", "", &["peeking::a_confirmed_look_never_sees_what_the_page_held_later"]),
    ("H4", "", &["dying::two_who_die_in_each_others_way_are_both_cleaned_up"]),
    ("M2", "", &["outgrowing::who_follows_sees_the_bytes_of_what_was_published_before"]),
    ("M4", "", &["outgrowing::bytes_that_are_merged_while_the_pipe_moves_arrive_once"]),
    ("E1", "", &["large::an_extent_is_not_written_to_under_its_reader"]),
    ("E2", "", &["large::an_extent_is_not_written_to_under_its_reader"]),
    ("E4", "", &["large::a_confirmed_look_into_an_extent_never_sees_a_later_packet"]),
    ("W1", "", &["waking::a_sleeping_reader_wakes_for_each_message"]),
    ("W2", "fence(Ordering", &["waking::a_reader_that_sleeps_wakes_whatever_the_writer_did_last"]),
    ("W2", "", &["waking::a_sleeping_reader_wakes_for_each_message"]),
    ("W4", "", &["closing::the_end_wakes_every_sleeper"]),
    ("B1", "", &["ringing::a_writer_stopped_at_any_step_leaves_no_reader_asleep_with_a_message"]),
    (
        "B3",
        "self.arm() && fence_of_sleepers() && !is_needless() && bell",
        &["ringing::a_writer_stopped_at_any_step_leaves_no_reader_asleep_with_a_message"],
    ),
    ("B3", "let is_told", &["ringing::a_writer_stopped_at_any_step_leaves_nobody_who_watches_unaware_of_a_message"]),
    ("B4", "fence", &["ringing::who_comes_rings_for_those_who_sleep_long"]),
    ("B5", "matches!", &["ringing::a_writer_stopped_at_any_step_leaves_no_reader_asleep_with_a_message"]),
    (
        "B5",
        "stirs",
        &["ringing::who_makes_the_pipe_larger_and_is_stopped_at_any_step_leaves_no_writer_asleep_with_room"],
    ),
    ("P4", "", &["closing::nobody_is_in_a_segment_that_has_been_closed"]),
];

/// The ledger's id, a part of the line, what it is weakened to (its end), and the reason.
pub(crate) const UNSEEN: &[(&str, &str, &str, &str)] = &[
    ("R2", "", "Release", "the look before it (R3) has acquired the very exchange that this one replaces"),
    ("R4", "", "Release", "the look before it (R3) has acquired the very exchange that this one replaces"),
    (
        "H4",
        "",
        "Relaxed",
        "what misleads the reaper is older than the death, and it has seen that; H4 only saves attempts",
    ),
    ("W4", "", "Release", "who wakes all reads nothing afterwards"),
    (
        "P4",
        "",
        "",
        "one word decides, whatever the ordering; what else is asked is asked of the kernel, under its locks",
    ),
];
