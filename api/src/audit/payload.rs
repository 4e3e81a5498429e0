//! Payloads: what `event_data` holds, told apart by its own `event_type`.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::notification_request::{NotificationPhase, NotificationPriority, NotificationType, Recipient};
use crate::remediation_approval_request::ApprovalDecision;
use crate::workflow_execution::{FailureReason, Phase};

/// Type of the event for a cleared block, in the envelope and in its [`WorkflowExecutionWebhookAuditPayload`].
pub const BLOCK_CLEARED: &str = "workflowexecution.block.cleared";

/// Type of the event for a decided approval, in the envelope and in its [`RemediationApprovalAuditPayload`].
pub const APPROVAL_DECIDED: &str = "webhook.approval.decided";
/// Type of the event for a cancelled notification, in the envelope and in its [`NotificationAuditPayload`].
pub const NOTIFICATION_CANCELLED: &str = "webhook.notification.cancelled";

/// What the controller reports about an execution.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    schemars::JsonSchema,
)]
pub enum WorkflowExecutionEventType {
    /// BR-AUDIT-005: validated, its target is free, the workflow is chosen.
    #[serde(rename = "workflowexecution.selection.completed")]
    SelectionCompleted,
    /// BR-AUDIT-006: its child exists.
    #[serde(rename = "workflowexecution.execution.started")]
    ExecutionStarted,
    /// Part of the contract, sent by nobody.
    #[serde(rename = "workflowexecution.workflow.started")]
    WorkflowStarted,
    /// BR-AUDIT-007: the workflow succeeded.
    #[serde(rename = "workflowexecution.workflow.completed")]
    WorkflowCompleted,
    /// BR-AUDIT-008: the workflow failed, was deleted or never started.
    #[serde(rename = "workflowexecution.workflow.failed")]
    WorkflowFailed,
}

impl WorkflowExecutionEventType {
    /// Every type, in the order of a life.
    pub const ALL: [Self; 5] = [
        Self::SelectionCompleted,
        Self::ExecutionStarted,
        Self::WorkflowStarted,
        Self::WorkflowCompleted,
        Self::WorkflowFailed,
    ];

    /// As written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SelectionCompleted => "workflowexecution.selection.completed",
            Self::ExecutionStarted => "workflowexecution.execution.started",
            Self::WorkflowStarted => "workflowexecution.workflow.started",
            Self::WorkflowCompleted => "workflowexecution.workflow.completed",
            Self::WorkflowFailed => "workflowexecution.workflow.failed",
        }
    }

    /// The envelope's `event_action`: the last word of the type.
    pub fn action(self) -> &'static str {
        match self {
            Self::SelectionCompleted | Self::WorkflowCompleted => "completed",
            Self::ExecutionStarted | Self::WorkflowStarted => "started",
            Self::WorkflowFailed => "failed",
        }
    }
}

impl fmt::Display for WorkflowExecutionEventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Payload of the controller's events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkflowExecutionAuditPayload {
    /// Equal to the envelope's type.
    pub event_type: WorkflowExecutionEventType,
    /// Catalog key of the workflow.
    pub workflow_id: String,
    /// Version of the workflow.
    pub workflow_version: String,
    /// What the workflow acts on.
    pub target_resource: String,
    /// Phase the execution was in.
    pub phase: Phase,
    /// Image the workflow runs from.
    pub container_image: String,
    /// Name of the execution.
    pub execution_name: String,
    /// When its child was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// From start to end, for example `2m30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Class of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<FailureReason>,
    /// What the failure said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_message: Option<String>,
    /// Which part of the workflow failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_task_name: Option<String>,
    /// The failure in the form all services share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_details: Option<ErrorDetails>,
    /// Name of the child that ran the workflow. The field keeps its name from the first engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipelinerun_name: Option<String>,
}

/// A failure in the form all services share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetails {
    /// What went wrong.
    pub message: String,
    /// `ERR_<CATEGORY>_<SPECIFIC>`.
    pub code: String,
    /// The service it went wrong in.
    pub component: ErrorComponent,
    /// Whether the same request may succeed later.
    pub retry_possible: bool,
    /// The innermost frames, if any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stack_trace: Vec<String>,
}

