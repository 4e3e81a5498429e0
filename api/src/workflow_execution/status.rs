//! What has become of an execution: written by the controller, except for the clearance of a block.

use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ExecutionEngine;
use crate::audit::WorkflowExecutionEventType;

/// Condition: the child that runs the workflow was created.
pub const EXECUTION_CREATED: &str = "ExecutionCreated";
/// Condition: the workflow has started.
pub const EXECUTION_RUNNING: &str = "ExecutionRunning";
/// Condition: the workflow has ended well (True) or badly (False).
pub const EXECUTION_COMPLETE: &str = "ExecutionComplete";
/// Condition: every audit event due so far is stored by DataStorage.
pub const AUDIT_RECORDED: &str = "AuditRecorded";

/// Observed state of an execution, and the outbox of its audit events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowExecutionStatus {
    /// Generation of the spec this status was derived from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the execution is in its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// When the child was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the execution reached a terminal phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// From start to completion, for example `2m30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// What runs the workflow, once that is settled: what the cluster offers may change later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_engine: Option<ExecutionEngine>,
    /// The child that runs the workflow, in the execution namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_ref: Option<LocalObjectReference>,
    /// Uid of that child: only this one is ever deleted on behalf of the execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_uid: Option<String>,
    /// How the child says it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_status: Option<ExecutionStatus>,
    /// Why the execution failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_details: Option<FailureDetails>,
    /// Failures in a row on the target before anything ran; they delay the next execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive_failures: Option<i32>,
    /// Until then no execution starts on the target, because of such failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_allowed_execution: Option<Time>,
    /// Set by an operator to clear the block that a failed execution puts on its target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_clearance: Option<BlockClearance>,
    /// Audit events due so far, in the order they happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["eventType".into(), "attempt".into()]))]
    pub audit_events: Vec<AuditRecord>,
    /// The state as conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Where an execution is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
pub enum Phase {
    /// Waiting for its target to be free.
    #[default]
    Pending,
    /// Its child exists.
    Running,
    /// Ended well.
    Completed,
    /// Ended badly, or never started.
    Failed,
}

impl Phase {
    /// Whether nothing follows.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// As written in the resource.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
        }
    }
}

/// How the child says it is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionStatus {
    /// `True` succeeded, `False` failed, `Unknown` still running.
    pub status: String,
    /// One word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Parts that have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_tasks: Option<i32>,
    /// All parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_tasks: Option<i32>,
}

/// Class of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
pub enum FailureReason {
    /// Killed for using too much memory.
    #[serde(rename = "OOMKilled")]
    OomKilled,
    /// Took longer than allowed.
    DeadlineExceeded,
    /// Not permitted to do what it tried.
    Forbidden,
    /// A quota or the nodes had no room.
    ResourceExhausted,
    /// The execution or its workflow is not valid.
    ConfigurationError,
    /// The workflow's image could not be pulled.
    ImagePullBackOff,
    /// The workflow ran and failed.
    TaskFailed,
    /// None of these.
    Unknown,
}

impl FailureReason {
    /// As written in the resource.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OomKilled => "OOMKilled",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Forbidden => "Forbidden",
            Self::ResourceExhausted => "ResourceExhausted",
            Self::ConfigurationError => "ConfigurationError",
            Self::ImagePullBackOff => "ImagePullBackOff",
            Self::TaskFailed => "TaskFailed",
            Self::Unknown => "Unknown",
        }
    }
}

/// Why an execution failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureDetails {
    /// Which part failed, from 0.
    pub failed_task_index: i32,
    /// Name of the part that failed; empty if none ran.
    pub failed_task_name: String,
    /// Name of the step in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_step_name: Option<String>,
    /// Class of the failure.
    pub reason: FailureReason,
    /// What the failure said.
    pub message: String,
    /// Exit code of the workflow, if it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When it failed.
    pub failed_at: Time,
    /// How long it ran before; empty if it never did.
    pub execution_time_before_failure: String,
    /// The failure told to a person or a language model, with a recommendation.
    pub natural_language_summary: String,
    /// Whether the workflow may have changed something. If so the target is blocked until an operator clears it.
    #[serde(default)]
    pub was_execution_failure: bool,
}

/// An operator's word that the target may be acted on again after a failed execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["clearedBy", "clearReason"]))]
pub struct BlockClearance {
    /// When; stamped by the admission webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared_at: Option<Time>,
    /// Who; stamped by the admission webhook, without which a clearance is not stored.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(min = 1))]
    pub cleared_by: String,
    /// Why, in at least ten words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(min = 1))]
    pub clear_reason: String,
    /// How it was asked for.
    #[serde(default)]
    pub clear_method: ClearMethod,
}

/// How a clearance was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClearMethod {
    /// By an annotation on the execution.
    Annotation,
    /// By an API of another service.
    #[serde(rename = "APIEndpoint")]
    ApiEndpoint,
    /// By writing the status field.
    #[default]
    StatusField,
}

/// An audit event that is due: the outbox entry from which the event is made, as often as needed, always the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// Which event.
    pub event_type: WorkflowExecutionEventType,
    /// Part of the event's id; counts from 1.
    pub attempt: i32,
    /// When it happened.
    pub occurred_at: MicroTime,
    /// Whether DataStorage has stored it.
    #[serde(default)]
    pub acknowledged: bool,
    /// Why DataStorage refuses it, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
}
