//! Ends that nobody planned: executions and children deleted while they run.

use anyhow::{Context, Result, ensure};
use api::workflow_execution::{AUDIT_RECORDED, Phase};
use e2e::children;
use e2e::cluster::Cluster;
use e2e::execution::Plan;
use kube::ResourceExt;
use kube::api::DeleteParams;

#[tokio::test(flavor = "multi_thread")]
async fn deletion_while_running_removes_only_its_own_child() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let doomed = Plan::new(&cluster, "doomed").lasting(120).create(&cluster).await?;
    let bystander = Plan::new(&cluster, "bystander").lasting(120).create(&cluster).await?;
    doomed.until_phase(Phase::Running).await?;
    bystander.until_phase(Phase::Running).await?;
    let child = children::of(&cluster, &bystander.target).await?.context("its child exists")?.uid();
    doomed.delete().await?;
    children::until_none(&cluster, &doomed.target).await?;
    doomed.until_gone().await?;
    let still =
        children::of(&cluster, &bystander.target).await?.context("another execution's child is gone too")?;
    ensure!(still.uid() == child && still.metadata.deletion_timestamp.is_none(), "{:?}", still.metadata);
    ensure!(bystander.status().await?.phase == Some(Phase::Running), "{:?}", bystander.status().await?);
    bystander.delete().await?;
    children::until_none(&cluster, &bystander.target).await
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_waiting_execution_leaves_the_running_one_alone() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let running = Plan::new(&cluster, "holder").lasting(120).create(&cluster).await?;
    running.until_phase(Phase::Running).await?;
    let child = children::of(&cluster, &running.target).await?.context("its child exists")?.uid();
    let waiting = Plan::new(&cluster, "waiting").on(&running.target).create(&cluster).await?;
    waiting.until("waits", 30, |status| status.phase == Some(Phase::Pending)).await?;
    waiting.delete().await?;
    waiting.until_gone().await?;
    let still = children::of(&cluster, &running.target).await?.and_then(|job| job.uid());
    ensure!(still == child, "the running child was {child:?} and is {still:?}");
    ensure!(running.status().await?.phase == Some(Phase::Running), "{:?}", running.status().await?);
    running.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_deleted_from_outside_fails_its_execution() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let execution = Plan::new(&cluster, "orphaned").lasting(120).create(&cluster).await?;
    let child =
        execution.until_phase(Phase::Running).await?.execution_ref.context("it names its child")?.name;
    children::jobs(&cluster).delete(&child, &DeleteParams::background()).await?;
    let status = execution.until_phase(Phase::Failed).await?;
    let details = status.failure_details.context("a failure has details")?;
    ensure!(details.message.contains("deleted"), "{details:?}");
    ensure!(!details.was_execution_failure, "{details:?}");
    execution.until_condition(AUDIT_RECORDED, "True").await?;
    execution.delete().await?;
    execution.until_gone().await
}
