//! Namespace: one that is to be deleted is emptied, pods first, and then let go.

mod conditions;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, ResourceExt};

use self::conditions::{Remaining, conditions};
use super::cache::Key;
use super::context::Context;
use super::inventory::{Kind, Observation, discover};
use super::pods::is_terminating;
use super::queue::{Queue, Tasks};

/// Keeps a namespace while it has content; not among the finalizers of its metadata.
const FINALIZER: &str = "kubernetes";
/// How soon what remains is looked at again when nothing is seen to go.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Registers the handlers and starts the workers.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut Tasks) {
    let queue = Queue::new();
    context.namespaces.on_change({
        let queue = queue.clone();
        move |change| {
            let ending = change.new.iter().filter(|namespace| is_terminating(&***namespace));
            ending.for_each(|namespace| queue.add(Key::of(&**namespace)));
        }
    });
    context.inventory.on_observation({
        let (queue, weak) = (queue.clone(), Arc::downgrade(context));
        move |observation| {
            let Observation::Gone(_, object) = observation else { return };
            let namespace = object.namespace.as_ref().map(|name| Key::new("", name));
            let (Some(key), Some(context)) = (namespace, weak.upgrade()) else { return };
            if context.namespaces.cache().get(&key).is_some_and(|namespace| is_terminating(&*namespace)) {
                queue.add(key);
            }
        }
    });
    let context = context.clone();
    tasks.work("namespace", 2, queue, move |key| {
        let context = context.clone();
        async move { sync(&context, key).await }
    });
}

async fn sync(context: &Context, key: Key) -> Result<Option<Duration>, kube::Error> {
    let Some(namespace) = context.namespaces.cache().get(&key) else { return Ok(None) };
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_deref()).unwrap_or_default();
    if !is_terminating(&*namespace) || !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(None);
    }
    // Asked now and not taken from the inventory, which may not have heard of the newest kind.
    let mut kinds = discover(&context.client).await?;
    kinds.retain(|kind| kind.namespaced);
    let (pods, others): (Vec<Kind>, Vec<Kind>) =
        kinds.into_iter().partition(|kind| kind.resource.group.is_empty() && kind.resource.plural == "pods");
    for kinds in [pods, others] {
        let remaining = empty(&context.client, &key.name, &kinds).await;
        let (remaining, failure) = match remaining {
            Ok(remaining) if remaining.is_empty() => continue,
            Ok(remaining) => (remaining, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let text = failure.as_ref().map(ToString::to_string);
        report(context, &namespace, &remaining, text.as_deref()).await?;
        return failure.map_or(Ok(Some(LOOK_AGAIN)), Err);
    }
    finalize(context, &namespace).await?;
    Ok(None)
}

/// Deletes all objects of these kinds and tells what is still there afterwards.
async fn empty(client: &Client, namespace: &str, kinds: &[Kind]) -> Result<Vec<Remaining>, kube::Error> {
    let emptied = kinds.iter().map(|kind| async move {
        let api = kind.api(client, namespace);
        if api.list(&ListParams::default()).await?.items.is_empty() {
            return Ok(None);
        }
        api.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
        let left = api.list(&ListParams::default()).await?.items;
        Ok((!left.is_empty()).then(|| Remaining {
            resource: format!("{}.{}", kind.resource.plural, kind.resource.group),
            finalizers: left.iter().map(|object| object.finalizers().to_vec()).collect(),
        }))
    });
    let results: Result<Vec<Option<Remaining>>, kube::Error> = join_all(emptied).await.into_iter().collect();
    Ok(results?.into_iter().flatten().collect())
}

async fn report(
    context: &Context,
    namespace: &Namespace,
    remaining: &[Remaining],
    failure: Option<&str>,
) -> Result<(), kube::Error> {
    let mut update = namespace.clone();
    let status = update.status.get_or_insert_default();
    let before = status.conditions.take().unwrap_or_default();
    let now = conditions(&before, remaining, failure, Timestamp::now());
    if now == before {
        return Ok(());
    }
    status.conditions = Some(now);
    context.replace_status(&context.namespaces, &update).await
}

async fn finalize(context: &Context, namespace: &Namespace) -> Result<(), kube::Error> {
    let mut update = namespace.clone();
    if let Some(finalizers) = update.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
    // The conditions may have been written since.
    update.metadata.resource_version = None;
    let api: Api<Namespace> = context.api("");
    match api.replace_subresource("finalize", &namespace.name_any(), &PostParams::default(), &update).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}
