use serde_json::json;

use super::*;
use crate::schema::Registry;

/// Prints one object of a kind: the cells of a row, separated by bars.
#[track_caller]
fn check(api_version: &str, kind: &str, object: Value, expected: &str) {
    let resource = Registry::builtin().by_kind(api_version, kind).unwrap();
    let printer = printer(&resource);
    let mut object = object;
    object["metadata"]["name"] = json!("x");
    object["metadata"]["creationTimestamp"] = json!("2024-01-01T00:00:00Z");
    let cells = (printer.cells)(&object, "2024-01-01T00:05:00Z".parse().unwrap());
    let cells: Vec<String> =
        cells.iter().map(|cell| cell.as_str().map_or(cell.to_string(), String::from)).collect();
    assert_eq!(cells.join("|"), expected, "{kind}");
}

#[test]
fn rows_have_as_many_cells_as_there_are_columns() {
    for resource in Registry::builtin().resources() {
        let printer = printer(resource);
        let cells = (printer.cells)(&json!({}), Timestamp::UNIX_EPOCH);
        assert_eq!(cells.len(), printer.columns.len(), "{}", resource.plural);
    }
}

#[test]
fn every_described_kind_is_served() {
    let registry = Registry::builtin();
    for kind in known() {
        assert!(registry.resource(kind.group, "v1", kind.plural).is_some(), "{}/{}", kind.group, kind.plural);
    }
}

fn pod(phase: &str, statuses: Value) -> Value {
    json!({"spec": {"containers": [{"name": "a"}]}, "status": {"phase": phase, "containerStatuses": statuses}})
}

#[test]
fn pods_say_what_holds_them_up() {
    let rest = "<none>|<none>|<none>|<none>";
    let running = json!([{"ready": true, "state": {"running": {}}, "restartCount": 0}]);
    check("v1", "Pod", pod("Running", running.clone()), &format!("x|1/1|Running|0|5m|{rest}"));
    let crashing = json!([{"ready": false, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"finishedAt": "2024-01-01T00:04:00Z"}}}]);
    check("v1", "Pod", pod("Running", crashing), &format!("x|0/1|CrashLoopBackOff|3 (60s ago)|5m|{rest}"));
    let done = json!([{"ready": false, "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}]);
    check("v1", "Pod", pod("Succeeded", done), &format!("x|0/1|Completed|0|5m|{rest}"));
    let mut terminating = pod("Running", running);
    terminating["metadata"]["deletionTimestamp"] = json!("2024-01-01T00:04:00Z");
    check("v1", "Pod", terminating, &format!("x|1/1|Terminating|0|5m|{rest}"));
    let mut initializing = pod("Pending", json!([{"state": {"waiting": {"reason": "PodInitializing"}}}]));
    initializing["spec"]["initContainers"] = json!([{"name": "i"}, {"name": "j"}]);
    initializing["status"]["initContainerStatuses"] =
        json!([{"state": {"terminated": {"exitCode": 0}}}, {"state": {"running": {}}}]);
    check("v1", "Pod", initializing.clone(), &format!("x|0/1|Init:1/2|0|5m|{rest}"));
    initializing["status"]["initContainerStatuses"] =
        json!([{"state": {"terminated": {"exitCode": 2, "reason": "Error"}}}]);
    check("v1", "Pod", initializing, &format!("x|0/1|Init:Error|0|5m|{rest}"));
}

#[test]
fn workloads_count_their_pods() {
    let template =
        json!({"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}});
    check(
        "apps/v1",
        "Deployment",
        json!({"spec": {"replicas": 3, "template": template, "selector": {"matchLabels": {"app": "x"}}},
            "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}}),
        "x|2/3|3|1|5m|a,b|i,j|app=x",
    );
    check(
        "batch/v1",
        "Job",
        json!({"spec": {"completions": 2, "parallelism": 1, "template": template},
            "status": {"succeeded": 2, "startTime": "2024-01-01T00:00:00Z", "completionTime": "2024-01-01T00:00:09Z",
                "conditions": [{"type": "Complete", "status": "True"}]}}),
        "x|Complete|2/2|9s|5m|a,b|i,j|<none>",
    );
}

#[test]
fn services_and_endpoints_show_addresses_and_ports() {
    check(
        "v1",
        "Service",
        json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "selector": {"app": "x"},
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}}),
        "x|NodePort|10.96.0.9|<none>|80:30080/TCP,53/UDP|5m|app=x",
    );
    let addresses: Vec<Value> = (1..=4).map(|last| json!({"ip": format!("10.0.0.{last}")})).collect();
    check(
        "v1",
        "Endpoints",
        json!({"subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]}),
        "x|10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 1 more...|5m",
    );
}

#[test]
fn events_of_both_versions_look_alike() {
    let expected = "60s|Normal|Pulled|pod/p||kubelet, n|pulled it|2m|3|x";
    check(
        "v1",
        "Event",
        json!({"type": "Normal", "reason": "Pulled", "message": "pulled it\n", "count": 3,
            "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "kubelet", "host": "n"},
            "firstTimestamp": "2024-01-01T00:03:00Z", "lastTimestamp": "2024-01-01T00:04:00Z"}),
        expected,
    );
    check(
        "events.k8s.io/v1",
        "Event",
        json!({"type": "Normal", "reason": "Pulled", "note": "pulled it", "deprecatedCount": 3,
            "regarding": {"kind": "Pod", "name": "p"}, "reportingController": "kubelet", "reportingInstance": "n",
            "deprecatedFirstTimestamp": "2024-01-01T00:03:00Z", "deprecatedLastTimestamp": "2024-01-01T00:04:00Z"}),
        expected,
    );
}

#[test]
fn the_rest_of_the_table_kinds_say_what_matters() {
    check(
        "v1",
        "Node",
        json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}, "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1"},
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}),
        "x|Ready,SchedulingDisabled|control-plane|5m|v1|10.0.0.1|<none>|<unknown>|<unknown>|<unknown>",
    );
    check("v1", "Secret", json!({"type": "Opaque", "data": {"a": "", "b": ""}}), "x|Opaque|2|5m");
    check(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        json!({"roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "namespace": "n", "name": "s"}, {"kind": "User", "name": "u"}]}),
        "x|Role/r|5m|u||n/s",
    );
    check(
        "v1",
        "PersistentVolumeClaim",
        json!({"spec": {"volumeName": "v", "storageClassName": "standard", "volumeMode": "Filesystem"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}}),
        "x|Bound|v|1Gi|RWO|standard|<unset>|5m|Filesystem",
    );
}
