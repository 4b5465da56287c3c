//! Mistakes that nobody sees who does not have the kernel's pipe beside ours. Random programs on both should notice.

use crate::list::{Edit, Fate, Mutant, PLACE, SLOT};

const DESCRIPTOR: &str = "crates/ppipe/src/descriptor.rs";
const MOVING: &str = "crates/shm-ring/src/moving.rs";
const POLL: &str = "crates/ppipe/src/poll.rs";
const READINESS: &str = "crates/ppipe/src/readiness.rs";
const SIZE: &str = "crates/ppipe/src/size.rs";
const SPLICE: &str = "crates/ppipe/src/splice.rs";
const STREAM: &str = "crates/ppipe/src/stream.rs";

const PROGRAMS: &[&str] = &["as_the_kernel::the_first_programs_give_what_the_kernel_gives"];

pub(crate) const PIPE: &[Mutant] = &[
    Mutant {
        name: "resize: the largest size that there is cannot be",
        edits: &[Edit { file: SIZE, old: "if bytes > MOST_BYTES {", new: "if bytes >= MOST_BYTES {" }],
        tests: &["limits::whatever_size_is_asked_for_the_answer_is_that_of_the_kernel"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "resize: a pipe cannot be made as small as what is in it",
        edits: &[Edit {
            file: MOVING,
            old: "if occupied.slots > usage as usize {",
            new: "if occupied.slots >= usage as usize {",
        }],
        tests: PROGRAMS,
        fate: Fate::Caught,
    },
    Mutant {
        name: "resize: no pipe has one slot",
        edits: &[Edit {
            file: SIZE,
            old: "bytes.max(slot_size).next_power_of_two() / slot_size",
            new: "bytes.max(2 * slot_size).next_power_of_two() / slot_size",
        }],
        tests: PROGRAMS,
        fate: Fate::Caught,
    },
    Mutant {
        name: "tee: what is copied can be merged with",
        edits: &[Edit {
            file: SPLICE,
            old: "Place::find(to, &buffer, len, false)?",
            new: "Place::find(to, &buffer, len, true)?",
        }],
        tests: PROGRAMS,
        fate: Fate::Caught,
    },
    Mutant {
        name: "splice: a buffer that is moved has all the room behind it",
        edits: &[Edit { file: SPLICE, old: "at(span.start as usize)", new: "at(0)" }],
        tests: PROGRAMS,
        fate: Fate::Caught,
    },
    Mutant {
        name: "splice: the end of file comes before a full pipe",
        edits: &[Edit {
            file: SPLICE,
            old: "            Err(Stop::EndOfFile) => true,",
            new: "            Err(Stop::EndOfFile) => return Ok(0),",
        }],
        tests: PROGRAMS,
        fate: Fate::Caught,
    },
    Mutant {
        name: "splice: the end of file comes before a full pipe of the kernel",
        edits: &[Edit { file: DESCRIPTOR, old: "                wait_for_room_in_pipe(fd, limit)?;\n", new: "" }],
        tests: &[
            "as_the_kernel::the_first_programs_give_what_the_kernel_gives",
            "both_pipes::to_a_pipe_of_the_kernel_the_same_is_said_as_between_two_of_its_own",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "splice: that nobody reads comes before an empty pipe of the kernel",
        edits: &[Edit { file: DESCRIPTOR, old: "            check_data_in_pipe(fd, limit)?;\n", new: "" }],
        tests: &[
            "as_the_kernel::the_first_programs_give_what_the_kernel_gives",
            "both_pipes::from_a_pipe_of_the_kernel_the_same_is_said_as_between_two_of_its_own",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "splice: a wrong descriptor is found out when it is used",
        edits: &[Edit {
            file: DESCRIPTOR,
            old: "if flags.contains(OFlags::PATH) || flags & OFlags::RWMODE == other {",
            new: "if false && flags & OFlags::RWMODE == other {",
        }],
        tests: &["descriptors::whatever_is_spliced_with_is_refused_as_the_kernel_refuses_it"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "splice: there is no end of a file",
        edits: &[Edit {
            file: DESCRIPTOR,
            old: "if end.is_some_and(|end| i64::try_from(end).is_ok())",
            new: "if end.is_some()",
        }],
        tests: &["descriptors::whatever_is_spliced_with_is_refused_as_the_kernel_refuses_it"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "poll: who asks for nothing is not told of a broken pipe",
        edits: &[Edit {
            file: POLL,
            old: "(self.interest | Readiness::HUNG_UP | Readiness::BROKEN)",
            new: "(self.interest | Readiness::HUNG_UP)",
        }],
        tests: PROGRAMS,
        fate: Fate::Caught,
    },
    Mutant {
        name: "poll: a reader that never had a writer is hung up",
        edits: &[Edit {
            file: READINESS,
            old: "!end.participant().ask_for_peers() && end.participant().has_met();",
            new: "!end.participant().ask_for_peers();",
        }],
        tests: PROGRAMS,
        fate: Fate::Caught,
    },
    Mutant {
        name: "wrap: a read ends where positions come round",
        edits: &[Edit {
            file: STREAM,
            old: "seen.position().wrapping_add(1), start_behind",
            new: "seen.position().saturating_add(1), start_behind",
        }],
        tests: PROGRAMS,
        fate: Fate::Caught,
    },
    Mutant {
        name: "wrap: who moves to a larger ring compares positions without the wrap of their laps",
        edits: &[Edit {
            file: SLOT,
            old: "((a.wrapping_sub(b) << (self.lap_shift - self.ring_bits)) as i64) < 0",
            new: "(a.wrapping_sub(b) as i64) < 0",
        }],
        tests: PROGRAMS,
        fate: Fate::Caught,
    },
    Mutant {
        name: "wrap: there is no room before as much has been written as there is room",
        edits: &[Edit {
            file: PLACE,
            old: "self.is_drained(head.wrapping_sub(usage))",
            new: "self.is_drained(head.saturating_sub(usage))",
        }],
        tests: PROGRAMS,
        fate: Fate::Caught,
    },
];
