//! Objects created, replaced and patched.

use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn a_new_object_gets_its_identity_and_its_defaults() {
    let server = start().await;
    let reply = post(&server, &core("pods"), &pod("a")).await;
    assert_eq!(reply.code, 201);
    let object = reply.ok();
    let metadata = &object["metadata"];
    assert_eq!((&metadata["namespace"], &metadata["generation"]), (&json!(NAMESPACE), &json!(1)));
    assert!(metadata["uid"].is_string() && metadata["resourceVersion"].is_string());
    let created = metadata["creationTimestamp"].as_str().unwrap();
    assert!(created.len() == 20 && created.ends_with('Z'), "whole seconds: {created}");
    assert_eq!(object["spec"]["restartPolicy"], "Always");
    assert_eq!(object["status"]["phase"], "Pending");
    assert_eq!(metadata["managedFields"][0]["manager"], "tester");
    assert_eq!(get(&server, &core("pods/a")).await.ok(), object);
}

#[tokio::test]
async fn what_cannot_be_created_is_told_in_the_words_clients_match_on() {
    let server = start().await;
    post(&server, &core("configmaps"), &config_map("taken", json!({}))).await.ok();
    for (path, object, code, message) in [
        ("configmaps", config_map("taken", json!({})), 409, r#"configmaps "taken" already exists"#),
        (
            "configmaps",
            json!({"metadata": {}}),
            422,
            r#"ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required"#,
        ),
        (
            "configmaps",
            json!({"metadata": {"name": "a", "namespace": "other"}}),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "configmaps",
            json!({"metadata": {"name": "a", "resourceVersion": "1"}}),
            500,
            "resourceVersion should not be set on objects to be created",
        ),
        (
            "configmaps",
            json!({"kind": "Secret", "metadata": {"name": "a"}}),
            400,
            r#"Secret in version "v1" cannot be handled as a ConfigMap"#,
        ),
        (
            "configmaps",
            json!({"apiVersion": "v2", "metadata": {"name": "a"}}),
            400,
            "the API version in the data (v2) does not match the expected API version (v1)",
        ),
        (
            "configmaps",
            json!({"metadata": {"name": "a"}, "data": {"a": 1}}),
            400,
            r#"ConfigMap in version "v1" cannot be handled as a ConfigMap: data.a: Invalid value: "integer": data.a in body must be of type string: "integer""#,
        ),
    ] {
        assert_eq!(post(&server, &core(path), &object).await.refused(), (code, message), "{object}");
    }
    let reply = post(&server, "/api/v1/namespaces/nowhere/configmaps", &config_map("a", json!({}))).await;
    assert_eq!(reply.refused(), (404, r#"namespaces "nowhere" not found"#));
    let reply = send(&server, &format!("POST {}", core("configmaps")), "text/html", "<p>").await;
    assert_eq!(reply.refused().0, 415);
}

#[tokio::test]
async fn a_name_is_generated_each_time() {
    let server = start().await;
    let object = json!({"metadata": {"generateName": "run-"}});
    let mut names = Vec::new();
    for _ in 0..2 {
        let created = post(&server, &core("configmaps"), &object).await.ok();
        names.push(created["metadata"]["name"].as_str().unwrap().to_owned());
    }
    assert!(names.iter().all(|name| name.starts_with("run-") && name.len() == 9), "{names:?}");
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn yaml_is_as_good_as_json() {
    let server = start().await;
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  key: |\n    two\n    lines\n";
    let object = send(&server, &format!("POST {}", core("configmaps")), "application/yaml", text).await.ok();
    assert_eq!(object["data"]["key"], "two\nlines\n");
}

#[tokio::test]
async fn a_write_based_on_an_old_state_is_a_conflict() {
    let server = start().await;
    let path = core("configmaps/a");
    let first = post(&server, &core("configmaps"), &config_map("a", json!({"n": "1"}))).await.ok();
    let second = put(&server, &path, &changed(&first, json!({"data": {"n": "2"}}))).await.ok();
    let stale = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
        please apply your changes to the latest version and try again";
    let reply = put(&server, &path, &changed(&first, json!({"data": {"n": "3"}}))).await;
    assert_eq!(reply.refused(), (409, stale));
    assert_eq!(reply.body["reason"], "Conflict");
    let old =
        json!({"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "data": {"n": "3"}});
    assert_eq!(patch(&server, MERGE, &path, &old).await.refused(), (409, stale));
    let reply = put(&server, &path, &changed(&second, json!({"metadata": {"uid": "other"}}))).await;
    let (code, message) = reply.refused();
    assert_eq!(code, 409);
    assert!(message.contains("Precondition failed: UID in precondition: other"), "{message}");
    // A replacement that names no state replaces any.
    let third = put(&server, &path, &config_map("a", json!({"n": "4"}))).await.ok();
    assert_eq!((&third["data"]["n"], &third["metadata"]["uid"]), (&json!("4"), &first["metadata"]["uid"]));
    assert_eq!(put(&server, &core("configmaps/b"), &config_map("b", json!({}))).await.refused().0, 404);
}

#[tokio::test]
async fn a_write_that_changes_nothing_is_no_event() {
    let server = start().await;
    let object = post(&server, &core("pods"), &pod("a")).await.ok();
    let revision = server.api.store.revision();
    let again = put(&server, &core("pods/a"), &object).await.ok();
    assert_eq!(again["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"]);
    patch(&server, MERGE, &core("pods/a"), &json!({"metadata": {"labels": null}})).await.ok();
    assert_eq!(server.api.store.revision(), revision);
}

#[tokio::test]
async fn a_dry_run_goes_all_the_way_but_stores_nothing() {
    let server = start().await;
    let revision = server.api.store.revision();
    let path = format!("{}?dryRun=All", core("configmaps"));
    let object = post(&server, &path, &config_map("a", json!({"n": "1"}))).await.ok();
    assert!(object["metadata"]["uid"].is_string() && object["metadata"].get("resourceVersion").is_none());
    assert_eq!(post(&server, &path, &config_map("A", json!({}))).await.refused().0, 422);
    assert_eq!(server.api.store.revision(), revision);
    post(&server, &core("configmaps"), &config_map("a", json!({"n": "1"}))).await.ok();
    assert_eq!(post(&server, &path, &config_map("a", json!({}))).await.refused().0, 409);
    let path = format!("{}?dryRun=All", core("configmaps/a"));
    let object = patch(&server, MERGE, &path, &json!({"data": {"n": "2"}})).await.ok();
    assert_eq!(object["data"]["n"], "2");
    delete(&server, &path, Value::Null).await.ok();
    assert_eq!(get(&server, &core("configmaps/a")).await.ok()["data"]["n"], "1");
}

#[tokio::test]
async fn unknown_and_duplicate_fields_warn_or_refuse() {
    let server = start().await;
    let body = r#"{"metadata": {"name": "a", "foo": 1}, "data": {"a": "1"}, "data": {"a": "2"}}"#;
    let request = |query: &str| format!("POST {}?{query}", core("configmaps"));
    let strict = send(&server, &request("fieldValidation=Strict"), JSON, body).await;
    assert_eq!(
        strict.refused(),
        (
            400,
            r#"ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "metadata.foo", duplicate field "data""#
        )
    );
    let warned = send(&server, &request("dryRun=All"), JSON, body).await;
    assert_eq!(
        warned.warnings,
        [r#"299 - "unknown field \"metadata.foo\"""#, r#"299 - "duplicate field \"data\"""#]
    );
    assert_eq!(warned.ok()["data"]["a"], "2");
    let ignored = send(&server, &request("fieldValidation=Ignore"), JSON, body).await;
    assert_eq!(ignored.warnings, Vec::<String>::new());
    let path = format!("{}?fieldValidation=Strict", core("configmaps/a"));
    let reply = patch(&server, MERGE, &path, &json!({"foo": 1})).await;
    let (code, message) = reply.refused();
    assert_eq!(code, 422);
    assert!(message.ends_with(r#"strict decoding error: unknown field "foo""#), "{message}");
}

#[tokio::test]
async fn every_kind_of_patch_does_what_it_says() {
    let server = start().await;
    let path = at("apps/v1", "deployments/web");
    post(&server, &at("apps/v1", "deployments"), &deployment("web")).await.ok();
    let sidecar = json!({"spec": {"template": {"spec": {"containers": [{"name": "sidecar", "image": "registry/sidecar:1"}]}}}});
    let object = patch(&server, STRATEGIC, &path, &sidecar).await.ok();
    let containers = object["spec"]["template"]["spec"]["containers"].as_array().unwrap().clone();
    let names: Vec<&Value> = containers.iter().map(|container| &container["name"]).collect();
    assert_eq!(names, ["main", "sidecar"]);
    assert_eq!(object["metadata"]["generation"], 2);
    let object = patch(&server, MERGE, &path, &sidecar).await.ok();
    assert_eq!(object["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
    let operations = json!([{"op": "test", "path": "/spec/replicas", "value": 1}, {"op": "replace", "path": "/spec/replicas", "value": 3}]);
    assert_eq!(patch(&server, JSON_PATCH, &path, &operations).await.ok()["spec"]["replicas"], 3);
    assert_eq!(
        patch(&server, JSON_PATCH, &path, &operations).await.refused(),
        (422, "the server rejected our request due to an error in our request")
    );
    assert_eq!(
        patch(&server, JSON, &path, &json!({})).await.refused(),
        (
            415,
            "the body of the request was in an unknown format - accepted media types include: \
            application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"
        )
    );
    let renamed = patch(&server, MERGE, &path, &json!({"metadata": {"name": "other"}})).await;
    assert_eq!(renamed.refused().0, 400);
}

#[tokio::test]
async fn invalid_objects_are_refused_with_every_cause() {
    let server = start().await;
    let wrong = changed(&deployment("web"), json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}}));
    let reply = post(&server, &at("apps/v1", "deployments"), &wrong).await;
    let (code, message) = reply.refused();
    assert_eq!(code, 422);
    assert!(
        message
            .starts_with(r#"Deployment.apps "web" is invalid: spec.template.metadata.labels: Invalid value"#),
        "{message}"
    );
    assert_eq!(reply.body["details"]["kind"], "Deployment");
    assert_eq!(reply.body["details"]["causes"][0]["field"], "spec.template.metadata.labels");
}

#[tokio::test]
async fn events_written_in_one_group_are_read_in_the_other() {
    let server = start().await;
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "node", "reportingInstance": "n", "action": "Start", "reason": "Started", "type": "Normal",
        "note": "hello", "regarding": {"kind": "Pod", "namespace": NAMESPACE, "name": "p"}});
    let created = post(&server, &at("events.k8s.io/v1", "events"), &event).await.ok();
    assert_eq!((&created["note"], &created["apiVersion"]), (&json!("hello"), &json!("events.k8s.io/v1")));
    let core_event = get(&server, &core("events/e")).await.ok();
    assert_eq!(
        (&core_event["message"], &core_event["involvedObject"]["name"]),
        (&json!("hello"), &json!("p"))
    );
}
