//! What clients see of the audit trail, whatever the database.

use axum::body::Body;
use axum::http::{Method, Request};
use datastorage::options::Limits;
use datastorage::server::Authorization;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{App, limits, sent};

const EVENTS: &str = "/api/v1/audit/events";
const BATCH: &str = "/api/v1/audit/events/batch";

#[tokio::test(flavor = "multi_thread")]
async fn one_id_is_one_event_however_often_it_is_sent() {
    let app = App::new().await;
    let event = sent("rr-1", 1);
    let first = app.post(EVENTS, event.clone()).await.expect(201);
    assert_eq!(first["event_id"], event["event_id"]);
    let again = app.post(EVENTS, event.clone()).await.expect(200);
    assert_eq!(again["event_id"], event["event_id"]);
    let mut other = event.clone();
    other["event_outcome"] = json!("failure");
    let refused = app.post(EVENTS, other).await;
    assert_eq!(refused.body["differing"], json!(["event_outcome"]));
    assert_eq!(refused.problem(409), "conflict");
    assert_eq!(app.get(EVENTS).await.expect(200)["pagination"]["total"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_a_batch_come_back_in_the_order_sent() {
    let app = App::new().await;
    let batch: Vec<Value> = [5, 3, 9, 1].map(|id| sent(&format!("rr-{}", id % 2), id)).into();
    let ids: Vec<Value> = batch.iter().map(|event| event["event_id"].clone()).collect();
    assert_eq!(app.post(BATCH, json!(batch)).await.expect(201)["event_ids"], json!(ids));
    assert_eq!(app.post(BATCH, json!(batch)).await.expect(200)["event_ids"], json!(ids));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_event_refuses_its_batch_and_is_named() {
    let app = App::new().await;
    let (mut mismatched, mut unknown, mut incomplete) = (sent("rr-1", 2), sent("rr-1", 3), sent("rr-1", 4));
    mismatched["event_type"] = json!("gateway.crd.created");
    unknown["event_data"]["event_type"] = json!("no.such.type");
    incomplete["event_data"].as_object_mut().unwrap().remove("fingerprint");
    let batch = json!([sent("rr-1", 1), mismatched, unknown, incomplete]);
    let mut fields = app.post(BATCH, batch).await.refused_fields();
    fields.sort();
    assert_eq!(
        fields,
        ["[1].event_data.event_type", "[2].event_data.event_type", "[3].event_data.fingerprint"]
    );
    assert_eq!(app.get(EVENTS).await.expect(200)["pagination"]["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_by_its_limit() {
    let app = App::new().await;
    let many: Vec<Value> = (0..21).map(|id| sent("rr-1", id)).collect();
    let refused = app.post(BATCH, json!(many)).await;
    assert_eq!(refused.body["max_batch_size"], 20);
    assert_eq!(refused.problem(413), "content-too-large");
    let mut large = sent("rr-1", 1);
    large["event_data"]["more"] = json!("x".repeat(65 * 1024));
    let refused = app.post(EVENTS, large).await;
    assert_eq!(refused.body["max_bytes"], 65536);
    assert_eq!(refused.problem(413), "content-too-large");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_is_a_problem_of_one_shape() {
    let app = App::new().await;
    let request = |method: &str, path: &str, media_type: &str, body: &'static str| {
        let request = Request::builder().method(method).uri(path).header("content-type", media_type);
        app.answer(request.body(Body::from(body)).unwrap())
    };
    let json = "application/json";
    for (method, path, media_type, body, status, slug) in [
        ("GET", "/nowhere", json, "", 404, "not-found"),
        ("PUT", EVENTS, json, "", 405, "method-not-allowed"),
        ("POST", EVENTS, "text/plain", "{}", 415, "unsupported-media-type"),
        ("POST", EVENTS, json, "", 400, "invalid-request"),
        ("POST", EVENTS, json, "{", 400, "invalid-request"),
        ("POST", EVENTS, json, "[]", 400, "validation-error"),
        ("POST", EVENTS, json, r#"{"version": 1e999}"#, 400, "invalid-request"),
        ("POST", EVENTS, json, r#"{"version": "\ud800"}"#, 400, "invalid-request"),
        ("POST", BATCH, json, "{}", 400, "invalid-request"),
        ("POST", BATCH, json, "[]", 400, "validation-error"),
        ("POST", BATCH, json, "[1, null]", 400, "validation-error"),
        ("GET", "/api/v1/audit/events?limit=0", json, "", 400, "validation-error"),
        ("GET", "/api/v1/audit/events?limit=x", json, "", 400, "validation-error"),
        ("GET", "/api/v1/audit/events?unknown=1", json, "", 400, "validation-error"),
        ("GET", "/api/v1/audit/events?correlation_id=%00", json, "", 400, "validation-error"),
        ("GET", "/api/v1/audit/events?offset=18446744073709551615", json, "", 400, "validation-error"),
        (
            "POST",
            "/api/v1/audit/verify-chain",
            json,
            r#"{"correlation_id": "\u0000"}"#,
            400,
            "validation-error",
        ),
        ("POST", "/api/v1/audit/verify-chain", json, r#"{"correlation_id": ""}"#, 400, "validation-error"),
        ("POST", "/api/v1/audit/remediation-requests/%00/reconstruct", json, "", 400, "validation-error"),
        ("POST", "/api/v1/audit/remediation-requests/%ff/reconstruct", json, "", 400, "bad-request"),
        ("POST", "/api/v1/audit/remediation-requests/none/reconstruct", json, "", 404, "not-found"),
        ("GET", "/api/v1/workflows/1", json, "", 400, "validation-error"),
        ("GET", "/api/v1/workflows/by-name/%00/versions", json, "", 400, "validation-error"),
        ("GET", "/api/v1/workflows?status=new", json, "", 400, "validation-error"),
        ("GET", "/api/v1/audit/export", json, "", 401, "unauthorized"),
        ("DELETE", "/api/v1/audit/legal-hold/x", json, "{}", 401, "unauthorized"),
    ] {
        let answer = request(method, path, media_type, body).await;
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.body);
        assert_eq!(answer.problem(status), slug, "{method} {path} {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_too_often_is_told_when_to_come_back() {
    let app = App::with(Limits { rate_limit: 1, ..limits() }, Authorization::Open).await;
    let mut answer = app.get(EVENTS).await;
    for _ in 0..20 {
        if answer.status == 429 {
            break;
        }
        answer = app.get(EVENTS).await;
    }
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(answer.problem(429), "too-many-requests");
    for path in ["/health/ready", "/metrics"] {
        assert_eq!(app.get(path).await.status, 200, "probes and metrics are always answered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_told_to_end_is_not_ready_but_still_works() {
    let app = App::new().await;
    app.get("/health/ready").await.expect(200);
    app.service.draining.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(app.get("/health/ready").await.problem(503), "service-unavailable");
    app.get("/health/live").await.expect(200);
    app.post(EVENTS, sent("rr-1", 1)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_is_recorded_once() {
    let app = App::new().await;
    let path = "/api/v1/audit/notifications";
    let delivery = json!({
        "remediation_id": "rr-1", "notification_id": "n-1", "recipient": "#ops", "channel": "slack",
        "message_summary": "restarted", "status": "sent", "sent_at": jiff::Timestamp::now().to_string(),
    });
    let record = app.post(path, delivery.clone()).await.expect(201);
    assert!(record["id"].is_i64() && record["created_at"].is_string(), "{record}");
    assert_eq!(record["escalation_level"], 0);
    assert_eq!(app.post(path, delivery.clone()).await.problem(409), "conflict");
    for (field, value) in [
        ("channel", json!("pigeon")),
        ("sent_at", json!("2999-01-01T00:00:00Z")),
        ("recipient", json!("x".repeat(256))),
        ("notification_id", json!("")),
        ("escalation_level", json!(-1)),
    ] {
        let mut wrong = delivery.clone();
        wrong[field] = value;
        assert_eq!(app.post(path, wrong).await.refused_fields(), [field]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_placed_by_somebody_and_released_by_somebody() {
    let app = App::new().await;
    let path = "/api/v1/audit/legal-hold";
    let place = async |user: &str, reason: &str| {
        let body = json!({"correlation_id": "rr-1", "reason": reason});
        app.send(Method::POST, path, Some(body), &[("x-auth-request-user", user)]).await
    };
    let release = async || {
        let body = json!({"release_reason": "case closed"});
        app.send(
            Method::DELETE,
            "/api/v1/audit/legal-hold/rr-1",
            Some(body),
            &[("x-auth-request-user", "bob")],
        )
        .await
    };
    assert_eq!(
        app.post(path, json!({"correlation_id": "rr-1", "reason": "x"})).await.problem(401),
        "unauthorized"
    );
    assert_eq!(place("alice", "case 17").await.problem(404), "not-found");
    app.post(BATCH, json!([sent("rr-1", 1), sent("rr-1", 2), sent("rr-2", 3)])).await.expect(201);

    let placed = place("alice", "case 17").await.expect(200);
    assert_eq!((&placed["placed_by"], &placed["events_affected"]), (&json!("alice"), &json!(2)));
    assert_eq!(place("alice", "case 17").await.expect(200)["placed_at"], placed["placed_at"]);
    assert_eq!(place("bob", "case 18").await.problem(409), "conflict");
    let held = app.get(path).await.expect(200);
    assert_eq!((&held["total"], &held["holds"][0]["reason"]), (&json!(1), &json!("case 17")));

    let released = release().await.expect(200);
    assert_eq!((&released["released_by"], &released["events_released"]), (&json!("bob"), &json!(2)));
    assert_eq!(release().await.problem(404), "not-found");
    assert_eq!(app.get(path).await.expect(200)["total"], 0);
    place("bob", "case 18").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_under_hold_cannot_be_deleted_not_even_by_who_has_the_database() {
    let app = App::new().await;
    app.post(BATCH, json!([sent("rr-1", 1), sent("rr-2", 2)])).await.expect(201);
    let body = json!({"correlation_id": "rr-1", "reason": "case 17"});
    app.send(Method::POST, "/api/v1/audit/legal-hold", Some(body), &[("x-auth-request-user", "alice")])
        .await
        .expect(200);
    let delete = async |correlation: &str| {
        app.database.execute(&format!("INSERT INTO audit_removals VALUES ('{correlation}')")).await.unwrap();
        app.database
            .execute(&format!("DELETE FROM audit_events WHERE correlation_id = '{correlation}'"))
            .await
    };
    let refused = delete("rr-1").await.unwrap_err().to_string();
    assert!(refused.contains("under legal hold"), "{refused}");
    delete("rr-2").await.unwrap();
    let plain = app.database.execute("DELETE FROM audit_events").await.unwrap_err().to_string();
    assert!(plain.contains("legal hold") || plain.contains("append-only"), "{plain}");
    assert_eq!(app.get(EVENTS).await.expect(200)["pagination"]["total"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remediation_is_told_from_its_events() {
    let app = App::new().await;
    let batch = json!([sent("rr-1", 1), crate::app::ended("rr-1", 2, "restart", false), sent("rr-2", 3)]);
    app.post(BATCH, batch).await.expect(201);
    let path = "/api/v1/audit/remediation-requests/rr-1/reconstruct";
    let story = app.send(Method::POST, path, None, &[]).await.expect(200);
    assert_eq!((&story["state"], &story["chain_valid"]), (&json!("failed"), &json!(true)));
    let ids: Vec<&Value> =
        story["entries"].as_array().unwrap().iter().map(|entry| &entry["event_id"]).collect();
    assert_eq!(ids, [&json!(Uuid::from_u128(1)), &json!(Uuid::from_u128(2))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn success_is_counted_by_workflow_and_by_incident() {
    use crate::app::ended;
    let app = App::new().await;
    let batch = json!([
        sent("rr-1", 1),
        ended("rr-1", 2, "restart", true),
        ended("rr-1", 3, "restart", false),
        ended("rr-2", 4, "restart", true),
        ended("rr-2", 5, "scale", true),
    ]);
    app.post(BATCH, batch).await.expect(201);
    let count = async |path: &str| {
        let rate = app.get(&format!("/api/v1/success-rate/{path}")).await.expect(200);
        (rate["total_executions"].clone(), rate["successful_executions"].clone())
    };
    assert_eq!(count("workflow?workflow_id=restart").await, (json!(3), json!(2)));
    assert_eq!(count("workflow?workflow_id=restart&workflow_version=2").await, (json!(0), json!(0)));
    assert_eq!(count("incident-type?incident_type=KubePodOOM").await, (json!(2), json!(1)));
    assert_eq!(
        count("multi-dimensional?incident_type=KubePodOOM&workflow_id=scale").await,
        (json!(0), json!(0))
    );
    assert_eq!(count("multi-dimensional?workflow_id=scale&time_range=1h").await, (json!(1), json!(1)));
    for path in [
        "workflow",
        "incident-type",
        "multi-dimensional?workflow_version=1",
        "workflow?workflow_id=a&time_range=x",
    ] {
        app.get(&format!("/api/v1/success-rate/{path}")).await.problem(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_contract_are_served() {
    let app = App::new().await;
    app.post(EVENTS, sent("rr-1", 1)).await.expect(201);
    let contract = app.get("/openapi.json").await;
    let digest = contract.headers["x-openapi-digest"].to_str().unwrap().to_owned();
    assert_eq!(contract.body["openapi"], "3.1.0");
    assert_eq!(app.get("/health").await.expect(200)["openapi_digest"], digest.as_str());
    let tag = contract.headers["etag"].to_str().unwrap().to_owned();
    let again = app.send(Method::GET, "/openapi.json", None, &[("if-none-match", &tag)]).await;
    assert_eq!(again.status, 304);
    let committed: Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap();
    assert!(contract.body == committed, "run `cargo xtask codegen`");
}
