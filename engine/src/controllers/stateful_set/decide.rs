//! What a StatefulSet needs next, from what is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodTemplateSpec};
use kube::ResourceExt;

use super::pod;
use crate::controllers::history::{self, Current, REVISION_LABEL};
use crate::controllers::pods::{
    Availability, availability, is_finished, is_ready, is_terminating, labels, phase, sooner,
};
use crate::controllers::selector;

/// One moment of a StatefulSet.
pub(super) struct Observed {
    pub set: Arc<StatefulSet>,
    /// Pods whose controller it is.
    pub pods: Vec<Arc<Pod>>,
    /// Pods of the namespace without a controller.
    pub orphans: Vec<Arc<Pod>>,
    /// Templates it has had.
    pub revisions: Vec<Arc<ControllerRevision>>,
    pub now: Timestamp,
}

/// One write.
#[derive(Debug)]
pub(super) enum Step {
    Adopt(Arc<Pod>),
    Create { pod: Box<Pod>, claims: Vec<PersistentVolumeClaim> },
    Delete(Arc<Pod>),
}

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The current template, to be recorded before any pod is made of it.
    pub revision: Option<Current>,
    pub steps: Vec<Step>,
    /// Templates to be forgotten.
    pub expired: Vec<Arc<ControllerRevision>>,
    pub status: StatefulSetStatus,
    /// When a pod becomes available only by time passing.
    pub look_again: Option<Duration>,
}

/// The decision; pure.
pub(super) fn decide(observed: &Observed) -> Plan {
    let Observed { set, pods, orphans, revisions, now } = observed;
    let Some(spec) = set.spec.as_ref() else { return Plan::default() };
    let own_labels = spec.selector.match_labels.clone().unwrap_or_default();
    let update = history::current(&**set, &spec.template, &own_labels, revisions);
    let revision = update.name();
    let mut plan = Plan { status: status(observed, spec, &revision), ..Plan::default() };
    if is_terminating(&**set) {
        return plan;
    }
    let adopt = orphans.iter().filter(|pod| {
        selector::matches(&spec.selector, labels(&***pod))
            && pod::ordinal(set, pod).is_some()
            && !is_terminating(&***pod)
    });
    plan.steps.extend(adopt.cloned().map(Step::Adopt));
    if plan.steps.is_empty() {
        let walk = Walk {
            set,
            spec,
            update: &revision,
            current: template_of(revisions, plan.status.current_revision.as_deref()),
            in_order: spec.pod_management_policy.as_deref() != Some("Parallel"),
            now: *now,
        };
        walk.walk(pods, &mut plan);
    }
    let used = |name: &str| {
        name == revision
            || plan.status.current_revision.as_deref() == Some(name)
            || pods.iter().any(|pod| revision_of(pod) == Some(name))
    };
    plan.expired = history::expired(revisions, spec.revision_history_limit, used);
    plan.revision = Some(update);
    plan
}

fn template_of(
    revisions: &[Arc<ControllerRevision>],
    name: Option<&str>,
) -> Option<(String, PodTemplateSpec)> {
    let found = revisions.iter().find(|one| Some(one.name_any().as_str()) == name)?;
    Some((found.name_any(), history::template(found)?))
}

fn revision_of(pod: &Pod) -> Option<&str> {
    labels(pod).get(REVISION_LABEL).map(String::as_str)
}

fn wanted(spec: &StatefulSetSpec) -> std::ops::Range<i32> {
    let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
    start..start.saturating_add(spec.replicas.unwrap_or(1))
}

/// First number that gets the new template, when pods are replaced at all.
fn first_updated(spec: &StatefulSetSpec) -> Option<i32> {
    let strategy = spec.update_strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
        return None;
    }
    let partition = strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.partition).unwrap_or(0);
    Some(wanted(spec).start.saturating_add(partition))
}

fn is_running_and_ready(pod: &Pod) -> bool {
    phase(pod) == "Running" && is_ready(pod)
}

/// One pass over the pods, which ends at the first one that the others have to wait for.
struct Walk<'a> {
    set: &'a StatefulSet,
    spec: &'a StatefulSetSpec,
    /// Name of the newest revision.
    update: &'a str,
    /// The revision that pods before the partition keep.
    current: Option<(String, PodTemplateSpec)>,
    in_order: bool,
    now: Timestamp,
}

