//! Rules of what makes pods.

use serde_json::{Map, Value};

use super::{fields, text};
use crate::schema::{FieldError, at_field};

fn template_labels(spec: &Map<String, Value>) -> Value {
    spec.get("template").map(|template| template["metadata"]["labels"].clone()).unwrap_or_default()
}

/// Whether a label selector selects these labels.
pub fn selects(selector: &Map<String, Value>, labels: &Value) -> bool {
    let equal =
        fields(selector, "matchLabels").into_iter().flatten().all(|(key, value)| labels[key] == *value);
    let expressions = selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten();
    equal
        && expressions.into_iter().all(|expression| {
            let label = &labels[expression["key"].as_str().unwrap_or_default()];
            let among = expression["values"].as_array().is_some_and(|values| values.contains(label));
            match expression["operator"].as_str().unwrap_or_default() {
                "In" => among,
                "NotIn" => !among,
                "Exists" => !label.is_null(),
                "DoesNotExist" => label.is_null(),
                _ => false,
            }
        })
}

/// The selector is there, says something, and selects the pods that will be made.
pub fn selector(spec: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let at = at_field(path, "selector");
    let Some(selector) = fields(spec, "selector") else {
        errors.push(FieldError::required(at, ""));
        return;
    };
    let empty = fields(selector, "matchLabels").is_none_or(Map::is_empty)
        && selector.get("matchExpressions").and_then(Value::as_array).is_none_or(Vec::is_empty);
    if empty {
        let detail = "empty selector is invalid";
        errors.push(FieldError::invalid(at, &Value::Object(selector.clone()), detail));
        return;
    }
    let labels = template_labels(spec);
    if !selects(selector, &labels) {
        let path = at_field(path, "template.metadata.labels");
        errors.push(FieldError::invalid(path, &labels, "`selector` does not match template `labels`"));
    }
}

fn restart_policy(spec: &Map<String, Value>) -> Value {
    spec.get("template").map(|template| template["spec"]["restartPolicy"].clone()).unwrap_or_default()
}

/// Pods that are kept running are restarted.
pub fn always_restart(spec: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let policy = restart_policy(spec);
    if !policy.is_null() && policy != "Always" {
        let path = at_field(path, "template.spec.restartPolicy");
        errors.push(FieldError::not_supported(path, &policy, &["Always"]));
    }
}

/// Pods of Jobs end.
pub fn job_template(spec: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    if restart_policy(spec) == "Always" {
        let path = at_field(path, "template.spec.restartPolicy");
        errors.push(FieldError::required(path, "valid values: \"OnFailure\", \"Never\""));
    }
    if text(spec, "completionMode") == "Indexed" && spec.get("completions").is_none_or(Value::is_null) {
        let detail = "when completion mode is Indexed";
        errors.push(FieldError::required(at_field(path, "completions"), detail));
    }
}

/// The selector of a Job selects its pods.
pub fn job_selector(job: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let Some(spec) = fields(job, "spec") else { return };
    let labels = template_labels(spec);
    if let Some(selector) = fields(spec, "selector")
        && !selects(selector, &labels)
    {
        let path = at_field(path, "spec.template.metadata.labels");
        errors.push(FieldError::invalid(path, &labels, "`selector` does not match template `labels`"));
    }
}

/// A rollout can proceed, and parameters fit the type.
pub fn strategy(strategy: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let Some(rolling) = fields(strategy, "rollingUpdate") else { return };
    let path = at_field(path, "rollingUpdate");
    if text(strategy, "type") == "Recreate" {
        let detail = "may not be specified when strategy `type` is 'Recreate'";
        errors.push(FieldError::forbidden(path, detail));
        return;
    }
    let zero = |field: &str| match rolling.get(field) {
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(Value::String(text)) => text.trim_end_matches('%').parse::<u32>() == Ok(0),
        _ => false,
    };
    if zero("maxUnavailable") && zero("maxSurge") {
        let detail = "may not be 0 when `maxSurge` is 0";
        errors.push(FieldError::invalid(
            at_field(&path, "maxUnavailable"),
            &rolling["maxUnavailable"],
            detail,
        ));
    }
    for field in ["maxUnavailable", "maxSurge"] {
        let fits = match rolling.get(field) {
            Some(Value::String(text)) => {
                text.strip_suffix('%').is_some_and(|number| number.parse::<u32>().is_ok())
            }
            Some(Value::Number(number)) => number.as_i64().is_some_and(|number| number >= 0),
            _ => true,
        };
        if !fits {
            let detail = "must be a non-negative integer or a percentage (e.g '5%')";
            errors.push(FieldError::invalid(at_field(&path, field), &rolling[field], detail));
        }
    }
}

/// The deadline leaves time for a pod to become available.
pub fn progress_deadline(spec: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let number = |field: &str| spec.get(field).and_then(Value::as_i64);
    let Some(deadline) = number("progressDeadlineSeconds") else { return };
    if deadline <= number("minReadySeconds").unwrap_or(0) {
        let detail = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid(
            at_field(path, "progressDeadlineSeconds"),
            &Value::from(deadline),
            detail,
        ));
    }
}
