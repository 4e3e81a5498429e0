//! The audit events of what people do. Pure: the same act always gives the same event.

use api::audit::{
    APPROVAL_DECIDED, ApprovalDecidedEventType, AuditEventRequest, BLOCK_CLEARED, EVENT_VERSION,
    EventCategory, EventOutcome, NOTIFICATION_CANCELLED, NotificationAction, NotificationAuditPayload,
    NotificationEventType, RemediationApprovalAuditPayload, WorkflowExecutionWebhookAuditPayload, event_data,
    event_id,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::review::approval::Decided;
use crate::review::notification::Cancelled;
use crate::review::workflow_execution::Cleared;

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

/// The event that reports `decided`. A request is decided once, so its uid makes the id.
pub fn decided_event(decided: &Decided) -> AuditEventRequest {
    let Decided { request, decision, by, at } = decided;
    let name = request.metadata.name.clone().unwrap_or_default();
    let uid = request.metadata.uid.clone().unwrap_or_else(|| name.clone());
    let message = request.status.as_ref().and_then(|status| status.decision_message.clone());
    let payload = RemediationApprovalAuditPayload {
        event_type: ApprovalDecidedEventType::ApprovalDecided,
        request_name: name,
        decision: *decision,
        decided_at: at.0,
        decision_message: message.unwrap_or_default(),
        ai_analysis_ref: request.spec.ai_analysis_ref.name.clone(),
    };
    AuditEventRequest {
        event_id: Some(event_id(&serde_json::json!([uid, by, decision]).to_string(), APPROVAL_DECIDED, 1)),
        version: EVENT_VERSION.to_owned(),
        event_type: APPROVAL_DECIDED.to_owned(),
        event_timestamp: at.0,
        event_category: EventCategory::Webhook,
        event_action: "decided".to_owned(),
        event_outcome: EventOutcome::Success,
        correlation_id: request.correlation_id(),
        event_data: event_data(&payload),
        actor_type: Some("user".to_owned()),
        actor_id: Some(by.chars().take(MAX_ACTOR).collect()),
        resource_type: Some("RemediationApprovalRequest".to_owned()),
        resource_id: Some(uid),
        parent_event_id: None,
        namespace: request.metadata.namespace.clone(),
        cluster_name: None,
        severity: None,
        duration_ms: None,
    }
}

/// The event that reports `cancelled`. A notification is cancelled once, so its uid makes the id.
pub fn cancelled_event(cancelled: &Cancelled) -> AuditEventRequest {
    let Cancelled { notification, by, at } = cancelled;
    let name = notification.metadata.name.clone().unwrap_or_default();
    let uid = notification.metadata.uid.clone().unwrap_or_else(|| name.clone());
    let payload = NotificationAuditPayload {
        event_type: NotificationEventType::Cancelled,
        notification_id: Some(uid.clone()),
        notification_name: Some(name),
        type_: Some(notification.spec.type_),
        notification_type: Some(notification.spec.type_),
        priority: Some(notification.spec.priority),
        final_status: notification.status.as_ref().and_then(|status| status.phase),
        recipients: notification.spec.recipients.clone(),
        cancelled_by: Some(by.username.clone()),
        user_uid: Some(by.uid.clone()).filter(|uid| !uid.is_empty()),
        user_groups: by.groups.clone(),
        action: Some(NotificationAction::Cancelled),
    };
    AuditEventRequest {
        event_id: Some(event_id(
            &serde_json::json!([uid, by.username]).to_string(),
            NOTIFICATION_CANCELLED,
            1,
        )),
        version: EVENT_VERSION.to_owned(),
        event_type: NOTIFICATION_CANCELLED.to_owned(),
        event_timestamp: *at,
        event_category: EventCategory::Webhook,
        event_action: "cancelled".to_owned(),
        event_outcome: EventOutcome::Success,
        correlation_id: notification.correlation_id(),
        event_data: event_data(&payload),
        actor_type: Some("user".to_owned()),
        actor_id: Some(by.username.chars().take(MAX_ACTOR).collect()),
        resource_type: Some("NotificationRequest".to_owned()),
        resource_id: Some(uid),
        parent_event_id: None,
        namespace: notification.metadata.namespace.clone(),
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
    use crate::review::approval::tests::decide;
    use crate::review::notification::tests::delete;
    use crate::review::workflow_execution::tests::execution;

    fn cleared(reason: &str) -> Cleared {
        let reason = format!("{reason} one two three four five six seven eight nine");
        let stated = json!({"clearReason": reason, "clearedBy": "bob", "clearedAt": "2026-01-10T12:00:00Z"});
        let execution: api::workflow_execution::WorkflowExecution =
            serde_json::from_value(execution(Some(stated))).unwrap();
        let clearance = execution.status.clone().unwrap().block_clearance.unwrap();
        Cleared { execution, clearance, replaced: None }
    }

    #[test]
    fn what_people_decide_and_cancel_is_reported_as_what_it_is() {
        let now = "2026-01-10T12:00:01Z".parse().unwrap();
        for decision in ["Approved", "Rejected", "Expired"] {
            let event = decide(json!({}), json!({"decision": decision, "decisionMessage": "so be it"}))
                .event
                .unwrap();
            assert_eq!(event.event_data["decision"], decision, "an expired request was not approved");
            assert_eq!(event.event_data["event_type"], event.event_type.as_str());
            assert_eq!((event.actor_id.as_deref(), event.correlation_id.as_str()), (Some("bob"), "rr-1"));
            assert_eq!(validate_event(&event, now), [], "{decision}");
        }
        let event = delete(json!({}), "bob").event.unwrap();
        assert_eq!(event.event_data["event_type"], event.event_type.as_str());
        assert_eq!(event.event_data["final_status"], "Sending");
        assert_eq!((event.actor_id.as_deref(), event.correlation_id.as_str()), (Some("bob"), "rr-1"));
        assert_eq!(validate_event(&event, now), []);
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
