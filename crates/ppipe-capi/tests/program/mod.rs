//! Programs in C: compiled and run.
#![allow(dead_code, reason = "not every test file needs all of it")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// Longer than any of the programs takes, by far.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Where the libraries are that were built for this test.
pub(crate) fn libraries() -> PathBuf {
    let test = std::env::current_exe().expect("our own program");
    test.parent().expect("it is in a folder").to_owned()
}

/// How a program is linked.
pub(crate) enum Library {
    Shared,
    Static,
}

/// The system's compiler.
pub(crate) fn compiler() -> Command {
    Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
}

/// Compiles `c/source.c`; the program is in `folder`.
pub(crate) fn compile(source: &str, library: &Library, folder: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = folder.join(source);
    let mut command = compiler();
    command.args(["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O1", "-g"]);
    command.arg("-I").arg(root.join("include")).arg("-I").arg(root.join("c"));
    command.arg(root.join("c").join(format!("{source}.c"))).arg("-o").arg(&program);
    match library {
        Library::Shared => {
            // They are linked with the one, and ask for the other, as when it is installed.
            for name in ["libppipe.so", "libppipe.so.0"] {
                symlink(libraries().join("libppipe_capi.so"), folder.join(name)).expect("a link");
            }
            command.arg("-L").arg(folder).arg("-lppipe").arg(format!("-Wl,-rpath,{}", folder.display()));
        }
        Library::Static => _ = command.arg(libraries().join("libppipe_capi.a")).args(["-lm", "-ldl"]),
    }
    succeeded(&command.arg("-pthread").output().expect("a C compiler"), source);
    program
}

/// What has been started has ended well.
pub(crate) fn succeeded(output: &Output, what: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {}\n{text}", output.status);
}

/// Compiles `c/source.c`, and runs it with each library.
pub(crate) fn run(source: &str) {
    for library in [Library::Shared, Library::Static] {
        let folder = tempfile::tempdir().expect("a folder");
        let program = compile(source, &library, folder.path());
        let output = Command::new("timeout").arg(LIMIT.as_secs().to_string()).arg(program).output().expect("it runs");
        succeeded(&output, source);
    }
}
