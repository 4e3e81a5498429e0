//! Scheduling decisions as data.

use serde_json::{Value, json};

use super::*;

fn node(name: &str, change: Value) -> Arc<Node> {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", "cores": "4"}},
        "spec": {}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3"}},
    });
    for (key, value) in change.as_object().unwrap() {
        node[key] = value.clone();
    }
    Arc::new(serde_json::from_value(node).unwrap())
}

fn pod(spec: Value) -> Arc<Pod> {
    let mut pod = json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": []}});
    for (key, value) in spec.as_object().unwrap() {
        pod["spec"][key] = value.clone();
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn asking(cpu: &str) -> Value {
    json!([{"name": "c", "resources": {"requests": {"cpu": cpu}}}])
}

fn check_on(nodes: Vec<Arc<Node>>, spec: Value, residents: &[Value], expected: &str) {
    let decision = decide(&Observed {
        pod: pod(spec),
        nodes,
        pods: residents.iter().map(|spec| pod(spec.clone())).collect(),
        claims: claims(),
        volumes: volumes(),
        classes: classes(),
    });
    let text = match decision {
        Decision::Bind(node) => node,
        Decision::Provision { node, claims } => {
            let names: Vec<String> = claims.iter().map(|claim| claim.name_any()).collect();
            format!("{} for {node}", names.join(" "))
        }
        Decision::Unschedulable(message) => message,
    };
    assert_eq!(text, expected);
}

fn check(spec: Value, residents: &[Value], expected: &str) {
    check_on(vec![node("n", json!({}))], spec, residents, expected);
}

#[test]
fn pod_without_wishes_goes_to_the_node() {
    check(json!({}), &[], "n");
    check_on(Vec::new(), json!({}), &[], "no nodes available to schedule pods");
}

#[test]
fn node_selector_and_affinity_must_match() {
    let refused = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
    check(json!({"nodeSelector": {"kubernetes.io/os": "linux"}}), &[], "n");
    check(json!({"nodeSelector": {"kubernetes.io/os": "plan9"}}), &[], refused);
    let affinity = |expression: Value| {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}}})
    };
    check(affinity(json!({"key": "cores", "operator": "Gt", "values": ["2"]})), &[], "n");
    check(affinity(json!({"key": "cores", "operator": "Gt", "values": ["8"]})), &[], refused);
    check(affinity(json!({"key": "gpu", "operator": "DoesNotExist"})), &[], "n");
}

#[test]
fn taints_must_be_tolerated() {
    let tainted = || {
        let taints = json!([{"key": "role", "value": "db", "effect": "NoSchedule"}]);
        vec![node("n", json!({"spec": {"taints": taints}}))]
    };
    let refused = "0/1 nodes are available: 1 node(s) had untolerated taint {role: db}.";
    check_on(tainted(), json!({}), &[], refused);
    check_on(tainted(), json!({"tolerations": [{"key": "role", "operator": "Exists"}]}), &[], "n");
    check_on(tainted(), json!({"tolerations": [{"operator": "Exists"}]}), &[], "n");
    check_on(tainted(), json!({"tolerations": [{"key": "role", "value": "web"}]}), &[], refused);
    let cordoned = vec![node("n", json!({"spec": {"unschedulable": true}}))];
    check_on(cordoned, json!({}), &[], "0/1 nodes are available: 1 node(s) were unschedulable.");
}

#[test]
fn requests_must_fit_into_what_is_left() {
    check(json!({"containers": asking("2")}), &[], "n");
    check(json!({"containers": asking("2500m")}), &[], "0/1 nodes are available: 1 Insufficient cpu.");
    let resident = json!({"nodeName": "n", "containers": asking("1500m")});
    check(json!({"containers": asking("500m")}), std::slice::from_ref(&resident), "n");
    check(json!({"containers": asking("600m")}), &[resident], "0/1 nodes are available: 1 Insufficient cpu.");
    let many = vec![json!({"nodeName": "n"}); 3];
    check(json!({}), &many, "0/1 nodes are available: 1 Too many pods.");
    let unknown = json!([{"name": "c", "resources": {"requests": {"example.org/gpu": "1"}}}]);
    check(json!({"containers": unknown}), &[], "0/1 nodes are available: 1 Insufficient example.org/gpu.");
}

/// Claims called after their state.
fn claims() -> Vec<Arc<PersistentVolumeClaim>> {
    let claim = |name: &str, class: &str, phase: &str, volume: Value, node: Value| {
        let annotations = json!({SELECTED_NODE: node});
        let object = json!({
            "metadata": {"name": name, "annotations": if node.is_null() { json!({}) } else { annotations }},
            "spec": {"storageClassName": class, "volumeName": volume}, "status": {"phase": phase},
        });
        Arc::new(serde_json::from_value(object).unwrap())
    };
    vec![
        claim("immediate", "now", "Pending", Value::Null, Value::Null),
        claim("waiting", "later", "Pending", Value::Null, Value::Null),
        claim("promised", "later", "Pending", Value::Null, json!("n")),
        claim("elsewhere", "later", "Pending", Value::Null, json!("m")),
        claim("bound", "later", "Bound", json!("on-n"), Value::Null),
        claim("remote", "later", "Bound", json!("on-m"), Value::Null),
    ]
}

fn volumes() -> Vec<Arc<PersistentVolume>> {
    let volume = |name: &str, node: &str| {
        let terms = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]);
        let affinity = json!({"required": {"nodeSelectorTerms": terms}});
        let object = json!({"metadata": {"name": name}, "spec": {"nodeAffinity": affinity}});
        Arc::new(serde_json::from_value(object).unwrap())
    };
    vec![volume("on-n", "n"), volume("on-m", "m")]
}

fn classes() -> Vec<Arc<StorageClass>> {
    let class = |name: &str, mode: &str| {
        let object = json!({"metadata": {"name": name}, "provisioner": "p", "volumeBindingMode": mode});
        Arc::new(serde_json::from_value(object).unwrap())
    };
    vec![class("now", "Immediate"), class("later", "WaitForFirstConsumer")]
}

#[test]
fn claims_are_bound_or_get_their_volume_on_the_chosen_node() {
    let using = |names: &[&str]| {
        let volume = |name: &&str| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
        json!({"volumes": names.iter().map(volume).collect::<Vec<_>>()})
    };
    let none = |reason: &str| format!("0/1 nodes are available: {reason}.");
    check(using(&["data"]), &[], &none("persistentvolumeclaim \"data\" not found"));
    check(using(&["immediate"]), &[], &none("pod has unbound immediate PersistentVolumeClaims"));
    check(using(&["bound"]), &[], "n");
    check(using(&["waiting", "bound"]), &[], "waiting for n");
    check(using(&["promised"]), &[], " for n");
    let unreachable = none("1 node(s) didn't match PersistentVolume's node affinity");
    check(using(&["elsewhere"]), &[], &unreachable);
    check(using(&["remote"]), &[], &unreachable);
}

#[test]
fn gated_bound_and_foreign_pods_are_not_waiting() {
    assert!(is_waiting(&pod(json!({}))));
    assert!(!is_waiting(&pod(json!({"nodeName": "n"}))));
    assert!(!is_waiting(&pod(json!({"schedulerName": "other"}))));
    assert!(!is_waiting(&pod(json!({"schedulingGates": [{"name": "g"}]}))));
}
