//! Fields that are written once.

use serde_json::Value;

use super::id;
use crate::schema::{FieldError, Resource};

/// What may change of a StatefulSet.
const STATEFUL_SET: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// Fields of a resource that may not change, with the reason.
fn fields(resource: &Resource) -> &'static [(&'static [&'static str], &'static str)] {
    const IMMUTABLE: &str = "field is immutable";
    match id(resource) {
        ("apps", "deployments" | "replicasets" | "daemonsets") => &[(&["spec", "selector"], IMMUTABLE)],
        ("batch", "jobs") => &[
            (&["spec", "selector"], IMMUTABLE),
            (&["spec", "template"], IMMUTABLE),
            (&["spec", "completionMode"], IMMUTABLE),
        ],
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            &[(&["roleRef"], "cannot change roleRef")]
        }
        ("", "secrets") => &[(&["type"], IMMUTABLE)],
        ("scheduling.k8s.io", "priorityclasses") => &[(&["value"], "may not be changed in an update")],
        ("storage.k8s.io", "storageclasses") => &[
            (&["provisioner"], IMMUTABLE),
            (&["parameters"], IMMUTABLE),
            (&["reclaimPolicy"], IMMUTABLE),
            (&["volumeBindingMode"], IMMUTABLE),
        ],
        _ => &[],
    }
}

fn at<'a>(object: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(object, |value, field| &value[*field])
}

/// Adds what was changed and may not.
pub fn check(resource: &Resource, old: &Value, new: &Value, faults: &mut Vec<FieldError>) {
    for (path, why) in fields(resource) {
        let (before, after) = (at(old, path), at(new, path));
        if before != after {
            faults.push(FieldError::invalid(path.join("."), after, why));
        }
    }
    match id(resource) {
        ("apps", "statefulsets") if differ(&old["spec"], &new["spec"], &STATEFUL_SET) => {
            let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
            faults.push(FieldError::forbidden("spec", detail));
        }
        ("", "persistentvolumeclaims") => {
            let mut may_change = vec!["resources", "volumeAttributesClassName"];
            // A claim is bound, and given its class, once.
            may_change.extend(
                ["volumeName", "storageClassName"].into_iter().filter(|field| old["spec"][*field].is_null()),
            );
            if differ(&old["spec"], &new["spec"], &may_change) {
                let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
                faults.push(FieldError::forbidden("spec", detail));
            }
        }
        ("", "configmaps" | "secrets") if old["immutable"] == true => {
            if new["immutable"] != true {
                let detail = "field is immutable when `immutable` is set";
                faults.push(FieldError::forbidden("immutable", detail));
            }
            for field in ["data", "binaryData"].into_iter().filter(|field| old[*field] != new[*field]) {
                faults.push(FieldError::forbidden(field, "field is immutable when `immutable` is set"));
            }
        }
        _ => {}
    }
}

/// Whether anything but the fields in `may_change` differs.
fn differ(before: &Value, after: &Value, may_change: &[&str]) -> bool {
    let names = |object: &Value| -> Vec<String> {
        object.as_object().into_iter().flat_map(|fields| fields.keys().cloned()).collect()
    };
    names(before)
        .into_iter()
        .chain(names(after))
        .any(|name| !may_change.contains(&name.as_str()) && before[&name] != after[&name])
}
