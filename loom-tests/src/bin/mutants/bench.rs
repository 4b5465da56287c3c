//! Where mutants are tried: a copy of what is broken and of the tests that should notice, in a temporary folder that is gone
//! afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::list::{Edit, Mutant};

/// Which tests are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The models of the algorithm files, named `module::model`, and what runs them under chosen schedules, `traffic::test`.
    Models,
    /// The pipe's tests on the real machine, named `file::test`, or `crate::module::test` inside a crate.
    Pipe,
}

impl Stage {
    /// What is copied.
    fn folders(self) -> &'static [&'static str] {
        match self {
            Self::Models => &["crates/shm-ring/src", "loom-tests/tests/models", "loom-tests/tests/schedules"],
            Self::Pipe => &["crates/shm-ring", "crates/ppipe", "crates/differ", "crates/torture", "crates/rivals"],
        }
    }

    fn members(self) -> &'static str {
        match self {
            Self::Models => "members = [\"loom-tests\"]",
            Self::Pipe => {
                "members = [\"crates/shm-ring\", \"crates/ppipe\", \"crates/differ\", \"crates/torture\", \"crates/rivals\"]"
            }
        }
    }

    /// One that must pass while nothing is broken.
    fn sample(self) -> &'static str {
        match self {
            Self::Models => "litmus::both_forms_find_the_interleavings_that_loom_alone_loses",
            Self::Pipe => "messages::no_bytes_no_packet",
        }
    }

    /// The test's file, and its name there.
    fn place(self, test: &'static str) -> (&'static str, &'static str) {
        match self {
            Self::Models if test.starts_with("traffic::") => ("schedules", test),
            Self::Models => ("models", test),
            Self::Pipe => test.split_once("::").unwrap_or(("", test)),
        }
    }

    /// Far more than any of its tests takes.
    fn limit(self) -> Duration {
        match self {
            Self::Models => Duration::from_secs(120),
            Self::Pipe => Duration::from_secs(10),
        }
    }

    /// What it means if a test does not end. A model that runs for ever has noticed nothing; a pipe that a call waits at for
    /// ever is broken.
    fn endless(self) -> Verdict {
        match self {
            Self::Models => Verdict::Inconclusive("does not end".to_owned()),
            Self::Pipe => Verdict::Caught("hangs".to_owned()),
        }
    }
}

/// What became of a test.
pub(crate) enum Verdict {
    /// It failed, and said this.
    Caught(String),
    /// It passed.
    Survived,
    /// Neither: it cannot be told whether the test noticed anything.
    Inconclusive(String),
}

impl Verdict {
    pub(crate) fn is_caught(&self) -> bool {
        matches!(self, Self::Caught(_))
    }
}

/// The copy.
pub(crate) struct Bench {
    stage: Stage,
    root: TempDir,
    workspace: PathBuf,
}

