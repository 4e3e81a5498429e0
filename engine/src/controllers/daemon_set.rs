//! DaemonSet: one pod on every node that takes it.

mod decide;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::ResourceExt;

use self::decide::{Observed, Plan, decide};
use super::cache::Key;
use super::context::{Context, in_growing_batches};
use super::events::Note;
use super::history::record;
use super::pods::controller_key;
use super::queue::{Queue, Tasks};

const COMPONENT: &str = "daemonset-controller";

/// Registers the handlers and starts the workers.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut Tasks) {
    let queue = Queue::new();
    context.daemon_sets.on_change({
        let queue = queue.clone();
        move |change| change.latest().into_iter().for_each(|set| queue.add(Key::of(&**set)))
    });
    context.pods.on_change({
        let queue = queue.clone();
        move |change| {
            let owner = change.latest().and_then(|pod| controller_key::<DaemonSet>(&**pod));
            owner.into_iter().for_each(|key| queue.add(key));
        }
    });
    context.nodes.on_change({
        let (queue, weak) = (queue.clone(), Arc::downgrade(context));
        move |_| {
            let sets = weak.upgrade().map(|context| context.daemon_sets.cache().all());
            sets.iter().flatten().for_each(|set| queue.add(Key::of(&**set)));
        }
    });
    let context = context.clone();
    tasks.work("daemonset", 2, queue, move |key| {
        let context = context.clone();
        async move { sync(&context, key).await }
    });
}

async fn sync(context: &Context, key: Key) -> Result<Option<Duration>, kube::Error> {
    let Some(set) = context.daemon_sets.cache().get(&key) else { return Ok(None) };
    let uid = set.uid().unwrap_or_default();
    let Plan { revision, create, delete, expired, status, look_again } = decide(&Observed {
        set: set.clone(),
        pods: context.pods.cache().owned_by(&uid),
        nodes: context.nodes.cache().all(),
        revisions: context.revisions.cache().owned_by(&uid),
        now: Timestamp::now(),
    });
    record(context, revision).await?;
    in_growing_batches(delete, |pod| {
        let set = &set;
        async move {
            context.delete(&context.pods, &*pod).await?;
            let note = Note::normal("SuccessfulDelete", format!("Deleted pod: {}", pod.name_any()));
            context.events.record(COMPONENT, &**set, note);
            Ok(())
        }
    })
    .await?;
    let created = in_growing_batches(create, |pod| {
        let set = &set;
        async move {
            let pod = context.create(&context.pods, &pod).await?;
            let note = Note::normal("SuccessfulCreate", format!("Created pod: {}", pod.name_any()));
            context.events.record(COMPONENT, &**set, note);
            Ok(())
        }
    });
    if let Err(error) = created.await {
        let note = Note::warning("FailedCreate", format!("Error creating: {error}"));
        context.events.record(COMPONENT, &*set, note);
        return Err(error);
    }
    for revision in expired {
        context.delete(&context.revisions, &*revision).await?;
    }
    if set.status.as_ref() != Some(&status) {
        let mut update = (*set).clone();
        update.status = Some(status);
        context.replace_status(&context.daemon_sets, &update).await?;
    }
    Ok(look_again)
}
