//! CustomResourceDefinitions: what makes one valid, what may not change, and what the server says of one it serves.

use serde_json::{Value, json};

use crate::api::write::metadata;
use crate::schema::{FieldError, Registry, format};

/// Keeps a definition until its objects are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Whether the definition is served.
pub fn is_established(definition: &Value) -> bool {
    condition(definition, "Established").is_some_and(|condition| condition["status"] == "True")
}

fn condition<'a>(definition: &'a Value, kind: &str) -> Option<&'a Value> {
    definition["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn versions(definition: &Value) -> impl Iterator<Item = &Value> {
    definition["spec"]["versions"].as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Adds what is wrong with a definition.
pub fn check(definition: &Value, faults: &mut Vec<FieldError>) {
    let spec = &definition["spec"];
    let (group, names) = (text(&spec["group"]), &spec["names"]);
    for (path, value) in [
        ("spec.group", &spec["group"]),
        ("spec.names.plural", &names["plural"]),
        ("spec.names.kind", &names["kind"]),
    ] {
        if text(value).is_empty() {
            faults.push(FieldError::required(path, ""));
        }
    }
    for (field, value) in [("plural", text(&names["plural"])), ("kind", &text(&names["kind"]).to_lowercase())]
    {
        if !value.is_empty() && !format::is_dns_label(value) {
            faults.push(FieldError::invalid(
                format!("spec.names.{field}"),
                &names[field],
                format::LABEL_RULE,
            ));
        }
    }
    let name = metadata::text(definition, "name");
    if name != format!("{}.{group}", text(&names["plural"])) {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        faults.push(FieldError::invalid("metadata.name", &json!(name), detail));
    }
    match text(&spec["scope"]) {
        "Cluster" | "Namespaced" => {}
        "" => faults.push(FieldError::required("spec.scope", "")),
        _ => faults.push(FieldError::not_supported("spec.scope", &spec["scope"], &["Cluster", "Namespaced"])),
    }
    // Versions differ in their name only here.
    if text(&spec["conversion"]["strategy"]) == "Webhook" {
        let strategy = &spec["conversion"]["strategy"];
        faults.push(FieldError::not_supported("spec.conversion.strategy", strategy, &["None"]));
    }
    check_versions(definition, faults);
    if let Err(schemas) = Registry::builtin().with_crd(definition) {
        faults.extend(schemas.into_iter().map(fault_of));
    }
}

fn check_versions(definition: &Value, faults: &mut Vec<FieldError>) {
    if versions(definition).next().is_none() {
        faults.push(FieldError::required(
            "spec.versions",
            "must have exactly one version marked as storage version",
        ));
        return;
    }
    if versions(definition).filter(|version| version["storage"] == true).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        faults.push(FieldError::invalid("spec.versions", &definition["spec"]["versions"], detail));
    }
    for (index, version) in versions(definition).enumerate() {
        let path = format!("spec.versions[{index}].name");
        let name = text(&version["name"]);
        if !format::is_dns_label(name) {
            faults.push(FieldError::invalid(&path, &version["name"], format::LABEL_RULE));
        }
        if versions(definition).take(index).any(|earlier| earlier["name"] == version["name"]) {
            faults.push(FieldError::duplicate(path, &version["name"]));
        }
    }
}

/// A fault of a schema, written as `path: Reason: detail`.
fn fault_of(text: String) -> FieldError {
    let (path, message) = text.split_once(": ").unwrap_or(("spec.versions", &text));
    let reason = match message.split(':').next().unwrap_or_default() {
        "Required value" => "FieldValueRequired",
        "Forbidden" => "FieldValueForbidden",
        "Unsupported value" => "FieldValueNotSupported",
        _ => "FieldValueInvalid",
    };
    FieldError { path: path.to_owned(), reason, message: message.to_owned(), bad_value: Value::Null }
}

