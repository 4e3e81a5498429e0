//! The story of one remediation, put together from its events.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EventCategory, EventOutcome};

/// What happened to a remediation, and whether the account of it is whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Timeline {
    /// The remediation.
    pub correlation_id: String,
    /// When its first event happened.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When its last event happened.
    #[schema(value_type = String, format = DateTime)]
    pub ended_at: Timestamp,
    /// From first to last.
    pub duration_ms: i64,
    /// Where it stands by its last terminal event.
    pub state: TimelineState,
    /// Every event, oldest first.
    pub entries: Vec<TimelineEntry>,
    /// What each service contributed, in the order of its first event.
    pub stages: Vec<TimelineStage>,
    /// People who acted, in the order of their first act.
    pub people: Vec<String>,
    /// Parts of the story that have an end but no beginning, in words. Empty when the account is whole.
    pub gaps: Vec<String>,
    /// Whether every event is as it was accepted.
    pub chain_valid: bool,
}

/// Where a remediation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimelineState {
    /// Nothing ended yet.
    Running,
    /// The last workflow or the remediation ended well.
    Completed,
    /// It ended badly.
    Failed,
}

/// An event in the story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimelineEntry {
    /// The event.
    #[schema(value_type = String, format = "uuid")]
    pub event_id: Uuid,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// After the first event.
    pub offset_ms: i64,
    /// Which service.
    pub category: EventCategory,
    /// What.
    pub event_type: String,
    /// How it ended.
    pub outcome: EventOutcome,
    /// Who: type and name.
    pub actor: String,
    /// On which object: kind and name.
    pub resource: String,
    /// In words.
    pub summary: String,
}

/// What one service contributed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimelineStage {
    /// The service.
    pub category: EventCategory,
    /// Its first event.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Its last event.
    #[schema(value_type = String, format = DateTime)]
    pub ended_at: Timestamp,
    /// How many.
    pub events: u64,
    /// Those with outcome `failure`.
    pub failures: u64,
}
