//! Reads how a Job and its pods are doing.

use api::names;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use crate::reconcile::observed::{Child, ChildFailure, ChildState, FailedTask, Owner};

/// Reasons for which a container waits that do not go away by themselves within a useful time.
const STUCK: [&str; 6] = [
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// Namespace, name and uid of the execution that `job` says it runs for.
pub fn owner(job: &Job) -> Option<(&str, &str, &str)> {
    let annotations = job.annotations();
    let namespace = job.labels().get(names::LABEL_SOURCE_NAMESPACE)?;
    let name = annotations.get(names::ANNOTATION_EXECUTION)?;
    let uid = annotations.get(names::ANNOTATION_EXECUTION_UID)?;
    Some((namespace, name, uid))
}

/// How `job` is doing. `pods` may hold other Jobs' pods.
pub fn read(job: &Job, owner: Owner, pods: &[Pod]) -> Child {
    let uid = job.uid().unwrap_or_default();
    let pods: Vec<&Pod> = pods
        .iter()
        .filter(|pod| pod.owner_references().iter().any(|reference| reference.uid == uid))
        .collect();
    Child {
        name: job.name_any(),
        created: job.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        owner,
        deleting: job.metadata.deletion_timestamp.is_some(),
        state: state(job, &pods),
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
        return ChildState::Failed(ChildFailure {
            reason: failed.reason.clone().unwrap_or_default(),
            message: failed.message.clone().unwrap_or_default(),
            task: pods.iter().filter_map(|pod| failed_task(pod)).next_back(),
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

/// The failed container of a failed pod, or the pod itself if it failed without one (evicted, for example).
fn failed_task(pod: &Pod) -> Option<FailedTask> {
    let status = pod.status.as_ref()?;
    let terminated = containers(pod).find_map(|container| {
        let terminated = container.state.as_ref()?.terminated.as_ref()?;
        (terminated.exit_code != 0).then_some((container, terminated))
    });
    let Some((container, terminated)) = terminated else {
        let unscheduled = status.start_time.is_none() && containers(pod).next().is_none();
        return Some(FailedTask {
            name: pod.name_any(),
            ran: !unscheduled && containers(pod).any(has_run),
            reason: status.reason.clone().unwrap_or_default(),
            message: status.message.clone().unwrap_or_default(),
            ..FailedTask::default()
        });
    };
    let reason = terminated.reason.clone().unwrap_or_default();
    Some(FailedTask {
        name: pod.name_any(),
        step: Some(container.name.clone()),
        // The runtime could not even start the process.
        ran: !matches!(reason.as_str(), "StartError" | "ContainerCannotRun"),
        exit_code: Some(terminated.exit_code),
        reason,
        message: terminated.message.clone().unwrap_or_default(),
    })
}
