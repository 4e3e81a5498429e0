//! Decisions as data: situations in, actions out. The numbers are those of the defects this controller must not have.

use api::audit::WorkflowExecutionEventType::{
    ExecutionStarted, SelectionCompleted, WorkflowCompleted, WorkflowFailed,
};
use api::audit::{WorkflowExecutionEventType, validate_event};
use api::workflow_execution::{
    AUDIT_RECORDED, BlockClearance, EXECUTION_CREATED, FailureReason, WorkflowExecution,
    WorkflowExecutionStatus,
};
use serde_json::{Value, json};

use super::*;
use crate::reconcile::observed::{
    Child, ChildFailure, ChildState, FailedTask, Owner, Progress, Refusal, Sibling,
};
use crate::reconcile::transition;

const SETTINGS: Settings = Settings {
    cooldown: SignedDuration::from_mins(5),
    backoff: Backoff {
        base: SignedDuration::from_mins(1),
        max: SignedDuration::from_mins(10),
        max_exponent: 4,
    },
};

/// The moment of every decision, plus `seconds`.
fn at(seconds: i64) -> Timestamp {
    "2026-01-10T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn execution(status: Value) -> WorkflowExecution {
    serde_json::from_value(json!({
        "apiVersion": "kubernaut.ai/v1alpha1",
        "kind": "WorkflowExecution",
        "metadata": {"name": "we", "namespace": "ops", "uid": "u-we", "generation": 1, "resourceVersion": "7",
                     "finalizers": [FINALIZER]},
        "spec": {
            "remediationRequestRef": {"name": "rr"},
            "workflowRef": {"workflowId": "restart", "version": "1", "containerImage": "example/restart:1"},
            "targetResource": "prod/deployment/web",
        },
        "status": status,
    }))
    .unwrap()
}

fn observed(status: Value) -> Observed {
    Observed {
        execution: execution(status),
        tekton: false,
        child: None,
        refusal: None,
        siblings: Vec::new(),
        acknowledgements: Default::default(),
    }
}

/// The status of an execution that runs since two minutes, as `Child` of [`child`].
fn running() -> Observed {
    let started = transition::run(&execution(json!({})), &child(ChildState::Started), at(-120));
    observed(serde_json::to_value(started).unwrap())
}

fn child(state: ChildState) -> Child {
    Child {
        engine: ExecutionEngine::Job,
        name: "wfe-1".into(),
        uid: "u-job".into(),
        created: at(-120),
        owner: Owner::This,
        deleting: false,
        progress: Progress { completed: 0, total: 1 },
        state,
    }
}

fn sibling() -> Sibling {
    Sibling {
        key: "ops/other".into(),
        phase: Phase::Completed,
        started: true,
        completed: Some(at(-3600)),
        blocks: false,
        consecutive_failures: 0,
        next_allowed: None,
    }
}

fn failed_child(ran: bool, task: Option<FailedTask>) -> ChildState {
    ChildState::Failed(ChildFailure {
        reason: "BackoffLimitExceeded".into(),
        message: "job failed".into(),
        ran,
        task,
    })
}

fn decided(observed: &Observed) -> Decision {
    decide(observed, &SETTINGS, at(0))
}

fn written(decision: &Decision) -> Option<&WorkflowExecutionStatus> {
    decision.actions.iter().find_map(|action| match action {
        Action::WriteStatus(status) => Some(status.as_ref()),
        _ => None,
    })
}

/// The decision's actions in short.
fn names(decision: &Decision) -> Vec<String> {
    let name = |action: &Action| match action {
        Action::AddFinalizer => "add finalizer".to_owned(),
        Action::RemoveFinalizer => "remove finalizer".to_owned(),
        Action::CreateChild { engine } => format!("create {}", engine.as_str()),
        Action::DeleteChild { uid, .. } => format!("delete {uid}"),
        Action::WriteStatus(status) => {
            let reason = conditions::reason(status, EXECUTION_CREATED).unwrap_or("-");
            format!("write {} {reason}", status.phase.unwrap_or_default().as_str())
        }
        Action::Send(events) => format!("send {}", events.len()),
        Action::Publish(note) => note.reason.to_owned(),
        Action::CountFinished { phase, .. } => format!("count {}", phase.as_str()),
    };
    decision.actions.iter().map(name).collect()
}

