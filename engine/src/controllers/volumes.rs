//! Persistent volumes: claims are bound to volumes that fit, volumes are made for claims of the node-directory class, and what is
//! left of a volume goes when its claim has gone.

mod claim;
mod local_path;
mod volume;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{Api, ResourceExt};
use serde_json::json;

use self::claim::{Observed, PROTECTION, Step};
pub(crate) use self::claim::{SELECTED_NODE, is_bound, waits_for_consumer};
use self::volume::Fate;
use super::cache::Key;
use super::context::Context;
use super::events::Note;
use super::pods::{is_finished, is_terminating};
use super::queue::{Queue, Tasks};
use crate::bootstrap::LOCAL_PATH;

const COMPONENT: &str = "persistentvolume-controller";

/// Registers the handlers and starts the workers: one each, because two could give one volume to two claims.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut Tasks) {
    let claims = Queue::new();
    let volumes = Queue::new();
    context.claims.on_change({
        let (claims, volumes) = (claims.clone(), volumes.clone());
        move |change| {
            let Some(claim) = change.latest() else { return };
            claims.add(Key::of(&**claim));
            if let Some(volume) = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_ref()) {
                volumes.add(Key::new("", volume));
            }
        }
    });
    context.volumes.on_change({
        let (claims, volumes, weak) = (claims.clone(), volumes.clone(), Arc::downgrade(context));
        move |change| {
            let Some(volume) = change.latest() else { return };
            volumes.add(Key::of(&**volume));
            match volume::claim_of(volume) {
                Some((key, _)) => claims.add(key),
                None => weak.upgrade().iter().for_each(|context| add_unbound(context, &claims)),
            }
        }
    });
    context.storage_classes.on_change({
        let (claims, weak) = (claims.clone(), Arc::downgrade(context));
        move |_| weak.upgrade().iter().for_each(|context| add_unbound(context, &claims))
    });
    // A claim that is to be deleted waits for the pods that use it.
    context.pods.on_change({
        let claims = claims.clone();
        move |change| {
            let ended = change.new.as_ref().is_none_or(|pod| is_finished(pod));
            let Some(pod) = change.latest().filter(|_| ended) else { return };
            let namespace = pod.namespace().unwrap_or_default();
            claim_names(pod).for_each(|name| claims.add(Key::new(namespace.as_str(), name)));
        }
    });
    {
        let context = context.clone();
        tasks.work("persistent volume claims", 1, claims, move |key| {
            let context = context.clone();
            async move { sync_claim(&context, key).await }
        });
    }
    let context = context.clone();
    tasks.work("persistent volumes", 1, volumes, move |key| {
        let context = context.clone();
        async move { sync_volume(&context, key).await }
    });
}

fn add_unbound(context: &Context, claims: &Queue<Key>) {
    let all = context.claims.cache().all();
    let unbound = all.iter().filter(|claim| !is_bound(claim));
    unbound.for_each(|claim| claims.add(Key::of(&**claim)));
}

/// Names of the claims a pod mounts.
fn claim_names(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

async fn sync_claim(context: &Context, key: Key) -> Result<Option<Duration>, kube::Error> {
    let Some(claim) = context.claims.cache().get(&key) else { return Ok(None) };
    let pods = context.pods.cache().in_namespace(&key.namespace);
    let in_use = pods.iter().any(|pod| !is_finished(pod) && claim_names(pod).any(|name| name == key.name));
    let step = claim::decide(&Observed {
        claim: claim.clone(),
        volumes: context.volumes.cache().all(),
        classes: context.storage_classes.cache().all(),
        in_use,
    });
    match step {
        Step::Nothing => {}
        Step::Protect(protect) => protect_claim(context, &claim, protect).await?,
        Step::SetClass(class) => {
            context.merge(&context.claims, &*claim, json!({"spec": {"storageClassName": class}})).await?;
        }
        Step::Reserve(volume) => {
            let reserved = volume::reserved(&volume, &claim);
            context.replace(&context.volumes, &reserved).await?;
        }
        Step::Bind(volume) => {
            let annotations = json!({"pv.kubernetes.io/bind-completed": "yes"});
            let change = json!({
                "metadata": {"annotations": annotations}, "spec": {"volumeName": volume.name_any()},
            });
            context.merge(&context.claims, &*claim, change).await?;
        }
        Step::Report(status) => {
            let mut update = (*claim).clone();
            update.status = Some(*status);
            context.replace_status(&context.claims, &update).await?;
        }
        Step::Provision { class, node } => provision(context, &claim, &class, node.as_deref()).await?,
        Step::Tell(note) => context.events.record(COMPONENT, &*claim, note),
    }
    Ok(None)
}

async fn protect_claim(
    context: &Context,
    claim: &PersistentVolumeClaim,
    protect: bool,
) -> Result<(), kube::Error> {
    let mut finalizers = claim.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != PROTECTION);
    if protect {
        finalizers.push(PROTECTION.to_owned());
    }
    let change = json!({
        "metadata": {"resourceVersion": claim.resource_version(), "finalizers": finalizers},
    });
    let merged = context.merge(&context.claims, claim, change).await?;
    if !protect && merged.finalizers().is_empty() {
        context.claims.wrote_deletion(&Key::of(claim), &claim.uid().unwrap_or_default());
    }
    Ok(())
}

