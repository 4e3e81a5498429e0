//! A signed copy of the audit trail for somebody who has neither the service nor its database.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{AuditEvent, EventCategory};
use crate::time_bound::TimeBound;

/// Path for exporting.
pub const EXPORT_PATH: &str = "/api/v1/audit/export";
/// Path of the certificate whose key signs exports, as PEM.
pub const EXPORT_CERTIFICATE_PATH: &str = "/api/v1/audit/export/certificate";
/// Events in an export when the query does not say.
pub const DEFAULT_EXPORT_LIMIT: u32 = 1000;
/// Most events in an export.
pub const MAX_EXPORT_LIMIT: u32 = 10_000;

/// Which events to export, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// Not before: RFC 3339, a day, or a duration ago such as `24h` or `7d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<TimeBound>, inline)]
    pub start_time: Option<String>,
    /// Not after: as `start_time`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<TimeBound>, inline)]
    pub end_time: Option<String>,
    /// Only events of this remediation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(min_length = 1, max_length = 255)]
    pub correlation_id: Option<String>,
    /// Only events of this category.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<EventCategory>, inline)]
    pub event_category: Option<String>,
    /// `json`, the only one; a CSV could not be verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<ExportFormat>, inline)]
    pub format: Option<String>,
    /// Also put the signature into `detached_signature`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_detached_signature: Option<bool>,
    /// Most events, 1 to 10000, 1000 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 10000, default = 1000)]
    pub limit: Option<u32>,
    /// Events to skip.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(maximum = 9007199254740991_u64)]
    pub offset: Option<u64>,
    /// Blank out mail addresses, IPv4 addresses and telephone numbers. Redacted events cannot be verified against their hashes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redact_pii: Option<bool>,
}

/// In which form an export can be had.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum ExportFormat {
    /// The one that can be verified.
    Json,
}

/// A signed export. The signature covers all of it but itself: the document without `signature` and `detached_signature`,
/// as JSON with sorted keys and no blanks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditExport {
    /// What was exported, by whom, and the signature.
    pub export_metadata: ExportMetadata,
    /// The events, oldest first.
    pub events: Vec<ExportedEvent>,
    /// Whether the events are as they were accepted.
    pub hash_chain_verification: HashChainVerification,
    /// The signature once more, for tools that want it apart from the metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detached_signature: Option<String>,
}

/// What was exported, by whom, and the signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportMetadata {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub export_timestamp: Timestamp,
    /// `json`.
    pub export_format: String,
    /// What was asked for.
    pub query_filters: ExportFilters,
    /// Events in this export.
    pub total_events: u64,
    /// Events that match in all.
    pub matching_events: u64,
    /// Who asked, as authenticated.
    pub exported_by: String,
    /// Whether personal data was blanked out.
    pub redacted: bool,
    /// Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// `SHA256withECDSA`, `SHA256withRSA` or `Ed25519`.
    pub signature_algorithm: String,
    /// SHA-256 of the certificate's DER, in hexadecimal with colons.
    pub certificate_fingerprint: String,
    /// The certificate as PEM.
    pub certificate: String,
}

/// What was asked for, as understood.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportFilters {
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub start_time: Option<Timestamp>,
    /// Not after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub end_time: Option<Timestamp>,
    /// Only this remediation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Only this category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_category: Option<String>,
    /// Most events.
    pub limit: u32,
    /// Events skipped.
    pub offset: u64,
}

/// An event with its place in the chain of its correlation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExportedEvent {
    /// The event.
    #[serde(flatten)]
    pub event: AuditEvent,
    /// Hash of it and its predecessor's hash.
    pub event_hash: String,
    /// Its predecessor's hash; empty for the first of its correlation.
    pub previous_event_hash: String,
    /// Whether it is as it was accepted, judged over the whole chain of its correlation.
    pub hash_chain_valid: bool,
    /// Whether it is under legal hold.
    pub legal_hold: bool,
}

/// Whether the exported events are as they were accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HashChainVerification {
    /// Events in this export.
    pub total_events_verified: u64,
    /// Those that are as they were accepted.
    pub valid_chain_events: u64,
    /// The others.
    pub broken_chain_events: u64,
    /// Share of the former, 100 for an empty export.
    pub chain_integrity_percentage: f64,
    /// When they were verified.
    #[schema(value_type = String, format = DateTime)]
    pub verification_timestamp: Timestamp,
    /// Ids of those that are not as they were accepted.
    #[schema(value_type = Vec<String>)]
    pub tampered_event_ids: Vec<Uuid>,
}
