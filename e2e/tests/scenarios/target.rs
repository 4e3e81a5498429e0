//! One execution at a time on each target.

use anyhow::{Context, Result, ensure};
use api::workflow_execution::{EXECUTION_CREATED, Phase};
use e2e::children::Census;
use e2e::cluster::Cluster;
use e2e::component::CONTROLLER;
use e2e::disruption::peace;
use e2e::execution::{Plan, condition};
use e2e::wait::{Seen, until};
use futures::future::try_join_all;

/// The controller's `--cooldown-period` in the manifests, in whole seconds.
const COOLDOWN: i64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_execution_waits_for_the_cooldown_and_then_proceeds() -> Result<()> {
    // It has to be seen waiting: the second comes while the first runs, and nobody kills the controller meanwhile.
    let _peace = peace(CONTROLLER).await;
    let cluster = Cluster::connect().await?;
    let first = Plan::new(&cluster, "cooldown").lasting(4).create(&cluster).await?;
    first.until_phase(Phase::Running).await?;
    let second = Plan::new(&cluster, "cooldown").on(&first.target).create(&cluster).await?;
    second
        .until("waits in Pending", 30, |status| {
            status.phase == Some(Phase::Pending)
                && condition(status, EXECUTION_CREATED).is_some_and(|(holds, _)| holds == "False")
        })
        .await?;
    let ended = first.until_phase(Phase::Completed).await?.completion_time.context("it has ended")?;
    let started = second.until_phase(Phase::Completed).await?.start_time.context("it ran")?;
    let rest = started.0.duration_since(ended.0).as_secs();
    ensure!(rest >= COOLDOWN, "the target rested {rest} s, not {COOLDOWN} s");
    first.delete().await?;
    second.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_executions_at_once_on_one_target_run_one_after_the_other() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let first = Plan::new(&cluster, "twins").lasting(2);
    let second = Plan::new(&cluster, "twins").lasting(2);
    let target = format!("e2e/deployment/{}", e2e::cluster::unique("shared"));
    let census = Census::start(&cluster, &target);
    let twins =
        try_join_all([first.on(&target).create(&cluster), second.on(&target).create(&cluster)]).await?;

    let winner = until("one of two twins has a child", 30, async || {
        let statuses = [twins[0].status().await?, twins[1].status().await?];
        let winner = statuses.iter().position(|status| status.start_time.is_some());
        Ok(winner.map_or_else(|| Seen::NotYet(format!("{statuses:?}")), Seen::Yes))
    })
    .await?;
    let (winner, loser) = (&twins[winner], &twins[1 - winner]);
    ensure!(loser.status().await?.start_time.is_none(), "both got a child");
    ensure!(census.count() <= 1, "{} children for one target", census.count());

    let ended = winner.until_phase(Phase::Completed).await?.completion_time.context("it has ended")?;
    let started = loser.until_phase(Phase::Completed).await?.start_time.context("it ran")?;
    ensure!(started.0 >= ended.0, "the second started at {started:?}, the first ended at {ended:?}");
    ensure!(census.count() == 2, "{} children for two executions", census.count());
    try_join_all(twins.iter().map(|twin| twin.delete())).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn executions_on_different_targets_run_at_the_same_time() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let plans = (0..3).map(|_| Plan::new(&cluster, "parallel").lasting(4).create(&cluster));
    let executions = try_join_all(plans).await?;
    let ends =
        try_join_all(executions.iter().map(|execution| execution.until_phase(Phase::Completed))).await?;
    let last_start = ends.iter().filter_map(|status| status.start_time.as_ref()).max().context("all ran")?;
    let first_end =
        ends.iter().filter_map(|status| status.completion_time.as_ref()).min().context("all ended")?;
    ensure!(
        last_start.0 <= first_end.0,
        "the last started at {last_start:?}, the first had ended at {first_end:?}"
    );
    try_join_all(executions.iter().map(|execution| execution.delete())).await?;
    Ok(())
}
