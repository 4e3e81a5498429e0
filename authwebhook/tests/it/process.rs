//! The program, as a process of its own, against an API server over HTTP.

use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;

use crate::api_server::ApiServer;
use crate::collector::Collector;
use crate::reports;
use crate::rotation::{MUTATING, bundle, call, until};

const TRACE: &str = "3f1c9a5277aa4c1f9c556d1f7a1b2c3d";
const PARENT: &str = "00f067aa0ba902b7";

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// From the API server, which has a trace of its own, to DataStorage: one trace.
#[tokio::test(flavor = "multi_thread")]
async fn a_review_and_the_report_of_it_are_spans_in_the_trace_of_the_api_server() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (api_server, collector) = (ApiServer::default(), Collector::start().await);
    let (datastorage, seen) = reports::datastorage(Vec::new()).await;
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    let server = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "played",
        "clusters": [{"name": "played", "cluster": {"server": api_server.serve().await}}],
        "contexts": [{"name": "played", "context": {"cluster": "played", "user": "anybody"}}],
        "users": [{"name": "anybody", "user": {}}],
    });
    std::fs::write(&kubeconfig, server.to_string()).unwrap();
    let (address, health) = (free_address(), free_address());
    let mut process = Command::new(env!("CARGO_BIN_EXE_authwebhook"))
        .env("KUBECONFIG", kubeconfig)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
        .args([format!("--listen={address}"), format!("--health-listen={health}")])
        .args([format!("--datastorage-url={datastorage}"), "--interval=1s".into(), "--drain-delay=0s".into()])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("it is registered", || bundle(&api_server, MUTATING).is_some()).await;
    let trusted = bundle(&api_server, MUTATING).unwrap();
    let answer = call(address, &trusted, Some(&format!("00-{TRACE}-{PARENT}-01"))).await.unwrap();
    assert_eq!(answer["response"]["allowed"], true);

    let review = collector.until("the review", |span| span.parent == PARENT).await;
    assert_eq!((review.service.as_str(), review.trace.as_str()), ("authwebhook", TRACE));
    assert_eq!(review.name, "POST /mutate-remediationapprovalrequest");
    let report = collector.until("the report", |span| span.parent == review.id).await;
    assert!(report.name.ends_with("/api/v1/audit/events/batch"), "{report:?}");
    until("DataStorage has the event", || seen.lock().unwrap().len() == 1).await;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(process.id().unwrap()).unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    let status =
        tokio::time::timeout(Duration::from_secs(60), process.wait()).await.expect("it ends").unwrap();
    assert!(status.success(), "{status}");
}
