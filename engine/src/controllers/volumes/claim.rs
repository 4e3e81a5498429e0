//! What a claim needs next, from what is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;

use super::is_local_path;
use super::volume::claim_of;
use crate::controllers::cache::Key;
use crate::controllers::events::Note;
use crate::controllers::pods::{is_terminating, labels};
use crate::controllers::selector;
use crate::schema::quantity::nanos;

/// Keeps a claim while pods use it.
pub(super) const PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Set by the scheduler: where the first pod that uses the claim will run.
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";

/// One moment of a claim.
pub(super) struct Observed {
    pub claim: Arc<PersistentVolumeClaim>,
    /// Every volume.
    pub volumes: Vec<Arc<PersistentVolume>>,
    /// Every class.
    pub classes: Vec<Arc<StorageClass>>,
    /// Whether a pod that has not ended mounts it.
    pub in_use: bool,
}

/// The next write; each leads to the one after it.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Nothing,
    /// Add or remove the finalizer that protects it.
    Protect(bool),
    /// It names no class: it gets the default one.
    SetClass(String),
    /// Write the claim into the volume.
    Reserve(Arc<PersistentVolume>),
    /// Write the volume into the claim.
    Bind(Arc<PersistentVolume>),
    Report(Box<PersistentVolumeClaimStatus>),
    Provision {
        class: Arc<StorageClass>,
        node: Option<String>,
    },
    Tell(Note),
}

/// The decision; pure.
pub(super) fn decide(observed: &Observed) -> Step {
    let Observed { claim, volumes, classes, in_use } = observed;
    let Some(spec) = claim.spec.as_ref() else { return Step::Nothing };
    let protected = claim.finalizers().iter().any(|finalizer| finalizer == PROTECTION);
    if is_terminating(&**claim) {
        return if protected && !in_use { Step::Protect(false) } else { Step::Nothing };
    }
    if !protected {
        return Step::Protect(true);
    }
    if let Some(name) = spec.volume_name.as_ref().filter(|name| !name.is_empty()) {
        let volume = volumes.iter().find(|volume| volume.name_any() == *name);
        return named(claim, volume);
    }
    if let Some(volume) = volumes.iter().find(|volume| is_reserved_for(volume, claim)) {
        // A reservation without a uid was written by a person.
        let complete = claim_of(volume).is_some_and(|(_, uid)| !uid.is_empty());
        return if complete { Step::Bind(volume.clone()) } else { Step::Reserve(volume.clone()) };
    }
    let Some(class_name) = spec.storage_class_name.as_ref() else {
        return match default_class(classes) {
            Some(class) => Step::SetClass(class.name_any()),
            None => fit_or(spec, volumes, || {
                let text = "no persistent volumes available for this claim and no storage class is set";
                Step::Tell(Note::normal("FailedBinding", text))
            }),
        };
    };
    let class = classes.iter().find(|class| class.name_any() == *class_name);
    let node = claim.annotations().get(SELECTED_NODE).cloned();
    if class.is_some_and(|class| waits_for_consumer(class)) && node.is_none() {
        let text = "waiting for first consumer to be created before binding";
        return Step::Tell(Note::normal("WaitForFirstConsumer", text));
    }
    fit_or(spec, volumes, || match class {
        Some(class) if is_local_path(class) => Step::Provision { class: class.clone(), node },
        Some(class) => {
            let text = format!(
                "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system administrator.",
                class.provisioner
            );
            Step::Tell(Note::normal("ExternalProvisioning", text))
        }
        None if class_name.is_empty() => {
            let text = "no persistent volumes available for this claim and no storage class is set";
            Step::Tell(Note::normal("FailedBinding", text))
        }
        None => {
            let text = format!("storageclass.storage.k8s.io \"{class_name}\" not found");
            Step::Tell(Note::warning("ProvisioningFailed", text))
        }
    })
}

