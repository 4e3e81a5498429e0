//! Reconciliation of one execution: observe, decide, act. Only the first and the last do IO.

pub mod observed;

mod observe;

pub mod decide;

mod act;

pub mod conditions;
pub mod failure;
pub mod transition;

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::workflow_execution::WorkflowExecution;
use futures::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use kube::runtime::applier;
use kube::runtime::controller::{Action as Next, Config, Error as ApplierError, ReconcileRequest};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt};
use tracing::{Instrument, field};

use crate::engines::child::Place;
use crate::engines::served::Served;
use crate::metrics::Metrics;
use crate::outbox::sender::Outbox;
use crate::trace;
use crate::watch::{ByTarget, Children, Requests};
use act::Effect;
pub use act::Targets;
use decide::Settings;
use observe::Trust;

/// Creating the child and putting on the finalizer are followed by another decision at once; more rounds mean a defect.
const ROUNDS: usize = 6;
/// Reconciliations at the same time.
const CONCURRENCY: u16 = 32;
/// An execution whose events did not fit into the outbox comes back after this time.
const OUTBOX_AGAIN: Duration = Duration::from_secs(5);

/// What reconciliations share.
pub struct Context {
    /// Client of the API server.
    pub client: Client,
    /// Every execution, as watched.
    pub executions: ByTarget<WorkflowExecution>,
    /// Every child, as watched.
    pub children: Children,
    /// Which engines the cluster has.
    pub served: Served,
    /// Targets that are being taken.
    pub targets: Targets,
    /// Chosen by the operator.
    pub settings: Settings,
    /// Where workflows run.
    pub place: Place,
    /// Where audit events go.
    pub outbox: Outbox,
    /// Where requests come from.
    pub requests: Requests,
    /// Where numbers go.
    pub metrics: Metrics,
    /// Which replica this is.
    pub identity: String,
}

/// A reconciliation that has to be done again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The execution changed after it was observed; what was decided no longer holds.
    #[error("execution {execution} has changed meanwhile")]
    Changed {
        /// `namespace/name`.
        execution: String,
    },
    /// The API server did not do what was asked.
    #[error("failed to {attempt} for execution {execution}")]
    Api {
        /// What was asked.
        attempt: &'static str,
        /// `namespace/name`.
        execution: String,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// Every decision called for another one.
    #[error("execution {execution} needs a new decision after each of {ROUNDS}")]
    Unsettled {
        /// `namespace/name`.
        execution: String,
    },
}

/// Reconciles what is requested, until there are no more requests; what was begun is finished.
pub async fn run<E>(
    context: Arc<Context>,
    requests: impl Stream<Item = Result<ReconcileRequest<WorkflowExecution>, E>>,
) where
    E: std::error::Error + 'static,
{
    let executions = context.executions.store.clone();
    let reconciliations = applier(
        |execution, context| Box::pin(reconcile(execution, context)),
        after_error,
        Arc::clone(&context),
        executions,
        requests,
        Config::default().concurrency(CONCURRENCY),
    );
    reconciliations
        .for_each(|outcome| {
            // Failed reconciliations are reported, and repeated, by `after_error`.
            if let Err(ApplierError::ObjectNotFound(gone)) = outcome {
                let namespace = gone.namespace.unwrap_or_default();
                context.requests.taken(&ObjectRef::new(&gone.name).within(&namespace));
            }
            std::future::ready(())
        })
        .await;
}

/// One reconciliation, in a span that names the execution and its trace.
async fn reconcile(execution: Arc<WorkflowExecution>, context: Arc<Context>) -> Result<Next, Error> {
    let reference = reference(&execution);
    context.requests.taken(&reference);
    // What changes from here on is requested anew; what changed before must be seen now.
    let execution = context.executions.store.get(&reference).unwrap_or(execution);
    let uid = execution.metadata.uid.as_deref().unwrap_or_default();
    let span = tracing::info_span!("reconcile", execution = key(&execution), trace_id = trace::of(uid));
    let exported = tracing::info_span!(
        target: telemetry::SPANS,
        "reconcile",
        otel.status_code = field::Empty,
        otel.status_description = field::Empty,
    );
    if !exported.is_disabled() {
        telemetry::adopt(&exported, &trace::parent(uid));
    }
    let started = Instant::now();
    let outcome = settle(&execution, &context).instrument(span).instrument(exported.clone()).await;
    if let Err(error) = &outcome {
        exported.record("otel.status_code", "ERROR").record("otel.status_description", crate::chain(error));
    }
    context.metrics.reconciled(outcome.as_ref().err(), started.elapsed());
    outcome
}

/// Brings one execution as far as it can get now.
async fn settle(execution: &WorkflowExecution, context: &Context) -> Result<Next, Error> {
    let mut execution = execution.clone();
    let mut refusal = None;
    let mut trust = Trust::Watch;
    let mut current = false;
    for _ in 0..ROUNDS {
        let observed = observe::observe(context, &execution, refusal.take(), &trust).await?;
        let decision = decide::decide(&observed, &context.settings, Timestamp::now());
        match act::act(context, &execution, decision.actions, current).await? {
            Effect::Done => return Ok(decision.requeue.map_or_else(Next::await_change, requeue)),
            Effect::Changed(changed) => (execution, current) = (*changed, true),
            // Sooner than the watch shows it.
            Effect::ChildCreated(child) => trust = Trust::Answer(child),
            Effect::ChildExists => trust = Trust::Server,
            Effect::ChildRefused(reason) => refusal = Some(reason),
            Effect::EngineGone => {}
            Effect::OutboxFull => return Ok(Next::requeue(OUTBOX_AGAIN)),
        }
    }
    Err(Error::Unsettled { execution: key(&execution) })
}

/// What to do after a failed reconciliation.
fn after_error(execution: Arc<WorkflowExecution>, error: &Error, _: Arc<Context>) -> Next {
    match error {
        // The watch is about to deliver the change; this is for the case that it already has.
        Error::Changed { .. } => Next::requeue(Duration::from_millis(200)),
        Error::Api { .. } | Error::Unsettled { .. } => {
            tracing::warn!(execution = key(&execution), error = %crate::chain(error), "reconciliation failed");
            Next::requeue(Duration::from_secs(2))
        }
    }
}

/// Never early: a timer that fires before its time would find nothing to do.
fn requeue(after: SignedDuration) -> Next {
    Next::requeue(after.unsigned_abs() + Duration::from_millis(5))
}

fn key(execution: &WorkflowExecution) -> String {
    format!("{}/{}", execution.namespace().unwrap_or_default(), execution.name_any())
}

fn reference(execution: &WorkflowExecution) -> ObjectRef<WorkflowExecution> {
    ObjectRef::from_obj(execution)
}
