//! Decisions about ReplicaSets as data: pods in, what happens out.

use serde_json::{Value, json};

use super::*;

const NOW: &str = "2030-01-01T00:10:00Z";

fn replica_set(spec: Value) -> Arc<ReplicaSet> {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "rs", "generation": 3},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}}},
    });
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    Arc::new(serde_json::from_value(object).unwrap())
}

/// A pod from one line: `name phase [ready[@hh:mm]] [label=value] [deleting] [node]`.
fn pod(line: &str) -> Arc<Pod> {
    let mut words = line.split_whitespace();
    let (name, phase) = (words.next().unwrap(), words.next().unwrap());
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": "web"}},
        "spec": {"containers": []},
        "status": {"phase": phase, "conditions": []},
    });
    for word in words {
        if let Some(time) = word.strip_prefix("ready") {
            let time = time.strip_prefix('@').unwrap_or("00:00");
            pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True", "lastTransitionTime": format!("2030-01-01T{time}:00Z")}]);
        } else if let Some((key, value)) = word.split_once('=') {
            pod["metadata"]["labels"][key] = json!(value);
        } else if word == "deleting" {
            pod["metadata"]["deletionTimestamp"] = json!(NOW);
        } else if word == "node" {
            pod["spec"]["nodeName"] = json!("n");
        }
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn plan(spec: Value, owned: &[&str], orphans: &[&str]) -> Plan {
    decide(&Observed {
        replica_set: replica_set(spec),
        owned: owned.iter().map(|line| pod(line)).collect(),
        orphans: orphans.iter().map(|line| pod(line)).collect(),
        now: NOW.parse().unwrap(),
    })
}

/// `expected` reads `+created -deleted,names adopted>names`.
fn check(spec: Value, owned: &[&str], orphans: &[&str], expected: &str) {
    let plan = plan(spec, owned, orphans);
    let names = |pods: &[Arc<Pod>]| {
        pods.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect::<Vec<_>>().join(",")
    };
    let got = format!(
        "+{} -{} adopt:{} release:{}",
        plan.create,
        names(&plan.delete),
        names(&plan.adopt),
        names(&plan.release)
    );
    assert_eq!(got, expected, "owned {owned:?} orphans {orphans:?}");
}

#[test]
fn missing_pods_are_created() {
    check(json!({"replicas": 3}), &[], &[], "+3 - adopt: release:");
    check(json!({"replicas": 3}), &["a Running", "b Pending"], &[], "+1 - adopt: release:");
    check(json!({}), &[], &[], "+1 - adopt: release:");
    check(json!({"replicas": 0}), &[], &[], "+0 - adopt: release:");
}

#[test]
fn finished_and_deleted_pods_are_replaced() {
    check(
        json!({"replicas": 2}),
        &["a Failed", "b Running deleting", "c Running"],
        &[],
        "+1 - adopt: release:",
    );
}

#[test]
fn surplus_pods_go_least_useful_first() {
    check(json!({"replicas": 1}), &["a Running ready node", "b Pending"], &[], "+0 -b adopt: release:");
    check(json!({"replicas": 1}), &["a Running node", "b Running ready node"], &[], "+0 -a adopt: release:");
    check(
        json!({"replicas": 1}),
        &["a Running ready@00:01 node", "b Running ready@00:05 node"],
        &[],
        "+0 -b adopt: release:",
    );
}

#[test]
fn matching_orphans_are_adopted_and_pods_that_no_longer_match_released() {
    check(json!({"replicas": 1}), &[], &["a Running", "b Running app=db"], "+1 - adopt:a release:");
    check(json!({"replicas": 1}), &["a Running app=old"], &[], "+1 - adopt: release:a");
}

#[test]
fn status_counts_ready_and_available_pods() {
    let pods = ["a Running ready@00:01", "b Running ready@00:09", "c Pending", "d Failed"];
    let plan = plan(json!({"replicas": 3, "minReadySeconds": 120}), &pods, &[]);
    let status = plan.status;
    assert_eq!(
        (status.replicas, status.ready_replicas, status.available_replicas, status.fully_labeled_replicas),
        (3, Some(2), Some(1), Some(3))
    );
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(plan.look_again, Some(Duration::from_secs(60)));
}

#[test]
fn replica_set_being_deleted_creates_and_deletes_nothing() {
    let mut set = (*replica_set(json!({"replicas": 2}))).clone();
    set.metadata.deletion_timestamp = Some(serde_json::from_value(json!(NOW)).unwrap());
    let plan = decide(&Observed {
        replica_set: Arc::new(set),
        owned: Vec::new(),
        orphans: vec![pod("a Running")],
        now: NOW.parse().unwrap(),
    });
    assert_eq!((plan.create, plan.adopt.len()), (0, 0));
}
