//! Volumes: claims that are not bound, and places that cannot be written.

use serde_json::Value;

use super::{distinct, kubectl};
use crate::diagnose::Cause;
use crate::diagnose::snapshot::Snapshot;
use crate::diagnose::view::{self, Container};
use crate::object::{items, text};

pub(super) fn read_only(snapshot: &Snapshot) -> Vec<Cause> {
    let mut causes = Vec::new();
    for container in
        view::all_containers(snapshot).into_iter().filter(|each| !each.is_ready() || each.restarts() > 0)
    {
        let lines = view::logs(snapshot, &container).into_iter().flat_map(|log| &log.lines);
        for line in lines {
            let lower = line.to_lowercase();
            let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
            let name = container.name();
            let (sentence, hint) = if has(&[
                "readonly database",
                "read-only database",
                "read-only file system",
                "os error 30",
            ]) {
                (
                    format!("container `{name}` writes to a place that is mounted read-only"),
                    read_only_hint(&container),
                )
            } else if has(&["no space left on device", "disk is full", "os error 28"]) {
                (
                    format!("a volume of container `{name}` is full"),
                    "make room, or enlarge the claim".to_owned(),
                )
            } else if has(&["unable to open database file", "permission denied (os error 13)"]) {
                let hint =
                    "let the volume belong to the container's user: `securityContext.fsGroup`".to_owned();
                (format!("container `{name}` may not open a file it needs"), hint)
            } else {
                continue;
            };
            let evidence = distinct([format!("log of {}: {}", container.place(), line.trim())], 1);
            causes.push(Cause { sentence, evidence, hint, weight: 96 });
            break;
        }
    }
    causes
}

/// Names the mount that is read-only, when it can be seen.
fn read_only_hint(container: &Container<'_>) -> String {
    let is_read_only = |value: &Value| value.get("readOnly").and_then(Value::as_bool).unwrap_or(false);
    let mounts = items(container.spec, "/volumeMounts");
    if let Some(mount) = mounts.iter().find(|mount| is_read_only(mount)) {
        return format!(
            "remove `readOnly: true` from volume mount `{}` at {}",
            text(mount, "/name"),
            text(mount, "/mountPath")
        );
    }
    let claims = items(container.pod, "/spec/volumes")
        .iter()
        .filter(|volume| volume.get("persistentVolumeClaim").is_some_and(is_read_only));
    if let Some(volume) = claims.into_iter().next() {
        return format!("remove `readOnly: true` from the claim of volume `{}`", text(volume, "/name"));
    }
    let root = container
        .spec
        .pointer("/securityContext/readOnlyRootFilesystem")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    match root {
        true => "its root file system is read-only: mount a volume where it writes".to_owned(),
        false => "mount a writable volume where it writes".to_owned(),
    }
}

pub(super) fn claim_pending(snapshot: &Snapshot) -> Vec<Cause> {
    let used: Vec<&str> = view::pods(snapshot)
        .into_iter()
        .flat_map(|pod| items(pod, "/spec/volumes"))
        .map(|volume| text(volume, "/persistentVolumeClaim/claimName"))
        .collect();
    let is_ours = |claim: &&Value| {
        let name = text(claim, "/metadata/name");
        used.contains(&name)
            || snapshot.objects.iter().any(|object| {
                text(object, "/kind") == text(claim, "/kind") && text(object, "/metadata/name") == name
            })
    };
    let unbound =
        snapshot.claims.iter().filter(is_ours).filter(|claim| text(claim, "/status/phase") != "Bound");
    unbound
        .map(|claim| {
            let name = text(claim, "/metadata/name");
            let mut said = view::events(snapshot, claim)
                .into_iter()
                .map(|event| format!("event {}: {}", text(event, "/reason"), text(event, "/message")));
            let mut evidence = vec![format!("claim {name}: phase {}", text(claim, "/status/phase"))];
            evidence.extend(said.next_back());
            Cause {
                sentence: format!("claim `{name}` is not bound to a volume"),
                evidence,
                hint: format!(
                    "see which storage classes there are: kubectl get storageclass; then {}",
                    kubectl(&format!("describe pvc {name}"), claim)
                ),
                weight: 86,
            }
        })
        .collect()
}
