//! Mistakes that some pair of operations is to find.

use crate::list::{Edit, Fate, HOLDING, Mutant, REAPING, RING};

const KEEPS_WHAT_WAS_LOST: Edit =
    Edit { file: RING, old: "            .map_err(|_| Miss::Lost)?;\n", new: "            .ok();\n" };

pub(crate) const MODELS: &[Mutant] = &[
    Mutant {
        name: "pairs: a part of a stream is read whether or not the exchange succeeds",
        edits: &[KEEPS_WHAT_WAS_LOST],
        tests: &["pairs::whatever_two_do_at_once_in_a_stream_every_byte_is_read_once"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "pairs: a part of a packet is read whether or not the exchange succeeds",
        edits: &[KEEPS_WHAT_WAS_LOST],
        tests: &["pairs::whatever_two_do_at_once_at_a_large_packet_every_byte_is_read_once"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "pairs: the reaper takes it that nothing was exchanged",
        edits: &[Edit {
            file: HOLDING,
            old: "Holding::Pending { offered, expected } => (offered, expected),",
            new: "Holding::Pending { offered, .. } => return Some(offered),",
        }],
        tests: &["pairs::whoever_is_killed_in_a_stream_beside_whatever_another_one_does_costs_its_own_operation_alone"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "pairs: the reaper leaves the extents",
        edits: &[Edit { file: REAPING, old: "    extents.release_all_of(page);\n", new: "    _ = extents;\n" }],
        tests: &[
            "pairs::whoever_is_killed_at_a_large_packet_beside_whatever_another_one_does_costs_its_own_operation_alone",
        ],
        fate: Fate::Caught,
    },
];
