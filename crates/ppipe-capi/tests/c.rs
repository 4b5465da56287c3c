//! Programs in C, compiled with the system's compiler against the header, and linked with the shared library and with the static one.

#[path = "../../ppipe/tests/name/mod.rs"]
mod name;

mod program;

use std::fs;
use std::path::Path;
use std::process::Command;

use program::{compiler, libraries, run, succeeded};

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
fn packets_are_filled_and_looked_at_in_place_and_every_loan_that_is_over_is_found_out() {
    run("loans");
}

#[test]
fn the_shared_library_has_a_name_with_a_version_and_shows_nothing_else() {
    let library = libraries().join("libppipe_capi.so");
    let shown = |arguments: &[&str]| {
        let output =
            Command::new("objdump").args(arguments).arg(&library).output().expect("objdump, which comes with a linker");
        succeeded(&output, "objdump");
        String::from_utf8(output.stdout).expect("text")
    };
    let headers = shown(&["-p"]);
    assert!(headers.lines().any(|line| line.contains("SONAME") && line.contains("libppipe.so.0")), "{headers}");
    let symbols = shown(&["-T"]);
    let defined = symbols.lines().filter(|line| line.contains(" g ") && !line.contains("*UND*"));
    let names: Vec<_> = defined.filter_map(|line| line.split_whitespace().last()).collect();
    let header = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("include/ppipe.h")).expect("the header");
    assert!(names.len() >= 26, "{names:?}");
    for name in names {
        assert!(header.contains(&format!("{name}(")), "{name} is shown, and is not in the header");
    }
}

#[test]
fn what_is_installed_can_be_compiled_and_linked_against_as_pkg_config_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut install = Command::new(root.join("install"));
    succeeded(&install.arg(folder.path()).env("LIBRARIES", libraries()).output().expect("a shell"), "install");
    for page in ["man3/ppipe.3", "man7/ppipe.7"] {
        assert!(folder.path().join("share/man").join(page).is_file(), "{page}");
    }
    let mut pkg_config = Command::new("pkg-config");
    pkg_config.args(["--cflags", "--libs", "ppipe"]).env("PKG_CONFIG_PATH", folder.path().join("lib/pkgconfig"));
    let Ok(said) = pkg_config.output() else {
        eprintln!("skipped: there is no pkg-config");
        return;
    };
    succeeded(&said, "pkg-config");
    let arguments = String::from_utf8(said.stdout).expect("text");
    let program = folder.path().join("verbs");
    let mut command = compiler();
    command
        .arg("-D_GNU_SOURCE")
        .arg("-I")
        .arg(root.join("c"))
        .arg(root.join("c/verbs.c"))
        .args(arguments.split_whitespace());
    succeeded(&command.arg("-o").arg(&program).output().expect("a C compiler"), "verbs.c");
    let run = Command::new(program).env("LD_LIBRARY_PATH", folder.path().join("lib")).output();
    succeeded(&run.expect("it runs"), "verbs");
}

#[test]
fn every_function_of_the_header_is_in_the_manual() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("a file of the project");
    let (header, manual) = (read("include/ppipe.h"), read("man/ppipe.3"));
    let functions: Vec<_> = header
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("ppipe_") && header.contains(&format!("{word}(")))
        .collect();
    assert!(functions.len() >= 26, "{functions:?}");
    for function in functions {
        assert!(manual.contains(&format!("{function}(")), "{function} is not in ppipe(3)");
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
