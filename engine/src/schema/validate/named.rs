//! Rules of built-in types that look at more than one field.

mod pods;
mod webhooks;
mod workloads;

use serde_json::{Map, Value};

use crate::schema::format::{self, CONFIG_KEY_RULE};
use crate::schema::{FieldError, at_field, at_index, at_key};

/// A rule on one object of its type, at a path; adds what is broken.
pub type Named = fn(&Map<String, Value>, &str, &mut Vec<FieldError>);

/// The rule called `name` in the table.
pub fn rule(name: &str) -> Option<Named> {
    Some(match name {
        "metadata" => metadata,
        "label-selector" => label_selector,
        "config-keys" => config_keys,
        "policy-rule" => policy_rule,
        "service" => service,
        "target-port" => target_port,
        "volume-mounts" => pods::volume_mounts,
        "container-names" => pods::container_names,
        "port-names" => pods::port_names,
        "env-var" => pods::env_var,
        "one-source" => pods::one_source,
        "one-volume-source" => pods::one_volume_source,
        "one-handler" => pods::one_handler,
        "handler-port" => pods::handler_port,
        "requests-within-limits" => pods::requests_within_limits,
        "workload" => workloads::selector,
        "always-restart" => workloads::always_restart,
        "deployment-strategy" => workloads::strategy,
        "progress-deadline" => workloads::progress_deadline,
        "job-template" => workloads::job_template,
        "job-selector" => workloads::job_selector,
        "webhook" => webhooks::webhook,
        "webhook-client" => webhooks::client,
        _ => return None,
    })
}

fn text<'a>(object: &'a Map<String, Value>, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(object: &'a Map<String, Value>, field: &str) -> &'a [Value] {
    object.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn fields<'a>(object: &'a Map<String, Value>, field: &str) -> Option<&'a Map<String, Value>> {
    object.get(field).and_then(Value::as_object)
}

fn labels(labels: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    for (key, value) in labels {
        if let Some(fault) = format::check_qualified_name(key) {
            errors.push(FieldError::invalid(path, &Value::String(key.clone()), fault));
        }
        if let Some(fault) = value.as_str().and_then(format::check_label_value) {
            errors.push(FieldError::invalid(path, value, fault));
        }
    }
}

/// Labels, annotations and finalizers. Names follow rules of their kind and are checked elsewhere.
fn metadata(metadata: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(found) = fields(metadata, "labels") {
        labels(found, &at_field(path, "labels"), errors);
    }
    let path_of_annotations = at_field(path, "annotations");
    let mut size = 0;
    for (key, value) in fields(metadata, "annotations").into_iter().flatten() {
        size += key.len() + value.as_str().unwrap_or_default().len();
        if let Some(fault) = format::check_qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(&path_of_annotations, &Value::String(key.clone()), fault));
        }
    }
    if size > 256 * 1024 {
        errors.push(FieldError::too_long(&path_of_annotations, 256 * 1024));
    }
    for finalizer in list(metadata, "finalizers") {
        let name = finalizer.as_str().unwrap_or_default();
        if let Some(fault) = format::check_qualified_name(name) {
            errors.push(FieldError::invalid(at_field(path, "finalizers"), finalizer, fault));
        }
    }
    let controllers =
        list(metadata, "ownerReferences").iter().filter(|owner| owner["controller"] == true).count();
    if controllers > 1 {
        let detail = "Only one reference can have Controller set to true. Found \"true\" in references";
        errors.push(FieldError::invalid(
            at_field(path, "ownerReferences"),
            &Value::from(controllers),
            detail,
        ));
    }
}

fn label_selector(selector: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(found) = fields(selector, "matchLabels") {
        labels(found, &at_field(path, "matchLabels"), errors);
    }
    for (index, expression) in list(selector, "matchExpressions").iter().enumerate() {
        let path = at_index(&at_field(path, "matchExpressions"), index);
        let values = expression["values"].as_array().map_or(0, Vec::len);
        match expression["operator"].as_str().unwrap_or_default() {
            "In" | "NotIn" if values == 0 => errors.push(FieldError::required(
                at_field(&path, "values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if values > 0 => errors.push(FieldError::forbidden(
                at_field(&path, "values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(FieldError::invalid(
                at_field(&path, "operator"),
                &expression["operator"],
                "not a valid selector operator",
            )),
        }
        let key = expression["key"].as_str().unwrap_or_default();
        if let Some(fault) = format::check_qualified_name(key) {
            errors.push(FieldError::invalid(at_field(&path, "key"), &expression["key"], fault));
        }
    }
}

fn config_keys(object: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    for field in ["data", "binaryData"] {
        for key in fields(object, field).into_iter().flatten().map(|(key, _)| key) {
            if !format::is_config_key(key) {
                let at = at_key(&at_field(path, field), key);
                errors.push(FieldError::invalid(at, &Value::String(key.clone()), CONFIG_KEY_RULE));
            }
        }
    }
}

fn policy_rule(rule: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let given = |field: &str| !list(rule, field).is_empty();
    if given("nonResourceURLs") {
        if given("apiGroups") || given("resources") || given("resourceNames") {
            let detail = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(FieldError::invalid(
                at_field(path, "nonResourceURLs"),
                &rule["nonResourceURLs"],
                detail,
            ));
        }
        return;
    }
    for field in ["apiGroups", "resources"] {
        if !given(field) {
            let detail = match field {
                "apiGroups" => "resource rules must supply at least one api group",
                _ => "resource rules must supply at least one resource",
            };
            errors.push(FieldError::required(at_field(path, field), detail));
        }
    }
}

fn service(service: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let Some(spec) = fields(service, "spec") else { return };
    let path = at_field(path, "spec");
    let ports = list(spec, "ports");
    let ports_path = at_field(&path, "ports");
    let kind = text(spec, "type");
    if ports.is_empty() && text(spec, "clusterIP") != "None" && kind != "ExternalName" {
        errors.push(FieldError::required(&ports_path, ""));
    }
    if kind == "ExternalName" && !format::is_dns_subdomain(text(spec, "externalName").trim_end_matches('.')) {
        errors.push(FieldError::required(at_field(&path, "externalName"), ""));
    }
    for (index, port) in ports.iter().enumerate() {
        let at = at_index(&ports_path, index);
        let name = port["name"].as_str().unwrap_or_default();
        if ports.len() > 1 && name.is_empty() {
            errors.push(FieldError::required(at_field(&at, "name"), ""));
        }
        let earlier = || ports.iter().take(index);
        if !name.is_empty() && earlier().any(|other| other["name"] == name) {
            errors.push(FieldError::duplicate(at_field(&at, "name"), &port["name"]));
        }
        if earlier().any(|other| other["port"] == port["port"] && other["protocol"] == port["protocol"]) {
            let identity = serde_json::json!({"port": port["port"], "protocol": port["protocol"]});
            errors.push(FieldError::duplicate(at, &identity));
        }
    }
    if let Some(selector) = fields(spec, "selector") {
        labels(selector, &at_field(&path, "selector"), errors);
    }
}

fn target_port(port: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(target) = port.get("targetPort") {
        pods::check_port(target, &at_field(path, "targetPort"), errors);
    }
}
