//! Executions from creation to their end.

use anyhow::{Context, Result, ensure};
use api::workflow_execution::{
    AUDIT_RECORDED, EXECUTION_COMPLETE, EXECUTION_CREATED, EXECUTION_RUNNING, FailureReason, Phase,
};
use e2e::cluster::{Cluster, NAMESPACE};
use e2e::component::CONTROLLER;
use e2e::disruption::peace;
use e2e::execution::{Execution, Plan, condition};
use e2e::wait::{Seen, until};
use e2e::{children, identity};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::ResourceExt;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_runs_its_image_to_completion_with_all_conditions() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let execution = Plan::new(&cluster, "lifecycle").lasting(1).create(&cluster).await?;
    let running = execution.until("has a child", 60, |status| status.execution_ref.is_some()).await?;
    let child = children::of(&cluster, &execution.target).await?.context("its child exists")?;
    ensure!(running.execution_uid == child.uid(), "the status names the child: {running:?}");
    let spec = child.spec.and_then(|job| job.template.spec).context("a Job has a pod template")?;
    ensure!(spec.containers[0].image.as_ref() == Some(&cluster.workflow_image), "{:?}", spec.containers);

    execution.until_phase(Phase::Completed).await?;
    for kind in [EXECUTION_CREATED, EXECUTION_RUNNING, EXECUTION_COMPLETE, AUDIT_RECORDED] {
        execution.until_condition(kind, "True").await?;
    }
    let status = execution.status().await?;
    ensure!(status.start_time.is_some() && status.completion_time.is_some(), "{status:?}");
    ensure!(
        status.duration.as_deref().is_some_and(|duration| duration.ends_with('s')),
        "{:?}",
        status.duration
    );
    ensure!(status.observed_generation == execution.get().await?.metadata.generation, "{status:?}");
    ensure!(status.failure_details.is_none(), "{:?}", status.failure_details);
    execution.delete().await?;
    execution.until_gone().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_follows_the_child_while_it_runs() -> Result<()> {
    // What it looks for lasts for seconds only, and nobody sees it while the controller is down.
    let _peace = peace(CONTROLLER).await;
    let cluster = Cluster::connect().await?;
    let execution = Plan::new(&cluster, "status").lasting(4).create(&cluster).await?;
    execution
        .until("is Running with a started child", 60, |status| {
            let child = status.execution_status.as_ref();
            status.phase == Some(Phase::Running)
                && child.is_some_and(|child| child.status == "Unknown")
                && condition(status, EXECUTION_RUNNING).is_some_and(|(holds, _)| holds == "True")
        })
        .await?;
    let status = execution.until_phase(Phase::Completed).await?;
    let child = status.execution_status.context("the last state of the child is kept")?;
    ensure!(child.status == "True" && child.completed_tasks == Some(1), "{child:?}");
    execution.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_reach_the_workflow_unchanged() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let parameters =
        [("PLAIN", "value"), ("SPACES", " a b "), ("REFERENCE", "$(PLAIN) $PLAIN `x`"), ("EMPTY", "")];
    let mut plan = Plan::new(&cluster, "parameters");
    for (name, value) in parameters {
        plan = plan.with(name, value);
    }
    let execution = plan.lasting(3).create(&cluster).await?;
    let expected = parameters.into_iter().chain([("TARGET_RESOURCE", execution.target.as_str())]);
    let expected: Vec<String> = expected.map(|(name, value)| format!("parameter {name}={value}")).collect();
    until(&format!("the log has each of {expected:?}"), 60, async || {
        Ok(match children::log(&cluster, &execution.target).await {
            Ok(log) if expected.iter().all(|line| log.lines().any(|printed| printed == line)) => {
                Seen::Yes(())
            }
            Ok(log) => Seen::NotYet(log),
            Err(error) => Seen::NotYet(format!("{error:#}")),
        })
    })
    .await?;
    execution.until_phase(Phase::Completed).await?;
    execution.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_runs_as_the_configured_service_account() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let own = e2e::cluster::unique("runner");
    let accounts = Api::<ServiceAccount>::namespaced(cluster.client.clone(), api::names::EXECUTION_NAMESPACE);
    let metadata = ObjectMeta { name: Some(own.clone()), ..ObjectMeta::default() };
    accounts
        .create(&PostParams::default(), &ServiceAccount { metadata, ..ServiceAccount::default() })
        .await?;
    let plan = || Plan::new(&cluster, "account").lasting(3);
    let default = plan().create(&cluster).await?;
    let chosen = plan().config("serviceAccountName", &own).create(&cluster).await?;
    // Side by side: the child of one that has ended is deleted, with its pod, while the other is still waited for.
    tokio::try_join!(
        ends_as(&cluster, default, "kubernaut-workflow-runner"),
        ends_as(&cluster, chosen, &own),
    )?;
    accounts.delete(&own, &Default::default()).await?;
    Ok(())
}

