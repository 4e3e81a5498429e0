//! What a DaemonSet needs next, from the nodes and the pods that are there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, Toleration,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::controllers::deployment::rollout::resolve;
use crate::controllers::history::{self, Current, REVISION_LABEL};
use crate::controllers::pods::{
    Availability, availability, from_template, is_finished, is_ready, is_terminating, labels, sooner,
};
use crate::controllers::scheduler::may_run;

/// One moment of a DaemonSet.
pub(super) struct Observed {
    pub set: Arc<DaemonSet>,
    /// Pods whose controller it is.
    pub pods: Vec<Arc<Pod>>,
    /// Every node.
    pub nodes: Vec<Arc<Node>>,
    /// Templates it has had.
    pub revisions: Vec<Arc<ControllerRevision>>,
    pub now: Timestamp,
}

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The current template, to be recorded before any pod is made of it.
    pub revision: Option<Current>,
    pub create: Vec<Pod>,
    pub delete: Vec<Arc<Pod>>,
    /// Templates to be forgotten.
    pub expired: Vec<Arc<ControllerRevision>>,
    pub status: DaemonSetStatus,
    /// When a pod becomes available only by time passing.
    pub look_again: Option<Duration>,
}

/// The decision; pure.
pub(super) fn decide(observed: &Observed) -> Plan {
    let Observed { set, pods, nodes, revisions, now } = observed;
    let Some(spec) = set.spec.as_ref() else { return Plan::default() };
    let own_labels = spec.selector.match_labels.clone().unwrap_or_default();
    let current = history::current(&**set, &spec.template, &own_labels, revisions);
    let hash = hash_of(&current);
    let mut plan = Plan::default();
    let mut by_node: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in pods {
        by_node.entry(node_of(pod).unwrap_or_default()).or_default().push(pod.clone());
    }
    let mut fleet = Fleet::default();
    for node in nodes {
        let wanted = pod_for(set, spec, &node.name_any(), &hash);
        let here = by_node.remove(&node.name_any()).unwrap_or_default();
        if may_run(&wanted, node) {
            fleet.desired += 1;
            fleet.served += i32::from(!here.is_empty());
            one_of(here, wanted, &mut fleet, &mut plan);
        } else {
            fleet.misplaced += i32::from(!here.is_empty());
            plan.delete.extend(here);
        }
    }
    // What is left is of nodes that are gone.
    plan.delete.extend(by_node.into_values().flatten());
    plan.delete.retain(|pod| !is_terminating(&**pod));
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let available = |pod: &Pod, wait: &mut Option<Duration>| match availability(pod, min_ready, *now) {
        Availability::Now => true,
        Availability::After(left) => {
            *wait = sooner(*wait, Some(left));
            false
        }
        Availability::Never => false,
    };
    let ready: Vec<bool> = fleet.pods.iter().map(|pod| available(pod, &mut plan.look_again)).collect();
    let is_new = |pod: &Pod| labels(pod).get(REVISION_LABEL) == Some(&hash);
    let count = |counts: &dyn Fn(&Pod) -> bool| total(fleet.pods.iter().filter(|pod| counts(pod)).count());
    let number_available = total(ready.iter().filter(|ready| **ready).count());
    let unless_zero = |count: i32| (count != 0).then_some(count);
    plan.status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        desired_number_scheduled: fleet.desired,
        current_number_scheduled: fleet.served,
        number_misscheduled: fleet.misplaced,
        number_ready: count(&is_ready),
        number_available: unless_zero(number_available),
        number_unavailable: unless_zero(fleet.desired - number_available),
        updated_number_scheduled: unless_zero(count(&is_new)),
        ..set.status.clone().unwrap_or_default()
    };
    if is_terminating(&**set) {
        return Plan { status: plan.status, ..Plan::default() };
    }
    if let Some(allowed) = max_unavailable(spec, fleet.desired) {
        let old = fleet.pods.iter().zip(&ready).filter(|(pod, _)| !is_new(pod) && !is_terminating(&***pod));
        let (serving, idle): (Vec<_>, Vec<_>) = old.partition(|(_, ready)| **ready);
        let budget = usize::try_from(allowed - (fleet.desired - number_available)).unwrap_or(0);
        let replaced = idle.into_iter().chain(serving.into_iter().take(budget));
        plan.delete.extend(replaced.map(|(pod, _)| pod.clone()));
    }
    let used = |name: &str| {
        let of = |pod: &Arc<Pod>| labels(&**pod).get(REVISION_LABEL).is_some_and(|hash| name.ends_with(hash));
        name == current.name() || pods.iter().any(of)
    };
    plan.expired = history::expired(revisions, spec.revision_history_limit, used);
    plan.revision = Some(current);
    plan
}

