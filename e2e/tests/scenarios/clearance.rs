//! A failed execution blocks its target until an operator clears it; who that was is not theirs to say.

use anyhow::{Context, Result, ensure};
use api::workflow_execution::{EXECUTION_CREATED, Phase, WorkflowExecution};
use e2e::audit::{trail, type_of};
use e2e::cluster::{Cluster, NAMESPACE};
use e2e::execution::{Execution, Plan, condition};
use e2e::identity::{Operator, operator};
use e2e::wait::{Seen, until};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

const REASON: &str = "The deployment was rolled back by hand and all of its replicas are healthy again";

async fn failed(cluster: &Cluster) -> Result<Execution> {
    let execution = Plan::new(cluster, "blocked").failing(1, "half done").create(cluster).await?;
    execution.until_phase(Phase::Failed).await?;
    Ok(execution)
}

async fn clear(
    operator: &Operator,
    execution: &Execution,
    clearance: Value,
) -> kube::Result<WorkflowExecution> {
    let api = Api::<WorkflowExecution>::namespaced(operator.client.clone(), NAMESPACE);
    let patch = Patch::Merge(json!({"status": {"blockClearance": clearance}}));
    api.patch_status(&execution.name, &PatchParams::default(), &patch).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_execution_blocks_its_target_until_it_is_cleared() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let operator = operator(&cluster).await?;
    let first = failed(&cluster).await?;
    let second = Plan::new(&cluster, "unblocked").on(&first.target).create(&cluster).await?;
    second
        .until("waits for the block", 60, |status| {
            condition(status, EXECUTION_CREATED) == Some(("False", "PreviousExecutionFailed"))
                || condition(status, EXECUTION_CREATED) == Some(("False", "TargetResourceBusy"))
        })
        .await?;
    clear(&operator, &first, json!({"clearReason": REASON})).await.context("failed to clear the block")?;
    second.until_phase(Phase::Completed).await?;
    first.delete().await?;
    second.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clearance_is_attributed_to_the_caller() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let operator = operator(&cluster).await?;
    let execution = failed(&cluster).await?;
    clear(&operator, &execution, json!({"clearReason": REASON}))
        .await
        .context("failed to clear the block")?;
    let clearance = execution.status().await?.block_clearance.context("the clearance is stored")?;
    ensure!(
        clearance.cleared_by == operator.username,
        "by {}, not {}",
        clearance.cleared_by,
        operator.username
    );
    ensure!(clearance.cleared_at.is_some() && clearance.clear_reason == REASON, "{clearance:?}");
    execution.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clearance_with_fewer_than_ten_words_is_refused() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let operator = operator(&cluster).await?;
    let execution = failed(&cluster).await?;
    for reason in ["", "it is fine now", "one two three four five six seven eight nine"] {
        let refusal = clear(&operator, &execution, json!({"clearReason": reason})).await;
        let message = refusal.err().with_context(|| format!("`{reason}` was accepted"))?.to_string();
        ensure!(!reason.is_empty() || !message.is_empty(), "a refusal says why");
        ensure!(reason.is_empty() || message.to_lowercase().contains("word"), "{message}");
    }
    ensure!(execution.status().await?.block_clearance.is_none(), "a refused clearance was stored");
    execution.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_identity_is_overwritten() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let operator = operator(&cluster).await?;
    let execution = failed(&cluster).await?;
    let forged =
        json!({"clearReason": REASON, "clearedBy": "somebody-else", "clearedAt": "2001-01-01T00:00:00Z"});
    clear(&operator, &execution, forged).await.context("failed to clear the block")?;
    let clearance = execution.status().await?.block_clearance.context("the clearance is stored")?;
    ensure!(clearance.cleared_by == operator.username, "{clearance:?}");
    let year = clearance.cleared_at.as_ref().map(|time| time.0.strftime("%Y").to_string());
    ensure!(year.as_deref() != Some("2001"), "{clearance:?}");
    execution.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clearance_is_audited() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let operator = operator(&cluster).await?;
    let execution = failed(&cluster).await?;
    clear(&operator, &execution, json!({"clearReason": REASON}))
        .await
        .context("failed to clear the block")?;
    let cleared = until(&format!("the clearance of {} is audited", execution.name), 60, async || {
        let all = match trail(&cluster, &execution.correlation).await {
            Ok(all) => all,
            Err(error) => return Ok(Seen::NotYet(format!("{error:#}"))),
        };
        let cleared = all.iter().filter(|event| type_of(event) == "workflowexecution.block.cleared").cloned();
        let cleared: Vec<_> = cleared.collect();
        ensure!(cleared.len() < 2, "the clearance is audited twice: {cleared:?}");
        Ok(cleared.into_iter().next().map_or_else(|| Seen::NotYet(format!("{all:?}")), Seen::Yes))
    })
    .await?;
    ensure!(cleared.actor_id == operator.username && cleared.actor_type == "user", "{cleared:?}");
    execution.delete().await
}
