//! Mistakes that chosen schedules of six participants are to find, by tests in `tests/schedules`.

use crate::list::{Edit, Fate, HOLDING, Mutant, PARTICIPANT, RING, WAITING};

const TRAFFIC: &str = "traffic::three_readers_get_everything_of_three_writers_once_and_in_order";
const DEATHS: &str = "traffic::deaths_of_a_writer_and_a_reader_cost_at_most_what_they_were_doing";

pub(crate) const SCHEDULES: &[Mutant] = &[
    Mutant {
        name: "schedules: a part is read whether or not the exchange succeeds",
        edits: &[Edit { file: RING, old: "            .map_err(|_| Miss::Lost)?;\n", new: "            .ok();\n" }],
        tests: &[TRAFFIC],
        fate: Fate::Caught,
    },
    Mutant {
        name: "schedules: who goes to sleep does not look again",
        edits: &[Edit {
            file: PARTICIPANT,
            old: "if self.world.ring_at(self.in_ring).is_still_empty(self.cursor) && !is_over() {",
            new: "if true || is_over() {",
        }],
        tests: &[TRAFFIC],
        fate: Fate::Caught,
    },
    Mutant {
        name: "schedules: who clears the bit does not wake again",
        edits: &[Edit { file: WAITING, old: "            self.0.wake(u32::MAX);\n", new: "" }],
        tests: &[TRAFFIC],
        fate: Fate::Caught,
    },
    Mutant {
        name: "schedules: the page is filled after it is published",
        edits: &[Edit {
            file: PARTICIPANT,
            old: "        self.world.ring_at(self.in_ring).pages.write(page, 0, bytes);\n        self.publish(content)\n",
            new: "        self.publish(content)?;\n        self.world.ring_at(self.in_ring).pages.write(page, 0, bytes);\n        Ok(())\n",
        }],
        tests: &[TRAFFIC],
        fate: Fate::Caught,
    },
    Mutant {
        name: "schedules: the reaper takes it that nothing was exchanged",
        edits: &[Edit {
            file: HOLDING,
            old: "Holding::Pending { offered, expected } => (offered, expected),",
            new: "Holding::Pending { offered, .. } => return Some(offered),",
        }],
        tests: &[DEATHS],
        fate: Fate::Caught,
    },
];
