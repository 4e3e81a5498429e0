//! PipelineRuns as built, and as read.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::resource::TaskRun;
use super::*;
use crate::reconcile::observed::{Child, ChildFailure, ChildState, FailedTask, Owner, Progress};

fn place() -> Place {
    Place {
        namespace: "kubernaut-workflows".into(),
        service_account: "runner".into(),
        timeout: SignedDuration::from_hours(1),
    }
}

fn execution(config: Value) -> WorkflowExecution {
    serde_json::from_value(json!({
        "apiVersion": "kubernaut.ai/v1alpha1",
        "kind": "WorkflowExecution",
        "metadata": {"name": "we", "namespace": "ops", "uid": "u-we"},
        "spec": {
            "remediationRequestRef": {"name": "rr"},
            "workflowRef": {"workflowId": "team/restart", "version": "1", "containerImage": "example/restart:1"},
            "targetResource": "prod/deployment/web",
            "parameters": {"REPLICAS": "3", "MESSAGE": "costs $(5)", "TARGET_RESOURCE": "somewhere/else"},
            "executionConfig": config,
        },
    }))
    .unwrap()
}

#[test]
fn the_pipeline_run_resolves_the_workflows_bundle_under_the_targets_name() {
    let config = json!({"timeout": "90s", "serviceAccountName": "scaler"});
    let run = build(&execution(config), &place());
    insta::assert_json_snapshot!(run);
}

#[test]
fn timeout_and_service_account_are_the_executions_else_the_controllers() {
    for (config, timeout, account) in [
        (json!({}), "1h0m0s", "runner"),
        (json!({"timeout": "10m", "serviceAccountName": "scaler"}), "10m0s", "scaler"),
        // Tekton takes zero for no limit.
        (json!({"timeout": "300ms", "serviceAccountName": ""}), "1s", "runner"),
    ] {
        let spec = build(&execution(config.clone()), &place()).spec;
        assert_eq!(
            (spec.timeouts.pipeline.as_str(), spec.task_run_template.service_account_name.as_str()),
            (timeout, account),
            "{config}"
        );
    }
}

/// A PipelineRun with this status and TaskRuns `a` and `b` with these, as read.
fn child(run: Value, task_runs: [Value; 2]) -> Child {
    let run = json!({
        "apiVersion": "tekton.dev/v1", "kind": "PipelineRun",
        "metadata": {"name": "wfe-1", "uid": "u-run"}, "spec": {}, "status": run,
    });
    let named = ["a", "b"].into_iter().zip(task_runs).filter(|(_, status)| !status.is_null());
    let task_runs: Vec<TaskRun> = named
        .map(|(name, status)| {
            let task_run = json!({
                "apiVersion": "tekton.dev/v1", "kind": "TaskRun",
                "metadata": {"name": name}, "spec": {"taskRef": {"name": "t"}}, "status": status,
            });
            serde_json::from_value(task_run).unwrap()
        })
        .collect();
    read(&serde_json::from_value(run).unwrap(), Owner::This, &task_runs)
}

fn condition(status: &str, reason: &str, message: &str) -> Value {
    json!([{"type": "Succeeded", "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-10T12:00:00Z"}])
}

fn references() -> Value {
    json!([
        {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "name": "a", "pipelineTaskName": "first"},
        {"apiVersion": "tekton.dev/v1beta1", "kind": "CustomRun", "name": "c"},
        {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "name": "b", "pipelineTaskName": "second"},
    ])
}

fn step(name: &str, exit_code: i32, reason: &str) -> Value {
    json!({"name": name, "terminated": {"exitCode": exit_code, "reason": reason, "startedAt": "2026-01-10T12:00:00Z"}})
}

