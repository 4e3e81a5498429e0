//! The engine `tekton`. Its controller is played by the tests: they write the statuses it would write.

use std::time::Duration;

use api::names;
use api::workflow_execution::{EXECUTION_CREATED, ExecutionEngine, FailureReason, Phase};
use controller::engines::tekton::resource::{PipelineRun, TaskRun};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, end_job, job_of, until_gone, until_one};
use crate::service::Controller;
use crate::storage::Storage;

/// Installs as much of Tekton as the controller can see.
async fn install(cluster: &Cluster) {
    for (kind, plural) in [("PipelineRun", "pipelineruns"), ("TaskRun", "taskruns")] {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        cluster
            .apply(&json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.tekton.dev")},
                "spec": {
                    "group": "tekton.dev", "scope": "Namespaced",
                    "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List")},
                    "versions": [{
                        "name": "v1", "served": true, "storage": true,
                        "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
                    }],
                },
            }))
            .await;
    }
    let served = async {
        while cluster.client.list_api_group_resources("tekton.dev/v1").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), served).await.expect("Tekton's API is served");
}

/// Writes what Tekton would.
async fn status<K>(api: &Api<K>, name: &str, status: Value)
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await.unwrap();
}

fn condition(status: &str, reason: &str, message: &str) -> Value {
    json!([{"type": "Succeeded", "status": status, "reason": reason, "message": message}])
}

/// Waits for the PipelineRun of an execution.
async fn run_of(cluster: &Cluster, execution: &str) -> PipelineRun {
    let status = cluster.until(execution, |status| status.execution_ref.is_some()).await;
    assert_eq!(status.execution_engine, Some(ExecutionEngine::Tekton));
    cluster.children::<PipelineRun>().get(&status.execution_ref.unwrap().name).await.unwrap()
}

