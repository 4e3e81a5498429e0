//! Audit events: what services send to DataStorage, what it stores, and what it answers.

mod chain;
mod event_data;
mod event_type;
mod export;
mod legal_hold;
mod notification;
mod payload;
mod query;
mod timeline;
mod validation;

pub use chain::*;
pub use event_data::EventData;
pub use event_type::{event_types, required_fields};
pub use export::*;
pub use legal_hold::*;
pub use notification::*;
pub use payload::*;
pub use query::*;
pub use timeline::*;
pub use validation::{
    FieldError, MAX_WHOLE, Validate, has_nul, optional_text, required_text, validate_batch, validate_event,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

/// Path for writing many events at once; the body is a JSON array of [`AuditEventRequest`].
pub const BATCH_PATH: &str = "/api/v1/audit/events/batch";
/// Path for querying events with [`AuditQuery`], and for writing one.
pub const EVENTS_PATH: &str = "/api/v1/audit/events";
/// Value of [`AuditEventRequest::version`] that services write today.
pub const EVENT_VERSION: &str = "1.0";

/// Under this namespace event ids are derived by [`event_id`].
const EVENT_ID_NAMESPACE: Uuid = Uuid::from_u128(0x8f1d_6f0a_94c5_5b0e_9a37_2c64_71d5_e0b3);

/// The id of an execution's event: the same for the same execution, type and attempt, whoever sends it and however often.
pub fn event_id(execution_uid: &str, event_type: &str, attempt: u32) -> Uuid {
    Uuid::new_v5(&EVENT_ID_NAMESPACE, format!("{execution_uid}/{event_type}/{attempt}").as_bytes())
}

/// The service an event belongs to (ADR-034 v1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventCategory {
    /// Signal intake.
    Gateway,
    /// Message delivery.
    Notification,
    /// Root cause analysis.
    Analysis,
    /// Signal classification.
    SignalProcessing,
    /// Workflow catalog.
    Workflow,
    /// Workflow execution.
    WorkflowExecution,
    /// Remediation orchestration.
    Orchestration,
    /// Admission webhooks: decisions of people.
    Webhook,
}

impl EventCategory {
    /// As written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Notification => "notification",
            Self::Analysis => "analysis",
            Self::SignalProcessing => "signalprocessing",
            Self::Workflow => "workflow",
            Self::WorkflowExecution => "workflowexecution",
            Self::Orchestration => "orchestration",
            Self::Webhook => "webhook",
        }
    }
}

/// How what the event reports ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventOutcome {
    /// It did what it should.
    Success,
    /// It did not.
    Failure,
    /// Not known yet.
    Pending,
}

impl EventOutcome {
    /// As written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Pending => "pending",
        }
    }
}

/// An event on its way to DataStorage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditEventRequest {
    /// Chosen by the sender so that sending again stores nothing twice; DataStorage makes one up when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub event_id: Option<Uuid>,
    /// Version of the envelope, 1 to 20 characters.
    #[schema(min_length = 1, max_length = 20)]
    pub version: String,
    /// `<service>.<subject>.<verb in the past>`, 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    pub event_type: String,
    /// When it happened. At most 60 minutes ahead of and 7 days behind the storing clock.
    #[schema(value_type = String, format = DateTime)]
    pub event_timestamp: Timestamp,
    /// The service it belongs to.
    pub event_category: EventCategory,
    /// Last word of the type, 1 to 50 characters.
    #[schema(min_length = 1, max_length = 50)]
    pub event_action: String,
    /// How it ended.
    pub event_outcome: EventOutcome,
    /// What ties the events of one remediation together, 1 to 255 characters: the name of the remediation request.
    #[schema(min_length = 1, max_length = 255)]
    pub correlation_id: String,
    /// The payload; its own `event_type` says which one, for example [`WorkflowExecutionAuditPayload`].
    #[schema(value_type = EventData)]
    pub event_data: Map<String, Value>,
    /// `service`, `user` or `external`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 50)]
    pub actor_type: Option<String>,
    /// Who did it: a service's name or a Kubernetes user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub actor_id: Option<String>,
    /// Kind of the object concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub resource_type: Option<String>,
    /// Name or uid of the object concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub resource_id: Option<String>,
    /// The event that caused this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub parent_event_id: Option<Uuid>,
    /// Kubernetes namespace of the object concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 253)]
    pub namespace: Option<String>,
    /// Cluster it happened in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub cluster_name: Option<String>,
    /// `info` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 20)]
    pub severity: Option<String>,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 9007199254740991_i64)]
    pub duration_ms: Option<i64>,
}

/// So that whoever takes events takes what carries one as well.
impl AsRef<Self> for AuditEventRequest {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// An event as stored and returned by a query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEvent {
    /// Unique among all events.
    #[schema(value_type = String, format = "uuid")]
    pub event_id: Uuid,
    /// UTC day of [`event_timestamp`](Self::event_timestamp), `YYYY-MM-DD`.
    pub event_date: String,
    /// Version of the envelope.
    pub version: String,
    /// What happened.
    pub event_type: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub event_timestamp: Timestamp,
    /// The service it belongs to.
    pub event_category: EventCategory,
    /// Last word of the type.
    pub event_action: String,
    /// How it ended.
    pub event_outcome: EventOutcome,
    /// What ties the events of one remediation together.
    pub correlation_id: String,
    /// The payload as it was sent.
    #[schema(value_type = EventData)]
    pub event_data: Map<String, Value>,
    /// `service`, `user` or `external`.
    pub actor_type: String,
    /// Who did it.
    pub actor_id: String,
    /// Kind of the object concerned.
    pub resource_type: String,
    /// Name or uid of the object concerned.
    pub resource_id: String,
    /// The event that caused this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub parent_event_id: Option<Uuid>,
    /// Kubernetes namespace of the object concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Cluster it happened in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// How much it matters.
    pub severity: String,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
}

/// Answer to an accepted batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditBatchResponse {
    /// Ids of the events in the order they were sent, including those that had been stored before.
    #[schema(value_type = Vec<String>)]
    pub event_ids: Vec<Uuid>,
    /// For people.
    pub message: String,
}

/// Answer to one accepted event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEventResponse {
    /// Id of the stored event.
    #[schema(value_type = String, format = "uuid")]
    pub event_id: Uuid,
    /// When it happened, as sent.
    #[schema(value_type = String, format = DateTime)]
    pub event_timestamp: Timestamp,
    /// For people.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_depend_on_execution_type_and_attempt_only() {
        let id = event_id("u1", "workflowexecution.workflow.completed", 1);
        assert_eq!(id, event_id("u1", "workflowexecution.workflow.completed", 1));
        assert_eq!(id.get_version_num(), 5);
        for other in [
            event_id("u2", "workflowexecution.workflow.completed", 1),
            event_id("u1", "workflowexecution.workflow.failed", 1),
            event_id("u1", "workflowexecution.workflow.completed", 2),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn category_and_outcome_are_written_as_their_text() {
        for category in
            [EventCategory::SignalProcessing, EventCategory::WorkflowExecution, EventCategory::Webhook]
        {
            assert_eq!(serde_json::to_value(category).unwrap(), category.as_str());
        }
        assert_eq!(serde_json::to_value(EventOutcome::Failure).unwrap(), EventOutcome::Failure.as_str());
    }
}
