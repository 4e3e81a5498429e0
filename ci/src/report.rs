//! What a run comes to: a pure fold over its events, and the forms in which people and machines read it.
//!
//! `fold` turns events into a [`Report`], `issues` says what went wrong and what to do next. Everything else only writes: `terminal`
//! while the run lasts, `events` line by line, and when it has ended `junit`, `json`, `markdown` and `html`.

mod fold;
mod issues;
mod text;

mod events;
mod files;
mod html;
mod json;
mod junit;
mod markdown;
mod terminal;

use std::time::Duration;

use images::proof::{Boot, Linkage};
use indexmap::IndexMap;
use jiff::Timestamp;
use manifests::Diagnosis;
use serde::Serialize;

pub use events::{EVENTS_FILE, EventLog, LoadError, load};
pub use files::{FILES, Files, write};
pub use html::html;
pub use issues::Issue;
pub use json::json;
pub use junit::junit;
pub use markdown::markdown;
pub use terminal::{Look, Terminal, summary};

use crate::event::seconds;
use crate::event::{LeftOut, Outcome, Problem, Stage, Started, TestId, TestState, Verdict};
use crate::requirements::Covered;

/// A run as far as its events tell it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// How it was started.
    pub run: Option<Started>,
    /// When its first event happened.
    pub began: Option<Timestamp>,
    /// When its last event happened.
    pub ended: Option<Timestamp>,
    /// How it ended; `None` while it lasts, and when it was killed.
    pub verdict: Option<Verdict>,
    /// What was declared and left out, by request or because the machine lacks what it takes.
    pub left_out: Vec<LeftOut>,
    /// The stages, in the order they were planned or began.
    pub stages: Vec<StageReport>,
    /// The tiers, in the order they were planned.
    pub tiers: Vec<TierReport>,
    /// What cargo is doing or did, by platform.
    pub compilations: Vec<Compilation>,
    /// The images that are complete.
    pub images: Vec<ImageReport>,
    /// What is known about each executable in them.
    pub architecture: Vec<ArchitectureRow>,
    /// The cluster.
    pub cluster: Option<ClusterReport>,
    /// The components, in the order they were applied.
    pub components: Vec<ComponentReport>,
    /// Why components were not ready.
    pub diagnoses: Vec<Diagnosis>,
    /// The requirements, when they were compared with the tests.
    pub coverage: Vec<Covered>,
    /// What is wrong and did not stop the run.
    pub warnings: Vec<Warning>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// How far a stage or a tier is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its turn has not come.
    #[default]
    Waiting,
    /// It is under way.
    Running,
    /// It did what it had to.
    Passed,
    /// It did not.
    Failed,
    /// Something it needs did not pass.
    Blocked,
    /// It was not to begin: this machine lacks what it takes.
    Skipped,
    /// It never began, or never ended.
    NotRun,
    /// What an earlier run left was used.
    Reused,
}

impl State {
    /// The word people read.
    pub fn word(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Running => "running",
            State::Passed => "passed",
            State::Failed => "failed",
            State::Blocked => "blocked",
            State::Skipped => "skipped",
            State::NotRun => "not run",
            State::Reused => "reused",
        }
    }
}

/// When something began and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Span {
    /// When it began.
    pub began: Option<Timestamp>,
    /// How long it took.
    #[serde(with = "seconds::optional", rename = "seconds", skip_serializing_if = "Option::is_none")]
    pub took: Option<Duration>,
}

/// A stage.
#[derive(Clone, Debug, Serialize)]
pub struct StageReport {
    /// Which.
    pub stage: Stage,
    /// How far it is.
    pub state: State,
    /// When.
    #[serde(flatten)]
    pub span: Span,
    /// Why it failed.
    pub problem: Option<Problem>,
    /// From where it was reused.
    pub reason: Option<String>,
}

/// A tier.
#[derive(Clone, Debug, Serialize)]
pub struct TierReport {
    /// Its name.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The tiers that have to pass before.
    pub needs: Vec<String>,
    /// Whether it runs tests, which are counted.
    pub has_tests: bool,
    /// Whether it runs on the cluster.
    pub on_cluster: bool,
    /// How far it is.
    pub state: State,
    /// When.
    #[serde(flatten)]
    pub span: Span,
    /// Why it is blocked, was skipped or was not run.
    pub reason: Option<String>,
    /// Why it failed.
    pub problem: Option<Problem>,
    /// Its tests: those that were found, and those that ran.
    #[serde(serialize_with = "json::values")]
    pub tests: IndexMap<TestId, TestReport>,
}

/// A test.
#[derive(Clone, Debug, Serialize)]
pub struct TestReport {
    /// Its name.
    #[serde(flatten)]
    pub test: TestId,
    /// How it ended after all its attempts.
    pub state: TestState,
    /// Its attempts; none when it was not run.
    pub attempts: Vec<Attempt>,
}

