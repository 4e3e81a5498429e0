//! Audit events: sent once their status is stored, until they are acknowledged, always the same.

use super::*;

#[test]
fn events_are_sent_after_their_status_is_stored_and_until_they_are_acknowledged() {
    let mut observed = Observed { child: Some(child(ChildState::Started)), ..running() };
    assert_eq!(names(&decided(&observed)), ["send 2"]);

    let uid = observed.execution.uid().unwrap();
    let ids: Vec<_> = observed.status().audit_events.iter().map(|record| record_id(&uid, record)).collect();
    observed.acknowledgements.insert(ids[0], Acknowledgement::Stored);
    let status = written(&decided(&observed)).cloned().unwrap();
    assert_eq!(conditions::reason(&status, AUDIT_RECORDED), Some("AuditPending"));
    observed.execution.status = Some(status);
    assert_eq!(names(&decided(&observed)), ["send 1"], "only what is not acknowledged");

    observed.acknowledgements.insert(ids[1], Acknowledgement::Rejected("too old".into()));
    observed.execution.status = written(&decided(&observed)).cloned();
    assert_eq!(conditions::reason(&observed.status(), AUDIT_RECORDED), Some("AuditRejected"));
    assert_eq!(outbox(&observed, at(0)).requeue, Some(REJECTED_AGAIN));

    observed.acknowledgements.insert(ids[1], Acknowledgement::Stored);
    observed.execution.status = written(&decided(&observed)).cloned();
    let condition = observed.status().conditions.into_iter().find(|c| c.type_ == AUDIT_RECORDED).unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "AuditSucceeded"));
    assert_eq!(names(&decided(&observed)), [""; 0], "settled");
}

/// Lesson WE_TRIAGE_COMPLETE: a phase that was not set yet violated the contract of the payload.
#[test]
fn every_event_is_acceptable_and_the_same_each_time() {
    let task = FailedTask { exit_code: Some(3), name: "pod".into(), ..FailedTask::default() };
    for state in [ChildState::Succeeded { at: None }, failed_child(true, Some(task))] {
        let mut observed = Observed { child: Some(child(state)), ..running() };
        observed.execution.status = written(&decided(&observed)).cloned();
        // As it comes back from the API server.
        let stored: WorkflowExecution =
            serde_json::from_value(serde_json::to_value(&observed.execution).unwrap()).unwrap();
        for record in &stored.status.as_ref().unwrap().audit_events {
            let event = event::build(&stored, record);
            assert_eq!(validate_event(&event, at(0)), [], "{event:?}");
            assert_eq!(event.correlation_id, "rr");
            let mut later = stored.clone();
            later
                .status
                .as_mut()
                .unwrap()
                .audit_events
                .iter_mut()
                .for_each(|record| record.acknowledged = true);
            assert_eq!(event::build(&later, record), event);
        }
    }
}
