//! Two revisions at once: the older one's pods cannot start, and whoever waits for them by label waits in vain.

use serde_json::Value;

use crate::diagnose::Cause;
use crate::diagnose::snapshot::Snapshot;
use crate::diagnose::view;
use crate::object::{number, text};

pub(super) fn older_revision(snapshot: &Snapshot) -> Vec<Cause> {
    let mut causes = Vec::new();
    for deployment in view::workloads(snapshot).filter(|workload| text(workload, "/kind") == "Deployment") {
        let sets = view::replica_sets(snapshot, deployment);
        let Some((newest, older)) = sets.split_first() else { continue };
        let status = |set: &Value, field: &str| number(set, &format!("/status/{field}")).unwrap_or(0);
        let doomed = older.iter().find(|set| status(set, "replicas") > status(set, "readyReplicas"));
        let Some(doomed) = doomed else { continue };
        let name = text(deployment, "/metadata/name");
        let (old, new) = (text(doomed, "/metadata/name"), text(newest, "/metadata/name"));
        let new_is_up = status(newest, "readyReplicas") >= number(newest, "/spec/replicas").unwrap_or(1);
        let pods = view::owned(&snapshot.pods, doomed)
            .map(|pod| format!("{}: {}", view::pod_place(pod), text(pod, "/status/phase")));
        let mut evidence = vec![format!(
            "ReplicaSet {old} (older): {}/{} ready; ReplicaSet {new} (newest): {}/{} ready",
            status(doomed, "readyReplicas"),
            status(doomed, "replicas"),
            status(newest, "readyReplicas"),
            status(newest, "replicas"),
        )];
        evidence.extend(pods.take(1));
        causes.push(Cause {
            sentence: format!("Deployment `{name}` still has pods of an older revision that will never be ready"),
            evidence,
            hint: format!("wait for the rollout, never for pods by label: kubectl rollout status deployment/{name} -n {}", text(deployment, "/metadata/namespace")),
            weight: if new_is_up { 87 } else { 45 },
        });
    }
    causes
}
