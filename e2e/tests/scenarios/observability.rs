//! What operators see: metrics and Kubernetes events.

use anyhow::{Result, ensure};
use api::names::SYSTEM_NAMESPACE;
use api::workflow_execution::Phase;
use e2e::cluster::Cluster;
use e2e::component::CONTROLLER;
use e2e::disruption::peace;
use e2e::execution::{Execution, Plan};
use e2e::wait::{Seen, until};
use e2e::{events, metrics};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_executions_by_outcome() -> Result<()> {
    let _peace = peace(CONTROLLER).await;
    let cluster = Cluster::connect().await?;
    let before = metrics::text(&cluster).await?;
    let completed = Plan::new(&cluster, "counted").create(&cluster).await?;
    let failed = Plan::new(&cluster, "counted").failing(1, "as asked").create(&cluster).await?;
    completed.until_phase(Phase::Completed).await?;
    failed.until_phase(Phase::Failed).await?;
    for (series, least) in [
        ("workflowexecution_reconciler_total{outcome=\"Completed\"}", 1.0),
        ("workflowexecution_reconciler_total{outcome=\"Failed\"}", 1.0),
        ("workflowexecution_reconciler_duration_seconds_count{outcome=\"Completed\"}", 1.0),
        ("workflowexecution_reconciler_execution_creations_total", 2.0),
    ] {
        let start = metrics::value(&before, series)?;
        until(&format!("{series} has risen by {least} from {start}"), 30, async || {
            let now = metrics::value(&metrics::text(&cluster).await?, series)?;
            Ok(if now >= start + least { Seen::Yes(()) } else { Seen::NotYet(now.to_string()) })
        })
        .await?;
    }
    completed.delete().await?;
    failed.delete().await
}

async fn until_told(cluster: &Cluster, execution: &Execution, reasons: &[&str]) -> Result<()> {
    until(&format!("execution {} has events {reasons:?}", execution.name), 30, async || {
        let told = events::of(cluster, &execution.uid).await?;
        let missing = reasons.iter().find(|reason| !told.iter().any(|event| event.reason == **reason));
        Ok(if missing.is_none() { Seen::Yes(()) } else { Seen::NotYet(format!("{told:?}")) })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_events_tell_the_story_of_an_execution() -> Result<()> {
    let _peace = peace(CONTROLLER).await;
    let cluster = Cluster::connect().await?;
    let completed = Plan::new(&cluster, "told").create(&cluster).await?;
    let failed = Plan::new(&cluster, "told").failing(1, "the disk is full").create(&cluster).await?;
    completed.until_phase(Phase::Completed).await?;
    failed.until_phase(Phase::Failed).await?;
    until_told(&cluster, &completed, &["ExecutionCreated", "WorkflowCompleted", "LockReleased"]).await?;
    until_told(&cluster, &failed, &["ExecutionCreated", "WorkflowFailed"]).await?;
    let told = events::of(&cluster, &failed.uid).await?;
    let failure = told.iter().find(|event| event.reason == "WorkflowFailed");
    ensure!(
        failure.is_some_and(|event| event.kind == "Warning" && event.note.contains("disk is full")),
        "{told:?}"
    );
    ensure!(told.iter().all(|event| event.reporter == "workflowexecution-controller"), "{told:?}");
    completed.delete().await?;
    failed.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_names_the_pod_that_leads() -> Result<()> {
    let _peace = peace(CONTROLLER).await;
    let cluster = Cluster::connect().await?;
    let leases = Api::<Lease>::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    until("the Lease is held by a pod that exists", 60, async || {
        let lease = leases.get_opt("workflowexecution.kubernaut.ai").await?;
        let holder = lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default();
        let exists = !holder.is_empty() && pods.get_opt(&holder).await?.is_some();
        Ok(if exists { Seen::Yes(()) } else { Seen::NotYet(format!("held by `{holder}`")) })
    })
    .await
}
