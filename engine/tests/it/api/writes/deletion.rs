//! Deletions: at once, after finalizers, gracefully, by selector.

use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn an_object_without_finalizers_is_gone_and_its_uid_is_told() {
    let server = start().await;
    let object = post(&server, &core("configmaps"), &config_map("a", json!({}))).await.ok();
    let path = core("configmaps/a");
    let reply = delete(&server, &path, json!({"preconditions": {"uid": "other"}})).await;
    assert_eq!(reply.refused().0, 409);
    let status = delete(&server, &path, Value::Null).await.ok();
    assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(
        status["details"],
        json!({"name": "a", "kind": "configmaps", "uid": object["metadata"]["uid"]})
    );
    assert_eq!(delete(&server, &path, Value::Null).await.refused(), (404, r#"configmaps "a" not found"#));
}

#[tokio::test]
async fn finalizers_keep_an_object_until_the_last_is_removed() {
    let server = start().await;
    let path = at("apps/v1", "deployments/web");
    let object = changed(&deployment("web"), json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    post(&server, &at("apps/v1", "deployments"), &object).await.ok();
    let marked = delete(&server, &path, json!({"propagationPolicy": "Background"})).await.ok();
    assert_eq!(marked["kind"], "Deployment");
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    assert_eq!(marked["metadata"]["generation"], 2);
    let again = delete(&server, &path, json!({"propagationPolicy": "Background"})).await.ok();
    assert_eq!(again["metadata"]["resourceVersion"], marked["metadata"]["resourceVersion"]);
    let more = patch(
        &server,
        MERGE,
        &path,
        &json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}),
    )
    .await;
    let (code, message) = more.refused();
    assert_eq!(code, 422);
    assert!(message.contains("no new finalizers can be added if the object is being deleted"), "{message}");
    // The finalizer's owner may work on the object meanwhile, but nobody can take the deletion back.
    let kept =
        patch(&server, MERGE, &path, &json!({"metadata": {"deletionTimestamp": null, "labels": {"a": "b"}}}))
            .await
            .ok();
    assert_eq!(kept["metadata"]["deletionTimestamp"], marked["metadata"]["deletionTimestamp"]);
    patch(&server, MERGE, &path, &json!({"metadata": {"finalizers": null}})).await.ok();
    assert_eq!(get(&server, &path).await.refused().0, 404);
}

#[tokio::test]
async fn a_pod_on_a_node_gets_its_time() {
    let server = start().await;
    post(&server, &core("pods"), &pod("a")).await.ok();
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n"}});
    post(&server, &core("pods/a/binding"), &binding).await.ok();
    let ending = delete(&server, &core("pods/a"), Value::Null).await.ok();
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
    // The node is done with it.
    let status = delete(&server, &core("pods/a"), json!({"gracePeriodSeconds": 0})).await.ok();
    assert_eq!(status["kind"], "Status");
    assert_eq!(get(&server, &core("pods/a")).await.refused().0, 404);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let server = start().await;
    for (name, app) in [("a", "x"), ("b", "x"), ("c", "y")] {
        let object = changed(&config_map(name, json!({})), json!({"metadata": {"labels": {"app": app}}}));
        post(&server, &core("configmaps"), &object).await.ok();
    }
    let deleted =
        delete(&server, &format!("{}?labelSelector=app%3Dx", core("configmaps")), Value::Null).await.ok();
    assert_eq!((&deleted["kind"], deleted["items"].as_array().unwrap().len()), (&json!("ConfigMapList"), 2));
    let left = get(&server, &core("configmaps")).await.ok();
    let names: Vec<&Value> =
        left["items"].as_array().unwrap().iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names, ["c"]);
}

#[tokio::test]
async fn a_namespace_terminates_until_it_is_finalized() {
    let server = start().await;
    let path = "/api/v1/namespaces/short";
    post(&server, "/api/v1/namespaces", &json!({"metadata": {"name": "short"}})).await.ok();
    let marked = delete(&server, path, Value::Null).await.ok();
    assert_eq!(
        (&marked["status"]["phase"], &marked["spec"]["finalizers"]),
        (&json!("Terminating"), &json!(["kubernetes"]))
    );
    let reply = post(&server, &format!("{path}/configmaps"), &config_map("a", json!({}))).await;
    assert_eq!(reply.refused().0, 403);
    let free = changed(&marked, json!({"spec": {"finalizers": []}}));
    put(&server, &format!("{path}/finalize"), &free).await.ok();
    assert_eq!(get(&server, path).await.refused().0, 404);
}