fn due(status: &WorkflowExecutionStatus) -> Vec<WorkflowExecutionEventType> {
    status.audit_events.iter().map(|record| record.event_type).collect()
}

/// `observed` after DataStorage acknowledged everything due and the status says so.
fn acknowledged(mut observed: Observed) -> Observed {
    let mut status = observed.status();
    status.audit_events.iter_mut().for_each(|record| record.acknowledged = true);
    conditions::record_audit(&mut status, Some(1), at(0));
    observed.execution.status = Some(status);
    observed
}

#[test]
fn pending_waits_for_each_thing_that_holds_the_target_and_proceeds_after_it() {
    let other = |owner, state| Some(Child { owner, ..child(state) });
    let holder = Owner::Another("ops/other".into());
    for (what, held, siblings, actions, requeue) in [
        ("a free target", None, vec![], vec!["create job"], None),
        (
            "another execution's child",
            other(holder.clone(), ChildState::Started),
            vec![],
            vec!["write Pending TargetResourceBusy", "TargetBusy"],
            None,
        ),
        (
            "another execution's finished child: the lock is held through the cooldown",
            other(holder, ChildState::Succeeded { at: None }),
            vec![],
            vec!["write Pending TargetResourceBusy", "TargetBusy"],
            None,
        ),
        (
            "an object of somebody else",
            other(Owner::Unknown, ChildState::Created),
            vec![],
            vec!["write Pending TargetResourceBusy", "TargetBusy"],
            Some(30),
        ),
        (
            "a finished child whose execution is gone",
            other(Owner::Gone, ChildState::Succeeded { at: None }),
            vec![],
            vec!["delete u-job"],
            None,
        ),
        (
            "a running child whose execution is gone",
            other(Owner::Gone, ChildState::Started),
            vec![],
            vec!["write Pending TargetResourceBusy", "TargetBusy"],
            Some(30),
        ),
        (
            "a sibling that runs, though its child is not seen: it may be of another kind",
            None,
            vec![Sibling { phase: Phase::Running, completed: None, ..sibling() }],
            vec!["write Pending TargetResourceBusy", "TargetBusy"],
            None,
        ),
        (
            "cooldowns: the longest remaining counts, not the first",
            None,
            vec![
                Sibling { completed: Some(at(-290)), ..sibling() },
                Sibling { completed: Some(at(-60)), ..sibling() },
            ],
            vec!["write Pending RecentlyRemediated", "CooldownActive"],
            Some(240),
        ),
        (
            "a cooldown that has ended",
            None,
            vec![Sibling { completed: Some(at(-300)), ..sibling() }],
            vec!["create job"],
            None,
        ),
        (
            "a sibling that never started needs no cooldown",
            None,
            vec![Sibling { phase: Phase::Failed, started: false, completed: Some(at(-1)), ..sibling() }],
            vec!["create job"],
            None,
        ),
        (
            "a back-off",
            None,
            vec![Sibling {
                phase: Phase::Failed,
                started: false,
                completed: Some(at(-10)),
                consecutive_failures: 1,
                next_allowed: Some(at(50)),
                ..sibling()
            }],
            vec!["write Pending BackoffActive", "CooldownActive"],
            Some(50),
        ),
        (
            "a back-off that a later success has overtaken",
            None,
            vec![
                Sibling {
                    phase: Phase::Failed,
                    next_allowed: Some(at(50)),
                    completed: Some(at(-900)),
                    ..sibling()
                },
                Sibling { completed: Some(at(-600)), ..sibling() },
            ],
            vec!["create job"],
            None,
        ),
        (
            "an uncleared failure, however old",
            None,
            vec![Sibling { phase: Phase::Failed, blocks: true, completed: Some(at(-90_000)), ..sibling() }],
            vec!["write Pending PreviousExecutionFailed", "TargetBlocked"],
            None,
        ),
    ] {
        let decision = decided(&Observed { child: held, siblings, ..observed(json!({})) });
        assert_eq!(names(&decision), actions, "{what}");
        assert_eq!(decision.requeue, requeue.map(SignedDuration::from_secs), "{what}");
    }
}

