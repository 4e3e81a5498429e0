//! The outbox has a size, whatever DataStorage does.

use api::audit::WorkflowExecutionEventType;
use api::workflow_execution::AuditRecord;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::json;

use super::*;
use crate::metrics::Backlog;
use crate::outbox::event;

fn due(number: usize) -> (ObjectRef<WorkflowExecution>, AuditEventRequest) {
    let execution: WorkflowExecution = serde_json::from_value(json!({
        "apiVersion": "kubernaut.ai/v1alpha1", "kind": "WorkflowExecution",
        "metadata": {"name": format!("we-{number}"), "namespace": "ops", "uid": format!("u-{number}")},
        "spec": {
            "remediationRequestRef": {"name": "rr"},
            "workflowRef": {"workflowId": "w", "version": "1", "containerImage": "i"},
            "targetResource": "prod/deployment/web",
        },
    }))
    .unwrap();
    let record = AuditRecord {
        event_type: WorkflowExecutionEventType::SelectionCompleted,
        attempt: 1,
        occurred_at: MicroTime(Timestamp::UNIX_EPOCH),
        acknowledged: false,
        rejected: None,
    };
    (ObjectRef::from_obj(&execution), event::build(&execution, &record))
}

#[tokio::test]
async fn what_finds_no_room_is_refused_and_may_come_again() {
    // Needed to build a client of whatever kind.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let metrics = Metrics::default();
    let (requests, _requested) = Requests::new(metrics.clone());
    let (outbox, mut sender) =
        outbox("http://127.0.0.1:9", Duration::from_secs(1), metrics.clone(), requests).unwrap();
    for number in 0..CAPACITY {
        let (execution, event) = due(number);
        assert!(outbox.offer(&execution, event.clone()), "{number}");
        assert!(outbox.offer(&execution, event), "an event under way takes no second place");
    }
    let (execution, event) = due(CAPACITY);
    let id = event.event_id.unwrap();
    assert!(!outbox.offer(&execution, event.clone()), "full");
    let text = metrics.text(Backlog::default());
    assert!(text.contains("audit_buffer_utilization_ratio{service=\"workflowexecution\"} 1.0"), "{text}");
    assert!(text.contains("audit_events_deferred_total{service=\"workflowexecution\"} 1"), "{text}");

    let taken = sender.queue.recv().await.unwrap();
    sender.desk.settle([taken], &State::Stored);
    assert!(outbox.offer(&execution, event), "room again");
    assert!(outbox.acknowledgements([id]).is_empty(), "under way, and no more is known");
}

/// Lesson WE_DATASTORAGE_CONNECTION_REFUSED: what is left in a buffer at the end was lost, or retried against a storage that was gone.
#[tokio::test]
async fn the_outbox_is_drained_when_everything_under_way_is_settled() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let metrics = Metrics::default();
    let (requests, _requested) = Requests::new(metrics.clone());
    let (outbox, mut sender) =
        outbox("http://127.0.0.1:9", Duration::from_secs(1), metrics, requests).unwrap();
    outbox.drained().await;
    let (execution, event) = due(1);
    outbox.offer(&execution, event);
    let drained = tokio::spawn({
        let outbox = outbox.clone();
        async move { outbox.drained().await }
    });
    let taken = sender.queue.recv().await.unwrap();
    assert!(!drained.is_finished());
    sender.desk.settle([taken], &State::Stored);
    drained.await.unwrap();
}

#[test]
fn a_request_about_one_execution_belongs_to_its_trace() {
    let (one, event) = due(1);
    let same = Due { execution: one.clone(), event: event.clone() };
    assert_eq!(uid_of(&[same, Due { execution: one, event }]), Some("u-1"));
    let others = [due(1), due(2)].map(|(execution, event)| Due { execution, event });
    assert_eq!(uid_of(&others), None);
}
