//! The custom resource `WorkflowExecution` (`kubernaut.ai/v1alpha1`): one run of a workflow against one target.

#![expect(clippy::duplicated_attributes, reason = "each printer column has a type and a path of its own")]

mod status;

pub use status::*;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to run, and on what. Fixed once created: the audit trail refers to it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kubernaut.ai",
    version = "v1alpha1",
    kind = "WorkflowExecution",
    plural = "workflowexecutions",
    singular = "workflowexecution",
    shortname = "wfe",
    namespaced,
    status = "WorkflowExecutionStatus",
    derive = "PartialEq",
    doc = "One run of a workflow against one target.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "WorkflowID", type_ = "string", json_path = ".spec.workflowRef.workflowId"),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetResource"),
    printcolumn(name = "Duration", type_ = "string", json_path = ".status.duration"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = ("self == oldSelf", "spec is immutable after creation (ADR-001)"))]
#[serde(rename_all = "camelCase")]
pub struct WorkflowExecutionSpec {
    /// The remediation this run belongs to; its name ties the audit events together.
    pub remediation_request_ref: ObjectReference,
    /// The workflow to run.
    pub workflow_ref: WorkflowRef,
    /// What the workflow acts on: `namespace/kind/name`, or `kind/name` for cluster-wide objects. One run at a time.
    pub target_resource: String,
    /// Handed to the workflow unchanged; names are UPPER_SNAKE_CASE.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// How sure the selection was, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Why this workflow was selected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rationale: Option<String>,
    /// What runs the workflow; when absent `tekton` where the cluster has Tekton, otherwise `job`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_engine: Option<ExecutionEngine>,
    /// How to run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_config: Option<ExecutionConfig>,
}

/// A workflow of the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowRef {
    /// Catalog key.
    pub workflow_id: String,
    /// Version in the catalog.
    pub version: String,
    /// Image the workflow runs from.
    pub container_image: String,
    /// Digest the catalog recorded for the image; for the audit trail only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_digest: Option<String>,
}

/// What runs a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExecutionEngine {
    /// A Kubernetes Job with the workflow's image.
    Job,
    /// A Tekton PipelineRun from the workflow's bundle.
    Tekton,
}

impl ExecutionEngine {
    /// As written in the resource.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Tekton => "tekton",
        }
    }
}

/// How to run a workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionConfig {
    /// Longest run, for example `10m`; then it fails as DeadlineExceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// ServiceAccount of the run, in the execution namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
}

impl WorkflowExecution {
    /// The audit trail's correlation id: name of the remediation request, or of the execution if that is empty.
    pub fn correlation_id(&self) -> String {
        crate::names::correlation_id(&self.spec.remediation_request_ref, self.metadata.name.as_deref())
    }

    /// Phase; an execution nobody has looked at is Pending.
    pub fn phase(&self) -> Phase {
        self.status.as_ref().and_then(|status| status.phase).unwrap_or(Phase::Pending)
    }
}
