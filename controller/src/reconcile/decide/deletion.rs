//! The execution is being deleted: its own child goes first, then its audit trail is completed, then it is let go.

use api::workflow_execution::{FailureReason, Phase};
use jiff::Timestamp;

use super::{Action, Decision, Note, outbox};
use crate::reconcile::observed::Observed;
use crate::reconcile::{failure, transition};

pub(super) fn decide(observed: &Observed, now: Timestamp) -> Decision {
    let execution = &observed.execution;
    let status = observed.status();
    if let Some(child) = observed.own_child()
        && execution.phase() == Phase::Pending
    {
        // Created just before a crash: tell so first, for the audit trail.
        let status = transition::run(execution, child, now);
        return Decision { actions: vec![Action::WriteStatus(Box::new(status))], requeue: None };
    }
    if execution.phase() == Phase::Running {
        let message = "the execution was deleted while it was running";
        let details = failure::without_child(execution, FailureReason::Unknown, message, now);
        return transition::failed(execution, status, details, true, now);
    }
    let mut decision = outbox(observed, now);
    if let Some(child) = observed.own_child() {
        if !child.deleting {
            decision.actions.push(Action::delete(child));
        }
        return decision;
    }
    // A refused event will not be stored by waiting; it is in the log in full, and the execution may go.
    if decision.actions.is_empty()
        || status.audit_events.iter().all(|due| due.acknowledged || due.rejected.is_some())
    {
        let text = format!("Deleted in phase {}", execution.phase().as_str());
        decision.actions.push(Note::normal("WorkflowExecutionDeleted", text));
        decision.actions.push(Action::RemoveFinalizer);
    }
    decision
}
