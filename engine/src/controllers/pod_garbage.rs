//! Pods of nodes that are gone: nobody is left to end them, so they are removed at once.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::cache::Key;
use super::context::Context;
use super::pods::is_finished;
use super::queue::{Queue, Tasks};

/// Registers the handlers and starts the worker.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut Tasks) {
    let queue = Queue::new();
    context.pods.on_change({
        let (queue, weak) = (queue.clone(), Arc::downgrade(context));
        move |change| {
            let Some(context) = weak.upgrade() else { return };
            let lost = change.new.iter().filter(|pod| is_lost(&context, pod));
            lost.for_each(|pod| queue.add(Key::of(&**pod)));
        }
    });
    context.nodes.on_change({
        let (queue, weak) = (queue.clone(), Arc::downgrade(context));
        move |change| {
            let Some(context) = weak.upgrade().filter(|_| change.new.is_none()) else { return };
            let pods = context.pods.cache().all();
            pods.iter().filter(|pod| is_lost(&context, pod)).for_each(|pod| queue.add(Key::of(&**pod)));
        }
    });
    let context = context.clone();
    tasks.work("pod garbage", 1, queue, move |key| {
        let context = context.clone();
        async move { sync(&context, key).await }
    });
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

fn is_lost(context: &Context, pod: &Pod) -> bool {
    node_of(pod).is_some_and(|node| context.nodes.cache().get(&Key::new("", node)).is_none())
}

async fn sync(context: &Context, key: Key) -> Result<Option<Duration>, kube::Error> {
    let Some(pod) = context.pods.cache().get(&key).filter(|pod| is_lost(context, pod)) else {
        return Ok(None);
    };
    let nodes: Api<Node> = context.api("");
    // The cache may lag behind a node that has just registered.
    if nodes.get_opt(node_of(&pod).unwrap_or_default()).await?.is_some() {
        return Ok(None);
    }
    if !is_finished(&pod) {
        let message = "PodGC: node no longer exists";
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": message,
            "lastTransitionTime": Time(Timestamp::now()),
        });
        let patch =
            json!({"metadata": {"uid": pod.uid()}, "status": {"phase": "Failed", "conditions": [condition]}});
        let pods: Api<Pod> = context.api(&key.namespace);
        let patched = pods.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        match patched {
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(None),
            other => context.pods.wrote(other?),
        }
    }
    context.delete_with(&context.pods, &*pod, DeleteParams::default().grace_period(0)).await?;
    Ok(None)
}
