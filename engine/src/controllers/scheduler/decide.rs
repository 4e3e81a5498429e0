//! Whether a node takes a pod, and upstream's words for why not.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume, PersistentVolumeClaim,
    Pod, Taint, Toleration,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;

use crate::controllers::pods::{is_finished, is_terminating, labels};
use crate::controllers::selector::matches_all;
use crate::controllers::volumes::{SELECTED_NODE, is_bound, waits_for_consumer};
use crate::schema::quantity::nanos;

/// One pending pod and the cluster around it.
pub(super) struct Observed {
    pub pod: Arc<Pod>,
    pub nodes: Vec<Arc<Node>>,
    /// Every pod of the cluster.
    pub pods: Vec<Arc<Pod>>,
    /// Claims of the pod's namespace.
    pub claims: Vec<Arc<PersistentVolumeClaim>>,
    /// Every volume.
    pub volumes: Vec<Arc<PersistentVolume>>,
    /// Every class.
    pub classes: Vec<Arc<StorageClass>>,
}

/// Where the pod goes.
#[derive(Debug, PartialEq)]
pub(super) enum Decision {
    /// To this node.
    Bind(String),
    /// To this node, once the volumes for these claims are there.
    Provision { node: String, claims: Vec<Arc<PersistentVolumeClaim>> },
    /// Nowhere, in upstream's words.
    Unschedulable(String),
}

/// The decision; pure.
pub(super) fn decide(observed: &Observed) -> Decision {
    let total = observed.nodes.len();
    let storage = match storage(observed) {
        Ok(storage) => storage,
        Err(reason) => {
            return Decision::Unschedulable(format!("0/{total} nodes are available: {reason}."));
        }
    };
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for node in &observed.nodes {
        let refusals = refusals(observed, &storage, node);
        if refusals.is_empty() && storage.waiting.is_empty() {
            return Decision::Bind(node.name_any());
        }
        if refusals.is_empty() {
            let unaware = storage.waiting.iter().filter(|claim| selected_node(claim).is_none());
            return Decision::Provision { node: node.name_any(), claims: unaware.cloned().collect() };
        }
        for refusal in refusals {
            *reasons.entry(refusal).or_default() += 1;
        }
    }
    if reasons.is_empty() {
        return Decision::Unschedulable("no nodes available to schedule pods".to_owned());
    }
    let texts: Vec<String> = reasons.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    Decision::Unschedulable(format!("0/{total} nodes are available: {}.", texts.join(", ")))
}

/// The storage of a pod.
struct Storage {
    /// Volumes of its bound claims.
    volumes: Vec<Arc<PersistentVolume>>,
    /// Claims that get a volume when the pod has a node.
    waiting: Vec<Arc<PersistentVolumeClaim>>,
}

/// Finds the storage of the pod, or why there is none on any node.
fn storage(observed: &Observed) -> Result<Storage, String> {
    let mut storage = Storage { volumes: Vec::new(), waiting: Vec::new() };
    let volumes = observed.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    for source in volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref()) {
        let name = &source.claim_name;
        let Some(claim) = observed.claims.iter().find(|claim| claim.name_any() == *name) else {
            return Err(format!("persistentvolumeclaim \"{name}\" not found"));
        };
        if is_terminating(&**claim) {
            return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
        }
        let spec = claim.spec.clone().unwrap_or_default();
        let class = spec.storage_class_name.unwrap_or_default();
        let class = observed.classes.iter().find(|one| one.name_any() == class);
        if is_bound(claim) {
            let volume = spec.volume_name.unwrap_or_default();
            let Some(volume) = observed.volumes.iter().find(|one| one.name_any() == volume) else {
                return Err(format!("persistentvolume \"{volume}\" not found"));
            };
            storage.volumes.push(volume.clone());
        } else if class.is_some_and(|class| waits_for_consumer(class)) && spec.volume_name.is_none() {
            storage.waiting.push(claim.clone());
        } else {
            return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
        }
    }
    Ok(storage)
}

fn selected_node(claim: &PersistentVolumeClaim) -> Option<&String> {
    claim.annotations().get(SELECTED_NODE)
}

/// Whether the pod's volumes can be used on the node.
fn reaches(storage: &Storage, node: &Node) -> bool {
    let required = |volume: &PersistentVolume| {
        let affinity = volume.spec.as_ref()?.node_affinity.as_ref()?;
        affinity.required.clone()
    };
    storage.volumes.iter().all(|volume| required(volume).is_none_or(|required| any_term(&required, node)))
        && storage
            .waiting
            .iter()
            .all(|claim| selected_node(claim).is_none_or(|name| *name == node.name_any()))
}

fn refusals(observed: &Observed, storage: &Storage, node: &Node) -> Vec<String> {
    let Some(spec) = observed.pod.spec.as_ref() else { return Vec::new() };
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
        && !tolerates_unschedulable(tolerations)
    {
        return vec!["node(s) were unschedulable".to_owned()];
    }
    if let Some(taint) = untolerated(node, tolerations) {
        let value = taint.value.as_deref().unwrap_or_default();
        return vec![format!("node(s) had untolerated taint {{{}: {value}}}", taint.key)];
    }
    if !selects(&observed.pod, node) {
        return vec!["node(s) didn't match Pod's node affinity/selector".to_owned()];
    }
    if !reaches(storage, node) {
        return vec!["node(s) didn't match PersistentVolume's node affinity".to_owned()];
    }
    lacking(observed, node)
}

