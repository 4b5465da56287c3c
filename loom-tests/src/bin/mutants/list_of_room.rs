//! Mistakes where memory or descriptors are short, and with what the dead left.

use crate::list::{Edit, Fate, Mutant};

const CLOSING: &str = "crates/shm-ring/src/closing.rs";
const NAME: &str = "crates/ppipe/src/name.rs";
const PARTICIPANT: &str = "crates/shm-ring/src/participant.rs";
const SHARED_WORD: &str = "crates/shm-ring/src/shared_word.rs";
const SYS: &str = "crates/shm-ring/src/sys.rs";

pub(crate) const PIPE: &[Mutant] = &[
    Mutant {
        name: "flags are promised memory that may not be there",
        edits: &[Edit { file: SHARED_WORD, old: "    sys::take_memory(&file, 0, MAPPED as u64)?;\n", new: "" }],
        tests: &["shm_ring::shared_word::tests::what_words_need_is_there_before_they_are_used"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "nobody asks how large a file may be",
        edits: &[Edit {
            file: SYS,
            old: "current.is_some_and(|most| size > most)",
            new: "current.is_some_and(|_| false)",
        }],
        tests: &["full_disk::a_limit_of_the_size_of_files_is_an_error_and_no_signal"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the last one out keeps its name where descriptors are short",
        edits: &[Edit {
            file: PARTICIPANT,
            old: "asker.or_else(|_| self.segment.reopen()).is_ok_and",
            new: "asker.is_ok_and",
        }],
        tests: &["full_disk::too_few_descriptors_are_an_error_and_nothing_is_left"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a thread stays that may have no list",
        edits: &[Edit {
            file: "crates/shm-ring/src/robust_list.rs",
            old: "            while own_number.is_some() {\n",
            new: "            loop {\n",
        }],
        tests: &["shm_ring::robust_list::tests::a_thread_that_may_have_no_list_does_not_stay"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "what is being made is taken for abandoned",
        edits: &[Edit {
            file: CLOSING,
            old: "    Ok(is_abandoned(segment, &asker) && tenure.close(count))",
            new: "    drop(asker);\n    Ok(tenure.close(count))",
        }],
        tests: &[
            "ppipe::name::tests::what_is_being_made_is_not_swept_and_what_was_left_is",
            "name_races::a_sweeper_removes_all_that_the_dead_left_and_nothing_that_lives",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "an empty directory of a dead maker is left",
        edits: &[Edit {
            file: NAME,
            old: "        None => drop(rmdir(path)),\n",
            new: "        None => return Ok(false),\n",
        }],
        tests: &["ppipe::name::tests::an_empty_directory_is_swept_and_its_maker_starts_over"],
        fate: Fate::Caught,
    },
];
