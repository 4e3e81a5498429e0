//! Custom resources from the first definition to the last object.

use std::time::Duration;

use engine::store::GroupResource;
use serde_json::{Value, json};

use super::*;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn definition() -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["w"]},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
                "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
                    "spec": {"type": "object", "properties": {
                        "size": {"type": "integer", "default": 1, "minimum": 0},
                        "color": {"type": "string", "enum": ["red", "blue"]},
                        "target": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "target is immutable"}]}}},
                    "status": {"type": "object", "properties": {"size": {"type": "integer"}, "phase": {"type": "string"}}}}}}}]}})
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

fn widgets(rest: &str) -> String {
    at("example.com/v1", &format!("widgets{rest}"))
}

async fn with_widgets() -> Server {
    let server = start().await;
    post(&server, DEFINITIONS, &definition()).await.ok();
    server
}

/// Waits until the definition is gone.
async fn gone(server: &Server) {
    let definitions = GroupResource::new("apiextensions.k8s.io", "customresourcedefinitions");
    let mut changes = server.api.store.subscribe(&definitions);
    let wait = async {
        loop {
            changes.mark_unchanged();
            if server.api.store.snapshot(&definitions).objects.is_empty() {
                return;
            }
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("the definition does not go");
}

#[tokio::test]
async fn a_definition_is_served_when_it_is_established() {
    let server = start().await;
    assert_eq!(get(&server, &widgets("")).await.code, 404);
    let created = post(&server, DEFINITIONS, &definition()).await.ok();
    let conditions: Vec<(&Value, &Value)> = created["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| (&condition["type"], &condition["status"]))
        .collect();
    assert_eq!(
        conditions,
        [(&json!("NamesAccepted"), &json!("True")), (&json!("Established"), &json!("True"))]
    );
    assert_eq!(created["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(created["status"]["acceptedNames"]["singular"], "widget");
    assert_eq!(get(&server, &widgets("")).await.ok()["kind"], "WidgetList");
    // The same definition again is no change, a wider one is served at once.
    let name = format!("{DEFINITIONS}/widgets.example.com");
    let same = put(&server, &name, &created).await.ok();
    assert_eq!(same["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
    let mut versions = created["spec"]["versions"].clone();
    let mut second = versions[0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    versions.as_array_mut().unwrap().push(second);
    patch(&server, MERGE, &name, &json!({"spec": {"versions": versions}})).await.ok();
    post(&server, &widgets(""), &widget("a", json!({}))).await.ok();
    let other = get(&server, &at("example.com/v2", "widgets/a")).await.ok();
    assert_eq!((&other["apiVersion"], &other["spec"]["size"]), (&json!("example.com/v2"), &json!(1)));
}

#[tokio::test]
async fn objects_are_pruned_defaulted_and_validated_by_their_schema() {
    let server = with_widgets().await;
    let created =
        post(&server, &widgets(""), &widget("a", json!({"color": "red", "extra": 1, "target": null}))).await;
    assert_eq!(created.warnings, [r#"299 - "unknown field \"spec.extra\"""#]);
    let created = created.ok();
    assert_eq!(created["spec"], json!({"color": "red", "size": 1}));
    assert_eq!(created["metadata"]["generation"], 1);
    let strict = format!("{}?fieldValidation=Strict", widgets(""));
    assert_eq!(
        post(&server, &strict, &widget("b", json!({"extra": 1}))).await.refused(),
        (
            400,
            r#"Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "spec.extra""#
        )
    );
    let reply = post(&server, &widgets(""), &widget("b", json!({"color": "green", "size": -1}))).await;
    let (code, message) = reply.refused();
    assert_eq!(code, 422);
    for part in [
        r#"Widget.example.com "b" is invalid: ["#,
        r#"spec.color: Unsupported value: "green": supported values: "red", "blue""#,
        "spec.size: Invalid value: -1: spec.size in body should be greater than or equal to 0",
        "some validation rules were not checked because the object was invalid",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let strategic = patch(&server, STRATEGIC, &widgets("/a"), &json!({})).await;
    assert_eq!(
        strategic.refused(),
        (
            415,
            "the body of the request was in an unknown format - accepted media types include: \
            application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
        )
    );
}

#[tokio::test]
async fn expressions_compare_with_the_state_before() {
    let server = with_widgets().await;
    let created = post(&server, &widgets(""), &widget("a", json!({"target": "x"}))).await.ok();
    let moved = patch(&server, MERGE, &widgets("/a"), &json!({"spec": {"target": "y"}})).await;
    assert_eq!(
        moved.refused(),
        (
            422,
            r#"Widget.example.com "a" is invalid: spec.target: Invalid value: "string": target is immutable"#
        )
    );
    // A replacement says which state it replaces.
    let blind = put(&server, &widgets("/a"), &widget("a", json!({"target": "x"}))).await;
    assert_eq!(
        blind.refused(),
        (
            422,
            r#"Widget.example.com "a" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"#
        )
    );
    let resized = put(&server, &widgets("/a"), &changed(&created, json!({"spec": {"size": 2}}))).await.ok();
    assert_eq!(resized["metadata"]["generation"], 2);
    let labelled =
        patch(&server, MERGE, &widgets("/a"), &json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    assert_eq!(labelled["metadata"]["generation"], 2);
}

#[tokio::test]
async fn status_and_scale_are_endpoints_of_their_own() {
    let server = with_widgets().await;
    let created =
        post(&server, &widgets(""), &changed(&widget("a", json!({})), json!({"status": {"phase": "x"}})))
            .await
            .ok();
    assert!(created.get("status").is_none());
    let both = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"size": 7}, "status": {"phase": "Running", "size": 1}});
    let reported = patch(&server, MERGE, &widgets("/a/status"), &both).await.ok();
    assert_eq!((&reported["status"]["phase"], &reported["spec"]["size"]), (&json!("Running"), &json!(1)));
    assert!(reported["metadata"].get("labels").is_none());
    assert_eq!(reported["metadata"]["generation"], 1);
    let object = patch(&server, MERGE, &widgets("/a"), &json!({"status": {"phase": "Other"}})).await.ok();
    assert_eq!(object["metadata"]["resourceVersion"], reported["metadata"]["resourceVersion"]);
    let scale = patch(&server, MERGE, &widgets("/a/scale"), &json!({"spec": {"replicas": 5}})).await.ok();
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["replicas"]), (&json!(5), &json!(1)));
    assert_eq!(get(&server, &widgets("/a")).await.ok()["spec"]["size"], 5);
    let applied = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "status": {"phase": "Done"}});
    let path = format!("{}?fieldManager=controller&force=true", widgets("/a/status"));
    assert_eq!(
        patch(&server, APPLY, &path, &applied).await.ok()["status"],
        json!({"phase": "Done", "size": 1})
    );
}

#[tokio::test]
async fn definitions_that_cannot_be_served_are_refused_or_wait() {
    let server = with_widgets().await;
    let unstructured = changed(
        &definition(),
        json!({"metadata": {"name": "gadgets.example.com"}, "spec": {
        "names": {"plural": "gadgets", "kind": "Gadget", "shortNames": ["g"]},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
            "properties": {"spec": {"properties": {"a": {"type": "string"}}}}}}}]}}),
    );
    let reply = post(&server, DEFINITIONS, &unstructured).await;
    let (code, message) = reply.refused();
    assert_eq!(code, 422);
    assert!(message.contains("must not be empty for specified object fields"), "{message}");

    let rival = changed(
        &definition(),
        json!({"metadata": {"name": "gadgets.example.com"},
        "spec": {"names": {"plural": "gadgets", "kind": "Widget", "shortNames": ["g"]}}}),
    );
    let waiting = post(&server, DEFINITIONS, &rival).await.ok();
    let condition = &waiting["status"]["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["status"], &condition["reason"]),
        (&json!("NamesAccepted"), &json!("False"), &json!("SingularConflict"))
    );
    assert_eq!(get(&server, &at("example.com/v1", "gadgets")).await.code, 404);
}

#[tokio::test]
async fn a_definition_goes_after_its_objects() {
    let server = with_widgets().await;
    post(&server, &widgets(""), &widget("free", json!({}))).await.ok();
    let held = changed(&widget("held", json!({})), json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    post(&server, &widgets(""), &held).await.ok();
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let marked = delete(&server, &path, Value::Null).await.ok();
    assert_eq!(marked["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    assert!(
        marked["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|condition| condition["type"] == "Terminating")
    );
    // The held object is still served, so that its holder can let go.
    patch(&server, MERGE, &widgets("/held"), &json!({"metadata": {"finalizers": null}})).await.ok();
    gone(&server).await;
    assert_eq!(get(&server, &widgets("")).await.code, 404);
    // Nothing is left to come back with a new definition of the same name.
    post(&server, DEFINITIONS, &definition()).await.ok();
    assert_eq!(get(&server, &widgets("")).await.ok()["items"], json!([]));
}
