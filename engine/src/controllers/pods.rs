//! Facts about pods that several controllers decide by, and pods made from a template.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

/// The owner reference of a managing controller.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Key of the managing controller when it is of kind `K`.
pub(crate) fn controller_key<K>(object: &impl Resource) -> Option<super::cache::Key>
where
    K: Resource<DynamicType = ()>,
{
    let owner = controller_of(object)?;
    let same_group = owner.api_version.rsplit_once('/').map_or("", |(group, _)| group) == K::group(&());
    (same_group && owner.kind == K::kind(&()))
        .then(|| super::cache::Key::new(object.namespace().unwrap_or_default(), owner.name.clone()))
}

/// The managing controller.
pub(crate) fn controller_of(object: &impl Resource) -> Option<&OwnerReference> {
    object.meta().owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// A pod as `template` says, owned by `owner`, its name made by the API server from `<owner>-`.
pub(crate) fn from_template<K: Resource<DynamicType = ()>>(owner: &K, template: &PodTemplateSpec) -> Pod {
    let metadata = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", owner.name_any())),
            namespace: owner.namespace(),
            labels: metadata.labels,
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            owner_references: Some(vec![controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

pub(crate) fn labels(object: &impl Resource) -> &BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    object.meta().labels.as_ref().unwrap_or(&NONE)
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// Ended for good.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

pub(crate) fn is_terminating(object: &impl Resource) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// Neither ended nor being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !is_terminating(pod)
}

pub(crate) fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_)
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// When a pod counts as available: ready for `min_ready_seconds`.
pub(crate) enum Availability {
    /// It is.
    Now,
    /// It will be after this time, if it stays ready.
    After(Duration),
    /// It is not ready.
    Never,
}

pub(crate) fn availability(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Availability {
    let Some(ready) = condition(pod, "Ready").filter(|ready| ready.status == "True") else {
        return Availability::Never;
    };
    let since = ready.last_transition_time.as_ref().map_or(now, |time| time.0);
    match until(since, i64::from(min_ready_seconds), now) {
        None => Availability::Now,
        Some(rest) => Availability::After(rest),
    }
}

/// Time left until `seconds` after `since`, `None` when it has passed.
pub(crate) fn until(since: Timestamp, seconds: i64, now: Timestamp) -> Option<Duration> {
    let left = since.as_millisecond() + seconds.saturating_mul(1000) - now.as_millisecond();
    u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_millis)
}

/// The shorter of two optional waits.
pub(crate) fn sooner(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Sum of the restarts of all containers.
pub(crate) fn restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let init = status.and_then(|status| status.init_container_statuses.as_ref()).into_iter().flatten();
    containers.chain(init).map(|container| container.restart_count).sum()
}

/// Order in which a controller that has too many pods removes them: least useful first, as upstream's `ActivePodsWithRanks`.
pub(crate) fn least_useful_first(pod: &Pod) -> impl Ord + use<> {
    let assigned = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let progress = match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let ready_since = condition(pod, "Ready")
        .filter(|ready| ready.status == "True")
        .and_then(|ready| ready.last_transition_time.clone());
    let cost: i64 = pod
        .annotations()
        .get("controller.kubernetes.io/pod-deletion-cost")
        .and_then(|cost| cost.parse().ok())
        .unwrap_or(0);
    let newest_first = |time: Option<Timestamp>| std::cmp::Reverse(time.map_or(0, Timestamp::as_second));
    (
        assigned,
        progress,
        is_ready(pod),
        cost,
        newest_first(ready_since.map(|time| time.0)),
        std::cmp::Reverse(restarts(pod)),
        newest_first(pod.creation_timestamp().map(|time| time.0)),
        pod.name_any(),
    )
}
