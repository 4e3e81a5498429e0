//! A picture of a component in its cluster: what belongs to it, its pods, their last words, and what the cluster says about them.
//!
//! Secrets are reduced to the names of their keys; everything else is kept as the API server gave it, without managed fields.

use std::collections::BTreeSet;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams, LogParams};
use kube::{Client, Error};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::apply::discovery::Directory;
use crate::apply::inventory;
use crate::apply::{ApplyError, error_text};
use crate::object::{ObjectId, id_of, items, number, text};
use crate::render::pod;

/// The end of a container's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTail {
    /// Namespace of the pod.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Whether this is the container before the last restart.
    pub previous: bool,
    /// Its last lines, oldest first.
    pub lines: Vec<String>,
}

/// A picture of a component in its cluster.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// The component.
    pub component: String,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// What the wait for readiness said last.
    pub notes: Vec<String>,
    /// The component's objects as they are.
    pub objects: Vec<Value>,
    /// Objects that were applied and are not there.
    pub missing: Vec<ObjectId>,
    /// ReplicaSets of the namespaces the component is in.
    pub replica_sets: Vec<Value>,
    /// Pods of these namespaces.
    pub pods: Vec<Value>,
    /// The last words of the containers that are not well.
    pub logs: Vec<LogTail>,
    /// Events of these namespaces.
    pub events: Vec<Value>,
    /// Where their Services lead.
    pub endpoint_slices: Vec<Value>,
    /// Names of the ConfigMaps and Secrets of these namespaces with the names of their keys: `data` without values.
    pub stores: Vec<Value>,
    /// Claims on storage.
    pub claims: Vec<Value>,
    /// Every webhook configuration of the cluster: each can refuse the component's writes.
    pub webhooks: Vec<Value>,
    /// The nodes.
    pub nodes: Vec<Value>,
    /// What could not be looked at, and why.
    pub blind: Vec<String>,
}

/// Why no picture could be taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The inventory could not be read.
    #[error(transparent)]
    Inventory(#[from] ApplyError),
    /// Nothing was ever applied under that name.
    #[error("component `{component}` was never deployed to this cluster\n  = hint: deployed here: {}", known.join(", "))]
    Unknown {
        /// The component.
        component: String,
        /// Those that were.
        known: Vec<String>,
    },
}

const LOG_LINES: i64 = 20;

/// Takes the picture. What cannot be read is noted in `blind` and does not stop the rest; `notes` are the wait's last words.
pub async fn snapshot(client: &Client, component: &str, notes: &[String]) -> Result<Snapshot, SnapshotError> {
    let Some(remembered) = inventory::read(client, component).await? else {
        let known = inventory::read_all(client).await?.into_iter().map(|(name, _)| name).collect();
        return Err(SnapshotError::Unknown { component: component.to_owned(), known });
    };
    let directory = Directory::new(client.clone());
    let mut taken = Snapshot {
        component: component.to_owned(),
        taken_at: Timestamp::now(),
        notes: notes.to_vec(),
        ..Snapshot::default()
    };
    for id in &remembered.objects {
        match live(&directory, id).await {
            Ok(Some(object)) => taken.objects.push(object),
            Ok(None) => taken.missing.push(id.clone()),
            Err(error) => taken.blind.push(format!("{id}: {}", error_text(&error))),
        }
    }
    let namespaces: BTreeSet<&str> =
        remembered.objects.iter().filter_map(|id| id.namespace.as_deref()).collect();
    for namespace in namespaces {
        let blind = &mut taken.blind;
        let within = Some(namespace);
        taken.replica_sets.extend(list(&directory, "apps/v1", "ReplicaSet", within, blind).await);
        taken.pods.extend(list(&directory, "v1", "Pod", within, blind).await);
        taken.events.extend(list(&directory, "v1", "Event", within, blind).await);
        taken
            .endpoint_slices
            .extend(list(&directory, "discovery.k8s.io/v1", "EndpointSlice", within, blind).await);
        taken.claims.extend(list(&directory, "v1", "PersistentVolumeClaim", within, blind).await);
        for kind in ["ConfigMap", "Secret"] {
            taken.stores.extend(list(&directory, "v1", kind, within, blind).await.iter().map(keys_only));
        }
    }
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let found = list(&directory, "admissionregistration.k8s.io/v1", kind, None, &mut taken.blind).await;
        taken.webhooks.extend(found);
    }
    taken.nodes = list(&directory, "v1", "Node", None, &mut taken.blind).await;
    taken.logs = logs(client, &taken).await;
    Ok(taken)
}

