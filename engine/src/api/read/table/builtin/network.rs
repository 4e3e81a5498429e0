//! Services and what is behind them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Kind;
use crate::api::read::table::text::{NONE, age, items, number, or_none, pairs, text};

pub const KINDS: &[Kind] = &[
    Kind {
        group: "",
        plural: "services",
        columns: "Name,Type,Cluster-IP,External-IP,Port(s),Age,Selector+",
        cells: service,
    },
    Kind { group: "", plural: "endpoints", columns: "Name,Endpoints,Age", cells: endpoints },
    Kind {
        group: "discovery.k8s.io",
        plural: "endpointslices",
        columns: "Name,AddressType,Ports,Endpoints,Age",
        cells: endpoint_slice,
    },
    Kind {
        group: "networking.k8s.io",
        plural: "ingresses",
        columns: "Name,Class,Hosts,Address,Ports,Age",
        cells: ingress,
    },
];

/// How many addresses a cell shows before it only counts.
const SHOWN: usize = 3;

fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut ports: Vec<String> = Vec::new();
    for port in items(object, "/spec/ports") {
        let (number, node_port) = (number(port, "/port"), number(port, "/nodePort"));
        let node_port = if node_port > 0 { format!(":{node_port}") } else { String::new() };
        ports.push(format!("{number}{node_port}/{}", text(port, "/protocol")));
    }
    let kind = text(object, "/spec/type");
    let given = items(object, "/spec/externalIPs").filter_map(Value::as_str);
    let balanced = items(object, "/status/loadBalancer/ingress")
        .map(|ingress| [text(ingress, "/ip"), text(ingress, "/hostname")].concat());
    let mut external: Vec<String> = given.map(String::from).collect();
    match kind {
        "LoadBalancer" => external.extend(balanced),
        "ExternalName" => external = vec![text(object, "/spec/externalName").to_owned()],
        _ => {}
    }
    let external = match (kind, external.is_empty()) {
        ("LoadBalancer", true) => json!("<pending>"),
        _ => or_none(external.join(",")),
    };
    vec![
        json!(kind),
        or_none(text(object, "/spec/clusterIP")),
        external,
        or_none(ports.join(",")),
        age(object, now),
        or_none(pairs(object.pointer("/spec/selector"))),
    ]
}

fn endpoints(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in items(object, "/subsets") {
        for address in items(subset, "/addresses").map(|address| text(address, "/ip")) {
            let mut ports = items(subset, "/ports").map(|port| number(port, "/port")).peekable();
            if ports.peek().is_none() {
                all.push(address.to_owned());
            }
            all.extend(ports.map(|port| format!("{address}:{port}")));
        }
    }
    vec![shortened(&all), age(object, now)]
}

fn endpoint_slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = items(object, "/ports").map(|port| number(port, "/port").to_string()).collect();
    let addresses = items(object, "/endpoints").flat_map(|endpoint| items(endpoint, "/addresses"));
    let addresses: Vec<String> = addresses.filter_map(Value::as_str).map(String::from).collect();
    let unset = |cell: Value| if cell == NONE { json!("<unset>") } else { cell };
    vec![
        json!(text(object, "/addressType")),
        unset(shortened(&ports)),
        unset(shortened(&addresses)),
        age(object, now),
    ]
}

fn ingress(object: &Value, now: Timestamp) -> Vec<Value> {
    let hosts: Vec<&str> = items(object, "/spec/rules")
        .map(|rule| text(rule, "/host"))
        .filter(|host| !host.is_empty())
        .collect();
    let addresses = items(object, "/status/loadBalancer/ingress");
    let addresses: Vec<String> =
        addresses.map(|ingress| [text(ingress, "/ip"), text(ingress, "/hostname")].concat()).collect();
    let ports = if items(object, "/spec/tls").next().is_some() { "80, 443" } else { "80" };
    vec![
        or_none(text(object, "/spec/ingressClassName")),
        json!(if hosts.is_empty() { "*".to_owned() } else { hosts.join(",") }),
        json!(addresses.join(",")),
        json!(ports),
        age(object, now),
    ]
}

/// The first few, and how many more there are.
fn shortened(all: &[String]) -> Value {
    match all.get(SHOWN..) {
        Some(more) if !more.is_empty() => {
            json!(format!(
                "{} + {} more...",
                all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(","),
                more.len()
            ))
        }
        _ => or_none(all.join(",")),
    }
}
