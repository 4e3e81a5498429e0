//! PodDisruptionBudgets: how many of the pods they cover may be evicted now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::cache::Key;
use super::context::Context;
use super::deployment::rollout::resolve;
use super::pods::{controller_of, is_finished, is_ready, is_terminating, labels, sooner, until};
use super::queue::{Queue, Tasks};
use super::selector;

/// An eviction that was allowed and whose pod still shows no sign of it is forgotten after so many seconds.
const EVICTION_SEEN_WITHIN: i64 = 120;

/// Registers the handlers and starts the worker.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut Tasks) {
    let queue = Queue::new();
    context.budgets.on_change({
        let queue = queue.clone();
        move |change| change.new.iter().for_each(|budget| queue.add(Key::of(&**budget)))
    });
    context.pods.on_change({
        let (queue, weak) = (queue.clone(), Arc::downgrade(context));
        move |change| {
            let Some(context) = weak.upgrade() else { return };
            for pod in change.states() {
                let budgets = context.budgets.cache().in_namespace(&pod.namespace().unwrap_or_default());
                budgets.iter().filter(|one| covers(one, pod)).for_each(|one| queue.add(Key::of(&**one)));
            }
        }
    });
    let context = context.clone();
    tasks.work("disruption", 1, queue, move |key| {
        let context = context.clone();
        async move { sync(&context, key).await }
    });
}

fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| selector::matches(selector, labels(pod)))
}

async fn sync(context: &Context, key: Key) -> Result<Option<Duration>, kube::Error> {
    let Some(budget) = context.budgets.cache().get(&key) else { return Ok(None) };
    let pods: Vec<Arc<Pod>> = context
        .pods
        .cache()
        .in_namespace(&key.namespace)
        .into_iter()
        .filter(|pod| covers(&budget, pod) && !is_finished(pod))
        .collect();
    let (status, look_again) =
        decide(&budget, &pods, scale(context, &key.namespace, &pods), Timestamp::now());
    if budget.status.as_ref() != Some(&status) {
        let mut update = (*budget).clone();
        update.status = Some(status);
        context.replace_status(&context.budgets, &update).await?;
    }
    Ok(look_again)
}

/// How many pods their controllers are to have together: what percentages are of.
fn scale(context: &Context, namespace: &str, pods: &[Arc<Pod>]) -> i32 {
    let mut sizes: BTreeMap<String, i32> = BTreeMap::new();
    for owner in pods.iter().filter_map(|pod| controller_of(&**pod)) {
        let key = Key::new(namespace, owner.name.as_str());
        let wanted = match owner.kind.as_str() {
            "ReplicaSet" => {
                context.replica_sets.cache().get(&key).and_then(|set| set.spec.as_ref()?.replicas)
            }
            "StatefulSet" => {
                context.stateful_sets.cache().get(&key).and_then(|set| set.spec.as_ref()?.replicas)
            }
            _ => None,
        };
        sizes.extend(wanted.map(|wanted| (owner.uid.clone(), wanted)));
    }
    sizes.values().sum()
}

/// The decision; pure.
fn decide(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    scale: i32,
    now: Timestamp,
) -> (PodDisruptionBudgetStatus, Option<Duration>) {
    let before = budget.status.clone().unwrap_or_default();
    let spec = budget.spec.clone().unwrap_or_default();
    let count = i32::try_from(pods.len()).unwrap_or(i32::MAX);
    let (expected, desired) = match (&spec.max_unavailable, &spec.min_available) {
        (Some(max), _) => (scale, (scale - resolve(max, scale, true)).max(0)),
        (None, Some(IntOrString::Int(min))) => (count, *min),
        (None, Some(percent)) => (scale, resolve(percent, scale, true)),
        (None, None) => (count, 0),
    };
    let mut look_again = None;
    let mut disrupted = before.disrupted_pods.clone().unwrap_or_default();
    disrupted.retain(|name, since| {
        let left = until(since.0, EVICTION_SEEN_WITHIN, now);
        let pending =
            pods.iter().any(|pod| pod.name_any() == *name && !is_terminating(&**pod)) && left.is_some();
        look_again = if pending { sooner(look_again, left) } else { look_again };
        pending
    });
    let healthy = pods
        .iter()
        .filter(|pod| is_ready(pod) && !is_terminating(&***pod) && !disrupted.contains_key(&pod.name_any()));
    let healthy = i32::try_from(healthy.count()).unwrap_or(i32::MAX);
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let (value, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let previous = before.conditions.iter().flatten().find(|one| one.type_ == "DisruptionAllowed");
    let since = previous.filter(|one| one.status == value).map(|one| one.last_transition_time.clone());
    let condition = Condition {
        type_: "DisruptionAllowed".to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
        observed_generation: budget.metadata.generation,
        last_transition_time: since.unwrap_or(Time(now)),
    };
    let status = PodDisruptionBudgetStatus {
        observed_generation: budget.metadata.generation,
        expected_pods: expected,
        desired_healthy: desired,
        current_healthy: healthy,
        disruptions_allowed: allowed,
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        conditions: Some(vec![condition]),
    };
    (status, look_again)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2030-01-01T00:10:00Z";

    /// Pods are written as `ready`, `starting` or `deleting`; the first was evicted at the given time.
    fn check(spec: Value, pods: &[&str], evicted: Option<&str>, expected: (i32, i32, i32)) {
        let disrupted = evicted.map(|time| json!({"pod-0": time}));
        let status = json!({
            "expectedPods": 0, "desiredHealthy": 0, "currentHealthy": 0, "disruptionsAllowed": 0,
            "disruptedPods": disrupted,
        });
        let budget = serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status})).unwrap();
        let pod = |(index, state): (usize, &&str)| {
            let mut pod = json!({"metadata": {"name": format!("pod-{index}")}, "status": {"conditions": []}});
            if *state != "starting" {
                pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
            }
            if *state == "deleting" {
                pod["metadata"]["deletionTimestamp"] = json!(NOW);
            }
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        let pods: Vec<Arc<Pod>> = pods.iter().enumerate().map(pod).collect();
        let (status, _) = decide(&budget, &pods, 4, NOW.parse().unwrap());
        assert_eq!((status.desired_healthy, status.current_healthy, status.disruptions_allowed), expected);
    }

    #[test]
    fn what_is_above_the_wanted_number_may_go() {
        let four = ["ready"; 4];
        check(json!({"minAvailable": 3}), &four, None, (3, 4, 1));
        check(json!({"minAvailable": "50%"}), &four, None, (2, 4, 2));
        check(json!({"maxUnavailable": 1}), &four, None, (3, 4, 1));
        check(json!({"maxUnavailable": "30%"}), &four, None, (2, 4, 2));
        check(json!({"minAvailable": 3}), &["ready", "ready", "starting", "deleting"], None, (3, 2, 0));
        check(json!({"minAvailable": 0}), &[], None, (0, 0, 0));
    }

    #[test]
    fn an_evicted_pod_counts_as_gone_until_it_is_seen_to_stay() {
        let four = ["ready"; 4];
        check(json!({"minAvailable": 3}), &four, Some("2030-01-01T00:09:00Z"), (3, 3, 0));
        check(json!({"minAvailable": 3}), &four, Some("2030-01-01T00:07:00Z"), (3, 4, 1));
    }
}
