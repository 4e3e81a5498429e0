//! References between objects: refused when they can be proven to lead nowhere.
//!
//! The commonest reason for a pod that hangs is a ConfigMap, Secret or ServiceAccount that is spelt differently or applied later.
//! What a component creates at run time is declared as `provides`; what is marked optional is let through.

use std::collections::{BTreeMap, BTreeSet};

use mistake::did_you_mean;
use serde_json::Value;

use super::{RenderError, pod};
use crate::components::{Component, Components};
use crate::object::{Object, ObjectId, items, text};

/// One reference found in an object.
struct Reference<'a> {
    group: &'a str,
    kind: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
    /// A key that must be in the ConfigMap's or Secret's data.
    key: Option<&'a str>,
    /// Who refers, as in "container `web`".
    from: String,
}

/// Checks the objects of `kept` against each other; `all` only improves the hints.
pub(super) fn check(kept: &[&Component], all: &Components) -> Result<(), RenderError> {
    let declared: BTreeMap<ObjectId, &Object> =
        kept.iter().flat_map(|component| &component.objects).map(|object| (object.id(), object)).collect();
    let provided: BTreeSet<&str> =
        kept.iter().flat_map(|component| &component.provides).map(String::as_str).collect();
    for object in declared.values() {
        for reference in references_of(object) {
            let Reference { group, kind, namespace, name, key, from } = &reference;
            if exists_anyway(&reference) || provided.contains(format!("{kind}/{name}").as_str()) {
                continue;
            }
            let id = ObjectId {
                group: (*group).to_owned(),
                kind: (*kind).to_owned(),
                namespace: namespace.map(str::to_owned),
                name: (*name).to_owned(),
            };
            let problem = match (declared.get(&id), key) {
                (None, _) => Some((
                    format!("{from} refers to {id}, which is not declared"),
                    missing_hint(&id, &declared, all),
                )),
                (Some(target), Some(key)) if !has_key(&target.value, key) => {
                    let hint = did_you_mean(key, keys(&target.value));
                    let hint = hint.or_else(|| Some(format!("add `{key}` to `data` at {}", target.place())));
                    Some((format!("{from} refers to key `{key}` of {id}, which has no such key"), hint))
                }
                _ => None,
            };
            if let Some((reference, hint)) = problem {
                let (file, line, object) = (object.file.clone(), object.line, Box::new(object.id()));
                return Err(RenderError::Dangling { file, line, object, reference, hint });
            }
        }
    }
    Ok(())
}

fn missing_hint(id: &ObjectId, declared: &BTreeMap<ObjectId, &Object>, all: &Components) -> Option<String> {
    let owner = all.iter().find(|component| component.objects.iter().any(|object| object.id() == *id));
    if let Some(owner) = owner {
        return Some(format!(
            "it belongs to component `{}`, which is left out of this deployment",
            owner.name
        ));
    }
    let siblings = declared.keys().filter(|other| other.kind == id.kind && other.namespace == id.namespace);
    did_you_mean(&id.name, siblings.map(|other| other.name.as_str())).or_else(|| {
        let elsewhere = declared.keys().find(|other| other.kind == id.kind && other.name == id.name)?;
        Some(format!("{elsewhere} exists, in another namespace"))
    }).or_else(|| match id.kind.as_str() {
        "ConfigMap" | "Secret" | "ServiceAccount" | "PersistentVolumeClaim" => Some(format!(
            "declare it, mark the reference optional, or add `provides = [\"{}/{}\"]` to the component that creates it at run time",
            id.kind, id.name
        )),
        _ => None,
    })
}

/// What every cluster has without being told.
fn exists_anyway(reference: &Reference<'_>) -> bool {
    match (reference.kind, reference.name) {
        ("ServiceAccount", "default") | ("ConfigMap", "kube-root-ca.crt") => true,
        ("ClusterRole", name) => {
            name.starts_with("system:") || ["admin", "cluster-admin", "edit", "view"].contains(&name)
        }
        ("Namespace", name) => name == "default" || name.starts_with("kube-"),
        _ => reference.namespace.is_some_and(|namespace| namespace.starts_with("kube-")),
    }
}

fn has_key(target: &Value, key: &str) -> bool {
    keys(target).contains(&key)
}

fn keys(target: &Value) -> Vec<&str> {
    ["data", "stringData", "binaryData"]
        .into_iter()
        .filter_map(|field| target.get(field).and_then(Value::as_object))
        .flat_map(|data| data.keys().map(String::as_str))
        .collect()
}

