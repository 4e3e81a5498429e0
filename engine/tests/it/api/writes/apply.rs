//! Server-side apply through the server: creation, conflicts, force, removal, and what is refused.

use serde_json::{Value, json};

use super::*;

async fn apply(server: &Server, path: &str, manager: &str, config: &Value) -> Reply {
    patch(server, APPLY, &format!("{path}?fieldManager={manager}"), config).await
}

#[tokio::test]
async fn what_is_not_there_is_created_and_an_apply_of_the_same_changes_nothing() {
    let server = start().await;
    let path = core("configmaps/a");
    let config = config_map("a", json!({"n": "1"}));
    let created = apply(&server, &path, "one", &config).await;
    assert_eq!(created.code, 201);
    let created = created.ok();
    let managers = &created["metadata"]["managedFields"];
    assert_eq!((&managers[0]["manager"], &managers[0]["operation"]), (&json!("one"), &json!("Apply")));
    assert_eq!(managers.as_array().unwrap().len(), 1);
    let again = apply(&server, &path, "one", &config).await;
    assert_eq!(again.code, 200);
    assert_eq!(again.ok(), created);
}

#[tokio::test]
async fn a_field_of_another_manager_is_a_conflict_unless_forced() {
    let server = start().await;
    let path = core("configmaps/a");
    apply(&server, &path, "one", &config_map("a", json!({"n": "1", "own": "x"}))).await.ok();
    let reply = apply(&server, &path, "two", &config_map("a", json!({"n": "2"}))).await;
    assert_eq!(reply.refused(), (409, r#"Apply failed with 1 conflict: conflict with "one": .data.n"#));
    assert_eq!(
        reply.body["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.n"}])
    );
    // Whoever updates becomes an owner, too.
    patch(&server, MERGE, &path, &json!({"data": {"n": "3"}})).await.ok();
    let reply = apply(&server, &path, "two", &config_map("a", json!({"n": "2"}))).await;
    assert_eq!(
        reply.refused().1,
        r#"Apply failed with 1 conflict: conflict with "tester" using v1: .data.n"#
    );
    let forced = apply(&server, &path, "two&force=true", &config_map("a", json!({"n": "2"}))).await.ok();
    assert_eq!(forced["data"], json!({"n": "2", "own": "x"}));
}

#[tokio::test]
async fn a_field_no_longer_applied_goes_unless_somebody_else_owns_it() {
    let server = start().await;
    let path = core("configmaps/a");
    apply(&server, &path, "one", &config_map("a", json!({"mine": "1", "shared": "1"}))).await.ok();
    apply(&server, &path, "two", &config_map("a", json!({"shared": "1"}))).await.ok();
    let object = apply(&server, &path, "one", &config_map("a", json!({}))).await.ok();
    assert_eq!(object["data"], json!({"shared": "1"}));
}

#[tokio::test]
async fn defaults_are_filled_in_and_kept_by_later_applies() {
    let server = start().await;
    let path = at("apps/v1", "deployments/web");
    let created = apply(&server, &path, "one", &deployment("web")).await.ok();
    assert_eq!(created["spec"]["progressDeadlineSeconds"], 600);
    let scaled = apply(&server, &path, "one", &changed(&deployment("web"), json!({"spec": {"replicas": 2}})))
        .await
        .ok();
    assert_eq!((&scaled["spec"]["replicas"], &scaled["metadata"]["generation"]), (&json!(2), &json!(2)));
    assert_eq!(scaled["spec"]["progressDeadlineSeconds"], 600);
}

#[tokio::test]
async fn configurations_that_are_none_are_refused() {
    let server = start().await;
    let path = core("configmaps/a");
    let config = config_map("a", json!({}));
    let reply = patch(&server, APPLY, &path, &config).await;
    assert_eq!(
        reply.refused(),
        (
            422,
            r#"PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#
        )
    );
    let owned = changed(&config, json!({"metadata": {"managedFields": []}}));
    assert_eq!(
        apply(&server, &path, "one", &owned).await.refused(),
        (400, "metadata.managedFields must be nil")
    );
    let unknown = changed(&config, json!({"spec": {"extra": 1}}));
    let reply = apply(&server, &path, "one", &unknown).await;
    assert_eq!(
        reply.refused(),
        (
            500,
            "failed to create typed patch object (work/a; /v1, Kind=ConfigMap): .spec: field not declared in schema"
        )
    );
    let reply = apply(&server, &path, "one", &changed(&config, json!({"metadata": {"uid": "1"}}))).await;
    assert_eq!(reply.refused().0, 409);
}
