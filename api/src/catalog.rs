//! The catalog of workflows: what may be run, for which signal, and how to find it.

mod search;

pub use search::*;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::audit::{FieldError, Validate, has_nul, optional_text, required_text};

/// Path for creating and listing; an id follows for one entry.
pub const WORKFLOWS_PATH: &str = "/api/v1/workflows";
/// Entries in a page when the query does not say.
pub const DEFAULT_PAGE: u32 = 50;
/// Most entries in a page.
pub const MAX_PAGE: u32 = 100;

/// Largest number of a field of 32 bits: other languages have no unsigned ones.
const MAX_COUNT: u32 = i32::MAX as u32;
/// Largest description.
const MAX_TEXT: usize = 10_000;
/// Largest content of a workflow.
const MAX_CONTENT: usize = 1_000_000;

/// A workflow to put into the catalog. Description, content and labels never change afterwards: a change is a new version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWorkflow {
    /// Identifies the workflow over its versions.
    #[schema(min_length = 1, max_length = 255)]
    pub workflow_name: String,
    /// Unique among the workflow's.
    #[schema(min_length = 1, max_length = 50)]
    pub version: String,
    /// For people.
    #[schema(min_length = 1, max_length = 255)]
    pub name: String,
    /// What it does and when to use it.
    #[schema(min_length = 1, max_length = 10000)]
    pub description: String,
    /// The workflow itself.
    #[schema(min_length = 1, max_length = 1000000)]
    pub content: String,
    /// SHA-256 of the content in hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub content_hash: String,
    /// What it is for.
    pub labels: WorkflowLabels,
    /// What runs it.
    #[schema(min_length = 1, max_length = 50)]
    pub execution_engine: String,
    /// Whether it may be used.
    pub status: WorkflowStatus,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub owner: Option<String>,
    /// Mail address of who maintains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub maintainer: Option<String>,
    /// Its parameters, as it describes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Map<String, Value>>,
    /// Image or bundle it runs from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1000)]
    pub container_image: Option<String>,
    /// Digest of that image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^sha256:[0-9a-f]{64}$")]
    pub container_digest: Option<String>,
    /// Further labels, each with the values it is good for; `*` is good for any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_labels: BTreeMap<String, Vec<String>>,
    /// What the environment it is made for has.
    #[serde(default, skip_serializing_if = "DetectedLabels::is_empty")]
    pub detected_labels: DetectedLabels,
    /// 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0.0, maximum = 1.0)]
    pub expected_success_rate: Option<f64>,
    /// How long it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 2147483647)]
    pub expected_duration_seconds: Option<u32>,
    /// Who made this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub created_by: Option<String>,
    /// What is to be known about this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 10000)]
    pub version_notes: Option<String>,
    /// What changed since the last version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 10000)]
    pub change_summary: Option<String>,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub approved_by: Option<String>,
    /// When it was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub approved_at: Option<Timestamp>,
}

impl Validate for NewWorkflow {
    fn validate(&self) -> Vec<FieldError> {
        let hexadecimal = |text: &str| {
            text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let texts = [
            required_text("workflow_name", &self.workflow_name, 255),
            required_text("version", &self.version, 50),
            required_text("name", &self.name, 255),
            required_text("description", &self.description, MAX_TEXT),
            required_text("content", &self.content, MAX_CONTENT),
            required_text("execution_engine", &self.execution_engine, 50),
            optional_text("owner", &self.owner, 255),
            optional_text("maintainer", &self.maintainer, 255),
            optional_text("container_image", &self.container_image, 1000),
            optional_text("created_by", &self.created_by, 255),
            optional_text("version_notes", &self.version_notes, MAX_TEXT),
            optional_text("change_summary", &self.change_summary, MAX_TEXT),
            optional_text("approved_by", &self.approved_by, 255),
        ];
        let mut errors: Vec<FieldError> = texts.into_iter().flatten().collect();
        errors.extend(self.labels.validate("labels."));
        if !hexadecimal(&self.content_hash) {
            errors.push(FieldError::new("content_hash", "must be 64 lower-case hexadecimal digits"));
        }
        let digest = self.container_digest.as_deref();
        if digest.is_some_and(|digest| !digest.strip_prefix("sha256:").is_some_and(hexadecimal)) {
            errors.push(FieldError::new("container_digest", "must be `sha256:` and 64 hexadecimal digits"));
        }
        if self.expected_success_rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
            errors.push(FieldError::new("expected_success_rate", "must be between 0 and 1"));
        }
        if self.expected_duration_seconds.is_some_and(|seconds| seconds > MAX_COUNT) {
            errors.push(FieldError::new("expected_duration_seconds", format!("must be at most {MAX_COUNT}")));
        }
        let values = serde_json::to_value(self).unwrap_or_default();
        if errors.is_empty() && has_nul(&values) {
            errors.push(FieldError::new("body", "must not contain the character U+0000"));
        }
        errors
    }
}

/// What a workflow is for. A workflow is found only by a search for the same labels; its component may be `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkflowLabels {
    /// Signal it answers.
    #[schema(min_length = 1, max_length = 100)]
    pub signal_type: String,
    /// Severity of that signal.
    pub severity: WorkflowSeverity,
    /// Kind of component it acts on, `*` for any.
    #[schema(min_length = 1, max_length = 100)]
    pub component: String,
    /// Environment it may be used in.
    #[schema(min_length = 1, max_length = 100)]
    pub environment: String,
    /// Priority of the signal.
    pub priority: WorkflowPriority,
}

