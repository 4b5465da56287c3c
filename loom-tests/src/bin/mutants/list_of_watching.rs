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
        tests: &["poll_fds::after_every_step_of_a_random_program_the_descriptors_show_what_those_of_a_pipe_show"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a call that falls short makes no edge",
        edits: &[Edit { file: WATCH, old: "self.inner().display.show(Readiness::empty());", new: "" }],
        tests: &["poll_fds::a_call_that_falls_short_tells_those_who_wait_for_edges_of_what_there_is_all_the_same"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "what a call has left is not shown",
        edits: &[Edit { file: WATCH, old: "if fell_short || !left_something() {", new: "if fell_short {" }],
        tests: &["poll_fds::what_an_end_has_done_itself_is_shown_when_its_call_returns"],
        fate: Fate::Caught,
    },
];
