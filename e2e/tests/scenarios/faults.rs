//! Parts of the product are killed: nothing is lost, nothing happens twice.

use std::time::Duration;

use anyhow::{Result, ensure};
use api::workflow_execution::{AUDIT_RECORDED, Phase};
use e2e::audit::until_trail;
use e2e::children::Census;
use e2e::cluster::Cluster;
use e2e::component::{CONTROLLER, DATASTORAGE, kill, without};
use e2e::disruption::disrupt;
use e2e::execution::Plan;
use futures::future::try_join_all;

const TRAIL: [&str; 3] = [
    "workflowexecution.selection.completed",
    "workflowexecution.execution.started",
    "workflowexecution.workflow.completed",
];

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_stored_once_after_the_controller_is_killed_twice() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let _disruption = disrupt(CONTROLLER).await;
    // Long and short ones, so that each kill meets executions in other stages.
    let plans: Vec<Plan> = [1, 3, 6, 9].map(|seconds| Plan::new(&cluster, "killed").lasting(seconds)).into();
    let executions = try_join_all(plans.into_iter().map(|plan| plan.create(&cluster))).await?;
    let censuses: Vec<Census> = executions.iter().map(|each| Census::start(&cluster, &each.target)).collect();
    executions[3].until_phase(Phase::Running).await?;
    kill(&cluster, CONTROLLER).await?;
    let between = Plan::new(&cluster, "killed").lasting(2).create(&cluster).await?;
    kill(&cluster, CONTROLLER).await?;
    for execution in executions.iter().chain([&between]) {
        execution.until_phase(Phase::Completed).await?;
        execution.until_condition(AUDIT_RECORDED, "True").await?;
        until_trail(&cluster, &execution.correlation, &TRAIL).await?;
    }
    for (execution, census) in executions.iter().zip(&censuses) {
        ensure!(census.count() <= 1, "{} had {} children", execution.name, census.count());
    }
    try_join_all(executions.iter().chain([&between]).map(|execution| execution.delete())).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_seconds_without_datastorage_lose_and_double_nothing() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let _disruption = disrupt(DATASTORAGE).await;
    let before = Plan::new(&cluster, "outage").lasting(12).create(&cluster).await?;
    before.until_phase(Phase::Running).await?;
    let (during, deleted) = without(&cluster, DATASTORAGE, async {
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        let during = Plan::new(&cluster, "outage").lasting(1).create(&cluster).await?;
        let deleted = Plan::new(&cluster, "outage").create(&cluster).await?;
        // Executions go on, and wait for nothing but their audit trail.
        for execution in [&before, &during, &deleted] {
            execution.until_phase(Phase::Completed).await?;
            execution.until_condition(AUDIT_RECORDED, "False").await?;
        }
        deleted.delete().await?;
        tokio::time::sleep_until(end).await;
        ensure!(
            deleted.get().await?.metadata.deletion_timestamp.is_some(),
            "it went before its audit trail was stored"
        );
        Ok((during, deleted))
    })
    .await?;
    for execution in [&before, &during] {
        execution.until_condition(AUDIT_RECORDED, "True").await?;
    }
    deleted.until_gone().await?;
    for execution in [&before, &during, &deleted] {
        until_trail(&cluster, &execution.correlation, &TRAIL).await?;
    }
    before.delete().await?;
    during.delete().await
}
