//! Mistakes in what holds against those who take memory away, or give what is no segment. Tests with real signals should notice.

use crate::list::{Edit, Fate, Mutant};

const LOST: &str = "crates/shm-ring/src/lost.rs";
const SEGMENT: &str = "crates/shm-ring/src/segment.rs";
const SIGBUS: &str = "crates/shm-ring/src/sigbus.rs";
const SYS: &str = "crates/shm-ring/src/sys.rs";

const WHOSE: &str = "sigbus::a_pipes_own_signal_is_an_error_and_every_other_one_goes_where_it_would_have_gone";

pub(crate) const PIPE: &[Mutant] = &[
    Mutant {
        name: "every fault is taken for one of a pipe's",
        edits: &[Edit {
            file: SIGBUS,
            old: ".filter(|&(start, len)| address.wrapping_sub(start) < len)",
            new: ".filter(|&(_, len)| len > 0)",
        }],
        tests: &[WHOSE],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a mapping stays listed when it is no more",
        edits: &[Edit { file: SIGBUS, old: "        self.0.set(0, 0);\n", new: "" }],
        tests: &[WHOSE],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a signal that was sent is let go",
        edits: &[Edit { file: SIGBUS, old: "    if was_sent {\n", new: "    if false {\n" }],
        tests: &[WHOSE],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a signal that is ignored ends the process",
        edits: &[Edit { file: SIGBUS, old: "libc::SIG_IGN if was_sent => {}", new: "libc::SIG_IGN if false => {}" }],
        tests: &[WHOSE],
        fate: Fate::Caught,
    },
    Mutant {
        name: "whoever handled the signal before is not called",
        edits: &[Edit { file: SIGBUS, old: "            handler(signal, info, context);\n", new: "" }],
        tests: &[WHOSE],
        fate: Fate::Caught,
    },
    Mutant {
        name: "what is lost is not marked",
        edits: &[Edit { file: SIGBUS, old: "compare_exchange(0, 1 + address - start,", new: "compare_exchange(0, 0," }],
        tests: &[WHOSE, "damaged::a_packet_whose_memory_is_gone_is_an_error_and_no_zeros"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "no call looks at the mark",
        edits: &[Edit {
            file: LOST,
            old: "if self.segment.is_lost() { self.tell_of_loss() } else { None }",
            new: "if false { self.tell_of_loss() } else { None }",
        }],
        tests: &[
            "damaged::a_packet_whose_memory_is_gone_is_an_error_and_no_zeros",
            "damaged::what_is_sent_where_no_memory_is_is_an_error",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "memory that is taken lengthens the file",
        edits: &[Edit {
            file: SYS,
            old: "fallocate(file, FallocateFlags::KEEP_SIZE,",
            new: "fallocate(file, FallocateFlags::empty(),",
        }],
        tests: &["memory::memory_that_is_taken_makes_no_shortened_file_longer"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "flags that mean nothing are accepted",
        edits: &[Edit { file: SEGMENT, old: "(flags & !SIGNED).into(), 0)?;", new: "0, 0)?;" }],
        tests: &[
            "bad_segments::each_number_that_cannot_be_is_named_with_what_it_is_and_what_it_could_be",
            "bad_segments::no_bit_of_what_a_segment_says_of_itself_can_be_another_one",
        ],
        fate: Fate::Caught,
    },
];
