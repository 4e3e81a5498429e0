//! StatefulSet: pods with names, hosts and volumes of their own, made, replaced and removed in order.

mod decide;
mod pod;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

use self::decide::{Observed, Plan, Step, decide};
use super::cache::Key;
use super::context::Context;
use super::events::Note;
use super::history::record;
use super::pods::{controller_key, controller_of, controller_reference, labels};
use super::queue::{Queue, Tasks};
use super::selector;

const COMPONENT: &str = "statefulset-controller";

/// Registers the handlers and starts the workers.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut Tasks) {
    let queue = Queue::new();
    context.stateful_sets.on_change({
        let queue = queue.clone();
        move |change| change.latest().into_iter().for_each(|set| queue.add(Key::of(&**set)))
    });
    context.pods.on_change({
        let (queue, weak) = (queue.clone(), Arc::downgrade(context));
        move |change| {
            for pod in change.states() {
                if let Some(key) = controller_key::<StatefulSet>(&**pod) {
                    queue.add(key);
                } else if let (None, Some(context)) = (controller_of(&**pod), weak.upgrade()) {
                    let namespace = pod.namespace().unwrap_or_default();
                    let candidates = context.stateful_sets.cache().in_namespace(&namespace);
                    let ours = candidates.iter().filter(|set| selects(set, pod));
                    ours.for_each(|set| queue.add(Key::of(&**set)));
                }
            }
        }
    });
    let context = context.clone();
    tasks.work("statefulset", 2, queue, move |key| {
        let context = context.clone();
        async move { sync(&context, key).await }
    });
}

fn selects(set: &StatefulSet, pod: &Pod) -> bool {
    set.spec.as_ref().is_some_and(|spec| selector::matches(&spec.selector, labels(pod)))
}

async fn sync(context: &Context, key: Key) -> Result<Option<Duration>, kube::Error> {
    let Some(set) = context.stateful_sets.cache().get(&key) else { return Ok(None) };
    let uid = set.uid().unwrap_or_default();
    let pods = context.pods.cache();
    let Plan { revision, steps, expired, status, look_again } = decide(&Observed {
        set: set.clone(),
        pods: pods.owned_by(&uid),
        orphans: pods.orphans(&key.namespace),
        revisions: context.revisions.cache().owned_by(&uid),
        now: Timestamp::now(),
    });
    record(context, revision).await?;
    for step in steps {
        act(context, &set, step).await?;
    }
    for revision in expired {
        context.delete(&context.revisions, &*revision).await?;
    }
    if set.status.as_ref() != Some(&status) {
        let mut update = (*set).clone();
        update.status = Some(status);
        context.replace_status(&context.stateful_sets, &update).await?;
    }
    Ok(look_again)
}

async fn act(context: &Context, set: &StatefulSet, step: Step) -> Result<(), kube::Error> {
    let name = set.name_any();
    match step {
        Step::Adopt(pod) => {
            let mut owners = pod.owner_references().to_vec();
            owners.push(controller_reference(set));
            let change = json!({
                "metadata": {"resourceVersion": pod.resource_version(), "ownerReferences": owners},
            });
            context.merge(&context.pods, &*pod, change).await?;
        }
        Step::Delete(pod) => {
            context.delete(&context.pods, &*pod).await?;
            let text = format!("delete Pod {} in StatefulSet {name} successful", pod.name_any());
            context.events.record(COMPONENT, set, Note::normal("SuccessfulDelete", text));
        }
        Step::Create { pod, claims } => {
            for claim in claims {
                if context.claims.cache().get(&Key::of(&claim)).is_some() {
                    continue;
                }
                match context.create(&context.claims, &claim).await {
                    Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                    other => drop(other?),
                }
            }
            match context.create(&context.pods, &*pod).await {
                Ok(_) => {
                    let text = format!("create Pod {} in StatefulSet {name} successful", pod.name_any());
                    context.events.record(COMPONENT, set, Note::normal("SuccessfulCreate", text));
                }
                Err(error) => {
                    let text =
                        format!("create Pod {} in StatefulSet {name} failed error: {error}", pod.name_any());
                    context.events.record(COMPONENT, set, Note::warning("FailedCreate", text));
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}
