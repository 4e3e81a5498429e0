//! Creates a child. Its name is the lock on the target, but only among children of its kind: those of the other kind are looked for
//! while this process creates nothing else on the target.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use api::names;
use api::workflow_execution::{ExecutionEngine, WorkflowExecution};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use kube::api::PostParams;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Effect, children, executions};
use crate::engines::tekton::resource::PipelineRun;
use crate::engines::{job, tekton};
use crate::reconcile::observe::api_error;
use crate::reconcile::observed::{Child, Owner, Refusal};
use crate::reconcile::{Context, Error, key};

/// Targets on which this process is creating a child.
#[derive(Clone, Debug, Default)]
pub struct Targets(Arc<Mutex<HashSet<String>>>);

/// Holds a target while it lives.
struct Held {
    targets: Targets,
    target: String,
}

impl Targets {
    fn hold(&self, target: &str) -> Option<Held> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = held.insert(target.to_owned());
        free.then(|| Held { targets: self.clone(), target: target.to_owned() })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.targets.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.target);
    }
}

/// Creates the child of `execution`, unless something has changed since it was observed.
pub(super) async fn create(
    context: &Context,
    execution: &WorkflowExecution,
    engine: ExecutionEngine,
    current: bool,
) -> Result<Effect, Error> {
    let changed = || Error::Changed { execution: key(execution) };
    let held = context.targets.hold(&execution.spec.target_resource).ok_or_else(changed)?;
    if !current && !is_current(context, execution).await? {
        return Err(changed());
    }
    let effect = match engine {
        ExecutionEngine::Job
            if context.served.tekton() && exists::<PipelineRun>(context, execution).await? =>
        {
            Effect::ChildExists
        }
        ExecutionEngine::Tekton if exists::<Job>(context, execution).await? => Effect::ChildExists,
        ExecutionEngine::Job => {
            post(context, execution, job::build(execution, &context.place), |job| {
                job::read(job, Owner::This, &[])
            })
            .await?
        }
        ExecutionEngine::Tekton => {
            let effect = post(context, execution, tekton::build(execution, &context.place), |run| {
                tekton::read(run, Owner::This, &[])
            })
            .await?;
            match effect {
                Effect::ChildRefused(Refusal { code: 404, .. }) if !still_there(context).await => {
                    Effect::EngineGone
                }
                effect => effect,
            }
        }
    };
    drop(held);
    if matches!(effect, Effect::ChildCreated(_)) {
        let asked = execution.creation_timestamp().map_or_else(Timestamp::now, |time| time.0);
        context.metrics.created(engine, Timestamp::now().duration_since(asked));
    }
    Ok(effect)
}

/// Whether the watch is not behind: an execution that already ran must not run again.
async fn is_current(context: &Context, execution: &WorkflowExecution) -> Result<bool, Error> {
    let stored = executions(context, execution)
        .get_metadata_opt(&execution.name_any())
        .await
        .map_err(|source| api_error("read the execution", execution, source))?;
    Ok(stored.is_some_and(|stored| stored.metadata.resource_version == execution.metadata.resource_version))
}

/// Whether Tekton was not removed since it was last looked for.
async fn still_there(context: &Context) -> bool {
    context.served.look_again(&context.client).await;
    context.served.tekton()
}

async fn exists<K>(context: &Context, execution: &WorkflowExecution) -> Result<bool, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let name = names::child_name(&execution.spec.target_resource);
    let found = children::<K>(context).get_metadata_opt(&name).await;
    let found = found.map_err(|source| api_error("look for a child of another kind", execution, source))?;
    Ok(found.is_some())
}

async fn post<K>(
    context: &Context,
    execution: &WorkflowExecution,
    child: K,
    read: impl Fn(&K) -> Child,
) -> Result<Effect, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    match children::<K>(context).create(&PostParams::default(), &child).await {
        Ok(created) => {
            tracing::info!(child = created.name_any(), "created the child");
            Ok(Effect::ChildCreated(Box::new(read(&created))))
        }
        Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {
            Ok(Effect::ChildExists)
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 404 | 422) => {
            let refusal = Refusal { code: status.code, message: status.message.clone() };
            Ok(Effect::ChildRefused(refusal))
        }
        Err(error) => Err(api_error("create the child", execution, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_held_by_one_at_a_time() {
        let targets = Targets::default();
        let held = targets.hold("prod/deployment/web");
        assert!(held.is_some() && targets.hold("prod/deployment/web").is_none());
        assert!(targets.hold("prod/deployment/db").is_some(), "others are free");
        drop(held);
        assert!(targets.hold("prod/deployment/web").is_some());
    }
}
