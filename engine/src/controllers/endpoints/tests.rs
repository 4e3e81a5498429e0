//! Endpoints as data: a Service and pods in, addresses out.

use serde_json::{Value, json};

use super::*;

fn service(spec: Value) -> Service {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "s"},
        "spec": {"clusterIP": "10.96.0.9", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

/// A pod from one line: `name address|- [ready] [deleting] [finished] [http=port]`.
fn pod(line: &str) -> Arc<Pod> {
    let mut words = line.split_whitespace();
    let (name, address) = (words.next().unwrap(), words.next().unwrap());
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": "web"}},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": []}]},
        "status": {"phase": "Running"},
    });
    if address != "-" {
        pod["status"]["podIP"] = json!(address);
    }
    for word in words {
        match word.split_once('=') {
            Some((name, port)) => {
                let port = json!([{"name": name, "containerPort": port.parse::<i32>().unwrap()}]);
                pod["spec"]["containers"][0]["ports"] = port;
            }
            None if word == "ready" => {
                pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}])
            }
            None if word == "deleting" => {
                pod["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z")
            }
            None if word == "finished" => pod["status"]["phase"] = json!("Succeeded"),
            None => panic!("{word}"),
        }
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

/// Each slice as `ports: address state …`, then Endpoints as `| ready / not ready`.
fn check(spec: Value, pods: &[&str], expected: &str) {
    let pods: Vec<Arc<Pod>> = pods.iter().map(|line| pod(line)).collect();
    let plan = decide(&service(spec), &pods).expect("a plan");
    let mut text = String::new();
    for slice in &plan.slices {
        let ports = slice.ports.iter().flatten().filter_map(|port| port.port);
        text += &ports.map(|port| format!("{port}")).collect::<Vec<_>>().join(",");
        text += ":";
        for endpoint in &slice.endpoints {
            let conditions = endpoint.conditions.as_ref().unwrap();
            let flag = |value: Option<bool>, letter: char| value.unwrap().then_some(letter);
            let flags = [
                flag(conditions.ready, 'r'),
                flag(conditions.serving, 's'),
                flag(conditions.terminating, 't'),
            ];
            text += &format!(" {} {}", endpoint.addresses[0], flags.iter().flatten().collect::<String>());
        }
        text += "; ";
    }
    for subset in plan.endpoints.subsets.iter().flatten() {
        let list = |addresses: &Option<Vec<EndpointAddress>>| {
            let texts: Vec<String> = addresses.iter().flatten().map(|one| one.ip.clone()).collect();
            if texts.is_empty() { "-".to_owned() } else { texts.join(",") }
        };
        text += &format!("| {} / {} ", list(&subset.addresses), list(&subset.not_ready_addresses));
    }
    assert_eq!(text.trim_end(), expected, "{pods:?}");
}

#[test]
fn endpoints_follow_readiness() {
    check(json!({}), &["a 10.0.0.1 ready"], "8080: 10.0.0.1 rs; | 10.0.0.1 / -");
    check(json!({}), &["a 10.0.0.1"], "8080: 10.0.0.1 ; | - / 10.0.0.1");
    check(json!({}), &["a 10.0.0.1 ready deleting"], "8080: 10.0.0.1 st;");
}

#[test]
fn pods_without_address_and_finished_pods_are_left_out() {
    check(json!({}), &["a -", "b 10.0.0.2 ready finished"], ":;");
}

#[test]
fn named_target_ports_are_looked_up_in_each_pod() {
    let named = json!({"ports": [{"port": 80, "targetPort": "http"}]});
    check(
        named,
        &["a 10.0.0.1 ready http=8080", "b 10.0.0.2 ready http=9090"],
        "8080: 10.0.0.1 rs; 9090: 10.0.0.2 rs; | 10.0.0.1 / - | 10.0.0.2 / -",
    );
}

#[test]
fn unready_addresses_are_published_on_request() {
    check(json!({"publishNotReadyAddresses": true}), &["a 10.0.0.1"], "8080: 10.0.0.1 r; | 10.0.0.1 / -");
}

#[test]
fn services_without_selector_and_external_names_are_left_alone() {
    assert_eq!(decide(&service(json!({"selector": null})), &[]), None);
    assert_eq!(decide(&service(json!({"type": "ExternalName"})), &[]), None);
}

#[test]
fn slice_says_whose_it_is() {
    let plan = decide(&service(json!({})), &[pod("a 10.0.0.1 ready")]).unwrap();
    let slice = &plan.slices[0];
    assert_eq!(slice.labels()[SERVICE_NAME], "web");
    assert_eq!(slice.owner_references()[0].kind, "Service");
    assert_eq!(slice.endpoints[0].target_ref.as_ref().unwrap().name.as_deref(), Some("a"));
    assert_eq!(slice.endpoints[0].node_name.as_deref(), Some("n"));
}
