//! From the event a client sends to the event that is stored: defaults filled in, time in the database's precision.

use api::audit::{AuditEvent, AuditEventRequest};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

/// The event to store for `request`.
///
/// Time is cut to microseconds, what PostgreSQL keeps, so that what is hashed now is what is read later.
pub fn to_stored(request: AuditEventRequest) -> AuditEvent {
    let AuditEventRequest {
        event_id,
        version,
        event_type,
        event_timestamp,
        event_category,
        event_action,
        event_outcome,
        correlation_id,
        event_data,
        actor_type,
        actor_id,
        resource_type,
        resource_id,
        parent_event_id,
        namespace,
        cluster_name,
        severity,
        duration_ms,
    } = request;
    let event_timestamp = to_microseconds(event_timestamp);
    AuditEvent {
        event_id: event_id.unwrap_or_else(Uuid::new_v4),
        event_date: event_timestamp.to_zoned(TimeZone::UTC).date().to_string(),
        version,
        event_type,
        event_timestamp,
        event_action,
        event_outcome,
        actor_type: given(actor_type).unwrap_or_else(|| "service".to_owned()),
        actor_id: given(actor_id).unwrap_or_else(|| format!("{}-service", event_category.as_str())),
        resource_type: given(resource_type).unwrap_or_else(|| event_category.as_str().to_owned()),
        resource_id: given(resource_id).unwrap_or_else(|| correlation_id.clone()),
        event_category,
        correlation_id,
        event_data,
        parent_event_id,
        namespace: given(namespace),
        cluster_name: given(cluster_name),
        severity: given(severity).unwrap_or_else(|| "info".to_owned()),
        duration_ms,
    }
}

/// Empty text means "not given", as in the January contract.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn to_microseconds(timestamp: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(timestamp.as_microsecond()).unwrap_or(timestamp)
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn request() -> AuditEventRequest {
        serde_json::from_value(json!({
            "version": "1.0",
            "event_type": "gateway.crd.created",
            "event_timestamp": "2026-01-10T23:30:00.123456789-01:00",
            "event_category": "gateway",
            "event_action": "created",
            "event_outcome": "success",
            "correlation_id": "rr-1",
            "event_data": {
                "event_type": "gateway.crd.created", "signal_type": "prometheus-alert", "alert_name": "a",
                "namespace": "default", "fingerprint": "f",
            },
        }))
        .unwrap()
    }

    pub(crate) fn stored_event(id: u128) -> AuditEvent {
        to_stored(AuditEventRequest { event_id: Some(Uuid::from_u128(id)), ..request() })
    }

    #[test]
    fn missing_members_get_the_contracts_defaults() {
        let event = to_stored(request());
        assert_eq!(event.actor_type, "service");
        assert_eq!(event.actor_id, "gateway-service");
        assert_eq!(event.resource_type, "gateway");
        assert_eq!(event.resource_id, "rr-1");
        assert_eq!(event.severity, "info");
        assert_eq!(event.namespace, None);
        assert_eq!(event.event_id.get_version_num(), 4);
    }

    #[test]
    fn time_is_utc_in_microseconds() {
        let event = to_stored(request());
        assert_eq!(event.event_timestamp.to_string(), "2026-01-11T00:30:00.123456Z");
        assert_eq!(event.event_date, "2026-01-11");
    }
}