/// An attempt at a test.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, when the runner could tell.
    #[serde(with = "seconds::optional", rename = "seconds", skip_serializing_if = "Option::is_none")]
    pub took: Option<Duration>,
    /// What it printed, when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// How many tests ended in each way; nothing is counted twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    /// Passed at once.
    pub passed: usize,
    /// Passed after they had failed.
    pub flaky: usize,
    /// Failed.
    pub failed: usize,
    /// Chose not to run.
    pub skipped: usize,
    /// Exist and did not end.
    pub not_run: usize,
}

/// What cargo does or did for a platform.
#[derive(Clone, Debug, Serialize)]
pub struct Compilation {
    /// For this platform.
    pub platform: String,
    /// Whether it is under way.
    #[serde(skip)]
    pub running: bool,
    /// Steps that are done, and how many there are.
    #[serde(skip)]
    pub progress: Option<(usize, usize)>,
    /// The crate that was finished last.
    #[serde(skip)]
    pub latest: Option<String>,
    /// Crates that were compiled.
    pub compiled: usize,
    /// How long it took, all runs together.
    #[serde(with = "seconds", rename = "seconds")]
    pub took: Duration,
}

/// An image.
#[derive(Clone, Debug, Serialize)]
pub struct ImageReport {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: String,
    /// Its platforms.
    pub platforms: Vec<String>,
    /// Bytes of its layers, all platforms together.
    pub bytes: u64,
    /// Whether nothing about it had changed.
    pub cached: bool,
    /// Where it was pushed.
    pub reference: Option<String>,
    /// Bytes that had to be sent.
    pub sent: Option<u64>,
}

/// What is known about an executable in an image.
#[derive(Clone, Debug, Serialize)]
pub struct ArchitectureRow {
    /// The image.
    pub image: String,
    /// The platform the image claims.
    pub platform: String,
    /// Path in the image.
    pub file: String,
    /// What its ELF header says.
    pub machine: String,
    /// How it is linked.
    pub linkage: Linkage,
    /// Whether it was started, and how.
    pub boot: Boot,
}

/// The cluster.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ClusterReport {
    /// Who provides it.
    pub provider: String,
    /// Why that one.
    pub reason: String,
    /// Where its API server answers.
    pub server: Option<String>,
    /// Since it was started.
    #[serde(with = "seconds::optional", rename = "seconds", skip_serializing_if = "Option::is_none")]
    pub took: Option<Duration>,
    /// What its nodes are, in OCI's words.
    pub architecture: Option<String>,
    /// Where its logs were collected after a failure.
    pub logs: Option<std::path::PathBuf>,
}

/// A component.
#[derive(Clone, Debug, Serialize)]
pub struct ComponentReport {
    /// Its name.
    pub name: String,
    /// How many objects it has.
    pub objects: usize,
    /// How many of them had to be created or changed.
    pub changed: usize,
    /// What it waits for.
    pub waiting: Option<String>,
    /// Whether everything of it is ready.
    pub ready: bool,
    /// When it was applied, and how long until it was ready.
    #[serde(flatten)]
    pub span: Span,
}

/// Something that is wrong and did not stop the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// What.
    pub message: String,
    /// The command or edit that helps.
    pub hint: Option<String>,
}

impl TierReport {
    /// Its tests, counted.
    pub fn counts(&self) -> Counts {
        self.tests.values().map(|test| test.state).collect()
    }
}

impl Report {
    /// The tests of all tiers, counted.
    pub fn counts(&self) -> Counts {
        self.tiers.iter().flat_map(|tier| tier.tests.values()).map(|test| test.state).collect()
    }

    /// How every test ended; a test that runs in several tiers counts as it ended worst.
    pub fn tests(&self) -> std::collections::BTreeMap<TestId, TestState> {
        let mut states = std::collections::BTreeMap::new();
        for test in self.tiers.iter().flat_map(|tier| tier.tests.values()) {
            let state = states.entry(test.test.clone()).or_insert(test.state);
            *state = (*state).max(test.state);
        }
        states
    }

    /// What was left out, together with what was left out for the same reason: "tier `a`, tier `b` (--tier c)".
    pub fn left_out(&self) -> Vec<String> {
        let mut by_reason: IndexMap<&str, Vec<&str>> = IndexMap::new();
        for LeftOut { what, reason } in &self.left_out {
            by_reason.entry(reason).or_default().push(what);
        }
        by_reason.iter().map(|(reason, what)| format!("{} ({reason})", what.join(", "))).collect()
    }

    /// From the first event to the last.
    pub fn took(&self) -> Duration {
        match (self.began, self.ended) {
            (Some(began), Some(ended)) => ended.duration_since(began).unsigned_abs(),
            _ => Duration::ZERO,
        }
    }
}

impl FromIterator<TestState> for Counts {
    fn from_iter<I: IntoIterator<Item = TestState>>(states: I) -> Counts {
        let mut counts = Counts::default();
        for state in states {
            let count = match state {
                TestState::Passed => &mut counts.passed,
                TestState::Flaky => &mut counts.flaky,
                TestState::Failed => &mut counts.failed,
                TestState::Skipped => &mut counts.skipped,
                TestState::NotRun => &mut counts.not_run,
            };
            *count += 1;
        }
        counts
    }
}

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
