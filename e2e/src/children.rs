//! Children: the Jobs that run workflows.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use api::names::{self, EXECUTION_NAMESPACE};
use futures::{StreamExt, future};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::wait::{Seen, until};

/// The Jobs that run workflows.
pub fn jobs(cluster: &Cluster) -> Api<Job> {
    Api::namespaced(cluster.client.clone(), EXECUTION_NAMESPACE)
}

/// The child on `target`, if there is one.
pub async fn of(cluster: &Cluster, target: &str) -> Result<Option<Job>> {
    Ok(jobs(cluster).get_opt(&names::child_name(target)).await?)
}

/// Waits until there is no child on `target`.
pub async fn until_none(cluster: &Cluster, target: &str) -> Result<()> {
    until(&format!("no child is left on {target}"), 60, async || {
        Ok(match of(cluster, target).await {
            Ok(None) => Seen::Yes(()),
            Ok(Some(job)) => Seen::NotYet(serde_json::to_string_pretty(&job.status)?),
            Err(error) => Seen::NotYet(format!("{error:#}")),
        })
    })
    .await
}

/// The pods that run on `target` now.
pub async fn pods(cluster: &Cluster, target: &str) -> Result<Vec<Pod>> {
    let selector =
        ListParams::default().labels(&format!("{}={}", names::LABEL_TARGET, names::label_value(target)));
    Ok(Api::<Pod>::namespaced(cluster.client.clone(), EXECUTION_NAMESPACE).list(&selector).await?.items)
}

/// What the workflow on `target` has written to its log.
pub async fn log(cluster: &Cluster, target: &str) -> Result<String> {
    let api = Api::<Pod>::namespaced(cluster.client.clone(), EXECUTION_NAMESPACE);
    let mut text = String::new();
    for pod in pods(cluster, target).await? {
        text.push_str(&api.logs(&pod.name_any(), &Default::default()).await?);
    }
    Ok(text)
}

/// Watches a target and remembers every child it ever had, until dropped.
pub struct Census {
    seen: Arc<Mutex<BTreeSet<String>>>,
    task: JoinHandle<()>,
}

impl Census {
    /// Starts to watch `target`.
    pub fn start(cluster: &Cluster, target: &str) -> Self {
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let name = names::child_name(target);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let remember = Arc::clone(&seen);
        let task = tokio::spawn(watcher(jobs(cluster), config).default_backoff().touched_objects().for_each(
            move |job| {
                if let Ok(uid) = job.map(|job| job.uid().unwrap_or_default()) {
                    remember.lock().unwrap_or_else(PoisonError::into_inner).insert(uid);
                }
                future::ready(())
            },
        ));
        Self { seen, task }
    }

    /// How many children there have been so far.
    pub fn count(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        self.task.abort();
    }
}
