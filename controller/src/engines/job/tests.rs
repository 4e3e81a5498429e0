//! Jobs as built, and as read.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::reconcile::observed::{ChildFailure, ChildState, FailedTask, Owner};

fn place() -> Place {
    Place {
        namespace: "kubernaut-workflows".into(),
        service_account: "runner".into(),
        timeout: SignedDuration::from_hours(1),
    }
}

fn execution(spec: Value) -> WorkflowExecution {
    let mut raw = json!({
        "apiVersion": "kubernaut.ai/v1alpha1",
        "kind": "WorkflowExecution",
        "metadata": {"name": "we", "namespace": "ops", "uid": "u-we"},
        "spec": {
            "remediationRequestRef": {"name": "rr"},
            "workflowRef": {"workflowId": "team/restart", "version": "1", "containerImage": "example/restart:1"},
            "targetResource": "prod/deployment/web",
        },
    });
    for (field, value) in spec.as_object().unwrap() {
        raw["spec"][field] = value.clone();
    }
    serde_json::from_value(raw).unwrap()
}

#[test]
fn the_job_carries_the_workflow_under_the_targets_name() {
    let spec = json!({
        "parameters": {"MESSAGE": "costs $(dirname x)", "TARGET_RESOURCE": "somewhere/else", "REPLICAS": "3"},
        "executionConfig": {"timeout": "90s", "serviceAccountName": "scaler"},
    });
    let job = serde_json::to_value(build(&execution(spec), &place())).unwrap();
    insta::assert_json_snapshot!(job);
}

#[test]
fn without_a_configuration_the_controllers_own_applies() {
    let job = build(&execution(json!({})), &place()).spec.unwrap();
    assert_eq!(job.active_deadline_seconds, Some(3600));
    assert_eq!(job.backoff_limit, Some(0));
    assert_eq!(job.template.spec.unwrap().service_account_name.as_deref(), Some("runner"));
}

/// How a Job with this status and a pod with this one is doing.
fn state(job: Value, pod: Value) -> ChildState {
    let job = json!({"metadata": {"name": "wfe-1", "uid": "u-job"}, "status": job});
    let owned = |uid: &str, status: &Value| -> Pod {
        let reference = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "wfe-1", "uid": uid});
        serde_json::from_value(
            json!({"metadata": {"name": "pod", "ownerReferences": [reference]}, "status": status}),
        )
        .unwrap()
    };
    let stranger =
        json!({"containerStatuses": [container(json!({"waiting": {"reason": "ImagePullBackOff"}}))]});
    let pods = [owned("u-job", &pod), owned("u-other", &stranger)];
    read(&serde_json::from_value(job).unwrap(), Owner::This, &pods).state
}

fn container(state: Value) -> Value {
    json!({"name": "workflow", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state})
}

fn condition(kind: &str, reason: &str) -> Value {
    json!({"conditions": [{"type": kind, "status": "True", "reason": reason, "message": "as it says"}]})
}

#[test]
fn a_job_is_read_with_its_own_pods_only() {
    let terminated = |reason: &str, code: i32| {
        let state = json!({"terminated": {"exitCode": code, "reason": reason, "message": "disk is full"}});
        json!({"phase": "Failed", "startTime": "2026-01-10T12:00:00Z", "containerStatuses": [container(state)]})
    };
    let waiting =
        |reason: &str| json!({"containerStatuses": [container(json!({"waiting": {"reason": reason}}))]});
    let failed = |reason: &str, ran, task| {
        ChildState::Failed(ChildFailure { reason: reason.into(), message: "as it says".into(), ran, task })
    };
    let task = |reason: &str, code| FailedTask {
        index: 0,
        name: "pod".into(),
        step: Some("workflow".into()),
        exit_code: Some(code),
        reason: reason.into(),
        message: "disk is full".into(),
    };
    let stuck = |reason: &str| ChildState::Stuck { reason: reason.into(), message: String::new() };
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "node had no room"});
    let evicted_task = FailedTask {
        name: "pod".into(),
        reason: "Evicted".into(),
        message: "node had no room".into(),
        ..FailedTask::default()
    };
    for (job, pod, expected) in [
        (json!({}), json!({}), ChildState::Created),
        (json!({"active": 1}), waiting("ContainerCreating"), ChildState::Created),
        (json!({"active": 1}), waiting("ErrImagePull"), ChildState::Created),
        (json!({"active": 1}), waiting("ImagePullBackOff"), stuck("ImagePullBackOff")),
        (json!({"active": 1}), waiting("CreateContainerConfigError"), stuck("CreateContainerConfigError")),
        (
            json!({"active": 1}),
            json!({"containerStatuses": [container(json!({"running": {}}))]}),
            ChildState::Started,
        ),
        (condition("Complete", ""), json!({}), ChildState::Succeeded { at: None }),
        (
            condition("Failed", "BackoffLimitExceeded"),
            terminated("Error", 3),
            failed("BackoffLimitExceeded", true, Some(task("Error", 3))),
        ),
        (
            condition("Failed", "BackoffLimitExceeded"),
            terminated("StartError", 128),
            failed("BackoffLimitExceeded", false, Some(task("StartError", 128))),
        ),
        (
            condition("Failed", "BackoffLimitExceeded"),
            evicted,
            failed("BackoffLimitExceeded", false, Some(evicted_task)),
        ),
    ] {
        assert_eq!(state(job.clone(), pod.clone()), expected, "{job} {pod}");
    }
}
