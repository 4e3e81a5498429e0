//! Spans for a collector that the environment names.

use api::workflow_execution::AUDIT_RECORDED;
use serde_json::json;

use crate::cluster::Cluster;
use crate::collector::Collector;
use crate::process::Process;
use crate::storage::Storage;

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_is_one_trace_from_its_creation_to_the_request_that_stores_its_events() {
    let (cluster, storage, collector) =
        (Cluster::start().await, Storage::start().await, Collector::start().await);
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str())];
    let mut process = Process::start_in(&environment, &cluster, &storage, &[]).await;
    process.until_ready().await;
    // Fails at once: its target names nothing.
    let execution = cluster.execute("traced", json!({"targetResource": "nonsense"})).await;
    cluster.until_condition("traced", AUDIT_RECORDED, "AuditSucceeded").await;
    assert!(process.terminate().await.success(), "{:#?}", process.log());

    let trace = execution.metadata.uid.unwrap().replace('-', "");
    let whole = collector.until("the execution", |span| span.trace == trace && span.parent.is_empty()).await;
    assert_eq!(whole.service, "workflowexecution-controller");
    assert!(whole.failed, "{whole:?}");
    assert_eq!(whole.attributes["execution.name"], "traced");
    let part = |name: &'static str| {
        let (trace, whole) = (&trace, &whole.id);
        collector.until(name, move |span| {
            span.trace == *trace && span.parent == *whole && span.name.starts_with(name)
        })
    };
    part("reconcile").await;
    let stored = part("POST http").await;
    assert!(storage.traces().contains(&format!("00-{trace}-{}-01", stored.id)), "{:?}", storage.traces());
}
