//! One component judged against what is live: current, still waiting, or beyond hope.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::time::Instant;

use super::live::{Live, is_awaited};
use super::rules::{Status, status};
use super::trouble::{Trouble, trouble};
use super::wants_endpoints;
use crate::object::{Object, ObjectId, id_of, items, text};
use crate::render::RenderedComponent;

/// What to make of a component. The lists say what each object lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Current,
    Waiting(Vec<(ObjectId, String)>),
    Failed(Vec<(ObjectId, String)>),
}

/// Judges the objects of a component. `troubles` remembers since when each trouble lasts.
pub(super) fn component(
    component: &RenderedComponent,
    live: &Live,
    troubles: &mut BTreeMap<String, Instant>,
    now: Instant,
) -> Verdict {
    let mut lacking = Vec::new();
    let mut failed = Vec::new();
    let mut still_troubled = Vec::new();
    for object in component.objects.iter().filter(|object| is_awaited(object.group(), object.kind())) {
        let id = object.id();
        if !live.is_synced() {
            let message = live.watch_error.clone().unwrap_or_else(|| "not seen yet".to_owned());
            lacking.push((id, message));
            continue;
        }
        let Some(value) = live.get(&id) else {
            lacking.push((id, "it was deleted after it had been applied".to_owned()));
            continue;
        };
        match judge(component, object, value, live) {
            Status::Current => continue,
            Status::Failed(message) => failed.push((id, message)),
            Status::InProgress(message) => {
                for (pod, trouble) in pod_troubles(component, value, live) {
                    let Trouble { sentence, grace } = trouble;
                    let key = format!("{pod}: {sentence}");
                    let since = *troubles.entry(key.clone()).or_insert(now);
                    still_troubled.push(key);
                    match now.duration_since(since) >= grace {
                        true => failed.push((pod, sentence)),
                        false => lacking.push((pod, sentence)),
                    }
                }
                lacking.push((id, message));
            }
        }
    }
    troubles.retain(|key, _| still_troubled.contains(key));
    match (failed.is_empty(), lacking.is_empty()) {
        (false, _) => {
            failed.extend(lacking);
            Verdict::Failed(failed)
        }
        (true, false) => Verdict::Waiting(lacking),
        (true, true) => Verdict::Current,
    }
}

fn judge(component: &RenderedComponent, object: &Object, value: &Value, live: &Live) -> Status {
    let is_service = object.group().is_empty() && object.kind() == "Service";
    if is_service && wants_endpoints(component.readiness) && value.pointer("/spec/selector").is_some() {
        return match ready_endpoints(object, live) {
            0 => Status::InProgress("no endpoint is ready".to_owned()),
            _ => status(value),
        };
    }
    status(value)
}

/// Addresses behind a Service that take traffic. A missing `ready` means ready.
fn ready_endpoints(service: &Object, live: &Live) -> usize {
    let of_service = |slice: &&Value| {
        let labels = slice.pointer("/metadata/labels/kubernetes.io~1service-name");
        labels.and_then(Value::as_str) == Some(service.name())
            && text(slice, "/metadata/namespace") == service.namespace().unwrap_or("default")
    };
    let is_ready =
        |endpoint: &&Value| endpoint.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false);
    let slices = live.of_kind("EndpointSlice").filter(of_service);
    slices.flat_map(|slice| items(slice, "/endpoints").iter().filter(is_ready)).count()
}

/// Troubles of the pods that the newest revision of a workload has made.
fn pod_troubles(component: &RenderedComponent, workload: &Value, live: &Live) -> Vec<(ObjectId, Trouble)> {
    let owner = match text(workload, "/kind") {
        "Deployment" => match newest_replica_set(workload, live) {
            Some(replica_set) => replica_set,
            None => return Vec::new(),
        },
        _ => workload,
    };
    live.owned_by("Pod", owner)
        .filter_map(|pod| Some((id_of(pod), trouble(pod, component.restarts, &component.provides)?)))
        .collect()
}

/// The ReplicaSet of a Deployment's newest revision.
fn newest_replica_set<'a>(deployment: &'a Value, live: &'a Live) -> Option<&'a Value> {
    let revision = |set: &Value| {
        let annotation = text(set, "/metadata/annotations/deployment.kubernetes.io~1revision");
        (annotation.parse::<u64>().unwrap_or(0), text(set, "/metadata/creationTimestamp").to_owned())
    };
    live.owned_by("ReplicaSet", deployment).max_by_key(|set| revision(set))
}

#[cfg(test)]
mod tests;
