//! What a Deployment needs next, from what is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::rollout::{self, Scale, desired, is_recreate, limits, new_set_size, wanted};
use super::status;
use super::template::{HASH_LABEL, find_new, hash};
use crate::controllers::pods::{controller_of, controller_reference, is_finished, is_terminating, labels};
use crate::controllers::selector;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of the Deployment that its ReplicaSets do not take over.
const NOT_COPIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
];

/// One moment of a Deployment.
pub(super) struct Observed {
    pub deployment: Arc<Deployment>,
    /// ReplicaSets whose controller it is.
    pub owned: Vec<Arc<ReplicaSet>>,
    /// ReplicaSets of the namespace without a controller.
    pub orphans: Vec<Arc<ReplicaSet>>,
    /// Pods of the owned ReplicaSets.
    pub pods: Vec<Arc<Pod>>,
    pub now: Timestamp,
}

/// One write.
#[derive(Debug)]
pub(super) enum Step {
    Adopt(Arc<ReplicaSet>),
    Release(Arc<ReplicaSet>),
    Create(Box<ReplicaSet>),
    Annotate(Arc<ReplicaSet>, BTreeMap<String, String>),
    Scale(Scale),
    Delete(Arc<ReplicaSet>),
}

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub steps: Vec<Step>,
    /// Revision the Deployment's annotation should show.
    pub revision: Option<String>,
    pub status: DeploymentStatus,
    /// When the progress deadline has to be looked at.
    pub look_again: Option<Duration>,
}

/// The decision; pure.
pub(super) fn decide(observed: &Observed) -> Plan {
    let Observed { deployment, owned, orphans, pods, now } = observed;
    let Some(spec) = deployment.spec.as_ref() else { return Plan::default() };
    let new = find_new(deployment, owned);
    let mut plan = Plan { status: status::counted(deployment, new.as_ref(), owned, *now), ..Plan::default() };
    if is_terminating(&**deployment) {
        return plan;
    }
    let matching = |set: &Arc<ReplicaSet>| selector::matches(&spec.selector, labels(&**set));
    plan.steps.extend(
        orphans.iter().filter(|set| matching(set) && !is_terminating(&***set)).cloned().map(Step::Adopt),
    );
    plan.steps.extend(owned.iter().filter(|set| !matching(set)).cloned().map(Step::Release));
    if !plan.steps.is_empty() {
        return plan;
    }
    let old: Vec<Arc<ReplicaSet>> =
        owned.iter().filter(|set| new.as_ref().is_none_or(|new| new.uid() != set.uid())).cloned().collect();
    if spec.paused == Some(true) {
        pause(deployment, owned, &mut plan, *now);
        return plan;
    }
    let revision = (old.iter().map(|set| revision(set)).max().unwrap_or(0) + 1).to_string();
    let Some(new) = new else {
        if is_recreate(deployment) && (stop(&old, &mut plan) || any_running(&old, pods)) {
            plan.look_again = status::progress(deployment, None, &mut plan.status, *now);
            return plan;
        }
        let set = new_set(deployment, owned, &revision);
        if spec.progress_deadline_seconds.is_some() {
            let message = format!("Created new replica set \"{}\"", set.name_any());
            status::set(&mut plan.status, "Progressing", "True", "NewReplicaSetCreated", &message, *now);
        }
        plan.steps.push(Step::Create(Box::new(set)));
        plan.revision = Some(revision);
        return plan;
    };
    let annotations = annotations(deployment, &new, &revision);
    plan.revision = annotations.get(REVISION).cloned();
    if annotations.iter().any(|(key, value)| new.annotations().get(key) != Some(value)) {
        plan.steps.push(Step::Annotate(new.clone(), annotations));
    }
    if spec.progress_deadline_seconds.is_some() && status::get(&plan.status, "Progressing").is_none() {
        let message = format!("Found new replica set \"{}\"", new.name_any());
        status::set(&mut plan.status, "Progressing", "True", "FoundNewReplicaSet", &message, *now);
    }
    if !is_recreate(deployment) {
        plan.steps.extend(rollout::rolling(deployment, &new, &old).into_iter().map(Step::Scale));
    } else if !stop(&old, &mut plan) && wanted(&new) != desired(deployment) && !any_running(&old, pods) {
        plan.steps.push(Step::Scale(Scale { set: new.clone(), to: desired(deployment) }));
    }
    if status::is_complete(deployment, &plan.status) {
        forget(spec.revision_history_limit.unwrap_or(10), &old, &mut plan);
    }
    plan.look_again = status::progress(deployment, Some(&new), &mut plan.status, *now);
    plan
}