/// 2.8.1: writing Pending must not stop the execution from being looked at again.
#[test]
fn a_cooldown_ends_although_the_wait_was_written() {
    let mut waiting = observed(json!({}));
    waiting.siblings = vec![Sibling { completed: Some(at(-60)), ..sibling() }];
    let first = decided(&waiting);
    waiting.execution.status = written(&first).cloned();
    let again = decide(&waiting, &SETTINGS, at(100));
    assert_eq!(
        (names(&again), again.requeue),
        (vec![], Some(SignedDuration::from_secs(140))),
        "still waits, silently"
    );
    assert_eq!(names(&decide(&waiting, &SETTINGS, at(240))), ["create job"]);
}

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

/// 2.8.3: whatever the API server refuses is told with a class that the CRD knows.
#[test]
fn refusals_are_failures_with_a_known_class() {
    for (code, message, class, condition) in [
        (403, "jobs.batch is forbidden: User cannot create", FailureReason::Forbidden, "RBACDenied"),
        (403, "exceeded quota: jobs", FailureReason::ResourceExhausted, "QuotaExceeded"),
        (422, "Job is invalid", FailureReason::ConfigurationError, "ExecutionCreationFailed"),
        (404, "namespaces \"x\" not found", FailureReason::ConfigurationError, "ExecutionCreationFailed"),
    ] {
        let refusal = Some(Refusal { code, message: message.into() });
        let decision = decided(&Observed { refusal, ..observed(json!({})) });
        let status = written(&decision).unwrap();
        let details = status.failure_details.as_ref().unwrap();
        assert_eq!((details.reason, details.was_execution_failure), (class, false), "{message}");
        assert_eq!(conditions::reason(status, EXECUTION_CREATED), Some(condition), "{message}");
        // 2.8.6: chosen once, failed once.
        assert_eq!(due(status), [SelectionCompleted, WorkflowFailed], "{message}");
        assert_eq!(names(&decision)[1..], ["WorkflowFailed", "count Failed"], "{message}");
    }
}

#[test]
fn invalid_specifications_fail_with_the_name_of_the_field() {
    for (pointer, value, expected) in [
        ("/spec/workflowRef/containerImage", json!(""), "containerImage"),
        ("/spec/targetResource", json!(""), "targetResource"),
        ("/spec/targetResource", json!("web"), "format"),
        ("/spec/targetResource", json!("a/b/c/d"), "format"),
        ("/spec/targetResource", json!("a//c"), "format"),
        ("/spec/executionConfig", json!({"timeout": "soon"}), "executionConfig.timeout"),
        ("/spec/parameters", json!({"A=B": "x"}), "UPPER_SNAKE_CASE"),
        ("/spec/parameters", json!({"OK": "x", "maxReplicas": "3"}), "maxReplicas"),
        ("/spec/parameters", json!({"1ST": "x"}), "1ST"),
        ("/spec/parameters", json!({"": "x"}), "parameters"),
    ] {
        let mut raw = serde_json::to_value(execution(json!({}))).unwrap();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        raw.pointer_mut(parent).unwrap()[field] = value.clone();
        let execution = serde_json::from_value(raw).unwrap();
        let decision = decided(&Observed { execution, ..observed(json!({})) });
        let status = written(&decision).unwrap();
        let details = status.failure_details.as_ref().unwrap();
        assert!(details.message.contains(expected), "{value}: {}", details.message);
        assert_eq!(details.reason, FailureReason::ConfigurationError);
        assert_eq!((due(status), status.start_time.clone()), (vec![WorkflowFailed], None));
    }
}

