//! Where pods hide in objects: the pod spec of every built-in kind that has one.

use serde_json::Value;

use crate::object::{group_of, items, text};

/// JSON pointer of the pod spec in an object of that kind.
fn pointer(group: &str, kind: &str) -> Option<&'static str> {
    match (group, kind) {
        ("", "Pod") => Some("/spec"),
        ("", "PodTemplate") => Some("/template/spec"),
        ("batch", "CronJob") => Some("/spec/jobTemplate/spec/template/spec"),
        ("" | "apps" | "batch", _) => Some("/spec/template/spec"),
        _ => None,
    }
}

/// The pod spec of an object, when it has one.
pub fn spec(object: &Value) -> Option<&Value> {
    object.pointer(pointer(group_of(text(object, "/apiVersion")), text(object, "/kind"))?)
}

/// The pod spec of an object, to be changed.
pub(super) fn spec_mut(object: &mut Value) -> Option<&mut Value> {
    let pointer = pointer(group_of(text(object, "/apiVersion")), text(object, "/kind"))?;
    object.pointer_mut(pointer)
}

/// Names of the container lists of a pod spec, in the order they run.
pub(super) const LISTS: [&str; 2] = ["initContainers", "containers"];

/// The containers of an object's pods as (list, name, image), init containers first.
pub fn containers(object: &Value) -> Vec<(&'static str, &str, &str)> {
    let Some(spec) = spec(object) else { return Vec::new() };
    let of = |list: &'static str| {
        items(spec, &format!("/{list}"))
            .iter()
            .map(move |each| (list, text(each, "/name"), text(each, "/image")))
    };
    LISTS.into_iter().flat_map(of).collect()
}