/// Sees the execution's pod run as `account`, and the execution complete.
async fn ends_as(cluster: &Cluster, execution: Execution, account: &str) -> Result<()> {
    let pod = until(&format!("execution {} has a pod", execution.name), 60, async || {
        let pod = children::pods(cluster, &execution.target).await?.pop();
        Ok(pod.map_or_else(|| Seen::NotYet("none".to_owned()), Seen::Yes))
    })
    .await?;
    let seen = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
    ensure!(seen == Some(account), "{seen:?}, not {account}");
    execution.until_phase(Phase::Completed).await?;
    execution.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_workflow_leaves_failure_details() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let execution = Plan::new(&cluster, "failing").failing(3, "the disk is full").create(&cluster).await?;
    let status = execution.until_phase(Phase::Failed).await?;
    let details = status.failure_details.clone().context("a failure has details")?;
    ensure!(details.reason == FailureReason::TaskFailed && details.exit_code == Some(3), "{details:?}");
    ensure!(details.message == "the disk is full" && details.was_execution_failure, "{details:?}");
    ensure!(!details.failed_task_name.is_empty(), "{details:?}");
    ensure!(details.natural_language_summary.contains(&execution.target), "{details:?}");
    ensure!(
        condition(&status, EXECUTION_COMPLETE) == Some(("False", "TaskFailed")),
        "{:?}",
        status.conditions
    );
    execution.until_condition(AUDIT_RECORDED, "True").await?;
    execution.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_workflow_says_last_decides_the_class_of_its_failure() -> Result<()> {
    let cluster = Cluster::connect().await?;
    for (message, expected) in [
        ("deployments.apps is forbidden", FailureReason::Forbidden),
        ("no room left in the zoom bucket", FailureReason::TaskFailed),
    ] {
        let execution = Plan::new(&cluster, "class").failing(1, message).create(&cluster).await?;
        let details =
            execution.until_phase(Phase::Failed).await?.failure_details.context("a failure has details")?;
        ensure!(details.reason == expected, "{message}: {details:?}");
        execution.delete().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_that_outlasts_its_timeout_fails() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let execution =
        Plan::new(&cluster, "timeout").lasting(120).config("timeout", "2s").create(&cluster).await?;
    let details =
        execution.until_phase(Phase::Failed).await?.failure_details.context("a failure has details")?;
    ensure!(details.reason == FailureReason::DeadlineExceeded, "{details:?}");
    execution.delete().await?;
    execution.until_gone().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_target_fails_without_a_child() -> Result<()> {
    let cluster = Cluster::connect().await?;
    for target in ["just-a-name", "too/many/parts/here", "empty//part"] {
        let execution = Plan::new(&cluster, "invalid").on(target).create(&cluster).await?;
        let status = execution.until_phase(Phase::Failed).await?;
        let details = status.failure_details.context("a failure has details")?;
        ensure!(
            details.reason == FailureReason::ConfigurationError && !details.was_execution_failure,
            "{details:?}"
        );
        ensure!(details.message.contains("targetResource"), "{details:?}");
        ensure!(status.start_time.is_none() && status.execution_ref.is_none(), "{target} got a child");
        execution.delete().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_fails_and_delays_the_next_execution() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let missing = Plan::new(&cluster, "no-image").image("registry.invalid/none:1").create(&cluster).await?;
    let status = missing.until_phase(Phase::Failed).await?;
    let details = status.failure_details.context("a failure has details")?;
    ensure!(
        details.reason == FailureReason::ImagePullBackOff && !details.was_execution_failure,
        "{details:?}"
    );
    ensure!(status.consecutive_failures == Some(1), "{:?}", status.consecutive_failures);
    let next = status.next_allowed_execution.context("the next execution is delayed")?;

    let second = Plan::new(&cluster, "after-no-image").on(&missing.target).create(&cluster).await?;
    let status = second.until_phase(Phase::Completed).await?;
    let started = status.start_time.context("it ran")?;
    ensure!(started.0 >= next.0, "started at {started:?}, allowed from {next:?}");
    missing.delete().await?;
    second.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_specification_of_an_execution_has_to_be_complete() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let operator = identity::operator(&cluster).await?;
    let executions = Api::<kube::core::DynamicObject>::namespaced_with(
        cluster.client.clone(),
        NAMESPACE,
        &kube::core::ApiResource::erase::<api::workflow_execution::WorkflowExecution>(&()),
    );
    let incomplete = json!({
        "apiVersion": "kubernaut.ai/v1alpha1", "kind": "WorkflowExecution",
        "metadata": {"name": e2e::cluster::unique("incomplete")},
        "spec": {"remediationRequestRef": {}, "workflowRef": {"workflowId": "x", "version": "1", "containerImage": "y"}},
    });
    let refusal = executions.create(&PostParams::default(), &serde_json::from_value(incomplete)?).await;
    let message = refusal.err().context("an execution without a target was accepted")?.to_string();
    ensure!(message.contains("targetResource"), "{message}");

    // Nor may everybody write: an operator may clear blocks, not run things.
    let execution = Plan::new(&cluster, "rights").create(&cluster).await?;
    let theirs = Api::<api::workflow_execution::WorkflowExecution>::namespaced(operator.client, NAMESPACE);
    let relabel = Patch::Merge(json!({"metadata": {"labels": {"mine": "now"}}}));
    let refusal = theirs.patch(&execution.name, &PatchParams::default(), &relabel).await;
    ensure!(matches!(&refusal, Err(kube::Error::Api(status)) if status.code == 403), "{refusal:?}");
    execution.until_phase(Phase::Completed).await?;
    execution.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_cannot_be_changed_once_it_is_created() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let execution = Plan::new(&cluster, "fixed").with("REPLICAS", "3").create(&cluster).await?;
    let api =
        Api::<api::workflow_execution::WorkflowExecution>::namespaced(cluster.client.clone(), NAMESPACE);
    for change in [
        json!({"spec": {"targetResource": "prod/deployment/other"}}),
        json!({"spec": {"parameters": {"REPLICAS": "4"}}}),
    ] {
        let refusal = api.patch(&execution.name, &PatchParams::default(), &Patch::Merge(&change)).await;
        let message = refusal.err().with_context(|| format!("{change} was accepted"))?.to_string();
        ensure!(message.contains("immutable"), "{message}");
    }
    execution.until_phase(Phase::Completed).await?;
    execution.delete().await
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_in_another_case_fail_with_the_name_of_the_field() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let execution = Plan::new(&cluster, "case").with("maxReplicas", "3").create(&cluster).await?;
    let details =
        execution.until_phase(Phase::Failed).await?.failure_details.context("a failure has details")?;
    ensure!(details.reason == FailureReason::ConfigurationError, "{details:?}");
    ensure!(details.message.contains("maxReplicas") && !details.was_execution_failure, "{details:?}");
    execution.delete().await
}