/// Takes every old ReplicaSet to zero; whether there was anything to take.
fn stop(old: &[Arc<ReplicaSet>], plan: &mut Plan) -> bool {
    let running: Vec<_> = old.iter().filter(|set| wanted(set) > 0).cloned().collect();
    let any = !running.is_empty();
    plan.steps.extend(running.into_iter().map(|set| Step::Scale(Scale { set, to: 0 })));
    any
}

fn any_running(old: &[Arc<ReplicaSet>], pods: &[Arc<Pod>]) -> bool {
    pods.iter().filter(|pod| !is_finished(pod)).any(|pod| {
        let owner = controller_of(&**pod).map(|owner| owner.uid.as_str());
        old.iter().any(|set| set.metadata.uid.as_deref() == owner)
    })
}

/// A paused Deployment still follows `spec.replicas`, with the one ReplicaSet that is active or else the newest.
fn pause(deployment: &Deployment, owned: &[Arc<ReplicaSet>], plan: &mut Plan, now: Timestamp) {
    let active: Vec<_> = owned.iter().filter(|set| wanted(set) > 0).collect();
    let newest = owned.iter().max_by_key(|set| revision(set));
    let only = match active.as_slice() {
        [] => newest,
        [one] => Some(*one),
        _ => None,
    };
    if let Some(set) = only.filter(|set| wanted(set) != desired(deployment)) {
        plan.steps.push(Step::Scale(Scale { set: set.clone(), to: desired(deployment) }));
    }
    let deadline = deployment.spec.as_ref().and_then(|spec| spec.progress_deadline_seconds);
    if deadline.is_some() {
        status::set(
            &mut plan.status,
            "Progressing",
            "Unknown",
            "DeploymentPaused",
            "Deployment is paused",
            now,
        );
    }
}

/// Removes the oldest idle ReplicaSets beyond the history limit.
fn forget(limit: i32, old: &[Arc<ReplicaSet>], plan: &mut Plan) {
    let mut idle: Vec<_> = old.iter().filter(|set| is_idle(set)).cloned().collect();
    idle.sort_by_key(|set| (revision(set), set.creation_timestamp()));
    let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    plan.steps.extend(idle.into_iter().take(surplus).map(Step::Delete));
}

fn is_idle(set: &ReplicaSet) -> bool {
    let status = set.status.clone().unwrap_or_default();
    wanted(set) == 0
        && status.replicas == 0
        && status.observed_generation >= set.metadata.generation
        && !is_terminating(set)
}

pub(super) fn revision(set: &ReplicaSet) -> i64 {
    set.annotations().get(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Annotations of the current ReplicaSet; its revision never goes down.
fn annotations(deployment: &Deployment, new: &ReplicaSet, next_revision: &str) -> BTreeMap<String, String> {
    let behind = revision(new) < next_revision.parse().unwrap_or(0);
    let revision = if behind { next_revision.to_owned() } else { revision(new).to_string() };
    set_annotations(deployment, revision)
}

fn set_annotations(deployment: &Deployment, revision: String) -> BTreeMap<String, String> {
    let mut annotations = deployment.annotations().clone();
    annotations.retain(|key, _| !NOT_COPIED.contains(&key.as_str()));
    let (desired, surge) = (desired(deployment), limits(deployment).max_surge);
    annotations.insert(REVISION.to_owned(), revision);
    annotations.insert(DESIRED.to_owned(), desired.to_string());
    annotations.insert(MAXIMUM.to_owned(), (desired + surge).to_string());
    annotations
}

fn new_set(deployment: &Deployment, all: &[Arc<ReplicaSet>], revision: &str) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = hash(&spec.template, collisions);
    let mut template = spec.template;
    let template_labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    template_labels.insert(HASH_LABEL.to_owned(), hash.clone());
    let labels = template_labels.clone();
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.clone());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            namespace: deployment.namespace(),
            labels: Some(labels),
            annotations: Some(set_annotations(deployment, revision.to_owned())),
            owner_references: Some(vec![controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(new_set_size(deployment, all, 0)),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
