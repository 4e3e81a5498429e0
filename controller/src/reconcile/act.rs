//! Carries out what was decided. Every write is bound to what was observed: by resource version or by uid.

use api::names::FINALIZER;
use api::workflow_execution::{WorkflowExecution, WorkflowExecutionStatus};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::runtime::events::{Event, EventType};
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::decide::{Action, Note};
use super::observe::{api_error, event_ids, jobs};
use super::observed::Refusal;
use super::{Context, Error, key, reference};
use crate::engines::job;

/// What carrying out a decision led to.
pub enum Effect {
    /// Nothing more to do until something changes.
    Done,
    /// The execution is now this; decide again.
    Changed(Box<WorkflowExecution>),
    /// The child exists, created now or before; decide again.
    ChildCreated,
    /// The child will not be created, for this reason; decide again.
    ChildRefused(Refusal),
}

/// Carries out `actions` in order; stops at the first that calls for another decision, or whose object
/// is no longer there.
pub async fn act(
    context: &Context,
    execution: &WorkflowExecution,
    actions: Vec<Action>,
) -> Result<Effect, Error> {
    for action in actions {
        match action {
            Action::AddFinalizer => {
                let finalizers =
                    execution.finalizers().iter().cloned().chain([FINALIZER.to_owned()]).collect();
                let changed = set_finalizers(context, execution, finalizers).await?;
                return Ok(Effect::Changed(Box::new(changed)));
            }
            Action::RemoveFinalizer => {
                let others =
                    execution.finalizers().iter().filter(|other| *other != FINALIZER).cloned().collect();
                set_finalizers(context, execution, others).await?;
                context.outbox.forget(event_ids(execution, |_| true));
            }
            Action::CreateChild => return create_child(context, execution).await,
            Action::DeleteChild { name, uid } => {
                if !delete_child(context, execution, &name, uid).await? {
                    return Ok(Effect::Done);
                }
            }
            Action::WriteStatus(status) => write_status(context, execution, *status).await?,
            Action::Send(events) => {
                let reference = reference(execution);
                events.into_iter().for_each(|event| context.outbox.offer(&reference, event));
            }
            Action::Publish(note) => publish(context, execution, note).await,
            Action::CountFinished { phase, duration } => context.metrics.finished(phase, duration),
        }
    }
    Ok(Effect::Done)
}

async fn set_finalizers(
    context: &Context,
    execution: &WorkflowExecution,
    finalizers: Vec<String>,
) -> Result<WorkflowExecution, Error> {
    let patch =
        json!({"metadata": {"resourceVersion": execution.resource_version(), "finalizers": finalizers}});
    let outcome = executions(context, execution)
        .patch(&execution.name_any(), &PatchParams::default(), &Patch::Merge(patch))
        .await;
    outcome.map_err(|error| write_error("set the finalizers", execution, error))
}

async fn create_child(context: &Context, execution: &WorkflowExecution) -> Result<Effect, Error> {
    // The watch may be behind: an execution that already ran must not run again.
    let current = executions(context, execution)
        .get_opt(&execution.name_any())
        .await
        .map_err(|source| api_error("read the execution", execution, source))?;
    let unchanged =
        current.is_some_and(|current| current.meta().resource_version == execution.meta().resource_version);
    if !unchanged {
        return Err(Error::Changed { execution: key(execution) });
    }
    let job = job::build(execution, &context.place);
    match jobs(context).create(&PostParams::default(), &job).await {
        Ok(created) => {
            context.metrics.created();
            tracing::info!(execution = key(execution), child = created.name_any(), "created the child");
        }
        Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {}
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 404 | 422) => {
            let refusal = Refusal { code: status.code, message: status.message.clone() };
            return Ok(Effect::ChildRefused(refusal));
        }
        Err(error) => return Err(api_error("create the child", execution, error)),
    }
    Ok(Effect::ChildCreated)
}

/// Whether there was that child to delete.
async fn delete_child(
    context: &Context,
    execution: &WorkflowExecution,
    name: &str,
    uid: String,
) -> Result<bool, Error> {
    // Foreground: the name, which is the lock, is free only when the pods are gone.
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        preconditions: Some(Preconditions { uid: Some(uid), resource_version: None }),
        ..DeleteParams::default()
    };
    match jobs(context).delete(name, &params).await {
        Ok(_) => {
            tracing::info!(execution = key(execution), child = name, "deleted the child");
            Ok(true)
        }
        // Gone, or by now another child of the same name.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        Err(error) => Err(api_error("delete the child", execution, error)),
    }
}

async fn write_status(
    context: &Context,
    execution: &WorkflowExecution,
    status: WorkflowExecutionStatus,
) -> Result<(), Error> {
    let changed = WorkflowExecution { status: Some(status), ..execution.clone() };
    let outcome = executions(context, execution)
        .replace_status(&execution.name_any(), &PostParams::default(), &changed)
        .await;
    outcome.map(drop).map_err(|error| write_error("write the status", execution, error))
}

/// People can do without an event; the execution goes on.
async fn publish(context: &Context, execution: &WorkflowExecution, note: Note) {
    let Note { warning, reason, text } = note;
    tracing::info!(execution = key(execution), reason, text);
    let event = Event {
        type_: if warning { EventType::Warning } else { EventType::Normal },
        reason: reason.to_owned(),
        note: Some(text.chars().take(1000).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = context.recorder.publish(&event, &execution.object_ref(&())).await {
        tracing::warn!(execution = key(execution), reason, %error, "failed to publish a Kubernetes event");
    }
}

fn write_error(attempt: &'static str, execution: &WorkflowExecution, error: kube::Error) -> Error {
    match error {
        kube::Error::Api(status) if matches!(status.code, 404 | 409) => {
            Error::Changed { execution: key(execution) }
        }
        error => api_error(attempt, execution, error),
    }
}

fn executions(context: &Context, execution: &WorkflowExecution) -> Api<WorkflowExecution> {
    Api::namespaced(context.client.clone(), &execution.namespace().unwrap_or_default())
}
