//! Decisions of the authorizer over small policies.

use serde_json::{Value, json};

use super::*;
use crate::store::Expect;

fn policy(objects: &[(&str, &str, Value)]) -> Store {
    let store = Store::new(10);
    for (resource, namespace, value) in objects {
        let name = value["metadata"]["name"].as_str().unwrap().to_owned();
        let key = ((*namespace).to_owned(), name);
        store.put(&GroupResource::new(GROUP, *resource), &key, Expect::Absent, value.clone()).unwrap();
    }
    store
}

fn example() -> Store {
    let rules = json!([
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]},
        {"verbs": ["*"], "apiGroups": ["apps"], "resources": ["*"], "resourceNames": ["web"]},
    ]);
    policy(&[
        ("roles", "a", json!({"metadata": {"name": "reader"}, "rules": rules})),
        (
            "rolebindings",
            "a",
            json!({"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "reader"},
                "subjects": [{"kind": "ServiceAccount", "name": "bot"}, {"kind": "User", "name": "eve"}]}),
        ),
        (
            "clusterroles",
            "",
            json!({"metadata": {"name": "paths"}, "rules": [{"verbs": ["get"], "nonResourceURLs": ["/metrics", "/healthz/*"]}]}),
        ),
        (
            "clusterrolebindings",
            "",
            json!({"metadata": {"name": "c"}, "roleRef": {"kind": "ClusterRole", "name": "paths"},
                "subjects": [{"kind": "Group", "name": "system:authenticated"}]}),
        ),
    ])
}

#[track_caller]
fn check(user: &User, verb: &str, group: &str, resource: &str, namespace: &str, name: &str, expected: bool) {
    let store = example();
    let attributes = Attributes { verb, group, resource: resource.to_owned(), namespace, name, path: None };
    let decision = Authorizer::new(&store).allows(&store, user, &attributes);
    assert_eq!(decision, expected, "{} {verb} {resource} {namespace}/{name}", user.name);
}

#[test]
fn a_role_grants_in_its_namespace_only() {
    let bot = User::service_account("a", "bot", "1");
    check(&bot, "list", "", "pods", "a", "", true);
    check(&bot, "get", "", "pods/log", "a", "p", true);
    check(&bot, "list", "", "pods", "b", "", false);
    check(&bot, "list", "", "pods", "", "", false);
    check(&bot, "delete", "", "pods", "a", "p", false);
    check(&User::service_account("b", "bot", "1"), "list", "", "pods", "a", "", false);
}

#[test]
fn resource_names_restrict_to_those_names() {
    let eve = User::authenticated("eve", Vec::new());
    check(&eve, "update", "apps", "deployments", "a", "web", true);
    check(&eve, "update", "apps", "deployments", "a", "db", false);
    check(&eve, "list", "apps", "deployments", "a", "", false);
}

#[test]
fn masters_may_do_everything() {
    check(&User::authenticated("root", vec![MASTERS.to_owned()]), "delete", "x", "ys", "", "z", true);
}

#[test]
fn paths_match_exactly_or_by_prefix() {
    let store = example();
    let authorizer = Authorizer::new(&store);
    let eve = User::authenticated("eve", Vec::new());
    let may = |path| {
        let attributes = Attributes { verb: "get", path: Some(path), ..Attributes::default() };
        authorizer.allows(&store, &eve, &attributes)
    };
    assert!(may("/metrics") && may("/healthz/etcd"));
    assert!(!may("/metrics/x") && !may("/version"));
}

#[test]
fn a_new_binding_takes_effect_at_once() {
    let store = example();
    let authorizer = Authorizer::new(&store);
    let mallory = User::authenticated("mallory", Vec::new());
    let attributes =
        Attributes { verb: "list", resource: "pods".into(), namespace: "a", ..Attributes::default() };
    assert!(!authorizer.allows(&store, &mallory, &attributes));
    let binding = json!({"metadata": {"name": "n"}, "roleRef": {"kind": "Role", "name": "reader"},
        "subjects": [{"kind": "User", "name": "mallory"}]});
    let key = ("a".to_owned(), "n".to_owned());
    store.put(&GroupResource::new(GROUP, "rolebindings"), &key, Expect::Absent, binding).unwrap();
    assert!(authorizer.allows(&store, &mallory, &attributes));
}

#[test]
fn the_refusal_is_the_text_people_know() {
    let user = User::service_account("a", "bot", "1");
    let attributes = Attributes {
        verb: "create",
        group: "batch",
        resource: "jobs".into(),
        namespace: "a",
        ..Attributes::default()
    };
    assert_eq!(
        refusal(&user, &attributes).message(),
        "jobs.batch is forbidden: User \"system:serviceaccount:a:bot\" cannot create resource \"jobs\" in API group \"batch\" in the namespace \"a\""
    );
}

#[test]
fn aggregated_roles_hold_the_rules_of_those_they_select() {
    let store = policy(&[
        (
            "clusterroles",
            "",
            json!({"metadata": {"name": "view"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to-view": "true"}}]}}),
        ),
        (
            "clusterroles",
            "",
            json!({"metadata": {"name": "extra", "labels": {"to-view": "true"}}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
        ),
        (
            "clusterrolebindings",
            "",
            json!({"metadata": {"name": "c"}, "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "User", "name": "eve"}]}),
        ),
    ]);
    let attributes =
        Attributes { verb: "get", resource: "pods".into(), namespace: "a", ..Attributes::default() };
    let eve = User::authenticated("eve", Vec::new());
    assert!(Authorizer::new(&store).allows(&store, &eve, &attributes));
}