/// Adds what may not change any more.
pub fn check_update(old: &Value, new: &Value, faults: &mut Vec<FieldError>) {
    let (before, after) = (&old["spec"], &new["spec"]);
    if is_established(old) {
        for (path, before, after) in [
            ("spec.scope", &before["scope"], &after["scope"]),
            ("spec.names.kind", &before["names"]["kind"], &after["names"]["kind"]),
        ] {
            if before != after {
                faults.push(FieldError::invalid(path, after, "field is immutable"));
            }
        }
    }
    for (index, stored) in new["status"]["storedVersions"].as_array().into_iter().flatten().enumerate() {
        if !versions(new).any(|version| version["name"] == *stored) {
            let version = text(stored);
            let detail = format!(
                "missing from spec.versions; {version} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {version} and removes {version} from status.storedVersions"
            );
            faults.push(FieldError::invalid(format!("status.storedVersions[{index}]"), stored, detail));
        }
    }
}

/// The status keeps in mind which versions objects were ever stored in.
pub fn remember_version(definition: &mut Value) {
    let storage = versions(definition).find(|version| version["storage"] == true);
    let Some(name) = storage.map(|version| version["name"].clone()) else { return };
    if !definition["status"].is_object() {
        definition["status"] = json!({});
    }
    let stored = &mut definition["status"]["storedVersions"];
    match stored.as_array_mut() {
        Some(stored) if stored.contains(&name) => {}
        Some(stored) => stored.push(name),
        None => *stored = json!([name]),
    }
}

/// Why the names of a definition cannot be had: reason and message.
pub fn name_conflict(registry: &Registry, definition: &Value) -> Option<(&'static str, String)> {
    let spec = &definition["spec"];
    let (group, names) = (text(&spec["group"]), &spec["names"]);
    let plural = text(&names["plural"]);
    let others: Vec<_> = registry
        .resources()
        .filter(|other| other.group == group && !(other.custom && other.plural == plural))
        .collect();
    let taken = |name: &str| {
        others.iter().any(|other| {
            other.plural == name
                || other.singular == name
                || other.short_names.iter().any(|short| short == name)
        })
    };
    let kind_taken = |kind: &str| others.iter().any(|other| other.kind == kind || other.list_kind == kind);
    let conflict = |reason, name: &str| Some((reason, format!("{name:?} is already in use")));
    let singular = text(&names["singular"]);
    if taken(plural) {
        return conflict("PluralConflict", plural);
    }
    if taken(singular) {
        return conflict("SingularConflict", singular);
    }
    let mut short_names = names["shortNames"].as_array().into_iter().flatten().map(text);
    if let Some(short) = short_names.find(|short| taken(short)) {
        return conflict("ShortNamesConflict", short);
    }
    let (kind, list_kind) = (text(&names["kind"]), text(&names["listKind"]));
    if kind_taken(kind) {
        return conflict("KindConflict", kind);
    }
    if kind_taken(list_kind) { conflict("ListKindConflict", list_kind) } else { None }
}

/// The definition with what the server says of it, given whether its names can be had.
pub fn settled(definition: &Value, conflict: Option<(&str, String)>, now: &str) -> Value {
    let mut next = definition.clone();
    if !next["status"].is_object() {
        next["status"] = json!({});
    }
    match conflict {
        None => {
            next["status"]["acceptedNames"] = definition["spec"]["names"].clone();
            set_condition(&mut next, now, "NamesAccepted", "True", "NoConflicts", "no conflicts found");
            let message = "the initial names have been accepted";
            set_condition(&mut next, now, "Established", "True", "InitialNamesAccepted", message);
            if !metadata::is_terminating(&next)
                && !metadata::finalizers(&next).any(|known| known == FINALIZER)
            {
                let finalizers: Vec<&str> = metadata::finalizers(definition).chain([FINALIZER]).collect();
                metadata::set(&mut next, "finalizers", json!(finalizers));
            }
        }
        Some((reason, message)) => {
            set_condition(&mut next, now, "NamesAccepted", "False", reason, &message);
            // What is served stays served.
            if !is_established(&next) {
                let message = "not all names are accepted";
                set_condition(&mut next, now, "Established", "False", "NotAccepted", message);
            }
        }
    }
    if metadata::is_terminating(&next) {
        let message = "CustomResource deletion is in progress";
        set_condition(&mut next, now, "Terminating", "True", "InstanceDeletionInProgress", message);
    }
    next
}

