//! Decisions as data: situations in, actions out. The numbers are those of the defects this controller must not have.

mod waiting;

mod starting;

mod running;

mod ending;

mod outbox;

use api::audit::WorkflowExecutionEventType::{
    ExecutionStarted, SelectionCompleted, WorkflowCompleted, WorkflowFailed,
};
use api::audit::{WorkflowExecutionEventType, validate_event};
use api::workflow_execution::{
    AUDIT_RECORDED, BlockClearance, EXECUTION_CREATED, FailureReason, WorkflowExecution,
    WorkflowExecutionStatus,
};
use serde_json::{Value, json};

use super::*;
use crate::reconcile::observed::{
    Child, ChildFailure, ChildState, FailedTask, Owner, Progress, Refusal, Sibling,
};
use crate::reconcile::transition;

const SETTINGS: Settings = Settings {
    cooldown: SignedDuration::from_mins(5),
    backoff: Backoff {
        base: SignedDuration::from_mins(1),
        max: SignedDuration::from_mins(10),
        max_exponent: 4,
    },
};

/// The moment of every decision, plus `seconds`.
fn at(seconds: i64) -> Timestamp {
    "2026-01-10T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn execution(status: Value) -> WorkflowExecution {
    serde_json::from_value(json!({
        "apiVersion": "kubernaut.ai/v1alpha1",
        "kind": "WorkflowExecution",
        "metadata": {"name": "we", "namespace": "ops", "uid": "u-we", "generation": 1, "resourceVersion": "7",
                     "finalizers": [FINALIZER]},
        "spec": {
            "remediationRequestRef": {"name": "rr"},
            "workflowRef": {"workflowId": "restart", "version": "1", "containerImage": "example/restart:1"},
            "targetResource": "prod/deployment/web",
        },
        "status": status,
    }))
    .unwrap()
}

fn observed(status: Value) -> Observed {
    Observed {
        execution: execution(status),
        tekton: false,
        child: None,
        refusal: None,
        siblings: Vec::new(),
        acknowledgements: Default::default(),
    }
}

/// The status of an execution that runs since two minutes, as `Child` of [`child`].
fn running() -> Observed {
    let started = transition::run(&execution(json!({})), &child(ChildState::Started), at(-120));
    observed(serde_json::to_value(started).unwrap())
}

fn child(state: ChildState) -> Child {
    Child {
        engine: ExecutionEngine::Job,
        name: "wfe-1".into(),
        uid: "u-job".into(),
        created: at(-120),
        owner: Owner::This,
        deleting: false,
        progress: Progress { completed: 0, total: 1 },
        state,
    }
}

fn sibling() -> Sibling {
    Sibling {
        key: "ops/other".into(),
        phase: Phase::Completed,
        started: true,
        completed: Some(at(-3600)),
        blocks: false,
        consecutive_failures: 0,
        next_allowed: None,
    }
}

fn failed_child(ran: bool, task: Option<FailedTask>) -> ChildState {
    ChildState::Failed(ChildFailure {
        reason: "BackoffLimitExceeded".into(),
        message: "job failed".into(),
        ran,
        task,
    })
}

fn decided(observed: &Observed) -> Decision {
    decide(observed, &SETTINGS, at(0))
}

fn written(decision: &Decision) -> Option<&WorkflowExecutionStatus> {
    decision.actions.iter().find_map(|action| match action {
        Action::WriteStatus(status) => Some(status.as_ref()),
        _ => None,
    })
}

/// The decision's actions in short.
fn names(decision: &Decision) -> Vec<String> {
    let name = |action: &Action| match action {
        Action::AddFinalizer => "add finalizer".to_owned(),
        Action::RemoveFinalizer => "remove finalizer".to_owned(),
        Action::CreateChild { engine } => format!("create {}", engine.as_str()),
        Action::DeleteChild { uid, .. } => format!("delete {uid}"),
        Action::WriteStatus(status) => {
            let reason = conditions::reason(status, EXECUTION_CREATED).unwrap_or("-");
            format!("write {} {reason}", status.phase.unwrap_or_default().as_str())
        }
        Action::Send(events) => format!("send {}", events.len()),
        Action::Publish(note) => note.reason.to_owned(),
        Action::CountFinished { phase, .. } => format!("count {}", phase.as_str()),
    };
    decision.actions.iter().map(name).collect()
}

fn due(status: &WorkflowExecutionStatus) -> Vec<WorkflowExecutionEventType> {
    status.audit_events.iter().map(|record| record.event_type).collect()
}

/// `observed` after DataStorage acknowledged everything due and the status says so.
fn acknowledged(mut observed: Observed) -> Observed {
    let mut status = observed.status();
    status.audit_events.iter_mut().for_each(|record| record.acknowledged = true);
    conditions::record_audit(&mut status, Some(1), at(0));
    observed.execution.status = Some(status);
    observed
}