impl Bench {
    /// Copies what the stage needs, and makes a workspace around it.
    pub(crate) fn new(stage: Stage) -> Result<Self, String> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?.to_owned();
        let root = tempfile::Builder::new().prefix("mutants-").tempdir().map_err(|error| error.to_string())?;
        let bench = Self { stage, root, workspace };
        for folder in stage.folders() {
            copy_folder(&bench.workspace.join(folder), &bench.path(folder))?;
        }
        copy(&bench.workspace.join("Cargo.lock"), &bench.path("Cargo.lock"))?;
        let manifest = read(&bench.workspace.join("Cargo.toml"))?;
        let members = manifest.lines().find(|line| line.starts_with("members")).ok_or("no members in Cargo.toml")?;
        write(&bench.path("Cargo.toml"), &manifest.replace(members, stage.members()))?;
        if stage == Stage::Models {
            let member = "[package]\nname = \"loom-tests\"\nedition.workspace = true\n\
                          [dev-dependencies]\nloom.workspace = true\nshuttle.workspace = true\n";
            write(&bench.path("loom-tests/Cargo.toml"), member)?;
            // A package needs a target that is no test.
            write(&bench.path("loom-tests/src/lib.rs"), "")?;
        }
        Ok(bench)
    }

    /// Makes sure that the copy works before anything is broken.
    pub(crate) fn check_unbroken(&self) -> Result<(), String> {
        match self.run_all(&[self.stage.sample()])?.pop() {
            Some((_, Verdict::Survived)) => Ok(()),
            Some((_, Verdict::Caught(message) | Verdict::Inconclusive(message))) => Err(message),
            None => Err("nothing was run".to_owned()),
        }
    }

    /// Applies the mutant, runs its tests, and undoes it.
    pub(crate) fn try_mutant(&self, mutant: &Mutant) -> Result<Vec<(&'static str, Verdict)>, String> {
        let outcome = self.apply(mutant).and_then(|()| self.run_all(mutant.tests));
        for edit in mutant.edits {
            copy(&self.workspace.join(edit.file), &self.path(edit.file))?;
        }
        outcome.map_err(|error| format!("{}: {error}", mutant.name))
    }

    /// Runs one test with `text` in the place of `file`, and undoes that.
    pub(crate) fn try_text(&self, file: &str, text: &str, test: &'static str) -> Result<Verdict, String> {
        write(&self.path(file), text)?;
        let outcome = self.run_all(&[test]);
        copy(&self.workspace.join(file), &self.path(file))?;
        outcome?.pop().map(|(_, verdict)| verdict).ok_or_else(|| "nothing was run".to_owned())
    }

    fn apply(&self, mutant: &Mutant) -> Result<(), String> {
        for Edit { file, old, new } in mutant.edits {
            let text = read(&self.path(file))?;
            match text.matches(old).count() {
                1 => write(&self.path(file), &text.replace(old, new))?,
                count => return Err(format!("this is {count} times in {file}:\n{old}")),
            }
        }
        Ok(())
    }

    fn run_all(&self, tests: &[&'static str]) -> Result<Vec<(&'static str, Verdict)>, String> {
        let files: BTreeSet<_> = tests.iter().map(|&test| self.stage.place(test).0).collect();
        let programs = self.build(&files)?;
        let run_one = |&test: &&'static str| {
            let (file, name) = self.stage.place(test);
            let program = programs.iter().find(|(of, _)| of == file).ok_or(format!("there is no {file}"))?;
            Ok((test, run(&program.1, name, self.stage)?))
        };
        tests.iter().map(run_one).collect()
    }

    /// Builds these files of tests; the paths of the programs.
    fn build(&self, files: &BTreeSet<&str>) -> Result<Vec<(String, PathBuf)>, String> {
        let mut command = Command::new(env!("CARGO"));
        command.args(["test", "--offline", "--no-run", "--message-format", "json"]);
        for &file in files {
            match file {
                "ppipe" => command.args(["--package", "ppipe", "--lib"]),
                "shm_ring" => command.args(["--package", "shm-ring", "--lib"]),
                _ => command.args(["--test", file]),
            };
        }
        let output = command
            .current_dir(self.root.path())
            .env("CARGO_TARGET_DIR", self.workspace.join("target/mutants"))
            .output()
            .map_err(|error| format!("cargo: {error}"))?;
        if !output.status.success() {
            return Err(format!("does not build:\n{}", String::from_utf8_lossy(&output.stderr)));
        }
        let messages = String::from_utf8_lossy(&output.stdout);
        let programs = messages.lines().filter_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            let program = message.get("executable")?.as_str()?;
            Some((message.get("target")?.get("name")?.as_str()?.to_owned(), PathBuf::from(program)))
        });
        Ok(programs.collect())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.root.path().join(file)
    }
}

/// Runs one test by its name.
fn run(program: &Path, test: &str, stage: Stage) -> Result<Verdict, String> {
    let mut child = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let is_success = wait(&mut child, stage.limit())?;
    let join = |text: thread::JoinHandle<String>| text.join().unwrap_or_default();
    let (out, err) = (join(out), join(err));
    if !out.contains("running 1 test") {
        return Err(format!("there is no test {test}"));
    }
    let Some(is_success) = is_success else { return Ok(stage.endless()) };
    if is_success {
        return Ok(Verdict::Survived);
    }
    // The line after "thread ... panicked at ...:" is what the test has to say.
    let message = err.lines().skip_while(|line| !line.contains("panicked at")).nth(1).unwrap_or_default().to_owned();
    let is_about_counts = message.starts_with("only ") && message.contains("executions");
    let says_nothing = message.is_empty() || is_about_counts;
    Ok(if says_nothing { Verdict::Inconclusive(message) } else { Verdict::Caught(shortened(&message)) })
}

/// Whether the test passed; `None` if it did not end in time.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<bool>, String> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(Some(status.success()));
        }
        if Instant::now() > deadline {
            child.kill().map_err(|error| error.to_string())?;
            child.wait().map_err(|error| error.to_string())?;
            sweep(child.id());
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Removes what the tests of process `id`, which we have killed, had in shared memory: they put its number into their names.
fn sweep(id: u32) {
    let Ok(entries) = fs::read_dir("/dev/shm") else { return };
    let theirs = format!("ppipe-test-{id}-");
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&theirs)) {
        // What cannot be removed the next run of the tests sweeps.
        _ = fs::remove_dir_all(entry.path());
    }
}

/// Reads to the end, so that the child never waits for us.
fn drain(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What can be read before an error is enough to judge by.
            _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn shortened(message: &str) -> String {
    message.chars().take(90).map(|character| if character == '|' { '/' } else { character }).collect()
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), String> {
    let entries = fs::read_dir(from).map_err(|error| format!("{}: {error}", from.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().ok_or("an entry without a name")?;
        if path.is_dir() {
            copy_folder(&path, &to.join(name))?;
        } else {
            copy(&path, &to.join(name))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    write(to, &read(from)?)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().ok_or("a file without a folder")?;
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .map_err(|error| format!("{}: {error}", path.display()))
}
