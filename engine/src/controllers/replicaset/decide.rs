//! What a ReplicaSet needs, from what is there.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;

use crate::controllers::pods::{
    Availability, availability, is_active, is_ready, is_terminating, labels, least_useful_first, sooner,
};
use crate::controllers::selector;

/// Most pods created or deleted at once, as upstream's burst.
const BURST: usize = 500;

/// One moment of a ReplicaSet and its pods.
pub(super) struct Observed {
    pub replica_set: Arc<ReplicaSet>,
    /// Pods whose controller it is.
    pub owned: Vec<Arc<Pod>>,
    /// Pods of the namespace without a controller.
    pub orphans: Vec<Arc<Pod>>,
    pub now: Timestamp,
}

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub adopt: Vec<Arc<Pod>>,
    pub release: Vec<Arc<Pod>>,
    pub create: usize,
    pub delete: Vec<Arc<Pod>>,
    pub status: ReplicaSetStatus,
    /// When a pod becomes available only by time passing.
    pub look_again: Option<Duration>,
}

/// The decision; pure.
pub(super) fn decide(observed: &Observed) -> Plan {
    let Observed { replica_set, owned, orphans, now } = observed;
    let Some(spec) = replica_set.spec.as_ref() else { return Plan::default() };
    let matching = |pod: &&Arc<Pod>| selector::matches(&spec.selector, labels(&***pod));
    let leaving = is_terminating(&**replica_set);
    let mut plan = Plan::default();
    if !leaving {
        plan.adopt = orphans.iter().filter(matching).filter(|pod| is_active(pod)).cloned().collect();
        plan.release = owned.iter().filter(|pod| !matching(pod) && is_active(pod)).cloned().collect();
    }
    let mut active: Vec<Arc<Pod>> =
        owned.iter().filter(matching).filter(|pod| is_active(pod)).cloned().collect();
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    plan.status = status(replica_set, &active, *now, &mut plan.look_again);
    if !leaving {
        plan.create = wanted.saturating_sub(active.len()).min(BURST);
        let surplus = active.len().saturating_sub(wanted).min(BURST);
        active.sort_by_cached_key(|pod| least_useful_first(pod));
        plan.delete = active.into_iter().take(surplus).collect();
    }
    plan
}

fn status(
    replica_set: &ReplicaSet,
    active: &[Arc<Pod>],
    now: Timestamp,
    look_again: &mut Option<Duration>,
) -> ReplicaSetStatus {
    let spec = replica_set.spec.clone().unwrap_or_default();
    let template_labels = spec
        .template
        .as_ref()
        .and_then(|template| template.metadata.as_ref()?.labels.clone())
        .unwrap_or_default();
    let mut status = ReplicaSetStatus {
        observed_generation: replica_set.metadata.generation,
        conditions: replica_set.status.as_ref().and_then(|status| status.conditions.clone()),
        ..ReplicaSetStatus::default()
    };
    let (mut labelled, mut ready, mut available) = (0, 0, 0);
    for pod in active {
        status.replicas += 1;
        labelled += i32::from(selector::matches_all(Some(&template_labels), labels(&**pod)));
        ready += i32::from(is_ready(pod));
        match availability(pod, spec.min_ready_seconds.unwrap_or(0), now) {
            Availability::Now => available += 1,
            Availability::After(wait) => *look_again = sooner(*look_again, Some(wait)),
            Availability::Never => {}
        }
    }
    let unless_zero = |count: i32| (count != 0).then_some(count);
    status.fully_labeled_replicas = unless_zero(labelled);
    status.ready_replicas = unless_zero(ready);
    status.available_replicas = unless_zero(available);
    status
}

/// Sets or clears the condition ReplicaFailure; an unchanged one keeps its time.
pub(super) fn with_failure(
    mut status: ReplicaSetStatus,
    replica_set: &ReplicaSet,
    failure: Option<ReplicaSetCondition>,
) -> ReplicaSetStatus {
    let mut conditions = status.conditions.take().unwrap_or_default();
    let before =
        replica_set.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let same = before.into_iter().any(|condition| {
        failure.as_ref().is_some_and(|failure| {
            (&condition.type_, &condition.status, &condition.reason)
                == (&failure.type_, &failure.status, &failure.reason)
        })
    });
    if !same {
        conditions.retain(|condition| condition.type_ != "ReplicaFailure");
        conditions.extend(failure);
    }
    status.conditions = (!conditions.is_empty()).then_some(conditions);
    status
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
