//! Where mutants are tried: a copy of what the models need, in a temporary folder that is gone afterwards.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::list::{Edit, Mutant};

/// Far more than any model takes; one that takes longer has been made to run for ever.
const LIMIT: Duration = Duration::from_secs(120);

/// What became of a model.
pub(crate) enum Verdict {
    /// It failed, and said this.
    Caught(String),
    /// It passed.
    Survived,
    /// Neither: it cannot be told whether the model noticed anything.
    Inconclusive(String),
}

impl Verdict {
    pub(crate) fn is_caught(&self) -> bool {
        matches!(self, Self::Caught(_))
    }
}

/// The copy.
pub(crate) struct Bench {
    root: TempDir,
    workspace: PathBuf,
}

impl Bench {
    /// Copies the algorithm files and the models, and makes a workspace around them.
    pub(crate) fn new() -> Result<Self, String> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?.to_owned();
        let root = tempfile::Builder::new().prefix("mutants-").tempdir().map_err(|error| error.to_string())?;
        let bench = Self { root, workspace };
        for folder in ["crates/shm-ring/src", "loom-tests/tests/models"] {
            copy_folder(&bench.workspace.join(folder), &bench.path(folder))?;
        }
        copy(&bench.workspace.join("Cargo.lock"), &bench.path("Cargo.lock"))?;
        let manifest = read(&bench.workspace.join("Cargo.toml"))?;
        let members = manifest.lines().find(|line| line.starts_with("members")).ok_or("no members in Cargo.toml")?;
        let manifest = manifest.replace(members, "members = [\"loom-tests\"]");
        write(&bench.path("Cargo.toml"), &manifest)?;
        let member = "[package]\nname = \"loom-tests\"\nedition.workspace = true\n\
                      [dev-dependencies]\nloom.workspace = true\n";
        write(&bench.path("loom-tests/Cargo.toml"), member)?;
        // A package needs a target that is no test.
        write(&bench.path("loom-tests/src/lib.rs"), "")?;
        Ok(bench)
    }

    /// Makes sure that the copy works before anything is broken.
    pub(crate) fn check_unbroken(&self) -> Result<(), String> {
        let program = self.build()?;
        match run(&program, "litmus::both_forms_find_the_interleavings_that_loom_alone_loses")? {
            Verdict::Survived => Ok(()),
            Verdict::Caught(message) | Verdict::Inconclusive(message) => Err(message),
        }
    }

    /// Applies the mutant, runs its models, and undoes it.
    pub(crate) fn try_mutant(&self, mutant: &Mutant) -> Result<Vec<(&'static str, Verdict)>, String> {
        let outcome = self.apply(mutant).and_then(|()| self.build()).and_then(|program| {
            mutant.models.iter().map(|&model| run(&program, model).map(|verdict| (model, verdict))).collect()
        });
        for edit in mutant.edits {
            copy(&self.workspace.join(edit.file), &self.path(edit.file))?;
        }
        outcome.map_err(|error| format!("{}: {error}", mutant.name))
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

    /// Builds the models; the path of the program.
    fn build(&self) -> Result<PathBuf, String> {
        let output = Command::new(env!("CARGO"))
            .args(["test", "--offline", "--test", "models", "--no-run", "--message-format", "json"])
            .current_dir(self.root.path())
            .env("CARGO_TARGET_DIR", self.workspace.join("target/mutants"))
            .output()
            .map_err(|error| format!("cargo: {error}"))?;
        if !output.status.success() {
            return Err(format!("does not build:\n{}", String::from_utf8_lossy(&output.stderr)));
        }
        let messages = String::from_utf8_lossy(&output.stdout);
        let (_, rest) = messages.rsplit_once("\"executable\":\"").ok_or("cargo names no executable")?;
        let (path, _) = rest.split_once('"').ok_or("cargo names no executable")?;
        Ok(PathBuf::from(path))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.root.path().join(file)
    }
}

/// Runs one model by its name.
fn run(program: &Path, model: &str) -> Result<Verdict, String> {
    let mut child = Command::new(program)
        .args(["--exact", model, "--nocapture"])
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let is_success = wait(&mut child)?;
    let join = |text: thread::JoinHandle<String>| text.join().unwrap_or_default();
    let (out, err) = (join(out), join(err));
    if !out.contains("running 1 test") {
        return Err(format!("there is no model {model}"));
    }
    let Some(is_success) = is_success else { return Ok(Verdict::Inconclusive("does not end".to_owned())) };
    if is_success {
        return Ok(Verdict::Survived);
    }
    // The line after "thread ... panicked at ...:" is what the model has to say.
    let message = err.lines().skip_while(|line| !line.contains("panicked at")).nth(1).unwrap_or_default().to_owned();
    let is_about_counts = message.starts_with("only ") && message.contains("executions");
    let says_nothing = message.is_empty() || is_about_counts;
    Ok(if says_nothing { Verdict::Inconclusive(message) } else { Verdict::Caught(shortened(&message)) })
}

/// Whether the model passed; `None` if it did not end in time.
fn wait(child: &mut Child) -> Result<Option<bool>, String> {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(Some(status.success()));
        }
        if Instant::now() > deadline {
            child.kill().map_err(|error| error.to_string())?;
            child.wait().map_err(|error| error.to_string())?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(10));
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
