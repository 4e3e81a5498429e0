//! Nodes: one that has stopped renewing its lease is not known to be ready, and what is wrong with a node keeps pods away from it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::cache::Key;
use super::context::{Context, LEASES};
use super::events::Note;
use super::pods::until;
use super::queue::{Queue, Tasks};

const COMPONENT: &str = "node-controller";
/// How long a lease may go without being renewed, in seconds; as upstream's node-monitor-grace-period.
const GRACE: i64 = 50;

/// Registers the handlers and starts the worker.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut Tasks) {
    let queue = Queue::new();
    context.nodes.on_change({
        let queue = queue.clone();
        move |change| change.new.iter().for_each(|node| queue.add(Key::of(&**node)))
    });
    context.node_leases.on_change({
        let queue = queue.clone();
        move |change| change.new.iter().for_each(|lease| queue.add(Key::new("", lease.name_any())))
    });
    let context = context.clone();
    tasks.work("node lifecycle", 1, queue, move |key| {
        let context = context.clone();
        async move { sync(&context, key).await }
    });
}

async fn sync(context: &Context, key: Key) -> Result<Option<Duration>, kube::Error> {
    let Some(node) = context.nodes.cache().get(&key) else { return Ok(None) };
    let lease = context.node_leases.cache().get(&Key::new(LEASES, key.name.as_str()));
    let renewed = lease.and_then(|lease: Arc<Lease>| Some(lease.spec.as_ref()?.renew_time.as_ref()?.0));
    let Plan { lost, taints, look_again } = decide(&node, renewed, Timestamp::now());
    if let Some(condition) = lost {
        let patch = json!({"metadata": {"uid": node.uid()}, "status": {"conditions": [condition]}});
        let api = context.api::<Node>("");
        let patched = api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
        context.nodes.wrote(patched);
        let text = format!("Node {} status is now: NodeNotReady", key.name);
        context.events.record(COMPONENT, &*node, Note::normal("NodeNotReady", text));
        // The new condition puts the node into the queue again, for its taints.
        return Ok(None);
    }
    if let Some(taints) = taints {
        let change = json!({
            "metadata": {"resourceVersion": node.resource_version()}, "spec": {"taints": taints},
        });
        context.merge(&context.nodes, &*node, change).await?;
    }
    Ok(look_again)
}

/// What to write.
#[derive(Debug, Default, PartialEq)]
struct Plan {
    /// The node is not heard of any more.
    lost: Option<NodeCondition>,
    /// All taints of the node, when they are to change.
    taints: Option<Vec<Taint>>,
    /// When the lease will be too old.
    look_again: Option<Duration>,
}

/// The decision; pure.
fn decide(node: &Node, renewed: Option<Timestamp>, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let ready = condition(node, "Ready");
    // A node that never had a lease is not watched by one.
    if let (Some(ready), Some(renewed)) = (ready.filter(|ready| ready.status != "Unknown"), renewed) {
        plan.look_again = until(renewed, GRACE, now);
        if plan.look_again.is_none() {
            plan.lost = Some(NodeCondition {
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusUnknown".to_owned()),
                message: Some("Kubelet stopped posting node status.".to_owned()),
                last_transition_time: Some(Time(now)),
                ..ready.clone()
            });
        }
    }
    let before = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let after = taints(node, &before);
    plan.taints = (after != before).then_some(after);
    plan
}

fn condition<'a>(node: &'a Node, type_: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_)
}

/// Conditions, the status in which they keep new pods away, and the taint that says so.
const TAINTS: [(&str, &str, &str); 6] = [
    ("Ready", "False", "node.kubernetes.io/not-ready"),
    ("Ready", "Unknown", "node.kubernetes.io/unreachable"),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];

fn taints(node: &Node, before: &[Taint]) -> Vec<Taint> {
    let holds = |(type_, status, _): &(&str, &str, &str)| {
        condition(node, type_).is_some_and(|condition| condition.status == *status)
    };
    let ours =
        |taint: &Taint| taint.effect == "NoSchedule" && TAINTS.iter().any(|(_, _, key)| *key == taint.key);
    let wanted = |taint: &Taint| TAINTS.iter().any(|row| row.2 == taint.key && holds(row));
    let mut taints: Vec<Taint> =
        before.iter().filter(|taint| !ours(taint) || wanted(taint)).cloned().collect();
    for (_, _, key) in TAINTS.iter().filter(|row| holds(row)) {
        if !taints.iter().any(|taint| taint.key == *key && taint.effect == "NoSchedule") {
            taints.push(Taint {
                key: (*key).to_owned(),
                effect: "NoSchedule".to_owned(),
                ..Taint::default()
            });
        }
    }
    taints
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2030-01-01T00:10:00Z";

    fn node(ready: &str, taints: &[&str]) -> Node {
        let taints: Vec<_> = taints.iter().map(|key| json!({"key": key, "effect": "NoSchedule"})).collect();
        let conditions =
            json!([{"type": "Ready", "status": ready}, {"type": "DiskPressure", "status": "False"}]);
        serde_json::from_value(json!({
            "metadata": {"name": "n"}, "spec": {"taints": taints}, "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    /// The condition Ready after a lease was renewed so many seconds ago, and when to look again.
    fn check_lease(ready: &str, seconds_ago: Option<i64>, expected: (Option<&str>, Option<u64>)) {
        let now: Timestamp = NOW.parse().unwrap();
        let renewed = seconds_ago.map(|ago| now - jiff::SignedDuration::from_secs(ago));
        let plan = decide(&node(ready, &[]), renewed, now);
        let lost = plan.lost.as_ref().map(|condition| condition.status.as_str());
        assert_eq!((lost, plan.look_again.map(|wait| wait.as_secs())), expected);
    }

    #[test]
    fn a_node_that_stopped_renewing_its_lease_is_not_known_to_be_ready() {
        check_lease("True", Some(10), (None, Some(40)));
        check_lease("True", Some(50), (Some("Unknown"), None));
        check_lease("Unknown", Some(50), (None, None));
        check_lease("True", None, (None, None));
    }

    fn check_taints(ready: &str, before: &[&str], expected: Option<&[&str]>) {
        let plan = decide(&node(ready, before), None, NOW.parse().unwrap());
        let keys = |taints: Vec<Taint>| taints.into_iter().map(|taint| taint.key).collect::<Vec<_>>();
        assert_eq!(
            plan.taints.map(keys),
            expected.map(|keys| keys.iter().map(ToString::to_string).collect())
        );
    }

    #[test]
    fn taints_follow_the_conditions_and_leave_other_taints_alone() {
        check_taints("True", &["mine"], None);
        check_taints("False", &["mine"], Some(&["mine", "node.kubernetes.io/not-ready"]));
        check_taints("True", &["node.kubernetes.io/not-ready", "mine"], Some(&["mine"]));
        check_taints("Unknown", &["node.kubernetes.io/not-ready"], Some(&["node.kubernetes.io/unreachable"]));
        check_taints("True", &["node.kubernetes.io/disk-pressure"], Some(&[]));
    }
}
