//! Watches: which executions to look at again when something changes. Progress never depends on polling.

use std::sync::Arc;

use api::names;
use api::workflow_execution::{Phase, WorkflowExecution};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, future};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::controller::{Config, ReconcileRequest};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, applier, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::mpsc;

use crate::reconcile::{self, Context};

/// Reconciliations at the same time.
const CONCURRENCY: u16 = 32;

/// What the watches deliver, and the request each delivery makes.
pub struct Watches {
    /// Every execution.
    pub executions: Store<WorkflowExecution>,
    /// Every Job that runs a workflow.
    pub jobs: Store<Job>,
    /// Every pod of these Jobs.
    pub pods: Store<Pod>,
    queue: BoxStream<'static, Result<ReconcileRequest<WorkflowExecution>, watcher::Error>>,
}

/// Watches executions in all namespaces, children in `namespace`, and the outbox by `acknowledged`.
pub fn watches(
    client: &Client,
    namespace: &str,
    mut acknowledged: mpsc::UnboundedReceiver<ObjectRef<WorkflowExecution>>,
) -> Watches {
    let (executions, executions_writer) = reflector::store();
    let (jobs, jobs_writer) = reflector::store();
    let (pods, pods_writer) = reflector::store();
    let children = watcher::Config::default().labels(names::LABEL_EXECUTION);

    let execution_changes =
        watcher(Api::<WorkflowExecution>::all(client.clone()), watcher::Config::default()).default_backoff();
    let job_changes =
        watcher(Api::<Job>::namespaced(client.clone(), namespace), children.clone()).default_backoff();
    let pod_changes = watcher(Api::<Pod>::namespaced(client.clone(), namespace), children).default_backoff();

    let known = executions.clone();
    let by_execution =
        requests(execution_changes.reflect(executions_writer), move |execution: WorkflowExecution| {
            // Only an end, a clearance or a deletion can free the target for others.
            let ended = execution.phase().is_terminal() || execution.metadata.deletion_timestamp.is_some();
            let target = &execution.spec.target_resource;
            let others = if ended { waiting_for(&known, target) } else { Vec::new() };
            [ObjectRef::from_obj(&execution)].into_iter().chain(others).collect()
        });
    let known = executions.clone();
    let by_job = requests(job_changes.modify(strip).reflect(jobs_writer), move |job: Job| {
        let target = job.annotations().get(names::ANNOTATION_TARGET).cloned().unwrap_or_default();
        owner(&job).into_iter().chain(waiting_for(&known, &target)).collect()
    });
    let by_pod = requests(pod_changes.modify(strip).reflect(pods_writer), |pod: Pod| {
        owner(&pod).into_iter().collect()
    });
    let by_outbox =
        stream::poll_fn(move |context| acknowledged.poll_recv(context)).map(|execution| Ok(execution.into()));

    let queue = stream::select_all([by_execution, by_job, by_pod, by_outbox.boxed()]).boxed();
    Watches { executions, jobs, pods, queue }
}

impl Watches {
    /// Reconciles until the process ends.
    pub async fn run(self, context: Arc<Context>) {
        let config = Config::default().concurrency(CONCURRENCY);
        let reconciliations = applier(
            |execution, context| Box::pin(reconcile::reconcile(execution, context)),
            reconcile::after_error,
            context,
            self.executions,
            self.queue,
            config,
        );
        // Failed reconciliations are reported, and repeated, by `after_error`.
        reconciliations.for_each(|_| future::ready(())).await;
    }
}

/// Requests for each change. A watch that fails says so and is restarted by its back-off.
fn requests<K>(
    changes: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + 'static,
    concerned: impl Fn(K) -> Vec<ObjectRef<WorkflowExecution>> + Send + 'static,
) -> BoxStream<'static, Result<ReconcileRequest<WorkflowExecution>, watcher::Error>>
where
    K: Send + 'static,
{
    let requests = changes.touched_objects().flat_map(move |change| match change {
        Ok(object) => stream::iter(concerned(object)).map(|execution| Ok(execution.into())).boxed(),
        Err(error) => {
            tracing::warn!(error = %crate::chain(&error), "a watch failed and will be restarted");
            stream::empty().boxed()
        }
    });
    requests.boxed()
}

/// Executions that may wait for `target`.
fn waiting_for(executions: &Store<WorkflowExecution>, target: &str) -> Vec<ObjectRef<WorkflowExecution>> {
    let all = executions.state();
    let waiting =
        all.iter().filter(|other| other.spec.target_resource == target && other.phase() == Phase::Pending);
    waiting.map(|other| ObjectRef::from_obj(other.as_ref())).collect()
}

/// The execution a child runs for.
fn owner<K: Resource>(child: &K) -> Option<ObjectRef<WorkflowExecution>> {
    let namespace = child.labels().get(names::LABEL_SOURCE_NAMESPACE)?;
    let name = child.annotations().get(names::ANNOTATION_EXECUTION)?;
    Some(ObjectRef::new(name).within(namespace))
}

/// Nobody here asks who wrote which field.
fn strip<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}