/// The nodes that are to have a pod, and the pods they have.
#[derive(Default)]
struct Fleet {
    desired: i32,
    served: i32,
    /// Nodes that have a pod and should not.
    misplaced: i32,
    pods: Vec<Arc<Pod>>,
}

fn total(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Sees to it that one node has one pod: the oldest; one that ended is removed and then made anew.
fn one_of(mut here: Vec<Arc<Pod>>, wanted: Pod, fleet: &mut Fleet, plan: &mut Plan) {
    here.sort_by_key(|pod| (pod.creation_timestamp(), pod.name_any()));
    let mut kept = false;
    let mut any = false;
    for pod in here {
        any = true;
        if is_finished(&pod) || (kept && !is_terminating(&*pod)) {
            plan.delete.push(pod);
        } else {
            kept = kept || !is_terminating(&*pod);
            fleet.pods.push(pod);
        }
    }
    if !any {
        plan.create.push(wanted);
    }
}

fn hash_of(revision: &Current) -> String {
    let labels = match revision {
        Current::Recorded(revision) | Current::Again(revision, _) => labels(&**revision),
        Current::New(revision) => labels(&**revision),
    };
    labels.get(REVISION_LABEL).cloned().unwrap_or_default()
}

/// How many pods may be missing during a rollout; nothing when pods are replaced only by hand.
fn max_unavailable(spec: &DaemonSetSpec, desired: i32) -> Option<i32> {
    let strategy = spec.update_strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
        return None;
    }
    let value = strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.max_unavailable.clone());
    Some(resolve(&value.unwrap_or(IntOrString::Int(1)), desired, true).max(1))
}

const NODE_NAME: &str = "metadata.name";

/// The node a pod is on or meant for.
fn node_of(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if let Some(name) = &spec.node_name {
        return Some(name.clone());
    }
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let mut fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    fields.find(|field| field.key == NODE_NAME)?.values.as_ref()?.first().cloned()
}

/// The pod for one node; the scheduler binds it there and nowhere else.
fn pod_for(set: &DaemonSet, spec: &DaemonSetSpec, node: &str, hash: &str) -> Pod {
    let mut pod = from_template(set, &spec.template);
    pod.labels_mut().insert(REVISION_LABEL.to_owned(), hash.to_owned());
    let spec = pod.spec.get_or_insert_default();
    spec.tolerations.get_or_insert_default().extend(tolerations(spec.host_network == Some(true)));
    let required = spec
        .affinity
        .get_or_insert_with(Affinity::default)
        .node_affinity
        .get_or_insert_with(NodeAffinity::default)
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_with(NodeSelector::default);
    let only_here = NodeSelectorRequirement {
        key: NODE_NAME.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(NodeSelectorTerm::default());
    }
    // Terms are alternatives: each must say it.
    for term in &mut required.node_selector_terms {
        term.match_fields = Some(vec![only_here.clone()]);
    }
    pod
}

/// A daemon stays on a node in trouble.
fn tolerations(host_network: bool) -> impl Iterator<Item = Toleration> {
    let always = [
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    ];
    let network = host_network.then_some(("network-unavailable", "NoSchedule"));
    always.into_iter().chain(network).map(|(key, effect)| Toleration {
        key: Some(format!("node.kubernetes.io/{key}")),
        operator: Some("Exists".to_owned()),
        effect: Some(effect.to_owned()),
        ..Toleration::default()
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
