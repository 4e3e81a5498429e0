//! Reads how a Job and its pods are doing.

use api::workflow_execution::ExecutionEngine;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use crate::reconcile::observed::{Child, ChildFailure, ChildState, FailedTask, Owner, Progress};

/// Reasons for which a container waits that do not go away by themselves within a useful time.
const STUCK: [&str; 6] = [
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// How `job` is doing. `pods` may hold other Jobs' pods.
pub fn read(job: &Job, owner: Owner, pods: &[Pod]) -> Child {
    let uid = job.uid().unwrap_or_default();
    let pods: Vec<&Pod> = pods
        .iter()
        .filter(|pod| pod.owner_references().iter().any(|reference| reference.uid == uid))
        .collect();
    let state = state(job, &pods);
    Child {
        engine: ExecutionEngine::Job,
        name: job.name_any(),
        created: job.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        owner,
        deleting: job.metadata.deletion_timestamp.is_some(),
        progress: Progress { completed: usize::from(state.is_finished()), total: 1 },
        state,
        uid,
    }
}

fn state(job: &Job, pods: &[&Pod]) -> ChildState {
    let status = job.status.clone().unwrap_or_default();
    let condition = |kind: &str| {
        let conditions = status.conditions.iter().flatten();
        conditions.into_iter().find(|condition| condition.type_ == kind && condition.status == "True")
    };
    if condition("Complete").is_some() {
        return ChildState::Succeeded { at: status.completion_time.as_ref().map(|time| time.0) };
    }
    if let Some(failed) = condition("Failed") {
        // A pod that can no longer be seen may have run.
        let (task, ran) = match pods.iter().filter_map(|pod| failed_task(pod)).next_back() {
            Some((task, ran)) => (Some(task), ran),
            None => (None, true),
        };
        return ChildState::Failed(ChildFailure {
            reason: failed.reason.clone().unwrap_or_default(),
            message: failed.message.clone().unwrap_or_default(),
            ran,
            task,
        });
    }
    if let Some((reason, message)) = pods.iter().find_map(|pod| stuck(pod)) {
        return ChildState::Stuck { reason, message };
    }
    let running = pods.iter().any(|pod| containers(pod).any(has_run));
    if running || status.ready.is_some_and(|ready| ready > 0) {
        ChildState::Started
    } else {
        ChildState::Created
    }
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten())
}

fn has_run(container: &ContainerStatus) -> bool {
    let state = container.state.as_ref();
    state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
}

fn stuck(pod: &Pod) -> Option<(String, String)> {
    containers(pod).find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().filter(|reason| STUCK.contains(reason))?;
        Some((reason.to_owned(), waiting.message.clone().unwrap_or_default()))
    })
}

/// The failed container of a failed pod, or the pod itself if it failed without one (evicted, for example); and whether the
/// workflow's process was started.
fn failed_task(pod: &Pod) -> Option<(FailedTask, bool)> {
    let status = pod.status.as_ref()?;
    let terminated = containers(pod).find_map(|container| {
        let terminated = container.state.as_ref()?.terminated.as_ref()?;
        (terminated.exit_code != 0).then_some((container, terminated))
    });
    let Some((container, terminated)) = terminated else {
        let unscheduled = status.start_time.is_none() && containers(pod).next().is_none();
        let task = FailedTask {
            name: pod.name_any(),
            reason: status.reason.clone().unwrap_or_default(),
            message: status.message.clone().unwrap_or_default(),
            ..FailedTask::default()
        };
        return Some((task, !unscheduled && containers(pod).any(has_run)));
    };
    let reason = terminated.reason.clone().unwrap_or_default();
    // The runtime could not even start the process.
    let ran = !matches!(reason.as_str(), "StartError" | "ContainerCannotRun");
    let task = FailedTask {
        index: 0,
        name: pod.name_any(),
        step: Some(container.name.clone()),
        exit_code: Some(terminated.exit_code),
        reason,
        message: terminated.message.clone().unwrap_or_default(),
    };
    Some((task, ran))
}