fn references_of(object: &Object) -> Vec<Reference<'_>> {
    let value = &object.value;
    let namespace = object.namespace();
    let mut found = Vec::new();
    if let Some(namespace) = namespace {
        let from = "`metadata.namespace`".to_owned();
        found.push(Reference {
            group: "",
            kind: "Namespace",
            namespace: None,
            name: namespace,
            key: None,
            from,
        });
    }
    if let Some(spec) = pod::spec(value) {
        pod_references(spec, namespace, &mut found);
    }
    match object.group() {
        "rbac.authorization.k8s.io" => binding_references(value, namespace, &mut found),
        "admissionregistration.k8s.io" => {
            for webhook in items(value, "/webhooks") {
                let service = webhook.pointer("/clientConfig/service");
                if let Some(service) = service {
                    let from = format!("webhook `{}`", text(webhook, "/name"));
                    let (namespace, name) = (Some(text(service, "/namespace")), text(service, "/name"));
                    found.push(Reference { group: "", kind: "Service", namespace, name, key: None, from });
                }
            }
        }
        _ => {}
    }
    found
}

fn binding_references<'a>(value: &'a Value, namespace: Option<&'a str>, found: &mut Vec<Reference<'a>>) {
    if let Some(role) = value.get("roleRef") {
        let kind = text(role, "/kind");
        let namespace = if kind == "Role" { namespace } else { None };
        let from = "`roleRef`".to_owned();
        let (group, name) = ("rbac.authorization.k8s.io", text(role, "/name"));
        found.push(Reference { group, kind, namespace, name, key: None, from });
    }
    for subject in
        items(value, "/subjects").iter().filter(|subject| text(subject, "/kind") == "ServiceAccount")
    {
        let own = Some(text(subject, "/namespace")).filter(|namespace| !namespace.is_empty()).or(namespace);
        let from = "a subject".to_owned();
        let name = text(subject, "/name");
        found.push(Reference { group: "", kind: "ServiceAccount", namespace: own, name, key: None, from });
    }
}

fn pod_references<'a>(spec: &'a Value, namespace: Option<&'a str>, found: &mut Vec<Reference<'a>>) {
    let mut add = |kind: &'a str, name: &'a str, key: Option<&'a str>, from: String| {
        if !name.is_empty() {
            found.push(Reference { group: "", kind, namespace, name, key, from });
        }
    };
    let optional = |source: &Value| source.get("optional").and_then(Value::as_bool).unwrap_or(false);
    add("ServiceAccount", text(spec, "/serviceAccountName"), None, "the pod".to_owned());
    for secret in items(spec, "/imagePullSecrets") {
        add("Secret", text(secret, "/name"), None, "`imagePullSecrets`".to_owned());
    }
    for container in pod::LISTS.into_iter().flat_map(|list| items(spec, &format!("/{list}"))) {
        let from = format!("container `{}`", text(container, "/name"));
        for source in items(container, "/envFrom") {
            for (field, kind) in [("configMapRef", "ConfigMap"), ("secretRef", "Secret")] {
                if let Some(source) = source.get(field).filter(|source| !optional(source)) {
                    add(kind, text(source, "/name"), None, from.clone());
                }
            }
        }
        for variable in items(container, "/env") {
            for (field, kind) in [("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")] {
                let source = variable.get("valueFrom").and_then(|from| from.get(field));
                if let Some(source) = source.filter(|source| !optional(source)) {
                    add(kind, text(source, "/name"), Some(text(source, "/key")), from.clone());
                }
            }
        }
    }
    for volume in items(spec, "/volumes") {
        let from = format!("volume `{}`", text(volume, "/name"));
        if let Some(claim) = volume.get("persistentVolumeClaim") {
            add("PersistentVolumeClaim", text(claim, "/claimName"), None, from.clone());
        }
        let direct = [("configMap", "ConfigMap", "/name"), ("secret", "Secret", "/secretName")];
        let direct =
            direct.into_iter().filter_map(|(field, kind, name)| Some((volume.get(field)?, kind, name)));
        let projected = items(volume, "/projected/sources").iter().flat_map(|source| {
            let fields = [("configMap", "ConfigMap", "/name"), ("secret", "Secret", "/name")];
            fields.into_iter().filter_map(move |(field, kind, name)| Some((source.get(field)?, kind, name)))
        });
        for (source, kind, name) in direct.chain(projected).filter(|(source, _, _)| !optional(source)) {
            add(kind, text(source, name), None, from.clone());
            for item in items(source, "/items") {
                add(kind, text(source, name), Some(text(item, "/key")), from.clone());
            }
        }
    }
}
