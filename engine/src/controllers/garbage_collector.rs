//! Garbage collector: what has lost its last owner goes; an owner that is deleted in the foreground waits for what blocks it; one that
//! leaves orphans lets them go first.

mod graph;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use serde_json::{Value, json};

use self::graph::{FOREGROUND, Graph, Item, Owner, Step};
use super::context::Context;
use super::queue::{Queue, Tasks};

/// Most live look-ups for one decision: each answers one owner, and no object has that many.
const LOOKUPS: usize = 64;

/// Registers the handler and starts the workers. Keys are uids.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut Tasks) {
    let queue = Queue::new();
    let graph: Arc<Mutex<Graph>> = Arc::default();
    context.inventory.on_observation({
        let (queue, graph) = (queue.clone(), graph.clone());
        move |observation| {
            let affected = lock(&graph).observe(observation);
            affected.into_iter().for_each(|uid| queue.add(uid));
        }
    });
    let context = context.clone();
    tasks.work("garbage collector", 4, queue, move |uid: String| {
        let (context, graph) = (context.clone(), graph.clone());
        async move { sync(&context, &graph, &uid).await }
    });
}

fn lock(graph: &Mutex<Graph>) -> MutexGuard<'_, Graph> {
    graph.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn sync(context: &Context, graph: &Mutex<Graph>, uid: &str) -> Result<Option<Duration>, kube::Error> {
    let mut known = HashMap::new();
    for _ in 0..LOOKUPS {
        let (item, step) = {
            let graph = lock(graph);
            let Some(item) = graph.get(uid) else { return Ok(None) };
            (item, graph.decide(uid, &known))
        };
        match step {
            Step::Nothing => return Ok(None),
            Step::LookUp(owner) => {
                known.insert(owner.uid.clone(), look_up(context, &item, &owner).await?);
            }
            Step::Delete(policy) => return gone_is_fine(delete(context, &item, policy).await),
            Step::SetOwners(owners) => {
                let change = json!({"ownerReferences": owners});
                return gone_is_fine(patch(context, &item, change).await);
            }
            Step::RemoveFinalizer(finalizer) => {
                return gone_is_fine(remove_finalizer(context, &item, finalizer).await);
            }
            Step::Orphan(dependents) => {
                for dependent in dependents {
                    let left = dependent.owners_without(uid);
                    gone_is_fine(patch(context, &dependent, json!({"ownerReferences": left})).await)?;
                }
                // Looked at again when the dependents are seen to be free.
                return Ok(None);
            }
        }
    }
    Ok(None)
}

fn gone_is_fine(answer: Result<(), kube::Error>) -> Result<Option<Duration>, kube::Error> {
    match answer {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        other => other.map(|()| None),
    }
}

/// Asks for an owner that is not in the graph.
async fn look_up(context: &Context, item: &Item, owner: &OwnerReference) -> Result<Owner, kube::Error> {
    let Some(kind) = context.inventory.kind(&owner.api_version, &owner.kind) else {
        return Ok(Owner::Undecidable);
    };
    if kind.namespaced && item.namespace.is_empty() {
        return Ok(Owner::Undecidable);
    }
    let namespace = if kind.namespaced { item.namespace.as_str() } else { "" };
    let found = kind.api(&context.client, namespace).get_opt(&owner.name).await?;
    Ok(match found.map(|object| object.metadata) {
        Some(metadata) if metadata.uid.as_deref() == Some(&owner.uid) => {
            let finalizers = metadata.finalizers.unwrap_or_default();
            let waits = metadata.deletion_timestamp.is_some()
                && finalizers.iter().any(|finalizer| finalizer == FOREGROUND);
            if waits { Owner::Waiting } else { Owner::Solid }
        }
        _ => Owner::Absent,
    })
}

/// Deletes exactly the state that was decided on: somebody may have adopted the object since.
async fn delete(context: &Context, item: &Item, policy: PropagationPolicy) -> Result<(), kube::Error> {
    let params = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() }.preconditions(
        Preconditions { uid: Some(item.uid.clone()), resource_version: Some(item.resource_version.clone()) },
    );
    item.kind.api(&context.client, &item.namespace).delete(&item.name, &params).await.map(drop)
}

async fn remove_finalizer(context: &Context, item: &Item, finalizer: &str) -> Result<(), kube::Error> {
    let left: Vec<&String> = item.finalizers.iter().filter(|one| *one != finalizer).collect();
    patch(context, item, json!({"finalizers": left})).await
}

async fn patch(context: &Context, item: &Item, mut metadata: Value) -> Result<(), kube::Error> {
    metadata["uid"] = json!(item.uid);
    metadata["resourceVersion"] = json!(item.resource_version);
    let api = item.kind.api(&context.client, &item.namespace);
    let patch = Patch::Merge(json!({"metadata": metadata}));
    api.patch(&item.name, &PatchParams::default(), &patch).await.map(drop)
}
