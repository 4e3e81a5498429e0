//! Ways through a snapshot that the causes and the chain have in common: from a workload to its pods, from a pod to its events.

use serde_json::Value;

use super::snapshot::{LogTail, Snapshot};
use crate::object::{items, number, text};

/// A container of a pod: its status and its specification.
pub(super) struct Container<'a> {
    pub(super) pod: &'a Value,
    pub(super) status: &'a Value,
    /// `Null` when the pod does not specify it, which only a broken snapshot shows.
    pub(super) spec: &'a Value,
}

impl<'a> Container<'a> {
    pub(super) fn name(&self) -> &'a str {
        text(self.status, "/name")
    }

    /// Why it waits; empty when it does not.
    pub(super) fn waiting(&self) -> &'a str {
        text(self.status, "/state/waiting/reason")
    }

    pub(super) fn waiting_message(&self) -> &'a str {
        text(self.status, "/state/waiting/message")
    }

    pub(super) fn restarts(&self) -> i64 {
        number(self.status, "/restartCount").unwrap_or(0)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.status.get("ready").and_then(Value::as_bool).unwrap_or(false)
    }

    /// How it ended, now or last time.
    pub(super) fn ended(&self) -> Option<&'a Value> {
        let mut ended = ["/state/terminated", "/lastState/terminated"]
            .into_iter()
            .filter_map(|at| self.status.pointer(at));
        ended.find(|ended| ended.is_object())
    }

    /// `pod shop/web-1, container web`, for evidence.
    pub(super) fn place(&self) -> String {
        format!("{}, container {}", pod_place(self.pod), self.name())
    }
}

/// `pod shop/web-1`.
pub(super) fn pod_place(pod: &Value) -> String {
    format!("pod {}/{}", text(pod, "/metadata/namespace"), text(pod, "/metadata/name"))
}

/// Objects owned by `owner`.
pub(super) fn owned<'a>(objects: &'a [Value], owner: &'a Value) -> impl Iterator<Item = &'a Value> {
    let uid = text(owner, "/metadata/uid");
    objects.iter().filter(move |object| {
        items(object, "/metadata/ownerReferences")
            .iter()
            .any(|owner| !uid.is_empty() && text(owner, "/uid") == uid)
    })
}

/// The workloads of the component.
pub(super) fn workloads(snapshot: &Snapshot) -> impl Iterator<Item = &Value> {
    let kinds = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"];
    snapshot.objects.iter().filter(move |object| kinds.contains(&text(object, "/kind")))
}

/// ReplicaSets of a Deployment, newest revision first.
pub(super) fn replica_sets<'a>(snapshot: &'a Snapshot, deployment: &'a Value) -> Vec<&'a Value> {
    let mut sets: Vec<&Value> = owned(&snapshot.replica_sets, deployment).collect();
    sets.sort_by_key(|set| std::cmp::Reverse(revision(set)));
    sets
}

fn revision(set: &Value) -> (u64, &str) {
    let annotation = text(set, "/metadata/annotations/deployment.kubernetes.io~1revision");
    (annotation.parse().unwrap_or(0), text(set, "/metadata/creationTimestamp"))
}

/// The pods of the newest revision of every workload of the component, and pods that are objects of it themselves.
pub(super) fn pods(snapshot: &Snapshot) -> Vec<&Value> {
    let mut found: Vec<&Value> = Vec::new();
    for workload in workloads(snapshot) {
        match text(workload, "/kind") {
            "Deployment" => {
                if let Some(newest) = replica_sets(snapshot, workload).first() {
                    found.extend(owned(&snapshot.pods, newest));
                }
            }
            _ => found.extend(owned(&snapshot.pods, workload)),
        }
    }
    found.extend(snapshot.objects.iter().filter(|object| text(object, "/kind") == "Pod"));
    found
}

/// The containers of a pod, init containers first.
pub(super) fn containers(pod: &Value) -> Vec<Container<'_>> {
    let lists = [
        ("/status/initContainerStatuses", "/spec/initContainers"),
        ("/status/containerStatuses", "/spec/containers"),
    ];
    let of = |(statuses, specs): (&str, &str)| {
        let specs = items(pod, specs);
        let container = |status| {
            let same_name = |spec: &&Value| text(spec, "/name") == text(status, "/name");
            Container { pod, status, spec: specs.iter().find(same_name).unwrap_or(&Value::Null) }
        };
        items(pod, statuses).iter().map(container).collect::<Vec<_>>()
    };
    lists.into_iter().flat_map(of).collect()
}

/// Every container of every pod that counts.
pub(super) fn all_containers(snapshot: &Snapshot) -> Vec<Container<'_>> {
    pods(snapshot).into_iter().flat_map(containers).collect()
}

/// Events about an object, oldest first.
pub(super) fn events<'a>(snapshot: &'a Snapshot, object: &'a Value) -> Vec<&'a Value> {
    let about = |event: &&Value| {
        text(event, "/involvedObject/name") == text(object, "/metadata/name")
            && text(event, "/involvedObject/kind") == text(object, "/kind")
            && text(event, "/involvedObject/namespace") == text(object, "/metadata/namespace")
    };
    let mut found: Vec<&Value> = snapshot.events.iter().filter(about).collect();
    found.sort_by_key(|event| last_seen(event));
    found
}

fn last_seen(event: &Value) -> &str {
    let times = ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    times.into_iter().map(|at| text(event, at)).find(|time| !time.is_empty()).unwrap_or_default()
}

/// Logs of a container, the life that ended last first: that is the one whose last words matter.
pub(super) fn logs<'a>(snapshot: &'a Snapshot, container: &Container<'_>) -> Vec<&'a LogTail> {
    let (namespace, pod) =
        (text(container.pod, "/metadata/namespace"), text(container.pod, "/metadata/name"));
    let mut found: Vec<&LogTail> = snapshot
        .logs
        .iter()
        .filter(|log| log.namespace == namespace && log.pod == pod && log.container == container.name())
        .collect();
    found.sort_by_key(|log| !log.previous);
    found
}

/// The line of a log that says most about why it ended: the last that speaks of an error, else the last.
pub(super) fn telling_line(lines: &[String]) -> Option<&str> {
    let speaks_of_an_error = |line: &&String| {
        let lower = line.to_lowercase();
        ["error", "fatal", "panic", "failed", "denied", "refused", "cannot", "invalid"]
            .iter()
            .any(|word| lower.contains(word))
    };
    let is_noise = |line: &&String| line.trim().is_empty() || line.contains("RUST_BACKTRACE");
    let last_error = lines.iter().rev().filter(|line| !is_noise(line)).find(speaks_of_an_error);
    last_error.or_else(|| lines.iter().rev().find(|line| !is_noise(line))).map(String::as_str)
}
