//! Gathers what a decision depends on, from the watches; from the API server where a stale answer would do harm.

use api::names;
use api::workflow_execution::{AuditRecord, Phase, WorkflowExecution};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use uuid::Uuid;

use super::decide::record_id;
use super::observed::{Child, ChildState, Observed, Owner, Refusal, Sibling};
use super::{Context, Error, key};
use crate::engines::job;

/// Who is asked about the child first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The watch, which may be a little behind.
    Watch,
    /// The API server.
    Server,
}

/// What is known about `execution` now.
pub async fn observe(
    context: &Context,
    execution: &WorkflowExecution,
    refusal: Option<Refusal>,
    trust: Trust,
) -> Result<Observed, Error> {
    // What the status says is acknowledged need not be remembered any longer.
    context.outbox.forget(event_ids(execution, |record| record.acknowledged));
    let acknowledgements =
        context.outbox.acknowledgements(event_ids(execution, |record| !record.acknowledged));
    let child = child(context, execution, trust).await?;
    let siblings = if execution.phase().is_terminal() { Vec::new() } else { siblings(context, execution) };
    Ok(Observed { execution: execution.clone(), child, refusal, siblings, acknowledgements })
}

fn siblings(context: &Context, execution: &WorkflowExecution) -> Vec<Sibling> {
    let target = &execution.spec.target_resource;
    let all = context.executions.state();
    let others =
        all.iter().filter(|other| other.spec.target_resource == *target && other.uid() != execution.uid());
    others.map(|other| Sibling::of(other)).collect()
}

/// The child with the deterministic name. The watch may be behind: it is believed when it shows a child, not when it shows none
/// where there should be one.
async fn child(
    context: &Context,
    execution: &WorkflowExecution,
    trust: Trust,
) -> Result<Option<Child>, Error> {
    let name = names::job_name(&execution.spec.target_resource);
    let watched = context.jobs.get(&ObjectRef::new(&name).within(&context.place.namespace));
    let job = match watched {
        Some(job) if trust == Trust::Watch => Some(Job::clone(&job)),
        _ if trust == Trust::Server || expects_child(execution) => jobs(context)
            .get_opt(&name)
            .await
            .map_err(|source| api_error("read the child", execution, source))?,
        _ => None,
    };
    let Some(job) = job else { return Ok(None) };
    let owner = owner(context, execution, &job).await?;
    let child = job::read(&job, owner, &pods(context, &job));
    if !matches!(child.state, ChildState::Failed(_))
        || child.owner != Owner::This
        || execution.phase() != Phase::Running
    {
        return Ok(Some(child));
    }
    // Exit code and last words are read once, at the end: the watch on pods may be behind the one on Jobs.
    let pods = Api::<Pod>::namespaced(context.client.clone(), &context.place.namespace)
        .list(&ListParams::default().labels(&format!("batch.kubernetes.io/job-name={name}")))
        .await
        .map_err(|source| api_error("read the child's pods", execution, source))?;
    Ok(Some(job::read(&job, child.owner, &pods.items)))
}

/// Whether a missing child would mean something.
fn expects_child(execution: &WorkflowExecution) -> bool {
    execution.phase() == Phase::Running || execution.metadata.deletion_timestamp.is_some()
}

async fn owner(context: &Context, execution: &WorkflowExecution, job: &Job) -> Result<Owner, Error> {
    let Some((namespace, name, uid)) = job::owner(job) else { return Ok(Owner::Unknown) };
    if execution.meta().uid.as_deref() == Some(uid) {
        return Ok(Owner::This);
    }
    let same = |other: &WorkflowExecution| other.meta().uid.as_deref() == Some(uid);
    let watched = context.executions.get(&ObjectRef::new(name).within(namespace));
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

fn pods(context: &Context, job: &Job) -> Vec<Pod> {
    let uid = job.uid().unwrap_or_default();
    let all = context.pods.state();
    let own = all.iter().filter(|pod| pod.owner_references().iter().any(|reference| reference.uid == uid));
    own.map(|pod| Pod::clone(pod)).collect()
}

/// Ids of those events in the outbox of `execution` that `which` picks.
pub fn event_ids(execution: &WorkflowExecution, which: impl Fn(&AuditRecord) -> bool) -> Vec<Uuid> {
    let uid = execution.uid().unwrap_or_default();
    let records = execution.status.iter().flat_map(|status| &status.audit_events);
    records.filter(|record| which(record)).map(|record| record_id(&uid, record)).collect()
}

/// The Jobs that run workflows.
pub fn jobs(context: &Context) -> Api<Job> {
    Api::namespaced(context.client.clone(), &context.place.namespace)
}

/// An error of the API server about `execution`.
pub fn api_error(attempt: &'static str, execution: &WorkflowExecution, source: kube::Error) -> Error {
    Error::Api { attempt, execution: key(execution), source: Box::new(source) }
}
