//! NamespaceLifecycle: nothing is written into a namespace that is not there, nothing new into one that is going away.

use serde_json::Value;

use super::{Attributes, Operation};
use crate::status::{Cause, Status};

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Whether the write may go on; `namespace` is the object's namespace as it is stored.
pub fn check(attributes: &Attributes<'_>, name: &str, namespace: Option<&Value>) -> Result<(), Status> {
    let Attributes { operation, resource, .. } = attributes;
    if resource.group.is_empty() && resource.plural == "namespaces" {
        return if *operation == Operation::Delete && IMMORTAL.contains(&attributes.name) {
            Err(Status::forbidden("", "namespaces", attributes.name, "this namespace may not be deleted"))
        } else {
            Ok(())
        };
    }
    if !resource.namespaced || *operation == Operation::Delete {
        return Ok(());
    }
    let place = attributes.namespace;
    let Some(namespace) = namespace else { return Err(Status::not_found("", "namespaces", place)) };
    let terminating = namespace["status"]["phase"] == "Terminating"
        || namespace["metadata"]["deletionTimestamp"].is_string();
    if *operation != Operation::Create || !terminating {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {place} because it is being terminated");
    let cause = Cause::new(
        "NamespaceTerminating",
        "metadata.namespace",
        format!("namespace {place} is being terminated"),
    );
    Err(Status::forbidden(&resource.group, &resource.plural, name, why).with_causes(&[cause]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::Write;
    use super::*;

    /// The answer to a write: `ok`, or code and message.
    #[track_caller]
    fn check(write: &Write, namespace: Option<Value>, expected: &str) {
        let outcome = super::check(&write.attributes(), &write.name, namespace.as_ref());
        let outcome = outcome.map_or_else(|status| format!("{} {status}", status.code()), |()| "ok".into());
        assert_eq!(outcome, expected);
    }

    #[test]
    fn writes_need_a_namespace_that_stays() {
        let active = json!({"status": {"phase": "Active"}});
        let going = json!({"status": {"phase": "Terminating"}});
        let create = Write::new(Operation::Create, "configmaps", "a", "c");
        check(&create, Some(active), "ok");
        check(&create, None, r#"404 namespaces "a" not found"#);
        check(
            &create,
            Some(going.clone()),
            r#"403 configmaps "c" is forbidden: unable to create new content in namespace a because it is being terminated"#,
        );
        check(&Write::new(Operation::Update, "configmaps", "a", "c"), Some(going.clone()), "ok");
        check(&Write::new(Operation::Delete, "configmaps", "a", "c"), Some(going.clone()), "ok");
        let refused = super::check(&create.attributes(), "c", Some(&going)).unwrap_err();
        assert_eq!(refused.to_json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
    }

    #[test]
    fn the_first_namespaces_stay() {
        check(
            &Write::new(Operation::Delete, "namespaces", "", "kube-system"),
            None,
            r#"403 namespaces "kube-system" is forbidden: this namespace may not be deleted"#,
        );
        check(&Write::new(Operation::Delete, "namespaces", "", "mine"), None, "ok");
        check(&Write::new(Operation::Create, "nodes", "", "n"), None, "ok");
    }
}
