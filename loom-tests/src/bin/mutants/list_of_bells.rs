//! Mistakes with bells: in the models' part and in the pipe's.

use crate::list::{BELL, Edit, Fate, HOLDING, Mutant, PARTICIPANT};

const BELL_PIPE: &str = "crates/shm-ring/src/bell_pipe.rs";
const LONG_SLEEP: &str = "crates/shm-ring/src/long_sleep.rs";
const WRITER_END: &str = "crates/shm-ring/src/writer_end.rs";

const RING: &str = "            bell.ring();\n";
const DISARM: &str = "Ordering::Relaxed, Ordering::Relaxed).is_ok() {\n                heard.word = disarmed;\n";

pub(crate) const MODELS: &[Mutant] = &[
    Mutant {
        name: "B1: no fence of actors",
        edits: &[Edit { file: BELL, old: "        fence_of_actors(heard.is_fenced_by_sleepers);\n", new: "" }],
        tests: &[
            "ringing::a_writer_stopped_at_any_step_leaves_no_reader_asleep_with_a_message",
            "ringing::a_reader_stopped_at_any_step_leaves_no_writer_asleep_with_room",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "B3: no fence of sleepers",
        edits: &[Edit {
            file: BELL,
            old: "self.arm() && fence_of_sleepers() && !is_needless() && bell",
            new: "self.arm() && !is_needless() && bell",
        }],
        tests: &[
            "ringing::a_writer_stopped_at_any_step_leaves_no_reader_asleep_with_a_message",
            "ringing::a_reader_stopped_at_any_step_leaves_no_writer_asleep_with_room",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "B4: no fence before the ring of one who comes or goes",
        edits: &[Edit { file: BELL, old: "        crate::sync::fence(Ordering::SeqCst);\n", new: "" }],
        tests: &["ringing::who_comes_rings_for_those_who_sleep_long"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "B5: Acquire to Relaxed",
        edits: &[Edit {
            file: HOLDING,
            old: "Holding::decode(self.0.load(Ordering::Acquire))",
            new: "Holding::decode(self.0.load(Ordering::Relaxed))",
        }],
        tests: &[
            "ringing::a_writer_stopped_at_any_step_leaves_no_reader_asleep_with_a_message",
            "ringing::a_reader_stopped_at_any_step_leaves_no_writer_asleep_with_room",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who arms an armed bell leaves it as it is",
        edits: &[Edit { file: BELL, old: "word.wrapping_add(ONE_EPOCH) }", new: "word }" }],
        tests: &["ringing::who_arms_the_bell_again_is_rung_for_again"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "what has rung is counted after the arming",
        edits: &[
            Edit {
                file: BELL,
                old: "        let Some(rung) =\n",
                new: "        let is_armed = self.arm();\n        let Some(rung) =\n",
            },
            Edit { file: BELL, old: "        self.arm() && fence", new: "        is_armed && fence" },
        ],
        tests: &[
            "ringing::who_arms_the_bell_again_is_rung_for_again",
            "ringing::a_writer_stopped_at_any_step_leaves_no_reader_asleep_with_a_message",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the bell is disarmed before it is rung",
        edits: &[
            Edit { file: BELL, old: RING, new: "" },
            Edit {
                file: BELL,
                old: DISARM,
                new: "Ordering::Relaxed, Ordering::Relaxed).is_ok() {\n                bell.ring();\n                heard.word = disarmed;\n",
            },
        ],
        tests: &["ringing::a_ring_that_somebody_died_before_giving_is_given_by_the_next"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the bell is disarmed and not rung",
        edits: &[Edit { file: BELL, old: RING, new: "" }],
        tests: &[
            "ringing::of_two_at_a_bell_that_has_rung_none_takes_a_ring_from_the_other",
            "ringing::who_comes_rings_for_those_who_sleep_long",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who sleeps at a bell does not look for announcements",
        edits: &[Edit {
            file: PARTICIPANT,
            old: "is_announced(others, |_| do_they_live()) || is_ready()",
            new: "{ _ = (others, &do_they_live); is_ready() }",
        }],
        tests: &[
            "ringing::a_writer_stopped_at_any_step_leaves_no_reader_asleep_with_a_message",
            "ringing::a_reader_stopped_at_any_step_leaves_no_writer_asleep_with_room",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who sleeps at a bell looks for announcements last",
        edits: &[Edit {
            file: PARTICIPANT,
            old: "is_announced(others, |_| do_they_live()) || is_ready()",
            new: "is_ready() || is_announced(others, |_| do_they_live())",
        }],
        tests: &[
            "ringing::a_writer_stopped_at_any_step_leaves_no_reader_asleep_with_a_message",
            "ringing::a_reader_stopped_at_any_step_leaves_no_writer_asleep_with_room",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "an exchange happens though the bell was not heard",
        edits: &[Edit {
            file: BELL,
            old: "        if bell.is_heard(heard) {",
            new: "        if bell.is_heard(heard) || true {",
        }],
        tests: &[
            "ringing::a_writer_stopped_at_any_step_leaves_no_reader_asleep_with_a_message",
            "ringing::a_reader_stopped_at_any_step_leaves_no_writer_asleep_with_room",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "all that is in the bell is taken out by whoever wants",
        edits: &[Edit {
            file: BELL,
            old: "        let rung = may_hush().then(|| bell.rung())??;\n        may_hush().then_some(rung)",
            new: "        let _ = may_hush;\n        bell.rung()",
        }],
        tests: &[
            "ringing::room_wakes_every_writer_that_sleeps_at_a_bell_that_has_rung_before",
            "ringing::who_looks_for_something_else_takes_no_ring_from_one_who_sleeps",
            "ringing::who_dies_while_it_goes_to_sleep_takes_no_ring_along",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the rings are counted before the first look",
        edits: &[
            Edit { file: BELL, old: "Self::rung_for_nobody(bell, may_hush) })", new: "may_hush().then_some(rung) })" },
            Edit { file: BELL, old: "    fn rung_for_nobody", new: "    #[allow(dead_code)]\n    fn rung_for_nobody" },
        ],
        tests: &["ringing::who_has_counted_rings_that_another_one_took_takes_no_later_ones"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who leaves does not say so",
        edits: &[Edit { file: BELL, old: "        self.stirs.fetch_or(LEAVES, Ordering::Relaxed);\n", new: "" }],
        tests: &["ringing::who_is_stopped_while_it_leaves_leaves_nobody_asleep_that_has_nobody_any_more"],
        fate: Fate::Caught,
    },
];

pub(crate) const PIPE: &[Mutant] = &[
    Mutant {
        name: "nobody sleeps at a bell",
        edits: &[Edit {
            file: LONG_SLEEP,
            old: "        self.quiet >= *QUIET",
            new: "        false && self.quiet >= *QUIET",
        }],
        tests: &["rest::a_writer_to_a_full_pipe_rests_until_something_is_read"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "what has rung stays in the bell",
        edits: &[Edit { file: BELL_PIPE, old: "        rung == 0 || rustix", new: "        true || rustix" }],
        tests: &["rest::a_reader_of_an_empty_pipe_rests_until_something_is_sent"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who leaves does not ring",
        edits: &[Edit {
            file: "crates/shm-ring/src/participant.rs",
            old: "            self.announce_leaving();\n",
            new: "",
        }],
        tests: &["shm_ring::long_sleep::tests::who_leaves_wakes_those_at_the_bell_though_a_copy_of_it_stays"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who sleeps at a bell does not look whether somebody is about to act",
        edits: &[Edit {
            file: LONG_SLEEP,
            old: "listener.is_anybody_about_to_act() || is_needless(self)",
            new: "is_needless(self)",
        }],
        tests: &["shm_ring::long_sleep::tests::beside_one_who_is_about_to_act_nobody_sleeps_at_a_bell"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who sleeps at a bell does not ask whether the other side has bells",
        edits: &[Edit {
            file: LONG_SLEEP,
            old: " || !participant.listener().is_some_and(Listener::would_end_be_heard)",
            new: "",
        }],
        tests: &["shm_ring::long_sleep::tests::beside_one_who_has_no_bells_nobody_sleeps_at_one"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who tries the lock of one who has left makes it one who lives",
        edits: &[Edit {
            file: "crates/shm-ring/src/listening.rs",
            old: "if leaves || !sys",
            new: "_ = leaves;\n            if !sys",
        }],
        tests: &[
            "shm_ring::long_sleep::tests::while_somebody_has_copies_of_one_who_has_left_others_sleep_with_a_bound_and_leave_its_entry_alone",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who leaves keeps its lock's descriptor while it tells the others",
        edits: &[Edit {
            file: "crates/shm-ring/src/participant.rs",
            old: "        drop(lock);\n        // AcqRel",
            new: "        core::mem::forget(lock);\n        // AcqRel",
        }],
        tests: &["shm_ring::long_sleep::tests::the_place_of_one_who_leaves_is_free_before_it_tells_anybody"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "at a bell that could refuse a ring somebody sleeps",
        edits: &[Edit { file: BELL_PIPE, old: "< PAGES * page_size()", new: "< page_size()" }],
        tests: &["shm_ring::long_sleep::tests::at_a_bell_that_could_refuse_a_ring_nobody_sleeps"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the last look before a long sleep is a quick one",
        edits: &[Edit { file: LONG_SLEEP, old: "                || !participant.has_to_wait(news)\n", new: "" }],
        tests: &[
            "shm_ring::long_sleep::tests::who_has_been_away_until_the_laps_came_round_does_not_sleep_beside_what_it_does_not_see",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who waits for somebody to come looks often for ever",
        edits: &[Edit {
            file: "crates/shm-ring/src/life.rs",
            old: "if self.at_bells.is_quiet_for_long() { limit.max(left) } else { limit }",
            new: "if self.at_bells.is_quiet_for_long() { limit.min(left) } else { limit }",
        }],
        tests: &["rest::who_opens_a_reading_end_rests_until_a_writer_comes"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "what has been written from the pipe is not taken out where the pipe has moved meanwhile",
        edits: &[Edit {
            file: "crates/ppipe/src/descriptor.rs",
            old: "let Some((again, buffer)) = front(end)? else { continue };",
            new: "let Some((again, buffer)) = front(end)? else { return Ok(()) };",
        }],
        tests: &[
            "transfer::what_a_descriptor_takes_leaves_the_pipe_once_though_writers_merge_and_the_pipe_grows_meanwhile",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "what has been taken out is dropped where nobody reads the other pipe any more",
        edits: &[Edit {
            file: "crates/ppipe/src/splice.rs",
            old: "Err(Stop::BrokenPipe) => Ok((len, Ended::AsMeant)),",
            new: "Err(Stop::BrokenPipe) => Err(Stop::BrokenPipe.into()),",
        }],
        tests: &["transfer::a_packet_is_moved_or_stays_though_the_other_pipe_breaks_meanwhile"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a signal ends no sleep",
        edits: &[Edit {
            file: "crates/shm-ring/src/sys.rs",
            old: "Err(Errno::INTR) => Slept::Interrupted,\n        // A kernel",
            new: "Err(Errno::INTR) => Slept::Woken,\n        // A kernel",
        }],
        tests: &["signals::a_call_that_waits_is_ended_by_a_handler_as_in_the_kernel"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who is interrupted says that nobody sleeps any more",
        edits: &[Edit {
            file: "crates/shm-ring/src/sleeping.rs",
            old: "            Slept::Interrupted => return Waited::Interrupted,\n",
            new: "            Slept::Interrupted => {\n                \
                  use crate::sync::Ordering::Relaxed;\n                \
                  let (seen, bit) = (armed.expected(), crate::waiting::WAITING);\n                \
                  let _ = word.0.compare_exchange(seen, seen & !bit, Relaxed, Relaxed);\n                \
                  return Waited::Interrupted;\n            }\n",
        }],
        tests: &["signals::who_is_interrupted_leaves_what_comes_next_to_one_who_sleeps"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who is interrupted takes a byte along",
        edits: &[Edit {
            file: "crates/ppipe/src/blocking.rs",
            old: "                    if waited == Waited::Interrupted {\n                        return",
            new: "                    if waited == Waited::Interrupted {\n                        \
                  let _ = attempt(end);\n                        return",
        }],
        tests: &["signals::a_byte_that_is_there_when_a_call_is_interrupted_is_left_to_the_others"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a reader that is interrupted does not pass on what it was not given",
        edits: &[Edit {
            file: "crates/ppipe/src/blocking.rs",
            old: "let waited = end.wait_for_data(limit.deadline());\n                    \
                  *has_slept |= matches!(waited, Waited::Slept | Waited::Interrupted);",
            new: "let waited = end.wait_for_data(limit.deadline());\n                    \
                  *has_slept |= waited == Waited::Slept;",
        }],
        tests: &["signals::a_byte_that_comes_together_with_a_signal_reaches_one_of_those_who_sleep"],
        fate: Fate::Unseen("the kernel never says EINTR to one whom a futex has woken; the line is for one that would"),
    },
    Mutant {
        name: "every signal ends a long sleep",
        edits: &[Edit {
            file: BELL_PIPE,
            old: "else { return self.sleep_for_as_long_as_it_takes() };",
            new: "else { return self.poll(None) };",
        }],
        tests: &["signals::a_call_that_waits_goes_on_after_a_handler_with_sa_restart_as_in_the_kernel"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who has left keeps its bells",
        edits: &[Edit {
            file: "crates/shm-ring/src/participant.rs",
            old: "        drop(self.at_bells.take());\n        let Some(lock)",
            new: "        let Some(lock)",
        }],
        tests: &["shm_ring::long_sleep::tests::who_has_left_has_no_bells_any_more"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a writer that wanted to merge sleeps beside room for it",
        edits: &[Edit {
            file: WRITER_END,
            old: "|| to_merge.is_some_and(",
            new: "|| to_merge.filter(|_| false).is_some_and(",
        }],
        tests: &["shm_ring::writer_end::tests::a_writer_does_not_sleep_beside_a_last_slot_that_has_room_for_its_bytes"],
        fate: Fate::Caught,
    },
];
