//! The hash chain of a correlation: asking DataStorage whether stored events are still as they were accepted.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::validation::{FieldError, Validate, required_text};

/// Path for verifying one correlation's chain; the body is a [`VerifyChainRequest`].
pub const VERIFY_CHAIN_PATH: &str = "/api/v1/audit/verify-chain";

/// Which chain to verify.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyChainRequest {
    /// Correlation whose events form the chain.
    #[schema(min_length = 1, max_length = 255)]
    pub correlation_id: String,
}

impl Validate for VerifyChainRequest {
    fn validate(&self) -> Vec<FieldError> {
        required_text("correlation_id", &self.correlation_id, 255).into_iter().collect()
    }
}

/// What the verification found. A broken chain is an answer, not an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifyChainResponse {
    /// The chain that was verified.
    pub correlation_id: String,
    /// Whether every event is as it was accepted, and none is missing between two others.
    pub is_valid: bool,
    /// Events stored for the correlation.
    pub total_events: u64,
    /// Those that are as they were accepted.
    pub verified_events: u64,
    /// The others.
    pub tampered_events: Vec<TamperedEvent>,
    /// For people.
    pub message: String,
}

/// An event that is not as it was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TamperedEvent {
    /// The event.
    #[schema(value_type = String, format = "uuid")]
    pub event_id: Uuid,
    /// Hash of its present content after its predecessor.
    pub expected_hash: String,
    /// Hash that was stored with it.
    pub actual_hash: String,
    /// Hash of its predecessor as stored with it; empty for the first.
    pub previous_hash: String,
    /// What differs.
    pub message: String,
}
