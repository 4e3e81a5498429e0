//! Metadata: what identifies an object, and what the server alone may set.

use jiff::Timestamp;
use rand::RngExt;
use serde_json::{Map, Value, json};

use crate::schema::{FieldError, Resource};
use crate::status::Status;

/// Characters of generated names: no vowels, so that they spell nothing.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Longest given part of a generated name.
const PREFIX_LENGTH: usize = 58;

/// Text of the rule for names of Services, as upstream.
const DNS_1035_RULE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// Now, as `metav1.Time`: whole seconds.
pub fn now() -> String {
    time_text(Timestamp::now())
}

/// A moment as `metav1.Time`.
pub fn time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The metadata of an object, there from now on.
pub fn of(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let metadata = object.as_object_mut()?.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    metadata.as_object_mut()
}

/// Sets one field of the metadata; `null` removes it.
pub fn set(object: &mut Value, field: &str, value: Value) {
    let Some(metadata) = of(object) else { return };
    if value.is_null() {
        metadata.shift_remove(field);
    } else {
        metadata.insert(field.to_owned(), value);
    }
}

/// A text of the metadata; empty when absent.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// The finalizers of an object.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Whether the object is being deleted.
pub fn is_terminating(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Makes the object sent for `name` in `namespace` (each empty when the path names none) say where it belongs; what it says
/// already has to agree.
pub fn locate(object: &mut Value, namespace: &str, name: &str) -> Result<(), Status> {
    let sent = text(object, "namespace");
    if !sent.is_empty() && sent != namespace {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(message));
    }
    let sent = text(object, "name");
    if !name.is_empty() && !sent.is_empty() && sent != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({sent}) does not match the name on the URL ({name})"
        )));
    }
    if !name.is_empty() {
        set(object, "name", json!(name));
    }
    set(object, "namespace", if namespace.is_empty() { Value::Null } else { json!(namespace) });
    Ok(())
}

/// A new object gets its identity. True when its name was generated.
pub fn begin(object: &mut Value, now: &str) -> bool {
    for field in
        ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "generation"]
    {
        set(object, field, Value::Null);
    }
    let generated = text(object, "name").is_empty() && !text(object, "generateName").is_empty();
    if generated {
        generate_name(object);
    }
    set(object, "uid", json!(uuid::Uuid::new_v4().to_string()));
    set(object, "creationTimestamp", json!(now));
    generated
}

/// A new name from `generateName`.
pub fn generate_name(object: &mut Value) {
    let prefix: String = text(object, "generateName").chars().take(PREFIX_LENGTH).collect();
    let mut random = rand::rng();
    let suffix: String = (0..5)
        .filter_map(|_| SUFFIX.get(random.random_range(0..SUFFIX.len())))
        .map(|letter| char::from(*letter))
        .collect();
    set(object, "name", json!(format!("{prefix}{suffix}")));
}

/// What is wrong with the name of an object, by the rule of its kind.
pub fn check_name(resource: &Resource, object: &Value) -> Option<FieldError> {
    use crate::schema::format::{LABEL_RULE, SUBDOMAIN_RULE, is_dns_label, is_dns_subdomain};

    let name = text(object, "name");
    let path = "metadata.name";
    if name.is_empty() {
        return Some(FieldError::required(path, "name or generateName is required"));
    }
    let invalid = |detail: &str| Some(FieldError::invalid(path, &json!(name), detail));
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("rbac.authorization.k8s.io", _) => match name {
            "." | ".." => invalid(&format!("may not be '{name}'")),
            name if name.contains('/') => invalid("may not contain '/'"),
            name if name.contains('%') => invalid("may not contain '%'"),
            _ => None,
        },
        ("", "namespaces") if name.len() > 63 => invalid("must be no more than 63 bytes"),
        ("", "namespaces") if !is_dns_label(name) => invalid(LABEL_RULE),
        ("", "services") if name.len() > 63 => invalid("must be no more than 63 bytes"),
        ("", "services") if !is_dns_label(name) || name.starts_with(|c: char| c.is_ascii_digit()) => {
            invalid(DNS_1035_RULE)
        }
        ("batch", "jobs") if name.len() > 63 => invalid("must be no more than 63 bytes"),
        ("batch", "cronjobs") if name.len() > 52 => invalid("must be no more than 52 characters"),
        _ if name.len() > 253 => invalid("must be no more than 253 bytes"),
        _ if !is_dns_subdomain(name) => invalid(SUBDOMAIN_RULE),
        _ => None,
    }
}

