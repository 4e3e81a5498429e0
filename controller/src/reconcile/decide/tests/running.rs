//! Running: how the child does is how the execution does.

use super::*;

#[test]
fn running_ends_as_its_child_does() {
    let task = FailedTask { exit_code: Some(3), message: "disk is full".into(), ..FailedTask::default() };
    let stuck = |reason: &str| ChildState::Stuck { reason: reason.into(), message: "no such image".into() };
    use FailureReason::*;
    for (what, state, phase, reason, blocks, backs_off) in [
        ("success", ChildState::Succeeded { at: Some(at(-20)) }, Phase::Completed, None, false, false),
        ("exit code", failed_child(true, Some(task.clone())), Phase::Failed, Some(TaskFailed), true, false),
        ("never ran", failed_child(false, Some(task)), Phase::Failed, Some(TaskFailed), false, true),
        ("pods out of sight", failed_child(true, None), Phase::Failed, Some(TaskFailed), true, false),
        ("no image", stuck("ImagePullBackOff"), Phase::Failed, Some(ImagePullBackOff), false, true),
        (
            "no secret",
            stuck("CreateContainerConfigError"),
            Phase::Failed,
            Some(ConfigurationError),
            false,
            true,
        ),
    ] {
        let decision = decided(&Observed { child: Some(child(state)), ..running() });
        let status = written(&decision).unwrap();
        let details = status.failure_details.as_ref();
        assert_eq!(status.phase, Some(phase), "{what}");
        assert_eq!(details.map(|details| details.reason), reason, "{what}");
        assert_eq!(crate::reconcile::observed::blocks(status), blocks, "{what}");
        assert_eq!(status.next_allowed_execution.is_some(), backs_off, "{what}");
        let last = if phase == Phase::Completed { WorkflowCompleted } else { WorkflowFailed };
        assert_eq!(due(status), [SelectionCompleted, ExecutionStarted, last], "{what}");
    }
    let decision =
        decided(&Observed { child: Some(child(ChildState::Succeeded { at: Some(at(-20)) })), ..running() });
    assert_eq!(written(&decision).unwrap().duration.as_deref(), Some("1m40s"));
    assert_eq!(names(&decision)[1..], ["WorkflowCompleted", "count Completed"]);
}

/// The watch tells of changes. A change that it lost is found all the same.
#[test]
fn a_running_execution_is_looked_at_again_even_if_nothing_is_told() {
    let observed = acknowledged(Observed { child: Some(child(ChildState::Started)), ..running() });
    let decision = decided(&observed);
    assert_eq!((names(&decision), decision.requeue), (vec![], Some(SignedDuration::from_mins(2))));
}

#[test]
fn a_child_that_vanishes_fails_the_execution() {
    for (what, child) in [
        ("gone", None),
        ("going", Some(Child { deleting: true, ..child(ChildState::Started) })),
        ("replaced", Some(Child { uid: "u-2".into(), ..child(ChildState::Started) })),
        (
            "taken over",
            Some(Child { owner: Owner::Another("ops/other".into()), ..child(ChildState::Started) }),
        ),
    ] {
        let decision = decided(&Observed { child, ..running() });
        let details = written(&decision).unwrap().failure_details.clone().unwrap();
        assert!(details.message.contains("deleted"), "{what}: {}", details.message);
        assert_eq!(
            (details.reason, details.was_execution_failure),
            (FailureReason::Unknown, false),
            "{what}"
        );
    }
}

#[test]
fn a_child_that_cannot_run_is_removed_at_once() {
    let stuck = child(ChildState::Stuck { reason: "ImagePullBackOff".into(), message: String::new() });
    let mut observed = Observed { child: Some(stuck), ..running() };
    observed.execution.status = written(&decided(&observed)).cloned();
    assert_eq!(names(&decided(&acknowledged(observed))), ["delete u-job"]);
}
