//! The child with the deterministic name, of whatever kind. The watch may be behind: it is believed when it shows a child, not when
//! it shows none where there should be one.

use api::names;
use api::workflow_execution::{ExecutionEngine, Phase, WorkflowExecution};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::runtime::reflector::{Lookup, ObjectRef, Store};
use kube::{Resource, ResourceExt};

use super::api_error;
use crate::engines::tekton::resource::TaskRun;
use crate::engines::{child, job, tekton};
use crate::reconcile::observed::{Child, ChildState, Owner};
use crate::reconcile::{Context, Error};

/// The child on the target of `execution`: its own, else anybody's. The API server is `asked`, or only the watch.
pub async fn observe(
    context: &Context,
    execution: &WorkflowExecution,
    asked: bool,
) -> Result<Option<Child>, Error> {
    let mut found = None;
    for engine in kinds(context, execution) {
        let child = match engine {
            ExecutionEngine::Job => of_job(context, execution, asked).await?,
            ExecutionEngine::Tekton => of_run(context, execution, asked).await?,
        };
        match child {
            Some(child) if child.owner == Owner::This => return Ok(Some(child)),
            child => found = found.or(child),
        }
    }
    Ok(found)
}

/// Kinds the child may be of. One that was started is of the kind that was chosen then.
fn kinds(context: &Context, execution: &WorkflowExecution) -> Vec<ExecutionEngine> {
    let status = execution.status.as_ref();
    match status.and_then(|status| status.execution_engine) {
        Some(engine) => vec![engine],
        None if context.served.tekton() => vec![ExecutionEngine::Job, ExecutionEngine::Tekton],
        None => vec![ExecutionEngine::Job],
    }
}

async fn of_job(
    context: &Context,
    execution: &WorkflowExecution,
    asked: bool,
) -> Result<Option<Child>, Error> {
    let Some(job) = find(context, execution, &context.children.jobs, asked).await? else { return Ok(None) };
    let owner = owner(context, execution, &job).await?;
    let pods = context.children.pods.about(&execution.spec.target_resource);
    let uid = job.meta().uid.as_deref().unwrap_or_default();
    let own = pods.iter().filter(|pod| is_owned(pod.as_ref(), uid)).map(|pod| Pod::clone(pod));
    let child = job::read(&job, owner, &own.collect::<Vec<_>>());
    if !has_just_failed(&child, execution) {
        return Ok(Some(child));
    }
    // Exit code and last words are read once, at the end: the watch on pods may be behind the one on Jobs.
    let pods = Api::<Pod>::namespaced(context.client.clone(), &context.place.namespace)
        .list(&ListParams::default().labels(&format!("batch.kubernetes.io/job-name={}", child.name)))
        .await
        .map_err(|source| api_error("read the child's pods", execution, source))?;
    Ok(Some(job::read(&job, child.owner, &pods.items)))
}

async fn of_run(
    context: &Context,
    execution: &WorkflowExecution,
    asked: bool,
) -> Result<Option<Child>, Error> {
    let run = find(context, execution, &context.children.pipeline_runs, asked).await;
    let run = match run {
        // Tekton was removed from the cluster, and every PipelineRun with it.
        Err(Error::Api { source, .. }) if is_not_found(&source) => None,
        run => run?,
    };
    let Some(run) = run else { return Ok(None) };
    let owner = owner(context, execution, &run).await?;
    let known = context.children.task_runs.about(&execution.spec.target_resource);
    let uid = run.meta().uid.as_deref().unwrap_or_default();
    let own = known.iter().filter(|task_run| is_owned(task_run.as_ref(), uid));
    let child = tekton::read(&run, owner, &own.map(|task_run| TaskRun::clone(task_run)).collect::<Vec<_>>());
    if !has_just_failed(&child, execution) {
        return Ok(Some(child));
    }
    // The watch on TaskRuns may be behind the one on PipelineRuns.
    let api = Api::<TaskRun>::namespaced(context.client.clone(), &context.place.namespace);
    let mut task_runs = Vec::new();
    for (_, name) in tekton::task_runs(&run) {
        let task_run = api.get_opt(name).await;
        task_runs
            .extend(task_run.map_err(|source| api_error("read the child's TaskRuns", execution, source))?);
    }
    Ok(Some(tekton::read(&run, child.owner, &task_runs)))
}

/// The object with the deterministic name.
async fn find<K>(
    context: &Context,
    execution: &WorkflowExecution,
    known: &Store<K>,
    asked: bool,
) -> Result<Option<K>, Error>
where
    K: Lookup<DynamicType = ()>
        + Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + 'static,
{
    let name = names::child_name(&execution.spec.target_resource);
    let namespace = &context.place.namespace;
    match known.get(&ObjectRef::new(&name).within(namespace)) {
        Some(object) if !asked => Ok(Some(K::clone(&object))),
        _ if asked || expects_child(execution) => Api::<K>::namespaced(context.client.clone(), namespace)
            .get_opt(&name)
            .await
            .map_err(|source| api_error("read the child", execution, source)),
        _ => Ok(None),
    }
}

/// Whether a missing child would mean something.
fn expects_child(execution: &WorkflowExecution) -> bool {
    execution.phase() == Phase::Running || execution.metadata.deletion_timestamp.is_some()
}

fn has_just_failed(child: &Child, execution: &WorkflowExecution) -> bool {
    matches!(child.state, ChildState::Failed(_))
        && child.owner == Owner::This
        && execution.phase() == Phase::Running
}

fn is_owned<K: Resource>(part: &K, uid: &str) -> bool {
    part.owner_references().iter().any(|reference| reference.uid == uid)
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

async fn owner<K>(context: &Context, execution: &WorkflowExecution, child: &K) -> Result<Owner, Error>
where
    K: Resource,
{
    let Some((namespace, name, uid)) = child::owner(child) else { return Ok(Owner::Unknown) };
    if execution.meta().uid.as_deref() == Some(uid) {
        return Ok(Owner::This);
    }
    let same = |other: &WorkflowExecution| other.meta().uid.as_deref() == Some(uid);
    let watched = context.executions.store.get(&ObjectRef::new(name).within(namespace));
    if watched.is_some_and(|other| same(&other)) {
        return Ok(Owner::Another(format!("{namespace}/{name}")));
    }
    let other = Api::<WorkflowExecution>::namespaced(context.client.clone(), namespace)
        .get_opt(name)
        .await
        .map_err(|source| api_error("read the execution that holds the target", execution, source))?;
    Ok(if other.is_some_and(|other| same(&other)) {
        Owner::Another(format!("{namespace}/{name}"))
    } else {
        Owner::Gone
    })
}
