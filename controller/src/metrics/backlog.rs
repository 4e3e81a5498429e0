//! What DataStorage does not have yet. It is counted where it is kept, in the executions themselves, so that it is true also after a
//! restart and in a replica that does not lead.

use std::sync::Arc;

use api::workflow_execution::WorkflowExecution;
use jiff::{SignedDuration, Timestamp};

/// Events that are due and not acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many.
    pub events: i64,
    /// How long the oldest has been due.
    pub lag: SignedDuration,
}

impl Backlog {
    /// That of `executions` at `now`.
    pub fn of(executions: &[Arc<WorkflowExecution>], now: Timestamp) -> Self {
        let records = executions.iter().filter_map(|execution| execution.status.as_ref());
        let due = records.flat_map(|status| &status.audit_events).filter(|record| !record.acknowledged);
        due.fold(Self::default(), |backlog, record| Self {
            events: backlog.events + 1,
            lag: backlog.lag.max(now.duration_since(record.occurred_at.0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_not_acknowledged_counts() {
        let record = |kind: &str, at: &str, acknowledged: bool| json!({"eventType": kind, "attempt": 1, "occurredAt": at, "acknowledged": acknowledged});
        let execution = serde_json::from_value(json!({
            "apiVersion": "kubernaut.ai/v1alpha1", "kind": "WorkflowExecution", "metadata": {"name": "we"},
            "spec": {
                "remediationRequestRef": {},
                "workflowRef": {"workflowId": "w", "version": "1", "containerImage": "i"},
                "targetResource": "prod/deployment/web",
            },
            "status": {"auditEvents": [
                record("workflowexecution.selection.completed", "2026-01-10T12:00:00.000000Z", true),
                record("workflowexecution.execution.started", "2026-01-10T12:01:00.000000Z", false),
                record("workflowexecution.workflow.completed", "2026-01-10T12:02:00.000000Z", false),
            ]},
        }));
        let now = "2026-01-10T12:03:00Z".parse().unwrap();
        let backlog = Backlog::of(&[Arc::new(execution.unwrap())], now);
        assert_eq!(backlog, Backlog { events: 2, lag: SignedDuration::from_mins(2) });
        assert_eq!(Backlog::of(&[], now), Backlog::default());
    }
}
