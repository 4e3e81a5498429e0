//! Gathers what a decision depends on, from the watches; from the API server where a stale answer would do harm.

mod child;

use api::workflow_execution::{AuditRecord, WorkflowExecution};
use kube::ResourceExt;
use uuid::Uuid;

use super::decide::record_id;
use super::observed::{Child, Observed, Refusal, Sibling};
use super::{Context, Error, key};

/// Who is asked about the child first.
#[derive(Clone, Debug, PartialEq)]
pub enum Trust {
    /// The watch, which may be a little behind.
    Watch,
    /// The API server.
    Server,
    /// The API server's answer to its creation.
    Answer(Box<Child>),
}

/// What is known about `execution` now.
pub async fn observe(
    context: &Context,
    execution: &WorkflowExecution,
    refusal: Option<Refusal>,
    trust: &Trust,
) -> Result<Observed, Error> {
    // What the status says is acknowledged need not be remembered any longer.
    context.outbox.forget(event_ids(execution, |record| record.acknowledged));
    let acknowledgements =
        context.outbox.acknowledgements(event_ids(execution, |record| !record.acknowledged));
    let child = match trust {
        Trust::Answer(child) => Some(Child::clone(child)),
        Trust::Watch => child::observe(context, execution, false).await?,
        Trust::Server => child::observe(context, execution, true).await?,
    };
    let siblings = if execution.phase().is_terminal() { Vec::new() } else { siblings(context, execution) };
    let tekton = context.served.tekton();
    Ok(Observed { execution: execution.clone(), tekton, child, refusal, siblings, acknowledgements })
}

fn siblings(context: &Context, execution: &WorkflowExecution) -> Vec<Sibling> {
    let target = &execution.spec.target_resource;
    let all = context.executions.about(target);
    let others = all.iter().filter(|other| other.uid() != execution.uid());
    others.map(|other| Sibling::of(other)).collect()
}

/// Ids of those events in the outbox of `execution` that `which` picks.
pub fn event_ids(execution: &WorkflowExecution, which: impl Fn(&AuditRecord) -> bool) -> Vec<Uuid> {
    let uid = execution.uid().unwrap_or_default();
    let records = execution.status.iter().flat_map(|status| &status.audit_events);
    records.filter(|record| which(record)).map(|record| record_id(&uid, record)).collect()
}

/// An error of the API server about `execution`.
pub fn api_error(attempt: &'static str, execution: &WorkflowExecution, source: kube::Error) -> Error {
    Error::Api { attempt, execution: key(execution), source: Box::new(source) }
}
