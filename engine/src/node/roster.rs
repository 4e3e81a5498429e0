//! Which pods the node has: each one bound to it gets a worker, which is told what happens to the pod and what it refers to.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret};
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Node;
use super::pod::worker::{Message, Worker};
use super::references::{self, Kind, Names};
use crate::controllers::cache::Change;
use crate::controllers::informer::Informer;

/// The workers by the uid of their pod.
#[derive(Default)]
struct Roster(Mutex<HashMap<String, Entry>>);

struct Entry {
    namespace: String,
    refers_to: Names,
    worker: UnboundedSender<Message>,
}

/// Runs the pods of the node until `shutdown`, and ends them then.
pub(super) async fn keep(node: &Arc<Node>, shutdown: &CancellationToken) {
    let roster = Arc::<Roster>::default();
    let tasks = TaskTracker::new();
    let ours = watcher::Config::default().fields(&format!("spec.nodeName={}", node.options.name));
    let pods: Arc<Informer<Pod>> = Informer::new(Api::all(node.client.clone()), ours);
    let (noted, workers, node_) = (Arc::clone(&roster), tasks.clone(), Arc::clone(node));
    pods.on_change(move |change| noted.pod_changed(&node_, &workers, change));
    tokio::join!(
        pods.run(shutdown.clone()),
        follow::<ConfigMap>(node, &roster, Kind::ConfigMap, shutdown),
        follow::<Secret>(node, &roster, Kind::Secret, shutdown),
        follow::<PersistentVolumeClaim>(node, &roster, Kind::Claim, shutdown),
    );
    for (_, entry) in roster.entries().drain() {
        let _ended_already = entry.worker.send(Message::NodeEnds);
    }
    tasks.close();
    tasks.wait().await;
}

/// Tells workers when an object of this kind changes that their pod refers to.
async fn follow<K>(node: &Node, roster: &Arc<Roster>, kind: Kind, shutdown: &CancellationToken)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let informer: Arc<Informer<K>> = Informer::new(Api::all(node.client.clone()), watcher::Config::default());
    let roster = Arc::clone(roster);
    informer.on_change(move |change| {
        if let Some(object) = change.latest() {
            roster.reference_changed(&object.namespace().unwrap_or_default(), &(kind, object.name_any()));
        }
    });
    informer.run(shutdown.clone()).await;
}

impl Roster {
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pod_changed(&self, node: &Arc<Node>, tasks: &TaskTracker, change: &Change<Pod>) {
        let uid = |pod: &Arc<Pod>| pod.uid().unwrap_or_default();
        let mut entries = self.entries();
        if let Some(old) = &change.old
            && change.new.as_ref().map(uid) != Some(uid(old))
            && let Some(entry) = entries.remove(&uid(old))
        {
            let _ended_already = entry.worker.send(Message::Vanished);
        }
        let Some(pod) = &change.new else { return };
        if let Some(entry) = entries.get(&uid(pod)) {
            let _ended_already = entry.worker.send(Message::Changed(Arc::clone(pod)));
            return;
        }
        let (worker, sender) = Worker::new(Arc::clone(node), Arc::clone(pod));
        let entry = Entry {
            namespace: pod.namespace().unwrap_or_default(),
            refers_to: references::of_pod(pod),
            worker: sender,
        };
        entries.insert(uid(pod), entry);
        tasks.spawn(worker.run());
    }

    fn reference_changed(&self, namespace: &str, name: &(Kind, String)) {
        for entry in self.entries().values() {
            if entry.namespace == namespace && entry.refers_to.contains(name) {
                let _ended_already = entry.worker.send(Message::ReferenceChanged);
            }
        }
    }
}