/// A claim that names its volume.
fn named(claim: &PersistentVolumeClaim, volume: Option<&Arc<PersistentVolume>>) -> Step {
    let report = |status: PersistentVolumeClaimStatus| {
        if claim.status.as_ref() == Some(&status) { Step::Nothing } else { Step::Report(Box::new(status)) }
    };
    let phase = |phase: &str| PersistentVolumeClaimStatus {
        phase: Some(phase.to_owned()),
        ..claim.status.clone().unwrap_or_default()
    };
    let was_bound = claim.annotations().contains_key(BIND_COMPLETED);
    let Some(volume) = volume else {
        return report(phase(if was_bound { "Lost" } else { "Pending" }));
    };
    match claim_of(volume) {
        None => Step::Reserve(volume.clone()),
        Some((key, uid)) if key == Key::of(claim) && uid.is_empty() => Step::Reserve(volume.clone()),
        Some((_, uid)) if Some(&uid) == claim.metadata.uid.as_ref() => {
            if !was_bound {
                return Step::Bind(volume.clone());
            }
            let spec = volume.spec.clone().unwrap_or_default();
            report(PersistentVolumeClaimStatus {
                access_modes: spec.access_modes,
                capacity: spec.capacity,
                ..phase("Bound")
            })
        }
        Some(_) => report(phase(if was_bound { "Lost" } else { "Pending" })),
    }
}

/// Whether a claim has its volume.
pub(crate) fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

/// Whether claims of the class get their volume only when a pod that uses it has its node.
pub(crate) fn waits_for_consumer(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

/// The newest of the classes marked as default.
fn default_class(classes: &[Arc<StorageClass>]) -> Option<&Arc<StorageClass>> {
    let marked = |class: &&Arc<StorageClass>| {
        class.annotations().get(DEFAULT_CLASS).is_some_and(|value| value == "true")
    };
    classes.iter().filter(marked).max_by_key(|class| class.creation_timestamp())
}

fn is_reserved_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    claim_of(volume).is_some_and(|(key, uid)| {
        key == Key::of(claim) && (uid.is_empty() || Some(&uid) == claim.metadata.uid.as_ref())
    })
}

/// Reserves the smallest volume that fits, or does something else.
fn fit_or(
    spec: &PersistentVolumeClaimSpec,
    volumes: &[Arc<PersistentVolume>],
    otherwise: impl FnOnce() -> Step,
) -> Step {
    let free = volumes.iter().filter(|volume| !is_terminating(&***volume) && claim_of(volume).is_none());
    let smallest = free.filter(|volume| fits(volume, spec)).min_by_key(|volume| storage(capacity(volume)));
    smallest.map_or_else(otherwise, |volume| Step::Reserve(volume.clone()))
}

fn capacity(volume: &PersistentVolume) -> Option<&BTreeMap<String, Quantity>> {
    volume.spec.as_ref()?.capacity.as_ref()
}

fn storage(quantities: Option<&BTreeMap<String, Quantity>>) -> i128 {
    quantities.and_then(|all| nanos(&all.get("storage")?.0)).unwrap_or(0)
}

fn fits(volume: &PersistentVolume, wanted: &PersistentVolumeClaimSpec) -> bool {
    let Some(spec) = volume.spec.as_ref() else { return false };
    let request = wanted.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let modes = |modes: &Option<Vec<String>>| modes.clone().unwrap_or_default();
    let offered = modes(&spec.access_modes);
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
    spec.storage_class_name.as_deref().unwrap_or_default()
        == wanted.storage_class_name.as_deref().unwrap_or_default()
        && modes(&wanted.access_modes).iter().all(|wanted| offered.contains(wanted))
        && mode(&spec.volume_mode) == mode(&wanted.volume_mode)
        && storage(capacity(volume)) >= storage(request)
        && wanted.selector.as_ref().is_none_or(|selector| selector::matches(selector, labels(volume)))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