/// The sender's idea of which object it changes has to be right.
pub fn check_preconditions(resource: &Resource, old: &Value, new: &Value) -> Result<(), Status> {
    let (group, plural, name) = (&resource.group, &resource.plural, text(old, "name"));
    let (uid, sent) = (text(old, "uid"), text(new, "uid"));
    if !sent.is_empty() && sent != uid {
        let why = format!("Precondition failed: UID in precondition: {sent}, UID in object meta: {uid}");
        return Err(Status::conflict(group, plural, name, why));
    }
    match text(new, "resourceVersion") {
        "" => Ok(()),
        sent if sent == text(old, "resourceVersion") => Ok(()),
        sent if sent.parse::<u64>().is_err() => {
            let fault =
                FieldError::invalid("metadata.resourceVersion", &json!(sent), "must be an unsigned integer");
            Err(super::invalid(resource, old, vec![fault]))
        }
        _ => Err(Status::stale(group, plural, name)),
    }
}

/// A changed object keeps what only the server sets.
pub fn carry_over(old: &Value, new: &mut Value) {
    for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if new["metadata"][field].is_null() {
            set(new, field, old["metadata"][field].clone());
        }
    }
    for field in ["generation", "resourceVersion"] {
        set(new, field, old["metadata"][field].clone());
    }
}

/// What may not change in the metadata of an object.
pub fn check_update(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut faults = Vec::new();
    for field in
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        let (before, after) = (&old["metadata"][field], &new["metadata"][field]);
        if before != after {
            faults.push(FieldError::invalid(format!("metadata.{field}"), after, "field is immutable"));
        }
    }
    if is_terminating(old) {
        let added: Vec<String> = finalizers(new)
            .filter(|finalizer| !finalizers(old).any(|known| known == *finalizer))
            .map(|finalizer| format!("{finalizer:?}"))
            .collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            faults.push(FieldError::forbidden("metadata.finalizers", detail));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Registry;

    fn fault(group: &str, plural: &str, name: &str) -> Option<String> {
        let resource = Registry::builtin().resource(group, "v1", plural).unwrap();
        check_name(&resource, &json!({"metadata": {"name": name}})).map(|fault| fault.message)
    }

    #[test]
    fn names_follow_the_rule_of_their_kind() {
        for (group, plural, good, bad, why) in [
            ("", "configmaps", "a.b-c", "A", "lowercase RFC 1123 subdomain"),
            ("", "namespaces", "a-1", "a.b", "lowercase RFC 1123 label"),
            ("", "services", "a-1", "1-a", "DNS-1035 label"),
            ("rbac.authorization.k8s.io", "roles", "system:x", "a/b", "may not contain '/'"),
            ("", "pods", "web-0", "", "name or generateName is required"),
        ] {
            assert_eq!(fault(group, plural, good), None);
            let found = fault(group, plural, bad).unwrap();
            assert!(found.contains(why), "{found}");
        }
    }

    #[test]
    fn a_new_object_gets_its_identity_from_the_server() {
        let mut object = json!({"metadata": {"generateName": "job-", "uid": "mine", "generation": 7,
            "creationTimestamp": "1999-01-01T00:00:00Z", "deletionTimestamp": "1999-01-01T00:00:00Z"}});
        assert!(begin(&mut object, "2026-01-01T00:00:00Z"));
        let name = text(&object, "name");
        assert!(name.len() == 9 && name.starts_with("job-"), "{name}");
        assert_ne!(text(&object, "uid"), "mine");
        assert_eq!(text(&object, "creationTimestamp"), "2026-01-01T00:00:00Z");
        assert!(object["metadata"].get("deletionTimestamp").is_none());
        assert!(object["metadata"].get("generation").is_none());
    }

    #[test]
    fn an_object_belongs_where_it_was_sent() {
        let at = |object: Value| {
            let mut object = object;
            locate(&mut object, "default", "a").map(|()| object).map_err(|status| status.message().to_owned())
        };
        assert_eq!(at(json!({})), Ok(json!({"metadata": {"name": "a", "namespace": "default"}})));
        assert_eq!(
            at(json!({"metadata": {"name": "b"}})),
            Err("the name of the object (b) does not match the name on the URL (a)".to_owned())
        );
        assert!(at(json!({"metadata": {"namespace": "other"}})).unwrap_err().contains("namespace"));
    }

    #[test]
    fn metadata_the_server_owns_cannot_be_changed() {
        let old = json!({"metadata": {"name": "a", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z",
            "deletionTimestamp": "2026-01-02T00:00:00Z", "generation": 3, "finalizers": ["x/y"]}});
        let mut new = json!({"metadata": {"name": "a", "generation": 9, "finalizers": ["x/y"]}});
        carry_over(&old, &mut new);
        assert_eq!(new, old);
        new["metadata"]["finalizers"] = json!(["x/y", "a/b"]);
        new["metadata"]["creationTimestamp"] = json!("2027-01-01T00:00:00Z");
        let faults: Vec<String> = check_update(&old, &new)
            .into_iter()
            .map(|fault| format!("{}: {}", fault.path, fault.message))
            .collect();
        assert_eq!(
            faults,
            [
                "metadata.creationTimestamp: Invalid value: \"2027-01-01T00:00:00Z\": field is immutable",
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, \
                found new finalizers []string{\"a/b\"}",
            ]
        );
    }
}
