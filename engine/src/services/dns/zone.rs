//! The names of a cluster (the Kubernetes DNS specification) and what they stand for. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use super::ZONE;
use super::message::{Answer, Record, kind};
use crate::services::table::{addresses, by_service, cluster_ip, is_ready};

/// All names at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::services) struct Zone {
    /// By namespace, then name.
    services: BTreeMap<String, BTreeMap<String, Entry>>,
}

/// One Service.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// A cluster IP and named ports.
    Cluster { address: Ipv4Addr, ports: Vec<Port> },
    /// Headless: the pods themselves, by hostname or dashed address.
    Pods { hosts: BTreeMap<String, BTreeSet<Ipv4Addr>>, ports: Vec<Port> },
    /// A name elsewhere.
    External(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Port {
    name: String,
    protocol: String,
    number: u16,
}

impl Zone {
    /// The names of these Services.
    pub(in crate::services) fn of(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> Zone {
        let slices = by_service(slices);
        let mut zone = Zone::default();
        for service in services {
            let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
            let own = slices.get(&(namespace.clone(), name.clone())).map_or(&[][..], Vec::as_slice);
            if let Some(entry) = entry(service, own) {
                zone.services.entry(namespace).or_default().insert(name, entry);
            }
        }
        zone
    }

    /// The answer for a lower-case name without final dot.
    pub(super) fn look_up(&self, name: &str, wanted: u16) -> Answer {
        let unknown = Answer::NoSuchName { zone: ZONE };
        let Some(rest) = name.strip_suffix(ZONE).filter(|rest| rest.is_empty() || rest.ends_with('.')) else {
            return Answer::Refused;
        };
        let labels: Vec<&str> = rest.split('.').filter(|label| !label.is_empty()).collect();
        let found = match labels.as_slice() {
            // Names that exist only because others lie below them.
            [] | ["svc" | "pod"] => Some(Vec::new()),
            [namespace, "svc" | "pod"] => self.services.contains_key(*namespace).then(Vec::new),
            [address, _, "pod"] => {
                address.replace('-', ".").parse().ok().map(|address| vec![Record::A(address)])
            }
            [name, namespace, "svc"] => self.entry(namespace, name).map(Entry::records),
            [host, name, namespace, "svc"] => self.entry(namespace, name).and_then(|entry| entry.host(host)),
            [port, protocol, name, namespace, "svc"] => self.entry(namespace, name).and_then(|entry| {
                let parts = port.strip_prefix('_').zip(protocol.strip_prefix('_'));
                parts.and_then(|(port, protocol)| entry.service_records(port, protocol, namespace, name))
            }),
            _ => None,
        };
        match found {
            None => unknown,
            Some(records) => {
                Answer::Records(records.into_iter().filter(|record| fits(record, wanted)).collect())
            }
        }
    }

    fn entry(&self, namespace: &str, name: &str) -> Option<&Entry> {
        self.services.get(namespace)?.get(name)
    }
}

fn fits(record: &Record, wanted: u16) -> bool {
    wanted == kind::ANY
        || match record {
            Record::A(_) => wanted == kind::A,
            Record::Srv { .. } => wanted == kind::SRV,
            // An alias answers every type.
            Record::Cname(_) => true,
        }
}

fn entry(service: &Service, slices: &[Arc<EndpointSlice>]) -> Option<Entry> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return spec.external_name.clone().map(Entry::External);
    }
    let mut ports = Vec::new();
    for port in spec.ports.iter().flatten() {
        ports.push(Port {
            name: port.name.clone().unwrap_or_default(),
            protocol: port.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase(),
            number: u16::try_from(port.port).ok()?,
        });
    }
    if let Some(address) = cluster_ip(service) {
        return Some(Entry::Cluster { address, ports });
    }
    let mut hosts: BTreeMap<String, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    for endpoint in slices.iter().flat_map(|slice| &slice.endpoints).filter(|endpoint| is_ready(endpoint)) {
        for address in addresses(endpoint) {
            let host = endpoint.hostname.clone().unwrap_or_else(|| address.to_string().replace('.', "-"));
            hosts.entry(host).or_default().insert(address);
        }
    }
    Some(Entry::Pods { hosts, ports })
}

impl Entry {
    fn records(&self) -> Vec<Record> {
        match self {
            Entry::Cluster { address, .. } => vec![Record::A(*address)],
            Entry::Pods { hosts, .. } => {
                let all: BTreeSet<Ipv4Addr> = hosts.values().flatten().copied().collect();
                all.into_iter().map(Record::A).collect()
            }
            Entry::External(target) => vec![Record::Cname(target.clone())],
        }
    }

