//! A container's environment: services, ConfigMaps, Secrets, the pod's own fields, and what the image says.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod, Service};
use kube::ResourceExt;

use super::command::expand;
use super::field::{Placement, field, resource};
use crate::node::references::Found;

/// Where programs are looked for when the image does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables of a container, from its specification alone.
pub(crate) type Variables = BTreeMap<String, String>;

/// Resolves the variables of a container. The error is the message of `CreateContainerConfigError`.
pub(crate) fn variables(
    pod: &Pod,
    container: &Container,
    found: &Found,
    services: Variables,
    placement: &Placement,
) -> Result<Variables, String> {
    let mut own = Variables::new();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            let map = optional(found.config_map(&reference.name), reference.optional)?;
            for (key, value) in map.iter().flat_map(|map| map.data.iter().flatten()) {
                own.insert(format!("{prefix}{key}"), value.clone());
            }
        }
        if let Some(reference) = &source.secret_ref {
            let secret = optional(found.secret(&reference.name), reference.optional)?;
            for (key, value) in secret.iter().flat_map(|secret| secret.data.iter().flatten()) {
                own.insert(format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value_from, &variable.value) {
            (Some(source), _) => from_source(pod, container, source, found, placement)?,
            (None, value) => {
                let known = |name: &str| own.get(name).or_else(|| services.get(name)).cloned();
                Some(expand(value.as_deref().unwrap_or_default(), &known))
            }
        };
        if let Some(value) = value {
            own.insert(variable.name.clone(), value);
        }
    }
    let mut all = services;
    all.extend(own);
    Ok(all)
}

fn from_source(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    found: &Found,
    placement: &Placement,
) -> Result<Option<String>, String> {
    let namespace = pod.namespace().unwrap_or_default();
    let absent = |key: &str, kind: &str, name: &str, may_be: Option<bool>| match may_be {
        Some(true) => Ok(None),
        _ => Err(format!("couldn't find key {key} in {kind} {namespace}/{name}")),
    };
    if let Some(selector) = &source.field_ref {
        return field(selector, pod, placement).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        return resource(selector, pod, Some(container), placement).map(Some);
    }
    if let Some(selector) = &source.config_map_key_ref {
        let Some(map) = optional(found.config_map(&selector.name), selector.optional)? else {
            return Ok(None);
        };
        return match map.data.as_ref().and_then(|data| data.get(&selector.key)) {
            Some(value) => Ok(Some(value.clone())),
            None => absent(&selector.key, "ConfigMap", &selector.name, selector.optional),
        };
    }
    if let Some(selector) = &source.secret_key_ref {
        let Some(secret) = optional(found.secret(&selector.name), selector.optional)? else {
            return Ok(None);
        };
        return match secret.data.as_ref().and_then(|data| data.get(&selector.key)) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None => absent(&selector.key, "Secret", &selector.name, selector.optional),
        };
    }
    Ok(None)
}

fn optional<T>(found: Result<T, String>, may_be_absent: Option<bool>) -> Result<Option<T>, String> {
    match found {
        Err(_) if may_be_absent == Some(true) => Ok(None),
        other => other.map(Some),
    }
}

/// The variables by which programs find the services of their namespace and the API server.
pub(crate) fn of_services(
    services: &[Arc<Service>],
    namespace: &str,
    links: bool,
    api_server: SocketAddrV4,
) -> Variables {
    let mut variables = Variables::new();
    let (ip, port) = (api_server.ip().to_string(), i32::from(api_server.port()));
    of_service("kubernetes", &ip, &[(Some("https"), "TCP", port)], &mut variables);
    for service in
        services.iter().filter(|service| links && service.namespace().as_deref() == Some(namespace))
    {
        let Some(spec) = &service.spec else { continue };
        let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !matches!(*ip, "" | "None")) else { continue };
        let ports: Vec<_> = spec.ports.iter().flatten().collect();
        let ports: Vec<_> = ports
            .iter()
            .map(|port| (port.name.as_deref(), port.protocol.as_deref().unwrap_or("TCP"), port.port))
            .collect();
        of_service(&service.name_any(), ip, &ports, &mut variables);
    }
    variables
}

fn of_service(name: &str, ip: &str, ports: &[(Option<&str>, &str, i32)], variables: &mut Variables) {
    let upper = |text: &str| text.to_uppercase().replace('-', "_");
    let name = upper(name);
    let Some((_, protocol, port)) = ports.first() else { return };
    let mut set = |suffix: String, value: String| variables.insert(format!("{name}_{suffix}"), value);
    set("SERVICE_HOST".to_owned(), ip.to_owned());
    set("SERVICE_PORT".to_owned(), port.to_string());
    set("PORT".to_owned(), format!("{}://{ip}:{port}", protocol.to_lowercase()));
    for (port_name, protocol, port) in ports {
        if let Some(port_name) = port_name.filter(|port_name| !port_name.is_empty()) {
            set(format!("SERVICE_PORT_{}", upper(port_name)), port.to_string());
        }
        let link = format!("PORT_{port}_{protocol}");
        set(link.clone(), format!("{}://{ip}:{port}", protocol.to_lowercase()));
        set(format!("{link}_PROTO"), protocol.to_lowercase());
        set(format!("{link}_PORT"), port.to_string());
        set(format!("{link}_ADDR"), ip.to_owned());
    }
}

