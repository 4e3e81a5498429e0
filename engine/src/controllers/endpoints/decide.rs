//! The Endpoints and EndpointSlices a Service should have, from its pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort as CorePort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
    ServicePort,
};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::controllers::deployment::template::short_hash;
use crate::controllers::pods::{controller_reference, is_finished, is_ready, is_terminating, labels};
use crate::controllers::selector::matches_all;

/// Who writes the slices of Services with a selector.
pub(super) const MANAGED_BY: (&str, &str) =
    ("endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io");
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A resolved port of one pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    name: String,
    protocol: String,
    number: i32,
    app_protocol: Option<String>,
}

/// What a Service should have.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pub slices: Vec<EndpointSlice>,
    pub endpoints: Endpoints,
}

/// The decision; pure. `None` when somebody else keeps the endpoints of this Service.
pub(super) fn decide(service: &Service, pods: &[Arc<Pod>]) -> Option<Plan> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") || is_terminating(service) {
        return None;
    }
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
    let mut groups: BTreeMap<Vec<Port>, Vec<Arc<Pod>>> = BTreeMap::new();
    let chosen = pods.iter().filter(|pod| matches_all(Some(selector), labels(&***pod)));
    for pod in chosen.filter(|pod| !is_finished(pod) && address(pod).is_some()) {
        groups.entry(ports(service, pod)).or_default().push(pod.clone());
    }
    // A Service without pods still shows that it was looked at.
    if groups.is_empty() {
        groups.insert(Vec::new(), Vec::new());
    }
    let slices = groups.iter().map(|(ports, pods)| slice(service, ports, pods)).collect();
    Some(Plan { slices, endpoints: endpoints(service, &groups) })
}

fn publishes_unready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

fn address(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.pod_ip.as_deref().filter(|address| !address.is_empty())
}

fn ports(service: &Service, pod: &Pod) -> Vec<Port> {
    let declared = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let mut ports: Vec<Port> = declared.iter().filter_map(|port| resolve(port, pod)).collect();
    ports.sort();
    ports
}

fn resolve(port: &ServicePort, pod: &Pod) -> Option<Port> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let number = match &port.target_port {
        None | Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let spec = pod.spec.as_ref()?;
            let mut all = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
            let same = |candidate: &&k8s_openapi::api::core::v1::ContainerPort| {
                candidate.name.as_ref() == Some(name)
                    && candidate.protocol.as_deref().unwrap_or("TCP") == protocol
            };
            all.find(same)?.container_port
        }
    };
    Some(Port {
        name: port.name.clone().unwrap_or_default(),
        protocol: protocol.to_owned(),
        number,
        app_protocol: port.app_protocol.clone(),
    })
}

fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.namespace(),
        name: Some(pod.name_any()),
        uid: pod.uid(),
        ..ObjectReference::default()
    }
}

/// The name of a pod under its Service, when it asks for one.
fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let host = spec.hostname.clone().filter(|host| !host.is_empty())?;
    (spec.subdomain.as_ref() == service.metadata.name.as_ref()).then_some(host)
}

fn node(pod: &Pod) -> Option<String> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.clone())
}

fn slice(service: &Service, ports: &[Port], pods: &[Arc<Pod>]) -> EndpointSlice {
    let text: String =
        ports.iter().map(|port| format!("{}/{}/{};", port.name, port.protocol, port.number)).collect();
    let unique = short_hash(format!("{}{text}", service.uid().unwrap_or_default()).as_bytes());
    let mut labels = labels(service).clone();
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    labels.insert(SERVICE_NAME.to_owned(), service.name_any());
    if service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        labels.insert("service.kubernetes.io/headless".to_owned(), String::new());
    }
    let endpoint = |pod: &Arc<Pod>| {
        let serving = is_ready(pod);
        let terminating = is_terminating(&**pod);
        Endpoint {
            addresses: address(pod).map(str::to_owned).into_iter().collect(),
            conditions: Some(EndpointConditions {
                ready: Some(publishes_unready(service) || (serving && !terminating)),
                serving: Some(serving),
                terminating: Some(terminating),
            }),
            hostname: hostname(service, pod),
            node_name: node(pod),
            target_ref: Some(reference(pod)),
            ..Endpoint::default()
        }
    };
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(format!("{}-{unique}", service.name_any())),
            namespace: service.namespace(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".to_owned(),
        endpoints: pods.iter().map(endpoint).collect(),
        ports: Some(
            ports
                .iter()
                .map(|port| EndpointPort {
                    name: Some(port.name.clone()),
                    port: Some(port.number),
                    protocol: Some(port.protocol.clone()),
                    app_protocol: port.app_protocol.clone(),
                })
                .collect(),
        ),
    }
}

fn endpoints(service: &Service, groups: &BTreeMap<Vec<Port>, Vec<Arc<Pod>>>) -> Endpoints {
    let mut subsets = Vec::new();
    for (ports, pods) in groups.iter().filter(|(_, pods)| !pods.is_empty()) {
        let (mut ready, mut not_ready) = (Vec::new(), Vec::new());
        for pod in pods.iter().filter(|pod| publishes_unready(service) || !is_terminating(&***pod)) {
            let entry = EndpointAddress {
                ip: address(pod).unwrap_or_default().to_owned(),
                hostname: hostname(service, pod),
                node_name: node(pod),
                target_ref: Some(reference(pod)),
            };
            if publishes_unready(service) || is_ready(pod) {
                ready.push(entry)
            } else {
                not_ready.push(entry)
            }
        }
        if ready.is_empty() && not_ready.is_empty() {
            continue;
        }
        let some = |addresses: Vec<EndpointAddress>| (!addresses.is_empty()).then_some(addresses);
        let port = |port: &Port| CorePort {
            name: Some(port.name.clone()).filter(|name| !name.is_empty()),
            port: port.number,
            protocol: Some(port.protocol.clone()),
            app_protocol: port.app_protocol.clone(),
        };
        let ports = (!ports.is_empty()).then(|| ports.iter().map(port).collect());
        subsets.push(EndpointSubset { addresses: some(ready), not_ready_addresses: some(not_ready), ports });
    }
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.namespace(),
            labels: service.metadata.labels.clone(),
            ..ObjectMeta::default()
        },
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
