//! What makes an event acceptable. The sender checks before it sends, DataStorage before it stores: by the same rules.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    APPROVAL_DECIDED, AuditEventRequest, BLOCK_CLEARED, NotificationAuditPayload,
    RemediationApprovalAuditPayload, WorkflowExecutionAuditPayload, WorkflowExecutionWebhookAuditPayload,
    required_fields,
};
use crate::json;

/// Clocks may differ by this much before an event is from the future.
const MAX_AHEAD: SignedDuration = SignedDuration::from_mins(60);
/// Older events are not accepted.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Largest whole number that every reader of JSON keeps.
pub const MAX_WHOLE: u64 = (1 << 53) - 1;

/// A field that is not acceptable, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field, for example `[3].event_data.phase`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl FieldError {
    /// `field` is not acceptable because of `reason`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

/// What can be judged by itself.
pub trait Validate {
    /// Every reason not to accept it.
    fn validate(&self) -> Vec<FieldError>;
}

/// Every reason not to accept the batch; fields are prefixed with the event's index. An empty batch is one.
pub fn validate_batch(events: &[AuditEventRequest], now: Timestamp) -> Vec<FieldError> {
    if events.is_empty() {
        return vec![FieldError::new("body", "must hold at least one event")];
    }
    events
        .iter()
        .enumerate()
        .flat_map(|(index, event)| {
            validate_event(event, now)
                .into_iter()
                .map(move |error| FieldError::new(format!("[{index}].{}", error.field), error.reason))
        })
        .collect()
}

/// Every reason not to accept the event at `now`.
pub fn validate_event(event: &AuditEventRequest, now: Timestamp) -> Vec<FieldError> {
    let lengths = [
        ("version", event.version.as_str(), 20),
        ("event_type", event.event_type.as_str(), 100),
        ("event_action", event.event_action.as_str(), 50),
        ("correlation_id", event.correlation_id.as_str(), 255),
    ];
    let mut errors: Vec<FieldError> =
        lengths.into_iter().filter_map(|(field, text, max)| required_text(field, text, max)).collect();
    let ahead = event.event_timestamp.duration_since(now);
    if ahead > MAX_AHEAD {
        errors.push(FieldError::new("event_timestamp", "is more than 60 minutes in the future"));
    } else if -ahead > MAX_AGE {
        errors.push(FieldError::new("event_timestamp", "is more than 7 days old"));
    }
    let optional = [
        ("actor_type", &event.actor_type, 50),
        ("actor_id", &event.actor_id, 255),
        ("resource_type", &event.resource_type, 100),
        ("resource_id", &event.resource_id, 255),
        ("namespace", &event.namespace, 253),
        ("cluster_name", &event.cluster_name, 255),
        ("severity", &event.severity, 20),
    ];
    errors.extend(optional.into_iter().filter_map(|(field, text, max)| optional_text(field, text, max)));
    if event.duration_ms.is_some_and(|millis| u64::try_from(millis).map_or(true, |millis| millis > MAX_WHOLE))
    {
        errors.push(FieldError::new("duration_ms", format!("must be between 0 and {MAX_WHOLE}")));
    }
    errors.extend(check_data(event));
    errors
}

/// What is wrong with a text that must be there and have at most `max` characters.
pub fn required_text(field: &str, text: &str, max: usize) -> Option<FieldError> {
    if text.is_empty() {
        return Some(FieldError::new(field, "must not be empty"));
    }
    check_text(field, text, max)
}

/// The same for one that may be absent.
pub fn optional_text(field: &str, text: &Option<String>, max: usize) -> Option<FieldError> {
    text.as_deref().and_then(|text| check_text(field, text, max))
}

/// What is wrong with a text that may have at most `max` characters.
fn check_text(field: &str, text: &str, max: usize) -> Option<FieldError> {
    let length = text.chars().count();
    if length > max {
        return Some(FieldError::new(field, format!("must have at most {max} characters, has {length}")));
    }
    text.contains('\0').then(|| FieldError::new(field, "must not contain the character U+0000"))
}

/// Whether a text of the value has U+0000, which PostgreSQL stores neither in text nor in JSON.
pub fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The payload must say its type, which must be known and the envelope's, and must have that type's fields.
fn check_data(event: &AuditEventRequest) -> Option<FieldError> {
    let Some(data_type) = event.event_data.get("event_type").and_then(Value::as_str) else {
        return Some(FieldError::new("event_data.event_type", "must say which payload this is"));
    };
    let Some(required) = required_fields(data_type) else {
        return Some(FieldError::new(
            "event_data.event_type",
            format!("`{data_type}` is not a known event type; /openapi.json lists them"),
        ));
    };
    if data_type != event.event_type {
        return Some(FieldError::new(
            "event_data.event_type",
            format!("must equal the envelope's `{}`, is `{data_type}`", event.event_type),
        ));
    }
    if let Some(missing) = required.iter().find(|field| !event.event_data.contains_key(**field)) {
        return Some(FieldError::new(
            format!("event_data.{missing}"),
            format!("is required in a `{data_type}` payload"),
        ));
    }
    let data = Value::Object(event.event_data.clone());
    if has_nul(&data) {
        return Some(FieldError::new("event_data", "must not contain the character U+0000"));
    }
    let parsed = match data_type {
        BLOCK_CLEARED => unfit::<WorkflowExecutionWebhookAuditPayload>(data),
        APPROVAL_DECIDED => unfit::<RemediationApprovalAuditPayload>(data),
        _ if data_type.starts_with("webhook.notification.") => unfit::<NotificationAuditPayload>(data),
        _ if data_type.starts_with("workflowexecution.") => unfit::<WorkflowExecutionAuditPayload>(data),
        _ => None,
    };
    parsed.map(|error| FieldError::new("event_data", format!("is not a `{data_type}` payload: {error}")))
}

