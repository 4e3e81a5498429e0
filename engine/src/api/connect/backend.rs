//! Where a proxied request goes: the address behind `[scheme:]name[:port]`. Pure.

use std::net::IpAddr;

use serde_json::Value;

use crate::status::Status;

/// The name in the path of a proxy request.
#[derive(Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// Whether the backend speaks TLS.
    pub tls: bool,
    /// Of the pod or service.
    pub name: &'a str,
    /// Number or name of a port; empty when none is given.
    pub port: &'a str,
}

impl<'a> Name<'a> {
    /// Reads `name`, `name:port` or `scheme:name:port`.
    pub fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return None,
        };
        (["", "http", "https"].contains(&scheme) && !name.is_empty()).then_some(Self {
            tls: scheme == "https",
            name,
            port,
        })
    }
}

/// An address that answers HTTP.
#[derive(Debug, PartialEq, Eq)]
pub struct Backend {
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
}

/// The address of a pod; its first port unless one is named.
pub fn of_pod(pod: &Value, name: &Name<'_>) -> Result<Backend, Status> {
    let address = pod["status"]["podIP"].as_str().and_then(|address| address.parse().ok());
    let address = address.ok_or_else(|| Status::bad_request("address not allowed"))?;
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let mut declared = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let port = match name.port {
        "" => declared.next().map_or(Some(80), |port| number(&port["containerPort"])),
        port => match port.parse() {
            Ok(number) => Some(number),
            Err(_) => {
                declared.find(|each| each["name"] == port).and_then(|each| number(&each["containerPort"]))
            }
        },
    };
    let port =
        port.ok_or_else(|| Status::unavailable(format!("no port {:?} on pod {:?}", name.port, name.name)))?;
    Ok(Backend { tls: name.tls, address, port })
}

/// A ready endpoint of a Service; `turn` decides which.
pub fn of_service(service: &Value, slices: &[Value], name: &Name<'_>, turn: u32) -> Result<Backend, Status> {
    let declared = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let port_name = match (name.port.parse::<u16>(), declared) {
        (Ok(number), _) => {
            let found = declared.iter().find(|port| port["port"] == number);
            let found = found.ok_or_else(|| {
                Status::unavailable(format!("no service port {number} found for service {:?}", name.name))
            })?;
            found["name"].as_str().unwrap_or_default()
        }
        // With one port there is nothing to choose.
        (Err(_), [only]) if name.port.is_empty() => only["name"].as_str().unwrap_or_default(),
        (Err(_), _) => name.port,
    };
    let mut found: Vec<(IpAddr, u16)> = Vec::new();
    for slice in slices {
        let ports = slice["ports"].as_array().into_iter().flatten();
        let mut named = ports.filter(|port| port["name"].as_str().unwrap_or_default() == port_name);
        let Some(port) = named.next().and_then(|port| number(&port["port"])) else { continue };
        let endpoints = slice["endpoints"].as_array().into_iter().flatten();
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
        let addresses = ready.flat_map(|endpoint| endpoint["addresses"].as_array().into_iter().flatten());
        let addresses = addresses.filter_map(|address| address.as_str()?.parse().ok());
        found.extend(addresses.map(|address| (address, port)));
    }
    let chosen = found.get(usize::try_from(turn).unwrap_or(0) % found.len().max(1));
    let (address, port) = chosen
        .copied()
        .ok_or_else(|| Status::unavailable(format!("no endpoints available for service {:?}", name.name)))?;
    Ok(Backend { tls: name.tls, address, port })
}

fn number(port: &Value) -> Option<u16> {
    port.as_u64().and_then(|port| u16::try_from(port).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_have_a_scheme_and_a_port_or_not() {
        let check = |text, expected: Option<(bool, &str, &str)>| {
            let parsed = Name::parse(text);
            assert_eq!(parsed.map(|name| (name.tls, name.name, name.port)), expected, "{text}");
        };
        check("web", Some((false, "web", "")));
        check("web:80", Some((false, "web", "80")));
        check("https:web:metrics", Some((true, "web", "metrics")));
        check("http:web:", Some((false, "web", "")));
        check("ftp:web:1", None);
        check("a:b:c:d", None);
    }

    fn shown(outcome: Result<Backend, Status>) -> String {
        match outcome {
            Ok(Backend { tls, address, port }) => {
                format!("{}{address}:{port}", if tls { "tls " } else { "" })
            }
            Err(status) => format!("{} {status}", status.code()),
        }
    }

    #[track_caller]
    fn check_service(request: &str, ready: bool, expected: &str) {
        let service =
            json!({"spec": {"ports": [{"name": "http", "port": 80}, {"name": "metrics", "port": 9090}]}});
        let slices = [json!({
            "ports": [{"name": "http", "port": 8080}, {"name": "metrics", "port": 9091}],
            "endpoints": [
                {"addresses": ["10.1.0.1"], "conditions": {"ready": false}},
                {"addresses": ["10.1.0.2"], "conditions": {"ready": ready}},
            ],
        })];
        let name = Name::parse(request).unwrap();
        assert_eq!(shown(of_service(&service, &slices, &name, 3)), expected);
    }

    #[test]
    fn a_service_leads_to_its_ready_endpoints() {
        check_service("http:web:80", true, "10.1.0.2:8080");
        check_service("https:web:metrics", true, "tls 10.1.0.2:9091");
        check_service("web:81", true, r#"503 no service port 81 found for service "web""#);
        check_service("web:80", false, r#"503 no endpoints available for service "web""#);
        check_service("web", true, r#"503 no endpoints available for service "web""#);
    }

    #[track_caller]
    fn check_pod(request: &str, pod: Value, expected: &str) {
        assert_eq!(shown(of_pod(&pod, &Name::parse(request).unwrap())), expected);
    }

    #[test]
    fn a_pod_is_reached_at_its_first_or_named_port() {
        let pod = json!({"status": {"podIP": "10.1.0.1"}, "spec": {"containers": [
            {"ports": [{"containerPort": 8080}]}, {"ports": [{"name": "m", "containerPort": 9090}]}]}});
        check_pod("p", pod.clone(), "10.1.0.1:8080");
        check_pod("p:m", pod.clone(), "10.1.0.1:9090");
        check_pod("p:7", pod.clone(), "10.1.0.1:7");
        check_pod("p:x", pod, r#"503 no port "x" on pod "p""#);
        check_pod("p", json!({}), "400 address not allowed");
    }
}
