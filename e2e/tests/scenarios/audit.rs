//! The audit trail of an execution: each stage once, with what an auditor asks for.

use anyhow::{Context, Result, ensure};
use api::audit::{AuditEvent, EventOutcome, WorkflowExecutionAuditPayload};
use api::workflow_execution::{AUDIT_RECORDED, Phase};
use e2e::audit::{type_of, until_trail};
use e2e::cluster::Cluster;
use e2e::execution::{Execution, Plan};
use serde_json::Value;

const SELECTION: &str = "workflowexecution.selection.completed";
const STARTED: &str = "workflowexecution.execution.started";
const COMPLETED: &str = "workflowexecution.workflow.completed";
const FAILED: &str = "workflowexecution.workflow.failed";

/// Runs `plan` to `phase`, and returns the event of type `kind` from a trail that has exactly the three that are due.
async fn event(cluster: &Cluster, plan: Plan, phase: Phase, kind: &str) -> Result<(Execution, AuditEvent)> {
    let execution = plan.create(cluster).await?;
    execution.until_phase(phase).await?;
    execution.until_condition(AUDIT_RECORDED, "True").await?;
    let last = if phase == Phase::Completed { COMPLETED } else { FAILED };
    let trail = until_trail(cluster, &execution.correlation, &[SELECTION, STARTED, last]).await?;
    let event = trail.into_iter().find(|event| type_of(event) == kind).context("the trail has it")?;
    ensure!(event.correlation_id == execution.correlation, "{event:?}");
    ensure!(event.actor_id == "workflowexecution-controller" && event.actor_type == "service", "{event:?}");
    ensure!(event.resource_id == execution.name && event.resource_type == "WorkflowExecution", "{event:?}");
    let data = payload(&event)?;
    ensure!(data.execution_name == execution.name && data.target_resource == execution.target, "{data:?}");
    ensure!(
        data.container_image == cluster.workflow_image && data.workflow_id == "sample-workflow",
        "{data:?}"
    );
    Ok((execution, event))
}

fn payload(event: &AuditEvent) -> Result<WorkflowExecutionAuditPayload> {
    serde_json::from_value(Value::Object(event.event_data.clone()))
        .with_context(|| format!("{:?}", event.event_data))
}

/// Lesson WE_TRIAGE_COMPLETE: there were sixteen to eighteen of them.
#[tokio::test(flavor = "multi_thread")]
async fn selection_of_the_workflow_is_audited_once() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let plan = Plan::new(&cluster, "audit-selection");
    let (execution, event) = event(&cluster, plan, Phase::Completed, SELECTION).await?;
    ensure!(event.event_outcome == EventOutcome::Success && event.event_action == "completed", "{event:?}");
    let data = payload(&event)?;
    ensure!(data.phase == Phase::Pending && data.pipelinerun_name.is_none(), "{data:?}");
    execution.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn start_of_the_execution_is_audited_once() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let plan = Plan::new(&cluster, "audit-start");
    let (execution, event) = event(&cluster, plan, Phase::Completed, STARTED).await?;
    ensure!(event.event_outcome == EventOutcome::Success && event.event_action == "started", "{event:?}");
    let (data, status) = (payload(&event)?, execution.status().await?);
    ensure!(data.pipelinerun_name == status.execution_ref.map(|child| child.name), "{data:?}");
    ensure!(data.started_at == status.start_time.map(|time| time.0), "{data:?}");
    execution.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn completion_of_the_workflow_is_audited_once() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let plan = Plan::new(&cluster, "audit-completion").lasting(1);
    let (execution, event) = event(&cluster, plan, Phase::Completed, COMPLETED).await?;
    ensure!(event.event_outcome == EventOutcome::Success && event.event_action == "completed", "{event:?}");
    let (data, status) = (payload(&event)?, execution.status().await?);
    ensure!(data.phase == Phase::Completed && data.failure_reason.is_none(), "{data:?}");
    ensure!(data.completed_at == status.completion_time.map(|time| time.0), "{data:?}");
    ensure!(data.duration == status.duration && event.duration_ms.is_some(), "{data:?}");
    execution.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_of_the_workflow_is_audited_once() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let plan = Plan::new(&cluster, "audit-failure").failing(4, "the disk is full");
    let (execution, event) = event(&cluster, plan, Phase::Failed, FAILED).await?;
    ensure!(event.event_outcome == EventOutcome::Failure && event.event_action == "failed", "{event:?}");
    let data = payload(&event)?;
    ensure!(
        data.phase == Phase::Failed && data.failure_message.as_deref() == Some("the disk is full"),
        "{data:?}"
    );
    let error = data.error_details.context("a failure has error details")?;
    ensure!(error.code == "ERR_PIPELINE_FAILED" && error.retry_possible, "{error:?}");
    execution.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_execution_is_audited_as_a_failure_only() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let execution = Plan::new(&cluster, "audit-invalid").on("nonsense").create(&cluster).await?;
    execution.until_phase(Phase::Failed).await?;
    execution.until_condition(AUDIT_RECORDED, "True").await?;
    until_trail(&cluster, &execution.correlation, &[FAILED]).await?;
    execution.delete().await
}
