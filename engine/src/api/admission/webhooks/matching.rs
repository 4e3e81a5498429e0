//! Whether a webhook wants to see a write. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::{Attributes, Operation};
use super::configuration::{GROUP, Rule, Webhook};
use crate::status::Status;
use crate::store::labels_of;

impl Operation {
    /// As rules and reviews write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// The version in which the webhook wants to see the write, if its rules and selectors ask for it. `versions` are all in
/// which the resource is served, `namespace` holds the labels of the object's namespace.
pub fn version<'a>(
    webhook: &Webhook,
    attributes: &Attributes<'a>,
    object: &Value,
    versions: &'a [String],
    namespace: &BTreeMap<String, String>,
) -> Option<&'a str> {
    let resource = attributes.resource;
    if resource.group == GROUP {
        return None;
    }
    let asks = |version: &str| webhook.rules.iter().any(|rule| rule.matches(attributes, version));
    let others = versions.iter().filter(|_| webhook.equivalent).map(String::as_str);
    let version = std::iter::once(resource.version.as_str()).chain(others).find(|version| asks(version))?;
    let is_namespace = resource.group.is_empty() && resource.plural == "namespaces";
    let own;
    let labels = if is_namespace && attributes.operation != Operation::Delete {
        own = labels_of(object);
        &own
    } else {
        namespace
    };
    let in_namespace = resource.namespaced || is_namespace;
    if in_namespace && !webhook.namespace_selector.matches(labels) {
        return None;
    }
    let selects = |object: &Value| object.is_object() && webhook.object_selector.matches(&labels_of(object));
    let selected =
        webhook.object_selector.is_empty() || selects(object) || attributes.old.is_some_and(selects);
    selected.then_some(version)
}

impl Rule {
    fn matches(&self, attributes: &Attributes<'_>, version: &str) -> bool {
        let resource = attributes.resource;
        let has = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
        let scope = match self.scope.as_str() {
            "Namespaced" => resource.namespaced,
            "Cluster" => !resource.namespaced,
            _ => true,
        };
        scope
            && has(&self.operations, attributes.operation.name())
            && has(&self.groups, &resource.group)
            && has(&self.versions, version)
            && self.resources.iter().any(|pattern| {
                let (plural, subresource) = pattern.split_once('/').unwrap_or((pattern, ""));
                let is = |pattern: &str, actual: &str| pattern == "*" || pattern == actual;
                is(plural, &resource.plural) && is(subresource, attributes.subresource)
            })
    }
}

