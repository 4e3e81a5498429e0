//! Where connections go: from Services and EndpointSlices to addresses, ports and backends. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt;

/// Label of an EndpointSlice that names its Service.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Transport of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// Something to listen on inside the node's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Front {
    pub transport: Transport,
    /// A cluster IP, or the unspecified address for a node port.
    pub address: SocketAddrV4,
}

/// Where a front's connections go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Backends {
    /// Never empty in a [`Table`]: without backends there is no front, and the kernel refuses the connection.
    pub addresses: Vec<SocketAddrV4>,
    /// The same client always reaches the same backend (`sessionAffinity: ClientIP`).
    pub sticky: bool,
}

/// The whole routing at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// Cluster IPs of all Services.
    pub addresses: BTreeSet<Ipv4Addr>,
    pub fronts: BTreeMap<Front, Backends>,
}

impl Table {
    /// TCP node ports that have backends.
    pub(super) fn node_ports(&self) -> BTreeSet<u16> {
        let fronts = self.fronts.keys().filter(|front| front.transport == Transport::Tcp);
        fronts.filter(|front| front.address.ip().is_unspecified()).map(|front| front.address.port()).collect()
    }
}

/// Computes the table. `apart` are cluster IPs somebody else listens on; they only get their address.
pub(super) fn table(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>], apart: &[Ipv4Addr]) -> Table {
    let slices = by_service(slices);
    let mut table = Table::default();
    for service in services {
        let Some(spec) = &service.spec else { continue };
        let Some(cluster_ip) = cluster_ip(service) else { continue };
        table.addresses.insert(cluster_ip);
        if apart.contains(&cluster_ip) {
            continue;
        }
        let own = slices.get(&(service.namespace().unwrap_or_default(), service.name_any()));
        for port in spec.ports.iter().flatten() {
            let transport = match port.protocol.as_deref() {
                None | Some("TCP") => Transport::Tcp,
                Some("UDP") => Transport::Udp,
                Some(_) => continue,
            };
            let addresses = backends(port, own.map_or(&[], Vec::as_slice));
            if addresses.is_empty() {
                continue;
            }
            let backends =
                Backends { addresses, sticky: spec.session_affinity.as_deref() == Some("ClientIP") };
            let number = |port: i32| u16::try_from(port).ok().filter(|port| *port != 0);
            let cluster_front = number(port.port).map(|port| SocketAddrV4::new(cluster_ip, port));
            let node_front =
                port.node_port.and_then(number).map(|port| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
            for address in cluster_front.into_iter().chain(node_front) {
                table.fronts.insert(Front { transport, address }, backends.clone());
            }
        }
    }
    table
}

/// The slices of each Service, by namespace and name.
pub(super) fn by_service(
    slices: &[Arc<EndpointSlice>],
) -> BTreeMap<(String, String), Vec<Arc<EndpointSlice>>> {
    let mut map: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        if let Some(name) = slice.labels().get(SERVICE_NAME) {
            map.entry((slice.namespace().unwrap_or_default(), name.clone())).or_default().push(slice.clone());
        }
    }
    map
}

/// The cluster IP of a Service, `None` for headless and external ones.
pub(super) fn cluster_ip(service: &Service) -> Option<Ipv4Addr> {
    service.spec.as_ref()?.cluster_ip.as_ref()?.parse().ok()
}

fn backends(port: &ServicePort, slices: &[Arc<EndpointSlice>]) -> Vec<SocketAddrV4> {
    let collect = |usable: fn(&Endpoint) -> bool| -> Vec<SocketAddrV4> {
        let mut found = BTreeSet::new();
        for slice in slices {
            let number = slice.ports.iter().flatten().find(|candidate| {
                candidate.name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default()
                    && candidate.protocol.as_deref().unwrap_or("TCP")
                        == port.protocol.as_deref().unwrap_or("TCP")
            });
            let Some(number) = number.and_then(|port| u16::try_from(port.port?).ok()) else { continue };
            let endpoints = slice.endpoints.iter().filter(|endpoint| usable(endpoint));
            found.extend(endpoints.flat_map(addresses).map(|address| SocketAddrV4::new(address, number)));
        }
        found.into_iter().collect()
    };
    let ready = collect(is_ready);
    // As upstream: with nobody ready, those still serving while they terminate are better than nobody.
    if ready.is_empty() { collect(is_serving) } else { ready }
}

