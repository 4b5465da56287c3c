//! Mistakes where ends are passed on over sockets.

use crate::list::{Edit, Fate, Mutant};

const PASSING: &str = "crates/ppipe/src/passing.rs";

pub(crate) const PIPE: &[Mutant] = &[
    Mutant {
        name: "what a sender says is taken to be text",
        edits: &[Edit {
            file: PASSING,
            old: "std::str::from_utf8(&text[..end]).ok()?",
            new: "std::str::from_utf8(&text[..end]).expect(\"text\")",
        }],
        tests: &["ppipe::passing::tests::whatever_a_message_says_is_refused_or_read_as_it_was_written"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "what else a sender sends along stays open",
        edits: &[Edit {
            file: PASSING,
            old: "            descriptors.extend(rights);\n",
            new: "            descriptors.extend(rights);\n            if descriptors.len() != DESCRIPTORS {\n                core::mem::forget(core::mem::take(&mut descriptors));\n            }\n",
        }],
        tests: &["hostile_senders::what_is_no_end_is_refused_whole_over_a_stream_socket"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a file that anybody can shorten is taken for a pipe",
        edits: &[Edit {
            file: PASSING,
            old: "        check_is_own(&lock)?;\n",
            new: "        let _ = check_is_own(&lock);\n",
        }],
        tests: &["hostile_senders::what_is_no_end_is_refused_whole_over_a_stream_socket"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who receives an end passes it to every program that it starts",
        edits: &[Edit { file: PASSING, old: "flags | RecvFlags::CMSG_CLOEXEC", new: "flags" }],
        tests: &["hostile_senders::what_is_no_end_is_refused_whole_over_a_stream_socket"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "an end that cannot be sent is lost",
        edits: &[Edit {
            file: "crates/shm-ring/src/handed_over.rs",
            old: "        participant.at_bells.put_back(bells);\n",
            new: "        drop(bells);\n",
        }],
        tests: &["passing::who_cannot_send_has_the_end_as_it_was"],
        fate: Fate::Caught,
    },
];
