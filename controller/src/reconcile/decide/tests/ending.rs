//! The end: the target is held until it may be acted on again, and only the own child is deleted.

use super::*;

/// 2.8.2 and 2.8.5: only the child that an execution started itself is ever deleted by it.
#[test]
fn children_are_deleted_by_their_own_execution_only() {
    let other = Owner::Another("ops/other".into());
    let finished = || ChildState::Succeeded { at: None };
    let completed = || {
        let mut observed = running();
        let decision = transition::completed(&observed.execution, observed.status(), at(0), at(0));
        observed.execution.status = written(&decision).cloned();
        acknowledged(observed)
    };
    for (what, now, held, actions, requeue) in [
        ("own, cooling down", at(60), Some(child(finished())), vec![], Some(240)),
        ("own, cooled down", at(300), Some(child(finished())), vec!["delete u-job", "LockReleased"], None),
        ("another's", at(300), Some(Child { owner: other.clone(), ..child(finished()) }), vec![], None),
        (
            "of the same name, with another uid",
            at(300),
            Some(Child { uid: "u-2".into(), ..child(finished()) }),
            vec![],
            None,
        ),
        (
            "own, already being deleted",
            at(300),
            Some(Child { deleting: true, ..child(finished()) }),
            vec![],
            None,
        ),
        ("none", at(300), None, vec![], None),
    ] {
        let decision = decide(&Observed { child: held, ..completed() }, &SETTINGS, now);
        assert_eq!(names(&decision), actions, "{what}");
        assert_eq!(decision.requeue, requeue.map(SignedDuration::from_secs), "{what}");
    }
    // A losing execution that is deleted takes nothing with it.
    let mut loser = observed(json!({"phase": "Pending"}));
    loser.execution.metadata.deletion_timestamp = Some(at(0).into());
    loser.child = Some(Child { owner: other, ..child(ChildState::Started) });
    assert_eq!(names(&decided(&loser)), ["WorkflowExecutionDeleted", "remove finalizer"]);
}

#[test]
fn a_failed_execution_keeps_its_target_until_it_is_cleared() {
    let task = FailedTask { exit_code: Some(1), ..FailedTask::default() };
    let mut observed = Observed { child: Some(child(failed_child(true, Some(task)))), ..running() };
    observed.execution.status = written(&decided(&observed)).cloned();
    let mut observed = acknowledged(observed);
    let later = |observed: &Observed| names(&decide(observed, &SETTINGS, at(90_000)));
    assert_eq!(later(&observed), [""; 0]);
    assert!(Sibling::of(&observed.execution).blocks);

    let clearance: BlockClearance =
        serde_json::from_value(json!({"clearReason": "nobody says who"})).unwrap();
    observed.execution.status.as_mut().unwrap().block_clearance = Some(clearance.clone());
    assert!(Sibling::of(&observed.execution).blocks, "a clearance by nobody clears nothing");

    let clearance = BlockClearance { cleared_by: "alice".into(), ..clearance };
    observed.execution.status.as_mut().unwrap().block_clearance = Some(clearance);
    assert!(!Sibling::of(&observed.execution).blocks);
    assert_eq!(later(&observed), ["delete u-job", "LockReleased"]);
}

#[test]
fn a_deleted_execution_goes_after_its_child_and_its_audit_trail() {
    let mut observed = Observed { child: Some(child(ChildState::Started)), ..running() };
    observed.execution.metadata.deletion_timestamp = Some(at(0).into());
    let decision = decided(&observed);
    assert_eq!(names(&decision)[0], "write Failed ExecutionCreated");
    observed.execution.status = written(&decision).cloned();
    assert_eq!(names(&decided(&observed)), ["send 3", "delete u-job"]);
    observed.child.as_mut().unwrap().deleting = true;
    assert_eq!(names(&decided(&observed)), ["send 3"]);
    observed.child = None;
    assert_eq!(names(&decided(&observed)), ["send 3"], "waits for DataStorage");
    let observed = acknowledged(observed);
    assert_eq!(names(&decided(&observed)), ["WorkflowExecutionDeleted", "remove finalizer"]);
}
