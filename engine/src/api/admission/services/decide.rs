//! Which cluster IP and node ports a Service gets, and why not. Pure.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use super::{Taken, pool};
use crate::schema::FieldError;

/// Headless: names without an address.
const NONE: &str = "None";

/// Completes `service`; `old` is what an update replaces, `taken` what other Services use, `seed` chooses.
pub fn decide(
    service: &mut Value,
    old: Option<&Value>,
    taken: &Taken,
    seed: &mut dyn FnMut() -> u32,
) -> Vec<FieldError> {
    let old = old.and_then(|old| old["spec"].as_object());
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return Vec::new() };
    if let Some(old) = old {
        keep(spec, old);
    }
    let mut errors = Vec::new();
    if needs_address(spec) {
        address(spec, old, taken, seed, &mut errors);
    }
    if needs_node_ports(spec) {
        node_ports(spec, taken, seed, &mut errors);
    }
    errors
}

fn text<'a>(spec: &'a Map<String, Value>, field: &str) -> &'a str {
    spec.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn needs_address(spec: &Map<String, Value>) -> bool {
    text(spec, "type") != "ExternalName"
}

fn needs_node_ports(spec: &Map<String, Value>) -> bool {
    match text(spec, "type") {
        "NodePort" => true,
        "LoadBalancer" => spec.get("allocateLoadBalancerNodePorts") != Some(&Value::Bool(false)),
        _ => false,
    }
}

/// What an update left out stays; what its new type has no use for goes, if it was not written by hand.
fn keep(spec: &mut Map<String, Value>, old: &Map<String, Value>) {
    match (needs_address(old), needs_address(spec)) {
        (true, true) if text(spec, "clusterIP").is_empty() => {
            spec.insert("clusterIP".into(), json!(text(old, "clusterIP")));
        }
        (true, false) if text(spec, "clusterIP") == text(old, "clusterIP") => {
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                spec.remove(field);
            }
        }
        _ => {}
    }
    let before = old.get("ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (needed, needs) = (needs_node_ports(old), needs_node_ports(spec));
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else { return };
    if needed && needs {
        for port in ports.iter_mut().filter(|port| node_port(port) == 0) {
            let same =
                |other: &&Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
            if let Some(number) = before.iter().find(same).map(node_port).filter(|number| *number != 0) {
                set_node_port(port, number);
            }
        }
    } else if needed && ports.iter().map(node_port).eq(before.iter().map(node_port)) {
        ports.iter_mut().filter_map(Value::as_object_mut).for_each(|port| drop(port.remove("nodePort")));
    }
}

fn node_port(port: &Value) -> u64 {
    port["nodePort"].as_u64().unwrap_or(0)
}

fn set_node_port(port: &mut Value, number: u64) {
    if let Some(port) = port.as_object_mut() {
        port.insert("nodePort".into(), json!(number));
    }
}

fn address(
    spec: &mut Map<String, Value>,
    old: Option<&Map<String, Value>>,
    taken: &Taken,
    seed: &mut dyn FnMut() -> u32,
    errors: &mut Vec<FieldError>,
) {
    let first = spec.get("clusterIPs").and_then(|all| all[0].as_str()).unwrap_or_default().to_owned();
    let written = Some(text(spec, "clusterIP").to_owned()).filter(|written| !written.is_empty());
    let wanted = written.unwrap_or(first);
    let before = old.filter(|old| needs_address(old)).map(|old| text(old, "clusterIP")).unwrap_or_default();
    let all = json!([wanted]);
    let refuse = |why: String| FieldError::invalid("spec.clusterIPs", &all, why);
    let chosen = if !before.is_empty() && wanted != before {
        errors.push(FieldError::invalid("spec.clusterIPs[0]", &all, "may not change once set"));
        return;
    } else if wanted == NONE || (!before.is_empty() && wanted == before) {
        wanted
    } else if wanted.is_empty() {
        match pool::free_address(|address| taken.addresses.contains(&address), seed()) {
            Some(address) => address.to_string(),
            None => {
                let why = "failed to allocate a serviceIP: range is full";
                errors.push(FieldError::invalid("spec.clusterIPs", &Value::Null, why));
                return;
            }
        }
    } else {
        let address: Option<Ipv4Addr> = wanted.parse().ok();
        let failed = |why: &str| refuse(format!("failed to allocate IP {wanted}: {why}"));
        match address {
            None => {
                let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                errors.push(FieldError::invalid("spec.clusterIPs[0]", &json!(wanted), why));
                return;
            }
            Some(address) if !pool::has_address(address) => {
                let range = pool::NETWORK;
                errors.push(failed(&format!(
                    "the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {range}"
                )));
                return;
            }
            Some(address) if taken.addresses.contains(&address) => {
                errors.push(failed("provided IP is already allocated"));
                return;
            }
            Some(_) => wanted,
        }
    };
    spec.insert("clusterIPs".into(), json!([chosen]));
    spec.insert("clusterIP".into(), json!(chosen));
    spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
    spec.entry("ipFamilyPolicy").or_insert_with(|| json!("SingleStack"));
}

