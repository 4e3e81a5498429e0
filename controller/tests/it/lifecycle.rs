//! From creation to the end, by the engine `job`.

use api::names;
use api::workflow_execution::{AUDIT_RECORDED, EXECUTION_CREATED, FailureReason, Phase};
use http::Method;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::cluster::{Cluster, container, delete, end_job, job_of, pod_of, report, until_gone};
use crate::service::Controller;
use crate::spy::{Asked, Spy};
use crate::storage::Storage;

const TRAIL: [&str; 3] = [
    "workflowexecution.selection.completed",
    "workflowexecution.execution.started",
    "workflowexecution.workflow.completed",
];

fn is_status_write(asked: &Asked) -> bool {
    asked.method == Method::PUT && asked.path.ends_with("/status")
}

/// Lessons WE_RACE_CONDITION_FIX and GENERATION_TRACKING: one write for each thing that happened, and none because of a write.
#[tokio::test(flavor = "multi_thread")]
async fn each_transition_is_one_write_of_the_status() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let spy = Spy::on(cluster.as_controller(), |_| false);
    let controller = Controller::start(spy.client.clone(), &storage.url, &[]);
    cluster.execute("counted", json!({})).await;
    let job = job_of(&cluster, "counted").await;
    cluster.until_condition("counted", AUDIT_RECORDED, "AuditSucceeded").await;
    assert!((2..=3).contains(&spy.count(is_status_write)), "runs; both events, together or one by one");

    let pod = pod_of(&cluster, &job).await;
    let running = json!({"phase": "Running", "containerStatuses": [container(json!({"running": {}}))]});
    report(&cluster.children::<Pod>(), &pod, running).await;
    cluster.until("counted", |status| status.conditions.iter().any(|c| c.type_ == "ExecutionRunning")).await;
    end_job(&cluster, &job, 0, "").await;
    let status = cluster.until_phase("counted", Phase::Completed).await;
    assert!(status.duration.is_some() && status.completion_time.is_some(), "{status:?}");
    storage.until_stored(3).await;
    cluster.until_condition("counted", AUDIT_RECORDED, "AuditSucceeded").await;
    assert_eq!(storage.trail("rr-counted"), TRAIL);
    until_gone(&cluster.children::<Job>(), &job).await;
    let writes = spy.count(is_status_write);
    assert!((5..=7).contains(&writes), "runs, started, ended, and the acknowledgements between: {writes}");
    // The execution itself was read once, before its child was created; children were created once.
    let created = spy.count(|asked| asked.method == Method::POST && asked.path.ends_with("/jobs"));
    assert_eq!(created, 1);
    controller.stop().await.unwrap();
}

/// 2.8.1 and lesson WE_COOLDOWN_CONTROLLER_BUG: the cooldown is kept, it ends, and the next one gets its turn.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_execution_waits_out_the_cooldown_and_then_runs() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &["--cooldown-period=2s"]);
    let target = json!({"targetResource": "prod/deployment/shared"});
    cluster.execute("first", target.clone()).await;
    end_job(&cluster, &job_of(&cluster, "first").await, 0, "").await;
    let ended = cluster.until_phase("first", Phase::Completed).await.completion_time.unwrap();
    cluster.execute("second", target).await;
    let waiting = cluster.until_phase("second", Phase::Pending).await;
    assert!(waiting.start_time.is_none());
    let started = cluster.until_phase("second", Phase::Running).await.start_time.unwrap();
    assert!(started.0.duration_since(ended.0).as_secs() >= 2, "ended {ended:?}, started {started:?}");
}

/// 2.8.2: neither an old nor a losing execution takes the child of another with it.
#[tokio::test(flavor = "multi_thread")]
async fn deletion_of_old_and_losing_executions_spares_the_running_child() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    let target = json!({"targetResource": "prod/deployment/shared"});
    cluster.execute("old", target.clone()).await;
    end_job(&cluster, &job_of(&cluster, "old").await, 0, "").await;
    cluster.until_phase("old", Phase::Completed).await;
    cluster.execute("current", target.clone()).await;
    let job = job_of(&cluster, "current").await;
    let uid = cluster.children::<Job>().get(&job).await.unwrap().uid();
    cluster.execute("loser", target).await;
    cluster.until_condition("loser", EXECUTION_CREATED, "TargetResourceBusy").await;
    for name in ["old", "loser"] {
        delete(&cluster.executions(), name).await;
        until_gone(&cluster.executions(), name).await;
    }
    let job = cluster.children::<Job>().get(&job).await.unwrap();
    assert_eq!((job.uid(), job.metadata.deletion_timestamp.is_none()), (uid, true));
}

