//! Carries out what was decided. Every write is bound to what was observed: by resource version or by uid.

mod create;
mod note;

pub use create::Targets;

use std::fmt::Debug;

use api::names::FINALIZER;
use api::workflow_execution::{ExecutionEngine, WorkflowExecution, WorkflowExecutionStatus};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::decide::Action;
use super::observe::{api_error, event_ids};
use super::observed::{Child, Refusal};
use super::{Context, Error, key, reference};
use crate::engines::tekton::resource::PipelineRun;
use crate::trace;

/// What carrying out a decision led to.
pub enum Effect {
    /// Nothing more to do until something changes.
    Done,
    /// The execution is now this; decide again.
    Changed(Box<WorkflowExecution>),
    /// The child was created; decide again.
    ChildCreated(Box<Child>),
    /// There is a child on the target already, maybe somebody else's; decide again.
    ChildExists,
    /// The child will not be created, for this reason; decide again.
    ChildRefused(Refusal),
    /// The engine that was chosen is not there; decide again.
    EngineGone,
    /// The outbox has no room; come back.
    OutboxFull,
}

/// Carries out `actions` in order. `current` says that the execution is as the API server just answered. It stops at the first that calls for another decision, or whose object
/// is no longer there.
pub async fn act(
    context: &Context,
    execution: &WorkflowExecution,
    actions: Vec<Action>,
    current: bool,
) -> Result<Effect, Error> {
    let mut full = false;
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
            Action::CreateChild { engine } => {
                return create::create(context, execution, engine, current).await;
            }
            Action::DeleteChild { engine, name, uid } => {
                let deleted = match engine {
                    ExecutionEngine::Job => delete::<Job>(context, execution, &name, uid).await?,
                    ExecutionEngine::Tekton => delete::<PipelineRun>(context, execution, &name, uid).await?,
                };
                if !deleted {
                    return Ok(Effect::Done);
                }
            }
            Action::WriteStatus(status) => {
                let last = ends(execution, &status).then(|| status.clone());
                write_status(context, execution, *status).await?;
                if let Some(status) = last {
                    trace::tell(execution, &status);
                }
            }
            Action::Send(events) => {
                let reference = reference(execution);
                // In their order: DataStorage chains them as they come.
                if !events.into_iter().all(|event| context.outbox.offer(&reference, event)) {
                    full = true;
                }
            }
            Action::Publish(note) => note::publish(context, execution, note).await,
            Action::CountFinished { phase, duration } => context.metrics.finished(phase, duration),
        }
    }
    Ok(if full { Effect::OutboxFull } else { Effect::Done })
}

/// Whether `status` is the end of an execution that has not ended yet.
fn ends(execution: &WorkflowExecution, status: &WorkflowExecutionStatus) -> bool {
    let ended = |status: &WorkflowExecutionStatus| status.completion_time.is_some();
    ended(status) && !execution.status.as_ref().is_some_and(ended)
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

/// Whether there was that child to delete.
async fn delete<K>(
    context: &Context,
    execution: &WorkflowExecution,
    name: &str,
    uid: String,
) -> Result<bool, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    // Foreground: the name, which is the lock, is free only when the pods are gone.
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        preconditions: Some(Preconditions { uid: Some(uid), resource_version: None }),
        ..DeleteParams::default()
    };
    match children::<K>(context).delete(name, &params).await {
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

fn write_error(attempt: &'static str, execution: &WorkflowExecution, error: kube::Error) -> Error {
    match error {
        kube::Error::Api(status) if matches!(status.code, 404 | 409) => {
            Error::Changed { execution: key(execution) }
        }
        error => api_error(attempt, execution, error),
    }
}

/// Where children of this kind are.
fn children<K>(context: &Context) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(context.client.clone(), &context.place.namespace)
}

fn executions(context: &Context, execution: &WorkflowExecution) -> Api<WorkflowExecution> {
    Api::namespaced(context.client.clone(), &execution.namespace().unwrap_or_default())
}
