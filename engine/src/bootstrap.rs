//! What a cluster holds before anybody has asked for anything: namespaces, default roles, priority classes, a storage class,
//! and the Services of the API server and of the name server.

mod policy;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::user::User;
use crate::api::{Api, write};
use crate::pki::MASTERS;
use crate::status::Status;

/// Name of the default StorageClass.
pub const STORAGE_CLASS: &str = "standard";
/// The provisioner of the default StorageClass: directories of the node.
pub const LOCAL_PATH: &str = "rancher.io/local-path";

/// What the first objects say about the cluster they are in.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Where the API server listens for pods: the Service `kubernetes` leads there.
    pub api_server: SocketAddrV4,
    /// Cluster IP of the Service `kubernetes`.
    pub service: Ipv4Addr,
    /// Cluster IP of the name server.
    pub dns: Ipv4Addr,
}

impl Default for Facts {
    fn default() -> Self {
        let service = Ipv4Addr::new(10, 96, 0, 1);
        Self { api_server: SocketAddrV4::new(service, 443), service, dns: Ipv4Addr::new(10, 96, 0, 10) }
    }
}

/// Creates the first objects, through the same path as any other.
pub async fn bootstrap(api: &Arc<Api>, facts: &Facts) -> Result<(), Status> {
    let user = User::authenticated("system:apiserver", vec![MASTERS.to_owned()]);
    let registry = api.registry();
    for object in objects(facts) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let resource = registry.by_kind(text("/apiVersion"), text("/kind"));
        let resource = resource.ok_or_else(Status::no_such_resource)?;
        let namespace = text("/metadata/namespace").to_owned();
        write::create(api, &user, &resource, &namespace, object).await?;
    }
    Ok(())
}

/// The first objects, each after those it refers to.
pub fn objects(facts: &Facts) -> Vec<Value> {
    let mut objects: Vec<Value> =
        ["default", "kube-system", "kube-public", "kube-node-lease"].map(namespace).into();
    objects.extend(policy::objects());
    objects.push(priority_class(
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ));
    objects.push(priority_class(
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ));
    objects.push(storage_class());
    objects.extend(api_server(facts));
    objects.push(name_server(facts));
    objects
}

fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
    })
}

fn priority_class(name: &str, value: i64, description: &str) -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
        "description": description,
    })
}

fn storage_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": LOCAL_PATH,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    })
}

/// The Service `kubernetes`. It has no selector: where it leads is written here, once.
fn api_server(facts: &Facts) -> [Value; 3] {
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let (address, port) = (facts.api_server.ip(), facts.api_server.port());
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "clusterIP": facts.service,
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    });
    let endpoints = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{
            "addresses": [{"ip": address}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }],
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    });
    [service, endpoints, slice]
}

/// The Service `kube-dns`. It has neither selector nor endpoints: the name server listens on its cluster IP itself.
fn name_server(facts: &Facts) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"},
        },
        "spec": {
            "clusterIP": facts.dns,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Registry;

    #[test]
    fn every_first_object_is_valid_and_complete() {
        let registry = Registry::builtin();
        for mut object in objects(&Facts::default()) {
            let text = |field: &str| object[field].as_str().unwrap().to_owned();
            let resource = registry.by_kind(&text("apiVersion"), &text("kind")).unwrap();
            let name = object["metadata"]["name"].clone();
            assert_eq!(resource.schema.prune(&mut object), [""; 0], "{name}");
            resource.schema.apply_defaults(&mut object);
            assert_eq!(resource.schema.validate(&object, None), [], "{name}");
            assert_eq!(resource.namespaced, object["metadata"]["namespace"].is_string(), "{name}");
        }
    }
}