/// Makes the TaskRun that Tekton would make for `run`, as the run's only child, with this status.
async fn task_run(cluster: &Cluster, run: &PipelineRun, task: Value) {
    let name = format!("{}-main", run.name_any());
    let owner = json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": run.name_any(), "uid": run.uid()});
    let task_run = json!({
        "apiVersion": "tekton.dev/v1", "kind": "TaskRun",
        "metadata": {"name": name, "labels": run.labels(), "annotations": run.annotations(), "ownerReferences": [owner]},
        "spec": {},
    });
    let task_runs = cluster.children::<TaskRun>();
    task_runs.create(&PostParams::default(), &serde_json::from_value(task_run).unwrap()).await.unwrap();
    status(&task_runs, &name, task).await;
    let child =
        json!([{"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "name": name, "pipelineTaskName": "main"}]);
    let running = json!({"conditions": condition("Unknown", "Running", ""), "childReferences": child});
    status(&cluster.children::<PipelineRun>(), &run.name_any(), running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tekton_is_executions_run_as_pipeline_runs() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    install(&cluster).await;
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    let config = json!({"timeout": "10m", "serviceAccountName": "scaler"});
    cluster.execute("piped", json!({"executionConfig": config, "parameters": {"REPLICAS": "3"}})).await;
    let run = run_of(&cluster, "piped").await;
    assert_eq!(run.spec.timeouts.pipeline, "10m0s");
    assert_eq!(run.spec.task_run_template.service_account_name, "scaler");
    let params: Vec<_> =
        run.spec.params.iter().map(|param| (param.name.as_str(), param.value.as_str().unwrap())).collect();
    assert_eq!(params, [("REPLICAS", "3"), ("TARGET_RESOURCE", "prod/deployment/piped")]);

    task_run(&cluster, &run, json!({"conditions": condition("Unknown", "Running", "")})).await;
    let progress = |completed: i32| {
        move |status: &api::workflow_execution::WorkflowExecutionStatus| {
            let child = status.execution_status.as_ref();
            child
                .is_some_and(|child| (child.completed_tasks, child.total_tasks) == (Some(completed), Some(1)))
        }
    };
    cluster.until("piped", progress(0)).await;
    let task = format!("{}-main", run.name_any());
    status(&cluster.children::<TaskRun>(), &task, json!({"conditions": condition("True", "Succeeded", "")}))
        .await;
    // The change of a TaskRun alone is noticed.
    cluster.until("piped", progress(1)).await;
    let ended =
        json!({"conditions": condition("True", "Succeeded", ""), "completionTime": "2100-01-01T00:00:00Z"});
    status(&cluster.children::<PipelineRun>(), &run.name_any(), ended).await;
    cluster.until_phase("piped", Phase::Completed).await;
    storage.until_stored(3).await;
    assert_eq!(storage.trail("rr-piped").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_task_run_tells_step_exit_code_and_class() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    install(&cluster).await;
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    cluster.execute("failing", json!({})).await;
    let run = run_of(&cluster, "failing").await;
    let step = json!({"name": "act", "terminated": {"exitCode": 137, "reason": "OOMKilled", "startedAt": "2026-01-10T12:00:00Z"}});
    let failed = condition("False", "Failed", "\"step-act\" exited with code 137");
    task_run(&cluster, &run, json!({"conditions": failed, "steps": [step]})).await;
    let ended = condition("False", "Failed", "Tasks Completed: 1 (Failed: 1, Cancelled 0), Skipped: 0");
    status(&cluster.children::<PipelineRun>(), &run.name_any(), json!({"conditions": ended})).await;
    let details = cluster.until_phase("failing", Phase::Failed).await.failure_details.unwrap();
    assert_eq!(details.reason, FailureReason::OomKilled);
    assert_eq!(details.failed_task_name, format!("{}-main", run.name_any()));
    assert_eq!((details.failed_step_name.as_deref(), details.exit_code), (Some("act"), Some(137)));
    assert!(details.was_execution_failure, "{details:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_engine_is_a_condition_with_a_hint_not_a_crash() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    cluster.execute("waiting", json!({"executionEngine": "tekton"})).await;
    let status = cluster.until_condition("waiting", EXECUTION_CREATED, "EngineMissing").await;
    assert!(status.conditions[0].message.contains("install Tekton"), "{:?}", status.conditions);
    // Others go on meanwhile, by the engine that is there.
    cluster.execute("other", json!({})).await;
    end_job(&cluster, &job_of(&cluster, "other").await, 0, "").await;
    cluster.until_phase("other", Phase::Completed).await;
    controller.stop().await.unwrap();

    install(&cluster).await;
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    run_of(&cluster, "waiting").await;
}

/// What runs goes on by the engine it was started with, whatever is installed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_execution_started_as_a_job_stays_one_when_tekton_comes() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    cluster.execute("started", json!({})).await;
    let job = job_of(&cluster, "started").await;
    controller.kill().await;
    install(&cluster).await;
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    end_job(&cluster, &job, 0, "").await;
    cluster.until_phase("started", Phase::Completed).await;
    until_gone(&cluster.children::<Job>(), &job).await;
}

/// The name locks a target only among children of one kind.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_and_a_pipeline_run_never_share_a_target() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    install(&cluster).await;
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    let target = "prod/deployment/shared";
    for number in 0..6 {
        let engine = if number % 2 == 0 { "job" } else { "tekton" };
        cluster
            .execute(&format!("rival-{number}"), json!({"targetResource": target, "executionEngine": engine}))
            .await;
    }
    for number in 0..6 {
        let name = format!("rival-{number}");
        cluster.until(&name, |status| status.phase.is_some()).await;
    }
    let name = names::child_name(target);
    let job = cluster.children::<Job>().get_opt(&name).await.unwrap().is_some();
    let run = cluster.children::<PipelineRun>().get_opt(&name).await.unwrap().is_some();
    assert!(job != run, "a Job: {job}, a PipelineRun: {run}");
    let running = cluster.executions().list(&Default::default()).await.unwrap().items;
    let running = running.iter().filter(|execution| execution.phase() == Phase::Running);
    assert_eq!(running.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_while_running_takes_the_pipeline_run_with_it() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    install(&cluster).await;
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    cluster.execute("doomed", json!({})).await;
    let run = run_of(&cluster, "doomed").await;
    cluster.executions().delete("doomed", &DeleteParams::default()).await.unwrap();
    until_gone(&cluster.children::<PipelineRun>(), &run.name_any()).await;
    until_gone(&cluster.executions(), "doomed").await;
    assert_eq!(storage.trail("rr-doomed").last().unwrap(), "workflowexecution.workflow.failed");
}

/// Tekton refuses what it cannot resolve; nothing has run, so the target is not blocked.
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_cannot_be_resolved_is_a_configuration_error() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    install(&cluster).await;
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    cluster.execute("unresolved", json!({})).await;
    let run = run_of(&cluster, "unresolved").await;
    let failed = condition("False", "CouldntGetPipeline", "error requesting remote resource");
    status(&cluster.children::<PipelineRun>(), &run.name_any(), json!({"conditions": failed})).await;
    let status = cluster.until_phase("unresolved", Phase::Failed).await;
    let details = status.failure_details.unwrap();
    assert_eq!((details.reason, details.was_execution_failure), (FailureReason::ConfigurationError, false));
    assert!(status.next_allowed_execution.is_some());
    until_one(&cluster.executions(), "unresolved", |execution| execution.phase() == Phase::Failed).await;
}
