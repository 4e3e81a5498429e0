use serde_json::json;

use super::*;

/// The status of an object written as YAML, in words.
fn judged(yaml: &str) -> String {
    let object: Value = serde_saphyr::from_str(yaml).unwrap();
    match status(&object) {
        Current => "current".to_owned(),
        InProgress(message) => format!("in progress: {message}"),
        Failed(message) => format!("failed: {message}"),
    }
}

fn deployment(status: &str) -> String {
    judged(&format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{generation: 2}}, spec: {{replicas: 2}}, status: {status}}}"
    ))
}

#[test]
fn a_deployment_is_current_when_its_newest_generation_is_fully_available() {
    let table = [
        ("{}", "in progress: no controller has looked at it yet"),
        (
            "{observedGeneration: 1, updatedReplicas: 2, replicas: 2, readyReplicas: 2, availableReplicas: 2}",
            "in progress: generation 2 has not been observed yet (1 was)",
        ),
        (
            "{observedGeneration: 2, updatedReplicas: 1, replicas: 2, readyReplicas: 2, availableReplicas: 2}",
            "in progress: 1 of 2 replicas have the new revision",
        ),
        (
            "{observedGeneration: 2, updatedReplicas: 2, replicas: 3, readyReplicas: 3, availableReplicas: 3}",
            "in progress: 1 replicas of an older revision are still there",
        ),
        (
            "{observedGeneration: 2, updatedReplicas: 2, replicas: 2, readyReplicas: 1, availableReplicas: 1}",
            "in progress: 1 of 2 replicas are ready",
        ),
        (
            "{observedGeneration: 2, updatedReplicas: 2, replicas: 2, readyReplicas: 2, availableReplicas: 1}",
            "in progress: 1 of 2 replicas are available",
        ),
        (
            "{observedGeneration: 2, updatedReplicas: 2, replicas: 2, readyReplicas: 2, availableReplicas: 2}",
            "current",
        ),
        (
            "{observedGeneration: 2, conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded, message: slow}]}",
            "failed: its rollout made no progress in time: slow",
        ),
        (
            "{observedGeneration: 2, conditions: [{type: ReplicaFailure, status: 'True', message: quota}]}",
            "in progress: pods cannot be created: quota",
        ),
    ];
    for (status, expected) in table {
        assert_eq!(deployment(status), expected, "{status}");
    }
}

#[test]
fn each_kind_has_its_own_rule() {
    let table = [
        (
            "{apiVersion: batch/v1, kind: Job, status: {conditions: [{type: Complete, status: 'True'}]}}",
            "current",
        ),
        (
            "{apiVersion: batch/v1, kind: Job, status: {active: 1}}",
            "in progress: 0 of 1 completions, 1 active",
        ),
        (
            "{apiVersion: batch/v1, kind: Job, status: {conditions: [{type: Failed, status: 'True', reason: BackoffLimitExceeded}]}}",
            "failed: it failed: BackoffLimitExceeded",
        ),
        ("{apiVersion: v1, kind: PersistentVolumeClaim, status: {phase: Bound}}", "current"),
        (
            "{apiVersion: v1, kind: PersistentVolumeClaim, status: {phase: Pending}}",
            "in progress: it is not bound to a volume",
        ),
        (
            "{apiVersion: v1, kind: PersistentVolumeClaim, status: {phase: Lost}}",
            "failed: its volume is lost",
        ),
        ("{apiVersion: v1, kind: Service, spec: {clusterIP: 10.96.0.7}}", "current"),
        (
            "{apiVersion: v1, kind: Service, spec: {type: LoadBalancer, clusterIP: 10.96.0.7}}",
            "in progress: no load balancer has been given to it",
        ),
        ("{apiVersion: v1, kind: Service, spec: {type: ExternalName, externalName: example.com}}", "current"),
        (
            "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, status: {conditions: [{type: Established, status: 'True'}]}}",
            "current",
        ),
        (
            "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, status: {conditions: [{type: NamesAccepted, status: 'False', message: taken}]}}",
            "failed: its names are not accepted: taken",
        ),
        (
            "{apiVersion: v1, kind: Pod, status: {phase: Running, conditions: [{type: Ready, status: 'False'}]}}",
            "in progress: it is Running and not ready",
        ),
        ("{apiVersion: v1, kind: Pod, status: {phase: Succeeded}}", "current"),
        (
            "{apiVersion: apps/v1, kind: StatefulSet, spec: {replicas: 1}, status: {observedGeneration: 1, readyReplicas: 1, updatedReplicas: 0}}",
            "in progress: 0 of 1 replicas have the new revision",
        ),
        (
            "{apiVersion: apps/v1, kind: DaemonSet, status: {observedGeneration: 1, desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 1}}",
            "in progress: 1 of 2 pods are available",
        ),
        (
            "{apiVersion: example.com/v1, kind: Widget, status: {conditions: [{type: Ready, status: 'False', message: soon}]}}",
            "in progress: not ready: soon",
        ),
        ("{apiVersion: example.com/v1, kind: Widget}", "current"),
        (
            "{apiVersion: example.com/v1, kind: Widget, status: {conditions: [{type: Stalled, status: 'True', message: never}]}}",
            "failed: never",
        ),
        ("{apiVersion: v1, kind: ConfigMap}", "current"),
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}}",
            "in progress: it is being deleted",
        ),
    ];
    for (object, expected) in table {
        assert_eq!(judged(object), expected, "{object}");
    }
}

#[test]
fn a_status_of_the_wrong_shape_is_not_current_and_does_not_panic() {
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "status": {"conditions": "none", "replicas": "two"}});
    assert_eq!(status(&object), InProgress("no controller has looked at it yet".to_owned()));
}
