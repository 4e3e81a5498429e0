//! Pods: their first status, and the little of their spec that may change.

use serde_json::{Value, json};

use crate::schema::{FieldError, quantity};

/// Text of the rule, as upstream.
const RULE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// A new pod is pending.
pub fn begin(pod: &mut Value) {
    pod["status"] = json!({"phase": "Pending", "qosClass": qos_class(&pod["spec"])});
}

/// How much of what it asks for a pod is promised.
fn qos_class(spec: &Value) -> &'static str {
    let containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|field| spec[field].as_array().into_iter().flatten());
    let amount = |of: &Value| match of {
        Value::String(text) => quantity::nanos(text),
        Value::Number(number) => quantity::nanos(&number.to_string()),
        _ => None,
    };
    let (mut any, mut guaranteed) = (false, true);
    for container in containers {
        for resource in ["cpu", "memory"] {
            let request = amount(&container["resources"]["requests"][resource]);
            let limit = amount(&container["resources"]["limits"][resource]);
            any |= request.or(limit).is_some_and(|amount| amount > 0);
            guaranteed &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Adds what a writer may not have changed.
pub fn check_update(old: &Value, new: &Value, faults: &mut Vec<FieldError>) {
    let (before, after) = (&old["spec"], &new["spec"]);
    let kept = |field: &str| {
        let tolerations = after[field].as_array();
        before[field]
            .as_array()
            .into_iter()
            .flatten()
            .all(|toleration| tolerations.is_some_and(|tolerations| tolerations.contains(toleration)))
    };
    if !kept("tolerations") {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        faults.push(FieldError::forbidden("spec.tolerations", detail));
    }
    if changeless(before, after) != *after {
        faults.push(FieldError::forbidden("spec", RULE));
    }
}

/// The spec before, with every change made that may be made.
fn changeless(before: &Value, after: &Value) -> Value {
    let mut spec = before.clone();
    for field in ["containers", "initContainers"] {
        let images = after[field].as_array().into_iter().flatten();
        let containers = spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
        for (container, changed) in containers.zip(images) {
            if let Some(image) = changed.get("image") {
                container["image"] = image.clone();
            }
        }
    }
    let Some(fields) = spec.as_object_mut() else { return spec };
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        match after.get(field) {
            Some(value) => fields.insert(field.to_owned(), value.clone()),
            None => fields.remove(field),
        };
    }
    let negative = before["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0);
    if negative && after["terminationGracePeriodSeconds"] == 1 {
        fields.insert("terminationGracePeriodSeconds".to_owned(), json!(1));
    }
    spec
}
