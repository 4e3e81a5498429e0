//! Which ReplicaSet belongs to a Deployment's current pod template.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt;
use serde_json::Value;

/// Label that keeps the ReplicaSets of one Deployment apart.
pub(super) const HASH_LABEL: &str = "pod-template-hash";

/// Upstream's hash text of a template: 32 bits in an alphabet that spells no words. The value differs from upstream's (it hashes
/// Go's own representation); nothing but uniqueness is promised.
pub(super) fn hash(template: &PodTemplateSpec, collision_count: Option<i32>) -> String {
    let mut bytes = serde_json::to_vec(template).unwrap_or_default();
    if let Some(count) = collision_count {
        bytes.extend(count.to_le_bytes());
    }
    short_hash(&bytes)
}

/// FNV-1a, spelt in upstream's safe alphabet.
pub(crate) fn short_hash(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let hash =
        bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    hash.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

/// The oldest ReplicaSet whose template is the Deployment's, apart from the hash label.
pub(super) fn find_new(deployment: &Deployment, replica_sets: &[Arc<ReplicaSet>]) -> Option<Arc<ReplicaSet>> {
    let wanted = comparable(&deployment.spec.as_ref()?.template);
    let mut same: Vec<&Arc<ReplicaSet>> = replica_sets
        .iter()
        .filter(|set| {
            set.spec.as_ref().and_then(|spec| spec.template.as_ref()).map(comparable).as_ref()
                == Some(&wanted)
        })
        .collect();
    same.sort_by_key(|set| (set.creation_timestamp(), set.name_any()));
    same.first().map(|set| Arc::clone(set))
}

fn comparable(template: &PodTemplateSpec) -> Value {
    let mut value = serde_json::to_value(template).unwrap_or_default();
    if let Some(labels) = value.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    value
}
