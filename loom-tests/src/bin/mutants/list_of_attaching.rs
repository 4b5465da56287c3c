//! Mistakes where a segment is attached, or is used by threads.

use crate::list::{Edit, Fate, Mutant, RING};

const SEGMENT: &str = "crates/shm-ring/src/segment.rs";
const ATTACHING: &str = "attaching_anything::whatever_a_file_holds_attaching_it_ends_and_what_is_attached_can_be_used";

pub(crate) const PIPE: &[Mutant] = &[
    Mutant {
        name: "a segment may be longer than its file",
        edits: &[Edit {
            file: SEGMENT,
            old: "    check_equal(\"size of the file\", file_size, layout.size)?;\n",
            new: "    _ = file_size;\n",
        }],
        tests: &[ATTACHING],
        fate: Fate::Caught,
    },
    Mutant {
        name: "of a segment's numbers only the checksum is looked at",
        edits: &[
            Edit {
                file: SEGMENT,
                old: "    check_equal(\"size of the segment\", identity.segment_size.load(Ordering::Relaxed), layout.size)?;\n    check_equal(\"checksum\", identity.checksum.load(Ordering::Relaxed), checksum(&layout))?;\n",
                new: "    let layout = Layout { size: identity.segment_size.load(Ordering::Relaxed), ..layout };\n    check_equal(\"checksum\", identity.checksum.load(Ordering::Relaxed), checksum(&layout))?;\n",
            },
            Edit {
                file: SEGMENT,
                old: "    check_equal(\"size of the file\", file_size, layout.size)?;\n",
                new: "    _ = file_size;\n",
            },
        ],
        tests: &[ATTACHING],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who exchanges pages keeps the one that it gave",
        edits: &[Edit { file: RING, old: "            spare.page = seen.slot.page;\n", new: "" }],
        tests: &["thread_races::packets_of_two_threads_arrive_at_two_threads_once_and_in_order"],
        fate: Fate::Caught,
    },
];