/// Service in which a failure happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ErrorComponent {
    /// Signal intake.
    Gateway,
    /// Root cause analysis.
    AiAnalysis,
    /// Workflow execution.
    WorkflowExecution,
    /// Remediation orchestration.
    RemediationOrchestrator,
    /// Signal classification.
    SignalProcessing,
    /// Admission webhooks.
    Webhooks,
}

/// Payload of the event for a cleared block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkflowExecutionWebhookAuditPayload {
    /// Always [`BLOCK_CLEARED`].
    pub event_type: BlockClearedEventType,
    /// Name of the execution.
    pub workflow_name: String,
    /// Why the operator cleared it.
    pub clear_reason: String,
    /// When, by the webhook's clock.
    #[schema(value_type = String, format = DateTime)]
    pub cleared_at: Timestamp,
    /// Always `Blocked`.
    pub previous_state: BlockedState,
    /// Always `Running`.
    pub new_state: UnblockedState,
}

impl WorkflowExecutionWebhookAuditPayload {
    /// The block that execution `name` put on its target was cleared at `cleared_at` because of `reason`.
    pub fn new(name: impl Into<String>, reason: impl Into<String>, cleared_at: Timestamp) -> Self {
        Self {
            event_type: BlockClearedEventType::BlockCleared,
            workflow_name: name.into(),
            clear_reason: reason.into(),
            cleared_at,
            previous_state: BlockedState::Blocked,
            new_state: UnblockedState::Running,
        }
    }
}

/// The one type of [`WorkflowExecutionWebhookAuditPayload`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum BlockClearedEventType {
    /// [`BLOCK_CLEARED`].
    #[serde(rename = "workflowexecution.block.cleared")]
    BlockCleared,
}

/// State before a clearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum BlockedState {
    /// No execution may start on the target.
    Blocked,
}

/// State after a clearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum UnblockedState {
    /// Executions may start again.
    Running,
}

/// Payload of the event for a decided approval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RemediationApprovalAuditPayload {
    /// Always [`APPROVAL_DECIDED`].
    pub event_type: ApprovalDecidedEventType,
    /// Name of the request.
    pub request_name: String,
    /// What was decided. An expired request was not approved.
    pub decision: ApprovalDecision,
    /// When, by the webhook's clock.
    #[schema(value_type = String, format = DateTime)]
    pub decided_at: Timestamp,
    /// Why; may be empty.
    pub decision_message: String,
    /// Name of the analysis that asked.
    pub ai_analysis_ref: String,
}

/// The one type of [`RemediationApprovalAuditPayload`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ApprovalDecidedEventType {
    /// [`APPROVAL_DECIDED`].
    #[serde(rename = "webhook.approval.decided")]
    ApprovalDecided,
}

/// Payload of the events about what people do with notifications.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NotificationAuditPayload {
    /// What they did.
    pub event_type: NotificationEventType,
    /// Uid of the notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification_id: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification_name: Option<String>,
    /// What it was about.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<NotificationType>,
    /// The same, by its other name in the contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification_type: Option<NotificationType>,
    /// How urgent it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<NotificationPriority>,
    /// How far delivery had come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_status: Option<NotificationPhase>,
    /// To whom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<Recipient>,
    /// Who cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_by: Option<String>,
    /// That user's uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_uid: Option<String>,
    /// That user's groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_groups: Vec<String>,
    /// What they did, by its other name in the contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<NotificationAction>,
}

/// The types of [`NotificationAuditPayload`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum NotificationEventType {
    /// [`NOTIFICATION_CANCELLED`].
    #[serde(rename = "webhook.notification.cancelled")]
    Cancelled,
    /// Somebody reacted.
    #[serde(rename = "webhook.notification.acknowledged")]
    Acknowledged,
}

/// What people do with notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum NotificationAction {
    /// They delete them.
    #[serde(rename = "notification_cancelled")]
    Cancelled,
    /// They react.
    #[serde(rename = "notification_acknowledged")]
    Acknowledged,
}

/// A payload as the object an envelope carries; empty only if `payload` is not an object.
pub fn event_data<T: Serialize>(payload: &T) -> Map<String, Value> {
    match serde_json::to_value(payload) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    }
}