async fn provision(
    context: &Context,
    claim: &PersistentVolumeClaim,
    class: &k8s_openapi::api::storage::v1::StorageClass,
    node: Option<&str>,
) -> Result<(), kube::Error> {
    let volume = local_path::volume(claim, class, node, &context.options.volumes);
    let made = local_path::path_of(&volume).map_or(Ok(()), local_path::make);
    if let Err(error) = made {
        let text = format!("failed to provision volume with StorageClass \"{}\": {error}", class.name_any());
        context.events.record(COMPONENT, claim, Note::warning("ProvisioningFailed", text));
        return Err(kube::Error::Service(error.into()));
    }
    match context.create(&context.volumes, &volume).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => return Ok(()),
        other => drop(other?),
    }
    let text = format!("Successfully provisioned volume {}", volume.name_any());
    context.events.record(COMPONENT, claim, Note::normal("ProvisioningSucceeded", text));
    Ok(())
}

async fn sync_volume(context: &Context, key: Key) -> Result<Option<Duration>, kube::Error> {
    let Some(volume) = context.volumes.cache().get(&key) else { return Ok(None) };
    if is_terminating(&*volume) {
        return Ok(None);
    }
    let claim = match volume::claim_of(&volume) {
        Some((key, _)) => known_claim(context, &key).await?,
        None => None,
    };
    match volume::fate(&volume, claim.as_deref()) {
        Fate::Stays(phase) => report_phase(context, &volume, phase).await?,
        Fate::Released => {
            report_phase(context, &volume, "Released").await?;
        }
        Fate::Goes => {
            report_phase(context, &volume, "Released").await?;
            if let Some(path) =
                local_path::path_of(&volume).filter(|path| path.starts_with(&context.options.volumes))
                && let Err(error) = local_path::remove(path)
            {
                let text = format!("failed to remove the data of the volume: {error}");
                context.events.record(COMPONENT, &*volume, Note::warning("VolumeFailedDelete", text));
                return Err(kube::Error::Service(error.into()));
            }
            context.delete(&context.volumes, &*volume).await?;
        }
    }
    Ok(None)
}

/// A claim; the API server is asked before one counts as gone, because data may depend on it.
async fn known_claim(
    context: &Context,
    key: &Key,
) -> Result<Option<Arc<PersistentVolumeClaim>>, kube::Error> {
    if let Some(claim) = context.claims.cache().get(key) {
        return Ok(Some(claim));
    }
    let api: Api<PersistentVolumeClaim> = context.api(&key.namespace);
    Ok(api.get_opt(&key.name).await?.map(Arc::new))
}

async fn report_phase(context: &Context, volume: &PersistentVolume, phase: &str) -> Result<(), kube::Error> {
    let mut update = volume.clone();
    let status = update.status.get_or_insert_default();
    if status.phase.as_deref() == Some(phase) {
        return Ok(());
    }
    status.phase = Some(phase.to_owned());
    context.replace_status(&context.volumes, &update).await
}

/// Whether volumes of a class are made here.
fn is_local_path(class: &k8s_openapi::api::storage::v1::StorageClass) -> bool {
    class.provisioner == LOCAL_PATH
}
