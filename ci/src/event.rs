//! Everything that happens in a run, as one closed enum. Whoever acts emits it, whoever reports folds it; nothing else connects the
//! two, so a run can be shown, stored and told again from `events.jsonl` alone.
//!
//! The crates that act have enums of their own (`images::BuildEvent`, `kind::ClusterEvent`, `manifests::DeployEvent`); they are
//! carried as they are. The rest is here.

pub(crate) mod seconds;
mod sink;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use images::BuildEvent;
use jiff::Timestamp;
use kind::ClusterEvent;
use manifests::{DeployEvent, Diagnosis};
use serde::{Deserialize, Serialize};

pub use sink::{EventSink, Reporter, Reporting};

use crate::requirements::Covered;

/// An event and when it happened: one line of `events.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "about")]
pub enum Event {
    /// To the run as a whole.
    Run(RunEvent),
    /// To a stage.
    Stage(StageEvent),
    /// While binaries are compiled and images assembled.
    Build(BuildEvent),
    /// While images are pushed.
    Push(PushEvent),
    /// While a cluster comes up or goes down.
    Cluster(ClusterEvent),
    /// While components are deployed.
    Deploy(DeployEvent),
    /// In a tier.
    Tier(TierEvent),
}

/// What happens to a run as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum RunEvent {
    /// It began.
    Started(Started),
    /// Everything is decided.
    Planned {
        /// The stages that will be gone through, in order.
        stages: Vec<Stage>,
        /// The tiers, in order.
        tiers: Vec<PlannedTier>,
        /// What the declaration has and this run does not, by request.
        left_out: Vec<LeftOut>,
    },
    /// A provider was chosen for the cluster.
    ClusterChosen {
        /// As in "embedded".
        provider: String,
        /// As in "no container engine answers".
        reason: String,
    },
    /// What the nodes are, in OCI's words.
    NodesKnown {
        /// As in "amd64".
        architecture: String,
    },
    /// Why a component is not ready.
    Diagnosed(Diagnosis),
    /// Something worth knowing.
    Note {
        /// One sentence without full stop.
        message: String,
    },
    /// Something that is wrong and does not stop the run.
    Warning {
        /// One sentence without full stop.
        message: String,
        /// The command or edit that helps.
        hint: Option<String>,
    },
    /// Requirements were compared with the tests that ran.
    Coverage {
        /// Every requirement.
        requirements: Vec<Covered>,
    },
    /// It ended.
    Finished {
        /// How.
        verdict: Verdict,
    },
}

/// What is known when a run begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The run's name, also that of its folder.
    pub run: String,
    /// The pipeline's name, as in "e2e".
    pub pipeline: String,
    /// The command as it was typed.
    pub command: String,
    /// Where the run leaves its files.
    pub directory: PathBuf,
    /// The commit, when the sources are a git checkout; ends in "+changes" when there are any.
    pub commit: Option<String>,
    /// This machine's platform, as in "linux/amd64".
    pub platform: String,
    /// Its cores.
    pub cores: usize,
}

/// A tier as planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTier {
    /// Its name, as in "e2e-runtime".
    pub name: String,
    /// What people call it, as in "E2E Runtime".
    pub title: String,
    /// The tiers that have to pass before.
    pub needs: Vec<String>,
    /// Whether it runs tests, which are counted.
    pub tests: bool,
    /// Whether it runs on the cluster.
    pub cluster: bool,
}

/// Something that was declared and left out by request; part of the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// As in "component `queue`".
    pub what: String,
    /// As in "--without queue".
    pub reason: String,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every gate is passed.
    Passed,
    /// A stage or a gate failed.
    Failed,
    /// Somebody stopped it.
    Interrupted,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Interrupted => "interrupted",
        })
    }
}

/// A part of the way from declaration to verdict. Tiers are not stages: their number is the declaration's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Read the declarations and decide everything.
    Plan,
    /// Compile, assemble and prove images.
    Build,
    /// Push them to a registry.
    Push,
    /// Bring a cluster up.
    Cluster,
    /// Apply the components and wait for them.
    Deploy,
    /// Take the cluster down.
    Down,
}

