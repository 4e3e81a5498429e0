//! Everything that happens in a run, as one closed enum. Whoever acts emits it, whoever reports folds it; nothing else connects the
//! two, so a run can be shown, stored and told again from `events.jsonl` alone.
//!
//! The crates that act have enums of their own (`images::BuildEvent`, `kind::ClusterEvent`, `manifests::DeployEvent`); they are
//! carried as they are. The rest is here.

pub(crate) mod seconds;
mod sink;
mod stage;
mod tier;

use std::fmt;
use std::path::PathBuf;

use images::BuildEvent;
use jiff::Timestamp;
use kind::ClusterEvent;
use manifests::{DeployEvent, Diagnosis};
use serde::{Deserialize, Serialize};

pub use sink::{EventSink, Reporter, Reporting};
pub use stage::{Problem, PushEvent, Stage, StageEvent};
pub use tier::{Outcome, TestId, TestState, TierEvent};

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
        /// What the declaration has and this run does not.
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

/// Something that was declared and left out, by request or because the machine lacks what it takes; part of the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// As in "component `queue`".
    pub what: String,
    /// As in "--without queue" or "`postgres` is not installed".
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
