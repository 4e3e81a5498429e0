//! Probes: asking at a place where nobody answers, or killing what only needed time.

use serde_json::Value;

use super::between;
use crate::diagnose::Cause;
use crate::diagnose::snapshot::Snapshot;
use crate::diagnose::view::{self, Container};
use crate::object::{items, text};

pub(super) fn readiness(snapshot: &Snapshot) -> Vec<Cause> {
    let waiting = |container: &Container<'_>| {
        let running = container.status.pointer("/state/running").is_some_and(Value::is_object);
        running && !container.is_ready() && container.spec.get("readinessProbe").is_some()
    };
    let containers = view::all_containers(snapshot).into_iter().filter(waiting);
    containers
        .filter_map(|container| judge(snapshot, &container, "readinessProbe", "Readiness probe failed"))
        .collect()
}

pub(super) fn liveness(snapshot: &Snapshot) -> Vec<Cause> {
    let mut causes = Vec::new();
    for container in view::all_containers(snapshot).into_iter().filter(|container| container.restarts() > 0) {
        for (probe, words) in
            [("livenessProbe", "Liveness probe failed"), ("startupProbe", "Startup probe failed")]
        {
            let Some(failure) = last_failure(snapshot, &container, words) else { continue };
            let name = container.name();
            let kind = probe.trim_end_matches("Probe");
            let mut evidence = vec![format!("event of {}: {failure}", view::pod_place(container.pod))];
            // When the place itself is wrong, that is the cause and the restarts are its consequence.
            let hint = match judge(snapshot, &container, probe, words) {
                Some(wrong_place) if wrong_place.weight > 80 => {
                    evidence.push(wrong_place.sentence);
                    wrong_place.hint
                }
                _ => "give it a `startupProbe`, or a larger `initialDelaySeconds`, `timeoutSeconds` or `failureThreshold`".to_owned(),
            };
            causes.push(Cause {
                sentence: format!("container `{name}` is restarted by its {kind} probe"),
                evidence,
                hint,
                weight: 90,
            });
        }
    }
    causes
}

/// What is wrong with one probe of a container, from its declaration and the kubelet's last complaint about it.
fn judge(snapshot: &Snapshot, container: &Container<'_>, field: &str, complaint: &str) -> Option<Cause> {
    let probe = container.spec.get(field)?;
    let name = container.name();
    let kind = field.trim_end_matches("Probe");
    let ports = items(container.spec, "/ports");
    let declared: Vec<String> = ports
        .iter()
        .map(|port| {
            let number = port.get("containerPort").and_then(Value::as_i64).unwrap_or(0);
            match text(port, "/name") {
                "" => number.to_string(),
                name => format!("{number} ({name})"),
            }
        })
        .collect();
    let declared = if declared.is_empty() { "none".to_owned() } else { declared.join(", ") };
    let failure = last_failure(snapshot, container, complaint);
    let target = ["httpGet", "tcpSocket", "grpc"].into_iter().find_map(|action| probe.get(action))?;
    let port = target.get("port")?;
    let (shown, number) = match port {
        Value::String(named) => {
            let of_name = ports.iter().find(|each| text(each, "/name") == named);
            (format!("`{named}`"), of_name.and_then(|each| each.get("containerPort")?.as_i64()))
        }
        port => (port.to_string(), port.as_i64()),
    };
    let is_declared = ports
        .iter()
        .any(|each| each.get("containerPort").and_then(Value::as_i64) == number && number.is_some());
    let mut evidence =
        vec![format!("{}: {kind} probe at port {shown}, container ports: {declared}", container.place())];
    evidence.extend(failure.map(|failure| format!("event of {}: {failure}", view::pod_place(container.pod))));
    let lower = failure.unwrap_or_default().to_lowercase();
    let refused = ["connection refused", "connectionrefused", "connect: ", "connection reset"]
        .iter()
        .any(|word| lower.contains(word));
    let status = between(&format!("{lower} "), "statuscode: ", " ").and_then(|code| code.parse::<u16>().ok());
    let path = text(target, "/path");
    let correct = |what: &str| {
        format!("correct `{field}.httpGet.{what}` of container `{name}`; its ports are: {declared}")
    };
    let (sentence, hint, weight) = if number.is_none() {
        (
            format!(
                "the {kind} probe of container `{name}` names port {shown}, which the container does not declare"
            ),
            correct("port"),
            98,
        )
    } else if refused && !is_declared {
        (
            format!("the {kind} probe of container `{name}` asks at port {shown}, where nothing listens"),
            correct("port"),
            97,
        )
    } else if refused {
        let listening = listening_line(snapshot, container);
        evidence.extend(listening);
        (
            format!("nothing listens on port {shown} of container `{name}`, which its {kind} probe asks"),
            format!(
                "let the program listen there on all addresses, not only on 127.0.0.1, or {}",
                correct("port")
            ),
            82,
        )
    } else if status == Some(404) {
        (
            format!("the {kind} probe of container `{name}` asks for `{path}`, which it does not serve"),
            correct("path"),
            95,
        )
    } else if let Some(status) = status {
        let said = format!(
            "container `{name}` itself says that it is not {} (status {status} at `{path}`)",
            if kind == "readiness" { "ready" } else { "well" }
        );
        (
            said,
            format!(
                "its log says what it waits for: kubectl logs {} -n {}",
                text(container.pod, "/metadata/name"),
                text(container.pod, "/metadata/namespace")
            ),
            60,
        )
    } else if lower.contains("timeout") || lower.contains("deadline exceeded") {
        (
            format!("container `{name}` does not answer its {kind} probe in time"),
            format!("raise `{field}.timeoutSeconds`, or give it more cpu"),
            62,
        )
    } else if !is_declared {
        (
            format!(
                "the {kind} probe of container `{name}` asks at port {shown}, which is not one of its ports"
            ),
            correct("port"),
            55,
        )
    } else {
        return None;
    };
    Some(Cause { sentence, evidence, hint, weight })
}

/// The kubelet's last complaint of that kind about a container's pod.
fn last_failure<'a>(snapshot: &'a Snapshot, container: &Container<'a>, complaint: &str) -> Option<&'a str> {
    let events = view::events(snapshot, container.pod);
    let of_container = |event: &&&Value| {
        let path = text(event, "/involvedObject/fieldPath");
        path.is_empty() || path.contains(&format!("{{{}}}", container.name()))
    };
    let mut complaints = events.iter().filter(of_container).map(|event| text(event, "/message"));
    complaints.rfind(|message| message.to_lowercase().contains(&complaint.to_lowercase()))
}

/// Where the program says it listens.
fn listening_line(snapshot: &Snapshot, container: &Container<'_>) -> Option<String> {
    let mut lines = view::logs(snapshot, container).into_iter().flat_map(|log| &log.lines);
    let listening = |line: &&String| {
        ["listening", "serving", "bound to"].iter().any(|word| line.to_lowercase().contains(word))
    };
    let line = lines.rfind(listening)?;
    Some(format!("log of {}: {}", container.place(), line.trim()))
}
