//! Health that means something.

use api::workflow_execution::{AUDIT_RECORDED, Phase};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::process::Process;
use crate::service::{Controller, until_answer};
use crate::spy::Spy;
use crate::storage::Storage;

#[tokio::test(flavor = "multi_thread")]
async fn readyz_is_false_and_nothing_is_done_while_caches_are_cold() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    cluster.execute("early", json!({})).await;
    let spy = Spy::on(cluster.as_controller(), |asked| {
        asked.path.ends_with("/namespaces/kubernaut-workflows/pods")
    });
    let controller = Controller::start(spy.client.clone(), &storage.url, &[]);
    let answer = until_answer(controller.health, "/readyz", |status, _| status == 503).await;
    assert_eq!(answer, "watches are starting");
    until_answer(controller.health, "/healthz", |status, _| status == 200).await;
    // Executions and Jobs are known by now; pods are not.
    until_answer(controller.metrics, "/metrics", |_, text| text.contains("workflowexecution_leader 0")).await;
    assert_eq!(cluster.executions().get("early").await.unwrap().status, None);
    assert_eq!(spy.count(|asked| asked.method != http::Method::GET), 0);
    spy.open();
    until_answer(controller.health, "/readyz", |status, _| status == 200).await;
    cluster.until_phase("early", Phase::Running).await;
    until_answer(controller.metrics, "/metrics", |_, text| text.contains("workflowexecution_leader 1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_definition_or_rights_it_ends_with_a_hint() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let nobody = engine::api::server::client(&cluster.server, engine::api::user::User::anonymous());
    let outcome = Controller::start(nobody, &storage.url, &[]).outcome().await;
    let message = outcome.expect_err("it may not run").to_string();
    assert!(message.contains("hint:") && message.contains("ClusterRole"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_logs_json_with_trace_ids_and_ends_when_it_is_told_to() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let mut process = Process::start(&cluster, &storage, &["--leader-elect"]).await;
    process.until_ready().await;
    let uid = cluster.execute("logged", json!({})).await.metadata.uid.unwrap();
    cluster.until_condition("logged", AUDIT_RECORDED, "AuditSucceeded").await;
    until_answer(process.metrics, "/metrics", |_, text| text.contains("workflowexecution_leader 1")).await;
    assert!(process.terminate().await.success(), "{:#?}", process.log());
    let lines: Vec<Value> = process.log().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let created = lines.iter().find(|line| line["message"] == "created the child").unwrap();
    assert_eq!(created["span"]["trace_id"], uid.replace('-', ""), "{created}");
    assert_eq!(created["span"]["execution"], "ops/logged", "{created}");
    assert_eq!(lines.last().unwrap()["message"], "ended");
}
