//! Every ordering that can be weaker, made weaker; by the ids of `docs/ordering.md`.

/// The algorithm, broken in one place.
pub(crate) struct Mutant {
    /// What is broken; an ordering begins with its id.
    pub(crate) name: &'static str,
    pub(crate) edits: &'static [Edit],
    /// Those that must all fail, or those that might have.
    pub(crate) tests: &'static [&'static str],
    pub(crate) fate: Fate,
}

/// A change of text, which is in the file exactly once.
pub(crate) struct Edit {
    pub(crate) file: &'static str,
    pub(crate) old: &'static str,
    pub(crate) new: &'static str,
}

/// What is to be expected.
pub(crate) enum Fate {
    /// Each of the tests fails.
    Caught,
    /// None of them does, and this is why that is right.
    Unseen(&'static str),
}

pub(crate) const BELL: &str = "crates/shm-ring/src/bell.rs";
pub(crate) const HOLDING: &str = "crates/shm-ring/src/holding.rs";
pub(crate) const PLACE: &str = "crates/shm-ring/src/place.rs";
pub(crate) const REAPING: &str = "crates/shm-ring/src/reaping.rs";
pub(crate) const TENURE: &str = "crates/shm-ring/src/tenure.rs";
pub(crate) const RING: &str = "crates/shm-ring/src/ring.rs";
pub(crate) const SLOT: &str = "crates/shm-ring/src/slot.rs";
pub(crate) const EXTENT: &str = "crates/shm-ring/src/extent.rs";
pub(crate) const WAITING: &str = "crates/shm-ring/src/waiting.rs";
pub(crate) const PARTICIPANT: &str = "loom-tests/tests/models/participant.rs";
pub(crate) const ATOMIC: &str = "loom-tests/tests/models/machine/atomic.rs";
pub(crate) const DYING: &str = "loom-tests/tests/models/dying.rs";

const R2: &str =
    "self.slot(seen.position).compare_exchange(seen.word, word, Ordering::AcqRel, Ordering::Relaxed).is_ok();";
const R3: &str = "self.slot(position).load(Ordering::Acquire)";
const R4: &str = ".compare_exchange(seen.word, word, Ordering::AcqRel, Ordering::Relaxed)\n            .map_err";
const W4: &str = "self.0.fetch_add(ONE_EPOCH, Ordering::AcqRel);";

pub(crate) const ORDERINGS: &[Mutant] = &[
    Mutant {
        name: "H4: Acquire to Relaxed",
        edits: &[Edit { file: HOLDING, old: "slot.load(Ordering::Acquire)", new: "slot.load(Ordering::Relaxed)" }],
        tests: &[
            "dying::a_writer_killed_while_it_publishes_loses_at_most_its_last_message",
            "dying::a_reader_killed_while_it_takes_loses_at_most_what_it_took",
            "dying::two_who_die_in_each_others_way_are_both_cleaned_up",
        ],
        fate: Fate::Unseen(
            "what misleads the reaper is older than the death, and it has seen that; H4 only saves attempts",
        ),
    },
    Mutant {
        name: "R2: AcqRel to Relaxed",
        edits: &[Edit {
            file: RING,
            old: R2,
            new: "self.slot(seen.position).compare_exchange(seen.word, word, Ordering::Relaxed, Ordering::Relaxed).is_ok();",
        }],
        tests: &[
            "order::one_reader_gets_whole_messages_in_order",
            "order::two_readers_share_messages_without_loss_or_repetition",
            "merging::a_merge_against_a_take_loses_nothing",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "R2: AcqRel to Acquire",
        edits: &[Edit {
            file: RING,
            old: R2,
            new: "self.slot(seen.position).compare_exchange(seen.word, word, Ordering::Acquire, Ordering::Relaxed).is_ok();",
        }],
        tests: &["order::one_reader_gets_whole_messages_in_order", "merging::a_merge_against_a_take_loses_nothing"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "R2: AcqRel to Release",
        edits: &[Edit {
            file: RING,
            old: R2,
            new: "self.slot(seen.position).compare_exchange(seen.word, word, Ordering::Release, Ordering::Relaxed).is_ok();",
        }],
        tests: &[
            "order::one_reader_gets_whole_messages_in_order",
            "order::two_readers_share_messages_without_loss_or_repetition",
            "merging::two_merges_into_one_slot_both_arrive",
        ],
        fate: Fate::Unseen("the look before it (R3) has acquired the very exchange that this one replaces"),
    },
    Mutant {
        name: "R2 and R3: neither acquires",
        edits: &[
            Edit {
                file: RING,
                old: R2,
                new: "self.slot(seen.position).compare_exchange(seen.word, word, Ordering::Release, Ordering::Relaxed).is_ok();",
            },
            Edit { file: RING, old: R3, new: "self.slot(position).load(Ordering::Relaxed)" },
        ],
        tests: &["order::one_reader_gets_whole_messages_in_order"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "R3: Acquire to Relaxed",
        edits: &[Edit { file: RING, old: R3, new: "self.slot(position).load(Ordering::Relaxed)" }],
        tests: &[
            "peeking::a_confirmed_look_sees_what_was_published",
            "merging::a_merge_against_a_partial_read_loses_nothing",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "R4: AcqRel to Relaxed",
        edits: &[Edit {
            file: RING,
            old: R4,
            new: ".compare_exchange(seen.word, word, Ordering::Relaxed, Ordering::Relaxed)\n            .map_err",
        }],
        tests: &[
            "merging::a_merge_against_a_partial_read_loses_nothing",
            "large::a_part_that_was_read_in_the_slot_is_read_before_the_extent_is_used_again",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "R4: AcqRel to Acquire",
        edits: &[Edit {
            file: RING,
            old: R4,
            new: ".compare_exchange(seen.word, word, Ordering::Acquire, Ordering::Relaxed)\n            .map_err",
        }],
        tests: &["merging::a_merge_against_a_partial_read_loses_nothing"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "R4: AcqRel to Release",
        edits: &[Edit {
            file: RING,
            old: R4,
            new: ".compare_exchange(seen.word, word, Ordering::Release, Ordering::Relaxed)\n            .map_err",
        }],
        tests: &[
            "merging::a_merge_against_a_partial_read_loses_nothing",
            "merging::two_merges_and_a_partial_read_lose_nothing",
            "large::a_part_that_was_read_in_the_slot_is_read_before_the_extent_is_used_again",
        ],
        fate: Fate::Unseen("the look before it (R3) has acquired the very exchange that this one replaces"),
    },
    Mutant {
        name: "R5: no Acquire fence",
        edits: &[Edit { file: RING, old: "        crate::sync::fence(Ordering::Acquire);\n", new: "" }],
        tests: &["peeking::a_confirmed_look_never_sees_what_the_page_held_later"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "R6: no Release fence",
        edits: &[Edit { file: RING, old: "            crate::sync::fence(Ordering::Release);\n", new: "" }],
        tests: &[
            "peeking::a_confirmed_look_never_sees_what_the_page_held_later",
            "peeking::a_look_against_takes_and_reuse_sees_one_message_whole",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "R5: the slot is not looked at again",
        edits: &[Edit {
            file: RING,
            old: "if self.slot(seen.position).load(Ordering::Relaxed) != seen.word {",
            new: "if self.slot(seen.position).load(Ordering::Relaxed) == 0 {",
        }],
        tests: &["peeking::a_confirmed_look_never_sees_what_the_page_held_later"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "E1: Acquire to Relaxed",
        edits: &[Edit {
            file: EXTENT,
            old: "page + 1, Ordering::Acquire, Ordering::Relaxed",
            new: "page + 1, Ordering::Relaxed, Ordering::Relaxed",
        }],
        tests: &["large::an_extent_is_not_written_to_under_its_reader"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "E2: Release to Relaxed",
        edits: &[Edit {
            file: EXTENT,
            old: "FREE, Ordering::Release, Ordering::Relaxed",
            new: "FREE, Ordering::Relaxed, Ordering::Relaxed",
        }],
        tests: &["large::an_extent_is_not_written_to_under_its_reader"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "E4: no Release fence",
        edits: &[Edit { file: EXTENT, old: "        fence(Ordering::Release);\n", new: "" }],
        tests: &["large::a_confirmed_look_into_an_extent_never_sees_a_later_packet"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "W1: no fence in arm",
        edits: &[Edit {
            file: WAITING,
            old: "        fence(Ordering::SeqCst);\n        Armed(",
            new: "        Armed(",
        }],
        tests: &["waking::a_sleeping_reader_wakes_for_each_message"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "W2: no fence in wake",
        edits: &[Edit { file: WAITING, old: "        fence_after_rmw();\n", new: "" }],
        tests: &["waking::a_sleeping_reader_wakes_for_each_message"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "W2: no fence in the wake of one who did something else",
        edits: &[Edit {
            file: WAITING,
            old: "        fence(Ordering::SeqCst);\n        let seen",
            new: "        let seen",
        }],
        tests: &["waking::a_reader_that_sleeps_wakes_whatever_the_writer_did_last"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "W4: AcqRel to Relaxed",
        edits: &[Edit { file: WAITING, old: W4, new: "self.0.fetch_add(ONE_EPOCH, Ordering::Relaxed);" }],
        tests: &["closing::the_end_wakes_every_sleeper"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "W4: AcqRel to Acquire",
        edits: &[Edit { file: WAITING, old: W4, new: "self.0.fetch_add(ONE_EPOCH, Ordering::Acquire);" }],
        tests: &["closing::the_end_wakes_every_sleeper"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "W4: AcqRel to Release",
        edits: &[Edit { file: WAITING, old: W4, new: "self.0.fetch_add(ONE_EPOCH, Ordering::Release);" }],
        tests: &["closing::the_end_wakes_every_sleeper", "closing::the_end_comes_after_everything_that_was_sent"],
        fate: Fate::Unseen("who wakes all reads nothing afterwards"),
    },
];