/// `NAME=value` of everything: the image's variables, the pod's host name, and the container's own, which win.
pub(crate) fn merged(image: &[String], host_name: &str, own: &Variables) -> Vec<String> {
    let mut all = BTreeMap::from([("PATH", PATH), ("HOSTNAME", host_name)]);
    all.extend(image.iter().filter_map(|entry| entry.split_once('=')));
    all.extend(own.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn resolve(container: Value) -> Result<Variables, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns"},
            "spec": {"containers": [container]},
        }))
        .unwrap();
        let found =
            Found::default().with_config_map("map", json!({"a": "1"})).with_secret("secret", "b", b"2");
        let services = Variables::from([("DB_SERVICE_HOST".to_owned(), "10.96.0.7".to_owned())]);
        let container = pod.spec.as_ref().unwrap().containers[0].clone();
        let placement = Placement { pod_ip: "10.244.0.2".to_owned(), ..Placement::default() };
        variables(&pod, &container, &found, services, &placement)
    }

    #[test]
    fn variables_come_from_everywhere_and_refer_to_earlier_ones() {
        let resolved = resolve(json!({
            "name": "c",
            "envFrom": [{"configMapRef": {"name": "map"}, "prefix": "MAP_"}, {"secretRef": {"name": "secret"}}],
            "env": [
                {"name": "b", "value": "own"},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "a"}}},
                {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "no", "key": "x", "optional": true}}},
                {"name": "ALL", "value": "$(MAP_a) $(b) $(IP) $(DB_SERVICE_HOST) $(LATER)"},
                {"name": "LATER", "value": "x"},
            ],
        }))
        .unwrap();
        let expected = [
            ("ALL", "1 own 10.244.0.2 10.96.0.7 $(LATER)"),
            ("DB_SERVICE_HOST", "10.96.0.7"),
            ("IP", "10.244.0.2"),
            ("KEY", "1"),
            ("LATER", "x"),
            ("MAP_a", "1"),
            ("b", "own"),
        ];
        assert_eq!(resolved, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn what_is_missing_is_named() {
        for (source, expected) in [
            (json!({"envFrom": [{"configMapRef": {"name": "no"}}]}), "configmap \"no\" not found"),
            (json!({"envFrom": [{"secretRef": {"name": "no"}}]}), "secret \"no\" not found"),
            (
                json!({"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "x"}}}]}),
                "couldn't find key x in ConfigMap ns/map",
            ),
            (
                json!({"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "x"}}}]}),
                "couldn't find key x in Secret ns/secret",
            ),
        ] {
            let mut container = source.clone();
            container["name"] = json!("c");
            assert_eq!(resolve(container).unwrap_err(), expected, "{source}");
        }
    }

    #[test]
    fn services_of_the_namespace_are_announced_and_the_api_server_always() {
        let service = |namespace: &str, name: &str, ip: &str| {
            Arc::new(
                serde_json::from_value(json!({
                    "metadata": {"namespace": namespace, "name": name},
                    "spec": {"clusterIP": ip, "ports": [{"name": "main-http", "port": 80}, {"port": 53, "protocol": "UDP"}]},
                }))
                .unwrap(),
            )
        };
        let services = [
            service("ns", "my-db", "10.96.0.7"),
            service("ns", "quiet", "None"),
            service("other", "x", "10.96.0.8"),
        ];
        let api_server = "10.96.0.1:443".parse().unwrap();
        let unlinked = of_services(&services, "ns", false, api_server);
        let linked = of_services(&services, "ns", true, api_server);
        assert_eq!(unlinked["KUBERNETES_SERVICE_HOST"], "10.96.0.1");
        assert_eq!(unlinked["KUBERNETES_SERVICE_PORT_HTTPS"], "443");
        assert!(unlinked.keys().all(|name| name.starts_with("KUBERNETES_")));
        let own: Vec<String> = linked
            .iter()
            .filter(|(name, _)| !name.starts_with("KUBERNETES_"))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            own,
            [
                "MY_DB_PORT=tcp://10.96.0.7:80",
                "MY_DB_PORT_53_UDP=udp://10.96.0.7:53",
                "MY_DB_PORT_53_UDP_ADDR=10.96.0.7",
                "MY_DB_PORT_53_UDP_PORT=53",
                "MY_DB_PORT_53_UDP_PROTO=udp",
                "MY_DB_PORT_80_TCP=tcp://10.96.0.7:80",
                "MY_DB_PORT_80_TCP_ADDR=10.96.0.7",
                "MY_DB_PORT_80_TCP_PORT=80",
                "MY_DB_PORT_80_TCP_PROTO=tcp",
                "MY_DB_SERVICE_HOST=10.96.0.7",
                "MY_DB_SERVICE_PORT=80",
                "MY_DB_SERVICE_PORT_MAIN_HTTP=80",
            ]
        );
    }

    #[test]
    fn the_container_wins_over_the_image() {
        let own = Variables::from([("A".to_owned(), "own".to_owned())]);
        let image = ["A=image".to_owned(), "PATH=/opt".to_owned()];
        assert_eq!(merged(&image, "pod", &own), ["A=own", "HOSTNAME=pod", "PATH=/opt"]);
    }
}
