//! The versions an object has: how it is stored, and how each version of its resource shows it.
//!
//! Events of the core group and of `events.k8s.io` are the same objects under different field names, stored as the former.
//! Versions of a custom resource differ in their name only (`conversion.strategy: None`).

use serde_json::{Value, json};

use crate::schema::Resource;

/// Fields of an event: the name in the core group, and in `events.k8s.io`.
const FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn is_new_event(resource: &Resource) -> bool {
    resource.group == "events.k8s.io" && resource.plural == "events"
}

/// The stored form of an object of `resource`.
pub fn stored(resource: &Resource, mut object: Value) -> Value {
    if is_new_event(resource) {
        rename(&mut object, FIELDS.map(|(core, new)| (new, core)));
        object["apiVersion"] = json!("v1");
    }
    object
}

/// A stored object as `resource`, which is one version of it, shows it.
pub fn shown(resource: &Resource, mut object: Value) -> Value {
    if is_new_event(resource) {
        rename(&mut object, FIELDS);
    }
    let version = resource.api_version();
    if object["apiVersion"] != version.as_str() {
        object["apiVersion"] = json!(version);
    }
    object
}

fn rename(object: &mut Value, names: [(&str, &str); 7]) {
    let Some(fields) = object.as_object_mut() else { return };
    for (from, to) in names {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Registry;

    #[test]
    fn an_event_is_one_object_in_two_groups() {
        let registry = Registry::builtin();
        let core = registry.resource("", "v1", "events").unwrap();
        let new = registry.resource("events.k8s.io", "v1", "events").unwrap();
        let sent = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "a"}, "reason": "Started",
            "regarding": {"kind": "Pod", "name": "p"}, "note": "hello", "reportingController": "node"});
        let kept = stored(&new, sent.clone());
        assert_eq!(
            shown(&core, kept.clone()),
            json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "a"}, "reason": "Started",
                "involvedObject": {"kind": "Pod", "name": "p"}, "message": "hello", "reportingComponent": "node"})
        );
        assert_eq!(shown(&new, kept), sent);
    }
}
