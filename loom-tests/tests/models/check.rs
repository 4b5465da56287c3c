//! Runs a model under both forms of the machine, to the end, and sees that it was not for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use crate::machine::atomic::{Form, set_form};

/// More than any of the models needs; one that needs more does not end.
const MAX_BRANCHES: usize = 20_000;

/// How to run a model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    newest: Extent,
    stale: Extent,
}

/// How far to go in one form.
#[derive(Clone, Copy, Debug)]
struct Extent {
    preemptions: Option<usize>,
    at_least: usize,
}

impl Check {
    /// Every interleaving of newest values, and every one of old values with three preemptions: at least so many of each.
    pub(crate) fn at_least(newest: usize, stale: usize) -> Self {
        Self {
            newest: Extent { preemptions: None, at_least: newest },
            stale: Extent { preemptions: Some(3), at_least: stale },
        }
    }

    /// No more than so many preemptions where loads see the newest value.
    pub(crate) fn newest_preemptions(mut self, bound: usize) -> Self {
        self.newest.preemptions = Some(bound);
        self
    }

    /// No more than so many preemptions where loads see old values.
    pub(crate) fn stale_preemptions(mut self, bound: usize) -> Self {
        self.stale.preemptions = Some(bound);
        self
    }

    /// Runs `model`.
    #[track_caller]
    pub(crate) fn run(self, model: impl Fn() + Send + Sync + 'static) {
        let model = Arc::new(model);
        for (form, extent) in [(Form::Newest, self.newest), (Form::Stale, self.stale)] {
            let start = Instant::now();
            let executions = explore(form, extent.preemptions, Arc::clone(&model));
            if executions > 1 {
                report(&format!("{form:?}"), executions, start);
            }
            assert!(
                executions >= extent.at_least,
                "only {executions} executions in form {form:?}, expected {}",
                extent.at_least
            );
        }
    }
}

/// Runs `model` in one form to the end. How many executions there were.
pub(crate) fn explore(form: Form, preemptions: Option<usize>, model: Arc<impl Fn() + Send + Sync + 'static>) -> usize {
    let executions = Arc::new(AtomicUsize::new(0));
    let mut builder = loom::model::Builder::new();
    builder.max_branches = MAX_BRANCHES;
    builder.preemption_bound = preemptions;
    // Whatever the environment says: these end a run early without a word, or begin it late.
    builder.checkpoint_file = None;
    builder.max_duration = None;
    builder.max_permutations = None;
    let count = Arc::clone(&executions);
    set_form(form);
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    executions.load(Ordering::Relaxed)
}

/// Runs `story` with every doom, in both forms, until there is one that nobody lives to see. The story says whether
/// somebody was killed. How many executions there were, in the form that had fewer.
pub(crate) fn at_every_step(preemptions: usize, story: impl Fn(u32) -> bool + Send + Sync + 'static) -> usize {
    let story = Arc::new(story);
    let mut fewest = usize::MAX;
    for (form, preemptions) in [(Form::Newest, preemptions), (Form::Stale, 2)] {
        let start = Instant::now();
        let mut executions = 0;
        for doom in 0.. {
            let killed = Arc::new(AtomicBool::new(false));
            let (story, seen) = (Arc::clone(&story), Arc::clone(&killed));
            let model = move || {
                if story(doom) {
                    seen.store(true, Ordering::Relaxed);
                }
            };
            executions += explore(form, Some(preemptions), Arc::new(model));
            if !killed.load(Ordering::Relaxed) {
                report(&format!("{form:?}, {doom} steps"), executions, start);
                break;
            }
        }
        fewest = fewest.min(executions);
    }
    fewest
}

/// Says what was done; to be seen with `--nocapture`.
pub(crate) fn report(what: &str, executions: usize, start: Instant) {
    let name = std::thread::current().name().unwrap_or("model").to_owned();
    println!("{name} {what}: {executions} executions in {:.2} s", start.elapsed().as_secs_f64());
}
