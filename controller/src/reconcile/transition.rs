//! Phase transitions as values: the whole next status, with times, conditions and the audit events that become due.

use api::audit::WorkflowExecutionEventType;
use api::duration;
use api::workflow_execution::{
    AuditRecord, EXECUTION_COMPLETE, EXECUTION_CREATED, EXECUTION_RUNNING, ExecutionStatus, FailureDetails,
    FailureReason, Phase, WorkflowExecution, WorkflowExecutionStatus,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

use super::conditions;
use super::decide::{Action, Decision, Note};
use super::observed::{Child, ChildState};

/// Marks which version of the specification the status is about.
pub fn touch(status: &mut WorkflowExecutionStatus, execution: &WorkflowExecution) {
    status.observed_generation = execution.metadata.generation;
}

/// Pending → Running, because `child` exists.
pub fn run(execution: &WorkflowExecution, child: &Child, now: Timestamp) -> WorkflowExecutionStatus {
    let mut status = execution.status.clone().unwrap_or_default();
    let created = child.created.min(now);
    touch(&mut status, execution);
    status.phase = Some(Phase::Running);
    status.start_time = Some(Time(created));
    status.execution_engine = Some(child.engine);
    status.execution_ref = Some(LocalObjectReference { name: child.name.clone() });
    status.execution_uid = Some(child.uid.clone());
    let message = format!("{} runs for {}", child.name, execution.spec.target_resource);
    let generation = execution.metadata.generation;
    conditions::set(&mut status, generation, now, (EXECUTION_CREATED, true, "ExecutionCreated", &message));
    mirror(&mut status, execution, child, now);
    due(&mut status, WorkflowExecutionEventType::SelectionCompleted, created);
    due(&mut status, WorkflowExecutionEventType::ExecutionStarted, now);
    conditions::record_audit(&mut status, generation, now);
    status
}

/// Copies how `child` is doing.
pub fn mirror(
    status: &mut WorkflowExecutionStatus,
    execution: &WorkflowExecution,
    child: &Child,
    now: Timestamp,
) {
    let (holds, reason, message) = match &child.state {
        ChildState::Created => ("Unknown", "Created", ""),
        ChildState::Started => ("Unknown", "Started", ""),
        ChildState::Stuck { reason, message } => ("Unknown", reason.as_str(), message.as_str()),
        ChildState::Succeeded { .. } => ("True", "Succeeded", ""),
        ChildState::Failed(failure) => ("False", failure.reason.as_str(), failure.message.as_str()),
    };
    status.execution_status = Some(ExecutionStatus {
        status: holds.to_owned(),
        reason: Some(reason.to_owned()).filter(|text| !text.is_empty()),
        message: Some(message.to_owned()).filter(|text| !text.is_empty()),
        completed_tasks: Some(count(child.progress.completed)),
        total_tasks: Some(count(child.progress.total)),
    });
    if matches!(child.state, ChildState::Started) || child.state.is_finished() {
        let message = format!("{} has started", child.name);
        let generation = execution.metadata.generation;
        conditions::set(status, generation, now, (EXECUTION_RUNNING, true, "ExecutionStarted", &message));
    }
}

fn count(parts: usize) -> i32 {
    i32::try_from(parts).unwrap_or(i32::MAX)
}

/// → Completed at `at`.
pub fn completed(
    execution: &WorkflowExecution,
    mut status: WorkflowExecutionStatus,
    at: Timestamp,
    now: Timestamp,
) -> Decision {
    let name = &execution.spec.workflow_ref.workflow_id;
    let text = format!("Workflow {name} completed on {}", execution.spec.target_resource);
    let condition = (EXECUTION_COMPLETE, true, "ExecutionSucceeded", text.as_str());
    conditions::set(&mut status, execution.metadata.generation, now, condition);
    let note = Note { warning: false, reason: "WorkflowCompleted", text: text.clone() };
    finish(execution, status, Phase::Completed, at, now, note)
}

/// → Failed because of `details`. `selected` says whether the execution got as far as taking its target.
pub fn failed(
    execution: &WorkflowExecution,
    mut status: WorkflowExecutionStatus,
    details: FailureDetails,
    selected: bool,
    now: Timestamp,
) -> Decision {
    let reason = match details.reason {
        FailureReason::TaskFailed | FailureReason::DeadlineExceeded | FailureReason::OomKilled => {
            details.reason.as_str()
        }
        _ => "ExecutionFailed",
    };
    let condition = (EXECUTION_COMPLETE, false, reason, details.message.as_str());
    conditions::set(&mut status, execution.metadata.generation, now, condition);
    if selected {
        due(&mut status, WorkflowExecutionEventType::SelectionCompleted, now);
    }
    let workflow = &execution.spec.workflow_ref.workflow_id;
    let text = format!("Workflow {workflow} failed: {}: {}", details.reason.as_str(), details.message);
    status.failure_details = Some(details);
    let note = Note { warning: true, reason: "WorkflowFailed", text };
    finish(execution, status, Phase::Failed, now, now, note)
}

fn finish(
    execution: &WorkflowExecution,
    mut status: WorkflowExecutionStatus,
    phase: Phase,
    at: Timestamp,
    now: Timestamp,
    note: Note,
) -> Decision {
    let at = status.start_time.as_ref().map_or(at, |start| at.max(start.0));
    let ran = status.start_time.as_ref().map_or(SignedDuration::ZERO, |start| at.duration_since(start.0));
    touch(&mut status, execution);
    status.phase = Some(phase);
    status.completion_time = Some(Time(at));
    status.duration = status.start_time.is_some().then(|| duration::format(ran));
    let event = match phase {
        Phase::Completed => WorkflowExecutionEventType::WorkflowCompleted,
        _ => WorkflowExecutionEventType::WorkflowFailed,
    };
    due(&mut status, event, now);
    conditions::record_audit(&mut status, execution.metadata.generation, now);
    Decision {
        actions: vec![
            Action::WriteStatus(Box::new(status)),
            Action::Publish(note),
            Action::CountFinished { phase, duration: ran },
        ],
        requeue: None,
    }
}

/// The next moment that a timestamp can tell from this one.
const NEXT: SignedDuration = SignedDuration::from_micros(1);

/// Makes an event due, once. Times tell the order, even of what happened at the same moment.
fn due(status: &mut WorkflowExecutionStatus, event_type: WorkflowExecutionEventType, occurred_at: Timestamp) {
    if status.audit_events.iter().any(|record| record.event_type == event_type) {
        return;
    }
    let last = status.audit_events.last().map(|record| record.occurred_at.0 + NEXT);
    let occurred_at = MicroTime(last.map_or(occurred_at, |last| last.max(occurred_at)));
    status.audit_events.push(AuditRecord {
        event_type,
        attempt: 1,
        occurred_at,
        acknowledged: false,
        rejected: None,
    });
}
