//! Nobody grants rights they do not have: roles may hold only what their writer may do, bindings only roles of such rights,
//! unless the writer has the verb `escalate` or `bind` on them.

use serde_json::Value;

use super::{Attributes, Operation};
use crate::api::Api;
use crate::api::rbac::{self, GROUP, Rule};
use crate::pki::MASTERS;
use crate::status::Status;

/// Refuses a role or binding that would give its writer's rights a way to grow.
pub fn check(api: &Api, attributes: &Attributes<'_>, object: &Value) -> Result<(), Status> {
    let Attributes { resource, operation, user, subresource, .. } = attributes;
    let writes = [Operation::Create, Operation::Update].contains(operation);
    let trusted = user.groups.iter().any(|group| group == MASTERS);
    if resource.group != GROUP || !writes || trusted || !subresource.is_empty() {
        return Ok(());
    }
    let unchanged = |fields: &[&str]| {
        attributes.old.is_some_and(|old| fields.iter().all(|field| old[field] == object[field]))
    };
    match resource.plural.as_str() {
        "roles" | "clusterroles" if !unchanged(&["rules", "aggregationRule"]) => {
            if may(api, attributes, "escalate", &resource.plural, attributes.name) {
                return Ok(());
            }
            let mut wanted = rbac::rules(&object["rules"]);
            if object["aggregationRule"].is_object() {
                // Whatever is labelled later becomes part of it.
                wanted.extend(rbac::rules(&serde_json::json!([
                    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
                    {"verbs": ["*"], "nonResourceURLs": ["*"]},
                ])));
            }
            held(api, attributes, &wanted)
        }
        "rolebindings" | "clusterrolebindings" if !unchanged(&["roleRef", "subjects"]) => {
            binding(api, attributes, object)
        }
        _ => Ok(()),
    }
}

fn binding(api: &Api, attributes: &Attributes<'_>, object: &Value) -> Result<(), Status> {
    let reference = &object["roleRef"];
    let name = reference["name"].as_str().unwrap_or_default();
    let (plural, namespace) =
        if reference["kind"] == "Role" { ("roles", attributes.namespace) } else { ("clusterroles", "") };
    if may(api, attributes, "bind", plural, name) {
        return Ok(());
    }
    let policy = api.authorizer.policy(&api.store);
    match policy.rules_of(&(namespace.to_owned(), name.to_owned())) {
        Some(rules) => held(api, attributes, rules),
        None => Err(Status::not_found(GROUP, plural, name)),
    }
}

fn may(api: &Api, attributes: &Attributes<'_>, verb: &str, plural: &str, name: &str) -> bool {
    let wanted = rbac::Attributes {
        verb,
        group: GROUP,
        resource: plural.to_owned(),
        namespace: attributes.namespace,
        name,
        path: None,
    };
    api.authorizer.allows(&api.store, attributes.user, &wanted)
}

fn held(api: &Api, attributes: &Attributes<'_>, wanted: &[Rule]) -> Result<(), Status> {
    let policy = api.authorizer.policy(&api.store);
    let held: Vec<&Rule> = policy.rules_for(attributes.user, attributes.namespace).collect();
    let missing = rbac::missing(&held, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let why = format!(
        "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
        attributes.user.name,
        attributes.user.groups,
        lines.join("\n")
    );
    Err(Status::forbidden(GROUP, &attributes.resource.plural, attributes.name, why))
}
