//! Reconciliation of one execution: observe, decide, act. Only the first and the last do IO.

pub mod observed;

mod observe;

pub mod decide;

mod act;

pub mod conditions;
pub mod failure;
pub mod transition;

use std::sync::Arc;
use std::time::Duration;

use api::workflow_execution::WorkflowExecution;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::controller::Action as Next;
use kube::runtime::events::Recorder;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};

use crate::engines::job::Place;
use crate::metrics::Metrics;
use crate::outbox::sender::Outbox;
use act::Effect;
use decide::Settings;
use observe::Trust;

/// Creating the child and putting on the finalizer are followed by another decision at once; more rounds mean a defect.
const ROUNDS: usize = 5;

/// What reconciliations share.
pub struct Context {
    /// Client of the API server.
    pub client: Client,
    /// Every execution, as watched.
    pub executions: Store<WorkflowExecution>,
    /// Every Job that runs a workflow, as watched.
    pub jobs: Store<Job>,
    /// Every pod of these Jobs, as watched.
    pub pods: Store<Pod>,
    /// Chosen by the operator.
    pub settings: Settings,
    /// Where workflows run.
    pub place: Place,
    /// Where audit events go.
    pub outbox: Outbox,
    /// Where numbers go.
    pub metrics: Metrics,
    /// Where Kubernetes events go.
    pub recorder: Recorder,
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

/// Brings one execution as far as it can get now.
pub async fn reconcile(execution: Arc<WorkflowExecution>, context: Arc<Context>) -> Result<Next, Error> {
    let mut execution = WorkflowExecution::clone(&execution);
    let mut refusal = None;
    let mut trust = Trust::Watch;
    for _ in 0..ROUNDS {
        let observed = observe::observe(&context, &execution, refusal.take(), trust).await?;
        let decision = decide::decide(&observed, &context.settings, Timestamp::now());
        match act::act(&context, &execution, decision.actions).await? {
            Effect::Done => return Ok(decision.requeue.map_or_else(Next::await_change, requeue)),
            Effect::Changed(changed) => execution = *changed,
            // Sooner than the watch shows it.
            Effect::ChildCreated => trust = Trust::Server,
            Effect::ChildRefused(reason) => refusal = Some(reason),
        }
    }
    Err(Error::Unsettled { execution: key(&execution) })
}

/// What to do after a failed reconciliation.
pub fn after_error(execution: Arc<WorkflowExecution>, error: &Error, _: Arc<Context>) -> Next {
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
