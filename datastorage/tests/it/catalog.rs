//! The workflow catalog, whatever the database.

use axum::http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, App};

const PATH: &str = "/api/v1/workflows";

fn workflow(name: &str, version: &str) -> Value {
    json!({
        "workflow_name": name, "version": version, "name": "Restart", "description": "restarts it",
        "content": "steps: []", "content_hash": "0123456789abcdef".repeat(4), "execution_engine": "job",
        "status": "active",
        "labels": {"signal_type": "OOMKilled", "severity": "high", "component": "*",
            "environment": "production", "priority": "P1"},
    })
}

async fn created(app: &App, workflow: Value) -> String {
    app.post(PATH, workflow).await.expect(201)["workflow_id"].as_str().unwrap().to_owned()
}

async fn patch(app: &App, path: &str, body: Value) -> Answer {
    app.send(Method::PATCH, &format!("{PATH}/{path}"), Some(body), &[]).await
}

async fn found(app: &App, more: Value) -> Vec<String> {
    let mut search = json!({"filters": {"signal_type": "OOMKilled", "severity": "high", "component": "pod",
        "environment": "production", "priority": "P1"}});
    search.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    let found = app.post("/api/v1/workflows/search", search).await.expect(200);
    let ids =
        found["workflows"].as_array().unwrap().iter().map(|found| found["workflow_id"].as_str().unwrap());
    ids.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_becomes_the_latest_and_an_old_one_stays() {
    let app = App::new().await;
    let first = created(&app, workflow("restart", "1")).await;
    let second = created(&app, workflow("restart", "2")).await;
    let latest =
        async |id: &str| app.get(&format!("{PATH}/{id}")).await.expect(200)["is_latest_version"].clone();
    assert_eq!((latest(&first).await, latest(&second).await), (json!(false), json!(true)));
    assert_eq!(app.post(PATH, workflow("restart", "1")).await.problem(409), "conflict");
    assert_eq!(latest(&second).await, json!(true), "a refused version demotes nobody");
    let versions = app.get("/api/v1/workflows/by-name/restart/versions").await.expect(200);
    let versions: Vec<&Value> =
        versions["workflows"].as_array().unwrap().iter().map(|workflow| &workflow["version"]).collect();
    assert_eq!(versions, [&json!("2"), &json!("1")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_status_of_an_entry_changes() {
    let app = App::new().await;
    let id = created(&app, workflow("restart", "1")).await;
    for field in ["description", "content", "labels"] {
        let refused = patch(&app, &id, json!({"status": "archived", field: "x"})).await;
        assert_eq!(refused.problem(400), "immutable-field-violation", "{field}");
    }
    assert_eq!(patch(&app, &id, json!({"status": "gone"})).await.refused_fields(), ["status"]);
    assert_eq!(patch(&app, &id, json!({})).await.refused_fields(), ["status"]);
    let archived = patch(&app, &id, json!({"status": "archived"})).await.expect(200);
    assert_eq!((&archived["status"], &archived["content"]), (&json!("archived"), &json!("steps: []")));
    let disable = json!({"reason": "it breaks things", "updated_by": "alice"});
    let disabled = patch(&app, &format!("{id}/disable"), disable.clone()).await.expect(200);
    assert_eq!((&disabled["status"], &disabled["disabled_by"]), (&json!("disabled"), &json!("alice")));
    assert_eq!(app.get(&format!("{PATH}/{id}")).await.expect(200), disabled);
    let nobody = Uuid::from_u128(1).to_string();
    assert_eq!(app.get(&format!("{PATH}/{nobody}")).await.problem(404), "not-found");
    assert_eq!(patch(&app, &nobody, json!({"status": "active"})).await.problem(404), "not-found");
    assert_eq!(patch(&app, &format!("{nobody}/disable"), disable).await.problem(404), "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_the_latest_active_versions_with_the_same_labels() {
    let app = App::new().await;
    created(&app, workflow("old", "1")).await;
    let latest = created(&app, workflow("old", "2")).await;
    let disabled = created(&app, workflow("disabled", "1")).await;
    patch(&app, &format!("{disabled}/disable"), json!({"reason": "x"})).await.expect(200);
    let mut elsewhere = workflow("elsewhere", "1");
    elsewhere["labels"]["environment"] = json!("staging");
    created(&app, elsewhere).await;
    let mut fitting = workflow("fitting", "1");
    fitting["detected_labels"] = json!({"gitOpsManaged": true});
    fitting["labels"]["component"] = json!("pod");
    let fitting = created(&app, fitting).await;
    assert_eq!(found(&app, json!({})).await, [fitting.clone(), latest.clone()]);
    assert_eq!(found(&app, json!({"include_disabled": true})).await.len(), 3);
    assert_eq!(found(&app, json!({"top_k": 1})).await.len(), 1);
    let refused = app.post("/api/v1/workflows/search", json!({"filters": {"severity": "high"}})).await;
    assert_eq!(refused.problem(400), "validation-error");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_filtered_and_paged() {
    let app = App::new().await;
    for nth in 0..5 {
        created(&app, workflow(&format!("w-{nth}"), "1")).await;
    }
    let page = app.get("/api/v1/workflows?limit=2&offset=4&priority=P1&status=active").await.expect(200);
    assert_eq!((&page["total"], page["workflows"].as_array().unwrap().len()), (&json!(5), 1));
    assert_eq!(app.get("/api/v1/workflows?environment=staging").await.expect(200)["total"], 0);
    assert_eq!(app.get("/api/v1/workflows?limit=101").await.refused_fields(), ["limit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_the_catalog_and_what_searches_it_is_in_the_audit_trail() {
    let app = App::new().await;
    let id = created(&app, workflow("restart", "1")).await;
    patch(&app, &id, json!({"status": "deprecated"})).await.expect(200);
    found(&app, json!({"remediation_id": "rr-1"})).await;
    let trail = async |correlation: &str| -> Vec<Value> {
        let page = app.get(&format!("/api/v1/audit/events?correlation_id={correlation}")).await.expect(200);
        page["data"].as_array().unwrap().iter().map(|event| event["event_type"].clone()).collect()
    };
    assert_eq!(trail(&id).await, ["datastorage.workflow.updated", "datastorage.workflow.created"]);
    assert_eq!(trail("rr-1").await, ["workflow.catalog.search_completed"]);
    let verified = app.post("/api/v1/audit/verify-chain", json!({"correlation_id": id})).await.expect(200);
    assert_eq!((&verified["is_valid"], &verified["total_events"]), (&json!(true), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_has_to_be_whole() {
    let app = App::new().await;
    for (pointer, value, field) in [
        ("/content_hash", json!("ABC"), "content_hash"),
        ("/labels/severity", json!("urgent"), "labels.severity"),
        ("/labels/priority", json!("P9"), "labels.priority"),
        ("/workflow_name", json!(""), "workflow_name"),
        ("/content", json!("a\u{0}"), "content"),
        ("/status", json!("new"), "status"),
    ] {
        let mut wrong = workflow("restart", "1");
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert_eq!(app.post(PATH, wrong).await.refused_fields(), [field]);
    }
}
