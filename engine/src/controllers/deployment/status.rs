//! A Deployment's status and conditions, with upstream's reasons and messages.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::rollout::{available, desired, limits, wanted};
use crate::controllers::pods::until;

/// The counts and the condition Available; Progressing and ReplicaFailure are kept as they were.
pub(super) fn counted(
    deployment: &Deployment,
    new: Option<&Arc<ReplicaSet>>,
    all: &[Arc<ReplicaSet>],
    now: Timestamp,
) -> DeploymentStatus {
    let before = deployment.status.clone().unwrap_or_default();
    let sum = |count: fn(&ReplicaSet) -> i32| all.iter().map(|set| count(set)).sum::<i32>();
    let unless_zero = |count: i32| (count != 0).then_some(count);
    let available_replicas = sum(available);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: unless_zero(sum(replicas)),
        updated_replicas: unless_zero(new.map_or(0, |set| replicas(set))),
        ready_replicas: unless_zero(sum(ready)),
        available_replicas: unless_zero(available_replicas),
        unavailable_replicas: unless_zero((sum(wanted) - available_replicas).max(0)),
        collision_count: before.collision_count,
        conditions: before.conditions,
        ..DeploymentStatus::default()
    };
    let enough = available_replicas >= desired(deployment) - limits(deployment).max_unavailable;
    let condition = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set(&mut status, "Available", condition.0, condition.1, condition.2, now);
    let failure = all.iter().find_map(|set| {
        set.status
            .as_ref()?
            .conditions
            .as_ref()?
            .iter()
            .find(|condition| condition.type_ == "ReplicaFailure")
            .cloned()
    });
    match failure {
        Some(failure) => {
            let (reason, message) = (failure.reason.unwrap_or_default(), failure.message.unwrap_or_default());
            set(&mut status, "ReplicaFailure", &failure.status, &reason, &message, now);
        }
        None => remove(&mut status, "ReplicaFailure"),
    }
    status
}

fn replicas(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

fn ready(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)
}

pub(super) fn get<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_)
}

fn remove(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != type_);
    }
}

/// Sets a condition unless status and reason are already so; the transition time moves only with the status.
pub(super) fn set(
    status: &mut DeploymentStatus,
    type_: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let before = get(status, type_);
    if before.is_some_and(|before| before.status == value && before.reason.as_deref() == Some(reason)) {
        return;
    }
    let since = before
        .filter(|before| before.status == value)
        .and_then(|before| before.last_transition_time.clone())
        .unwrap_or(Time(now));
    remove(status, type_);
    status.conditions.get_or_insert_default().push(DeploymentCondition {
        type_: type_.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(since),
        last_update_time: Some(Time(now)),
    });
}

/// Whether everything runs the current template and nothing else is left.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let desired = desired(deployment);
    let count = |value: Option<i32>| value.unwrap_or(0);
    count(status.updated_replicas) == desired
        && count(status.replicas) == desired
        && count(status.available_replicas) == desired
}

/// The condition Progressing, and when the progress deadline has to be looked at (upstream's `syncRolloutStatus`).
pub(super) fn progress(
    deployment: &Deployment,
    new: Option<&Arc<ReplicaSet>>,
    status: &mut DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let deadline = deployment.spec.as_ref().and_then(|spec| spec.progress_deadline_seconds)?;
    let subject = new.map_or_else(
        || format!("Deployment \"{}\"", deployment.name_any()),
        |set| format!("ReplicaSet \"{}\"", set.name_any()),
    );
    let count = |value: Option<i32>| value.unwrap_or(0);
    let current = get(status, "Progressing").cloned();
    let was_complete = current.as_ref().and_then(|condition| condition.reason.as_deref())
        == Some("NewReplicaSetAvailable")
        && count(status.replicas) == count(status.updated_replicas);
    if was_complete {
        return None;
    }
    if is_complete(deployment, status) {
        let message = format!("{subject} has successfully progressed.");
        set(status, "Progressing", "True", "NewReplicaSetAvailable", &message, now);
        return None;
    }
    let before = deployment.status.clone().unwrap_or_default();
    let old_left = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    let moved = count(status.updated_replicas) > count(before.updated_replicas)
        || old_left(status) < old_left(&before)
        || count(status.ready_replicas) > count(before.ready_replicas)
        || count(status.available_replicas) > count(before.available_replicas);
    if moved {
        let message = format!("{subject} is progressing.");
        set(status, "Progressing", "True", "ReplicaSetUpdated", &message, now);
        let conditions = status.conditions.as_mut();
        let condition = conditions.and_then(|all| all.iter_mut().find(|one| one.type_ == "Progressing"));
        // The deadline counts from the last progress.
        if let Some(condition) = condition {
            condition.last_update_time = Some(Time(now));
        }
    }
    let current = get(status, "Progressing")?;
    if matches!(current.reason.as_deref(), Some("NewReplicaSetAvailable" | "ProgressDeadlineExceeded")) {
        return None;
    }
    let since = current.last_update_time.as_ref().map_or(now, |time| time.0);
    match until(since, i64::from(deadline), now) {
        Some(left) => Some(left + Duration::from_secs(1)),
        None => {
            let message = format!("{subject} has timed out progressing.");
            set(status, "Progressing", "False", "ProgressDeadlineExceeded", &message, now);
            None
        }
    }
}