fn node_ports(
    spec: &mut Map<String, Value>,
    taken: &Taken,
    seed: &mut dyn FnMut() -> u32,
    errors: &mut Vec<FieldError>,
) {
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else { return };
    // Two ports of one Service may share a number (TCP and UDP); chosen ones never do.
    let mut own: Vec<u64> = ports.iter().map(node_port).filter(|port| *port != 0).collect();
    for (index, port) in ports.iter_mut().enumerate() {
        let path = format!("spec.ports[{index}].nodePort");
        let wanted = node_port(port);
        let is_taken = |port: u16| taken.ports.contains(&port);
        if wanted == 0 {
            match pool::free_port(|port| is_taken(port) || own.contains(&u64::from(port)), seed()) {
                Some(chosen) => {
                    own.push(u64::from(chosen));
                    set_node_port(port, u64::from(chosen));
                }
                None => {
                    let why = "failed to allocate a nodePort: range is full";
                    errors.push(FieldError::invalid(path, &json!(0), why));
                }
            }
        } else if !pool::has_port(wanted) {
            let range = pool::PORT_RANGE;
            let why = format!("provided port is not in the valid range. The range of valid ports is {range}");
            errors.push(FieldError::invalid(path, &json!(wanted), why));
        } else if u16::try_from(wanted).is_ok_and(is_taken) {
            let why = "provided port is already allocated";
            errors.push(FieldError::invalid(path, &json!(wanted), why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken() -> Taken {
        Taken { addresses: [Ipv4Addr::new(10, 96, 0, 1)].into(), ports: [30001].into() }
    }

    /// `clusterIP node ports`, or the faults.
    #[track_caller]
    fn check(spec: Value, old: Option<Value>, expected: &str) {
        let mut service = json!({"spec": spec});
        let old = old.map(|spec| json!({"spec": spec}));
        let errors = decide(&mut service, old.as_ref(), &taken(), &mut || 0);
        let spec = &service["spec"];
        let outcome = if errors.is_empty() {
            let ports = spec["ports"].as_array().into_iter().flatten();
            let ports: Vec<String> = ports.map(|port| port["nodePort"].to_string()).collect();
            format!("{} {}", spec["clusterIP"].as_str().unwrap_or("-"), ports.join(" "))
        } else {
            let texts = errors.iter().map(|error| format!("{}: {}", error.path, error.message));
            texts.collect::<Vec<_>>().join("; ")
        };
        assert_eq!(outcome.trim(), expected);
    }

    #[test]
    fn services_get_what_their_type_needs() {
        check(json!({"type": "ClusterIP"}), None, "10.96.1.1");
        check(json!({"type": "ClusterIP", "clusterIP": "10.96.0.10"}), None, "10.96.0.10");
        check(json!({"type": "ClusterIP", "clusterIPs": ["10.96.0.10"]}), None, "10.96.0.10");
        check(json!({"type": "ClusterIP", "clusterIP": "None"}), None, "None");
        check(json!({"type": "ExternalName", "externalName": "example.com"}), None, "-");
        let ports = json!([{"port": 80}, {"port": 81}, {"port": 82, "nodePort": 30000}]);
        check(json!({"type": "NodePort", "ports": ports}), None, "10.96.1.1 30086 30087 30000");
        let shared = json!([{"port": 53, "protocol": "TCP", "nodePort": 30053}, {"port": 53, "protocol": "UDP", "nodePort": 30053}]);
        check(json!({"type": "NodePort", "ports": shared}), None, "10.96.1.1 30053 30053");
    }

    #[test]
    fn values_that_cannot_be_given_are_refused_with_the_reason() {
        check(
            json!({"type": "ClusterIP", "clusterIP": "10.96.0.1"}),
            None,
            r#"spec.clusterIPs: Invalid value: ["10.96.0.1"]: failed to allocate IP 10.96.0.1: provided IP is already allocated"#,
        );
        check(
            json!({"type": "ClusterIP", "clusterIP": "10.0.0.1"}),
            None,
            r#"spec.clusterIPs: Invalid value: ["10.0.0.1"]: failed to allocate IP 10.0.0.1: the provided IP (10.0.0.1) is not in the valid range. The range of valid IPs is 10.96.0.0/16"#,
        );
        check(
            json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": 80}, {"port": 2, "nodePort": 30001}]}),
            None,
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767; \
            spec.ports[1].nodePort: Invalid value: 30001: provided port is already allocated",
        );
    }

    #[test]
    fn an_update_keeps_what_it_leaves_out() {
        let old =
            json!({"type": "NodePort", "clusterIP": "10.96.0.7", "ports": [{"port": 80, "nodePort": 30007}]});
        check(
            json!({"type": "NodePort", "ports": [{"port": 80}, {"port": 81}]}),
            Some(old.clone()),
            "10.96.0.7 30007 30086",
        );
        check(
            json!({"type": "ClusterIP", "clusterIP": "10.96.0.7", "ports": [{"port": 80, "nodePort": 30007}]}),
            Some(old.clone()),
            "10.96.0.7 null",
        );
        check(
            json!({"type": "ExternalName", "clusterIP": "10.96.0.7", "externalName": "x"}),
            Some(old.clone()),
            "-",
        );
        check(
            json!({"type": "ClusterIP", "clusterIP": "10.96.0.8"}),
            Some(old),
            r#"spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: may not change once set"#,
        );
        check(json!({"type": "ClusterIP"}), Some(json!({"type": "ExternalName"})), "10.96.1.1");
    }
}