async fn live(directory: &Directory, id: &ObjectId) -> Result<Option<Value>, Error> {
    let Some(api) = directory.api_of_group(&id.group, &id.kind, id.namespace.as_deref()).await? else {
        return Ok(None);
    };
    Ok(api.get_opt(&id.name).await?.map(plain))
}

async fn list(
    directory: &Directory,
    api_version: &str,
    kind: &str,
    namespace: Option<&str>,
    blind: &mut Vec<String>,
) -> Vec<Value> {
    let found = async {
        match directory.api(api_version, kind, namespace).await? {
            Some(api) => Ok::<_, Error>(api.list(&ListParams::default()).await?.items),
            None => Ok(Vec::new()),
        }
    };
    match found.await {
        Ok(found) => {
            let typed = found.into_iter().map(plain).map(|mut value| {
                // Items of a list do not repeat what they are.
                value["apiVersion"] = Value::from(api_version);
                value["kind"] = Value::from(kind);
                value
            });
            typed.collect()
        }
        Err(error) => {
            blind.push(format!("{kind} in {}: {}", namespace.unwrap_or("the cluster"), error_text(&error)));
            Vec::new()
        }
    }
}

/// An object as JSON, without the bookkeeping of who set which field, and a Secret without its values.
fn plain(mut object: DynamicObject) -> Value {
    object.metadata.managed_fields = None;
    let value = serde_json::to_value(&object).unwrap_or_default();
    if text(&value, "/kind") == "Secret" { keys_only(&value) } else { value }
}

fn keys_only(store: &Value) -> Value {
    let fields = ["data", "binaryData"].into_iter().filter_map(|field| store.get(field)?.as_object());
    let keys: serde_json::Map<String, Value> =
        fields.flat_map(|data| data.keys().map(|key| (key.clone(), Value::Null))).collect();
    json!({
        "apiVersion": store["apiVersion"],
        "kind": store["kind"],
        "metadata": { "name": store["metadata"]["name"], "namespace": store["metadata"]["namespace"] },
        "data": keys,
    })
}

/// The last lines of every container that is not ready or has been restarted, of both its lives.
async fn logs(client: &Client, taken: &Snapshot) -> Vec<LogTail> {
    let mut wanted = Vec::new();
    for each in &taken.pods {
        let id = id_of(each);
        let declared = pod::containers(each).len();
        for list in ["/status/initContainerStatuses", "/status/containerStatuses"] {
            for status in items(each, list) {
                let restarted = number(status, "/restartCount").unwrap_or(0) > 0;
                let ready = status.pointer("/ready").and_then(Value::as_bool).unwrap_or(false);
                let done = number(status, "/state/terminated/exitCode") == Some(0);
                if (ready || done) && !restarted && declared > 0 {
                    continue;
                }
                let (namespace, name) = (id.namespace.clone().unwrap_or_default(), id.name.clone());
                let container = text(status, "/name").to_owned();
                wanted.push((namespace.clone(), name.clone(), container.clone(), false));
                if restarted {
                    wanted.push((namespace, name, container, true));
                }
            }
        }
    }
    let read = wanted.into_iter().map(|(namespace, pod, container, previous)| async move {
        let params = LogParams {
            container: Some(container.clone()),
            previous,
            tail_lines: Some(LOG_LINES),
            ..LogParams::default()
        };
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        // A container that never ran has no log.
        let lines: Vec<String> = api.logs(&pod, &params).await.ok()?.lines().map(str::to_owned).collect();
        (!lines.is_empty()).then_some(LogTail { namespace, pod, container, previous, lines })
    });
    join_all(read).await.into_iter().flatten().collect()
}
