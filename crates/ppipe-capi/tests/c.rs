//! Programs in C, compiled with the system's compiler against the header, and linked with the shared library and with the static one.

#[path = "../../ppipe/tests/name/mod.rs"]
mod name;

mod program;
mod prototypes;

use std::fs;
use std::path::Path;
use std::process::Command;

use program::{compiler, libraries, run, succeeded};
use prototypes::{functions, of_the_project};

#[test]
fn every_function_does_what_its_relative_does_and_refuses_what_is_wrong() {
    name::sweep();
    run("verbs");
}

#[test]
fn a_forked_child_has_the_handles_of_its_parent() {
    name::sweep();
    run("forks");
}

#[test]
fn event_loops_wait_for_handles_by_their_descriptors() {
    run("fds");
}

#[test]
fn a_forked_child_has_nothing_of_its_parents_but_the_handles_whatever_threads_are_doing() {
    run("midst");
}

#[test]
fn handlers_of_forks_of_signals_and_of_the_end_can_use_pipes_and_fork() {
    run("atfork");
}

#[test]
fn a_process_that_exits_leaves_its_pipes_as_one_that_closes() {
    run("exits");
}

#[test]
fn a_call_whose_thread_is_cancelled_or_jumps_out_of_a_signal_loses_nothing() {
    run("cancels");
}

#[test]
fn what_there_is_not_enough_of_is_an_error() {
    run("limits");
}

#[test]
fn one_handle_can_be_used_by_many_threads_and_signals_do_what_they_do_elsewhere() {
    name::sweep();
    run("threads");
}

#[test]
fn no_call_that_moves_looks_or_waits_asks_for_memory() {
    run("allocations");
}

#[test]
fn packets_are_filled_and_looked_at_in_place_and_every_loan_that_is_over_is_found_out() {
    run("loans");
}

#[test]
fn null_pointers_flags_and_broken_pipes_are_told_as_the_kernel_tells_them() {
    run("same");
}

#[test]
fn every_function_refuses_what_is_no_handle_and_the_wrong_end() {
    run("wrong");
}

#[test]
fn the_tests_of_wrong_handles_and_of_memory_call_every_function() {
    for test in ["c/wrong.c", "c/allocations.c"] {
        let source = of_the_project(test);
        for function in functions() {
            assert!(source.contains(&format!("{function}(")), "{function} is not in {test}");
        }
    }
}

#[test]
fn a_program_that_is_wrong_is_found_out() {
    // The check itself: a program that exits with 1 fails the test.
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("wrong.c");
    fs::write(
        &source,
        "#include \"check.h\"\nint main(void) { ppipe *end[2]; make(end, 0); CHECK(ppipe_getsize(end[0]) == 1); }\n",
    )
    .expect("a file");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = folder.path().join("wrong");
    let mut command = compiler();
    command
        .arg("-D_GNU_SOURCE")
        .arg("-I")
        .arg(root.join("include"))
        .arg("-I")
        .arg(root.join("c"))
        .arg(&source)
        .arg("-o")
        .arg(&program);
    command.arg(libraries().join("libppipe_capi.a")).args(["-lm", "-ldl", "-pthread"]);
    succeeded(&command.output().expect("a C compiler"), "wrong.c");
    assert_eq!(Command::new(program).output().expect("it runs").status.code(), Some(1));
}