fn untolerated<'a>(node: &'a Node, tolerations: &[Toleration]) -> Option<&'a Taint> {
    let taints = node.spec.as_ref()?.taints.iter().flatten();
    let mut hard = taints.filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    hard.find(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect =
        toleration.effect.as_deref().is_none_or(|effect| effect.is_empty() || effect == taint.effect);
    let key = toleration.key.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let named = if key.is_empty() { exists } else { key == taint.key };
    let same = exists
        || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default();
    effect && named && same
}

fn tolerates_unschedulable(tolerations: &[Toleration]) -> bool {
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    tolerations.iter().any(|toleration| tolerates(toleration, &taint))
}

/// Whether the pod may run on the node at all, room and storage aside.
pub(crate) fn may_run(pod: &Pod, node: &Node) -> bool {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    selects(pod, node) && untolerated(node, tolerations).is_none()
}

fn selects(pod: &Pod, node: &Node) -> bool {
    let Some(spec) = pod.spec.as_ref() else { return true };
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    matches_all(spec.node_selector.as_ref(), labels(node))
        && required.is_none_or(|required| any_term(required, node))
}

fn any_term(required: &NodeSelector, node: &Node) -> bool {
    required.node_selector_terms.iter().any(|term| term_matches(term, node))
}

fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let name = node.name_any();
    // An empty term matches nothing.
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|one| requirement(one, labels(node).get(&one.key)))
        && fields.iter().all(|one| requirement(one, (one.key == "metadata.name").then_some(&name)))
}

fn requirement(wanted: &NodeSelectorRequirement, value: Option<&String>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let compare = |order: std::cmp::Ordering| {
        let number = |text: &String| text.parse::<i64>().ok();
        let pair = value.and_then(number).zip(values.first().and_then(number));
        pair.is_some_and(|(have, limit)| have.cmp(&limit) == order)
    };
    match wanted.operator.as_str() {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => !value.is_some_and(|value| values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(std::cmp::Ordering::Greater),
        "Lt" => compare(std::cmp::Ordering::Less),
        _ => false,
    }
}

/// The resources of which the node has too little left.
fn lacking(observed: &Observed, node: &Node) -> Vec<String> {
    let name = node.name_any();
    let Some(allocatable) = node.status.as_ref().and_then(|status| status.allocatable.as_ref()) else {
        return Vec::new();
    };
    let residents: Vec<&Arc<Pod>> = observed
        .pods
        .iter()
        .filter(|pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&name))
        .filter(|pod| !is_finished(pod))
        .collect();
    let mut used: BTreeMap<String, i128> = BTreeMap::new();
    for pod in &residents {
        requests(pod).into_iter().for_each(|(resource, amount)| *used.entry(resource).or_default() += amount);
    }
    let mut lacking = Vec::new();
    if let Some(limit) = allocatable.get("pods").and_then(amount)
        && i128::try_from(residents.len() + 1).unwrap_or(0) * 1_000_000_000 > limit
    {
        lacking.push("Too many pods".to_owned());
    }
    for (resource, wanted) in requests(&observed.pod) {
        let limit = allocatable.get(&resource).and_then(amount).unwrap_or(0);
        if wanted > 0 && used.get(&resource).copied().unwrap_or(0) + wanted > limit {
            lacking.push(format!("Insufficient {resource}"));
        }
    }
    lacking
}

fn amount(quantity: &Quantity) -> Option<i128> {
    nanos(&quantity.0)
}

/// What a pod asks for: the sum of its containers, or its largest init container, whichever is more.
fn requests(pod: &Pod) -> BTreeMap<String, i128> {
    let mut total: BTreeMap<String, i128> = BTreeMap::new();
    let Some(spec) = pod.spec.as_ref() else { return total };
    let asked = |container: &k8s_openapi::api::core::v1::Container| {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.clone());
        requests
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(name, quantity)| Some((name, amount(&quantity)?)))
    };
    for (resource, amount) in spec.containers.iter().flat_map(asked) {
        *total.entry(resource).or_default() += amount;
    }
    for (resource, amount) in spec.init_containers.iter().flatten().flat_map(asked) {
        let entry = total.entry(resource).or_default();
        *entry = (*entry).max(amount);
    }
    for (resource, quantity) in spec.overhead.iter().flatten() {
        *total.entry(resource.clone()).or_default() += amount(quantity).unwrap_or(0);
    }
    total
}

/// Whether the scheduler has to look at a pod at all.
pub(super) fn is_waiting(pod: &Pod) -> bool {
    let Some(spec) = pod.spec.as_ref() else { return false };
    let ours = spec.scheduler_name.as_deref().is_none_or(|name| name == "default-scheduler");
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    ours && !gated && spec.node_name.is_none() && !is_finished(pod) && !is_terminating(pod)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