impl WorkflowLabels {
    fn validate(&self, prefix: &str) -> Vec<FieldError> {
        let Self { signal_type, severity: _, component, environment, priority: _ } = self;
        let texts = [("signal_type", signal_type), ("component", component), ("environment", environment)];
        let judged = texts.map(|(field, text)| required_text(&format!("{prefix}{field}"), text, 100));
        judged.into_iter().flatten().collect()
    }
}

/// Severity of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkflowSeverity {
    /// Now.
    Critical,
    /// Soon.
    High,
    /// Today.
    Medium,
    /// Some day.
    Low,
}

impl WorkflowSeverity {
    /// As written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// Priority of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum WorkflowPriority {
    /// Highest.
    P0,
    /// High.
    P1,
    /// Normal.
    P2,
    /// Low.
    P3,
    /// Any.
    #[serde(rename = "*")]
    Any,
}

impl WorkflowPriority {
    /// As written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P0 => "P0",
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
            Self::Any => "*",
        }
    }
}

/// Whether a workflow may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkflowStatus {
    /// It may.
    Active,
    /// Not for now.
    Disabled,
    /// Another should be used instead.
    Deprecated,
    /// It is kept for the record.
    Archived,
}

impl WorkflowStatus {
    /// As written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Deprecated => "deprecated",
            Self::Archived => "archived",
        }
    }
}

/// What an environment has, as found out by looking. Absent means unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct DetectedLabels {
    /// Changes come from a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_ops_managed: Option<bool>,
    /// By this tool; `*` for any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_ops_tool: Option<String>,
    /// A PodDisruptionBudget protects it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pdb_protected: Option<bool>,
    /// It is part of this service mesh; `*` for any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_mesh: Option<String>,
    /// Network policies isolate it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_isolated: Option<bool>,
    /// Helm manages it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helm_managed: Option<bool>,
    /// It keeps state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stateful: Option<bool>,
    /// An autoscaler changes its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hpa_enabled: Option<bool>,
}

impl DetectedLabels {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An entry of the catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Workflow {
    /// Identifies this version.
    #[schema(value_type = String, format = "uuid")]
    pub workflow_id: Uuid,
    /// Whether no later version of the workflow was created.
    pub is_latest_version: bool,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its status was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Who disabled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_by: Option<String>,
    /// When it was disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub disabled_at: Option<Timestamp>,
    /// Why it was disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<String>,
    /// As it was created, except for its status.
    #[serde(flatten)]
    pub workflow: NewWorkflow,
}

/// Another status for an entry. Anything else is a new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkflowUpdate {
    /// Whether it may be used.
    pub status: WorkflowStatus,
    /// Who disables it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub disabled_by: Option<String>,
    /// Why it is disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    pub disabled_reason: Option<String>,
}

impl Validate for WorkflowUpdate {
    fn validate(&self) -> Vec<FieldError> {
        let Self { status: _, disabled_by, disabled_reason } = self;
        [
            optional_text("disabled_by", disabled_by, 255),
            optional_text("disabled_reason", disabled_reason, 2000),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Not to be used for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisableWorkflow {
    /// Why.
    #[schema(min_length = 1, max_length = 2000)]
    pub reason: String,
    /// Who says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub updated_by: Option<String>,
}

impl Validate for DisableWorkflow {
    fn validate(&self) -> Vec<FieldError> {
        let Self { reason, updated_by } = self;
        [required_text("reason", reason, 2000), optional_text("updated_by", updated_by, 255)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Which entries, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WorkflowQuery {
    /// Only this workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(max_length = 255)]
    pub workflow_name: Option<String>,
    /// Only with this status.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub status: Option<WorkflowStatus>,
    /// Only for this environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(max_length = 100)]
    pub environment: Option<String>,
    /// Only for this priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub priority: Option<WorkflowPriority>,
    /// Only for this component.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(max_length = 100)]
    pub component: Option<String>,
    /// Page size, 1 to 100, 50 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 100, default = 50)]
    pub limit: Option<u32>,
    /// Entries to skip.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(maximum = 2147483647)]
    pub offset: Option<u32>,
}

impl Validate for WorkflowQuery {
    fn validate(&self) -> Vec<FieldError> {
        let Self { workflow_name, status: _, environment, priority: _, component, limit, offset } = self;
        let texts = [
            optional_text("workflow_name", workflow_name, 255),
            optional_text("environment", environment, 100),
            optional_text("component", component, 100),
        ];
        let page = limit
            .filter(|limit| !(1..=MAX_PAGE).contains(limit))
            .map(|limit| FieldError::new("limit", format!("must be between 1 and {MAX_PAGE}, is {limit}")));
        let skipped = offset
            .filter(|offset| *offset > MAX_COUNT)
            .map(|offset| FieldError::new("offset", format!("must be at most {MAX_COUNT}, is {offset}")));
        texts.into_iter().flatten().chain(page).chain(skipped).collect()
    }
}

/// A page of the catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkflowList {
    /// The entries.
    pub workflows: Vec<Workflow>,
    /// Page size.
    pub limit: u32,
    /// Entries skipped.
    pub offset: u32,
    /// All matches.
    pub total: u64,
}
