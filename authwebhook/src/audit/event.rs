//! The audit event of a clearance. Pure: the same clearance always gives the same event.

use api::audit::{
    AuditEventRequest, BLOCK_CLEARED, EVENT_VERSION, EventCategory, EventOutcome,
    WorkflowExecutionWebhookAuditPayload, event_data, event_id,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::review::Cleared;

/// Longest `actor_id` the audit trail accepts; a service account's name can be longer.
const MAX_ACTOR: usize = 255;

/// The event that reports `cleared`.
///
/// Its id depends on the execution, the statement and the one it replaces: an API server that asks twice about one write
/// (it does so after a conflict) reports it once.
pub fn cleared_event(cleared: &Cleared) -> AuditEventRequest {
    let Cleared { execution, clearance, replaced } = cleared;
    let name = execution.metadata.name.clone().unwrap_or_default();
    let uid = execution.metadata.uid.clone().unwrap_or_else(|| name.clone());
    let time = |time: &Option<Time>| time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let cleared_at = time(&clearance.cleared_at);
    let statement = serde_json::json!([
        uid,
        clearance.cleared_by,
        clearance.clear_reason,
        clearance.clear_method,
        replaced.as_ref().map(|replaced| &replaced.cleared_at),
    ]);
    let payload =
        WorkflowExecutionWebhookAuditPayload::new(name.clone(), clearance.clear_reason.clone(), cleared_at);
    AuditEventRequest {
        event_id: Some(event_id(&statement.to_string(), BLOCK_CLEARED, 1)),
        version: EVENT_VERSION.to_owned(),
        event_type: BLOCK_CLEARED.to_owned(),
        event_timestamp: cleared_at,
        event_category: EventCategory::WorkflowExecution,
        event_action: "cleared".to_owned(),
        event_outcome: EventOutcome::Success,
        correlation_id: execution.correlation_id(),
        event_data: event_data(&payload),
        actor_type: Some("user".to_owned()),
        actor_id: Some(clearance.cleared_by.chars().take(MAX_ACTOR).collect()),
        resource_type: Some("WorkflowExecution".to_owned()),
        resource_id: Some(uid),
        parent_event_id: None,
        namespace: execution.metadata.namespace.clone(),
        cluster_name: None,
        severity: None,
        duration_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use api::audit::validate_event;
    use serde_json::json;

    use super::*;
    use crate::review;
    use crate::review::tests::{execution, request};

    fn cleared(reason: &str) -> Cleared {
        let new = execution(Some(
            json!({"clearReason": format!("{reason} one two three four five six seven eight nine")}),
        ));
        review::answer(request(execution(None), new), "2026-01-10T12:00:00Z".parse().unwrap())
            .cleared
            .unwrap()
    }

    #[test]
    fn the_event_says_who_cleared_what_and_why() {
        let event = cleared_event(&cleared("ten"));
        assert_eq!(event.event_type, BLOCK_CLEARED);
        assert_eq!(event.event_data["event_type"], BLOCK_CLEARED);
        assert_eq!(event.event_category, EventCategory::WorkflowExecution);
        assert_eq!((event.actor_type.as_deref(), event.actor_id.as_deref()), (Some("user"), Some("bob")));
        assert_eq!(event.correlation_id, "rr-1");
        assert_eq!(event.namespace.as_deref(), Some("default"));
        assert_eq!(event.resource_id.as_deref(), Some("u-1"));
        assert_eq!(validate_event(&event, "2026-01-10T12:00:01Z".parse().unwrap()), []);
    }

    #[test]
    fn without_a_remediation_request_the_executions_name_correlates() {
        let mut cleared = cleared("ten");
        cleared.execution.spec.remediation_request_ref.name = None;
        assert_eq!(cleared_event(&cleared).correlation_id, "we-1");
    }

    #[test]
    fn one_statement_has_one_id_and_another_has_another() {
        let first = cleared("ten");
        let id = cleared_event(&first).event_id;
        assert_eq!(cleared_event(&cleared("ten")).event_id, id);
        assert_ne!(cleared_event(&cleared("eleven")).event_id, id);
        let again = Cleared { replaced: Some(first.clearance.clone()), ..first };
        assert_ne!(cleared_event(&again).event_id, id);
    }
}
