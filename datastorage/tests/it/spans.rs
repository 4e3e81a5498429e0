//! Spans for a collector that the environment names.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::app::sent;
use crate::collector::Collector;
use crate::database::Database;
use crate::process::{Process, client, drain};

const TRACE: &str = "3f1c9a5277aa4c1f9c556d1f7a1b2c3d";
const PARENT: &str = "00f067aa0ba902b7";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_span_in_the_trace_of_who_asks() {
    let (database, keys, collector) =
        (Database::new().await, tempfile::tempdir().unwrap(), Collector::start().await);
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str())];
    let mut process = Process::start_in(&environment, &database.url, keys.path(), &["--drain-delay=0s"]);
    drain(&mut process);
    let ask = |event| {
        let request = client().post(process.url("/api/v1/audit/events")).json(&event);
        request.header("traceparent", format!("00-{TRACE}-{PARENT}-01")).send()
    };
    assert_eq!(ask(sent("rr-1", 1)).await.unwrap().status(), 201);
    assert_eq!(ask(json!({})).await.unwrap().status(), 400);
    // What waits is sent before the process ends.
    process.signal(Signal::SIGTERM);
    let status = tokio::task::spawn_blocking(move || process.child.wait().unwrap()).await.unwrap();
    assert!(status.success(), "{status}");
    for code in ["201", "400"] {
        let span = collector
            .until(code, |span| {
                span.attributes.get("http.response.status_code").is_some_and(|got| got == code)
            })
            .await;
        assert_eq!((span.service.as_str(), span.name.as_str()), ("datastorage", "POST /api/v1/audit/events"));
        assert_eq!((span.trace.as_str(), span.parent.as_str()), (TRACE, PARENT));
        assert!(!span.failed, "a refused request is not the service's fault");
    }
}

/// It takes connections and never answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_slows_no_request_and_not_the_end() {
    let (database, keys) = (Database::new().await, tempfile::tempdir().unwrap());
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", hanging.local_addr().unwrap());
    // An exporter that waited for the collector would wait for an hour; small batches are under way at once.
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "4"),
    ];
    let mut process = Process::start_in(&environment, &database.url, keys.path(), &["--drain-delay=0s"]);
    drain(&mut process);
    for id in 1..=40 {
        let request = client().post(process.url("/api/v1/audit/events")).json(&sent("rr-1", id));
        assert_eq!(request.send().await.unwrap().status(), 201);
    }
    process.signal(Signal::SIGTERM);
    let ended = tokio::task::spawn_blocking(move || process.child.wait().unwrap());
    let status = tokio::time::timeout(Duration::from_secs(60), ended).await.expect("it ends").unwrap();
    assert!(status.success(), "{status}");
}
