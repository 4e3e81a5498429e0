//! Nodes: not ready, under pressure, or not taking the pod.

use serde_json::Value;

use crate::diagnose::Cause;
use crate::diagnose::snapshot::Snapshot;
use crate::diagnose::view;
use crate::object::text;
use crate::ready::rules::condition;

pub(super) fn not_ready(snapshot: &Snapshot) -> Vec<Cause> {
    let mut causes = Vec::new();
    let used: Vec<&str> = view::pods(snapshot).into_iter().map(|pod| text(pod, "/spec/nodeName")).collect();
    for node in &snapshot.nodes {
        let name = text(node, "/metadata/name");
        let weight = if used.contains(&name) { 89 } else { 40 };
        let hint = format!("see what its kubelet says: kubectl describe node {name}");
        let report = |sentence: String, condition: &Value| Cause {
            sentence,
            evidence: vec![format!(
                "node {name}: {}: {}",
                text(condition, "/reason"),
                text(condition, "/message")
            )],
            hint: hint.clone(),
            weight,
        };
        if let Some(ready) = condition(node, "Ready").filter(|ready| text(ready, "/status") != "True") {
            causes.push(report(format!("node `{name}` is not ready"), ready));
        }
        for (pressure, what) in
            [("DiskPressure", "disk"), ("MemoryPressure", "memory"), ("PIDPressure", "process ids")]
        {
            if let Some(pressure) =
                condition(node, pressure).filter(|pressure| text(pressure, "/status") == "True")
            {
                causes.push(report(format!("node `{name}` runs out of {what} and evicts pods"), pressure));
            }
        }
    }
    causes
}

pub(super) fn unschedulable(snapshot: &Snapshot) -> Vec<Cause> {
    let refused = |pod: &&Value| {
        condition(pod, "PodScheduled").is_some_and(|scheduled| text(scheduled, "/reason") == "Unschedulable")
    };
    let pods = view::pods(snapshot).into_iter().filter(refused);
    pods.map(|pod| {
        let message =
            condition(pod, "PodScheduled").map(|scheduled| text(scheduled, "/message")).unwrap_or_default();
        Cause {
            sentence: "no node takes the pod".to_owned(),
            evidence: vec![format!("{}: {message}", view::pod_place(pod))],
            hint: "lower its requests, or correct its node selector, tolerations or volumes".to_owned(),
            weight: 90,
        }
    })
    .collect()
}