/// The IPv4 addresses of an endpoint.
pub(super) fn addresses(endpoint: &Endpoint) -> impl Iterator<Item = Ipv4Addr> + '_ {
    endpoint.addresses.iter().filter_map(|address| address.parse().ok())
}

/// Ready; unknown counts as ready.
pub(super) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
}

fn is_serving(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.serving) == Some(true)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(name: &str, spec: Value) -> Arc<Service> {
        Arc::new(
            serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": name}, "spec": spec}))
                .unwrap(),
        )
    }

    fn slice(service: &str, ports: Value, endpoints: Value) -> Arc<EndpointSlice> {
        let slice = json!({
            "metadata": {"namespace": "ns", "name": format!("{service}-x"), "labels": {SERVICE_NAME: service}},
            "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
        });
        Arc::new(serde_json::from_value(slice).unwrap())
    }

    fn endpoint(address: &str, ready: bool, serving: bool) -> Value {
        json!({"addresses": [address], "conditions": {"ready": ready, "serving": serving}})
    }

    /// One line per front: `transport address -> backends`.
    fn check(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>], expected: &[&str]) {
        let table = table(services, slices, &[Ipv4Addr::new(10, 96, 0, 1)]);
        let lines = table.fronts.iter().map(|(front, backends)| {
            let to: Vec<String> = backends.addresses.iter().map(ToString::to_string).collect();
            format!("{:?} {} -> {}", front.transport, front.address, to.join(" "))
        });
        assert_eq!(lines.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn ports_are_matched_by_name_and_only_ready_endpoints_used() {
        let web = service(
            "web",
            json!({"clusterIP": "10.96.1.1", "ports": [{"name": "http", "port": 80}, {"name": "metrics", "port": 9090}]}),
        );
        let ports =
            json!([{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "metrics", "port": 9000}]);
        let endpoints = json!([endpoint("10.244.0.2", true, true), endpoint("10.244.0.3", false, false)]);
        let expected = ["Tcp 10.96.1.1:80 -> 10.244.0.2:8080", "Tcp 10.96.1.1:9090 -> 10.244.0.2:9000"];
        check(&[web], &[slice("web", ports, endpoints)], &expected);
    }

    #[test]
    fn service_without_ready_endpoints_has_no_front() {
        let web = service("web", json!({"clusterIP": "10.96.1.1", "ports": [{"port": 80}]}));
        let ports = json!([{"name": "", "port": 8080}]);
        check(std::slice::from_ref(&web), &[], &[]);
        let waiting = slice("web", ports.clone(), json!([endpoint("10.244.0.3", false, false)]));
        check(std::slice::from_ref(&web), &[waiting], &[]);
        let terminating = slice("web", ports, json!([endpoint("10.244.0.3", false, true)]));
        check(&[web], &[terminating], &["Tcp 10.96.1.1:80 -> 10.244.0.3:8080"]);
    }

    #[test]
    fn node_ports_listen_on_every_address() {
        let web =
            service("web", json!({"clusterIP": "10.96.1.1", "ports": [{"port": 80, "nodePort": 30080}]}));
        let slices =
            [slice("web", json!([{"name": "", "port": 8080}]), json!([endpoint("10.244.0.2", true, true)]))];
        let expected = ["Tcp 0.0.0.0:30080 -> 10.244.0.2:8080", "Tcp 10.96.1.1:80 -> 10.244.0.2:8080"];
        check(std::slice::from_ref(&web), &slices, &expected);
        assert_eq!(table(&[web], &slices, &[]).node_ports(), BTreeSet::from([30080]));
    }

    #[test]
    fn headless_services_have_no_front_and_the_api_servers_address_is_left_to_it() {
        let headless = service("db", json!({"clusterIP": "None", "ports": [{"port": 5432}]}));
        let api = service("kubernetes", json!({"clusterIP": "10.96.0.1", "ports": [{"port": 443}]}));
        let slices = [slice(
            "kubernetes",
            json!([{"name": "", "port": 6443}]),
            json!([endpoint("10.96.0.1", true, true)]),
        )];
        check(&[headless.clone(), api.clone()], &slices, &[]);
        let addresses = table(&[headless, api], &slices, &[Ipv4Addr::new(10, 96, 0, 1)]).addresses;
        assert_eq!(addresses, BTreeSet::from([Ipv4Addr::new(10, 96, 0, 1)]));
    }
}
