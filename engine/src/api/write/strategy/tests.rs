//! One object before and after a write.

use serde_json::{Value, json};

use super::{check_update, complete, has_generation, prepare_create, prepare_update};
use crate::schema::{Registry, Resource};

fn builtin(group: &str, plural: &str) -> Resource {
    (*Registry::builtin().resource(group, "v1", plural).unwrap()).clone()
}

fn widgets(subresources: Value) -> Resource {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let crd = json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": true, "storage": true, "subresources": subresources,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}}}]}});
    let registry = Registry::builtin().with_crd(&crd).unwrap();
    (*registry.resource("example.com", "v1", "widgets").unwrap()).clone()
}

/// The object after `changes` (a merge patch) were sent to `subresource`.
fn updated(resource: &Resource, subresource: &str, old: &Value, changes: Value) -> Value {
    let mut new = crate::patch::merge_patch(old, &changes).unwrap();
    prepare_update(resource, subresource, old, &mut new);
    new
}

fn faults(resource: &Resource, old: &Value, changes: Value) -> Vec<String> {
    let new = updated(resource, "", old, changes);
    let faults = check_update(resource, "", old, &new);
    faults.into_iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect()
}

fn pod() -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "uid": "1"},
        "spec": {"containers": [{"name": "a", "image": "a:1"}]}, "status": {"phase": "Running"}});
    prepare_create(&builtin("", "pods"), &mut pod);
    pod
}

#[test]
fn new_objects_have_no_status_but_their_first() {
    let pod = pod();
    assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    assert_eq!(pod["metadata"]["generation"], 1);
    let mut widget = json!({"metadata": {"name": "a"}, "spec": {}, "status": {"a": 1}});
    prepare_create(&widgets(json!({"status": {}})), &mut widget);
    assert_eq!(widget, json!({"metadata": {"name": "a", "generation": 1}, "spec": {}}));
    let mut plain = json!({"metadata": {"name": "a"}, "status": {"a": 1}});
    prepare_create(&widgets(json!({})), &mut plain);
    assert_eq!(plain["status"], json!({"a": 1}));
    let mut namespace = json!({"metadata": {"name": "a"}});
    prepare_create(&builtin("", "namespaces"), &mut namespace);
    assert_eq!(
        namespace,
        json!({"metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
    );
    assert!(!has_generation(&builtin("", "configmaps")));
}

#[test]
fn qos_class_follows_from_requests_and_limits() {
    let check = |resources: Value, class: &str| {
        let mut pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "resources": resources}]}});
        complete(&builtin("", "pods"), &mut pod);
        prepare_create(&builtin("", "pods"), &mut pod);
        assert_eq!(pod["status"]["qosClass"], class);
    };
    check(json!({}), "BestEffort");
    check(json!({"requests": {"cpu": "1"}}), "Burstable");
    check(json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed");
    check(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}), "Burstable");
}

#[test]
fn each_endpoint_writes_its_part_and_generation_counts_what_is_wanted() {
    let resource = widgets(json!({"status": {}}));
    let old = json!({"metadata": {"name": "a", "generation": 4, "labels": {"a": "b"}}, "spec": {"size": 1}, "status": {"ready": 1}});
    let both = json!({"metadata": {"labels": {"a": "c"}}, "spec": {"size": 2}, "status": {"ready": 2}});
    assert_eq!(
        updated(&resource, "", &old, both.clone()),
        json!({"metadata": {"name": "a", "generation": 5, "labels": {"a": "c"}}, "spec": {"size": 2}, "status": {"ready": 1}})
    );
    assert_eq!(
        updated(&resource, "status", &old, both),
        json!({"metadata": {"name": "a", "generation": 4, "labels": {"a": "b"}}, "spec": {"size": 1}, "status": {"ready": 2}})
    );
    // Without the subresource the status is a part of the object like any other.
    let plain = updated(&widgets(json!({})), "", &old, json!({"status": {"ready": 2}}));
    assert_eq!((&plain["metadata"]["generation"], &plain["status"]["ready"]), (&json!(5), &json!(2)));
    // Metadata alone wants nothing else.
    let labelled = updated(&resource, "", &old, json!({"metadata": {"labels": {"x": "y"}}}));
    assert_eq!(labelled["metadata"]["generation"], 4);
    // Controllers of built-in kinds annotate what they report on.
    let deployment = builtin("apps", "deployments");
    let old = json!({"metadata": {"name": "a", "generation": 1}, "spec": {"paused": true}, "status": {}});
    let annotated = updated(
        &deployment,
        "status",
        &old,
        json!({"metadata": {"annotations": {"x": "y"}}, "spec": {"paused": false}}),
    );
    assert_eq!(
        (&annotated["metadata"]["annotations"]["x"], &annotated["spec"]["paused"]),
        (&json!("y"), &json!(true))
    );
}

