//! How many replicas each ReplicaSet of a Deployment should have now.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

/// `spec.replicas` of a ReplicaSet.
pub(super) fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// `spec.replicas` of a Deployment.
pub(super) fn desired(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub(super) fn is_recreate(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// How far a rollout may go over and under the desired number of pods, as upstream's `ResolveFenceposts`.
pub(super) struct Limits {
    pub max_surge: i32,
    pub max_unavailable: i32,
}

pub(super) fn limits(deployment: &Deployment) -> Limits {
    let desired = desired(deployment);
    if is_recreate(deployment) {
        return Limits { max_surge: 0, max_unavailable: 0 };
    }
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.clone()).unwrap_or_default();
    let quarter = IntOrString::String("25%".to_owned());
    let max_surge = resolve(rolling.max_surge.as_ref().unwrap_or(&quarter), desired, true);
    let max_unavailable = resolve(rolling.max_unavailable.as_ref().unwrap_or(&quarter), desired, false);
    if max_surge == 0 && max_unavailable == 0 {
        return Limits { max_surge: 0, max_unavailable: 1 };
    }
    Limits { max_surge, max_unavailable: max_unavailable.min(desired) }
}

/// A number, or a percentage of `total`.
pub(crate) fn resolve(value: &IntOrString, total: i32, round_up: bool) -> i32 {
    match value {
        IntOrString::Int(count) => *count,
        IntOrString::String(text) => {
            let percent: i32 = text.trim_end_matches('%').parse().unwrap_or(0);
            let product = total.saturating_mul(percent);
            if round_up { product.saturating_add(99) / 100 } else { product / 100 }
        }
    }
}

/// One change of one ReplicaSet's `spec.replicas`.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    pub set: Arc<ReplicaSet>,
    pub to: i32,
}

/// The size a new ReplicaSet starts with or grows to, given all that exist (upstream's `NewRSNewReplicas`).
pub(super) fn new_set_size(deployment: &Deployment, all: &[Arc<ReplicaSet>], current: i32) -> i32 {
    let desired = desired(deployment);
    if is_recreate(deployment) {
        return desired;
    }
    let total: i32 = all.iter().map(|set| wanted(set)).sum();
    let room = desired + limits(deployment).max_surge - total;
    current + room.min(desired - current).max(0)
}

/// Next steps of a rolling update: grow the new set first; when it cannot grow, shrink the old ones as far as availability allows.
pub(super) fn rolling(deployment: &Deployment, new: &Arc<ReplicaSet>, old: &[Arc<ReplicaSet>]) -> Vec<Scale> {
    let desired = desired(deployment);
    let mut all = old.to_vec();
    all.push(new.clone());
    let current = wanted(new);
    let size = if current > desired { desired } else { new_set_size(deployment, &all, current) };
    if size != current {
        return vec![Scale { set: new.clone(), to: size }];
    }
    shrink_old(deployment, new, old)
}

fn shrink_old(deployment: &Deployment, new: &ReplicaSet, old: &[Arc<ReplicaSet>]) -> Vec<Scale> {
    let old_total: i32 = old.iter().map(|set| wanted(set)).sum();
    if old_total == 0 {
        return Vec::new();
    }
    let min_available = desired(deployment) - limits(deployment).max_unavailable;
    let new_unavailable = wanted(new) - available(new);
    let may_remove = old_total + wanted(new) - min_available - new_unavailable;
    if may_remove <= 0 {
        return Vec::new();
    }
    let mut sets: Vec<(Arc<ReplicaSet>, i32)> = old.iter().map(|set| (set.clone(), wanted(set))).collect();
    sets.sort_by_key(|(set, _)| (set.creation_timestamp(), set.name_any()));
    // Pods that are not available serve nobody: they go first.
    let mut left = may_remove;
    for (set, size) in &mut sets {
        let unhealthy = (*size - available(set)).clamp(0, left);
        *size -= unhealthy;
        left -= unhealthy;
    }
    let available_total: i32 = old.iter().map(|set| available(set)).sum::<i32>() + available(new);
    let mut left = available_total - min_available;
    for (_, size) in &mut sets {
        let healthy = (*size).min(left).max(0);
        *size -= healthy;
        left -= healthy;
    }
    sets.into_iter().filter(|(set, size)| *size != wanted(set)).map(|(set, to)| Scale { set, to }).collect()
}
