//! Services that lead nowhere.

use serde_json::Value;

use super::kubectl;
use crate::diagnose::Cause;
use crate::diagnose::chain::endpoints;
use crate::diagnose::snapshot::Snapshot;
use crate::diagnose::view;
use crate::object::{items, text};

pub(super) fn no_endpoints(snapshot: &Snapshot) -> Vec<Cause> {
    let services = snapshot.objects.iter().filter(|object| text(object, "/kind") == "Service");
    let empty = services.filter(|service| endpoints(snapshot, service).0 == 0);
    empty.filter_map(|service| judge(snapshot, service)).collect()
}

fn judge(snapshot: &Snapshot, service: &Value) -> Option<Cause> {
    let name = text(service, "/metadata/name");
    let selector = service.pointer("/spec/selector")?.as_object().filter(|selector| !selector.is_empty())?;
    let shown: Vec<String> =
        selector.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    let shown = shown.join(",");
    let same_namespace =
        |pod: &&Value| text(pod, "/metadata/namespace") == text(service, "/metadata/namespace");
    let labels =
        |pod: &Value| pod.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
    let is_selected = |pod: &&Value| selector.iter().all(|(key, value)| labels(pod).get(key) == Some(value));
    let pods: Vec<&Value> = view::pods(snapshot).into_iter().filter(same_namespace).collect();
    let selected: Vec<&Value> = snapshot.pods.iter().filter(same_namespace).filter(is_selected).collect();
    let (ready, total) = endpoints(snapshot, service);
    let counted = format!("Service {name}: {ready} of {total} endpoints ready, selector {shown}");
    if selected.is_empty() {
        let own: Vec<String> = pods
            .first()
            .map(|pod| {
                labels(pod)
                    .iter()
                    .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
                    .collect()
            })
            .unwrap_or_default();
        let mut evidence = vec![counted];
        evidence
            .extend(pods.first().map(|pod| format!("{}: labels {}", view::pod_place(pod), own.join(","))));
        let hint = "let the selector name labels of the pod template".to_owned();
        let weight = if pods.is_empty() { 35 } else { 91 };
        return Some(Cause { sentence: format!("Service `{name}` selects no pod"), evidence, hint, weight });
    }
    let unknown_port =
        items(service, "/spec/ports").iter().map(|port| text(port, "/targetPort")).find(|target| {
            let has = |pod: &&&Value| {
                items(pod, "/spec/containers")
                    .iter()
                    .flat_map(|each| items(each, "/ports"))
                    .any(|port| text(port, "/name") == *target)
            };
            !target.is_empty() && !selected.iter().any(|pod| has(&pod))
        });
    if let Some(target) = unknown_port {
        return Some(Cause {
            sentence: format!("Service `{name}` leads to port `{target}`, which its pods do not declare"),
            evidence: vec![counted],
            hint: format!("name a container port `{target}`, or correct `targetPort`"),
            weight: 91,
        });
    }
    Some(Cause {
        sentence: format!(
            "Service `{name}` has no ready endpoint, because none of its {} pods is ready",
            selected.len()
        ),
        evidence: vec![counted],
        hint: format!(
            "a consequence, not a cause; the pods say why: {}",
            kubectl(&format!("describe pods -l {shown}"), service)
        ),
        weight: 20,
    })
}
