//! SubjectAccessReview and its local and self forms: may somebody do something.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::texts;
use crate::api::Api;
use crate::api::rbac::Attributes;
use crate::api::user::User;
use crate::status::{Cause, Status};

const GROUP: &str = "authorization.k8s.io";

/// The status of a review about the subject in `spec`; `namespace` is that of a LocalSubjectAccessReview.
pub fn review(api: &Api, spec: &Value, namespace: Option<&str>) -> Result<Value, Status> {
    let kind = if namespace.is_some() { "LocalSubjectAccessReview" } else { "SubjectAccessReview" };
    let mut causes = attribute_causes(spec);
    let user = subject(spec);
    if user.name.is_empty() && user.groups.is_empty() {
        let why = "Invalid value: \"\": at least one of user or group must be specified";
        causes.push(Cause::new("FieldValueInvalid", "spec.user", why));
    }
    if !causes.is_empty() {
        return Err(Status::invalid(GROUP, kind, "", &causes));
    }
    if let Some(namespace) = namespace
        && spec["resourceAttributes"]["namespace"] != namespace
    {
        let why = format!("spec.resourceAttributes.namespace must match namespace: {namespace}");
        return Err(Status::bad_request(why));
    }
    Ok(decide(api, &user, spec))
}

/// The status of a review about `user`.
pub fn self_review(api: &Api, user: &User, spec: &Value) -> Result<Value, Status> {
    let causes = attribute_causes(spec);
    if causes.is_empty() {
        Ok(decide(api, user, spec))
    } else {
        Err(Status::invalid(GROUP, "SelfSubjectAccessReview", "", &causes))
    }
}

fn attribute_causes(spec: &Value) -> Vec<Cause> {
    let why = match (spec["resourceAttributes"].is_object(), spec["nonResourceAttributes"].is_object()) {
        (true, true) => "cannot be specified in combination with resourceAttributes",
        (false, false) => "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        _ => return Vec::new(),
    };
    let at = if spec["resourceAttributes"].is_object() {
        "spec.nonResourceAttributes"
    } else {
        "spec.resourceAttributes"
    };
    vec![Cause::new("FieldValueInvalid", at, format!("Invalid value: {}: {why}", spec[&at[5..]]))]
}

fn subject(spec: &Value) -> User {
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| texts(value).map(String::from).collect::<Vec<_>>();
    let extra = spec["extra"].as_object().into_iter().flatten();
    let extra: BTreeMap<_, _> = extra.map(|(key, values)| (key.clone(), list(values))).collect();
    User { name: text("user"), uid: text("uid"), groups: list(&spec["groups"]), extra }
}

fn decide(api: &Api, user: &User, spec: &Value) -> Value {
    json!({"allowed": api.authorizer.allows(&api.store, user, &wanted(spec))})
}

/// What is asked about, as the authorizer takes it.
fn wanted(spec: &Value) -> Attributes<'_> {
    fn text<'a>(attributes: &'a Value, field: &str) -> &'a str {
        attributes[field].as_str().unwrap_or_default()
    }
    let paths = &spec["nonResourceAttributes"];
    if paths.is_object() {
        return Attributes {
            verb: text(paths, "verb"),
            path: Some(text(paths, "path")),
            ..Attributes::default()
        };
    }
    let attributes = &spec["resourceAttributes"];
    let resource = match (text(attributes, "resource"), text(attributes, "subresource")) {
        (resource, "") => resource.to_owned(),
        (resource, subresource) => format!("{resource}/{subresource}"),
    };
    Attributes {
        verb: text(attributes, "verb"),
        group: text(attributes, "group"),
        resource,
        namespace: text(attributes, "namespace"),
        name: text(attributes, "name"),
        path: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(spec: Value, expected: &str) {
        let Attributes { verb, group, resource, namespace, name, path } = wanted(&spec);
        let path = path.unwrap_or_default();
        assert_eq!(format!("{verb} {group}/{resource} {namespace}/{name} {path}").trim(), expected);
    }

    #[test]
    fn attributes_are_read() {
        check(
            json!({"resourceAttributes": {"verb": "get", "resource": "pods", "subresource": "log", "namespace": "a", "name": "p"}}),
            "get /pods/log a/p",
        );
        check(
            json!({"resourceAttributes": {"verb": "list", "group": "apps", "resource": "*"}}),
            "list apps/* /",
        );
        check(json!({"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}), "get / / /metrics");
    }

    #[test]
    fn exactly_one_kind_of_attributes_is_needed() {
        let causes = |spec: Value| attribute_causes(&spec).len();
        assert_eq!(causes(json!({})), 1);
        assert_eq!(causes(json!({"resourceAttributes": {}, "nonResourceAttributes": {}})), 1);
        assert_eq!(causes(json!({"resourceAttributes": {}})), 0);
    }
}
