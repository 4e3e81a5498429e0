//! The chain from a workload down to what its containers said, as indented lines.

use serde_json::Value;

use super::snapshot::Snapshot;
use super::view::{self, Container};
use crate::object::{items, number, text};

const EVENTS: usize = 4;
const LOG_LINES: usize = 4;
/// Characters of a log line; the saved picture has all of it.
const LOG_WIDTH: usize = 300;

/// Every workload of the component, each with what it made.
pub(super) fn chain(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(snapshot.notes.iter().map(|note| format!("waiting for: {note}")));
    lines.extend(snapshot.missing.iter().map(|id| format!("{id}: applied, and not there")));
    for workload in view::workloads(snapshot) {
        let kind = text(workload, "/kind");
        lines.push(format!("{kind} {}: {}", text(workload, "/metadata/name"), counts(workload)));
        events(snapshot, workload, 1, &mut lines);
        match kind {
            "Deployment" => {
                let sets = view::replica_sets(snapshot, workload);
                let newest = sets.first().map(|set| text(set, "/metadata/uid")).unwrap_or_default();
                for set in sets.into_iter().filter(|set| is_of_interest(set, newest)) {
                    let age = if text(set, "/metadata/uid") == newest { "" } else { " (older revision)" };
                    lines.push(format!(
                        "  → ReplicaSet {}: {}{age}",
                        text(set, "/metadata/name"),
                        counts(set)
                    ));
                    events(snapshot, set, 2, &mut lines);
                    view::owned(&snapshot.pods, set).for_each(|pod| pod_lines(snapshot, pod, 2, &mut lines));
                }
            }
            _ => {
                view::owned(&snapshot.pods, workload).for_each(|pod| pod_lines(snapshot, pod, 1, &mut lines))
            }
        }
    }
    for service in snapshot.objects.iter().filter(|object| text(object, "/kind") == "Service") {
        let name = text(service, "/metadata/name");
        let (ready, total) = endpoints(snapshot, service);
        lines.push(format!("Service {name}: {ready} of {total} endpoints ready"));
    }
    lines.extend(snapshot.blind.iter().map(|blind| format!("could not be looked at: {blind}")));
    lines
}

/// Old ReplicaSets without pods are history.
fn is_of_interest(set: &Value, newest: &str) -> bool {
    text(set, "/metadata/uid") == newest || number(set, "/status/replicas").unwrap_or(0) > 0
}

fn counts(workload: &Value) -> String {
    let status = |field: &str| number(workload, &format!("/status/{field}")).unwrap_or(0);
    match text(workload, "/kind") {
        "Job" => format!(
            "{} active, {} succeeded, {} failed",
            status("active"),
            status("succeeded"),
            status("failed")
        ),
        "DaemonSet" => format!("{}/{} ready", status("numberReady"), status("desiredNumberScheduled")),
        _ => format!("{}/{} ready", status("readyReplicas"), number(workload, "/spec/replicas").unwrap_or(1)),
    }
}

/// How many endpoints of a Service are ready, and how many there are.
pub(super) fn endpoints(snapshot: &Snapshot, service: &Value) -> (usize, usize) {
    let of_service = |slice: &&Value| {
        text(slice, "/metadata/labels/kubernetes.io~1service-name") == text(service, "/metadata/name")
            && text(slice, "/metadata/namespace") == text(service, "/metadata/namespace")
    };
    let all: Vec<&Value> = snapshot
        .endpoint_slices
        .iter()
        .filter(of_service)
        .flat_map(|slice| items(slice, "/endpoints"))
        .collect();
    let is_ready =
        |endpoint: &&&Value| endpoint.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false);
    (all.iter().filter(is_ready).count(), all.len())
}

fn pod_lines(snapshot: &Snapshot, pod: &Value, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let phase = text(pod, "/status/phase");
    let deleted = if text(pod, "/metadata/deletionTimestamp").is_empty() { "" } else { ", being deleted" };
    lines.push(format!("{indent}→ Pod {}: {phase}{deleted}", text(pod, "/metadata/name")));
    for container in view::containers(pod) {
        lines.push(format!("{indent}  → container {}: {}", container.name(), state(&container)));
        if let Some(log) = view::logs(snapshot, &container).first() {
            let when = if log.previous { "log before the last restart" } else { "log" };
            let from = log.lines.len().saturating_sub(LOG_LINES);
            lines.extend(
                log.lines[from..].iter().map(|line| format!("{indent}    → {when}: {}", shortened(line))),
            );
        }
    }
    events(snapshot, pod, depth + 1, lines);
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(LOG_WIDTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

fn state(container: &Container<'_>) -> String {
    let restarts = match container.restarts() {
        0 => String::new(),
        number => format!(", {number} restarts"),
    };
    let ended = container.ended().map(|ended| {
        let message = Some(text(ended, "/message").trim()).filter(|message| !message.is_empty());
        let message = message.map(|message| format!(": {message}")).unwrap_or_default();
        format!("exit code {} ({}){message}", number(ended, "/exitCode").unwrap_or(0), text(ended, "/reason"))
    });
    let now = if !container.waiting().is_empty() {
        let message = Some(container.waiting_message()).filter(|message| !message.is_empty());
        let message = message.map(|message| format!(": {message}")).unwrap_or_default();
        format!("waiting, {}{message}", container.waiting())
    } else if container.status.pointer("/state/running").is_some_and(Value::is_object) {
        if container.is_ready() { "running, ready".to_owned() } else { "running, not ready".to_owned() }
    } else {
        "ended".to_owned()
    };
    match ended {
        Some(ended) => format!("{now}{restarts}, last end: {ended}"),
        None => format!("{now}{restarts}"),
    }
}

/// The last warnings about an object; everything else is routine.
fn events(snapshot: &Snapshot, object: &Value, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let warnings: Vec<&Value> = view::events(snapshot, object)
        .into_iter()
        .filter(|event| text(event, "/type") == "Warning")
        .collect();
    for event in &warnings[warnings.len().saturating_sub(EVENTS)..] {
        let count = match number(event, "/count").unwrap_or(1) {
            1 => String::new(),
            number => format!(" (x{number})"),
        };
        lines.push(format!("{indent}→ event {}{count}: {}", text(event, "/reason"), text(event, "/message")));
    }
}
