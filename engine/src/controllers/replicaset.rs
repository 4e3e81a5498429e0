//! ReplicaSet: keeps as many pods as asked for, takes in pods that match, reports how many are ready.

mod decide;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use self::decide::{Observed, decide};
use super::cache::Key;
use super::context::{Context, in_growing_batches};
use super::events::Note;
use super::pods::{controller_key, controller_of, controller_reference, from_template, labels};
use super::queue::{Queue, Tasks};
use super::selector;

const COMPONENT: &str = "replicaset-controller";

/// Registers the handlers and starts the workers.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut Tasks) {
    let queue = Queue::new();
    context.replica_sets.on_change({
        let queue = queue.clone();
        move |change| change.latest().into_iter().for_each(|replica_set| queue.add(Key::of(&**replica_set)))
    });
    context.pods.on_change({
        let (queue, weak) = (queue.clone(), Arc::downgrade(context));
        move |change| {
            for pod in change.states() {
                if let Some(key) = controller_key::<ReplicaSet>(&**pod) {
                    queue.add(key);
                } else if let (None, Some(context)) = (controller_of(&**pod), weak.upgrade()) {
                    let namespace = pod.namespace().unwrap_or_default();
                    let candidates = context.replica_sets.cache().in_namespace(&namespace);
                    candidates
                        .iter()
                        .filter(|set| selects(set, pod))
                        .for_each(|set| queue.add(Key::of(&**set)));
                }
            }
        }
    });
    let context = context.clone();
    tasks.work("replicaset", 2, queue, move |key| {
        let context = context.clone();
        async move { sync(&context, key).await }
    });
}

fn selects(replica_set: &ReplicaSet, pod: &Pod) -> bool {
    replica_set.spec.as_ref().is_some_and(|spec| selector::matches(&spec.selector, labels(pod)))
}

async fn sync(context: &Context, key: Key) -> Result<Option<Duration>, kube::Error> {
    let Some(replica_set) = context.replica_sets.cache().get(&key) else { return Ok(None) };
    let pods = context.pods.cache();
    let plan = decide(&Observed {
        owned: pods.owned_by(&replica_set.uid().unwrap_or_default()),
        orphans: pods.orphans(&key.namespace),
        replica_set: replica_set.clone(),
        now: Timestamp::now(),
    });
    for pod in &plan.adopt {
        own(context, &replica_set, pod, true).await?;
    }
    for pod in &plan.release {
        own(context, &replica_set, pod, false).await?;
    }
    if !plan.adopt.is_empty() || !plan.release.is_empty() {
        // The changed pods put the key into the queue again.
        return Ok(None);
    }
    let scaled = scale(context, &replica_set, plan.create, plan.delete).await;
    let failure = scaled.as_ref().err().map(|(reason, error)| ReplicaSetCondition {
        type_: "ReplicaFailure".to_owned(),
        status: "True".to_owned(),
        reason: Some((*reason).to_owned()),
        message: Some(error.to_string()),
        last_transition_time: Some(Time(Timestamp::now())),
    });
    let status = decide::with_failure(plan.status, &replica_set, failure);
    if replica_set.status.as_ref() != Some(&status) {
        let mut update = (*replica_set).clone();
        update.status = Some(status);
        context.replace_status(&context.replica_sets, &update).await?;
    }
    scaled.map_err(|(_, error)| error)?;
    Ok(plan.look_again)
}

async fn scale(
    context: &Context,
    replica_set: &Arc<ReplicaSet>,
    create: usize,
    delete: Vec<Arc<Pod>>,
) -> Result<(), (&'static str, kube::Error)> {
    let template = replica_set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let created = in_growing_batches(vec![(); create], |()| async {
        let pod = context.create(&context.pods, &from_template(&**replica_set, &template)).await?;
        let note = Note::normal("SuccessfulCreate", format!("Created pod: {}", pod.name_any()));
        context.events.record(COMPONENT, &**replica_set, note);
        Ok(())
    });
    if let Err(error) = created.await {
        let note = Note::warning("FailedCreate", format!("Error creating: {error}"));
        context.events.record(COMPONENT, &**replica_set, note);
        return Err(("FailedCreate", error));
    }
    let deleted = in_growing_batches(delete, |pod| async move {
        context.delete(&context.pods, &*pod).await?;
        let note = Note::normal("SuccessfulDelete", format!("Deleted pod: {}", pod.name_any()));
        context.events.record(COMPONENT, &**replica_set, note);
        Ok(())
    });
    deleted.await.map_err(|error| ("FailedDelete", error))
}

/// Adds or removes the controller reference of one pod; uid and revision guard against another pod and another adopter.
async fn own(context: &Context, replica_set: &ReplicaSet, pod: &Pod, adopt: bool) -> Result<(), kube::Error> {
    let mut owners = pod.owner_references().to_vec();
    let uid = replica_set.uid();
    owners.retain(|owner| Some(&owner.uid) != uid.as_ref());
    if adopt {
        owners.push(controller_reference(replica_set));
    }
    let patch = json!({"metadata": {
        "uid": pod.uid(), "resourceVersion": pod.resource_version(), "ownerReferences": owners,
    }});
    let api: Api<Pod> = context.api(&pod.namespace().unwrap_or_default());
    context.pods.wrote(api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?);
    Ok(())
}
