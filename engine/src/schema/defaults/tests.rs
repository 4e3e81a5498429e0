//! Defaulted objects against what a real API server answers.

use serde_json::{Value, json};

use super::LINES;
use crate::schema::{SchemaRef, builtin};

fn defaulted(ty: &str, mut value: Value) -> Value {
    SchemaRef::named(ty).apply_defaults(&mut value);
    value
}

#[test]
fn the_table_names_only_types_and_fields_that_exist() {
    for (name, lines) in LINES.iter() {
        let ty = builtin::named(name).unwrap_or_else(|| panic!("no type {name}"));
        for line in lines {
            let super::Line::Set { path, .. } = line else { continue };
            let mut at = ty.clone();
            for part in path.split('.') {
                at = at.child(part).unwrap_or_else(|| panic!("no field {path} in {name}"));
            }
        }
    }
    let lines = super::TABLE.lines().filter(|line| line.starts_with("  ")).count();
    assert_eq!(LINES.values().map(Vec::len).sum::<usize>(), lines, "a line of the table could not be read");
}

#[test]
fn a_pod_gets_what_upstream_gives_it() {
    let pod = defaulted(
        "core.v1.Pod",
        json!({"spec": {
            "serviceAccount": "robot",
            "containers": [
                {"name": "a", "image": "registry:5000/app", "resources": {"limits": {"cpu": "1"}},
                 "ports": [{"containerPort": 80}], "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 0}},
                {"name": "b", "image": "app:1.2"}],
            "volumes": [{"name": "scratch"}, {"name": "c", "configMap": {"name": "x"}}]}}),
    );
    assert_eq!(
        pod["spec"],
        json!({
            "serviceAccount": "robot", "serviceAccountName": "robot",
            "containers": [
                {"name": "a", "image": "registry:5000/app",
                 "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
                 "ports": [{"containerPort": 80, "protocol": "TCP"}],
                 "readinessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "periodSeconds": 10,
                    "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3},
                 "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                 "imagePullPolicy": "Always"},
                {"name": "b", "image": "app:1.2", "resources": {}, "terminationMessagePath": "/dev/termination-log",
                 "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent"}],
            "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "c", "configMap": {"name": "x", "defaultMode": 420}}],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "securityContext": {},
            "terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler", "enableServiceLinks": true,
        })
    );
}

#[test]
fn images_are_pulled_always_only_when_their_tag_moves() {
    for (image, policy) in [
        ("app", "Always"),
        ("app:latest", "Always"),
        ("host:5000/app", "Always"),
        ("app:1", "IfNotPresent"),
        ("host/app@sha256:00", "IfNotPresent"),
        ("host/app:latest@sha256:00", "Always"),
    ] {
        assert_eq!(
            defaulted("core.v1.Container", json!({"image": image}))["imagePullPolicy"],
            policy,
            "{image}"
        );
    }
}

#[test]
fn workloads_get_what_upstream_gives_them() {
    let deployment = defaulted("apps.v1.Deployment", json!({"spec": {"replicas": 0}}));
    assert_eq!(
        deployment["spec"],
        json!({"replicas": 0, "strategy": {"type": "RollingUpdate", "rollingUpdate":
            {"maxUnavailable": "25%", "maxSurge": "25%"}}, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
    );
    let recreate = defaulted("apps.v1.Deployment", json!({"spec": {"strategy": {"type": "Recreate"}}}));
    assert_eq!(recreate["spec"]["strategy"], json!({"type": "Recreate"}));
    let job = defaulted(
        "batch.v1.Job",
        json!({"metadata": {}, "spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}),
    );
    assert_eq!(job["metadata"]["labels"], json!({"a": "b"}));
    let expected = [
        ("completions", json!(1)),
        ("parallelism", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
    ];
    for (field, value) in expected {
        assert_eq!(job["spec"][field], value, "{field}");
    }
    let queue = defaulted("batch.v1.Job", json!({"spec": {"parallelism": 3}}));
    assert!(queue["spec"].get("completions").is_none());
    let service =
        defaulted("core.v1.Service", json!({"spec": {"type": "NodePort", "ports": [{"port": 80}]}}));
    assert_eq!(
        service["spec"],
        json!({"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], "sessionAffinity": "None",
            "externalTrafficPolicy": "Cluster", "internalTrafficPolicy": "Cluster"})
    );
}

#[test]
fn defaulting_twice_changes_nothing() {
    let once = defaulted(
        "apps.v1.StatefulSet",
        json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "b"}]}}}}),
    );
    assert_eq!(
        once["spec"]["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    );
    assert_eq!(defaulted("apps.v1.StatefulSet", once.clone()), once);
}
