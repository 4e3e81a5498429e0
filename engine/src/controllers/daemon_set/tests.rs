//! Decisions about DaemonSets as data: nodes and pods in, next writes out.

use serde_json::{Value, json};

use super::*;

const NOW: &str = "2030-01-01T00:10:00Z";

fn set(spec: Value) -> Arc<DaemonSet> {
    let template = json!({
        "metadata": {"labels": {"app": "log"}},
        "spec": {"containers": [{"name": "c", "image": "v2"}], "nodeSelector": {"os": "linux"}},
    });
    let mut object = json!({
        "metadata": {"name": "log", "namespace": "ns", "uid": "u", "generation": 2},
        "spec": {"selector": {"matchLabels": {"app": "log"}}, "template": template},
    });
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    Arc::new(serde_json::from_value(object).unwrap())
}

/// A node from one line: `name [os] [taint]`.
fn node(line: &str) -> Arc<Node> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let taints: Vec<Value> =
        words.get(2).map(|key| json!({"key": key, "effect": "NoSchedule"})).into_iter().collect();
    let labels = json!({"os": words.get(1).unwrap_or(&"linux")});
    let object = json!({"metadata": {"name": words[0], "labels": labels}, "spec": {"taints": taints}});
    Arc::new(serde_json::from_value(object).unwrap())
}

/// A pod from one line: `name node state [old]`, state being `ready`, `starting`, `failed` or `deleting`.
fn pod(set: &DaemonSet, line: &str) -> Arc<Pod> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let current = history::current(set, &set.spec.as_ref().unwrap().template, &BTreeMap::new(), &[]);
    let hash = if words.get(3) == Some(&"old") { "old".to_owned() } else { hash_of(&current) };
    let mut pod = json!({
        "metadata": {"name": words[0], "labels": {REVISION_LABEL: hash}},
        "spec": {"containers": [], "nodeName": words[1]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2030-01-01T00:09:00Z"}]},
    });
    match words[2] {
        "starting" => pod["status"] = json!({"phase": "Pending"}),
        "failed" => pod["status"] = json!({"phase": "Failed"}),
        "deleting" => pod["metadata"]["deletionTimestamp"] = json!(NOW),
        _ => {}
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn plan(spec: Value, nodes: &[&str], pods: &[&str]) -> Plan {
    let set = set(spec);
    decide(&Observed {
        pods: pods.iter().map(|line| pod(&set, line)).collect(),
        nodes: nodes.iter().map(|line| node(line)).collect(),
        revisions: Vec::new(),
        now: NOW.parse().unwrap(),
        set,
    })
}

/// `expected` reads `+nodes -pods`.
fn check(spec: Value, nodes: &[&str], pods: &[&str], expected: &str) {
    let plan = plan(spec, nodes, pods);
    let nodes: Vec<String> = plan.create.iter().filter_map(node_of).collect();
    let pods: Vec<String> = plan.delete.iter().map(|pod| pod.name_any()).collect();
    assert_eq!(format!("+{} -{}", nodes.join(","), pods.join(",")), expected);
}

#[test]
fn every_node_that_takes_it_has_one_pod() {
    check(json!({}), &["a", "b", "w windows", "t linux mine"], &["x a ready"], "+b -");
    check(json!({}), &["a linux node.kubernetes.io/disk-pressure"], &[], "+a -");
    check(json!({}), &["a"], &["x a ready", "y a ready"], "+ -y");
    check(json!({}), &["a"], &["x a failed"], "+ -x");
    check(json!({}), &["a"], &["x a deleting"], "+ -");
}

#[test]
fn pods_where_none_should_be_go() {
    check(json!({}), &["w windows"], &["x w ready", "y gone ready"], "+ -x,y");
}

#[test]
fn a_new_template_replaces_as_many_pods_as_may_be_missing() {
    let nodes = ["a", "b", "c"];
    let old = ["x a ready old", "y b ready old", "z c ready old"];
    check(json!({}), &nodes, &old, "+ -x");
    check(json!({}), &nodes, &["x a starting", "y b ready old", "z c ready old"], "+ -");
    check(json!({}), &nodes, &["x a starting old", "y b ready old", "z c ready old"], "+ -x");
    let two =
        json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}}});
    check(two, &nodes, &old, "+ -x,y");
    check(json!({"updateStrategy": {"type": "OnDelete"}}), &nodes, &old, "+ -");
}

#[test]
fn the_status_counts_nodes_and_pods() {
    let pods = ["x a ready", "y b starting old", "z w ready"];
    let status = plan(json!({}), &["a", "b", "c", "w windows"], &pods).status;
    assert_eq!((status.desired_number_scheduled, status.current_number_scheduled), (3, 2));
    assert_eq!((status.number_misscheduled, status.number_ready), (1, 1));
    assert_eq!((status.number_available, status.number_unavailable), (Some(1), Some(2)));
    assert_eq!((status.updated_number_scheduled, status.observed_generation), (Some(1), Some(2)));
}