#[test]
fn a_namespace_is_finalized_through_its_own_endpoint() {
    let namespaces = builtin("", "namespaces");
    let mut old = json!({"metadata": {"name": "a"}});
    prepare_create(&namespaces, &mut old);
    let free = json!({"spec": {"finalizers": []}});
    assert_eq!(updated(&namespaces, "", &old, free.clone()), old);
    assert_eq!(updated(&namespaces, "finalize", &old, free)["spec"]["finalizers"], json!([]));
}

#[test]
fn pods_change_little() {
    let resource = builtin("", "pods");
    let old = pod();
    let image = |image: &str| json!({"spec": {"containers": [{"name": "a", "image": image}]}});
    let mut changed = old["spec"]["containers"].clone();
    changed[0]["image"] = json!("a:2");
    assert_eq!(faults(&resource, &old, json!({"spec": {"containers": changed}})), Vec::<String>::new());
    assert_eq!(faults(&resource, &old, json!({"metadata": {"labels": {"a": "b"}}})), Vec::<String>::new());
    let mut renamed = image("a:1");
    renamed["spec"]["containers"][0]["name"] = json!("b");
    for refused in [renamed, json!({"spec": {"nodeName": "n"}}), json!({"spec": {"restartPolicy": "Never"}})]
    {
        let found = faults(&resource, &old, refused);
        assert!(
            found[0].starts_with("spec: Forbidden: pod updates may not change fields other than"),
            "{found:?}"
        );
    }
}

#[test]
fn what_is_written_once_stays() {
    for (group, plural, old, changes, fault) in [
        (
            "apps",
            "deployments",
            json!({"metadata": {"name": "a"}, "spec": {"selector": {"matchLabels": {"a": "b"}}}}),
            json!({"spec": {"selector": {"matchLabels": {"a": "c"}}}}),
            "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"c\"}}: field is immutable",
        ),
        (
            "rbac.authorization.k8s.io",
            "rolebindings",
            json!({"metadata": {"name": "a"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"}}),
            json!({"roleRef": {"name": "b"}}),
            "roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"b\"}: cannot change roleRef",
        ),
        (
            "",
            "configmaps",
            json!({"metadata": {"name": "a"}, "immutable": true, "data": {"a": "b"}}),
            json!({"data": {"a": "c"}}),
            "data: Forbidden: field is immutable when `immutable` is set",
        ),
        (
            "",
            "persistentvolumeclaims",
            json!({"metadata": {"name": "a"}, "spec": {"volumeMode": "Filesystem", "volumeName": "v"}}),
            json!({"spec": {"volumeName": "w"}}),
            "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        ),
    ] {
        assert_eq!(faults(&builtin(group, plural), &old, changes), [fault]);
    }
}

#[test]
fn string_data_becomes_data_and_jobs_select_by_uid() {
    let mut secret = json!({"metadata": {"name": "a"}, "data": {"a": "eA=="}, "stringData": {"b": "hi"}});
    complete(&builtin("", "secrets"), &mut secret);
    assert_eq!(secret["data"], json!({"a": "eA==", "b": "aGk="}));
    assert!(secret.get("stringData").is_none());

    let mut job =
        json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {"containers": []}}}});
    prepare_create(&builtin("batch", "jobs"), &mut job);
    assert_eq!(job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"], "u");
    assert_eq!(job["spec"]["template"]["metadata"]["labels"]["job-name"], "j");
}
