//! Deployment: one ReplicaSet per pod template, replaced by rolling update or recreation.

mod decide;
pub(crate) mod rollout;
mod status;
pub(crate) mod template;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use self::decide::{Observed, Plan, REVISION, Step, decide};
use super::cache::Key;
use super::context::Context;
use super::events::Note;
use super::pods::{controller_key, controller_of, controller_reference, labels};
use super::queue::{Queue, Tasks};
use super::selector;

const COMPONENT: &str = "deployment-controller";

/// Registers the handlers and starts the workers.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut Tasks) {
    let queue = Queue::new();
    context.deployments.on_change({
        let queue = queue.clone();
        move |change| change.latest().into_iter().for_each(|deployment| queue.add(Key::of(&**deployment)))
    });
    context.replica_sets.on_change({
        let (queue, weak) = (queue.clone(), Arc::downgrade(context));
        move |change| {
            for set in change.states() {
                if let Some(key) = controller_key::<Deployment>(&**set) {
                    queue.add(key);
                } else if let (None, Some(context)) = (controller_of(&**set), weak.upgrade()) {
                    let candidates =
                        context.deployments.cache().in_namespace(&set.namespace().unwrap_or_default());
                    candidates
                        .iter()
                        .filter(|one| selects(one, set))
                        .for_each(|one| queue.add(Key::of(&**one)));
                }
            }
        }
    });
    // A Deployment that recreates waits for the last old pod to go.
    context.pods.on_change({
        let (queue, weak) = (queue.clone(), Arc::downgrade(context));
        move |change| {
            if change.new.is_some() {
                return;
            }
            let owner = change.old.as_ref().and_then(|pod: &Arc<Pod>| controller_key::<ReplicaSet>(&**pod));
            let Some((context, owner)) = weak.upgrade().zip(owner) else { return };
            let set = context.replica_sets.cache().get(&owner);
            set.and_then(|set| controller_key::<Deployment>(&*set))
                .into_iter()
                .for_each(|key| queue.add(key));
        }
    });
    let context = context.clone();
    tasks.work("deployment", 2, queue, move |key| {
        let context = context.clone();
        async move { sync(&context, key).await }
    });
}

fn selects(deployment: &Deployment, set: &ReplicaSet) -> bool {
    deployment.spec.as_ref().is_some_and(|spec| selector::matches(&spec.selector, labels(set)))
}

async fn sync(context: &Context, key: Key) -> Result<Option<Duration>, kube::Error> {
    let Some(deployment) = context.deployments.cache().get(&key) else { return Ok(None) };
    let sets = context.replica_sets.cache();
    let owned = sets.owned_by(&deployment.uid().unwrap_or_default());
    let pods =
        owned.iter().flat_map(|set| context.pods.cache().owned_by(&set.uid().unwrap_or_default())).collect();
    let Plan { steps, revision, mut status, look_again } = decide(&Observed {
        orphans: sets.orphans(&key.namespace),
        deployment: deployment.clone(),
        owned,
        pods,
        now: Timestamp::now(),
    });
    for step in steps {
        if act(context, &deployment, step).await? == Outcome::NameTaken {
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        }
    }
    let mut current = (*deployment).clone();
    if let Some(revision) =
        revision.filter(|revision| deployment.annotations().get(REVISION) != Some(revision))
    {
        let patch = json!({"metadata": {"uid": deployment.uid(), "annotations": {REVISION: revision}}});
        let api: Api<Deployment> = context.api(&key.namespace);
        current = api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        context.deployments.wrote(current.clone());
    }
    if current.status.as_ref() != Some(&status) {
        current.status = Some(status);
        context.replace_status(&context.deployments, &current).await?;
    }
    Ok(look_again)
}

#[derive(PartialEq)]
enum Outcome {
    Done,
    /// Another object has the name a new ReplicaSet was to get.
    NameTaken,
}

async fn act(context: &Context, deployment: &Arc<Deployment>, step: Step) -> Result<Outcome, kube::Error> {
    match step {
        Step::Adopt(set) => own(context, deployment, &set, true).await?,
        Step::Release(set) => own(context, deployment, &set, false).await?,
        Step::Annotate(set, annotations) => {
            patch(context, &set, json!({"metadata": {"uid": set.uid(), "annotations": annotations}})).await?;
        }
        Step::Delete(set) => context.delete(&context.replica_sets, &*set).await?,
        Step::Scale(scale) => {
            let body = json!({"metadata": {"uid": scale.set.uid()}, "spec": {"replicas": scale.to}});
            patch(context, &scale.set, body).await?;
            report_scale(context, deployment, &scale.set.name_any(), rollout::wanted(&scale.set), scale.to);
        }
        Step::Create(set) => match context.create(&context.replica_sets, &*set).await {
            Ok(created) => {
                let size = rollout::wanted(&created);
                if size > 0 {
                    report_scale(context, deployment, &created.name_any(), 0, size);
                }
            }
            Err(kube::Error::Api(answer)) if answer.is_already_exists() => {
                let api: Api<ReplicaSet> = context.api(&set.namespace().unwrap_or_default());
                let existing = api.get_opt(&set.name_any()).await?;
                let ours = existing.as_ref().and_then(controller_of).map(|owner| &owner.uid)
                    == deployment.metadata.uid.as_ref();
                existing.into_iter().for_each(|set| context.replica_sets.wrote(set));
                if !ours {
                    return Ok(Outcome::NameTaken);
                }
            }
            Err(error) => {
                let text = format!("Failed to create new replica set \"{}\": {error}", set.name_any());
                context.events.record(COMPONENT, &**deployment, Note::warning("FailedCreate", text));
                return Err(error);
            }
        },
    }
    Ok(Outcome::Done)
}

fn report_scale(context: &Context, deployment: &Deployment, set: &str, from: i32, to: i32) {
    let direction = if to > from { "up" } else { "down" };
    let text = format!("Scaled {direction} replica set {set} from {from} to {to}");
    context.events.record(COMPONENT, deployment, Note::normal("ScalingReplicaSet", text));
}

async fn own(
    context: &Context,
    deployment: &Deployment,
    set: &ReplicaSet,
    adopt: bool,
) -> Result<(), kube::Error> {
    let mut owners = set.owner_references().to_vec();
    let uid = deployment.uid();
    owners.retain(|owner| Some(&owner.uid) != uid.as_ref());
    if adopt {
        owners.push(controller_reference(deployment));
    }
    let body = json!({"metadata": {
        "uid": set.uid(), "resourceVersion": set.resource_version(), "ownerReferences": owners,
    }});
    patch(context, set, body).await
}

async fn patch(context: &Context, set: &ReplicaSet, body: Value) -> Result<(), kube::Error> {
    let api: Api<ReplicaSet> = context.api(&set.namespace().unwrap_or_default());
    let patched = api.patch(&set.name_any(), &PatchParams::default(), &Patch::Merge(body)).await?;
    context.replica_sets.wrote(patched);
    Ok(())
}
