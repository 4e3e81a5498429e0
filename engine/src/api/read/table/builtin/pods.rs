//! Pods.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Kind;
use crate::api::read::table::text::{NONE, age, items, number, or_none, since, text};

pub const KIND: Kind = Kind {
    group: "",
    plural: "pods",
    columns: "Name,Ready,Status,Restarts,Age,IP+,Node+,Nominated Node+,Readiness Gates+",
    cells,
};

fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let containers = items(pod, "/spec/containers").count() + sidecars(pod);
    let ready = items(pod, "/status/containerStatuses").filter(|status| status["ready"] == true);
    let ready = ready.count()
        + items(pod, "/status/initContainerStatuses")
            .filter(|status| status["ready"] == true && is_sidecar(pod, text(status, "/name")))
            .count();
    let gates: Vec<&str> =
        items(pod, "/spec/readinessGates").map(|gate| text(gate, "/conditionType")).collect();
    let passed = gates.iter().filter(|gate| condition(pod, gate) == "True").count();
    let gates = if gates.is_empty() { json!(NONE) } else { json!(format!("{passed}/{}", gates.len())) };
    vec![
        json!(format!("{ready}/{containers}")),
        json!(status(pod)),
        json!(restarts(pod, now)),
        age(pod, now),
        or_none(text(pod, "/status/podIP")),
        or_none(text(pod, "/spec/nodeName")),
        or_none(text(pod, "/status/nominatedNodeName")),
        gates,
    ]
}

fn condition<'a>(pod: &'a Value, kind: &str) -> &'a str {
    items(pod, "/status/conditions")
        .find(|condition| condition["type"] == kind)
        .map_or("", |condition| text(condition, "/status"))
}

fn is_sidecar(pod: &Value, name: &str) -> bool {
    items(pod, "/spec/initContainers")
        .any(|container| container["name"] == name && container["restartPolicy"] == "Always")
}

fn sidecars(pod: &Value) -> usize {
    items(pod, "/spec/initContainers").filter(|container| container["restartPolicy"] == "Always").count()
}

/// One phrase for how the pod is: what holds it up, or its phase.
fn status(pod: &Value) -> String {
    let reason = match text(pod, "/status/reason") {
        "" => text(pod, "/status/phase"),
        reason => reason,
    };
    let mut status = initializing(pod).or_else(|| containers(pod)).unwrap_or_else(|| reason.to_owned());
    let gated =
        |condition: &&Value| condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated";
    if items(pod, "/status/conditions").any(|condition| gated(&condition)) {
        status = "SchedulingGated".to_owned();
    }
    if pod["metadata"]["deletionTimestamp"].is_string() {
        let finished = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
        status = match text(pod, "/status/reason") {
            "NodeLost" => "Unknown".to_owned(),
            _ if finished => status,
            _ => "Terminating".to_owned(),
        };
    }
    status
}

/// What the first init container that is not done is doing.
fn initializing(pod: &Value) -> Option<String> {
    let total = items(pod, "/spec/initContainers").count();
    for (index, status) in items(pod, "/status/initContainerStatuses").enumerate() {
        let terminated = &status["state"]["terminated"];
        let (code, waiting) = (terminated["exitCode"].as_i64(), text(status, "/state/waiting/reason"));
        let is_up = is_sidecar(pod, text(status, "/name")) && status["started"] == true;
        if code == Some(0) || is_up {
            continue;
        }
        return Some(match (code, text(terminated, "/reason"), waiting) {
            (Some(code), "", _) => match terminated["signal"].as_i64() {
                Some(signal) if signal != 0 => format!("Init:Signal:{signal}"),
                _ => format!("Init:ExitCode:{code}"),
            },
            (Some(_), reason, _) => format!("Init:{reason}"),
            (None, _, waiting) if !waiting.is_empty() && waiting != "PodInitializing" => {
                format!("Init:{waiting}")
            }
            _ => format!("Init:{index}/{total}"),
        });
    }
    None
}

/// What the containers are doing, when that says more than the phase. The first container's word counts.
fn containers(pod: &Value) -> Option<String> {
    let mut said: Option<String> = None;
    let mut running = false;
    let statuses: Vec<&Value> = items(pod, "/status/containerStatuses").collect();
    for status in statuses.into_iter().rev() {
        let terminated = &status["state"]["terminated"];
        let waiting = text(status, "/state/waiting/reason");
        if !waiting.is_empty() {
            said = Some(waiting.to_owned());
        } else if !text(terminated, "/reason").is_empty() {
            said = Some(text(terminated, "/reason").to_owned());
        } else if terminated.is_object() {
            said = Some(match number(terminated, "/signal") {
                0 => format!("ExitCode:{}", number(terminated, "/exitCode")),
                signal => format!("Signal:{signal}"),
            });
        } else if status["ready"] == true && status["state"]["running"].is_object() {
            running = true;
        }
    }
    // One container has ended and another goes on.
    if said.as_deref() == Some("Completed") && running {
        let ready = condition(pod, "Ready") == "True";
        return Some(if ready { "Running" } else { "NotReady" }.to_owned());
    }
    said
}

fn restarts(pod: &Value, now: Timestamp) -> String {
    let all = || items(pod, "/status/containerStatuses").chain(items(pod, "/status/initContainerStatuses"));
    let count: i64 = all().map(|status| number(status, "/restartCount")).sum();
    let last = all()
        .filter_map(|status| text(status, "/lastState/terminated/finishedAt").parse::<Timestamp>().ok())
        .max();
    match last {
        Some(last) if count > 0 => format!("{count} ({} ago)", since(&last.to_string(), now)),
        _ => count.to_string(),
    }
}
