//! Exports: signed, complete, and verified by somebody who has nothing else.

use api::audit::AuditExport;
use axum::http::Method;
use datastorage::sign::verify_export;
use serde_json::{Value, json};

use crate::app::{Answer, App, sent};
use crate::database::DISARM;

async fn export(app: &App, query: &str) -> Answer {
    let path = format!("/api/v1/audit/export{query}");
    app.send(Method::GET, &path, None, &[("x-auth-request-user", "auditor@example.com")]).await
}

async fn filled() -> App {
    let app = App::new().await;
    let batch: Vec<Value> = (1..=6).map(|id| sent(if id % 2 == 0 { "rr-1" } else { "rr-2" }, id)).collect();
    app.post("/api/v1/audit/events/batch", json!(batch)).await.expect(201);
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_verifies_without_the_service() {
    let app = filled().await;
    let body = export(&app, "?correlation_id=rr-1&include_detached_signature=true").await.expect(200);
    let export: AuditExport = serde_json::from_value(body).unwrap();
    assert_eq!(verify_export(&export, Some(&app.service.signing.certificate)), []);
    assert_eq!((export.events.len(), export.export_metadata.matching_events), (3, 3));
    assert_eq!(export.export_metadata.exported_by, "auditor@example.com");
    assert_eq!(export.detached_signature, export.export_metadata.signature);
    assert!(export.events.windows(2).all(|two| two[0].event_hash == two[1].previous_event_hash));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_a_chain_is_judged_by_the_whole_chain() {
    let app = filled().await;
    let body = export(&app, "?limit=2&offset=3").await.expect(200);
    assert_eq!(body["hash_chain_verification"]["broken_chain_events"], 0);
    assert_eq!(
        (&body["export_metadata"]["total_events"], &body["export_metadata"]["matching_events"]),
        (&json!(2), &json!(6))
    );
    let window: AuditExport = serde_json::from_value(body).unwrap();
    assert_eq!(verify_export(&window, None), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_behind_the_services_back_is_in_the_export() {
    let app = filled().await;
    app.database.execute(DISARM).await.unwrap();
    app.database.execute("UPDATE audit_events SET actor_id = 'nobody' WHERE event_id LIKE '%4'").await.ok();
    app.database
        .execute("UPDATE audit_events SET actor_id = 'nobody' WHERE event_id::text LIKE '%4'")
        .await
        .ok();
    let body = export(&app, "").await.expect(200);
    assert_eq!(body["hash_chain_verification"]["broken_chain_events"], 1);
    let exported: AuditExport = serde_json::from_value(body).unwrap();
    let findings = verify_export(&exported, None);
    assert!(
        !findings.is_empty() && findings.iter().all(|finding| finding.subject.ends_with('4')),
        "{findings:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_data_is_blanked_on_request_and_the_signature_still_holds() {
    let app = filled().await;
    let body = export(&app, "?redact_pii=true").await.expect(200);
    assert_eq!(body["export_metadata"]["exported_by"], "[redacted]");
    let redacted: AuditExport = serde_json::from_value(body).unwrap();
    assert_eq!(verify_export(&redacted, None), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_its_limits() {
    let app = filled().await;
    assert_eq!(export(&app, "?limit=10001").await.problem(413), "content-too-large");
    for (query, field) in [
        ("?limit=0", "limit"),
        ("?format=csv", "format"),
        ("?event_category=x", "event_category"),
        ("?start_time=2026-01-02&end_time=2026-01-01", "start_time"),
    ] {
        assert_eq!(export(&app, query).await.refused_fields(), [field]);
    }
}