/// Why `data` is not a `T`.
fn unfit<T: DeserializeOwned>(data: Value) -> Option<serde_json::Error> {
    json::from_value::<T>(data).err()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-10T12:00:00Z".parse().unwrap()
    }

    fn event() -> Value {
        json!({
            "version": "1.0",
            "event_type": "workflowexecution.execution.started",
            "event_timestamp": "2026-01-10T12:00:00Z",
            "event_category": "workflowexecution",
            "event_action": "started",
            "event_outcome": "success",
            "correlation_id": "rr-1",
            "event_data": {
                "event_type": "workflowexecution.execution.started",
                "workflow_id": "restart", "workflow_version": "1.0.0", "target_resource": "default/deployment/web",
                "phase": "Pending", "container_image": "example/workflow:1", "execution_name": "we-1",
            },
        })
    }

    /// The fields complained about when `pointer` of a valid event is set to `value`.
    fn check(pointer: &str, value: Value) -> Vec<String> {
        let mut event = event();
        *event.pointer_mut(pointer).unwrap() = value;
        let event = serde_json::from_value(event).unwrap();
        validate_event(&event, now()).into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn fields_are_judged_one_by_one() {
        let text = |length: usize| json!("x".repeat(length));
        for (pointer, value, expected) in [
            ("/version", json!("1.0"), None),
            ("/version", text(21), Some("version")),
            ("/correlation_id", json!(""), Some("correlation_id")),
            ("/correlation_id", text(256), Some("correlation_id")),
            ("/event_action", text(51), Some("event_action")),
            ("/event_timestamp", json!("2026-01-10T13:00:00Z"), None),
            ("/event_timestamp", json!("2026-01-10T13:00:01Z"), Some("event_timestamp")),
            ("/event_timestamp", json!("2026-01-03T12:00:00Z"), None),
            ("/event_timestamp", json!("2026-01-03T11:59:59Z"), Some("event_timestamp")),
            (
                "/event_data/event_type",
                json!("workflowexecution.workflow.failed"),
                Some("event_data.event_type"),
            ),
            ("/event_data/phase", json!(""), Some("event_data")),
            ("/event_data/workflow_id", json!(7), Some("event_data")),
            ("/event_data/phase", json!({"Pending": null}), Some("event_data")),
            ("/event_data/workflow_id", json!("a\u{0}b"), Some("event_data")),
            ("/event_data", json!({}), Some("event_data.event_type")),
            ("/event_data", json!({"event_type": "no.such.type"}), Some("event_data.event_type")),
            ("/correlation_id", json!("a\u{0}b"), Some("correlation_id")),
        ] {
            assert_eq!(check(pointer, value.clone()), Vec::from_iter(expected), "{pointer} = {value}");
        }
    }

    #[test]
    fn other_services_payloads_need_their_types_fields() {
        let mut event = event();
        event["event_type"] = json!("gateway.signal.received");
        event["event_category"] = json!("gateway");
        event["event_data"] = json!({
            "event_type": "gateway.signal.received", "alert_name": "x", "signal_type": "prometheus-alert",
            "namespace": "default",
        });
        let errors = validate_event(&serde_json::from_value(event.clone()).unwrap(), now());
        assert_eq!(errors[0].field, "event_data.fingerprint");
        event["event_data"]["fingerprint"] = json!("f");
        assert_eq!(validate_event(&serde_json::from_value(event).unwrap(), now()), []);
    }

    #[test]
    fn what_people_decide_is_checked_by_its_type() {
        let mut event = event();
        event["event_type"] = json!(APPROVAL_DECIDED);
        event["event_category"] = json!("webhook");
        event["event_data"] = json!({
            "event_type": APPROVAL_DECIDED, "request_name": "rar-1", "decision": "Expired",
            "decided_at": "2026-01-10T12:00:00Z", "decision_message": "", "ai_analysis_ref": "ai-1",
        });
        let judged = |event: &Value| validate_event(&serde_json::from_value(event.clone()).unwrap(), now());
        assert_eq!(judged(&event), []);
        event["event_data"]["decision"] = json!("Maybe");
        assert_eq!(judged(&event)[0].field, "event_data");
    }

    #[test]
    fn a_batch_names_the_event() {
        let good: AuditEventRequest = serde_json::from_value(event()).unwrap();
        let bad = AuditEventRequest { correlation_id: String::new(), ..good.clone() };
        assert_eq!(validate_batch(&[good, bad], now())[0].field, "[1].correlation_id");
        assert_eq!(validate_batch(&[], now())[0].field, "body");
    }
}
