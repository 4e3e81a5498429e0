//! Watches: what is known of the cluster, and which executions to look at again when something changes. They run in every replica;
//! only the one that leads turns what they see into work.

mod index;
mod requests;

pub use index::ByTarget;
pub use requests::Requests;

use api::names;
use api::workflow_execution::{Phase, WorkflowExecution};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::chain;
use crate::engines::served::Served;
use crate::engines::tekton::resource::{PipelineRun, TaskRun};

/// Children of every kind and their parts, as watched.
#[derive(Clone)]
pub struct Children {
    /// Every Job that runs a workflow.
    pub jobs: Store<Job>,
    /// Every pod of these Jobs, and of the TaskRuns.
    pub pods: ByTarget<Pod>,
    /// Every PipelineRun that runs a workflow.
    pub pipeline_runs: Store<PipelineRun>,
    /// Every TaskRun of these PipelineRuns.
    pub task_runs: ByTarget<TaskRun>,
}

/// What the watches know, and what they tell.
pub struct Watches {
    /// Every execution.
    pub executions: ByTarget<WorkflowExecution>,
    /// Every child.
    pub children: Children,
    served: Served,
    changes: BoxStream<'static, ObjectRef<WorkflowExecution>>,
}

/// Watches executions in all namespaces and children in `namespace`; those of Tekton once it is there.
pub fn watches(client: &Client, namespace: &str, served: &Served) -> Watches {
    let (executions, executions_writer) = reflector::store();
    let (jobs, jobs_writer) = reflector::store();
    let (pods, pods_writer) = reflector::store();
    let (pipeline_runs, pipeline_runs_writer) = reflector::store();
    let (task_runs, task_runs_writer) = reflector::store();

    let executions = ByTarget::new(executions, |execution: &WorkflowExecution| {
        Some(execution.spec.target_resource.as_str())
    });
    let pods = ByTarget::new(pods, target);
    let task_runs = ByTarget::new(task_runs, target);

    let all = Api::<WorkflowExecution>::all(client.clone());
    let execution_changes = watcher(all, watcher::Config::default()).default_backoff().modify(strip);
    let execution_changes = noted(execution_changes, executions.clone());
    let known = executions.clone();
    let by_execution = concerned(execution_changes.reflect(executions_writer), move |execution| {
        // Only an end, a clearance or a deletion can free the target for others.
        let ended = execution.phase().is_terminal() || execution.metadata.deletion_timestamp.is_some();
        let target = &execution.spec.target_resource;
        let others = if ended { waiting_for(&known, target) } else { Vec::new() };
        [ObjectRef::from_obj(&execution)].into_iter().chain(others).collect()
    });

    let jobs_changes = changes::<Job>(client, namespace).modify(|job| {
        strip(job);
        // Large, and the same as when it was made.
        job.spec = None;
    });
    let by_job = concerned(jobs_changes.reflect(jobs_writer), holder(executions.clone()));
    let pods_changes = changes::<Pod>(client, namespace).modify(|pod| {
        strip(pod);
        pod.spec = None;
    });
    let pods_changes = noted(pods_changes, pods.clone());
    let by_pod = concerned(pods_changes.reflect(pods_writer), |pod: Pod| owner(&pod).into_iter().collect());

    let run_changes = changes::<PipelineRun>(client, namespace).modify(|run| {
        strip(run);
        run.spec = Default::default();
    });
    let by_run = concerned(run_changes.reflect(pipeline_runs_writer), holder(executions.clone()));
    let task_changes = noted(changes::<TaskRun>(client, namespace).modify(strip), task_runs.clone());
    let by_task = concerned(task_changes.reflect(task_runs_writer), |task_run: TaskRun| {
        owner(&task_run).into_iter().collect()
    });
    let tekton = stream::select(by_run, by_task);
    let until = served.clone();
    let by_tekton = stream::once(async move { until.until_tekton().await }).flat_map({
        let mut tekton = Some(tekton);
        move |()| tekton.take().map_or_else(|| stream::empty().boxed(), StreamExt::boxed)
    });

    let changes = stream::select_all([by_execution, by_job, by_pod, by_tekton.boxed()]).boxed();
    let children = Children { jobs, pods, pipeline_runs, task_runs };
    Watches { executions, children, served: served.clone(), changes }
}

impl Watches {
    /// Keeps what is known current, and passes on what changes, for ever.
    pub async fn run(mut self, requests: Requests) {
        while let Some(execution) = self.changes.next().await {
            requests.push(execution);
        }
    }

    /// Waits until everything that exists is known. [`Watches::run`] has to run meanwhile.
    pub fn complete(&self) -> impl Future<Output = ()> + use<> {
        let (executions, served) = (self.executions.clone(), self.served.clone());
        let Children { jobs, pods, pipeline_runs, task_runs } = self.children.clone();
        async move {
            // They fail only when the watches have ended, and then nothing matters any more.
            let _ = tokio::join!(
                executions.store.wait_until_ready(),
                jobs.wait_until_ready(),
                pods.store.wait_until_ready()
            );
            if served.tekton() {
                let _ = tokio::join!(pipeline_runs.wait_until_ready(), task_runs.store.wait_until_ready());
            }
        }
    }
}

/// Changes of children of one kind, or of their parts: Jobs and Tekton hand their labels on to what they make.
fn changes<K>(
    client: &Client,
    namespace: &str,
) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + use<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let children = watcher::Config::default().labels(names::LABEL_EXECUTION);
    watcher(Api::namespaced(client.clone(), namespace), children).default_backoff()
}

/// The executions that each change concerns. A watch that fails says so and is restarted by its back-off.
fn concerned<K>(
    changes: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + 'static,
    concerned: impl Fn(K) -> Vec<ObjectRef<WorkflowExecution>> + Send + 'static,
) -> BoxStream<'static, ObjectRef<WorkflowExecution>>
where
    K: Send + 'static,
{
    let executions = changes.touched_objects().map(move |change| match change {
        Ok(object) => concerned(object),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "a watch failed and will be restarted");
            Vec::new()
        }
    });
    executions.flat_map(stream::iter).boxed()
}

/// Whoever a child runs for, and whoever waits for it to go.
fn holder<K: Resource>(
    executions: ByTarget<WorkflowExecution>,
) -> impl Fn(K) -> Vec<ObjectRef<WorkflowExecution>> {
    move |child| {
        let waiting = target(&child).map(|target| waiting_for(&executions, target)).unwrap_or_default();
        owner(&child).into_iter().chain(waiting).collect()
    }
}

/// Executions that may wait for `target`.
fn waiting_for(executions: &ByTarget<WorkflowExecution>, target: &str) -> Vec<ObjectRef<WorkflowExecution>> {
    let all = executions.about(target);
    let waiting = all.iter().filter(|other| other.phase() == Phase::Pending);
    waiting.map(|other| ObjectRef::from_obj(other.as_ref())).collect()
}

/// Tells `index` of changes before anybody else hears of them.
fn noted<K>(
    changes: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + 'static,
    index: ByTarget<K>,
) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    changes.inspect(move |change| {
        if let Ok(event) = change {
            index.note(event);
        }
    })
}

/// What a child or a part of it acts on.
fn target<K: Resource>(child: &K) -> Option<&str> {
    child.annotations().get(names::ANNOTATION_TARGET).map(String::as_str)
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
