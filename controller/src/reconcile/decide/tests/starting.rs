//! From the specification to the child: what is refused, what runs it, and that it is made once.

use super::*;

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
fn an_execution_gets_its_finalizer_before_anything_else() {
    let mut observed = observed(json!({}));
    observed.execution.metadata.finalizers = None;
    assert_eq!(names(&decided(&observed)), ["add finalizer"]);
    observed.execution.metadata.deletion_timestamp = Some(at(0).into());
    assert_eq!(names(&decided(&observed)), [""; 0], "not ours to hold");
}
