//! When an object is current, by kind: the rules of kstatus (`sigs.k8s.io/cli-utils/pkg/kstatus/status`), plus a failure for
//! everything that will not get better by waiting.

use serde_json::Value;

use crate::object::{group_of, items, number, text};

/// What an object is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// What was declared is what is.
    Current,
    /// On the way; the message says what is missing.
    InProgress(String),
    /// It will not get there.
    Failed(String),
}

use Status::{Current, Failed, InProgress};

/// Judges a live object.
pub fn status(object: &Value) -> Status {
    if object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null()) {
        return InProgress("it is being deleted".to_owned());
    }
    let observed = number(object, "/status/observedGeneration");
    let generation = number(object, "/metadata/generation");
    if let (Some(observed), Some(generation)) = (observed, generation)
        && observed < generation
    {
        return InProgress(format!("generation {generation} has not been observed yet ({observed} was)"));
    }
    match (group_of(text(object, "/apiVersion")), text(object, "/kind")) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "ReplicaSet") => replica_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("batch", "Job") => job(object),
        ("", "Pod") => pod(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("", "Service") => service(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("" | "batch" | "apps", _) => Current,
        (group, _) if group.ends_with(".k8s.io") => Current,
        _ => custom(object),
    }
}

fn deployment(object: &Value) -> Status {
    if number(object, "/status/observedGeneration").is_none() {
        return InProgress("no controller has looked at it yet".to_owned());
    }
    if let Some(progressing) = condition(object, "Progressing")
        && text(progressing, "/reason") == "ProgressDeadlineExceeded"
    {
        return Failed(format!("its rollout made no progress in time: {}", text(progressing, "/message")));
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let count = |field: &str| number(object, &format!("/status/{field}")).unwrap_or(0);
    let (updated, total, available, ready) =
        (count("updatedReplicas"), count("replicas"), count("availableReplicas"), count("readyReplicas"));
    let quota = condition(object, "ReplicaFailure").filter(|failure| text(failure, "/status") == "True");
    if let Some(failure) = quota
        && total < wanted
    {
        return InProgress(format!("pods cannot be created: {}", text(failure, "/message")));
    }
    if updated < wanted {
        InProgress(format!("{updated} of {wanted} replicas have the new revision"))
    } else if total > updated {
        InProgress(format!("{} replicas of an older revision are still there", total - updated))
    } else if ready < wanted {
        InProgress(format!("{ready} of {wanted} replicas are ready"))
    } else if available < updated {
        InProgress(format!("{available} of {updated} replicas are available"))
    } else {
        Current
    }
}

fn stateful_set(object: &Value) -> Status {
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let count = |field: &str| number(object, &format!("/status/{field}")).unwrap_or(0);
    let (ready, updated) = (count("readyReplicas"), count("updatedReplicas"));
    let on_delete = text(object, "/spec/updateStrategy/type") == "OnDelete";
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    if number(object, "/status/observedGeneration").is_none() {
        InProgress("no controller has looked at it yet".to_owned())
    } else if ready < wanted {
        InProgress(format!("{ready} of {wanted} replicas are ready"))
    } else if !on_delete && updated < wanted - partition {
        InProgress(format!("{updated} of {} replicas have the new revision", wanted - partition))
    } else {
        Current
    }
}

fn replica_set(object: &Value) -> Status {
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    match number(object, "/status/availableReplicas").unwrap_or(0) {
        available if available < wanted => {
            InProgress(format!("{available} of {wanted} replicas are available"))
        }
        _ => Current,
    }
}

fn daemon_set(object: &Value) -> Status {
    let count = |field: &str| number(object, &format!("/status/{field}"));
    let Some(wanted) = count("desiredNumberScheduled").filter(|_| count("observedGeneration").is_some())
    else {
        return InProgress("no controller has looked at it yet".to_owned());
    };
    for (field, what) in
        [("updatedNumberScheduled", "have the new revision"), ("numberAvailable", "are available")]
    {
        let reached = count(field).unwrap_or(0);
        if reached < wanted {
            return InProgress(format!("{reached} of {wanted} pods {what}"));
        }
    }
    Current
}

fn job(object: &Value) -> Status {
    let is_true =
        |kind: &str| condition(object, kind).filter(|condition| text(condition, "/status") == "True");
    if is_true("Complete").is_some() {
        return Current;
    }
    if let Some(failed) = is_true("Failed") {
        return Failed(
            format!("it failed: {} {}", text(failed, "/reason"), text(failed, "/message"))
                .trim_end()
                .to_owned(),
        );
    }
    let (active, succeeded) =
        (number(object, "/status/active").unwrap_or(0), number(object, "/status/succeeded").unwrap_or(0));
    InProgress(format!(
        "{succeeded} of {} completions, {active} active",
        number(object, "/spec/completions").unwrap_or(1)
    ))
}

fn pod(object: &Value) -> Status {
    match text(object, "/status/phase") {
        "Succeeded" => Current,
        "Failed" => Failed(format!(
            "it failed: {} {}",
            text(object, "/status/reason"),
            text(object, "/status/message")
        )),
        phase => match condition(object, "Ready") {
            Some(ready) if text(ready, "/status") == "True" => Current,
            _ => InProgress(format!("it is {phase} and not ready")),
        },
    }
}

fn claim(object: &Value) -> Status {
    match text(object, "/status/phase") {
        "Bound" => Current,
        "Lost" => Failed("its volume is lost".to_owned()),
        // Binds when its first pod is scheduled, which the pod's workload waits for.
        _ if object.pointer("/metadata/annotations/volume.kubernetes.io~1selected-node").is_none() => {
            InProgress("it is not bound to a volume".to_owned())
        }
        phase => InProgress(format!("it is {phase}")),
    }
}

fn service(object: &Value) -> Status {
    let is_balancer = text(object, "/spec/type") == "LoadBalancer";
    let wants_address = matches!(text(object, "/spec/type"), "" | "ClusterIP" | "NodePort" | "LoadBalancer");
    if wants_address && text(object, "/spec/clusterIP").is_empty() {
        return InProgress("it has no address".to_owned());
    }
    if is_balancer && items(object, "/status/loadBalancer/ingress").is_empty() {
        return InProgress("no load balancer has been given to it".to_owned());
    }
    Current
}

fn definition(object: &Value) -> Status {
    if let Some(refused) =
        condition(object, "NamesAccepted").filter(|names| text(names, "/status") == "False")
    {
        return Failed(format!("its names are not accepted: {}", text(refused, "/message")));
    }
    match condition(object, "Established") {
        Some(established) if text(established, "/status") == "True" => Current,
        _ => InProgress("it is not established".to_owned()),
    }
}

/// Objects of custom kinds: the conditions kstatus defines, when they have them.
fn custom(object: &Value) -> Status {
    let is_true =
        |kind: &str| condition(object, kind).filter(|condition| text(condition, "/status") == "True");
    if let Some(stalled) = is_true("Stalled") {
        return Failed(text(stalled, "/message").to_owned());
    }
    if let Some(reconciling) = is_true("Reconciling") {
        return InProgress(text(reconciling, "/message").to_owned());
    }
    match condition(object, "Ready") {
        Some(ready) if text(ready, "/status") != "True" => {
            InProgress(format!("not ready: {}", text(ready, "/message")))
        }
        _ => Current,
    }
}

/// The condition of that type.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, "/status/conditions").iter().find(|condition| text(condition, "/type") == kind)
}

#[cfg(test)]
mod tests;
