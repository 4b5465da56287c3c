//! Mistakes in how a death is told.

use crate::list::{Edit, Fate, Mutant};

const LIFE: &str = "crates/shm-ring/src/life.rs";
const LIST: &str = "crates/shm-ring/src/robust_list.rs";
const SLEEPING: &str = "crates/shm-ring/src/sleeping.rs";
const HANDED_OVER: &str = "crates/shm-ring/src/handed_over.rs";

const LOAN: &str = "crates/ppipe/src/loan.rs";

const BROKEN: &str = "deaths_at_once::the_first_write_after_the_death_of_the_last_reader_is_a_broken_pipe";
const WOKEN: &str =
    "deaths_at_once::who_has_just_gone_to_sleep_is_woken_by_the_death_of_the_last_one_of_the_other_side";

const FORKED: &str =
    "forks_in_any_state::what_a_forked_child_does_with_its_copies_takes_nothing_from_its_parent_in_any_state";
const TOLD: &str = "shm_ring::life::tests::a_death_is_told_once_when_others_can_find_out_or_at_the_end_of_the_call_of_the_one_who_knows";

pub(crate) const PIPE: &[Mutant] = &[
    Mutant {
        name: "a process is known by its number alone",
        edits: &[Edit {
            file: "crates/shm-ring/src/process.rs",
            old: "self.is_not_forked() && self.number == std::process::id()",
            new: "self.number == std::process::id()",
        }],
        tests: &["nested_forks::a_child_that_has_the_number_of_its_parent_leaves_its_parents_ends_alone"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who leaves says that nobody is there before it has let go of its lock",
        edits: &[Edit { file: LIST, old: "self.give_up(Owner::LEAVING);", new: "self.give_up(Owner::NOBODY);" }],
        tests: &["shm_ring::life::tests::of_one_who_is_leaving_the_others_are_in_doubt_until_it_is_gone"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "one who is not marked leaves in its word what that says of the one before",
        edits: &[Edit {
            file: "crates/shm-ring/src/participant.rs",
            old: "    segment.entry(entry).owner.store(Owner::NOBODY.0, Ordering::Relaxed);\n    RobustWord",
            new: "    RobustWord",
        }],
        tests: &["shm_ring::life::tests::who_is_not_marked_is_not_taken_for_the_dead_one_before_it"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a witness is kept though its lock is free",
        edits: &[Edit { file: LIFE, old: " && (entry == locked || self.is_locked(entry))", new: "" }],
        tests: &["shm_ring::life::tests::one_who_is_gone_is_nobodys_witness_any_more_though_nothing_was_said_of_it"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a forked child waits for what a thread of its parent was at",
        edits: &[Edit { file: LIST, old: "known != own && self.0", new: "known == 0 && self.0" }],
        tests: &["shm_ring::robust_list::tests::what_a_thread_of_the_parent_was_at_holds_up_nobody_in_a_forked_child"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the list is in memory that may be taken back before the kernel has gone through it",
        edits: &[Edit {
            file: LIST,
            old: "mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::SHARED)",
            new: "mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::PRIVATE)",
        }],
        tests: &["shm_ring::robust_list::tests::the_list_is_in_memory_that_is_there_to_the_end_and_that_no_child_has"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "nobody looks at a witness",
        edits: &[Edit {
            file: LIFE,
            old: "        if self.peers.changed == Some(changed) && is_same {",
            new: "        let _ = is_same;\n        if self.peers.changed == Some(changed) {",
        }],
        tests: &[BROKEN],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who takes up an end does not offer itself as a witness",
        edits: &[Edit {
            file: HANDED_OVER,
            old: "        participant.offer_as_witness();\n        Ok(participant)",
            new: "        Ok(participant)",
        }],
        tests: &[BROKEN],
        fate: Fate::Caught,
    },
    Mutant {
        name: "nobody sleeps on the word of its witness",
        edits: &[Edit {
            file: SLEEPING,
            old: "let slept = if self.has_witness() {",
            new: "let slept = if self.has_witness() && false {",
        }],
        tests: &[WOKEN],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who is woken by a death keeps it to itself",
        edits: &[Edit { file: LIFE, old: "            self.wake_all_of_this_side();\n", new: "" }],
        tests: &[WOKEN],
        fate: Fate::Caught,
    },
    Mutant {
        name: "each of those who know of a death wakes all",
        edits: &[Edit { file: LIFE, old: "died.is_untold() && tells()", new: "died.has_died()" }],
        tests: &[TOLD],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who knows of a death wakes those who cannot find out yet",
        edits: &[Edit {
            file: LIFE,
            old: "if !self.is_in_doubt() {\n            self.tell",
            new: "if true {\n            self.tell",
        }],
        tests: &[TOLD],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who knows of a death and does something else then has told nobody",
        edits: &[Edit { file: SLEEPING, old: "        self.tell_of_death();\n", new: "" }],
        tests: &[TOLD],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the kernel is not told that somebody may sleep on an owner word",
        edits: &[Edit {
            file: LIST,
            old: "word.word().store(thread | WAITERS, Ordering::Release);",
            new: "word.word().store(thread, Ordering::Release);",
        }],
        tests: &[WOKEN],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a forked child gives back what its parent was about to send",
        edits: &[Edit {
            file: LOAN,
            old: "        if let Some(extent) = self.extent.take()\n            && end.participant().is_of_this_process()\n",
            new: "        if let Some(extent) = self.extent.take()\n",
        }],
        tests: &[FORKED],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a forked child gives back what its parent has received",
        edits: &[Edit {
            file: LOAN,
            old: "        if let Place::Extent { header, .. } = self.place\n            && end.participant().is_of_this_process()\n",
            new: "        if let Place::Extent { header, .. } = self.place\n",
        }],
        tests: &[FORKED],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who finds a name half taken away leaves it so",
        edits: &[Edit {
            file: "crates/ppipe/src/name.rs",
            old: "let is_taken_away = error.kind() == io::ErrorKind::NotFound;",
            new: "let is_taken_away = false;",
        }],
        tests: &[
            "names::a_name_whose_taking_away_somebody_began_and_was_killed_is_taken_away_by_the_next_who_opens_it",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "another program in the place of a process has its locks and bells",
        edits: &[Edit {
            file: "crates/shm-ring/src/sys.rs",
            old: "rustix::fs::open(path, access | OFlags::CLOEXEC, Mode::empty())",
            new: "rustix::fs::open(path, access, Mode::empty())",
        }],
        tests: &["execs::an_end_that_is_not_handed_over_is_gone_when_its_process_becomes_another_program"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a node that is taken out takes those behind it along",
        edits: &[Edit {
            file: LIST,
            old: "        before.next.store(next, Ordering::Release);",
            new: "        let _ = next;\n        before.next.store(ptr::from_ref(&self.head.first).cast_mut(), Ordering::Release);",
        }],
        tests: &["shm_ring::robust_list::tests::a_participant_is_in_the_list_and_its_word_says_so_until_it_leaves"],
        fate: Fate::Caught,
    },
];
