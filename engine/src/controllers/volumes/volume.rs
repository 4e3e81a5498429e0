//! What becomes of a volume, from its claim.

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use kube::{Resource, ResourceExt};

use super::LOCAL_PATH;
use crate::controllers::cache::Key;

/// Says which provisioner made a volume, and so who may remove its data.
pub(super) const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// What becomes of a volume.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays, in this phase.
    Stays(&'static str),
    /// Its claim is gone; somebody else decides about the data.
    Released,
    /// Its claim is gone, and it goes with its data.
    Goes,
}

/// The claim a volume is for: its key, and its uid (empty when a person wrote the reference).
pub(super) fn claim_of(volume: &PersistentVolume) -> Option<(Key, String)> {
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    let key = Key::new(reference.namespace.clone()?, reference.name.clone()?);
    Some((key, reference.uid.clone().unwrap_or_default()))
}

/// The decision; pure. `claim` is the one that has the name in the volume's reference.
pub(super) fn fate(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> Fate {
    let Some((_, uid)) = claim_of(volume) else { return Fate::Stays("Available") };
    if uid.is_empty() {
        return Fate::Stays("Available");
    }
    if claim.and_then(|claim| claim.metadata.uid.as_ref()) == Some(&uid) {
        return Fate::Stays("Bound");
    }
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    let ours = volume.annotations().get(PROVISIONED_BY).is_some_and(|by| by == LOCAL_PATH);
    if policy == Some("Delete") && ours { Fate::Goes } else { Fate::Released }
}

/// The volume with `claim` written into it.
pub(super) fn reserved(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> PersistentVolume {
    let mut reserved = volume.clone();
    reserved.spec.get_or_insert_default().claim_ref = Some(reference(claim));
    reserved
}

/// A reference to exactly this claim.
pub(super) fn reference(claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference { resource_version: None, ..claim.object_ref(&()) }
}