impl Walk<'_> {
    fn walk(&self, pods: &[Arc<Pod>], plan: &mut Plan) {
        let by_ordinal: BTreeMap<i32, &Arc<Pod>> =
            pods.iter().filter_map(|pod| Some((pod::ordinal(self.set, pod)?, pod))).collect();
        for ordinal in wanted(self.spec) {
            if self.keep(ordinal, by_ordinal.get(&ordinal).copied(), plan) && self.in_order {
                return;
            }
        }
        let surplus = by_ordinal.iter().filter(|(ordinal, _)| !wanted(self.spec).contains(ordinal));
        for (_, pod) in surplus.rev() {
            if !is_terminating(&***pod) {
                plan.steps.push(Step::Delete(Arc::clone(pod)));
            }
            if self.in_order {
                return;
            }
        }
        if plan.steps.is_empty() {
            self.replace(&by_ordinal, plan);
        }
    }

    /// Sees to one pod; whether those after it have to wait.
    fn keep(&self, ordinal: i32, pod: Option<&Arc<Pod>>, plan: &mut Plan) -> bool {
        let Some(pod) = pod else {
            let claims = pod::claims(self.set, ordinal);
            plan.steps.push(Step::Create { pod: Box::new(self.make(ordinal)), claims });
            return true;
        };
        if is_terminating(&**pod) {
            return true;
        }
        if is_finished(pod) {
            plan.steps.push(Step::Delete(pod.clone()));
            return true;
        }
        let available = self.availability(pod);
        if let Availability::After(wait) = available {
            plan.look_again = sooner(plan.look_again, Some(wait));
        }
        !matches!(available, Availability::Now)
    }

    fn availability(&self, pod: &Pod) -> Availability {
        if !is_running_and_ready(pod) {
            return Availability::Never;
        }
        availability(pod, self.spec.min_ready_seconds.unwrap_or(0), self.now)
    }

    fn make(&self, ordinal: i32) -> Pod {
        let keeps_current = first_updated(self.spec).is_some_and(|first| ordinal < first);
        match &self.current {
            Some((name, template)) if keeps_current => pod::make(self.set, ordinal, template, name),
            _ => pod::make(self.set, ordinal, &self.spec.template, self.update),
        }
    }

    /// Replaces pods of an older template one at a time, the last first.
    fn replace(&self, pods: &BTreeMap<i32, &Arc<Pod>>, plan: &mut Plan) {
        let Some(first) = first_updated(self.spec) else { return };
        for (_, pod) in pods.range(first..).rev() {
            if is_terminating(&***pod) {
                return;
            }
            if revision_of(pod) != Some(self.update) {
                plan.steps.push(Step::Delete(Arc::clone(pod)));
                return;
            }
            if !matches!(self.availability(pod), Availability::Now) {
                return;
            }
        }
    }
}

fn status(observed: &Observed, spec: &StatefulSetSpec, update: &str) -> StatefulSetStatus {
    let Observed { set, pods, now, .. } = observed;
    let before = set.status.clone().unwrap_or_default();
    let current =
        before.current_revision.filter(|name| !name.is_empty()).unwrap_or_else(|| update.to_owned());
    let count = |counts: &dyn Fn(&Pod) -> bool| {
        i32::try_from(pods.iter().filter(|pod| counts(pod)).count()).unwrap_or(i32::MAX)
    };
    let of = |name: &str| count(&|pod| !is_terminating(pod) && revision_of(pod) == Some(name));
    let seconds = spec.min_ready_seconds.unwrap_or(0);
    let available = count(&|pod| {
        is_running_and_ready(pod) && matches!(availability(pod, seconds, *now), Availability::Now)
    });
    let unless_zero = |count: i32| (count != 0).then_some(count);
    let mut status = StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas: count(&|_| true),
        ready_replicas: unless_zero(count(&is_running_and_ready)),
        available_replicas: Some(available),
        current_replicas: unless_zero(of(&current)),
        updated_replicas: unless_zero(of(update)),
        current_revision: Some(current),
        update_revision: Some(update.to_owned()),
        collision_count: before.collision_count.or(Some(0)),
        conditions: before.conditions,
    };
    let all = Some(status.replicas);
    if first_updated(spec).is_some() && status.updated_replicas == all && status.ready_replicas == all {
        status.current_revision.clone_from(&status.update_revision);
        status.current_replicas = status.updated_replicas;
    }
    status
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
