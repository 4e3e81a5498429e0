//! Makes an audit event from an execution and the outbox entry in its status. The same inputs give the same event, always.

use api::audit::{
    AuditEventRequest, EVENT_VERSION, ErrorComponent, ErrorDetails, EventCategory, EventOutcome,
    WorkflowExecutionAuditPayload, WorkflowExecutionEventType, event_data,
};
use api::workflow_execution::{AuditRecord, FailureDetails, FailureReason, Phase, WorkflowExecution};
use kube::ResourceExt;

use crate::reconcile::decide::record_id;

/// Who the events say they are from.
pub const ACTOR: &str = "workflowexecution-controller";

/// The event that `record` of `execution` is about.
pub fn build(execution: &WorkflowExecution, record: &AuditRecord) -> AuditEventRequest {
    let failed = record.event_type == WorkflowExecutionEventType::WorkflowFailed;
    AuditEventRequest {
        event_id: Some(record_id(execution.uid().as_deref().unwrap_or_default(), record)),
        version: EVENT_VERSION.to_owned(),
        event_type: record.event_type.as_str().to_owned(),
        event_timestamp: record.occurred_at.0,
        event_category: EventCategory::WorkflowExecution,
        event_action: record.event_type.action().to_owned(),
        event_outcome: if failed { EventOutcome::Failure } else { EventOutcome::Success },
        correlation_id: execution.correlation_id(),
        event_data: event_data(&payload(execution, record.event_type)),
        actor_type: Some("service".to_owned()),
        actor_id: Some(ACTOR.to_owned()),
        resource_type: Some("WorkflowExecution".to_owned()),
        resource_id: Some(execution.name_any()),
        parent_event_id: None,
        namespace: execution.namespace(),
        cluster_name: None,
        severity: None,
        duration_ms: duration_ms(execution, record.event_type),
    }
}

/// Fields are taken from the status only for the stages that know them, and only if nothing changes them later.
fn payload(
    execution: &WorkflowExecution,
    event_type: WorkflowExecutionEventType,
) -> WorkflowExecutionAuditPayload {
    use WorkflowExecutionEventType::{SelectionCompleted, WorkflowCompleted, WorkflowFailed};
    let spec = &execution.spec;
    let status = execution.status.clone().unwrap_or_default();
    let (phase, ended) = match event_type {
        WorkflowCompleted => (Phase::Completed, true),
        WorkflowFailed => (Phase::Failed, true),
        _ => (Phase::Pending, false),
    };
    let started = event_type != SelectionCompleted;
    let failure = status.failure_details.filter(|_| event_type == WorkflowFailed);
    WorkflowExecutionAuditPayload {
        event_type,
        workflow_id: spec.workflow_ref.workflow_id.clone(),
        workflow_version: spec.workflow_ref.version.clone(),
        target_resource: spec.target_resource.clone(),
        phase,
        container_image: spec.workflow_ref.container_image.clone(),
        execution_name: execution.name_any(),
        started_at: status.start_time.filter(|_| started).map(|time| time.0),
        completed_at: status.completion_time.filter(|_| ended).map(|time| time.0),
        duration: status.duration.filter(|_| ended),
        failure_reason: failure.as_ref().map(|details| details.reason),
        failure_message: failure.as_ref().map(|details| details.message.clone()),
        failed_task_name: failure
            .as_ref()
            .map(|details| details.failed_task_name.clone())
            .filter(|name| !name.is_empty()),
        error_details: failure.as_ref().map(error_details),
        pipelinerun_name: status.execution_ref.filter(|_| started).map(|child| child.name),
    }
}

fn error_details(details: &FailureDetails) -> ErrorDetails {
    let step = details.failed_step_name.as_deref().map(|step| format!(", step {step}")).unwrap_or_default();
    let place = match details.failed_task_name.as_str() {
        "" => String::new(),
        task => format!("{task}{step}: "),
    };
    let lower = details.message.to_lowercase();
    let hopeless = details.reason == FailureReason::ConfigurationError
        || lower.contains("not found")
        || lower.contains("invalid");
    ErrorDetails {
        message: format!("{place}{}", details.message),
        code: if hopeless { "ERR_WORKFLOW_NOT_FOUND" } else { "ERR_PIPELINE_FAILED" }.to_owned(),
        component: ErrorComponent::WorkflowExecution,
        retry_possible: !hopeless,
        stack_trace: Vec::new(),
    }
}

fn duration_ms(execution: &WorkflowExecution, event_type: WorkflowExecutionEventType) -> Option<i64> {
    use WorkflowExecutionEventType::{WorkflowCompleted, WorkflowFailed};
    let status =
        execution.status.as_ref().filter(|_| matches!(event_type, WorkflowCompleted | WorkflowFailed))?;
    let (start, end) = (status.start_time.as_ref()?, status.completion_time.as_ref()?);
    i64::try_from(end.0.duration_since(start.0).as_millis()).ok()
}
