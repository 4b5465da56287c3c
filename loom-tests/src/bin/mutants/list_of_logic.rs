//! Mistakes that somebody could make, or has made.

use crate::list::{
    ATOMIC, BELL, DYING, EXTENT, Edit, Fate, HOLDING, Mutant, PARTICIPANT, PLACE, REAPING, RING, SLOT, TENURE, WAITING,
};

const EMPTY_WITHOUT_THE_ONE_BEFORE: Edit =
    Edit { file: PLACE, old: "let is_head = self.is_published(head.0.wrapping_sub(1)) && ", new: "let is_head = " };

const PACKET_WITHOUT_THE_ONE_BEFORE: Edit =
    Edit { file: PLACE, old: "self.is_drained(tail.0.wrapping_sub(1)).then_some(", new: "true.then_some(" };

pub(crate) const LOGIC: &[Mutant] = &[
    Mutant {
        name: "writers do not search",
        edits: &[Edit {
            file: PLACE,
            old: "            seen = self.search_head(head)?;\n",
            new: "            return Err(Miss::Lost);\n",
        }],
        tests: &[
            "decisions::who_knows_of_a_message_does_not_find_the_ring_empty",
            "decisions::of_two_writers_one_gets_the_only_slot",
            "order::messages_of_two_writers_arrive_in_the_order_of_each",
            "laps::a_writer_that_was_overtaken_by_a_lap_publishes_behind_everybody",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "readers do not search",
        edits: &[Edit {
            file: RING,
            old: "            seen = self.search_tail(tail)?;\n",
            new: "            return Err(Miss::Lost);\n",
        }],
        tests: &[
            "laps::a_newcomer_begins_where_the_hint_says_and_finds_its_place",
            "decisions::of_two_readers_one_gets_the_only_message",
            "order::two_readers_share_messages_without_loss_or_repetition",
            "decisions::a_reader_whose_place_another_one_has_drained_finds_the_next_message",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the page is filled after it is published",
        edits: &[Edit {
            file: PARTICIPANT,
            old: "        self.world.ring_at(self.in_ring).pages.write(page, 0, bytes);\n        self.publish(content)\n",
            new: "        self.publish(content)?;\n        self.world.ring_at(self.in_ring).pages.write(page, 0, bytes);\n        Ok(())\n",
        }],
        tests: &["order::one_reader_gets_whole_messages_in_order"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "writers do not compare the lap",
        edits: &[Edit {
            file: PLACE,
            old: "self.fields.is_next_to_fill(word, position) && self.is_published",
            new: "(self.fields.is_empty(word) || self.fields.is_next_to_fill(word, position)) && self.is_published",
        }],
        tests: &[
            "laps::a_writer_that_was_overtaken_by_a_lap_publishes_behind_everybody",
            "laps::a_cursor_that_is_nowhere_near_finds_its_place",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "readers do not compare the lap",
        edits: &[Edit {
            file: PLACE,
            old: "self.fields.is_next_to_drain(word, position) && self.is_drained",
            new: "(self.fields.is_next_to_drain(word, position) || self.fields.is_drained(word, position))\n            && self.is_drained",
        }],
        tests: &["decisions::a_reader_whose_place_another_one_has_drained_finds_the_next_message"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "an emptied slot stays in its lap",
        edits: &[Edit {
            file: RING,
            old: "lap: seen.slot.lap.wrapping_add(1), content: Content::Empty",
            new: "lap: seen.slot.lap, content: Content::Empty",
        }],
        tests: &["order::one_reader_gets_whole_messages_in_order", "laps::order_survives_the_wrap_of_a_two_bit_lap"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "any full slot means that the ring is full",
        edits: &[Edit {
            file: PLACE,
            old: "self.fields.is_next_to_fill(word, position) && self.is_published",
            new: "!self.fields.is_empty(word) || self.fields.is_next_to_fill(word, position) && self.is_published",
        }],
        tests: &["decisions::who_knows_of_room_does_not_find_the_ring_full"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "writers do not look at the slot before theirs",
        edits: &[
            Edit {
                file: PLACE,
                old: "self.fields.is_next_to_fill(word, position) && self.is_published(position.wrapping_sub(1))",
                new: "self.fields.is_next_to_fill(word, position)",
            },
            EMPTY_WITHOUT_THE_ONE_BEFORE,
        ],
        tests: &["laps::who_was_idle_while_the_laps_came_round_finds_its_place"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "writers who go the short way do not look at the slot before theirs",
        edits: &[EMPTY_WITHOUT_THE_ONE_BEFORE],
        tests: &["laps::who_was_idle_while_the_laps_came_round_finds_its_place"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "readers do not look at the slot before theirs",
        edits: &[
            Edit {
                file: PLACE,
                old: "self.fields.is_next_to_drain(word, position) && self.is_drained(position.wrapping_sub(1))",
                new: "self.fields.is_next_to_drain(word, position)",
            },
            PACKET_WITHOUT_THE_ONE_BEFORE,
        ],
        tests: &["laps::who_was_idle_while_the_laps_came_round_finds_its_place"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "readers who go the short way do not look at the slot before theirs",
        edits: &[PACKET_WITHOUT_THE_ONE_BEFORE],
        tests: &["laps::who_was_idle_while_the_laps_came_round_finds_its_place"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "writers who go the short way do not compare the lap",
        edits: &[Edit {
            file: SLOT,
            old: "let left = (word ^ self.word_of_lap(position)).rotate_right(self.page_shift);",
            new: "let left = (word ^ self.word_of_lap(position)).rotate_right(self.page_shift) & self.page_mask;",
        }],
        tests: &["slot::tests::the_short_looks_say_what_the_long_ones_say"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "readers who go the short way take what is left of a packet for a whole one",
        edits: &[Edit {
            file: SLOT,
            old: "let left = (word ^ expected).rotate_right(FROZEN_BITS + self.offset_bits);",
            new: "let left = (word ^ expected) >> (FROZEN_BITS + self.offset_bits);",
        }],
        tests: &["slot::tests::the_short_looks_say_what_the_long_ones_say"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "words are compared without the wrap of their laps",
        edits: &[Edit {
            file: SLOT,
            old: "self.since_filled(word, position) as i64 >= 0",
            new: "word >= (self.word_of_lap(position) | FULL << self.state_shift)",
        }],
        tests: &["slot::tests::a_slot_lives_from_empty_to_full_to_empty_in_the_next_lap"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who is nowhere near does not start over",
        edits: &[Edit {
            file: PLACE,
            old: "            .max();\n",
            new: "            .max()\n            .filter(|_| false);\n",
        }],
        tests: &[
            "laps::from_every_wrong_place_the_right_one_is_found",
            "laps::a_cursor_that_is_nowhere_near_finds_its_place",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who closes does not compare the count",
        edits: &[Edit {
            file: TENURE,
            old: "self.0.compare_exchange(count.0, CLOSED,",
            new: "self.0.compare_exchange(self.0.load(Ordering::Relaxed), CLOSED,",
        }],
        tests: &["closing::nobody_is_in_a_segment_that_has_been_closed"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who joins does not count",
        edits: &[Edit { file: TENURE, old: "let next = seen.wrapping_add(1) % CLOSED;", new: "let next = seen;" }],
        tests: &["closing::nobody_is_in_a_segment_that_has_been_closed"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who closes begins with an old count",
        edits: &[Edit { file: TENURE, old: "then_some(Count(count))", new: "then_some(Count(0))" }],
        tests: &["closing::who_came_and_went_while_a_segment_was_being_closed_leaves_it_to_be_closed"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "half full is full",
        edits: &[Edit {
            file: PLACE,
            old: "(self.usage().min(self.ring_size()) / 2).max(1)",
            new: "self.usage().min(self.ring_size())",
        }],
        tests: &["decisions::half_full_is_what_the_slots_say"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "laps are compared without their wrap",
        edits: &[Edit {
            file: SLOT,
            old: "(a.wrapping_sub(b) << self.lap_shift) as i64 >> self.lap_shift",
            new: "(a.wrapping_sub(b) << self.lap_shift >> self.lap_shift) as i64",
        }],
        tests: &[
            "laps::from_every_wrong_place_the_right_one_is_found",
            "laps::who_was_idle_while_the_laps_came_round_finds_its_place",
            "laps::a_cursor_that_is_nowhere_near_finds_its_place",
            "laps::order_survives_the_wrap_of_a_two_bit_lap",
        ],
        fate: Fate::Unseen(
            "places count modulo all laps: what is a lap behind is as many laps but one ahead, and the search ends at the same slot",
        ),
    },
    Mutant {
        name: "a part is read whether or not the exchange succeeds",
        edits: &[Edit { file: RING, old: "            .map_err(|_| Miss::Lost)?;\n", new: "            .ok();\n" }],
        tests: &[
            "merging::a_merge_against_a_partial_read_loses_nothing",
            "merging::two_merges_and_a_partial_read_lose_nothing",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the lap does not come round",
        edits: &[Edit {
            file: SLOT,
            old: "Self { lap_shift: u64::BITS - lap_bits, ..self }",
            new: "Self { lap_shift: self.lap_shift.min(u64::BITS - lap_bits), ..self }",
        }],
        tests: &["laps::a_word_that_comes_back_after_all_laps_deceives_the_order_but_loses_no_page"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a search starts over from the oldest slot",
        edits: &[Edit { file: PLACE, old: "            .max();\n", new: "            .min();\n" }],
        tests: &["laps::from_every_wrong_place_the_right_one_is_found"],
        fate: Fate::Unseen("the search goes on from there, slot by slot: the newest one only saves steps"),
    },
    Mutant {
        name: "an empty slot counts as just published",
        edits: &[Edit {
            file: PLACE,
            old: "if seen.slot.content == Content::Empty { ahead - 1 } else { ahead };",
            new: "ahead;",
        }],
        tests: &["laps::from_every_wrong_place_the_right_one_is_found"],
        fate: Fate::Unseen("the slot before gives the wrong place away, and the search starts over"),
    },
    Mutant {
        name: "bytes are appended in place",
        edits: &[
            Edit {
                file: RING,
                old: "        self.swap(&seen, spare, notice, Slot { content: longer, ..seen.slot })?;\n        peek.commit();",
                new: "        _ = (&notice, &spare);\n        let word = self.fields.encode(Slot { content: longer, ..seen.slot });\n        \
                      if self.slot(seen.position)\n            .compare_exchange(seen.word, word, Ordering::AcqRel, \
                      Ordering::Acquire)\n            .is_err()\n        {\n            return Err(Miss::Lost);\n        }\n        \
                      peek.commit();",
            },
            Edit {
                file: RING,
                old: "    pub fn end(&self) -> u32 {\n",
                new: "    pub fn page(&self) -> u32 {\n        self.seen.slot.page\n    }\n    pub fn end(&self) -> u32 {\n",
            },
            Edit {
                file: PARTICIPANT,
                old: "        let page = self.spare.page();\n        self.world.ring_at(self.in_ring).pages.write(page, merge.end()",
                new: "        let page = merge.page();\n        self.world.ring_at(self.in_ring).pages.write(page, merge.end()",
            },
        ],
        tests: &["merging::a_merge_against_a_take_loses_nothing", "merging::two_merges_into_one_slot_both_arrive"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the prefix is assumed without a check",
        edits: &[Edit {
            file: RING,
            old: "Some(old) if old.position == seen.position && old.published == seen.slot.page && old.is_prefix_of(span) => {",
            new: "Some(old) => {",
        }],
        tests: &["merging::a_copied_prefix_is_used_for_the_slot_that_it_came_from_only"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the copied prefix is taken to be longer",
        edits: &[Edit {
            file: RING,
            old: "start: old.span.end.max(span.start), end: span.end",
            new: "start: (old.span.end + 1).min(span.end).max(span.start), end: span.end",
        }],
        tests: &["merging::a_later_merge_continues_the_prefix_that_it_finds_in_the_own_page"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a filled page is taken to hold the prefix still",
        edits: &[Edit {
            file: RING,
            old: "    pub fn page_to_fill(&mut self) -> u32 {\n        self.copied = None;\n",
            new: "    pub fn page_to_fill(&mut self) -> u32 {\n",
        }],
        tests: &["merging::a_page_that_was_filled_in_vain_holds_no_prefix"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the reaper takes it that nothing was exchanged",
        edits: &[Edit {
            file: HOLDING,
            old: "Holding::Pending { offered, expected } => (offered, expected),",
            new: "Holding::Pending { offered, .. } => return Some(offered),",
        }],
        tests: &[
            "dying::a_reader_killed_while_it_consumes_loses_at_most_what_it_read",
            "dying::a_writer_killed_while_it_publishes_loses_at_most_its_last_message",
            "dying::a_writer_killed_while_it_merges_loses_at_most_its_last_bytes",
            "dying::a_reader_killed_while_it_takes_loses_at_most_what_it_took",
            "dying::who_is_killed_with_an_extent_leaves_it_to_be_freed",
            "dying::who_reaps_after_a_killed_reaper_finds_the_same",
            "dying::two_who_die_in_each_others_way_are_both_cleaned_up",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the reaper takes it that the exchange was made",
        edits: &[Edit {
            file: HOLDING,
            old: "Holding::Pending { offered, expected } => (offered, expected),",
            new: "Holding::Pending { expected, .. } => return Some(expected),",
        }],
        tests: &["dying::a_writer_killed_while_it_publishes_loses_at_most_its_last_message"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "H1: the intent is not recorded",
        edits: &[Edit { file: BELL, old: "        self.record.intend(offered, expected);\n", new: "" }],
        tests: &["dying::a_writer_killed_while_it_publishes_loses_at_most_its_last_message"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "H2: settled before the exchange",
        edits: &[Edit {
            file: BELL,
            old: "        self.record.intend(offered, expected);\n",
            new: "        self.record.intend(offered, expected);\n        self.record.settle(expected);\n",
        }],
        tests: &["dying::a_reader_killed_while_it_takes_loses_at_most_what_it_took"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "H1: the intent is recorded after the exchange",
        edits: &[
            Edit { file: BELL, old: "        self.record.intend(offered, expected);\n", new: "" },
            Edit {
                file: RING,
                old: "        if swapped {\n",
                new: "        notice.record.intend(spare.page, seen.slot.page);\n        if swapped {\n",
            },
        ],
        tests: &["dying::a_writer_killed_while_it_publishes_loses_at_most_its_last_message"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "H2: nothing is settled",
        edits: &[Edit { file: RING, old: "        notice.record.settle(spare.page);\n", new: "" }],
        tests: &["dying::a_writer_killed_while_it_publishes_loses_at_most_its_last_message"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the reaper leaves the extents",
        edits: &[Edit { file: REAPING, old: "    extents.release_all_of(page);\n", new: "" }],
        tests: &["dying::who_is_killed_with_an_extent_leaves_it_to_be_freed"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "an extent is claimed by a look and then an exchange",
        edits: &[Edit {
            file: EXTENT,
            old: "            owner.compare_exchange(FREE, page + 1,",
            new: "            owner.load(Ordering::Acquire) == FREE\n                && owner.compare_exchange(owner.load(Ordering::Relaxed), page + 1,",
        }],
        tests: &["large::two_writers_never_get_the_same_extent"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "an extent is free before it is read",
        edits: &[Edit {
            file: PARTICIPANT,
            old: "                let mut bytes = vec![0; (header.length - consumed) as usize];\n",
            new: "                let mut bytes = vec![0; (header.length - consumed) as usize];\n                \
                      self.world.extents().release(header.extent, page);\n",
        }],
        tests: &["large::an_extent_is_not_written_to_under_its_reader"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the bit is cleared before the wake",
        edits: &[
            Edit {
                file: WAITING,
                old: "        if self.0.wake(1) > 0 {\n            return false;\n        }\n",
                new: "",
            },
            Edit { file: WAITING, old: "            self.0.wake(u32::MAX);\n", new: "            self.0.wake(1);\n" },
        ],
        tests: &["waking::two_messages_wake_two_sleeping_readers"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who clears the bit does not wake again",
        edits: &[Edit { file: WAITING, old: "            self.0.wake(u32::MAX);\n", new: "" }],
        tests: &[
            "dying::a_reader_killed_before_it_sleeps_keeps_nobody_else_asleep",
            "waking::a_sleeping_reader_wakes_for_each_message",
            "waking::a_sleeping_writer_wakes_when_there_is_room",
            "waking::messages_of_two_writers_wake_two_sleeping_readers",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who clears the bit wakes only one again",
        edits: &[Edit {
            file: WAITING,
            old: "            self.0.wake(u32::MAX);\n",
            new: "            self.0.wake(1);\n",
        }],
        tests: &["waking::two_who_go_to_sleep_late_are_both_woken"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who goes to sleep does not look again",
        edits: &[Edit {
            file: PARTICIPANT,
            old: "if self.world.ring_at(self.in_ring).is_still_empty(self.cursor) && !is_over() {",
            new: "if true || is_over() {",
        }],
        tests: &[
            "waking::a_sleeping_reader_wakes_for_each_message",
            "closing::the_end_comes_after_everything_that_was_sent",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "waking all does not begin a new epoch",
        edits: &[Edit {
            file: WAITING,
            old: "self.0.fetch_add(ONE_EPOCH, Ordering::AcqRel);",
            new: "self.0.fetch_add(0, Ordering::AcqRel);",
        }],
        tests: &["closing::the_end_wakes_every_sleeper"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "waking all wakes one",
        edits: &[Edit {
            file: WAITING,
            old: "Ordering::AcqRel);\n        self.0.wake(u32::MAX);\n",
            new: "Ordering::AcqRel);\n        self.0.wake(1);\n",
        }],
        tests: &["closing::the_end_wakes_every_sleeper"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "clearing the bit does not begin a new epoch",
        edits: &[Edit { file: WAITING, old: "(seen & !WAITING).wrapping_add(ONE_EPOCH);", new: "seen & !WAITING;" }],
        tests: &["waking::two_messages_wake_two_sleeping_readers"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the simulated machine is loom as it is",
        edits: &[
            Edit { file: ATOMIC, old: "None => self.word.fetch_add(0, order),", new: "None => self.word.load(order)," },
            Edit { file: ATOMIC, old: "shadow.fetch_add(0, Ordering::Relaxed);", new: "_ = shadow;" },
        ],
        tests: &["litmus::both_forms_find_the_interleavings_that_loom_alone_loses"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "nothing orders the reaper behind the death",
        edits: &[Edit {
            file: DYING,
            old: "self.0.store(true, Ordering::Release);",
            new: "self.0.store(true, Ordering::Relaxed);",
        }],
        tests: &[
            "dying::a_writer_killed_while_it_publishes_loses_at_most_its_last_message",
            "dying::a_reader_killed_while_it_takes_loses_at_most_what_it_took",
        ],
        fate: Fate::Caught,
    },
];
