//! Mutants of those who watch, and of what is shown to `poll`.

use super::list::{Edit, Fate, Mutant};

const BELL: &str = "crates/shm-ring/src/bell.rs";
const LONG_SLEEP: &str = "crates/shm-ring/src/long_sleep.rs";
const WATCH: &str = "crates/ppipe/src/watch.rs";

/// Of the algorithm: seen by models.
pub(crate) const MODELS: &[Mutant] = &[
    Mutant {
        name: "who watches does not look again before it waits",
        edits: &[Edit {
            file: BELL,
            old: "let is_told = self.arm() && fence_of_sleepers() && !is_needless();",
            new: "let _ = is_needless; let is_told = self.arm() && fence_of_sleepers();",
        }],
        tests: &[
            "ringing::a_writer_stopped_at_any_step_leaves_nobody_who_watches_unaware_of_a_message",
            "ringing::all_who_watch_are_told_of_a_message_that_nobody_takes",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who watches takes rings out before it looks",
        edits: &[Edit {
            file: BELL,
            old: "        if is_told && let Some(rung) = for_nobody {",
            new: "        if let Some(rung) = for_nobody {",
        }],
        tests: &["ringing::all_who_watch_are_told_of_a_message_that_nobody_takes"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who watches takes rings from those who sleep",
        edits: &[Edit {
            file: BELL,
            old: "let for_nobody = if rung == 0 { None } else { Self::rung_for_nobody(bell, may_hush) };",
            new: "let _ = may_hush; let for_nobody = bell.rung();",
        }],
        tests: &["ringing::who_watches_and_who_sleeps_at_one_bell_are_both_told"],
        fate: Fate::Caught,
    },
];

/// Of the rest: seen by tests of the pipe.
pub(crate) const PIPE: &[Mutant] = &[
    Mutant {
        name: "who comes does not ring for those who watch",
        edits: &[Edit {
            file: LONG_SLEEP,
            old: "        bell_word(&self.segment, self.side.peer()).ring_for_all(bells.of(self.side.peer()));\n        self.at_bells.bells = Some(bells);",
            new: "        self.at_bells.bells = Some(bells);",
        }],
        tests: &["poll_fds_and_deaths::the_death_of_the_last_one_of_a_side_is_shown_until_another_one_comes"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a call that falls short makes no edge",
        edits: &[Edit {
            file: WATCH,
            old: "            Came::Short => inner.display.make_edge(),\n",
            new: "            Came::Short => {}\n",
        }],
        tests: &["poll_fds::a_call_that_falls_short_tells_those_who_wait_for_edges_of_what_there_is_all_the_same"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "what comes between a call and the look behind it makes no edge",
        edits: &[Edit {
            file: WATCH,
            old: "            if came != Came::ToItsEnd {\n",
            new: "            if self.is_of_both && came != Came::ToItsEnd {\n",
        }],
        tests: &[
            "ppipe::watch::tests::a_call_that_came_to_nothing_is_told_of_what_comes_between_it_and_the_look_behind_it",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "what a call has left is not shown",
        edits: &[Edit { file: WATCH, old: "if self.is_of_both || !left_something() {", new: "if self.is_of_both {" }],
        tests: &["poll_fds::what_an_end_has_done_itself_is_shown_when_its_call_returns"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who waits for somebody to come takes rings out",
        edits: &[Edit {
            file: "crates/shm-ring/src/observer.rs",
            old: "says_so && seen.has_peers && !listener",
            new: "says_so && !listener",
        }],
        tests: &["shm_ring::observer::tests::where_it_waits_for_somebody_to_come_it_leaves_the_rings_to_others"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a bell that has hung up once is waited for",
        edits: &[Edit {
            file: "crates/shm-ring/src/observer.rs",
            old: "if seen.has_peers && bell.is_hung_up() {",
            new: "if false {",
        }],
        tests: &[
            "shm_ring::observer::tests::where_the_bell_has_hung_up_though_somebody_is_there_it_looks_again_by_the_clock",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who leaves rings only for those who have asked",
        edits: &[Edit { file: LONG_SLEEP, old: "            bell.ring();\n", new: "" }],
        tests: &["shm_ring::observer::tests::who_leaves_rings_for_those_too_who_have_not_asked"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who watches does not look for those who are about to act",
        edits: &[Edit {
            file: "crates/shm-ring/src/observer.rs",
            old: "listener.is_anybody_about_to_act()",
            new: "false",
        }],
        tests: &["shm_ring::observer::tests::it_is_not_told_of_what_is_so_already_or_is_about_to_be"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who looks again by the clock does so more and more often",
        edits: &[Edit {
            file: "crates/ppipe/src/watcher.rs",
            old: "        if *appointment < at {\n",
            new: "        if false {\n",
        }],
        tests: &[
            "ppipe::watcher::tests::however_often_one_is_to_look_again_it_does_so_once_and_at_the_first_of_these_times",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a loan that is sent is not shown",
        edits: &[Edit { file: "crates/ppipe/src/loan.rs", old: "|| !self.end.is_full());", new: "|| true);" }],
        tests: &["poll_fds::loans_and_changes_of_the_size_are_shown_when_their_calls_return"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "what is short and is not room is shown all the time",
        edits: &[Edit {
            file: WATCH,
            old: "if side == Side::Reader || inner.in_vain < MOST_IN_VAIN => {",
            new: "if side == Side::Reader || inner.in_vain < u32::MAX => {",
        }],
        tests: &["poll_fds::what_is_short_and_is_not_room_is_not_shown_over_and_over_again"],
        fate: Fate::Caught,
    },
];
