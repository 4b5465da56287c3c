//! Mistakes in what is too large for models: blocking, the verbs, handing ends over. The pipe's own tests should notice.

use crate::list::{Edit, Fate, Mutant};

const BLOCKING: &str = "crates/ppipe/src/blocking.rs";
const HANDOVER: &str = "crates/ppipe/src/handover.rs";
const INHERITED: &str = "crates/shm-ring/src/inherited.rs";
const MESSAGE: &str = "crates/ppipe/src/message.rs";
const STREAM: &str = "crates/ppipe/src/stream.rs";
const LIFE: &str = "crates/shm-ring/src/life.rs";
const LONG_SLEEP: &str = "crates/shm-ring/src/long_sleep.rs";
const PARTICIPANT: &str = "crates/shm-ring/src/participant.rs";
const READER_END: &str = "crates/shm-ring/src/reader_end.rs";
const SEGMENT: &str = "crates/shm-ring/src/segment.rs";
const SLEEPING: &str = "crates/shm-ring/src/sleeping.rs";

pub(crate) const PIPE: &[Mutant] = &[
    Mutant {
        name: "the end of file comes without another look",
        edits: &[Edit {
            file: BLOCKING,
            old: "                    if end.is_empty() {\n",
            new: "                    if true {\n",
        }],
        tests: &["ppipe::blocking::tests::what_is_sent_between_a_look_and_the_end_of_file_is_found"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a try is made again, whatever came of it",
        edits: &[Edit {
            file: BLOCKING,
            old: "missed => read_or_wait(end, limit, attempt, Some(missed)),",
            new: "_ => read_or_wait(end, limit, attempt, None),",
        }],
        tests: &["ppipe::blocking::tests::a_try_that_fails_is_not_made_again"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a writer that waits does not ask whether anybody reads",
        edits: &[Edit {
            file: BLOCKING,
            old: "        if !end.participant().has_peers() {\n            return Err(Stop::BrokenPipe);\n        }\n        \
                  if waited",
            new: "        if waited",
        }],
        tests: &[
            "threads::crowd::the_last_one_out_wakes_all_who_sleep",
            "blocking::a_write_that_is_broken_while_it_sleeps_returns_what_went_in",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a writer does not ask whether anybody reads",
        edits: &[Edit {
            file: BLOCKING,
            old: "    if !end.participant().has_peers() {\n        return false;\n    }\n",
            new: "",
        }],
        tests: &["messages::a_pipe_without_readers_is_broken_for_every_verb"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a reader that waits forgets its deadline",
        edits: &[Edit {
            file: BLOCKING,
            old: "                } else if limit.is_over() {\n",
            new: "                } else if false {\n",
        }],
        tests: &["messages::waiting_ends_when_the_time_is_over_and_not_before"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a writer that waits forgets its deadline",
        edits: &[Edit {
            file: BLOCKING,
            old: "        if waited == Waited::TimedOut {\n            return Err(Stop::TimedOut);\n        }\n",
            new: "",
        }],
        tests: &["messages::waiting_ends_when_the_time_is_over_and_not_before"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a reader that may not wait waits",
        edits: &[Edit { file: BLOCKING, old: "} else if limit == Limit::Try {", new: "} else if false {" }],
        tests: &["messages::clones_share_their_flags"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a ring that stands still is taken for lost races",
        edits: &[Edit {
            file: BLOCKING,
            old: "if core::mem::replace(&mut self.ring, now) == now {",
            new: "if core::mem::replace(&mut self.ring, now) == now && false {",
        }],
        tests: &["damaged::who_finds_no_place_in_a_ring_that_stands_still_is_told_that_it_is_damaged"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "what is kept of a packet is a stream",
        edits: &[Edit {
            file: MESSAGE,
            old: "read_part(end, seen, span, target, Content::Packet)",
            new: "read_part(end, seen, span, target, Content::Stream)",
        }],
        tests: &["messages::what_does_not_fit_is_dropped_kept_or_refused_as_the_reader_chooses"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a packet's true length is that of the buffer",
        edits: &[Edit {
            file: MESSAGE,
            old: "    Tried::Done(Message::packet(len, span.len()))\n}",
            new: "    Tried::Done(Message::packet(len, len))\n}",
        }],
        tests: &["messages::what_does_not_fit_is_dropped_kept_or_refused_as_the_reader_chooses"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a receiver of stream bytes goes on into the packet behind them",
        edits: &[Edit {
            file: STREAM,
            old: "if !is_stream && at_packet == AtPacket::Stop {",
            new: "if !is_stream && at_packet == AtPacket::Stop && false {",
        }],
        tests: &["messages::sends_are_never_merged_with_anything"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a whole write is merged, and not its odd part",
        edits: &[Edit {
            file: STREAM,
            old: "let odd_part = before % end.slot_size();",
            new: "let odd_part = if before < end.slot_size() { before } else { 0 };",
        }],
        tests: &["as_the_kernel::the_first_programs_give_what_the_kernel_gives"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a read goes on behind a packet",
        edits: &[Edit {
            file: STREAM,
            old: "Ok(()) if is_stream && target.left() > 0",
            new: "Ok(()) if target.left() > 0",
        }],
        tests: &["as_the_kernel::the_first_programs_give_what_the_kernel_gives"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "an end is taken up as the other one",
        edits: &[Edit {
            file: HANDOVER,
            old: "    if side.is_some_and(|side| side != ticket.side) {",
            new: "    if false {",
        }],
        tests: &["handover::the_wrong_end_is_refused_and_the_right_one_stays"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the flags stay behind",
        edits: &[Edit {
            file: "crates/ppipe/src/ticket.rs",
            old: "= flag(flags.is_nonblocking(), NONBLOCKING) | flag(flags.is_packet_mode(), PACKET_MODE);",
            new: "= flag(flags.is_nonblocking(), 0) | flag(flags.is_packet_mode(), 0);",
        }],
        tests: &["handover::flags_travel_with_the_end"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "whatever has the number is taken for the end",
        edits: &[Edit {
            file: HANDOVER,
            old: "    // In this order, and dropped in the other one: who has bells has the lock.\n",
            new: "    if let Ok(early) = Inherited::look_at(lock, Expected::Segment) {\n        early.close();\n    }\n",
        }],
        tests: &["handover::a_descriptor_that_is_somebody_elses_file_is_left_alone"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "an own descriptor is taken for an inherited one",
        edits: &[
            Edit {
                file: INHERITED,
                old: "if is_inherited && is_expected",
                new: "_ = is_inherited;\n        if is_expected",
            },
            Edit {
                file: HANDOVER,
                old: "lock.try_clone()?, &readable, &writable)?;",
                new: "lock.try_clone()?, &readable, &writable);",
            },
            Edit { file: HANDOVER, old: "    Ok(parts)\n", new: "    parts\n" },
        ],
        tests: &["handover::a_variable_that_came_without_its_descriptors_closes_nothing"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the bells of a pipe without a name are for its user alone",
        edits: &[Edit {
            file: "crates/shm-ring/src/bell_pipe.rs",
            old: "fchmod(pipe, Mode::from_raw_mode(0o666))?;",
            new: "fchmod(pipe, Mode::RUSR | Mode::WUSR)?;",
        }],
        tests: &["shm_ring::long_sleep::tests::bells_without_a_name_can_be_opened_anew_by_whoever_has_them"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "an end can be taken up twice",
        edits: &[Edit {
            file: "crates/shm-ring/src/handed_over.rs",
            old: "if pid.compare_exchange(HANDED_OVER, std::process::id(), Ordering::Acquire, Ordering::Relaxed).is_err() {",
            new: "if pid.swap(std::process::id(), Ordering::Acquire) > u32::MAX - 1 {",
        }],
        tests: &["handover::of_a_command_that_is_started_twice_the_second_child_has_no_end_while_the_first_one_has_it"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a forgotten loan's extent goes into the ring with its page",
        edits: &[Edit {
            file: READER_END,
            old: "        if core::mem::take(&mut self.has_extent) {\n            self.participant.release_own_extents();\n",
            new: "        if core::mem::take(&mut self.has_extent) {\n",
        }],
        tests: &["fairplay::forgotten_loans_leave_extents_to_nobody"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who sleeps never asks whether the other side lives",
        edits: &[
            Edit { file: SLEEPING, old: "if is_ready(self) || !self.ask_for_peers() {", new: "if is_ready(self) {" },
            Edit {
                file: SLEEPING,
                old: "                self.ask_for_peers();\n                self.patience.rest();\n",
                new: "                self.patience.rest();\n",
            },
            // The kernel would ring for it.
            Edit {
                file: LONG_SLEEP,
                old: "        self.quiet >= *QUIET",
                new: "        false && self.quiet >= *QUIET",
            },
        ],
        tests: &["handover::where_the_kernel_marks_nothing_a_death_is_found_by_those_who_ask"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who came and went has not been met",
        edits: &[Edit {
            file: LIFE,
            old: "self.alive || arrivals != self.arrivals",
            new: "self.alive && arrivals == 0",
        }],
        tests: &["names::a_peer_that_came_and_went_while_we_opened_has_been_met"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who publishes or takes wakes nobody",
        edits: &[Edit {
            file: SLEEPING,
            old: "if self.wait_word(&self.segment, news).wake_one_after_exchange() {",
            new: "if false && self.wait_word(&self.segment, news).wake_one_after_exchange() {",
        }],
        tests: &["threads::crowd::those_who_always_sleep_are_always_woken"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "nobody says which exchange comes next",
        edits: &[Edit {
            file: "crates/shm-ring/src/holding.rs",
            old: "        self.0.store(Holding::Pending { offered, expected }.encode(), Ordering::Relaxed);",
            new: "        let _ = (offered, expected);",
        }],
        tests: &["every_instruction::some_of_those_who_are_killed_stand_in_the_midst_of_an_exchange"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a broken pipe is a signal for everybody",
        edits: &[Edit {
            file: "crates/ppipe/src/writer.rs",
            old: "        if self.is_sigpipe() {",
            new: "        if true {",
        }],
        tests: &["signals::a_broken_pipe_is_a_signal_in_the_kernel_and_in_ours_if_asked_for"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "one call writes more than the kernel's",
        edits: &[Edit {
            file: STREAM,
            old: "const MOST_BYTES: usize = 0x7fff_f000;",
            new: "const MOST_BYTES: usize = usize::MAX;",
        }],
        tests: &["cases::of_more_than_0x7ffff000_bytes_that_many_are_written"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who was made nonblocking sleeps again",
        edits: &[Edit {
            file: STREAM,
            old: "        match write_within(end, limit(), |end|",
            new: "        let limit = limit();\n        match write_within(end, if limit == Limit::Try { Limit::None } else { limit }, |end|",
        }],
        tests: &["blocking::a_write_that_sleeps_does_not_sleep_again_after_it_has_been_made_nonblocking"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "nobody passes a wake on",
        edits: &[Edit {
            file: SLEEPING,
            old: "        self.wait_word(&self.segment, news).wake_one_after_anything();\n",
            new: "        self.wait_word(&self.segment, news);\n",
        }],
        tests: &[
            "blocking::one_write_wakes_as_many_readers_as_it_has_bytes_for",
            "fairplay::a_woken_reader_that_refuses_leaves_the_packet_to_the_next_one",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a reader that was woken does not pass it on",
        edits: &[Edit { file: BLOCKING, old: "        end.wake_next_reader();\n", new: "" }],
        tests: &[
            "blocking::one_write_wakes_as_many_readers_as_it_has_bytes_for",
            "fairplay::a_woken_reader_that_refuses_leaves_the_packet_to_the_next_one",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a writer that was woken does not pass it on",
        edits: &[Edit { file: BLOCKING, old: "        end.wake_next_writer();\n", new: "" }],
        tests: &["fairplay::a_woken_writer_leaves_the_room_behind_its_bytes_to_the_next_one"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a writer that was woken for nothing keeps it to itself",
        edits: &[Edit { file: BLOCKING, old: "                    end.leave_room_to_the_next();\n", new: "" }],
        tests: &["fairplay::a_writer_that_is_woken_for_nothing_leaves_what_room_there_is_to_the_next_one"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "one whose looks always succeed never looks at the clock",
        edits: &[Edit {
            file: BLOCKING,
            old: "limit != Limit::Try && !self.looks.is_multiple_of(MOST_LOOKS)",
            new: "limit != Limit::Try",
        }],
        tests: &["ppipe::blocking::tests::a_time_comes_to_its_end_though_every_look_says_that_there_is_something"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a reader that slept forgets it",
        edits: &[Edit {
            file: BLOCKING,
            old: "let waited = end.wait_for_data(limit.deadline());\n                    *has_slept |= matches!(waited, Waited::Slept | Waited::Interrupted);",
            new: "let waited = end.wait_for_data(limit.deadline());\n                    *has_slept |= waited == Waited::TimedOut;",
        }],
        tests: &[
            "blocking::one_write_wakes_as_many_readers_as_it_has_bytes_for",
            "fairplay::a_woken_reader_that_refuses_leaves_the_packet_to_the_next_one",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who goes to sleep does not look at the ring again",
        edits: &[Edit {
            file: SLEEPING,
            old: "if is_ready(self) || !self.ask_for_peers() {",
            new: "let _ = is_ready;\n        if !self.ask_for_peers() {",
        }],
        tests: &["shm_ring::sleeping::tests::who_has_said_that_it_will_sleep_looks_once_more"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "who leaves wakes nobody of the other side",
        edits: &[Edit { file: PARTICIPANT, old: "        self.wake_all_peers();\n        true", new: "        true" }],
        tests: &[
            "threads::crowd::the_last_one_out_wakes_all_who_sleep",
            "leaving_threads::what_threads_send_and_receive_that_come_and_leave_while_others_wait_arrives_once",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "sleeps are longer",
        edits: &[Edit {
            file: SLEEPING,
            old: "BACKSTOP: Duration = Duration::from_millis(50);",
            new: "BACKSTOP: Duration = Duration::from_millis(1500);",
        }],
        tests: &["shm_ring::sleeping::tests::no_sleep_on_a_word_is_longer_than_50_ms"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "nobody who starves takes a turn",
        edits: &[Edit {
            file: SLEEPING,
            old: "if let Some(before) = self.luck.waits_at(self.cursor.0) {",
            new: "if let Some(before) = self.luck.waits_at(self.cursor.0).filter(|_| false) {",
        }],
        tests: &[
            "shm_ring::sleeping::tests::a_writer_that_finds_no_room_while_others_do_takes_a_turn_and_the_others_heed_it",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "nobody heeds a turn",
        edits: &[Edit {
            file: SLEEPING,
            old: "            turns.heed(&mut self.luck, deadline);\n",
            new: "            let _ = deadline;\n",
        }],
        tests: &[
            "shm_ring::sleeping::tests::a_writer_that_finds_no_room_while_others_do_takes_a_turn_and_the_others_heed_it",
        ],
        fate: Fate::Caught,
    },
    Mutant {
        name: "readers do not heed turns",
        edits: &[Edit {
            file: BLOCKING,
            old: "pub(crate) fn before_reading(end: &mut ReaderEnd, limit: Limit) {\n    if limit != Limit::Try {",
            new: "pub(crate) fn before_reading(end: &mut ReaderEnd, limit: Limit) {\n    if limit == Limit::Try {",
        }],
        tests: &["ppipe::blocking::tests::who_may_wait_lets_others_go_first_whose_turn_it_is"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a file without seals is taken for one with them",
        edits: &[Edit {
            file: SEGMENT,
            old: "if size == Size::Sealed && !is_sealed {",
            new: "if size == Size::Sealed && !is_sealed && false {",
        }],
        tests: &["memory::where_the_size_has_to_be_sealed_each_seal_is_needed"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "the memory of a page is not taken when somebody joins",
        edits: &[Edit {
            file: SEGMENT,
            old: "        let (at, len) = self.layout.page_range(page);\n        sys::take_memory(&self.file, at, len)",
            new: "        let _ = self.layout.page_range(page);\n        Ok(())",
        }],
        tests: &["memory::what_a_new_segment_and_a_participant_need_is_there_before_it_is_used"],
        fate: Fate::Caught,
    },
    Mutant {
        name: "a write that is broken off sends no signal",
        edits: &[Edit { file: "crates/ppipe/src/writer.rs", old: "if written.is_broken {", new: "if false {" }],
        tests: &["sigpipe::what_finds_the_pipe_broken_sends_a_signal_if_asked_for_also_where_it_has_done_a_part"],
        fate: Fate::Caught,
    },
];