/// Labels take 63 characters; names and targets take more, and stranger ones.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_no_labels_run_all_the_same() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    let name = format!("we-{}.{}", "x".repeat(120), "y".repeat(100));
    let spec = json!({
        "targetResource": format!("{}/Deployment/{}", "n".repeat(63), "ü".repeat(200)),
        "workflowRef": {"workflowId": "team/übung_", "version": "1", "containerImage": "example/restart:1"},
    });
    cluster.execute(&name, spec).await;
    end_job(&cluster, &job_of(&cluster, &name).await, 0, "").await;
    cluster.until_phase(&name, Phase::Completed).await;
}

/// 2.8.3: the API server's refusal is a failure with a reason of the enumeration, and the next execution is delayed.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_is_refused_fails_the_execution_and_delays_the_next() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let rights = kube::Api::<k8s_openapi::api::rbac::v1::Role>::namespaced(
        cluster.client.clone(),
        names::EXECUTION_NAMESPACE,
    );
    let fewer =
        json!([{"op": "replace", "path": "/rules/0/verbs", "value": ["get", "list", "watch", "delete"]}]);
    let patch = Patch::<()>::Json(serde_json::from_value(fewer).unwrap());
    rights.patch("workflowexecution-controller", &PatchParams::default(), &patch).await.unwrap();
    let _controller =
        Controller::start(cluster.as_controller(), &storage.url, &["--base-cooldown-seconds=2"]);
    let target = json!({"targetResource": "prod/deployment/shared"});
    cluster.execute("refused", target.clone()).await;
    let status = cluster.until_phase("refused", Phase::Failed).await;
    let details = status.failure_details.unwrap();
    assert_eq!(
        (details.reason, details.was_execution_failure),
        (FailureReason::Forbidden, false),
        "{details:?}"
    );
    assert_eq!(status.consecutive_failures, Some(1));
    cluster.execute("next", target).await;
    cluster.until_condition("next", EXECUTION_CREATED, "BackoffActive").await;
    let status = cluster.until_phase("next", Phase::Failed).await;
    assert_eq!(status.consecutive_failures, Some(2), "the count goes on, and so does the delay");
    storage.until_stored(4).await;
    assert_eq!(
        storage.trail("rr-next"),
        ["workflowexecution.selection.completed", "workflowexecution.workflow.failed"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_execution_blocks_its_target_until_it_is_cleared() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    let target = json!({"targetResource": "prod/deployment/shared"});
    cluster.execute("failing", target.clone()).await;
    end_job(&cluster, &job_of(&cluster, "failing").await, 3, "the disk is full").await;
    let details = cluster.until_phase("failing", Phase::Failed).await.failure_details.unwrap();
    assert_eq!((details.exit_code, details.message.as_str()), (Some(3), "the disk is full"));
    assert!(details.was_execution_failure, "{details:?}");
    cluster.execute("next", target).await;
    cluster.until_condition("next", EXECUTION_CREATED, "TargetResourceBusy").await;
    let clearance = json!({"status": {"blockClearance": {
        "clearedBy": "alice", "clearReason": "the volume was enlarged by hand and the deployment is healthy again now",
    }}});
    cluster
        .executions()
        .patch_status("failing", &PatchParams::default(), &Patch::Merge(clearance))
        .await
        .unwrap();
    cluster.until_phase("next", Phase::Running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_deleted_by_others_fails_its_execution() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    cluster.execute("orphaned", json!({})).await;
    let job = job_of(&cluster, "orphaned").await;
    cluster.children::<Job>().delete(&job, &DeleteParams::background()).await.unwrap();
    let details = cluster.until_phase("orphaned", Phase::Failed).await.failure_details.unwrap();
    assert!(details.message.contains("deleted"), "{details:?}");
}

/// A Job of this name that is nobody's is never touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_object_under_the_childs_name_is_left_alone() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let target = "prod/deployment/occupied";
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let foreign = json!({"metadata": {"name": names::child_name(target)}, "spec": {"suspend": true, "template": template}});
    let foreign: Job = serde_json::from_value(foreign).unwrap();
    let foreign = cluster.children::<Job>().create(&PostParams::default(), &foreign).await.unwrap();
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    cluster.execute("unlucky", json!({"targetResource": target})).await;
    let status = cluster.until_condition("unlucky", EXECUTION_CREATED, "TargetResourceBusy").await;
    let message = &status.conditions[0].message;
    assert!(message.contains("not an execution's"), "{message}");
    delete(&cluster.executions(), "unlucky").await;
    until_gone(&cluster.executions(), "unlucky").await;
    let still = cluster.children::<Job>().get(&names::child_name(target)).await.unwrap();
    assert_eq!((still.uid(), still.metadata.deletion_timestamp), (foreign.uid(), None));
}
