//! The downward API: values of a pod's own fields and of its containers' resources.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector};
use kube::ResourceExt;

use crate::node::pod::observed::specifications;
use crate::schema::quantity::nanos;

/// What a pod's fields say once it is placed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placement {
    /// The pod's address.
    pub pod_ip: String,
    /// The node's address.
    pub host_ip: String,
    /// What the node has: a container without a limit may use all of it.
    pub allocatable: BTreeMap<String, String>,
}

/// The value of `fieldRef`.
pub(crate) fn field(
    selector: &ObjectFieldSelector,
    pod: &Pod,
    placement: &Placement,
) -> Result<String, String> {
    let path = selector.field_path.as_str();
    let spec = pod.spec.as_ref();
    Ok(match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "metadata.labels" => lines(pod.labels()),
        "metadata.annotations" => lines(pod.annotations()),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => {
            spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default()
        }
        "status.hostIP" | "status.hostIPs" => placement.host_ip.clone(),
        "status.podIP" | "status.podIPs" => placement.pod_ip.clone(),
        _ => {
            let entry = |prefix: &str| {
                path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']").map(str::to_owned)
            };
            if let Some(key) = entry("metadata.labels") {
                pod.labels().get(&key).cloned().unwrap_or_default()
            } else if let Some(key) = entry("metadata.annotations") {
                pod.annotations().get(&key).cloned().unwrap_or_default()
            } else {
                return Err(format!("unsupported fieldPath: {path}"));
            }
        }
    })
}

/// One `key="value"` a line, as files of the downward API have them.
fn lines(map: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// The value of `resourceFieldRef`: how many times the divisor fits, rounded up.
pub(crate) fn resource(
    selector: &ResourceFieldSelector,
    pod: &Pod,
    own: Option<&Container>,
    placement: &Placement,
) -> Result<String, String> {
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let mut containers = pod.spec.as_ref().into_iter().flat_map(specifications);
    let container = match named {
        Some(name) => containers.find(|container| container.name == name),
        None => own,
    };
    let container = container.ok_or_else(|| format!("container {} not found", named.unwrap_or_default()))?;
    let unsupported = || format!("unsupported resource: {}", selector.resource);
    let (kind, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let resources = container.resources.clone().unwrap_or_default();
    let limits = resources.limits.unwrap_or_default();
    let amount = match kind {
        "limits" => limits.get(name).map(|limit| limit.0.clone()),
        "requests" => resources.requests.unwrap_or_default().get(name).map(|request| request.0.clone()),
        _ => return Err(unsupported()),
    };
    let amount = match (kind, amount) {
        (_, Some(amount)) => amount,
        ("limits", None) => placement.allocatable.get(name).cloned().unwrap_or_default(),
        (_, None) => "0".to_owned(),
    };
    let amount = nanos(&amount).unwrap_or(0);
    let divisor = selector.divisor.as_ref().and_then(|divisor| nanos(&divisor.0)).filter(|nanos| *nanos > 0);
    let divisor = divisor.unwrap_or(1_000_000_000);
    Ok(((amount + divisor - 1) / divisor).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": "p", "namespace": "ns", "uid": "u",
                "labels": {"app": "web", "team": "\"a\""}, "annotations": {"example.com/x": "y"},
            },
            "spec": {"nodeName": "n", "serviceAccountName": "sa", "containers": [
                {"name": "c", "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "10Mi"}}},
            ]},
        }))
        .unwrap()
    }

    fn placement() -> Placement {
        let allocatable = BTreeMap::from([("memory".to_owned(), "1Gi".to_owned())]);
        Placement { pod_ip: "10.244.0.2".into(), host_ip: "10.244.0.1".into(), allocatable }
    }

    #[test]
    fn fields_have_the_pods_values() {
        for (path, expected) in [
            ("metadata.name", "p"),
            ("metadata.uid", "u"),
            ("metadata.labels['app']", "web"),
            ("metadata.labels['none']", ""),
            ("metadata.annotations['example.com/x']", "y"),
            ("metadata.labels", "app=\"web\"\nteam=\"\\\"a\\\"\""),
            ("spec.nodeName", "n"),
            ("spec.serviceAccountName", "sa"),
            ("status.podIP", "10.244.0.2"),
            ("status.hostIP", "10.244.0.1"),
        ] {
            let selector = ObjectFieldSelector { field_path: path.to_owned(), api_version: None };
            assert_eq!(field(&selector, &pod(), &placement()).unwrap(), expected, "{path}");
        }
        let selector = ObjectFieldSelector { field_path: "spec.volumes".to_owned(), api_version: None };
        assert_eq!(
            field(&selector, &pod(), &placement()).unwrap_err(),
            "unsupported fieldPath: spec.volumes"
        );
    }

    #[test]
    fn resources_are_counted_in_divisors_rounded_up() {
        for (resource_name, divisor, expected) in [
            ("limits.cpu", None, "2"),
            ("limits.cpu", Some("1m"), "1500"),
            ("requests.memory", Some("1Mi"), "10"),
            ("limits.memory", Some("1Mi"), "1024"),
            ("requests.cpu", None, "0"),
        ] {
            let selector = serde_json::from_value(
                json!({"containerName": "c", "resource": resource_name, "divisor": divisor}),
            )
            .unwrap();
            assert_eq!(resource(&selector, &pod(), None, &placement()).unwrap(), expected, "{resource_name}");
        }
    }
}
