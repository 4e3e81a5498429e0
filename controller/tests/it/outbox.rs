//! DataStorage in every bad mood: executions go on, nothing is lost, nothing is doubled.

use api::workflow_execution::{AUDIT_RECORDED, Phase};
use serde_json::json;

use crate::cluster::{Cluster, delete, end_job, job_of, until_gone};
use crate::service::{Controller, free_address, until_answer};
use crate::storage::{Mood, Storage};

const TRAIL: [&str; 3] = [
    "workflowexecution.selection.completed",
    "workflowexecution.execution.started",
    "workflowexecution.workflow.completed",
];

async fn complete(cluster: &Cluster, name: &str) {
    cluster.execute(name, json!({})).await;
    end_job(cluster, &job_of(cluster, name).await, 0, "").await;
    cluster.until_phase(name, Phase::Completed).await;
}

/// Lesson E2E_AUDIT_FAILURES_RCA: a token that is not accepted yet must not cost events.
#[tokio::test(flavor = "multi_thread")]
async fn executions_go_on_without_datastorage_and_are_audited_once_it_is_well() {
    for mood in [Mood::Overloaded, Mood::Distrustful] {
        let (cluster, storage) = (Cluster::start().await, Storage::start().await);
        storage.becomes(mood.clone());
        let controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
        complete(&cluster, "unheard").await;
        cluster.until_condition("unheard", AUDIT_RECORDED, "AuditPending").await;
        let backlog = |text: &str| text.contains("audit_backlog_events{service=\"workflowexecution\"} 3");
        until_answer(controller.metrics, "/metrics", |_, text| backlog(text)).await;
        assert_eq!(storage.count(), 0, "{mood:?}");
        storage.becomes(Mood::Well);
        cluster.until_condition("unheard", AUDIT_RECORDED, "AuditSucceeded").await;
        assert_eq!(storage.trail("rr-unheard"), TRAIL, "{mood:?}");
        storage.assert_consistent();
        let settled = |text: &str| {
            text.contains("audit_backlog_events{service=\"workflowexecution\"} 0")
                && text.contains("audit_lag_seconds{service=\"workflowexecution\"} 0")
        };
        until_answer(controller.metrics, "/metrics", |_, text| settled(text)).await;
    }
}

/// It stored the batch and the answer was lost: the same events come again, and are the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_doubles_nothing() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    storage.becomes(Mood::Forgetful);
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    complete(&cluster, "twice").await;
    storage.until_stored(2).await;
    storage.becomes(Mood::Well);
    cluster.until_condition("twice", AUDIT_RECORDED, "AuditSucceeded").await;
    assert_eq!(storage.trail("rr-twice"), TRAIL);
    storage.assert_consistent();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_were_not_acknowledged_are_sent_again_after_a_restart() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let nowhere = format!("http://{}", free_address());
    let controller = Controller::start(cluster.as_controller(), &nowhere, &[]);
    complete(&cluster, "kept").await;
    controller.kill().await;
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    cluster.until_condition("kept", AUDIT_RECORDED, "AuditSucceeded").await;
    assert_eq!(storage.trail("rr-kept"), TRAIL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_execution_is_kept_until_its_audit_trail_is_stored() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    storage.becomes(Mood::Overloaded);
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    complete(&cluster, "leaving").await;
    delete(&cluster.executions(), "leaving").await;
    // It is asked for again while it waits, and stays.
    complete(&cluster, "other").await;
    let kept = cluster.executions().get("leaving").await.unwrap();
    assert!(kept.metadata.deletion_timestamp.is_some() && kept.metadata.finalizers.is_some());
    storage.becomes(Mood::Well);
    until_gone(&cluster.executions(), "leaving").await;
    assert_eq!(storage.trail("rr-leaving"), TRAIL);
}

/// One bad event makes DataStorage refuse the whole batch: the others must not suffer for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_is_told_and_holds_up_no_other() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    storage.becomes(Mood::Averse("disliked".to_owned()));
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    cluster.execute("disliked", json!({})).await;
    complete(&cluster, "liked").await;
    cluster.until_condition("liked", AUDIT_RECORDED, "AuditSucceeded").await;
    let status = cluster.until_condition("disliked", AUDIT_RECORDED, "AuditRejected").await;
    let told = status.conditions.iter().find(|condition| condition.type_ == AUDIT_RECORDED).unwrap();
    assert!(told.message.contains("400"), "{}", told.message);
    assert_eq!(storage.trail("rr-liked"), TRAIL);
    // What cannot be stored keeps nobody: it is in the log in full.
    delete(&cluster.executions(), "disliked").await;
    until_gone(&cluster.executions(), "disliked").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_carry_the_trace_of_their_execution() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let _controller = Controller::start(cluster.as_controller(), &storage.url, &[]);
    complete(&cluster, "traced").await;
    storage.until_stored(3).await;
    let uid = cluster.executions().get("traced").await.unwrap().metadata.uid.unwrap();
    let trace = uid.replace('-', "");
    let traces = storage.traces();
    assert!(traces.iter().all(|parent| parent.starts_with(&format!("00-{trace}-"))), "{traces:?}");
}