#[test]
fn a_run_is_as_far_as_its_condition_and_its_tasks_say() {
    let ended = json!({"conditions": condition("True", "Succeeded", "")});
    let running = json!({"conditions": condition("Unknown", "Running", "")});
    let unknown = json!({
        "conditions": condition("Unknown", "Running", "Tasks Completed: 1"),
        "startTime": "2026-01-10T12:00:00Z", "childReferences": references(),
    });
    let succeeded = json!({
        "conditions": condition("True", "Succeeded", ""),
        "completionTime": "2026-01-10T12:01:00Z", "childReferences": references(),
    });
    let at = Some("2026-01-10T12:01:00Z".parse().unwrap());
    let nothing = || [Value::Null, Value::Null];
    for (run, task_runs, state, progress) in [
        (json!({}), nothing(), ChildState::Created, (0, 0)),
        (json!({"startTime": "2026-01-10T12:00:00Z"}), nothing(), ChildState::Created, (0, 0)),
        (unknown, [ended.clone(), running], ChildState::Started, (1, 3)),
        (succeeded, [ended.clone(), ended], ChildState::Succeeded { at }, (2, 3)),
    ] {
        let child = child(run.clone(), task_runs);
        assert_eq!(child.state, state, "{run}");
        let Progress { completed, total } = child.progress;
        assert_eq!((completed, total), progress, "{run}");
    }
}

#[test]
fn the_first_failed_task_tells_why_a_run_failed_and_whether_anything_ran() {
    let run = |reason: &str| json!({"conditions": condition("False", reason, "as the run says"), "childReferences": references()});
    let good =
        json!({"conditions": condition("True", "Succeeded", ""), "steps": [step("prepare", 0, "Completed")]});
    let failed = |reason: &str, steps: Value| json!({"conditions": condition("False", reason, "as the task says"), "steps": steps});
    let task = |step: Option<&str>, exit_code, reason: &str| FailedTask {
        index: 2,
        name: "b".into(),
        step: step.map(Into::into),
        exit_code,
        reason: reason.into(),
        message: "as the task says".into(),
    };
    let oom = failed("Failed", json!([step("x", 0, "Completed"), step("y", 137, "OOMKilled")]));
    let unpulled =
        failed("TaskRunImagePullFailed", json!([{"name": "x", "waiting": {"reason": "ImagePullBackOff"}}]));
    let not_started = json!({"conditions": condition("True", "Succeeded", ""), "steps": []});
    for (what, run, task_runs, reason, ran, task) in [
        (
            "an exit code",
            run("Failed"),
            [good.clone(), failed("Failed", json!([step("x", 3, "Error")]))],
            "Failed",
            true,
            Some(task(Some("x"), Some(3), "Failed")),
        ),
        (
            "out of memory",
            run("Failed"),
            [good.clone(), oom],
            "Failed",
            true,
            Some(task(Some("y"), Some(137), "OOMKilled")),
        ),
        (
            "no image for the second task: the first has acted",
            run("Failed"),
            [good, unpulled.clone()],
            "Failed",
            true,
            Some(task(None, None, "TaskRunImagePullFailed")),
        ),
        (
            "no image, and nothing ran before",
            json!({"conditions": condition("False", "Failed", "as the run says"), "childReferences": [references()[0], references()[2]]}),
            [not_started, unpulled],
            "Failed",
            false,
            Some(FailedTask { index: 1, ..task(None, None, "TaskRunImagePullFailed") }),
        ),
        (
            "tasks out of sight may have run",
            run("PipelineRunTimeout"),
            [Value::Null, Value::Null],
            "PipelineRunTimeout",
            true,
            None,
        ),
        (
            "no pipeline, no task",
            json!({"conditions": condition("False", "CouldntGetPipeline", "as the run says")}),
            [Value::Null, Value::Null],
            "CouldntGetPipeline",
            false,
            None,
        ),
    ] {
        // The custom task is no TaskRun, and was not seen: it counts as one that may have run, unless it is not there.
        let expected = ChildFailure { reason: reason.into(), message: "as the run says".into(), ran, task };
        assert_eq!(child(run, task_runs).state, ChildState::Failed(expected), "{what}");
    }
}
