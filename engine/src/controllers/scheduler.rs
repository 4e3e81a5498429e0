//! Scheduler: binds pending pods to a node that takes them, or says why none does.

mod decide;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

pub(crate) use self::decide::may_run;
use self::decide::{Decision, Observed, decide, is_waiting};
use super::cache::Key;
use super::context::Context;
use super::events::Note;
use super::pods::{condition, is_finished};
use super::queue::{Queue, Tasks};
use super::volumes::SELECTED_NODE;

const COMPONENT: &str = "default-scheduler";
/// An unschedulable pod is looked at again at least this often, as upstream's flush of its queue.
const RETRY: Duration = Duration::from_secs(300);

/// Registers the handlers and starts the worker: one, because two could overbook a node.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut Tasks) {
    let queue = Queue::new();
    let all_waiting = {
        let (queue, weak) = (queue.clone(), Arc::downgrade(context));
        Arc::new(move || {
            let Some(context) = weak.upgrade() else { return };
            let pods = context.pods.cache().all();
            pods.iter().filter(|pod| is_waiting(pod)).for_each(|pod| queue.add(Key::of(&**pod)));
        })
    };
    context.pods.on_change({
        let (queue, all_waiting) = (queue.clone(), all_waiting.clone());
        move |change| match &change.new {
            Some(pod) if is_waiting(pod) => queue.add(Key::of(&**pod)),
            // Room was made.
            Some(pod) if is_finished(pod) && change.old.as_ref().is_none_or(|old| !is_finished(old)) => {
                all_waiting()
            }
            Some(_) => {}
            None => all_waiting(),
        }
    });
    context.nodes.on_change({
        let all_waiting = all_waiting.clone();
        move |change| {
            if change.old.as_ref().map(|node| offers(node)) != change.new.as_ref().map(|node| offers(node)) {
                all_waiting();
            }
        }
    });
    context.volumes.on_change({
        let all_waiting = all_waiting.clone();
        move |_| all_waiting()
    });
    context.claims.on_change(move |_| all_waiting());
    let context = context.clone();
    tasks.work("scheduler", 1, queue, move |key| {
        let context = context.clone();
        async move { sync(&context, key).await }
    });
}

/// What a scheduling decision reads of a node; the rest (heartbeats) changes all the time.
fn offers(node: &Node) -> impl PartialEq + use<> {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.clone());
    (node.metadata.labels.clone(), node.spec.clone(), allocatable)
}

async fn sync(context: &Context, key: Key) -> Result<Option<Duration>, kube::Error> {
    let Some(pod) = context.pods.cache().get(&key).filter(|pod| is_waiting(pod)) else { return Ok(None) };
    let decision = decide(&Observed {
        pod: pod.clone(),
        nodes: context.nodes.cache().all(),
        pods: context.pods.cache().all(),
        claims: context.claims.cache().in_namespace(&key.namespace),
        volumes: context.volumes.cache().all(),
        classes: context.storage_classes.cache().all(),
    });
    match decision {
        Decision::Provision { node, claims } => {
            for claim in claims {
                let change = json!({"metadata": {"annotations": {SELECTED_NODE: node}}});
                context.merge(&context.claims, &*claim, change).await?;
            }
            // The pod is looked at again when the claims change.
            Ok(None)
        }
        Decision::Bind(node) => {
            bind(context, &key, &pod, &node).await?;
            Ok(None)
        }
        Decision::Unschedulable(message) => {
            refuse(context, &key, &pod, message).await?;
            Ok(Some(RETRY))
        }
    }
}

async fn bind(context: &Context, key: &Key, pod: &Pod, node: &str) -> Result<(), kube::Error> {
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            uid: pod.uid(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            ..ObjectReference::default()
        },
    };
    let api: Api<Pod> = context.api(&key.namespace);
    let body = serde_json::to_vec(&binding).map_err(kube::Error::SerdeError)?;
    // The answer is a Status, not a pod.
    let _: serde_json::Value = context
        .client
        .request(
            kube::api::Request::new(api.resource_url())
                .create_subresource("binding", &key.name, &PostParams::default(), body)
                .map_err(kube::Error::BuildRequest)?,
        )
        .await?;
    // A pod bound here is bound for the next decision too, before the watch tells.
    context.pods.wrote(api.get(&key.name).await?);
    let text = format!("Successfully assigned {key} to {node}");
    context.events.record(COMPONENT, pod, Note::normal("Scheduled", text));
    Ok(())
}

async fn refuse(context: &Context, key: &Key, pod: &Pod, message: String) -> Result<(), kube::Error> {
    let known = condition(pod, "PodScheduled")
        .is_some_and(|condition| condition.status == "False" && condition.message.as_ref() == Some(&message));
    if known {
        return Ok(());
    }
    let condition = PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("Unschedulable".to_owned()),
        message: Some(message.clone()),
        last_transition_time: Some(Time(Timestamp::now())),
        ..PodCondition::default()
    };
    let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
    let api: Api<Pod> = context.api(&key.namespace);
    context.pods.wrote(api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await?);
    context.events.record(COMPONENT, pod, Note::warning("FailedScheduling", message));
    Ok(())
}
