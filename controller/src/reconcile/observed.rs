//! What is known about one execution at the moment of a decision. Plain values: filled by `observe`, made up by tests.

use std::collections::BTreeMap;

use api::workflow_execution::{ExecutionEngine, Phase, WorkflowExecution, WorkflowExecutionStatus};
use jiff::Timestamp;
use kube::ResourceExt;
use uuid::Uuid;

/// Everything a decision about one execution depends on, except the time.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The execution itself.
    pub execution: WorkflowExecution,
    /// Whether the cluster has Tekton.
    pub tekton: bool,
    /// The child that has the deterministic name of the execution's target, whoever it belongs to and whatever its kind. Its
    /// own, if there is one.
    pub child: Option<Child>,
    /// The API server's final word against creating the child, if it was just asked.
    pub refusal: Option<Refusal>,
    /// The other executions on the same target, in any namespace.
    pub siblings: Vec<Sibling>,
    /// What DataStorage said about events of this execution since the controller started.
    pub acknowledgements: BTreeMap<Uuid, Acknowledgement>,
}

impl Observed {
    /// The execution's status; empty for a new one.
    pub fn status(&self) -> WorkflowExecutionStatus {
        self.execution.status.clone().unwrap_or_default()
    }

    /// The child, if it runs for this execution.
    pub fn own_child(&self) -> Option<&Child> {
        self.child.as_ref().filter(|child| child.owner == Owner::This)
    }
}

/// The object that runs a workflow, whatever its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// What it is.
    pub engine: ExecutionEngine,
    /// Its name, derived from the target.
    pub name: String,
    /// Its uid: a later child of the same name has another.
    pub uid: String,
    /// When it was created, by the API server's clock.
    pub created: Timestamp,
    /// For whom it runs.
    pub owner: Owner,
    /// Whether its deletion has begun.
    pub deleting: bool,
    /// How far it is.
    pub progress: Progress,
    /// What it is doing.
    pub state: ChildState,
}

/// How many of a child's parts have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// These have ended.
    pub completed: usize,
    /// All that are known of.
    pub total: usize,
}

/// For whom a child runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// For the execution observed.
    This,
    /// For another one, `namespace/name`.
    Another(String),
    /// For one that no longer exists.
    Gone,
    /// It does not say: something else made it.
    Unknown,
}

/// What a child is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum ChildState {
    /// Nothing has taken it up yet.
    Created,
    /// It runs.
    Started,
    /// It cannot run and will not by itself: the reason and message of its first part.
    Stuck {
        /// One word, such as `ImagePullBackOff`.
        reason: String,
        /// In words.
        message: String,
    },
    /// It ended well.
    Succeeded {
        /// When, if it says.
        at: Option<Timestamp>,
    },
    /// It ended badly.
    Failed(ChildFailure),
}

impl ChildState {
    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Failed(_))
    }
}

/// How a child ended badly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChildFailure {
    /// One word, such as `BackoffLimitExceeded`.
    pub reason: String,
    /// In words.
    pub message: String,
    /// Whether the workflow may have acted: one of its processes was started, or nobody can tell.
    pub ran: bool,
    /// The part that failed, if it can still be seen.
    pub task: Option<FailedTask>,
}

/// The part of a child that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailedTask {
    /// Its place among the child's parts.
    pub index: usize,
    /// Name of the part: a pod, or a TaskRun.
    pub name: String,
    /// Name of the step in it: a container.
    pub step: Option<String>,
    /// Exit code of the workflow's process.
    pub exit_code: Option<i32>,
    /// One word, such as `OOMKilled`.
    pub reason: String,
    /// What the workflow said last.
    pub message: String,
}

/// The API server's final word against creating a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// In words.
    pub message: String,
}

/// Another execution on the same target.
#[derive(Clone, Debug, PartialEq)]
pub struct Sibling {
    /// `namespace/name`.
    pub key: String,
    /// Its phase.
    pub phase: Phase,
    /// Whether it got a child.
    pub started: bool,
    /// When it reached a terminal phase.
    pub completed: Option<Timestamp>,
    /// Whether it blocks the target: it failed after it had started to act, and nobody has cleared it.
    pub blocks: bool,
    /// How many failures in a row on this target, itself included, never got a child to run.
    pub consecutive_failures: i32,
    /// Until when those failures delay the next execution.
    pub next_allowed: Option<Timestamp>,
}

impl Sibling {
    /// The sibling that `execution` is to others.
    pub fn of(execution: &WorkflowExecution) -> Self {
        let status = execution.status.clone().unwrap_or_default();
        Self {
            key: format!("{}/{}", execution.namespace().unwrap_or_default(), execution.name_any()),
            phase: execution.phase(),
            started: status.start_time.is_some(),
            completed: status.completion_time.as_ref().map(|time| time.0),
            blocks: execution.metadata.deletion_timestamp.is_none() && blocks(&status),
            consecutive_failures: status.consecutive_failures.unwrap_or(0),
            next_allowed: status.next_allowed_execution.as_ref().map(|time| time.0),
        }
    }
}

/// Whether an execution with this status blocks its target.
pub fn blocks(status: &WorkflowExecutionStatus) -> bool {
    let acted = status.failure_details.as_ref().is_some_and(|details| details.was_execution_failure);
    let cleared = status.block_clearance.as_ref().is_some_and(|clearance| !clearance.cleared_by.is_empty());
    acted && !cleared
}

/// What DataStorage said about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// It is stored.
    Stored,
    /// It is refused for this reason.
    Rejected(String),
}