/// Whether all match conditions hold for `request` (the request of the review). One that is false settles it; otherwise an
/// error refuses the write or skips the webhook, as its failure policy says.
pub fn conditions_hold(
    webhook: &Webhook,
    attributes: &Attributes<'_>,
    request: &Value,
    object: &Value,
) -> Result<bool, Status> {
    let old = attributes.old.unwrap_or(&Value::Null);
    let variables = [("request", request), ("object", object), ("oldObject", old)];
    let mut faults = Vec::new();
    for condition in &webhook.conditions {
        let outcome = match &condition.expression {
            Ok(expression) => expression
                .holds(&variables)
                .map_err(|fault| format!("expression '{}' resulted in error: {fault}", expression.source())),
            Err(fault) => Err(format!("match condition {:?} does not compile: {fault}", condition.name)),
        };
        match outcome {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() || !webhook.fail {
        return Ok(faults.is_empty());
    }
    let resource = attributes.resource;
    let why = faults.join(", ");
    Err(Status::forbidden(&resource.group, &resource.plural, attributes.name, why))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::testing::Write;
    use super::super::configuration;
    use super::*;

    /// A webhook with one rule `operations groups versions resources scope`, lists separated by commas.
    fn webhook(rule: &str, more: Value) -> Webhook {
        let mut words = rule.split(' ');
        let mut list =
            || words.next().unwrap().split(',').map(|word| word.trim_matches('"')).collect::<Vec<_>>();
        let mut webhook = json!({"name": "w.example.com", "rules": [{
            "operations": list(), "apiGroups": list(), "apiVersions": list(), "resources": list(),
            "scope": list()[0],
        }]});
        webhook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        configuration::read(&json!({"webhooks": [webhook]})).remove(0)
    }

    fn labels(value: Value) -> BTreeMap<String, String> {
        labels_of(&json!({"metadata": {"labels": value}}))
    }

    #[track_caller]
    fn check_rule(rule: &str, write: &Write, expected: bool) {
        let webhook = webhook(rule, json!({}));
        let found = version(&webhook, &write.attributes(), &json!({}), &[], &BTreeMap::new());
        assert_eq!(found.is_some(), expected, "{rule}");
    }

    #[test]
    fn rules_name_operation_group_version_resource_and_scope() {
        let create = Write::new(Operation::Create, "deployments", "ns", "d");
        check_rule("CREATE apps v1 deployments *", &create, true);
        check_rule("* * * * *", &create, true);
        check_rule("CREATE,UPDATE apps,batch v1 jobs,deployments Namespaced", &create, true);
        check_rule("UPDATE apps v1 deployments *", &create, false);
        check_rule("CREATE \"\" v1 deployments *", &create, false);
        check_rule("CREATE apps v1beta1 deployments *", &create, false);
        check_rule("CREATE apps v1 deployments/status *", &create, false);
        check_rule("CREATE apps v1 deployments Cluster", &create, false);
        check_rule(
            "CREATE \"\" v1 namespaces Namespaced",
            &Write::new(Operation::Create, "namespaces", "n", "n"),
            false,
        );
    }

    #[test]
    fn subresources_are_named_apart() {
        let status =
            Write { subresource: "status", ..Write::new(Operation::Update, "deployments", "ns", "d") };
        check_rule("UPDATE apps v1 deployments *", &status, false);
        check_rule("UPDATE apps v1 * *", &status, false);
        check_rule("UPDATE apps v1 deployments/status *", &status, true);
        check_rule("UPDATE apps v1 */status *", &status, true);
        check_rule("UPDATE apps v1 deployments/* *", &status, true);
        check_rule("UPDATE apps v1 */* *", &status, true);
    }

    #[test]
    fn no_webhook_sees_webhook_configurations() {
        let write = Write::new(Operation::Update, "mutatingwebhookconfigurations", "", "c");
        check_rule("* * * */* *", &write, false);
    }

    #[test]
    fn an_equivalent_version_counts_unless_the_match_is_exact() {
        let write = Write::new(Operation::Create, "deployments", "ns", "d");
        let versions = ["v1".to_owned(), "v2".to_owned()];
        let seen = |policy: &str| {
            let webhook = webhook("CREATE apps v2 deployments *", json!({"matchPolicy": policy}));
            let found = version(&webhook, &write.attributes(), &json!({}), &versions, &BTreeMap::new());
            found.map(String::from)
        };
        assert_eq!(seen("Equivalent").as_deref(), Some("v2"));
        assert_eq!(seen("Exact"), None);
    }

    #[track_caller]
    fn check_selectors(more: Value, write: &Write, object: Value, expected: bool) {
        let webhook = webhook("* * * * *", more.clone());
        let namespace = labels(json!({"team": "a"}));
        let found = version(&webhook, &write.attributes(), &object, &[], &namespace);
        assert_eq!(found.is_some(), expected, "{more}");
    }

    #[test]
    fn selectors_look_at_the_namespace_and_at_both_objects() {
        let team = |name: &str| json!({"namespaceSelector": {"matchLabels": {"team": name}}});
        let pod = Write::new(Operation::Create, "pods", "ns", "p");
        check_selectors(team("a"), &pod, json!({}), true);
        check_selectors(team("b"), &pod, json!({}), false);
        let node = Write::new(Operation::Create, "nodes", "", "n");
        check_selectors(team("b"), &node, json!({}), true);
        let namespace = Write::new(Operation::Create, "namespaces", "", "n");
        check_selectors(team("b"), &namespace, json!({"metadata": {"labels": {"team": "b"}}}), true);
        check_selectors(team("a"), &namespace, json!({}), false);

        let app = json!({"objectSelector": {"matchLabels": {"app": "x"}}});
        let with = json!({"metadata": {"labels": {"app": "x"}}});
        let mut update = Write::new(Operation::Update, "pods", "ns", "p");
        update.old = Some(json!({}));
        check_selectors(app.clone(), &update, json!({}), false);
        check_selectors(app.clone(), &update, with.clone(), true);
        update.old = Some(with);
        check_selectors(app, &update, json!({}), true);
    }

    #[track_caller]
    fn check_conditions(expressions: &[&str], policy: &str, expected: &str) {
        let conditions: Vec<Value> =
            expressions.iter().map(|expression| json!({"name": "c", "expression": expression})).collect();
        let webhook = webhook("* * * * *", json!({"matchConditions": conditions, "failurePolicy": policy}));
        let mut write = Write::new(Operation::Update, "pods", "ns", "p");
        write.old = Some(json!({"spec": {"a": 1}}));
        let request = json!({"userInfo": {"username": "alice"}});
        let outcome = conditions_hold(&webhook, &write.attributes(), &request, &json!({"spec": {"a": 2}}));
        let outcome = outcome.map_or_else(|status| status.message().to_owned(), |holds| holds.to_string());
        assert!(outcome.starts_with(expected), "{outcome}");
    }

    #[test]
    fn conditions_decide_and_errors_follow_the_failure_policy() {
        let (changed, alice) = ("object.spec.a != oldObject.spec.a", "request.userInfo.username == 'alice'");
        check_conditions(&[changed, alice], "Fail", "true");
        check_conditions(&[changed, "object.spec.a == 1"], "Fail", "false");
        let error = "object.spec.missing == 1";
        check_conditions(&[error, "false"], "Fail", "false");
        check_conditions(&[error], "Ignore", "false");
        let refused = r#"pods "p" is forbidden: expression 'object.spec.missing == 1' resulted in error"#;
        check_conditions(&[error, alice], "Fail", refused);
    }
}
