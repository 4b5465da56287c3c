//! Mistakes on the way to a larger ring, and in counting what there is to read.

use crate::list::{BELL, Edit, Fate, Mutant, PARTICIPANT, PLACE, SLOT};

const MOVING: &str = "crates/shm-ring/src/moving.rs";
const COUNTING: &str = "crates/shm-ring/src/counting.rs";

pub(crate) const MODELS: &[Mutant] = &[
    Mutant {
        name: "M2: Release to Relaxed",
        edits: &[Edit {
            file: MOVING,
            old: "settled.encode(), Ordering::Release, Ordering::Relaxed)",
            new: "settled.encode(), Ordering::Relaxed, Ordering::Relaxed)",
        }],
        tests: &["outgrowing::who_follows_sees_the_bytes_of_what_was_published_before"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "M2: Acquire to Relaxed",
        edits: &[Edit {
            file: MOVING,
            old: "self.check(self.size.load(Ordering::Acquire))",
            new: "self.check(self.size.load(Ordering::Relaxed))",
        }],
        tests: &["outgrowing::who_follows_sees_the_bytes_of_what_was_published_before"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "M4: Release to Relaxed",
        edits: &[Edit {
            file: MOVING,
            old: "ring.fields.frozen(), Ordering::Release)",
            new: "ring.fields.frozen(), Ordering::Relaxed)",
        }],
        tests: &["outgrowing::bytes_that_are_merged_while_the_pipe_moves_arrive_once"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a ring is carried over before it is frozen",
        edits: &[Edit {
            file: MOVING,
            old: "        freeze(old);\n        self.carry(old, new)?;\n",
            new: "        self.carry(old, new)?;\n        freeze(old);\n",
        }],
        tests: &[
            "outgrowing::what_is_published_while_the_pipe_moves_arrives_once_and_in_order",
            "outgrowing::what_is_taken_while_the_pipe_moves_is_taken_once",
            "outgrowing::bytes_that_are_merged_while_the_pipe_moves_arrive_once",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who changes the size does not wait for the change before",
        edits: &[Edit {
            file: MOVING,
            old: "            let size = self.settle()?;\n",
            new: "            let size = self.size()?;\n",
        }],
        tests: &["outgrowing::two_who_make_the_pipe_larger_at_once_both_can_and_others_follow_the_last"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "to freeze a slot changes nothing",
        edits: &[Edit {
            file: SLOT,
            old: "    pub fn frozen(self) -> u64 {\n        FROZEN\n",
            new: "    pub fn frozen(self) -> u64 {\n        0\n",
        }],
        tests: &["outgrowing::a_confirmed_look_at_a_ring_that_is_left_never_sees_what_the_page_held_later"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "one slot is not frozen",
        edits: &[Edit { file: MOVING, old: "for slot in ring.slots {", new: "for slot in &ring.slots[1..] {" }],
        tests: &[
            "outgrowing::what_is_taken_while_the_pipe_moves_is_taken_once",
            "outgrowing::bytes_that_are_merged_while_the_pipe_moves_arrive_once",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who helps sets words that are in use already",
        edits: &[Edit {
            file: MOVING,
            old: "let _ = new.slot(position).compare_exchange(unborn, word, Ordering::Relaxed, Ordering::Relaxed);",
            new: "_ = unborn;\n            new.slot(position).store(word, Ordering::Release);",
        }],
        tests: &["outgrowing::a_helper_that_was_stopped_changes_nothing_when_it_goes_on"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "positions are carried over with the lap of the smaller ring",
        edits: &[Edit {
            file: MOVING,
            old: "lap: new.fields.lap_at(position)",
            new: "lap: old.fields.lap_at(position)",
        }],
        tests: &["outgrowing::the_pipe_moves_across_the_wrap_of_its_laps"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the tail is where the first slot is",
        edits: &[Edit { file: MOVING, old: "if fields.is_before(position, tail) {", new: "if false {" }],
        tests: &["outgrowing::the_pipe_moves_across_the_wrap_of_its_laps"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a full ring that the pipe is about to leave is full",
        edits: &[Edit {
            file: PLACE,
            old: "Err(if self.is_left() { Miss::Moved } else { Miss::Full })",
            new: "Err(Miss::Full)",
        }],
        tests: &["outgrowing::whoever_dies_while_the_pipe_moves_leaves_nothing_undone"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a smaller size does not count",
        edits: &[Edit { file: PLACE, old: "usage >= self.ring_size() || ", new: "usage > 0 || " }],
        tests: &["outgrowing::a_smaller_size_counts_where_the_ring_is_larger"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a pipe can be made too small for what is in it",
        edits: &[Edit { file: MOVING, old: "return Err(Refusal::Busy);", new: "" }],
        tests: &["outgrowing::a_smaller_size_counts_where_the_ring_is_larger"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the dead are looked for in the ring that the pipe has left",
        edits: &[Edit {
            file: "loom-tests/tests/models/world.rs",
            old: "&self.ring_at(self.in_use())",
            new: "&self.ring_at(0)",
        }],
        tests: &["outgrowing::the_dead_are_cleaned_up_in_whatever_ring_the_pipe_is"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "what is unread is counted in one look",
        edits: &[Edit { file: COUNTING, old: "let second = self.look_over(extents)?;", new: "let second = first;" }],
        tests: &["outgrowing::what_is_counted_was_there_at_one_moment"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who changes the size does not say so first",
        edits: &[Edit { file: PARTICIPANT, old: "        announcement.resize();\n", new: "" }],
        tests: &["ringing::who_makes_the_pipe_larger_and_is_stopped_at_any_step_leaves_no_writer_asleep_with_room"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who changes the size does not ring first",
        edits: &[Edit { file: PARTICIPANT, old: "        bell.word().ring_for_all(&bell.pipe);\n", new: "" }],
        tests: &["ringing::who_makes_the_pipe_larger_and_is_stopped_at_any_step_leaves_no_writer_asleep_with_room"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "B5: Release of one who has changed the size to Relaxed",
        edits: &[Edit {
            file: BELL,
            old: "self.stirs.fetch_and(!RESIZES, Ordering::Release);",
            new: "self.stirs.fetch_and(!RESIZES, Ordering::Relaxed);",
        }],
        tests: &["ringing::who_makes_the_pipe_larger_and_is_stopped_at_any_step_leaves_no_writer_asleep_with_room"],
        fate: Fate::Caught,
    },
];
