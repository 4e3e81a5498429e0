//! Endpoints and EndpointSlices of Services with a selector: they follow the readiness of the pods.

mod decide;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use self::decide::{MANAGED_BY, Plan, SERVICE_NAME, decide};
use super::cache::Key;
use super::context::Context;
use super::pods::labels;
use super::queue::{Queue, Tasks};
use super::selector::matches_all;

/// Registers the handlers and starts the workers.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut Tasks) {
    let queue = Queue::new();
    context.services.on_change({
        let queue = queue.clone();
        move |change| change.latest().into_iter().for_each(|service| queue.add(Key::of(&**service)))
    });
    context.endpoint_slices.on_change({
        let queue = queue.clone();
        move |change| {
            let Some(slice) = change.latest() else { return };
            if let Some(name) = slice.labels().get(SERVICE_NAME) {
                queue.add(Key::new(slice.namespace().unwrap_or_default(), name.clone()));
            }
        }
    });
    context.endpoints.on_change({
        let queue = queue.clone();
        move |change| change.latest().into_iter().for_each(|endpoints| queue.add(Key::of(&**endpoints)))
    });
    context.pods.on_change({
        let (queue, weak) = (queue.clone(), Arc::downgrade(context));
        move |change| {
            let Some(context) = weak.upgrade() else { return };
            for pod in change.states() {
                let services = context.services.cache().in_namespace(&pod.namespace().unwrap_or_default());
                services
                    .iter()
                    .filter(|service| selects(service, pod))
                    .for_each(|one| queue.add(Key::of(&**one)));
            }
        }
    });
    let context = context.clone();
    tasks.work("endpoints", 2, queue, move |key| {
        let context = context.clone();
        async move { sync(&context, key).await }
    });
}

fn selects(service: &Service, pod: &Pod) -> bool {
    let selector =
        service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|selector| !selector.is_empty());
    selector.is_some_and(|selector| matches_all(Some(selector), labels(pod)))
}

async fn sync(context: &Context, key: Key) -> Result<Option<Duration>, kube::Error> {
    let service = context.services.cache().get(&key);
    let Some(service) = service else {
        // The slices are owned by the Service and go with it; Endpoints only share its name.
        if let Some(endpoints) = context.endpoints.cache().get(&key).filter(|endpoints| is_ours(endpoints)) {
            context.delete(&context.endpoints, &*endpoints).await?;
        }
        return Ok(None);
    };
    let Some(Plan { slices, endpoints }) =
        decide(&service, &context.pods.cache().in_namespace(&key.namespace))
    else {
        return Ok(None);
    };
    write_endpoints(context, &key, endpoints).await?;
    write_slices(context, &key, slices).await?;
    Ok(None)
}

const OURS: &str = "endpoints.kubernetes.io/managed-by";

fn is_ours(endpoints: &Endpoints) -> bool {
    endpoints.labels().get(OURS).is_some_and(|by| by == "endpoint-controller")
}

async fn write_endpoints(context: &Context, key: &Key, mut wanted: Endpoints) -> Result<(), kube::Error> {
    wanted.labels_mut().insert(OURS.to_owned(), "endpoint-controller".to_owned());
    match context.endpoints.cache().get(key) {
        None => drop(context.create(&context.endpoints, &wanted).await?),
        Some(current) => {
            let same = current.subsets.as_deref().unwrap_or_default()
                == wanted.subsets.as_deref().unwrap_or_default();
            if !same || current.labels() != wanted.labels() {
                wanted.metadata.resource_version = current.resource_version();
                context.replace(&context.endpoints, &wanted).await?;
            }
        }
    }
    Ok(())
}

async fn write_slices(context: &Context, key: &Key, wanted: Vec<EndpointSlice>) -> Result<(), kube::Error> {
    let current: Vec<Arc<EndpointSlice>> = context
        .endpoint_slices
        .cache()
        .in_namespace(&key.namespace)
        .into_iter()
        .filter(|slice| slice.labels().get(SERVICE_NAME) == Some(&key.name))
        .filter(|slice| slice.labels().get(MANAGED_BY.0).is_some_and(|by| by == MANAGED_BY.1))
        .collect();
    for slice in &current {
        if !wanted.iter().any(|one| one.metadata.name == slice.metadata.name) {
            context.delete(&context.endpoint_slices, &**slice).await?;
        }
    }
    for mut slice in wanted {
        match current.iter().find(|one| one.metadata.name == slice.metadata.name) {
            None => drop(context.create(&context.endpoint_slices, &slice).await?),
            Some(now) if now.endpoints == slice.endpoints && now.labels() == slice.labels() => {}
            Some(now) => {
                slice.metadata.resource_version = now.resource_version();
                context.replace(&context.endpoint_slices, &slice).await?;
            }
        }
    }
    Ok(())
}
