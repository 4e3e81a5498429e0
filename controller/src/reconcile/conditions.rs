//! Conditions of an execution, with the usual rule: the transition time changes only when the status does.

use api::workflow_execution::{AUDIT_RECORDED, WorkflowExecutionStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Sets the condition `(type, status, reason, message)`.
pub fn set(
    status: &mut WorkflowExecutionStatus,
    generation: Option<i64>,
    now: Timestamp,
    (kind, holds, reason, message): (&str, bool, &str, &str),
) {
    let holds = if holds { "True" } else { "False" };
    let before = status.conditions.iter().position(|condition| condition.type_ == kind);
    let since = before
        .map(|index| &status.conditions[index])
        .filter(|condition| condition.status == holds)
        .map_or(Time(now), |condition| condition.last_transition_time.clone());
    let condition = Condition {
        type_: kind.to_owned(),
        status: holds.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: since,
        observed_generation: generation,
    };
    match before {
        Some(index) => status.conditions[index] = condition,
        None => status.conditions.push(condition),
    }
}

/// The reason of condition `kind`, if it is set.
pub fn reason<'a>(status: &'a WorkflowExecutionStatus, kind: &str) -> Option<&'a str> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind)
        .map(|condition| condition.reason.as_str())
}

/// Sets `AuditRecorded` to what the outbox says. Nothing due, nothing said.
pub fn record_audit(status: &mut WorkflowExecutionStatus, generation: Option<i64>, now: Timestamp) {
    let due = status.audit_events.len();
    if due == 0 {
        return;
    }
    let stored = status.audit_events.iter().filter(|record| record.acknowledged).count();
    let rejected = status.audit_events.iter().find_map(|record| {
        let reason = record.rejected.as_ref().filter(|_| !record.acknowledged)?;
        Some(format!("DataStorage refuses {}: {reason}", record.event_type))
    });
    let condition = match rejected {
        Some(message) => (AUDIT_RECORDED, false, "AuditRejected", message),
        None if stored == due => {
            (AUDIT_RECORDED, true, "AuditSucceeded", format!("all {due} events are stored"))
        }
        None => (AUDIT_RECORDED, false, "AuditPending", format!("{stored} of {due} events are stored")),
    };
    let (kind, holds, reason, message) = condition;
    set(status, generation, now, (kind, holds, reason, &message));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transition_time_changes_only_when_the_status_does() {
        let times: Vec<Timestamp> = ["2026-01-10T12:00:00Z", "2026-01-10T12:00:05Z", "2026-01-10T12:00:09Z"]
            .map(|t| t.parse().unwrap())
            .into();
        let mut status = WorkflowExecutionStatus::default();
        set(&mut status, Some(1), times[0], ("Ready", false, "Waiting", "first"));
        set(&mut status, Some(1), times[1], ("Ready", false, "StillWaiting", "second"));
        assert_eq!(status.conditions[0].last_transition_time.0, times[0]);
        assert_eq!(reason(&status, "Ready"), Some("StillWaiting"));
        set(&mut status, Some(1), times[2], ("Ready", true, "Done", ""));
        assert_eq!(status.conditions[0].last_transition_time.0, times[2]);
        assert_eq!(status.conditions.len(), 1);
    }
}