impl Stage {
    /// Its name, as in `--from deploy`.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Plan => "plan",
            Stage::Build => "build",
            Stage::Push => "push",
            Stage::Cluster => "cluster",
            Stage::Deploy => "deploy",
            Stage::Down => "down",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// What happens to a stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum StageEvent {
    /// It began.
    Started {
        /// Which.
        stage: Stage,
    },
    /// It did what it had to.
    Finished {
        /// Which.
        stage: Stage,
        /// How long it took.
        #[serde(with = "seconds", rename = "seconds")]
        took: Duration,
    },
    /// It could not.
    Failed {
        /// Which.
        stage: Stage,
        /// How long it took.
        #[serde(with = "seconds", rename = "seconds")]
        took: Duration,
        /// Why.
        problem: Problem,
    },
    /// What an earlier run left is used instead.
    Reused {
        /// Which.
        stage: Stage,
        /// From where, as in "--from deploy: images.json of 2026-01-09T15-41-07".
        reason: String,
    },
}

/// Something that stopped a stage or a tier, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What failed, in one sentence without full stop.
    pub message: String,
    /// Why, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// The command or edit that helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What the failing command printed, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

impl Problem {
    /// An error and its sources.
    pub fn new(error: &(dyn std::error::Error + 'static), hint: Option<String>) -> Problem {
        let mut causes: Vec<String> = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // A transparent error says the same as its source.
            if causes.last().unwrap_or(&error.to_string()) != &text {
                causes.push(text);
            }
            source = cause.source();
        }
        Problem { message: error.to_string(), causes, hint, output: None }
    }
}

/// What happens while images are pushed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum PushEvent {
    /// The registry answers.
    RegistryReady {
        /// As in "127.0.0.1:40001".
        address: String,
    },
    /// An image and everything it refers to are in the registry.
    Pushed {
        /// Its name.
        image: String,
        /// By digest.
        reference: String,
        /// Bytes that had to be sent; 0 when the registry had everything.
        bytes: u64,
        /// How long it took.
        #[serde(with = "seconds", rename = "seconds")]
        took: Duration,
    },
}

/// What happens in a tier.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum TierEvent {
    /// It began.
    Started {
        /// Its name.
        tier: String,
    },
    /// A suite says which tests it has. Those that do not finish are not run.
    Found {
        /// The tier.
        tier: String,
        /// The suite, as in "images" or "images::it".
        suite: String,
        /// Names of its tests.
        tests: Vec<String>,
    },
    /// A test ended; a test that is tried again ends once per attempt.
    TestFinished {
        /// The tier.
        tier: String,
        /// The test.
        test: TestId,
        /// How it ended.
        outcome: Outcome,
        /// How long it took, when the runner can tell: tests that share a process do not say when they began.
        #[serde(
            default,
            with = "seconds::optional",
            rename = "seconds",
            skip_serializing_if = "Option::is_none"
        )]
        took: Option<Duration>,
        /// What it printed, when it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
    },
    /// Its gate is passed.
    Passed {
        /// The tier.
        tier: String,
        /// How long it took.
        #[serde(with = "seconds", rename = "seconds")]
        took: Duration,
    },
    /// Its gate is not passed.
    Failed {
        /// The tier.
        tier: String,
        /// How long it took.
        #[serde(with = "seconds", rename = "seconds")]
        took: Duration,
        /// Why.
        problem: Problem,
    },
    /// It did not begin because something it needs did not pass.
    Blocked {
        /// The tier.
        tier: String,
        /// As in "`unit` failed".
        reason: String,
    },
    /// It did not begin for another reason, as when a run is interrupted.
    NotRun {
        /// The tier.
        tier: String,
        /// Why.
        reason: String,
    },
}

/// A test's name in the whole workspace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TestId {
    /// The test binary: a crate's name for its own tests, `crate::target` for those in `tests/`, `crate::bin/target` for those of a binary.
    pub suite: String,
    /// The test's path in it.
    pub name: String,
}

impl fmt::Display for TestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.suite, self.name)
    }
}

/// How an attempt at a test ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It chose not to run.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// How a test ended after all its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestState {
    /// Every attempt passed.
    Passed,
    /// It passed after it had failed.
    Flaky,
    /// Its last attempt failed.
    Failed,
    /// It chose not to run.
    Skipped,
    /// It exists and did not end.
    NotRun,
}

impl TestState {
    /// Whether what it shows holds.
    pub fn passed(self) -> bool {
        matches!(self, TestState::Passed | TestState::Flaky)
    }
}

impl fmt::Display for TestState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            TestState::Passed => "passed",
            TestState::Flaky => "flaky",
            TestState::Failed => "failed",
            TestState::Skipped => "skipped",
            TestState::NotRun => "not run",
        })
    }
}