/// Sets a condition; its time moves only when its status does.
fn set_condition(definition: &mut Value, now: &str, kind: &str, status: &str, reason: &str, message: &str) {
    let known = condition(definition, kind).filter(|known| known["status"] == status);
    let since = known.map_or_else(|| json!(now), |known| known["lastTransitionTime"].clone());
    let next = json!({"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message});
    let conditions = &mut definition["status"]["conditions"];
    let Some(conditions) = conditions.as_array_mut() else {
        *conditions = json!([next]);
        return;
    };
    match conditions.iter_mut().find(|condition| condition["type"] == kind) {
        Some(condition) => *condition = next,
        None => conditions.push(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn definition() -> Value {
        json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList", "shortNames": ["w"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}})
    }

    fn faults(changes: Value) -> Vec<String> {
        let definition = crate::patch::merge_patch(&definition(), &changes).unwrap();
        let mut faults = Vec::new();
        check(&definition, &mut faults);
        faults.into_iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect()
    }

    #[test]
    fn a_definition_has_a_name_a_scope_and_versions_with_structural_schemas() {
        assert_eq!(faults(json!({})), Vec::<String>::new());
        for (changes, fault) in [
            (
                json!({"metadata": {"name": "gadgets.example.com"}}),
                "metadata.name: Invalid value: \"gadgets.example.com\": must be spec.names.plural+\".\"+spec.group",
            ),
            (
                json!({"spec": {"scope": "Planet"}}),
                "spec.scope: Unsupported value: \"Planet\": supported values: \"Cluster\", \"Namespaced\"",
            ),
            (
                json!({"spec": {"conversion": {"strategy": "Webhook"}}}),
                "spec.conversion.strategy: Unsupported value: \"Webhook\": supported values: \"None\"",
            ),
            (
                json!({"spec": {"versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                    {"type": "object", "properties": {"a": {}}}}}]}}),
                "spec.versions[0].schema.openAPIV3Schema.properties[a].type: Required value: must not be empty for specified object fields",
            ),
        ] {
            assert_eq!(faults(changes), [fault]);
        }
        let unstored = json!({"spec": {"versions": [{"name": "v1", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
        assert!(faults(unstored)[0].ends_with("must have exactly one version marked as storage version"));
    }

    #[test]
    fn accepted_names_establish_a_definition_and_taken_ones_do_not() {
        let registry = Registry::builtin();
        assert_eq!(name_conflict(&registry, &definition()), None);
        let served = settled(&definition(), None, NOW);
        assert!(is_established(&served));
        assert_eq!(served["status"]["acceptedNames"]["kind"], "Widget");
        assert_eq!(served["metadata"]["finalizers"], json!([FINALIZER]));
        assert_eq!(settled(&served, None, "2027-01-01T00:00:00Z"), served);

        let registry = registry.with_crd(&served).unwrap();
        assert_eq!(name_conflict(&registry, &served), None);
        let mut other = definition();
        other["spec"]["names"]["plural"] = json!("gizmos");
        other["spec"]["names"]["singular"] = json!("gizmo");
        let conflict = name_conflict(&registry, &other);
        assert_eq!(conflict, Some(("ShortNamesConflict", "\"w\" is already in use".to_owned())));
        let refused = settled(&other, conflict, NOW);
        assert!(!is_established(&refused));
        assert!(refused["metadata"].get("finalizers").is_none());
    }

    #[test]
    fn what_is_stored_binds_later_definitions() {
        let mut old = settled(&definition(), None, NOW);
        remember_version(&mut old);
        let mut new = old.clone();
        new["spec"]["scope"] = json!("Cluster");
        new["spec"]["versions"][0]["name"] = json!("v2");
        remember_version(&mut new);
        assert_eq!(new["status"]["storedVersions"], json!(["v1", "v2"]));
        let mut faults = Vec::new();
        check_update(&old, &new, &mut faults);
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(paths, ["spec.scope", "status.storedVersions[0]"]);
    }
}
