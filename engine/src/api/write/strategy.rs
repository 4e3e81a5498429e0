//! What the server itself does to an object that is written, and what it does not let a writer do, by resource.
//!
//! Everything here decides on values alone. The general rules are in this file; its children know one kind each.

pub mod definitions;
mod immutable;
mod jobs;
mod pods;
mod secrets;

use serde_json::{Map, Value, json};

use super::metadata;
use crate::schema::{FieldError, Resource};

/// Label that every Namespace has, with its name.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// Group and plural, to match on.
pub fn id(resource: &Resource) -> (&str, &str) {
    (&resource.group, &resource.plural)
}

/// Fills in what a writer may leave out: defaults, and what other fields imply.
pub fn complete(resource: &Resource, object: &mut Value) {
    match id(resource) {
        ("", "secrets") => secrets::merge_string_data(object),
        ("", "namespaces") => label_namespace(object),
        _ => {}
    }
    resource.schema.apply_defaults(object);
}

fn label_namespace(object: &mut Value) {
    let name = metadata::text(object, "name").to_owned();
    let Some(metadata) = metadata::of(object).filter(|_| !name.is_empty()) else { return };
    if let Some(labels) = metadata.entry("labels").or_insert_with(|| json!({})).as_object_mut() {
        labels.insert(NAMESPACE_LABEL.to_owned(), json!(name));
    }
}

/// Makes an object new: its status is empty and its generation the first. It has its identity already.
pub fn prepare_create(resource: &Resource, object: &mut Value) {
    // The node itself says how it is when it registers.
    let reports_itself = id(resource) == ("", "nodes");
    if resource.subresources.status
        && !reports_itself
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
    if has_generation(resource) {
        metadata::set(object, "generation", json!(1));
    }
    match id(resource) {
        ("", "pods") => pods::begin(object),
        ("", "namespaces") => object["spec"] = json!({"finalizers": ["kubernetes"]}),
        ("batch", "jobs") => jobs::generate_selector(object),
        ("apiextensions.k8s.io", "customresourcedefinitions") => definitions::remember_version(object),
        _ => {}
    }
    complete(resource, object);
}

/// Makes `new` a state that may follow `old` when it is written to `subresource`: what cannot be written there stays as it
/// was, and the generation counts changes of what is wanted.
pub fn prepare_update(resource: &Resource, subresource: &str, old: &Value, new: &mut Value) {
    match subresource {
        "status" => keep_all_but_status(resource, old, new),
        "binding" => {}
        "finalize" => {
            let spec = new.get_mut("spec").map(Value::take).unwrap_or_default();
            *new = with_managers_of(new, old);
            new["spec"] = spec;
        }
        _ => {
            if resource.subresources.status {
                keep(old, new, "status");
            }
            match id(resource) {
                ("", "namespaces") => keep(old, new, "spec"),
                ("apiextensions.k8s.io", "customresourcedefinitions") => definitions::remember_version(new),
                _ => {}
            }
        }
    }
    metadata::carry_over(old, new);
    // Which node a pod runs on is no wish.
    if has_generation(resource) && subresource != "binding" && wanted(resource, old) != wanted(resource, new)
    {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
        metadata::set(new, "generation", json!(generation + 1));
    }
    complete(resource, new);
}

/// A status write changes the status; of built-in kinds also metadata, which some controllers rely on.
fn keep_all_but_status(resource: &Resource, old: &Value, new: &mut Value) {
    let status = new.get_mut("status").map(Value::take);
    let mut next = with_managers_of(new, old);
    if !resource.custom {
        next["metadata"] = new["metadata"].take();
    }
    if let Some(fields) = next.as_object_mut() {
        match status.filter(|status| !status.is_null()) {
            Some(status) => fields.insert("status".to_owned(), status),
            None => fields.remove("status"),
        };
    }
    *new = next;
}

/// `old`, with the field managers of `new`.
fn with_managers_of(new: &Value, old: &Value) -> Value {
    let mut next = old.clone();
    metadata::set(&mut next, "managedFields", new["metadata"]["managedFields"].clone());
    next
}

fn keep(old: &Value, new: &mut Value, field: &str) {
    let Some(fields) = new.as_object_mut() else { return };
    match old.get(field) {
        Some(value) => fields.insert(field.to_owned(), value.clone()),
        None => fields.remove(field),
    };
}

/// What is wrong with a new object, beyond what its schema says.
pub fn check_create(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut faults: Vec<FieldError> = metadata::check_name(resource, object).into_iter().collect();
    if id(resource) == ("apiextensions.k8s.io", "customresourcedefinitions") {
        definitions::check(object, &mut faults);
    }
    faults
}

/// What the writer of `new` may not have changed.
pub fn check_update(resource: &Resource, subresource: &str, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut faults = metadata::check_update(old, new);
    if subresource.is_empty() {
        immutable::check(resource, old, new, &mut faults);
        match id(resource) {
            ("", "pods") => pods::check_update(old, new, &mut faults),
            ("apiextensions.k8s.io", "customresourcedefinitions") => {
                definitions::check(new, &mut faults);
                definitions::check_update(old, new, &mut faults);
            }
            _ => {}
        }
    }
    faults
}

/// Whether `metadata.generation` of the objects counts changes of what is wanted.
pub fn has_generation(resource: &Resource) -> bool {
    resource.custom
        || match id(resource) {
            ("apps", plural) => plural != "controllerrevisions",
            ("", "pods" | "replicationcontrollers")
            | (
                "batch"
                | "networking.k8s.io"
                | "policy"
                | "admissionregistration.k8s.io"
                | "apiextensions.k8s.io"
                | "discovery.k8s.io",
                _,
            ) => true,
            _ => false,
        }
}

/// Whether a replacement has to say which state it replaces.
pub fn needs_resource_version(resource: &Resource) -> bool {
    resource.custom
        || matches!(
            id(resource),
            ("apiextensions.k8s.io" | "admissionregistration.k8s.io" | "coordination.k8s.io" | "policy", _)
        )
}

/// What is wanted: everything but names, metadata and the status that is written elsewhere.
fn wanted<'a>(resource: &Resource, object: &'a Value) -> Vec<(&'a String, &'a Value)> {
    let fields = object.as_object().into_iter().flat_map(Map::iter);
    let mut wanted: Vec<_> = fields
        .filter(|(name, value)| match name.as_str() {
            "apiVersion" | "kind" | "metadata" => false,
            "status" => !resource.subresources.status,
            _ => !value.is_null(),
        })
        .collect();
    wanted.sort_by_key(|(name, _)| name.as_str());
    wanted
}

#[cfg(test)]
mod tests;