    fn host(&self, host: &str) -> Option<Vec<Record>> {
        match self {
            Entry::Pods { hosts, .. } => Some(hosts.get(host)?.iter().copied().map(Record::A).collect()),
            Entry::Cluster { .. } | Entry::External(_) => None,
        }
    }

    fn service_records(
        &self,
        port: &str,
        protocol: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Vec<Record>> {
        let named = |ports: &[Port]| {
            ports
                .iter()
                .find(|candidate| candidate.name == port && candidate.protocol == protocol)
                .map(|port| port.number)
        };
        let service = format!("{name}.{namespace}.svc.{ZONE}");
        match self {
            Entry::Cluster { ports, .. } => Some(vec![Record::Srv { port: named(ports)?, target: service }]),
            Entry::Pods { hosts, ports } => {
                let port = named(ports)?;
                let target = |host: &String| Record::Srv { port, target: format!("{host}.{service}") };
                Some(hosts.keys().map(target).collect())
            }
            Entry::External(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn zone() -> Zone {
        let service = |name: &str, spec: Value| -> Arc<Service> {
            Arc::new(
                serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": name}, "spec": spec}))
                    .unwrap(),
            )
        };
        let slice = json!({
            "metadata": {"namespace": "ns", "name": "db-x", "labels": {"kubernetes.io/service-name": "db"}},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.244.0.5"], "hostname": "db-0", "conditions": {"ready": true}},
                {"addresses": ["10.244.0.6"], "conditions": {"ready": true}},
                {"addresses": ["10.244.0.7"], "conditions": {"ready": false}},
            ],
        });
        Zone::of(
            &[
                service("web", json!({"clusterIP": "10.96.1.1", "ports": [{"name": "http", "port": 80}]})),
                service("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]})),
                service("out", json!({"type": "ExternalName", "externalName": "example.org"})),
            ],
            &[Arc::new(serde_json::from_value(slice).unwrap())],
        )
    }

    /// Records as text, `-` for a name without such records.
    fn check(name: &str, wanted: u16, expected: &str) {
        let text = match zone().look_up(name, wanted) {
            Answer::Refused => "refused".to_owned(),
            Answer::NoSuchName { .. } => "unknown".to_owned(),
            Answer::Records(records) if records.is_empty() => "-".to_owned(),
            Answer::Records(records) => {
                let texts = records.iter().map(|record| match record {
                    Record::A(address) => address.to_string(),
                    Record::Cname(target) => format!("alias {target}"),
                    Record::Srv { port, target } => format!("{target}:{port}"),
                });
                texts.collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(text, expected, "{name} type {wanted}");
    }

    #[test]
    fn services_have_their_cluster_address() {
        check("web.ns.svc.cluster.local", kind::A, "10.96.1.1");
        check("web.ns.svc.cluster.local", 28, "-");
        check("web.other.svc.cluster.local", kind::A, "unknown");
        check("nothing.ns.svc.cluster.local", kind::A, "unknown");
    }

    #[test]
    fn headless_services_have_the_addresses_of_ready_pods() {
        check("db.ns.svc.cluster.local", kind::A, "10.244.0.5 10.244.0.6");
        check("db-0.db.ns.svc.cluster.local", kind::A, "10.244.0.5");
        check("10-244-0-6.db.ns.svc.cluster.local", kind::A, "10.244.0.6");
        check("db-1.db.ns.svc.cluster.local", kind::A, "unknown");
    }

    #[test]
    fn ports_are_found_by_name() {
        check("_http._tcp.web.ns.svc.cluster.local", kind::SRV, "web.ns.svc.cluster.local:80");
        check(
            "_sql._tcp.db.ns.svc.cluster.local",
            kind::SRV,
            "10-244-0-6.db.ns.svc.cluster.local:5432 db-0.db.ns.svc.cluster.local:5432",
        );
        check("_http._udp.web.ns.svc.cluster.local", kind::SRV, "unknown");
    }

    #[test]
    fn external_names_are_aliases_and_pods_have_dashed_names() {
        check("out.ns.svc.cluster.local", kind::A, "alias example.org");
        check("10-244-0-9.ns.pod.cluster.local", kind::A, "10.244.0.9");
    }

    #[test]
    fn other_zones_are_refused_and_inner_names_exist_without_records() {
        check("example.org", kind::A, "refused");
        check("notcluster.local", kind::A, "refused");
        check("ns.svc.cluster.local", kind::A, "-");
        check("cluster.local", kind::A, "-");
        check("web.ns.svc.cluster.local.ns.svc.cluster.local", kind::A, "unknown");
    }
}