#[test]
fn the_engine_is_what_is_asked_for_else_the_best_there_is() {
    let missing = vec!["write Pending EngineMissing", "EngineMissing"];
    for (asked, tekton, actions) in [
        (None, false, vec!["create job"]),
        (None, true, vec!["create tekton"]),
        (Some(ExecutionEngine::Job), true, vec!["create job"]),
        (Some(ExecutionEngine::Tekton), true, vec!["create tekton"]),
        (Some(ExecutionEngine::Tekton), false, missing),
    ] {
        let mut observed = Observed { tekton, ..observed(json!({})) };
        observed.execution.spec.execution_engine = asked;
        assert_eq!(names(&decided(&observed)), actions, "{asked:?}, Tekton: {tekton}");
    }
}

/// A missing engine is not a failure: it may come, and nothing was tried.
#[test]
fn an_execution_waits_for_its_engine_with_a_hint_and_proceeds_when_it_comes() {
    let mut observed = observed(json!({}));
    observed.execution.spec.execution_engine = Some(ExecutionEngine::Tekton);
    let decision = decided(&observed);
    let status = written(&decision).cloned().unwrap();
    let hint = status.conditions[0].message.clone();
    assert!(hint.contains("install Tekton") && hint.contains("spec.executionEngine"), "{hint}");
    assert_eq!(decision.requeue, Some(SignedDuration::from_secs(30)));
    observed.execution.status = Some(status);
    assert_eq!(names(&decided(&observed)), [""; 0], "told once");
    observed.tekton = true;
    assert_eq!(names(&decided(&observed)), ["create tekton"]);
}

#[test]
fn the_engine_of_a_started_execution_is_remembered() {
    let run = Child { engine: ExecutionEngine::Tekton, ..child(ChildState::Started) };
    let decision = decided(&Observed { child: Some(run), ..observed(json!({})) });
    assert_eq!(written(&decision).unwrap().execution_engine, Some(ExecutionEngine::Tekton));
}

#[test]
fn targets_are_namespaced_or_cluster_wide() {
    for target in ["prod/deployment/web", "node/worker-1"] {
        let mut observed = observed(json!({}));
        observed.execution.spec.target_resource = target.into();
        assert_eq!(names(&decided(&observed)), ["create job"], "{target}");
    }
}

#[test]
fn back_off_doubles_up_to_its_limit_and_spreads_by_a_tenth() {
    for (failures, minutes) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (50, 10)] {
        for seed in ["", "u-1", "3f1c9a52-77aa-4c1f-9c55-6d1f7a1b2c3d"] {
            let delay = SETTINGS.backoff.delay(failures, seed).as_secs_f64();
            let exact = f64::from(minutes * 60);
            assert!(
                (delay - exact).abs() <= exact / 10.0 && (60.0..=600.0).contains(&delay),
                "{failures}: {delay}"
            );
            assert_eq!(delay, SETTINGS.backoff.delay(failures, seed).as_secs_f64(), "the same each time");
        }
    }
}

/// 2.8.4: after a crash between creating the child and storing the status, the child is found, not made again.
#[test]
fn an_own_child_is_adopted_whatever_state_it_is_in() {
    for state in [
        ChildState::Created,
        ChildState::Started,
        ChildState::Succeeded { at: None },
        failed_child(true, None),
    ] {
        let decision = decided(&Observed { child: Some(child(state)), ..observed(json!({})) });
        assert_eq!(names(&decision), ["write Running ExecutionCreated", "ExecutionCreated"]);
        let status = written(&decision).unwrap();
        assert_eq!(
            status.start_time.as_ref().unwrap().0,
            at(-120),
            "by the child's clock, the same after a crash"
        );
        assert_eq!(status.execution_uid.as_deref(), Some("u-job"));
        assert_eq!(due(status), [SelectionCompleted, ExecutionStarted]);
    }
}

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

#[test]
fn an_execution_gets_its_finalizer_before_anything_else() {
    let mut observed = observed(json!({}));
    observed.execution.metadata.finalizers = None;
    assert_eq!(names(&decided(&observed)), ["add finalizer"]);
    observed.execution.metadata.deletion_timestamp = Some(at(0).into());
    assert_eq!(names(&decided(&observed)), [""; 0], "not ours to hold");
}

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
