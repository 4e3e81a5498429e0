//! Streams to pods and services: logs, and the proxies of services and pods.

mod backend;
mod forward;
mod log;

use std::sync::Arc;

use serde_json::Value;

use super::{Answer, Api, Call};
use crate::status::Status;
use crate::store::{GroupResource, Snapshot};

/// Answers `pods/log`, `pods/proxy` and `services/proxy`; says plainly of the others that they are not there.
pub async fn connect(api: &Arc<Api>, call: Call) -> Result<Answer, Status> {
    match (call.resource.plural.as_str(), call.info.subresource.as_str()) {
        ("pods", "log") => log::log(api, &call).await,
        ("pods", "proxy") => {
            let name = backend::Name::parse(&call.info.name)
                .ok_or_else(|| Status::bad_request(format!("invalid pod request {:?}", call.info.name)))?;
            let pod = object(api, "pods", &call.info.namespace, name.name)?;
            forward::forward(&call, &backend::of_pod(&pod, &name)?).await
        }
        ("services", "proxy") => {
            let name = backend::Name::parse(&call.info.name).ok_or_else(|| {
                Status::bad_request(format!("invalid service request {:?}", call.info.name))
            })?;
            let service = object(api, "services", &call.info.namespace, name.name)?;
            let slices = slices(
                &api.store.snapshot(&GroupResource::new("discovery.k8s.io", "endpointslices")),
                &call.info.namespace,
                name.name,
            );
            forward::forward(&call, &backend::of_service(&service, &slices, &name, rand::random())?).await
        }
        (plural, subresource) => {
            let message = format!("{plural}/{subresource} is not implemented by this server");
            Err(Status::new(501, "NotImplemented", message))
        }
    }
}

fn object(api: &Api, plural: &str, namespace: &str, name: &str) -> Result<Value, Status> {
    let key = (namespace.to_owned(), name.to_owned());
    let found = api.store.get(&GroupResource::new("", plural), &key);
    found.map(|found| found.value()).ok_or_else(|| Status::not_found("", plural, name))
}

/// The EndpointSlices of a Service.
fn slices(all: &Snapshot, namespace: &str, service: &str) -> Vec<Value> {
    let own = all.objects.values().filter(|slice| {
        slice.namespace == namespace
            && slice.labels.get("kubernetes.io/service-name").is_some_and(|name| name == service)
    });
    own.map(|slice| slice.value()).collect()
}
