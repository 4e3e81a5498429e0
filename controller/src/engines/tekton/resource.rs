//! The parts of Tekton's `v1` API that matter here. What is not named is not kept: a PipelineRun repeats its whole pipeline in
//! its status.

use k8s_openapi::api::core::v1::ContainerStateTerminated;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// Group and version of all of it.
pub const GROUP_VERSION: &str = "tekton.dev/v1";

/// One run of a pipeline.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "tekton.dev",
    version = "v1",
    kind = "PipelineRun",
    plural = "pipelineruns",
    namespaced,
    status = "PipelineRunStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct PipelineRunSpec {
    /// Where the pipeline comes from.
    #[serde(default)]
    pub pipeline_ref: ResolverRef,
    /// What it is told.
    #[serde(default)]
    pub params: Vec<Param>,
    /// How its pods run.
    #[serde(default)]
    pub task_run_template: TaskRunTemplate,
    /// How long it may take.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// A pipeline that a resolver fetches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResolverRef {
    /// Name of the resolver.
    #[serde(default)]
    pub resolver: String,
    /// What it needs to know.
    #[serde(default)]
    pub params: Vec<Param>,
}

/// A parameter. Other than text never comes from here, and is not read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: serde_json::Value,
}

/// How the pods of a run run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskRunTemplate {
    /// As whom.
    #[serde(default)]
    pub service_account_name: String,
}

/// How long parts of a run may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// All of it, as in `1h0m0s`.
    #[serde(default)]
    pub pipeline: String,
}

/// How a run is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineRunStatus {
    /// Of which `Succeeded` matters.
    pub conditions: Vec<RunCondition>,
    /// When it was taken up.
    pub start_time: Option<Time>,
    /// When it ended.
    pub completion_time: Option<Time>,
    /// Its tasks.
    pub child_references: Vec<ChildReference>,
}

/// A condition of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunCondition {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// Where a task of a pipeline runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChildReference {
    /// `TaskRun`, or the kind of a custom task.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// One run of a task. Nothing of its specification is needed.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "tekton.dev",
    version = "v1",
    kind = "TaskRun",
    plural = "taskruns",
    namespaced,
    status = "TaskRunStatus",
    schema = "disabled"
)]
pub struct TaskRunSpec {}

/// How a task is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskRunStatus {
    /// Of which `Succeeded` matters.
    pub conditions: Vec<RunCondition>,
    /// Its containers.
    pub steps: Vec<StepState>,
}

/// How a step of a task is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepState {
    /// Its name in the task.
    pub name: String,
    /// Set while it runs.
    pub running: Option<serde_json::Value>,
    /// Set once it has ended.
    pub terminated: Option<ContainerStateTerminated>,
}

/// The condition `Succeeded`.
pub fn succeeded(conditions: &[RunCondition]) -> Option<&RunCondition> {
    conditions.iter().find(|condition| condition.kind == "Succeeded")
}
