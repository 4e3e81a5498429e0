//! Events to store.

use api::audit::{AuditEvent, AuditEventRequest};
use serde_json::json;
use uuid::Uuid;

/// An event of a correlation with a given id.
pub fn event(correlation: &str, id: u128) -> AuditEvent {
    at(correlation, id, "2026-01-10T12:00:00.123456Z")
}

/// The same at a given time.
pub fn at(correlation: &str, id: u128, time: &str) -> AuditEvent {
    let request: AuditEventRequest = serde_json::from_value(json!({
        "event_id": Uuid::from_u128(id),
        "version": "1.0",
        "event_type": "gateway.crd.created",
        "event_timestamp": time,
        "event_category": "gateway",
        "event_action": "created",
        "event_outcome": "success",
        "correlation_id": correlation,
        "event_data": {
            "event_type": "gateway.crd.created", "signal_type": "prometheus-alert", "alert_name": "a",
            "namespace": "default", "fingerprint": "f", "ratio": 1.50, "large": 1e300, "words": ["ä", "'", "\"", "\\"],
        },
        "duration_ms": 17,
    }))
    .unwrap();
    datastorage::event::to_stored(request)
}
