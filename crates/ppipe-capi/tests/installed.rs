//! What is built and installed: names that are shown, the header against what was ordered, and what pkg-config says.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

mod program;
mod prototypes;

use program::{compiler, libraries, succeeded};
use prototypes::functions;

/// What `tool`, which comes with a linker, says of a library.
fn shown(tool: &str, arguments: &[&str], library: &str) -> String {
    let library = libraries().join(library);
    let output = Command::new(tool).args(arguments).arg(library).output().expect("it comes with a linker");
    succeeded(&output, tool);
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_shared_library_has_a_name_with_a_version_and_shows_what_the_header_says_and_nothing_else() {
    let headers = shown("objdump", &["-p"], "libppipe_capi.so");
    assert!(headers.lines().any(|line| line.contains("SONAME") && line.contains("libppipe.so.0")), "{headers}");
    let symbols = shown("nm", &["-D", "--defined-only", "--extern-only", "--format=posix"], "libppipe_capi.so");
    let names: BTreeSet<_> = symbols.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert_eq!(names, functions());
}

/// A static library cannot hide what its own parts take from each other. What Rust mangles carries a hash, and nobody else's program has it.
#[test]
fn the_static_library_has_no_names_that_a_program_could_have_too() {
    let symbols = shown("objdump", &["--syms"], "libppipe_capi.a");
    let globals = symbols.lines().filter(|line| {
        let kind = line.get(17..24).unwrap_or("");
        let is_defined = line.starts_with("0000") && !line.contains("*UND*");
        is_defined && kind.starts_with(['g', 'u']) && !line.contains(".hidden")
    });
    let names = globals.filter_map(|line| line.split_whitespace().last());
    let is_mangled = |name: &str| name.starts_with("_ZN") || name.starts_with("_R") || name.starts_with("__rustc");
    let (mut own, mut foreign) = (BTreeSet::new(), BTreeSet::new());
    for name in names.filter(|name| !is_mangled(name)) {
        if name.starts_with("ppipe_") {
            own.insert(name.to_owned())
        } else {
            foreign.insert(name.to_owned())
        };
    }
    assert_eq!(own, functions());
    // Those that start with __ or rust_ are the compiler's own; what others there were once are named here.
    foreign.retain(|name| !name.starts_with("__") && !name.starts_with("rust_") && !name.starts_with("DW.ref.rust_"));
    assert!(foreign.is_empty(), "{foreign:?}");
}

/// Prints it past the harness, which shows nothing of tests that end well.
fn say_skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
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
    for how in ["--shared", "--static"] {
        let mut pkg_config = Command::new("pkg-config");
        pkg_config.args([how, "--cflags", "--libs", "ppipe"]);
        let Ok(said) = pkg_config.env("PKG_CONFIG_PATH", folder.path().join("lib/pkgconfig")).output() else {
            say_skipped("there is no pkg-config, so nothing was linked as it says");
            return;
        };
        succeeded(&said, "pkg-config");
        let arguments = String::from_utf8(said.stdout).expect("text");
        let program = folder.path().join("verbs");
        let mut command = compiler();
        command.arg("-D_GNU_SOURCE").arg("-I").arg(root.join("c")).arg(root.join("c/verbs.c"));
        // Of a library that is there in both forms the linker takes the shared one unless told otherwise.
        let form = if how == "--static" { ["-Wl,-Bstatic", "-Wl,-Bdynamic"] } else { ["-Wl,-Bdynamic"; 2] };
        for argument in arguments.split_whitespace() {
            if argument == "-lppipe" {
                command.args([form[0], argument, form[1]])
            } else {
                command.arg(argument)
            };
        }
        succeeded(&command.arg("-o").arg(&program).output().expect("a C compiler"), how);
        let mut run = Command::new(&program);
        if how == "--shared" {
            run.env("LD_LIBRARY_PATH", folder.path().join("lib"));
        }
        succeeded(&run.output().expect("it runs"), how);
    }
}

/// As they were ordered, letter for letter: whoever has them in a header of his own can include ours too.
const ORDERED: &str = "
typedef struct ppipe ppipe;
int      ppipe_pipe2(ppipe *end[2], int flags);
ppipe   *ppipe_open(const char *name, int oflags, mode_t mode);
int      ppipe_unlink(const char *name);
ppipe   *ppipe_dup(ppipe *);
ppipe   *ppipe_reopen(ppipe *, int oflags);
int      ppipe_close(ppipe *);
ssize_t  ppipe_read(ppipe *, void *, size_t);                    ssize_t ppipe_readv(ppipe *, const struct iovec *, int);
ssize_t  ppipe_write(ppipe *, const void *, size_t);             ssize_t ppipe_writev(ppipe *, const struct iovec *, int);
int      ppipe_getfl(ppipe *);                                   int ppipe_setfl(ppipe *, int flags);
int      ppipe_getsize(ppipe *);                                 int ppipe_setsize(ppipe *, unsigned bytes);
int      ppipe_nread(ppipe *, int *bytes);
int      ppipe_poll(struct ppipe_pollfd *, nfds_t, int timeout_ms);
int      ppipe_fd(ppipe *);
ssize_t  ppipe_tee(ppipe *in, ppipe *out, size_t, unsigned flags);
ssize_t  ppipe_splice(ppipe *in, ppipe *out, size_t, unsigned flags);
ssize_t  ppipe_splice_to_fd(ppipe *in, int fd, size_t, unsigned flags);
ssize_t  ppipe_splice_from_fd(int fd, ppipe *out, size_t, unsigned flags);
ssize_t  ppipe_send(ppipe *, const void *, size_t, int flags);
ssize_t  ppipe_recv(ppipe *, void *, size_t, struct ppipe_info *, int flags);
static void fields(void) {
    struct ppipe_pollfd polled = {0};
    struct ppipe_info info = {0};
    ppipe **pipe = &polled.pipe; short *events = &polled.events, *revents = &polled.revents;
    size_t *length = &info.length; int *truncated = &info.truncated; pid_t *sender = &info.sender;
    (void)pipe, (void)events, (void)revents, (void)length, (void)truncated, (void)sender;
}
int main(void) { fields(); return 0; }
";

/// Whether the compiler takes this behind the header.
fn is_taken(code: &str) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("ordered.c");
    fs::write(&source, format!("#include \"ppipe.h\"\n{code}")).expect("a file");
    let mut command = compiler();
    command.args(["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O2", "-fsyntax-only"]);
    command.arg("-I").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("include")).arg(source);
    command.output().expect("a C compiler").status.success()
}

#[test]
fn the_header_says_what_was_ordered_letter_for_letter() {
    assert!(is_taken(ORDERED));
    assert!(!is_taken(&ORDERED.replace("ppipe_nread(ppipe *, int *bytes)", "ppipe_nread(ppipe *, long *bytes)")));
    assert!(is_taken("int main(void) { return 0; }"));
}
