//! Legal holds: events that must not be deleted, whatever their age.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::validation::{FieldError, Validate, required_text};

/// Path for placing and listing holds; a correlation id follows to release one.
pub const LEGAL_HOLD_PATH: &str = "/api/v1/audit/legal-hold";

/// Longest reason.
const MAX_REASON: usize = 2000;

/// Keep every event of a correlation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceHoldRequest {
    /// Whose events.
    #[schema(min_length = 1, max_length = 255)]
    pub correlation_id: String,
    /// Why, for example a case number.
    #[schema(min_length = 1, max_length = 2000)]
    pub reason: String,
}

impl Validate for PlaceHoldRequest {
    fn validate(&self) -> Vec<FieldError> {
        let Self { correlation_id, reason } = self;
        [required_text("correlation_id", correlation_id, 255), required_text("reason", reason, MAX_REASON)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// The hold is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlaceHoldResponse {
    /// Whose events.
    pub correlation_id: String,
    /// Events stored for it now; later ones are held too.
    pub events_affected: u64,
    /// Who placed it, as authenticated.
    pub placed_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub placed_at: Timestamp,
    /// Why.
    pub reason: String,
}

/// Let a correlation's events be deleted when their time is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseHoldRequest {
    /// Why, for example that the case is closed.
    #[schema(min_length = 1, max_length = 2000)]
    pub release_reason: String,
}

impl Validate for ReleaseHoldRequest {
    fn validate(&self) -> Vec<FieldError> {
        required_text("release_reason", &self.release_reason, MAX_REASON).into_iter().collect()
    }
}

/// The hold is no longer in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseHoldResponse {
    /// Whose events.
    pub correlation_id: String,
    /// Events stored for it now.
    pub events_released: u64,
    /// Who released it, as authenticated.
    pub released_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub released_at: Timestamp,
}

/// A hold in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LegalHold {
    /// Whose events.
    pub correlation_id: String,
    /// Who placed it, as authenticated.
    pub placed_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub placed_at: Timestamp,
    /// Why.
    pub reason: String,
}

/// Every hold in force, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LegalHoldList {
    /// The holds.
    pub holds: Vec<LegalHold>,
    /// How many.
    pub total: u64,
}
